//! `[telemetry]`: what is logged and how.

use tracing_subscriber::EnvFilter;

use super::{
    kinds::{parsed, word},
    reader::{Reader, read_section},
};

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines, one object a line.
    Json,
}

/// The log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Telemetry {
    /// A filter of tracing-subscriber.
    pub log: String,
    /// How it is written.
    pub format: LogFormat,
}

impl Telemetry {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        Some(read_section!(reader, "telemetry" => Telemetry {
            log: parsed(filter),
            format: word(&[("text", LogFormat::Text), ("json", LogFormat::Json)]),
        }))
    }
}

fn filter(text: &str) -> Result<String, &'static str> {
    match EnvFilter::try_new(text) {
        // A bare word that is not a level is taken for the name of a module, which hides everything: a slip.
        Ok(_) if text.split(',').all(|part| part.contains(['=', ':', '[']) || is_level(part)) => Ok(text.to_owned()),
        _ => Err("must be off, error, warn, info, debug or trace, or a filter such as \"info,getaredis=debug\""),
    }
}

fn is_level(text: &str) -> bool {
    text.trim().parse::<tracing_subscriber::filter::LevelFilter>().is_ok()
}
