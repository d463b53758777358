//! Creates in numbers, counted where they are answered.

use std::time::Duration;

use metrics::{counter, describe_counter, describe_histogram, histogram, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};

/// From a warm container to the longest that a create may take.
const BUCKETS: [f64; 11] = [0.05, 0.1, 0.25, 0.5, 0.75, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0];

const CREATES: &str = "getaredis_creates_total";
const SECONDS: &str = "getaredis_create_seconds";

/// What became of the creates since the server started.
pub(in super::super) struct Creates(PrometheusRecorder);

impl Creates {
    /// None yet.
    pub(in super::super) fn new() -> Self {
        // Refused are no buckets at all only.
        let builder = PrometheusBuilder::new().set_buckets(&BUCKETS).unwrap_or_else(|_| PrometheusBuilder::new());
        let recorder = builder.build_recorder();
        with_local_recorder(&recorder, || {
            describe_counter!(CREATES, "Creates by what they were answered with: created, replayed or a problem.");
            describe_histogram!(SECONDS, "From a create to its instance, where there was none before.");
            // A rate needs a number before the first one.
            counter!(CREATES, "outcome" => "created").increment(0);
        });
        Self(recorder)
    }

    /// An instance was made.
    pub(in super::super) fn made(&self, took: Duration) {
        self.count("created");
        with_local_recorder(&self.0, || histogram!(SECONDS).record(took));
        // Sorts it into its bucket now, so that nothing grows where nobody scrapes.
        self.0.handle().run_upkeep();
    }

    /// A create ended in another way.
    pub(in super::super) fn count(&self, outcome: &'static str) {
        with_local_recorder(&self.0, || counter!(CREATES, "outcome" => outcome).increment(1));
    }

    pub(super) fn render(&self) -> String {
        self.0.handle().render()
    }
}
