-- What the operator ordered for all servers. subject: "pool", or "host/" and a host's name.
CREATE TABLE orders (
    subject TEXT NOT NULL PRIMARY KEY,
    word    TEXT NOT NULL
) STRICT;
