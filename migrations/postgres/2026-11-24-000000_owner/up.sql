-- Whose database this is: in row "deployment" its id, in row "master key" that key's fingerprint.
CREATE TABLE owner (
    feature TEXT COLLATE "C" NOT NULL PRIMARY KEY,
    value   TEXT COLLATE "C" NOT NULL
);
