-- Times are whole milliseconds since 1970, UTC. STRICT: a column holds what it says or the write is refused.

CREATE TABLE instances (
    id              TEXT    NOT NULL PRIMARY KEY,
    creator         TEXT    NOT NULL,
    flavour         TEXT    NOT NULL,
    label           TEXT,
    host            TEXT    NOT NULL,
    state           TEXT    NOT NULL,
    reason          TEXT,
    address         TEXT,
    port            INTEGER,
    idempotency_key TEXT,
    fingerprint     TEXT    NOT NULL,
    rotation        INTEGER NOT NULL,
    created_at      INTEGER NOT NULL,
    expires_at      INTEGER NOT NULL,
    max_expires_at  INTEGER NOT NULL,
    ended_at        INTEGER,
    CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
    CHECK ((address IS NULL) = (port IS NULL)),
    CHECK (ended_at IS NULL OR idempotency_key IS NULL)
) STRICT;

-- Rows that have ended stay, so they come to be millions; every index but the primary key leaves them out.
CREATE INDEX instances_by_age ON instances (created_at, id) WHERE ended_at IS NULL;
CREATE INDEX instances_by_end ON instances (expires_at, id) WHERE ended_at IS NULL;
CREATE INDEX instances_by_creator ON instances (creator, expires_at) WHERE ended_at IS NULL;
CREATE UNIQUE INDEX instances_by_key ON instances (creator, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- Numbers that must outlive the rows they were counted from.
CREATE TABLE counters (
    name  TEXT    NOT NULL PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT;

INSERT INTO counters (name, value) VALUES ('started', 0);

CREATE TABLE droplets (
    name       TEXT    NOT NULL PRIMARY KEY,
    state      TEXT    NOT NULL,
    created_at INTEGER NOT NULL
) STRICT;
