-- How many creates wait for room at each server, written with its sign of life.
CREATE TABLE queues (
    server  TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    waiting BIGINT           NOT NULL
);
