-- What comes in by text is safe from its first part on, STOP outweighs what stood there before, and a long conversation costs no more than a short one.

-- what an SMSC delivered and may deliver again: parts of texts that are not whole, and whatever it may not know to be safe
CREATE TABLE short_messages (
    tenant_id bigint NOT NULL,
    provider_id bigint NOT NULL,
    -- what the carrier is called among the sources of inbound messages
    source text NOT NULL,
    -- a digest of which text it is (a part of), and which of how many
    name text NOT NULL,
    sequence integer NOT NULL CHECK (sequence >= 1),
    total integer NOT NULL CHECK (total >= sequence),
    sender text NOT NULL,
    recipient text NOT NULL,
    charset text NOT NULL,
    data {bytes} NOT NULL,
    -- the connection it came over
    connection text NOT NULL,
    at bigint NOT NULL,
    -- when the text was stored; without that it waits for the others
    stored_at bigint,
    PRIMARY KEY (tenant_id, provider_id, name, sequence)
)
WITHOUT ROWID --@sqlite
;
CREATE INDEX short_messages_at ON short_messages (at);

-- what stood there before somebody texted STOP, as JSON: START takes back no more than STOP has done
ALTER TABLE suppressions ADD COLUMN underlying text;

-- the newest of a conversation, for what answers them
CREATE INDEX communications_said ON communications (tenant_id, conversation_id, sent_at)
    WHERE conversation_id IS NOT NULL AND sent_at IS NOT NULL AND list_id IS NULL;
