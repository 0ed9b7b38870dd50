-- who did it, where somebody did: the name of the API key
ALTER TABLE interactions ADD COLUMN author text;
