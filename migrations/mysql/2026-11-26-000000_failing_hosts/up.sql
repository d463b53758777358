-- On which hosts the starts of each server fail, written with its sign of life.
CREATE TABLE IF NOT EXISTS failing_hosts (
    server VARCHAR(64)  NOT NULL,
    host   VARCHAR(128) NOT NULL,
    PRIMARY KEY (server, host)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
