CREATE TABLE IF NOT EXISTS deliveries (
    notice     VARCHAR(128) NOT NULL,
    sink       VARCHAR(64)  NOT NULL,
    body       TEXT         NOT NULL,
    created_at BIGINT       NOT NULL,
    due_at     BIGINT       NOT NULL,
    attempts   BIGINT       NOT NULL,
    PRIMARY KEY (notice, sink),
    INDEX deliveries_by_due (sink, due_at, notice)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
