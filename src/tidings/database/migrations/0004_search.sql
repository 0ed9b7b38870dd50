-- What communications say, in lower case and findable by any part of a word: of most it is their content's, kept once; of those that say
-- something of their own (rendered with variables, under a subject of their own) it is in renderings.
-- PostgreSQL: trigram indexes. SQLite: FTS5's, which cost far more than accepting a message does; a worker brings them up to date in its own time
-- (it moves search_marks, a trigger does the rest), and what it has not come to is read through. The views are what a search asks.

CREATE EXTENSION IF NOT EXISTS pg_trgm; --@postgres
-- lower case as Unicode has it, also where the database's own locale knows only ASCII
DO $$ DECLARE known name; BEGIN SELECT collname INTO known FROM pg_collation WHERE collname IN ('pg_c_utf8', 'und-x-icu') AND collencoding IN (-1, pg_char_to_encoding(getdatabaseencoding())) ORDER BY collname LIMIT 1; EXECUTE format('CREATE FUNCTION fold(value text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS %L', format('SELECT lower(value COLLATE %I)', coalesce(known, 'default'))); END $$; --@postgres
CREATE FUNCTION listed(document text, name text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT string_agg(entry.value, E'\n' ORDER BY entry.place) FROM jsonb_array_elements_text(document::jsonb -> name) WITH ORDINALITY entry (value, place) $$; --@postgres
CREATE FUNCTION member(document text, path text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT CASE WHEN strpos(document, '\u0000') = 0 THEN document::jsonb #>> string_to_array(path, '.') END $$; --@postgres
CREATE FUNCTION as_number(value text) RETURNS double precision LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT CASE WHEN value ~ '^-?[0-9]{1,15}(\.[0-9]{1,15})?$' THEN value::double precision END $$; --@postgres
-- the order of code points, under the name it has on SQLite
CREATE COLLATION "binary" FROM "C"; --@postgres

ALTER TABLE contents ADD COLUMN said_subject text NOT NULL DEFAULT '';
ALTER TABLE contents ADD COLUMN said_text text NOT NULL DEFAULT '';
UPDATE contents SET said_subject = fold(subject), said_text = fold(text);

CREATE TABLE renderings (
    tenant_id bigint NOT NULL,
    communication_id integer PRIMARY KEY, --@sqlite
    communication_id bigint NOT NULL, --@postgres
    subject text NOT NULL,
    body text NOT NULL
    , PRIMARY KEY (tenant_id, communication_id) --@postgres
);
-- 1 when it is found by its rendering and not by its content
ALTER TABLE communications ADD COLUMN worded smallint NOT NULL DEFAULT 0;
INSERT INTO renderings (tenant_id, communication_id, subject, body) SELECT c.tenant_id, c.id, fold(c.subject), t.said_text FROM communications c JOIN contents t ON t.tenant_id = c.tenant_id AND t.id = c.content_id WHERE c.subject IS NOT NULL;
UPDATE communications SET worded = 1 WHERE subject IS NOT NULL;

CREATE INDEX communications_content ON communications (tenant_id, content_id) WHERE worded = 0; --@sqlite
CREATE INDEX communications_content ON communications (tenant_id, content_id, id) WHERE worded = 0; --@postgres
-- whom mail outside of campaigns and text messages are addressed to; campaign mail is found through its contact
CREATE INDEX communications_address ON communications USING gin (lower(address) gin_trgm_ops) WHERE campaign_id IS NULL; --@postgres
CREATE INDEX communications_recipients ON communications USING gin (lower(recipients) gin_trgm_ops) WHERE campaign_id IS NULL AND recipients IS NOT NULL; --@postgres
CREATE INDEX communications_manual ON communications (id) WHERE campaign_id IS NULL; --@sqlite
CREATE VIEW addressed AS SELECT tenant_id, id, lower(address) AS address, lower(recipients) AS recipients FROM communications WHERE campaign_id IS NULL;

CREATE INDEX contents_said_subject ON contents USING gin (said_subject gin_trgm_ops); --@postgres
CREATE INDEX contents_said_text ON contents USING gin (said_text gin_trgm_ops); --@postgres
CREATE INDEX renderings_subject ON renderings USING gin (subject gin_trgm_ops); --@postgres
CREATE INDEX renderings_body ON renderings USING gin (body gin_trgm_ops); --@postgres

CREATE VIRTUAL TABLE contents_trigrams USING fts5 (tenant_id UNINDEXED, said_subject, said_text, content = 'contents', content_rowid = 'id', tokenize = 'trigram', detail = 'none'); --@sqlite
CREATE VIRTUAL TABLE renderings_trigrams USING fts5 (tenant_id UNINDEXED, subject, body, content = 'renderings', content_rowid = 'communication_id', tokenize = 'trigram', detail = 'none'); --@sqlite
CREATE VIRTUAL TABLE addressed_trigrams USING fts5 (tenant_id UNINDEXED, address, recipients, content = 'addressed', content_rowid = 'id', tokenize = 'trigram', detail = 'none'); --@sqlite

-- up to which id the rows of a table are in its index; without rows where the database sees to that itself
CREATE TABLE search_marks (
    name text PRIMARY KEY,
    upto bigint NOT NULL
);
INSERT INTO search_marks VALUES ('contents', 0), ('renderings', 0), ('addressed', 0); --@sqlite
CREATE TRIGGER search_marks_contents AFTER UPDATE OF upto ON search_marks WHEN new.name = 'contents' --@sqlite
BEGIN --@sqlite
    INSERT INTO contents_trigrams (rowid, tenant_id, said_subject, said_text) SELECT id, tenant_id, said_subject, said_text FROM contents WHERE id > old.upto AND id <= new.upto ORDER BY id; --@sqlite
END; --@sqlite
CREATE TRIGGER search_marks_renderings AFTER UPDATE OF upto ON search_marks WHEN new.name = 'renderings' --@sqlite
BEGIN --@sqlite
    INSERT INTO renderings_trigrams (rowid, tenant_id, subject, body) SELECT communication_id, tenant_id, subject, body FROM renderings WHERE communication_id > old.upto AND communication_id <= new.upto ORDER BY communication_id; --@sqlite
END; --@sqlite
CREATE TRIGGER search_marks_addressed AFTER UPDATE OF upto ON search_marks WHEN new.name = 'addressed' --@sqlite
BEGIN --@sqlite
    INSERT INTO addressed_trigrams (rowid, tenant_id, address, recipients) SELECT id, tenant_id, address, recipients FROM addressed WHERE id > old.upto AND id <= new.upto ORDER BY id; --@sqlite
END; --@sqlite
CREATE TRIGGER addressed_deleted AFTER DELETE ON communications WHEN old.campaign_id IS NULL AND old.id <= (SELECT upto FROM search_marks WHERE name = 'addressed') --@sqlite
BEGIN --@sqlite
    INSERT INTO addressed_trigrams (addressed_trigrams, rowid, tenant_id, address, recipients) VALUES ('delete', old.id, old.tenant_id, lower(old.address), lower(old.recipients)); --@sqlite
END; --@sqlite
CREATE TRIGGER renderings_deleted AFTER DELETE ON renderings WHEN old.communication_id <= (SELECT upto FROM search_marks WHERE name = 'renderings') --@sqlite
BEGIN --@sqlite
    INSERT INTO renderings_trigrams (renderings_trigrams, rowid, tenant_id, subject, body) VALUES ('delete', old.communication_id, old.tenant_id, old.subject, old.body); --@sqlite
END; --@sqlite

CREATE VIEW contents_said AS SELECT tenant_id, id, said_subject AS subject, said_text AS body FROM contents; --@postgres
CREATE VIEW renderings_said AS SELECT tenant_id, communication_id AS id, subject, body FROM renderings; --@postgres
CREATE VIEW contents_said AS SELECT tenant_id, rowid AS id, said_subject AS subject, said_text AS body FROM contents_trigrams WHERE rowid <= (SELECT upto FROM search_marks WHERE name = 'contents') UNION ALL SELECT tenant_id, id, said_subject, said_text FROM contents WHERE id > (SELECT upto FROM search_marks WHERE name = 'contents'); --@sqlite
CREATE VIEW renderings_said AS SELECT tenant_id, rowid AS id, subject, body FROM renderings_trigrams WHERE rowid <= (SELECT upto FROM search_marks WHERE name = 'renderings') UNION ALL SELECT tenant_id, communication_id, subject, body FROM renderings WHERE communication_id > (SELECT upto FROM search_marks WHERE name = 'renderings'); --@sqlite
CREATE VIEW addressed_said AS SELECT tenant_id, id, address, recipients FROM addressed; --@postgres
CREATE VIEW addressed_said AS SELECT tenant_id, rowid AS id, address, recipients FROM addressed_trigrams WHERE rowid <= (SELECT upto FROM search_marks WHERE name = 'addressed') UNION ALL SELECT tenant_id, id, address, recipients FROM addressed WHERE id > (SELECT upto FROM search_marks WHERE name = 'addressed'); --@sqlite
