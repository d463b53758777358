-- A database as the version of 2026-12-01 left it: an instance in every state that it knew.

CREATE TABLE __diesel_schema_migrations (
    version VARCHAR(50) PRIMARY KEY NOT NULL,
    run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261122000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261123000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261124000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261124000001');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261125000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261126000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261201000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261201000001');

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

-- What the operator ordered for all servers. subject: "pool", or "host/" and a host's name.
CREATE TABLE orders (
    subject TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    word    TEXT COLLATE "C" NOT NULL
);

-- Whose database this is: in row "deployment" its id, in row "master key" that key's fingerprint.
CREATE TABLE owner (
    feature TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value   TEXT COLLATE "C" NOT NULL
);

-- How many creates wait for room at each server, written with its sign of life.
CREATE TABLE queues (
    server  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    waiting BIGINT           NOT NULL
);

-- How far orders of droplets are held back: `budget` is when the bucket of orders will be full again, `hold` until when
-- nothing is ordered, and why.
CREATE TABLE order_limits (
    kind    TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    ends_at BIGINT           NOT NULL,
    why     TEXT
);

-- On which hosts the starts of each server fail, written with its sign of life.
CREATE TABLE failing_hosts (
    server TEXT COLLATE "C" NOT NULL,
    host   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (server, host)
);

-- Builders of images: paid for like droplets, and nobody's hosts. `ends_at` is until when a bake may be at work with one.
CREATE TABLE builders (
    name    TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    ends_at BIGINT             NOT NULL
);

-- When servers were at work on this database, a row for each of their lives. Of what was created at any other time it
-- knows nothing.
CREATE TABLE attended (
    begins_at BIGINT  NOT NULL PRIMARY KEY,
    ends_at   BIGINT  NOT NULL
);

INSERT INTO instances (id, creator, flavour, label, host, state, reason, address, port, idempotency_key, fingerprint, rotation, created_at, expires_at, max_expires_at, ended_at, server, warn_at, unreachable_since) VALUES ('00000000000000000000000000000001', '192.0.2.1', 'redis', NULL, 'h1', 'creating', NULL, NULL, NULL, 'k-!~', 'ttl=default flavour=redis label=', 0, 1790000001000, 1790003601000, 1790007201000, NULL, 's1', 1790003001000, NULL);
INSERT INTO instances (id, creator, flavour, label, host, state, reason, address, port, idempotency_key, fingerprint, rotation, created_at, expires_at, max_expires_at, ended_at, server, warn_at, unreachable_since) VALUES ('00000000000000000000000000000002', '2001:db8:1:2::/64', 'redis', 'it''s ünï 🦀', 'h1', 'running', NULL, '203.0.113.7', 32768, 'k2', 'ttl=default flavour=redis label=it''s ünï 🦀', 3, 1790000002000, 1790003602000, 1790007202000, NULL, NULL, 1790003002000, NULL);
INSERT INTO instances (id, creator, flavour, label, host, state, reason, address, port, idempotency_key, fingerprint, rotation, created_at, expires_at, max_expires_at, ended_at, server, warn_at, unreachable_since) VALUES ('00000000000000000000000000000003', '192.0.2.1', 'redis', NULL, 'h2', 'stopping', 'expired', '2001:db8::7', 65535, NULL, 'ttl=default flavour=redis label=', 0, 1790000003000, 1790003603000, 1790007203000, NULL, NULL, 1790003003000, 1790000005000);
INSERT INTO instances (id, creator, flavour, label, host, state, reason, address, port, idempotency_key, fingerprint, rotation, created_at, expires_at, max_expires_at, ended_at, server, warn_at, unreachable_since) VALUES ('00000000000000000000000000000004', '192.0.2.2', 'redis', NULL, 'h2', 'stopping', 'failed', NULL, NULL, NULL, 'ttl=default flavour=redis label=', 0, 1790000004000, 1790003604000, 1790007204000, NULL, NULL, 1790003004000, NULL);
INSERT INTO instances (id, creator, flavour, label, host, state, reason, address, port, idempotency_key, fingerprint, rotation, created_at, expires_at, max_expires_at, ended_at, server, warn_at, unreachable_since) VALUES ('00000000000000000000000000000005', '192.0.2.1', 'redis', 'gone', 'h1', 'ended', 'deleted', '203.0.113.7', 32769, NULL, 'ttl=default flavour=redis label=gone', 0, 1790000005000, 1790003605000, 1790007205000, 1790000009000, NULL, NULL, NULL);
INSERT INTO instances (id, creator, flavour, label, host, state, reason, address, port, idempotency_key, fingerprint, rotation, created_at, expires_at, max_expires_at, ended_at, server, warn_at, unreachable_since) VALUES ('00000000000000000000000000000006', '192.0.2.3', 'redis', NULL, 'h1', 'ended', 'failed', NULL, NULL, NULL, 'ttl=default flavour=redis label=', 0, 1790000006000, 1790003606000, 1790007206000, 1790000010000, NULL, NULL, NULL);
INSERT INTO instances (id, creator, flavour, label, host, state, reason, address, port, idempotency_key, fingerprint, rotation, created_at, expires_at, max_expires_at, ended_at, server, warn_at, unreachable_since) VALUES ('00000000000000000000000000000007', '192.0.2.4', 'redis', NULL, 'h3', 'unreachable', NULL, '203.0.113.9', 1, 'k7', 'ttl=default flavour=redis label=', 0, 1790000007000, 1790003607000, 1790007207000, NULL, NULL, 1790003607000, 1790000006000);
UPDATE counters SET value = 4 WHERE name = 'started';
UPDATE counters SET value = 5 WHERE name = 'live';
INSERT INTO droplets (name, state, created_at) VALUES ('d1', 'creating', 1790000000000), ('d2', 'deleting', 1790000000001);
INSERT INTO servers (id, beats) VALUES ('s1', 5);
INSERT INTO deliveries (notice, sink, body, created_at, due_at, attempts) VALUES ('00000000000000000000000000000002.created', 'hooks', '{}', 1790000002000, 1790000003000, 2);
INSERT INTO orders (subject, word) VALUES ('host/h3', 'draining'), ('pool', 'paused');
INSERT INTO owner (feature, value) VALUES ('deployment', 'default'), ('master key', 'a-fingerprint');
INSERT INTO queues (server, waiting) VALUES ('s1', 2);
INSERT INTO order_limits (kind, ends_at, why) VALUES ('budget', 1790000000000, NULL), ('hold', 1790000000000, 'sold out');
INSERT INTO failing_hosts (server, host) VALUES ('s1', 'h1');
INSERT INTO builders (name, ends_at) VALUES ('getaredis-d-builder-1234abcd', 1790001800000);
INSERT INTO attended (begins_at, ends_at) VALUES (1790000000000, 1790000009000);
