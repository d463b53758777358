-- How many creates wait for room at each server, written with its sign of life. A table of its own, because MySQL has no
-- way to add a column that may be repeated.
CREATE TABLE IF NOT EXISTS queues (
    server  VARCHAR(64) NOT NULL PRIMARY KEY,
    waiting BIGINT      NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
