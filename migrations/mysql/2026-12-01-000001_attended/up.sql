-- When servers were at work on this database, a row for each of their lives. Of what was created at any other time it
-- knows nothing.
CREATE TABLE IF NOT EXISTS attended (
    begins_at BIGINT  NOT NULL PRIMARY KEY,
    ends_at   BIGINT  NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
