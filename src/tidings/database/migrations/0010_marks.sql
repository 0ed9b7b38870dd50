-- Where a page of the interactions of a message begins, without reading those before it. Of each message and kind of interaction
-- everything before `at` (a whole second) is counted in `marks`; what came later is not yet. `wanted_at`: somebody had to read too much.
CREATE TABLE marked (
    tenant_id bigint NOT NULL,
    message_id bigint NOT NULL,
    kind text NOT NULL,
    at bigint NOT NULL DEFAULT 0,
    wanted_at bigint,
    CHECK (at % 1000 = 0),
    PRIMARY KEY (tenant_id, message_id, kind)
)
WITHOUT ROWID --@sqlite
;
CREATE INDEX marked_wanted ON marked (wanted_at) WHERE wanted_at IS NOT NULL;

-- how many there are (`held`) from the second `at` on to the next mark of this level: level 0 are a few thousand, level 1 dozens of those
CREATE TABLE marks (
    tenant_id bigint NOT NULL,
    message_id bigint NOT NULL,
    kind text NOT NULL,
    level smallint NOT NULL CHECK (level IN (0, 1)),
    at bigint NOT NULL,
    held bigint NOT NULL,
    CHECK (at % 1000 = 0),
    PRIMARY KEY (tenant_id, message_id, kind, level, at)
)
WITHOUT ROWID --@sqlite
;
