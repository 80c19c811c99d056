//! Counters and histograms, in the Prometheus text format. Every label comes from the configuration
//! or from a fixed list, so their number is bounded by the file.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::series::Series;

/// Buckets for whole requests and first bytes: from an echo to a long reasoning answer.
const SECONDS: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// All that is counted. One for the life of the program.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    /// Finished requests.
    requests: Series<RequestLabels, Counter>,
    attempts: Series<AttemptLabels, Counter>,
    tokens: Series<TokenLabels, Counter>,
    durations: Series<ProviderLabels, Histogram>,
    first_bytes: Series<ProviderLabels, Histogram>,
    rescues: Series<ProviderLabels, Counter>,
    cooling: Series<KeyLabels, Gauge>,
    cooling_models: Series<KeyLabels, Gauge>,
    key_in_flight: Series<KeyLabels, Gauge>,
    key_limits: Series<LimitLabels, Gauge>,
    key_remaining: Series<LimitLabels, Gauge>,
    info: Series<InfoLabels, Gauge>,
    reloads: Series<ReloadLabels, Counter>,
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
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    status: u16,
    client: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct AttemptLabels {
    provider: Name,
    key: Name,
    class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct TokenLabels {
    provider: Name,
    key: Name,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct ProviderLabels {
    provider: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct KeyLabels {
    provider: Name,
    key: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct LimitLabels {
    provider: Name,
    key: Name,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct InfoLabels {
    hash: String,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct ReloadLabels {
    result: &'static str,
}

/// A name out of the configuration, shared and not copied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name(Arc<str>);

impl prometheus_client::encoding::EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(&self.0)
    }
}

/// What is counted of one client.
#[derive(Debug)]
pub struct ClientMeter {
    requests: Series<RequestLabels, Counter>,
    client: Name,
    /// The counters used so far. They are few: looking along them is cheaper than a map.
    used: Mutex<Vec<(&'static str, u16, Counter)>>,
}

/// What is counted of one key; looked up once per configuration, so that a request only adds.
#[derive(Clone, Debug)]
pub struct KeyMeter {
    attempts: Series<AttemptLabels, Counter>,
    labels: (Name, Name),
    answered: Counter,
    input: Counter,
    cached: Counter,
    output: Counter,
    cooling: Gauge,
    cooling_models: Gauge,
    in_flight: Gauge,
    limits: Series<LimitLabels, Gauge>,
    remaining: Series<LimitLabels, Gauge>,
}

/// What is counted of one provider.
#[derive(Clone, Debug)]
pub struct ProviderMeter {
    /// Seconds from the request's head to its answer's last byte.
    pub duration: Histogram,
    /// Seconds from the request's head to the provider's first byte.
    pub first_byte: Histogram,
    /// Broken streams of this provider that another attempt has taken over.
    pub rescues: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry: Mutex::default(),
            requests: Series::default(),
            attempts: Series::default(),
            tokens: Series::default(),
            durations: Series::new(histogram),
            first_bytes: Series::new(histogram),
            rescues: Series::default(),
            cooling: Series::default(),
            cooling_models: Series::default(),
            key_in_flight: Series::default(),
            key_limits: Series::default(),
            key_remaining: Series::default(),
            info: Series::default(),
            reloads: Series::default(),
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
        let help = "Broken streams that another attempt has taken over, by the provider that broke";
        all.register("rescues", help, self.rescues.clone());
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
        all.register(
            "key_cooling",
            "Whether the key is left alone after failures",
            self.cooling.clone(),
        );
        all.register(
            "key_cooling_models",
            "Models that the key is left alone with",
            self.cooling_models.clone(),
        );
        all.register(
            "key_in_flight_requests",
            "Requests under way with the key",
            self.key_in_flight.clone(),
        );
        all.register("key_limit", "The limits that the file has", self.key_limits.clone());
        all.register(
            "key_remaining",
            "What the provider has said is left, of the model with least",
            self.key_remaining.clone(),
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

    /// Counts a change of the file.
    pub fn record_reload(&self, success: bool) {
        let result = if success { "success" } else { "rejected" };
        self.reloads.with(ReloadLabels { result }).inc();
        self.last_reload_successful.set(i64::from(success));
    }

    /// Says which configuration is in force since when.
    pub fn set_active_config(&self, hash: &str, unix_time: u64) {
        self.info.keep(|_| false);
        self.info.with(InfoLabels { hash: hash.to_owned() }).set(1);
        self.last_reload_success.set(i64::try_from(unix_time).unwrap_or(i64::MAX));
        self.last_reload_successful.set(1);
    }

    /// The meter of a client; of callers that have no name when it is empty.
    pub fn client(&self, name: &Arc<str>) -> ClientMeter {
        ClientMeter {
            requests: self.requests.clone(),
            client: Name(name.clone()),
            used: Mutex::default(),
        }
    }

    /// The meter of a key.
    pub fn key(&self, provider: &Arc<str>, key: &Arc<str>) -> KeyMeter {
        let (provider, key) = (Name(provider.clone()), Name(key.clone()));
        let token = |kind| {
            self.tokens.with(TokenLabels { provider: provider.clone(), key: key.clone(), kind })
        };
        let labels = || KeyLabels { provider: provider.clone(), key: key.clone() };
        let mut meter = KeyMeter {
            cooling: self.cooling.with(labels()),
            cooling_models: self.cooling_models.with(labels()),
            in_flight: self.key_in_flight.with(labels()),
            limits: self.key_limits.clone(),
            remaining: self.key_remaining.clone(),
            input: token("input"),
            cached: token("cached_input"),
            output: token("output"),
            answered: Counter::default(),
            attempts: self.attempts.clone(),
            labels: (provider, key),
        };
        meter.answered = meter.attempt("ok");
        meter
    }

    /// The meter of a provider.
    pub fn provider(&self, name: &Arc<str>) -> ProviderMeter {
        let labels = || ProviderLabels { provider: Name(name.clone()) };
        ProviderMeter {
            duration: self.durations.with(labels()),
            first_byte: self.first_bytes.with(labels()),
            rescues: self.rescues.with(labels()),
        }
    }

    /// Takes away what was counted of clients, providers and their keys that are no more. What is
    /// on its way still may bring one back; it goes with the next change.
    pub fn retain(
        &self,
        client: impl Fn(&str) -> bool,
        provider: impl Fn(&str) -> bool,
        key: impl Fn(&str, &str) -> bool,
    ) {
        self.requests.keep(|of| of.client.0.is_empty() || client(&of.client.0));
        self.durations.keep(|of| provider(&of.provider.0));
        self.first_bytes.keep(|of| provider(&of.provider.0));
        self.rescues.keep(|of| provider(&of.provider.0));
        self.attempts.keep(|of| key(&of.provider.0, &of.key.0));
        self.tokens.keep(|of| key(&of.provider.0, &of.key.0));
        self.cooling.keep(|of| key(&of.provider.0, &of.key.0));
        self.cooling_models.keep(|of| key(&of.provider.0, &of.key.0));
        self.key_in_flight.keep(|of| key(&of.provider.0, &of.key.0));
        self.key_limits.keep(|of| key(&of.provider.0, &of.key.0));
        self.key_remaining.keep(|of| key(&of.provider.0, &of.key.0));
    }

    /// Everything, in the text format.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing into a String cannot fail.
        let _ = encode(&mut out, &registry);
        out
    }
}

impl ClientMeter {
    /// Counts a finished request.
    pub fn record_request(&self, operation: &'static str, status: u16) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |of: &&(&'static str, u16, Counter)| of.0 == operation && of.1 == status;
        if let Some((_, _, counter)) = used.iter().find(same) {
            counter.inc();
            return;
        }
        let client = self.client.clone();
        let counter = self.requests.with(RequestLabels { operation, status, client });
        counter.inc();
        used.push((operation, status, counter));
    }
}

impl KeyMeter {
    /// Counts an attempt that was answered.
    pub fn record_success(&self) {
        self.answered.inc();
    }

    /// Counts an attempt that failed, under its class.
    pub fn record_failure(&self, class: &'static str) {
        self.attempt(class).inc();
    }

    /// Says whether the key is left alone, and with how many models.
    pub fn set_cooldowns(&self, key: bool, models: usize) {
        self.cooling.set(i64::from(key));
        self.cooling_models.set(i64::try_from(models).unwrap_or(i64::MAX));
    }

    /// Says how many requests are under way.
    pub fn set_in_flight(&self, requests: u32) {
        self.in_flight.set(requests.into());
    }

    /// Says which limits the file has for the key, by name.
    pub fn set_limits(&self, limits: [(&'static str, Option<u32>); 3]) {
        for (kind, limit) in limits {
            self.tell(&self.limits, kind, limit.map(i64::from));
        }
    }

    /// Says what the provider has left to the key, by name.
    pub fn set_remaining(&self, remaining: [(&'static str, Option<u64>); 3]) {
        for (kind, left) in remaining {
            let left = left.map(|left| i64::try_from(left).unwrap_or(i64::MAX));
            self.tell(&self.remaining, kind, left);
        }
    }

    /// Nothing is told of what is not known.
    fn tell(&self, series: &Series<LimitLabels, Gauge>, kind: &'static str, value: Option<i64>) {
        let (provider, key) = self.labels.clone();
        let labels = LimitLabels { provider, key, kind };
        match value {
            Some(value) => {
                series.with(labels).set(value);
            }
            None => series.keep(|known| *known != labels),
        }
    }

    fn attempt(&self, class: &'static str) -> Counter {
        let (provider, key) = self.labels.clone();
        self.attempts.with(AttemptLabels { provider, key, class })
    }

    /// Adds up tokens.
    pub fn add_tokens(&self, input: Option<u64>, cached: Option<u64>, output: Option<u64>) {
        for (counter, tokens) in
            [(&self.input, input), (&self.cached, cached), (&self.output, output)]
        {
            if let Some(tokens) = tokens {
                counter.inc_by(tokens);
            }
        }
    }
}
