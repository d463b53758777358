-- Whose database this is: in row "deployment" its id, in row "master key" that key's fingerprint.
CREATE TABLE IF NOT EXISTS owner (
    feature VARCHAR(64)  NOT NULL PRIMARY KEY,
    value   VARCHAR(128) NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
