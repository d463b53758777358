//! What tests run against instead of a cloud.
