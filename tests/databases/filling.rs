//! A table as it looks after years: many rows that have ended, some that live. Written by SQL, because a million
//! admissions would take as long as a million admissions.

/// The statements that fill the tables of a database whose scheme is `sqlite`, `mysql` or `postgres`. The rows are like
/// those the store writes: 1000 hosts, hardly a creator with two instances, four notices for each live one.
pub fn statements(scheme: &str, ended: u32, live: u32) -> Vec<String> {
    let series = |first: u32, last: u32| match scheme {
        "sqlite" => format!(
            "(WITH RECURSIVE s(n) AS (SELECT {first} UNION ALL SELECT n + 1 FROM s WHERE n < {last}) SELECT n FROM s) AS s"
        ),
        "mysql" => counted_in_digits(first, last),
        _ => format!("generate_series({first}, {last}) AS s(n)"),
    };
    let rows = |state: &str, reason: &str, warn_at: &str, ended_at: &str, series: String| {
        format!(
            "INSERT INTO instances (id, creator, flavour, host, state, reason, address, port, fingerprint, rotation, \
             created_at, expires_at, max_expires_at, warn_at, ended_at) \
             SELECT CONCAT('fedcba98765432100000', 100000000000 + n), CONCAT('10.', n % 251, '.', n % 241, '.', n % 239), \
             'redis', CONCAT('h', n % 1000), '{state}', {reason}, '203.0.113.7', 32768, 'ttl=default', 0, \
             1780000000000 + n, 1790100000000 + n, 1790200000000 + n, {warn_at}, {ended_at} FROM {series}"
        )
    };
    let told = format!(
        "INSERT INTO deliveries (notice, sink, body, created_at, due_at, attempts) \
         SELECT CONCAT('n', n), 'hooks', '{{}}', 1780000000000 + n, 1790100000000 + n, 1 FROM {}",
        series(1, 4 * live)
    );
    let analyze = match scheme {
        "mysql" => "ANALYZE TABLE instances, deliveries",
        "postgres" => "VACUUM ANALYZE",
        // No server of ours analyzes a file.
        _ => "SELECT 1",
    };
    vec![
        rows("ended", "'expired'", "NULL", "1780000000000 + n", series(1, ended)),
        rows("running", "NULL", "1790090000000 + n", "NULL", series(ended + 1, ended + live)),
        told,
        format!("UPDATE counters SET value = value + {live} WHERE name = 'live'"),
        analyze.to_owned(),
    ]
}

/// MariaDB has sequences, and either has recursion, which each limits in its own way; multiplying tables is unlimited.
fn counted_in_digits(first: u32, last: u32) -> String {
    let digits = "(SELECT 0 AS d UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 \
                  UNION SELECT 7 UNION SELECT 8 UNION SELECT 9)";
    let places = 0..(last - first).max(1).ilog10() + 1;
    let number: Vec<_> = places.clone().map(|place| format!("d{place}.d * {}", 10_u32.pow(place))).collect();
    let tables: Vec<_> = places.map(|place| format!("{digits} AS d{place}")).collect();
    let (number, tables) = (number.join(" + "), tables.join(", "));
    format!("(SELECT {first} + {number} AS n FROM {tables} HAVING n <= {last}) AS s")
}
