//! What is counted, in the text format of OpenMetrics that Prometheus reads.

use std::time::Duration;

use prometheus_client::{
    encoding::text::encode,
    metrics::{
        counter::Counter,
        family::Family,
        gauge::Gauge,
        histogram::{Histogram, exponential_buckets},
    },
    registry::{Registry, Unit},
};

type Labels<const N: usize> = [(&'static str, String); N];
type Histograms<const N: usize> = Family<Labels<N>, Histogram, fn() -> Histogram>;

/// The type of [`Metrics::encode`].
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All counters of a server.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Labels<2>, Counter>,
    seconds: Histograms<1>,
    texts: Family<Labels<1>, Counter>,
    truncated: Family<Labels<1>, Counter>,
    batches: Histograms<1>,
    queued: Family<Labels<1>, Gauge>,
    reloads: Family<Labels<2>, Counter>,
    ready: Family<Labels<1>, Gauge>,
    version: Family<Labels<1>, Gauge>,
    connections: Gauge,
    refused: Counter,
    memory: Gauge,
}

/// The route of an answer to what is no whole request.
const UNREAD: &str = "unread";

/// From 0.25 ms to 16 s: the pocket student needs less than one, a batch of a large one seconds.
fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.000_25, 2.0, 17))
}

/// From 1 to 256 texts.
fn sizes() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 9))
}

fn of(model: &str) -> Labels<1> {
    [("model", model.to_owned())]
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("promptmix"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(durations),
            texts: Family::default(),
            truncated: Family::default(),
            batches: Family::new_with_constructor(sizes),
            queued: Family::default(),
            reloads: Family::default(),
            ready: Family::default(),
            version: Family::default(),
            connections: Gauge::default(),
            refused: Counter::default(),
            memory: Gauge::default(),
        };
        let registry = &mut metrics.registry;
        registry.register("requests", "Answers, by route and status", metrics.requests.clone());
        registry.register_with_unit(
            "request_duration",
            "From the end of a request's head to its answer, by route",
            Unit::Seconds,
            metrics.seconds.clone(),
        );
        registry.register("texts", "Texts that were classified", metrics.texts.clone());
        registry.register(
            "truncated_texts",
            "Texts that were longer than the model reads",
            metrics.truncated.clone(),
        );
        registry.register("batch_texts", "Texts of a batch", metrics.batches.clone());
        registry.register("queued_texts", "Texts that wait for a batch", metrics.queued.clone());
        registry.register(
            "reloads",
            "Attempts to load a folder that has changed, by result: loaded or failed",
            metrics.reloads.clone(),
        );
        registry.register("model_ready", "1 if the model answers", metrics.ready.clone());
        registry.register(
            "model_version",
            "1 for the first version that was loaded, one more for each that replaced it",
            metrics.version.clone(),
        );
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register(
            "refused_connections",
            "Connections for which there was no room",
            metrics.refused.clone(),
        );
        registry.register_with_unit(
            "resident_memory",
            "Memory of the process",
            Unit::Bytes,
            metrics.memory.clone(),
        );
        metrics
    }

    pub(super) fn answered(&self, route: &'static str, status: u16, took: Duration) {
        let labels = [("route", route.to_owned()), ("code", status.to_string())];
        self.requests.get_or_create(&labels).inc();
        let route = [("route", route.to_owned())];
        self.seconds.get_or_create(&route).observe(took.as_secs_f64());
    }

    /// What is no whole request was answered with `status`; how long it took says nothing about
    /// the server.
    pub(super) fn unread(&self, status: u16) {
        let labels = [("route", UNREAD.to_owned()), ("code", status.to_string())];
        self.requests.get_or_create(&labels).inc();
    }

    /// There was no room for a connection.
    pub(super) fn turned_away(&self) {
        self.refused.inc();
    }

    /// A batch was classified, `truncated` texts of it cut.
    pub(super) fn classified(&self, model: &str, texts: usize, truncated: usize) {
        self.texts.get_or_create(&of(model)).inc_by(texts as u64);
        self.truncated.get_or_create(&of(model)).inc_by(truncated as u64);
        self.batches.get_or_create(&of(model)).observe(texts as f64);
    }

    pub(super) fn queued(&self, model: &str, texts: usize) {
        self.queued.get_or_create(&of(model)).set(texts as i64);
    }

    pub(super) fn loaded(&self, model: &str, version: u64) {
        self.ready.get_or_create(&of(model)).set(1);
        self.version.get_or_create(&of(model)).set(version as i64);
    }

    pub(super) fn reloaded(&self, model: &str, result: &'static str) {
        let labels = [("model", model.to_owned()), ("result", result.to_owned())];
        self.reloads.get_or_create(&labels).inc();
    }

    /// The text, with `connections` open.
    pub(super) fn encode(&self, connections: usize) -> String {
        self.connections.set(connections as i64);
        self.memory.set(resident_bytes().unwrap_or(0) as i64);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("a String takes whatever is written to it");
        text
    }
}

/// The memory of this process; `None` where the system does not say.
fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    #[cfg(unix)]
    // SAFETY: it takes a number and reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    #[cfg(not(unix))]
    let page = 4096;
    Some(pages * page)
}
