//! The log: to standard error, as text or JSON.
//!
//! Owns what may never be logged whatever the operator asks for. Must be called once, before anything is worth
//! logging.

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    fmt::MakeWriter,
    layer::SubscriberExt,
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};

use crate::config::{LogFormat, Telemetry};

/// Starts logging. The configuration has checked the filter.
///
/// # Errors
/// [`TryInitError`] when logging was started before.
pub fn init(telemetry: &Telemetry) -> Result<(), TryInitError> {
    let ansi = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::registry().with(layer(telemetry, std::io::stderr, ansi)).try_init()
}

fn layer<S, W>(telemetry: &Telemetry, to: W, ansi: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::new(&telemetry.log).and(filter_fn(may_be_logged));
    let lines = tracing_subscriber::fmt::layer().with_writer(to).with_ansi(ansi);
    match telemetry.format {
        LogFormat::Text => lines.with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    }
}

/// bollard prints whole request bodies below `info`, and those name what a tenant's engine is started with. actix-http
/// calls every malformed request an error, so anybody who knocks could fill the log.
fn may_be_logged(line: &Metadata<'_>) -> bool {
    match line.target() {
        target if target.starts_with("bollard") => *line.level() <= Level::INFO,
        target => target != "actix_http::h1::dispatcher",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    #[derive(Clone, Default)]
    struct Memory(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Memory {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(log: &str, format: LogFormat, act: impl FnOnce()) -> String {
        let memory = Memory::default();
        let to = memory.clone();
        let telemetry = Telemetry { log: log.to_owned(), format };
        let subscriber = tracing_subscriber::registry().with(layer(&telemetry, move || to.clone(), false));
        tracing::subscriber::with_default(subscriber, act);
        String::from_utf8(memory.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn request_bodies_of_bollard_are_never_logged_whatever_the_filter_says() {
        let text = logged("trace,bollard=trace,bollard::docker=trace", LogFormat::Text, || {
            tracing::debug!(target: "bollard::docker", "the body");
            tracing::info!(target: "bollard::docker", "fine");
            tracing::trace!(target: "getaredis", "ours");
        });
        assert!(text.contains("fine") && text.contains("ours") && !text.contains("the body"), "{text}");
    }

    #[test]
    fn what_libraries_say_through_log_is_capped_too() {
        // Its global is set once a process; nextest gives each test one of its own.
        let _ = tracing_log::LogTracer::init();
        log::set_max_level(log::LevelFilter::Trace);
        let text = logged("trace", LogFormat::Text, || {
            log::debug!(target: "bollard::docker", "the body");
            log::debug!(target: "hyper", "another");
        });
        assert!(text.contains("another") && !text.contains("the body"), "{text}");
    }

    #[test]
    fn json_lines_have_the_fields_at_the_top() {
        let text = logged("info", LogFormat::Json, || tracing::warn!(host = %"a", "host.unwell"));
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((line["message"].as_str(), line["host"].as_str()), (Some("host.unwell"), Some("a")));
    }
}
