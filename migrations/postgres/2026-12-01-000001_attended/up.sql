-- When servers were at work on this database, a row for each of their lives. Of what was created at any other time it
-- knows nothing.
CREATE TABLE attended (
    begins_at BIGINT  NOT NULL PRIMARY KEY,
    ends_at   BIGINT  NOT NULL
);
