-- On which hosts the starts of each server fail, written with its sign of life.
CREATE TABLE failing_hosts (
    server TEXT NOT NULL,
    host   TEXT NOT NULL,
    PRIMARY KEY (server, host)
) STRICT;
