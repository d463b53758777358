-- Builders of images: paid for like droplets, and nobody's hosts. `ends_at` is until when a bake may be at work with one.
CREATE TABLE builders (
    name    TEXT    NOT NULL PRIMARY KEY,
    ends_at INTEGER NOT NULL
) STRICT;
