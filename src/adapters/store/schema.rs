//! The tables as diesel sees them, the same for every database. Owns their names and column types only.

diesel::table! {
    instances (id) {
        id -> Text,
        creator -> Text,
        flavour -> Text,
        label -> Nullable<Text>,
        host -> Text,
        state -> Text,
        reason -> Nullable<Text>,
        address -> Nullable<Text>,
        port -> Nullable<BigInt>,
        idempotency_key -> Nullable<Text>,
        fingerprint -> Text,
        rotation -> BigInt,
        created_at -> BigInt,
        expires_at -> BigInt,
        max_expires_at -> BigInt,
        ended_at -> Nullable<BigInt>,
        server -> Nullable<Text>,
        warn_at -> Nullable<BigInt>,
        unreachable_since -> Nullable<BigInt>,
    }
}

diesel::table! {
    servers (id) {
        id -> Text,
        beats -> BigInt,
    }
}

diesel::table! {
    queues (server) {
        server -> Text,
        waiting -> BigInt,
    }
}

diesel::table! {
    failing_hosts (server, host) {
        server -> Text,
        host -> Text,
    }
}

diesel::table! {
    deliveries (notice, sink) {
        notice -> Text,
        sink -> Text,
        body -> Text,
        created_at -> BigInt,
        due_at -> BigInt,
        attempts -> BigInt,
    }
}

diesel::table! {
    counters (name) {
        name -> Text,
        value -> BigInt,
    }
}

diesel::table! {
    orders (subject) {
        subject -> Text,
        word -> Text,
    }
}

diesel::table! {
    owner (feature) {
        feature -> Text,
        value -> Text,
    }
}

diesel::table! {
    order_limits (kind) {
        kind -> Text,
        ends_at -> BigInt,
        why -> Nullable<Text>,
    }
}

diesel::table! {
    attended (begins_at) {
        begins_at -> BigInt,
        ends_at -> BigInt,
    }
}

diesel::table! {
    builders (name) {
        name -> Text,
        ends_at -> BigInt,
    }
}

diesel::table! {
    droplets (name) {
        name -> Text,
        state -> Text,
        created_at -> BigInt,
    }
}
