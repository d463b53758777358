-- Times are whole milliseconds since 1970, UTC. Texts compare by bytes, so that every database sorts alike.

CREATE TABLE instances (
    id                TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    creator           TEXT   COLLATE "C" NOT NULL,
    flavour           TEXT   NOT NULL,
    label             TEXT,
    host              TEXT   COLLATE "C" NOT NULL,
    state             TEXT   COLLATE "C" NOT NULL,
    reason            TEXT   COLLATE "C",
    address           TEXT   COLLATE "C",
    port              BIGINT,
    idempotency_key   TEXT   COLLATE "C",
    fingerprint       TEXT   NOT NULL,
    rotation          BIGINT NOT NULL,
    created_at        BIGINT NOT NULL,
    expires_at        BIGINT NOT NULL,
    max_expires_at    BIGINT NOT NULL,
    ended_at          BIGINT,
    -- Who is creating the instance; null for rows of servers that are gone.
    server            TEXT   COLLATE "C",
    -- Null when nobody is to be warned.
    warn_at           BIGINT,
    unreachable_since BIGINT,
    CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
    CHECK ((address IS NULL) = (port IS NULL)),
    CHECK (ended_at IS NULL OR idempotency_key IS NULL)
);

-- Rows that have ended stay for a while, so they come to be many; the indexes leave them out.
CREATE INDEX instances_by_age ON instances (created_at, id) WHERE ended_at IS NULL;
CREATE INDEX instances_by_end ON instances (expires_at, id) WHERE ended_at IS NULL;
CREATE INDEX instances_by_creator ON instances (creator, expires_at) WHERE ended_at IS NULL;
CREATE INDEX instances_by_host ON instances (host) WHERE ended_at IS NULL;
CREATE INDEX instances_by_warning ON instances (warn_at, id) WHERE ended_at IS NULL AND warn_at IS NOT NULL;
CREATE INDEX instances_by_retention ON instances (ended_at, id) WHERE ended_at IS NOT NULL;
CREATE UNIQUE INDEX instances_by_key ON instances (creator, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- started: a number that must outlive the rows it was counted from. live: counted on and off with every row, because
-- counting fifty thousand rows would be most of the cost of an admission; its lock makes admissions exact. The room
-- that is left in the page keeps the many versions of so busy a row in one place.
CREATE TABLE counters (
    name  TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    value BIGINT NOT NULL
) WITH (fillfactor = 10);

INSERT INTO counters (name, value) VALUES ('started', 0), ('live', 0);

CREATE TABLE droplets (
    name       TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    state      TEXT   COLLATE "C" NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE servers (
    id    TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    beats BIGINT NOT NULL
) WITH (fillfactor = 10);

CREATE TABLE deliveries (
    notice     TEXT   COLLATE "C" NOT NULL,
    sink       TEXT   COLLATE "C" NOT NULL,
    body       TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    due_at     BIGINT NOT NULL,
    attempts   BIGINT NOT NULL,
    PRIMARY KEY (notice, sink)
);

CREATE INDEX deliveries_by_due ON deliveries (sink, due_at, notice);
