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
