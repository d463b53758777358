-- Builders of images: paid for like droplets, and nobody's hosts. `ends_at` is until when a bake may be at work with one.
CREATE TABLE IF NOT EXISTS builders (
    name    VARCHAR(128) NOT NULL PRIMARY KEY,
    ends_at BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
