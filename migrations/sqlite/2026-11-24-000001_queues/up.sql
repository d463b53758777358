-- How many creates wait for room at each server, written with its sign of life.
CREATE TABLE queues (
    server  TEXT    NOT NULL PRIMARY KEY,
    waiting INTEGER NOT NULL
) STRICT;
