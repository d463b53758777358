-- How far orders of droplets are held back: `budget` is when the bucket of orders will be full again, `hold` until when
-- nothing is ordered, and why.
CREATE TABLE order_limits (
    kind    TEXT    NOT NULL PRIMARY KEY,
    ends_at INTEGER NOT NULL,
    why     TEXT
) STRICT;
