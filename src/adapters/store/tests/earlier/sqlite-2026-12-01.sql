-- A database as the version of 2026-12-01 left it: an instance in every state that it knew.

CREATE TABLE __diesel_schema_migrations (
    version VARCHAR(50) PRIMARY KEY NOT NULL,
    run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO __diesel_schema_migrations (version) VALUES ('20260901000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261122000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261123000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261124000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261124000001');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261125000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261126000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261201000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261201000001');

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

-- server: who is creating the instance; null for rows of servers that are gone. warn_at: null when nobody is to be warned.
ALTER TABLE instances ADD COLUMN server TEXT;
ALTER TABLE instances ADD COLUMN warn_at INTEGER;
ALTER TABLE instances ADD COLUMN unreachable_since INTEGER;

CREATE INDEX instances_by_host ON instances (host) WHERE ended_at IS NULL;
CREATE INDEX instances_by_warning ON instances (warn_at, id) WHERE ended_at IS NULL AND warn_at IS NOT NULL;
CREATE INDEX instances_by_retention ON instances (ended_at, id) WHERE ended_at IS NOT NULL;

-- Counted on and off with every row, because counting fifty thousand rows would be most of the cost of an admission.
INSERT INTO counters (name, value) SELECT 'live', count(*) FROM instances WHERE ended_at IS NULL;

CREATE TABLE servers (
    id    TEXT    NOT NULL PRIMARY KEY,
    beats INTEGER NOT NULL
) STRICT;

CREATE TABLE deliveries (
    notice     TEXT    NOT NULL,
    sink       TEXT    NOT NULL,
    body       TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    due_at     INTEGER NOT NULL,
    attempts   INTEGER NOT NULL,
    PRIMARY KEY (notice, sink)
) STRICT;

CREATE INDEX deliveries_by_due ON deliveries (sink, due_at, notice);

-- What the operator ordered for all servers. subject: "pool", or "host/" and a host's name.
CREATE TABLE orders (
    subject TEXT NOT NULL PRIMARY KEY,
    word    TEXT NOT NULL
) STRICT;

-- Whose database this is: in row "deployment" its id, in row "master key" that key's fingerprint.
CREATE TABLE owner (
    feature TEXT NOT NULL PRIMARY KEY,
    value   TEXT NOT NULL
) STRICT;

-- How many creates wait for room at each server, written with its sign of life.
CREATE TABLE queues (
    server  TEXT    NOT NULL PRIMARY KEY,
    waiting INTEGER NOT NULL
) STRICT;

-- How far orders of droplets are held back: `budget` is when the bucket of orders will be full again, `hold` until when
-- nothing is ordered, and why.
CREATE TABLE order_limits (
    kind    TEXT    NOT NULL PRIMARY KEY,
    ends_at INTEGER NOT NULL,
    why     TEXT
) STRICT;

-- On which hosts the starts of each server fail, written with its sign of life.
CREATE TABLE failing_hosts (
    server TEXT NOT NULL,
    host   TEXT NOT NULL,
    PRIMARY KEY (server, host)
) STRICT;

-- Builders of images: paid for like droplets, and nobody's hosts. `ends_at` is until when a bake may be at work with one.
CREATE TABLE builders (
    name    TEXT    NOT NULL PRIMARY KEY,
    ends_at INTEGER NOT NULL
) STRICT;

-- When servers were at work on this database, a row for each of their lives. Of what was created at any other time it
-- knows nothing.
CREATE TABLE attended (
    begins_at INTEGER NOT NULL PRIMARY KEY,
    ends_at   INTEGER NOT NULL
) STRICT;

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
