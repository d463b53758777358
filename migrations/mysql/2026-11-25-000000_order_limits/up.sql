-- How far orders of droplets are held back: `budget` is when the bucket of orders will be full again, `hold` until when
-- nothing is ordered, and why.
CREATE TABLE IF NOT EXISTS order_limits (
    kind    VARCHAR(64) NOT NULL PRIMARY KEY,
    ends_at BIGINT      NOT NULL,
    why     TEXT
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
