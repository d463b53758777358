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
