-- On which hosts the starts of each server fail, written with its sign of life.
CREATE TABLE failing_hosts (
    server TEXT COLLATE "C" NOT NULL,
    host   TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (server, host)
);
