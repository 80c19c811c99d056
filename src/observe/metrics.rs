//! Counters and histograms, in the Prometheus text format. Every label comes from the configuration
//! or from a fixed list, so their number is bounded by the file.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

/// Buckets for whole requests and first bytes: from an echo to a long reasoning answer.
const SECONDS: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// All that is counted. One for the life of the program.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Finished requests.
    requests: Family<RequestLabels, Counter>,
    attempts: Family<AttemptLabels, Counter>,
    tokens: Family<TokenLabels, Counter>,
    durations: Family<ProviderLabels, Histogram>,
    first_bytes: Family<ProviderLabels, Histogram>,
    info: Family<InfoLabels, Gauge>,
    reloads: Family<ReloadLabels, Counter>,
    /// Requests being answered right now.
    pub in_flight: Gauge,
    /// Connections of callers that are open right now.
    pub connections: Gauge,
    /// 1: the file as it stands is in force; 0: it was refused.
    pub last_reload_successful: Gauge,
    /// Unix time of the last configuration taken.
    pub last_reload_success: Gauge,
}

/// `operation`, `status`, `client`
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    status: u16,
    client: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    provider: Name,
    key: Name,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    provider: Name,
    key: Name,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProviderLabels {
    provider: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InfoLabels {
    hash: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    result: &'static str,
}

/// A name out of the configuration, shared and not copied.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Name(Arc<str>);

impl prometheus_client::encoding::EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(&self.0)
    }
}

/// What is counted of one key; looked up once per configuration, so that a request only adds.
#[derive(Clone, Debug)]
pub struct KeyMeter {
    attempts: Family<AttemptLabels, Counter>,
    labels: (Name, Name),
    answered: Counter,
    input: Counter,
    cached: Counter,
    output: Counter,
}

/// What is counted of one provider.
#[derive(Clone, Debug)]
pub struct ProviderMeter {
    /// Seconds from the request's head to its answer's last byte.
    pub duration: Histogram,
    /// Seconds from the request's head to the provider's first byte.
    pub first_byte: Histogram,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry: Mutex::default(),
            requests: Family::default(),
            attempts: Family::default(),
            tokens: Family::default(),
            durations: Family::new_with_constructor(histogram as fn() -> Histogram),
            first_bytes: Family::new_with_constructor(histogram as fn() -> Histogram),
            info: Family::default(),
            reloads: Family::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            last_reload_successful: Gauge::default(),
            last_reload_success: Gauge::default(),
        };
        metrics.registry = Mutex::new(metrics.register());
        metrics
    }
}

impl Metrics {
    fn register(&self) -> Registry {
        let mut all = Registry::with_prefix("keymux");
        all.register("requests", "Finished requests", self.requests.clone());
        all.register("attempts", "Attempts at providers by how they ended", self.attempts.clone());
        all.register("tokens", "Tokens as the providers counted them", self.tokens.clone());
        all.register_with_unit(
            "request_duration",
            "Time from a request's head to its answer's last byte",
            Unit::Seconds,
            self.durations.clone(),
        );
        all.register_with_unit(
            "first_byte",
            "Time from a request's head to the provider's first byte",
            Unit::Seconds,
            self.first_bytes.clone(),
        );
        all.register("in_flight_requests", "Requests being answered", self.in_flight.clone());
        all.register("connections", "Connections of callers", self.connections.clone());
        all.register("config_reloads", "Changes of the file met", self.reloads.clone());
        all.register(
            "config_last_reload_successful",
            "Whether the file as it stands is in force",
            self.last_reload_successful.clone(),
        );
        all.register_with_unit(
            "config_last_reload_success_timestamp",
            "When the configuration in force was taken",
            Unit::Seconds,
            self.last_reload_success.clone(),
        );
        all.register("config_info", "The configuration in force", self.info.clone());
        all
    }

    /// Counts a finished request.
    pub fn request(&self, operation: &'static str, status: u16, client: &Arc<str>) {
        let labels = RequestLabels { operation, status, client: Name(client.clone()) };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts a change of the file.
    pub fn reload(&self, success: bool) {
        let result = if success { "success" } else { "rejected" };
        self.reloads.get_or_create(&ReloadLabels { result }).inc();
        self.last_reload_successful.set(i64::from(success));
    }

    /// Says which configuration is in force since when.
    pub fn config(&self, hash: &str, unix_time: u64) {
        self.info.clear();
        self.info.get_or_create(&InfoLabels { hash: hash.to_owned() }).set(1);
        self.last_reload_success.set(i64::try_from(unix_time).unwrap_or(i64::MAX));
        self.last_reload_successful.set(1);
    }

    /// The meter of a key.
    pub fn key(&self, provider: &Arc<str>, key: &Arc<str>) -> KeyMeter {
        let labels = (Name(provider.clone()), Name(key.clone()));
        let token = |kind| {
            let labels = TokenLabels { provider: labels.0.clone(), key: labels.1.clone(), kind };
            self.tokens.get_or_create_owned(&labels)
        };
        KeyMeter {
            answered: self.attempts.get_or_create_owned(&AttemptLabels {
                provider: labels.0.clone(),
                key: labels.1.clone(),
                class: "ok",
            }),
            input: token("input"),
            cached: token("cached_input"),
            output: token("output"),
            attempts: self.attempts.clone(),
            labels,
        }
    }

    /// The meter of a provider.
    pub fn provider(&self, name: &Arc<str>) -> ProviderMeter {
        let labels = ProviderLabels { provider: Name(name.clone()) };
        ProviderMeter {
            duration: self.durations.get_or_create_owned(&labels),
            first_byte: self.first_bytes.get_or_create_owned(&labels),
        }
    }

    /// Everything, in the text format.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a String cannot fail.
        let _ = encode(&mut out, &registry);
        out
    }
}

impl KeyMeter {
    /// Counts an attempt that was answered.
    pub fn answered(&self) {
        self.answered.inc();
    }

    /// Counts an attempt that failed, under its class.
    pub fn failed(&self, class: &'static str) {
        let (provider, key) = self.labels.clone();
        self.attempts.get_or_create(&AttemptLabels { provider, key, class }).inc();
    }

    /// Adds up tokens.
    pub fn tokens(&self, input: Option<u64>, cached: Option<u64>, output: Option<u64>) {
        for (counter, tokens) in
            [(&self.input, input), (&self.cached, cached), (&self.output, output)]
        {
            if let Some(tokens) = tokens {
                counter.inc_by(tokens);
            }
        }
    }
}
