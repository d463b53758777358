-- A database as the version of 2026-12-01 left it: an instance in every state that it knew.

CREATE TABLE __diesel_schema_migrations (
    version VARCHAR(50) PRIMARY KEY NOT NULL,
    run_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP
);
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261122000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261122000001');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261122000002');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261122000003');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261122000004');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261122000005');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261123000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261124000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261124000001');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261125000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261126000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261201000000');
INSERT INTO __diesel_schema_migrations (version) VALUES ('20261201000001');

-- One statement a migration, and one that may be repeated: the server commits each by itself, so a crash must leave
-- nothing half done. Times are whole milliseconds since 1970, UTC. Texts compare by bytes. There are no partial indexes
-- here, so ended_at stands in front where an index shall leave out the many rows that have ended.
CREATE TABLE IF NOT EXISTS instances (
    id                VARCHAR(64)  NOT NULL PRIMARY KEY,
    creator           VARCHAR(128) NOT NULL,
    flavour           VARCHAR(128) NOT NULL,
    label             VARCHAR(255),
    host              VARCHAR(128) NOT NULL,
    state             VARCHAR(32)  NOT NULL,
    reason            VARCHAR(32),
    address           VARCHAR(64),
    port              BIGINT,
    idempotency_key   VARCHAR(128),
    fingerprint       TEXT         NOT NULL,
    rotation          BIGINT       NOT NULL,
    created_at        BIGINT       NOT NULL,
    expires_at        BIGINT       NOT NULL,
    max_expires_at    BIGINT       NOT NULL,
    ended_at          BIGINT,
    -- Who is creating the instance; null for rows of servers that are gone.
    server            VARCHAR(64),
    -- Null when nobody is to be warned.
    warn_at           BIGINT,
    unreachable_since BIGINT,
    CHECK ((state = 'ended') = (ended_at IS NOT NULL)),
    CHECK ((address IS NULL) = (port IS NULL)),
    CHECK (ended_at IS NULL OR idempotency_key IS NULL),
    INDEX instances_by_age (ended_at, created_at, id),
    INDEX instances_by_end (ended_at, expires_at, id),
    INDEX instances_by_creator (creator, ended_at, expires_at),
    INDEX instances_by_host (host, ended_at),
    INDEX instances_by_warning (ended_at, warn_at, id),
    INDEX instances_by_retention (ended_at, id),
    UNIQUE INDEX instances_by_key (creator, idempotency_key)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS counters (
    name  VARCHAR(64) NOT NULL PRIMARY KEY,
    value BIGINT      NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- started: a number that must outlive the rows it was counted from. live: counted on and off with every row, because
-- counting fifty thousand rows would be most of the cost of an admission; its lock makes admissions exact.
INSERT IGNORE INTO counters (name, value) VALUES ('started', 0), ('live', 0);

CREATE TABLE IF NOT EXISTS droplets (
    name       VARCHAR(128) NOT NULL PRIMARY KEY,
    state      VARCHAR(32)  NOT NULL,
    created_at BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS servers (
    id    VARCHAR(64) NOT NULL PRIMARY KEY,
    beats BIGINT      NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS deliveries (
    notice     VARCHAR(128) NOT NULL,
    sink       VARCHAR(64)  NOT NULL,
    body       TEXT         NOT NULL,
    created_at BIGINT       NOT NULL,
    due_at     BIGINT       NOT NULL,
    attempts   BIGINT       NOT NULL,
    PRIMARY KEY (notice, sink),
    INDEX deliveries_by_due (sink, due_at, notice)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What the operator ordered for all servers. subject: "pool", or "host/" and a host's name.
CREATE TABLE IF NOT EXISTS orders (
    subject VARCHAR(128) NOT NULL PRIMARY KEY,
    word    VARCHAR(64)  NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Whose database this is: in row "deployment" its id, in row "master key" that key's fingerprint.
CREATE TABLE IF NOT EXISTS owner (
    feature VARCHAR(64)  NOT NULL PRIMARY KEY,
    value   VARCHAR(128) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- How many creates wait for room at each server, written with its sign of life. A table of its own, because MySQL has no
-- way to add a column that may be repeated.
CREATE TABLE IF NOT EXISTS queues (
    server  VARCHAR(64) NOT NULL PRIMARY KEY,
    waiting BIGINT      NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- How far orders of droplets are held back: `budget` is when the bucket of orders will be full again, `hold` until when
-- nothing is ordered, and why.
CREATE TABLE IF NOT EXISTS order_limits (
    kind    VARCHAR(64) NOT NULL PRIMARY KEY,
    ends_at BIGINT      NOT NULL,
    why     TEXT
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- On which hosts the starts of each server fail, written with its sign of life.
CREATE TABLE IF NOT EXISTS failing_hosts (
    server VARCHAR(64)  NOT NULL,
    host   VARCHAR(128) NOT NULL,
    PRIMARY KEY (server, host)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Builders of images: paid for like droplets, and nobody's hosts. `ends_at` is until when a bake may be at work with one.
CREATE TABLE IF NOT EXISTS builders (
    name    VARCHAR(128) NOT NULL PRIMARY KEY,
    ends_at BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- When servers were at work on this database, a row for each of their lives. Of what was created at any other time it
-- knows nothing.
CREATE TABLE IF NOT EXISTS attended (
    begins_at BIGINT  NOT NULL PRIMARY KEY,
    ends_at   BIGINT  NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

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
