-- started: a number that must outlive the rows it was counted from. live: counted on and off with every row, because
-- counting fifty thousand rows would be most of the cost of an admission; its lock makes admissions exact.
INSERT IGNORE INTO counters (name, value) VALUES ('started', 0), ('live', 0);
