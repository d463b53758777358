-- Whose database this is: in row "deployment" its id, in row "master key" that key's fingerprint.
CREATE TABLE owner (
    feature TEXT NOT NULL PRIMARY KEY,
    value   TEXT NOT NULL
) STRICT;
