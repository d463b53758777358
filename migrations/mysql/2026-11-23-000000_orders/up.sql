-- What the operator ordered for all servers. subject: "pool", or "host/" and a host's name.
CREATE TABLE IF NOT EXISTS orders (
    subject VARCHAR(128) NOT NULL PRIMARY KEY,
    word    VARCHAR(64)  NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
