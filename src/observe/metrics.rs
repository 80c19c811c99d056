//! Counters, gauges and histograms in the OpenMetrics text format. Every label value comes from the
//! configuration or from a fixed list, so the configuration bounds their number.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::series::Series;

/// Buckets for request durations and times to the first byte: from an echo to a long reasoning answer.
const BUCKETS_SECONDS: [f64; 15] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];

/// All metrics of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Series<RequestLabels, Counter>,
    attempts: Series<AttemptLabels, Counter>,
    tokens: Series<KeyKindLabels, Counter>,
    request_durations: Series<ProviderLabels, Histogram>,
    times_to_first_byte: Series<ProviderLabels, Histogram>,
    rescues: Series<ProviderLabels, Counter>,
    key_cooling: Series<KeyLabels, Gauge>,
    key_cooling_models: Series<KeyLabels, Gauge>,
    key_in_flight: Series<KeyLabels, Gauge>,
    key_limits: Series<KeyKindLabels, Gauge>,
    key_remaining: Series<KeyKindLabels, Gauge>,
    config_info: Series<InfoLabels, Gauge>,
    reloads: Series<ReloadLabels, Counter>,
    /// Requests under way.
    pub in_flight: Gauge,
    /// Open connections of callers.
    pub connections: Gauge,
    /// 1 if the current content of the file is active, 0 if it was rejected.
    pub last_reload_successful: Gauge,
    /// Unix time at which the active configuration was loaded.
    pub last_reload_success: Gauge,
}

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
struct ProviderLabels {
    provider: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct KeyLabels {
    provider: Name,
    key: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct KeyKindLabels {
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

/// A name of the configuration, shared and not copied.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Name(Arc<str>);

impl EncodeLabelValue for Name {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
        encoder.write_str(&self.0)
    }
}

/// The metrics of one client.
#[derive(Debug)]
pub struct ClientMeter {
    requests: Series<RequestLabels, Counter>,
    client: Name,
    /// The counters used so far. A scan of these few is cheaper than a map.
    used: Mutex<Vec<(&'static str, u16, Counter)>>,
}

/// The metrics of one key. They are looked up once per configuration, so that a request only adds.
#[derive(Clone, Debug)]
pub struct KeyMeter {
    attempts: Series<AttemptLabels, Counter>,
    labels: KeyLabels,
    successes: Counter,
    input: Counter,
    cached_input: Counter,
    output: Counter,
    cooling: Gauge,
    cooling_models: Gauge,
    in_flight: Gauge,
    limits: Series<KeyKindLabels, Gauge>,
    remaining: Series<KeyKindLabels, Gauge>,
}

/// The metrics of one provider.
#[derive(Clone, Debug)]
pub struct ProviderMeter {
    /// Seconds from the head of the request to the last byte of its answer.
    pub duration: Histogram,
    /// Seconds from the head of the request to the first byte from the provider.
    pub first_byte: Histogram,
    /// Broken streams of this provider that another attempt has continued.
    pub rescues: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram = || Histogram::new(BUCKETS_SECONDS);
        let mut metrics = Self {
            registry: Mutex::default(),
            requests: Series::default(),
            attempts: Series::default(),
            tokens: Series::default(),
            request_durations: Series::new(histogram),
            times_to_first_byte: Series::new(histogram),
            rescues: Series::default(),
            key_cooling: Series::default(),
            key_cooling_models: Series::default(),
            key_in_flight: Series::default(),
            key_limits: Series::default(),
            key_remaining: Series::default(),
            config_info: Series::default(),
            reloads: Series::default(),
            in_flight: Gauge::default(),
            connections: Gauge::default(),
            last_reload_successful: Gauge::default(),
            last_reload_success: Gauge::default(),
        };
        let mut registry = Registry::with_prefix("keymux");
        metrics.register_traffic(&mut registry);
        metrics.register_keys(&mut registry);
        metrics.register_process(&mut registry);
        metrics.registry = Mutex::new(registry);
        metrics
    }
}

impl Metrics {
    fn register_traffic(&self, all: &mut Registry) {
        all.register("requests", "Finished requests", self.requests.clone());
        all.register("attempts", "Attempts at providers by result", self.attempts.clone());
        let help = "Broken streams that another attempt has continued, by the provider that broke";
        all.register("rescues", help, self.rescues.clone());
        all.register("tokens", "Tokens as counted by the providers", self.tokens.clone());
        all.register_with_unit(
            "request_duration",
            "Time from the head of a request to the last byte of its answer",
            Unit::Seconds,
            self.request_durations.clone(),
        );
        all.register_with_unit(
            "time_to_first_byte",
            "Time from the head of a request to the first byte from the provider",
            Unit::Seconds,
            self.times_to_first_byte.clone(),
        );
        all.register_with_unit(
            "first_byte",
            "Deprecated, use keymux_time_to_first_byte_seconds",
            Unit::Seconds,
            self.times_to_first_byte.clone(),
        );
    }

    fn register_keys(&self, all: &mut Registry) {
        let help = "1 while the key is cooling down after failures, with all models";
        all.register("key_cooling", help, self.key_cooling.clone());
        let help = "Number of models with which the key is cooling down";
        all.register("key_cooling_models", help, self.key_cooling_models.clone());
        let help = "Requests under way with the key";
        all.register("key_in_flight_requests", help, self.key_in_flight.clone());
        all.register("key_limit", "Configured limits of the key", self.key_limits.clone());
        let help = "Remaining rate limit that the provider reports, of the model with the least";
        all.register("key_rate_limit_remaining", help, self.key_remaining.clone());
        let help = "Deprecated, use keymux_key_rate_limit_remaining";
        all.register("key_remaining", help, self.key_remaining.clone());
    }

    fn register_process(&self, all: &mut Registry) {
        all.register("in_flight_requests", "Requests under way", self.in_flight.clone());
        all.register("connections", "Open connections of callers", self.connections.clone());
        all.register("config_reloads", "Reloads of the configuration", self.reloads.clone());
        all.register(
            "config_last_reload_successful",
            "1 if the current content of the file is active, 0 if it was rejected",
            self.last_reload_successful.clone(),
        );
        all.register_with_unit(
            "config_last_reload_success_timestamp",
            "Unix time at which the active configuration was loaded",
            Unit::Seconds,
            self.last_reload_success.clone(),
        );
        all.register("config_info", "The active configuration", self.config_info.clone());
    }

    /// Counts a reload of the configuration.
    pub fn record_reload(&self, success: bool) {
        let result = if success { "success" } else { "rejected" };
        self.reloads.with(ReloadLabels { result }).inc();
        self.last_reload_successful.set(i64::from(success));
    }

    /// Sets the hash of the active configuration and the Unix time at which it was loaded.
    pub fn set_active_config(&self, hash: &str, unix_time: u64) {
        self.config_info.retain(|_| false);
        self.config_info.with(InfoLabels { hash: hash.to_owned() }).set(1);
        self.last_reload_success.set(i64::try_from(unix_time).unwrap_or(i64::MAX));
        self.last_reload_successful.set(1);
    }

    /// Returns the meter of a client. The empty name is for requests without a client.
    pub fn client(&self, name: &Arc<str>) -> ClientMeter {
        ClientMeter {
            requests: self.requests.clone(),
            client: Name(name.clone()),
            used: Mutex::default(),
        }
    }

    /// Returns the meter of a key.
    pub fn key(&self, provider: &Arc<str>, key: &Arc<str>) -> KeyMeter {
        let labels = KeyLabels { provider: Name(provider.clone()), key: Name(key.clone()) };
        let tokens = |kind| self.tokens.with(labels.with_kind(kind));
        KeyMeter {
            successes: self.attempts.with(labels.with_class("ok")),
            attempts: self.attempts.clone(),
            input: tokens("input"),
            cached_input: tokens("cached_input"),
            output: tokens("output"),
            cooling: self.key_cooling.with(labels.clone()),
            cooling_models: self.key_cooling_models.with(labels.clone()),
            in_flight: self.key_in_flight.with(labels.clone()),
            limits: self.key_limits.clone(),
            remaining: self.key_remaining.clone(),
            labels,
        }
    }

    /// Returns the meter of a provider.
    pub fn provider(&self, name: &Arc<str>) -> ProviderMeter {
        let labels = || ProviderLabels { provider: Name(name.clone()) };
        ProviderMeter {
            duration: self.request_durations.with(labels()),
            first_byte: self.times_to_first_byte.with(labels()),
            rescues: self.rescues.with(labels()),
        }
    }

    /// Removes the metrics of clients, providers and keys that the conditions do not keep. A request that
    /// is still under way may create one again; the next reload removes it.
    pub fn retain(
        &self,
        client: impl Fn(&str) -> bool,
        provider: impl Fn(&str) -> bool,
        key: impl Fn(&str, &str) -> bool,
    ) {
        self.requests.retain(|own| own.client.0.is_empty() || client(&own.client.0));
        let provider = |own: &ProviderLabels| provider(&own.provider.0);
        self.request_durations.retain(provider);
        self.times_to_first_byte.retain(provider);
        self.rescues.retain(provider);
        let key = |provider: &Name, name: &Name| key(&provider.0, &name.0);
        self.attempts.retain(|own| key(&own.provider, &own.key));
        for series in [&self.key_cooling, &self.key_cooling_models, &self.key_in_flight] {
            series.retain(|own| key(&own.provider, &own.key));
        }
        self.tokens.retain(|own| key(&own.provider, &own.key));
        for series in [&self.key_limits, &self.key_remaining] {
            series.retain(|own| key(&own.provider, &own.key));
        }
    }

    /// Returns all metrics in the OpenMetrics text format.
    pub fn encode(&self) -> String {
        let mut out = String::new();
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String cannot fail.
        let _ = encode(&mut out, &registry);
        out
    }
}

impl ClientMeter {
    /// Counts a finished request.
    pub fn record_request(&self, operation: &'static str, status: u16) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |own: &&(&'static str, u16, Counter)| own.0 == operation && own.1 == status;
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
    /// Counts a successful attempt.
    pub fn record_success(&self) {
        self.successes.inc();
    }

    /// Counts a failed attempt by the class of its failure.
    pub fn record_failure(&self, class: &'static str) {
        self.attempts.with(self.labels.with_class(class)).inc();
    }

    /// Sets whether the key is cooling down as a whole, and with how many models.
    pub fn set_cooldowns(&self, key: bool, models: usize) {
        self.cooling.set(i64::from(key));
        self.cooling_models.set(i64::try_from(models).unwrap_or(i64::MAX));
    }

    /// Sets the number of requests under way.
    pub fn set_in_flight(&self, requests: u32) {
        self.in_flight.set(requests.into());
    }

    /// Sets the configured limits, by kind.
    pub fn set_limits(&self, limits: [(&'static str, Option<u32>); 3]) {
        for (kind, limit) in limits {
            self.set_or_remove(&self.limits, kind, limit.map(i64::from));
        }
    }

    /// Sets the remaining limits that the provider reports, by kind.
    pub fn set_remaining(&self, remaining: [(&'static str, Option<u64>); 3]) {
        for (kind, amount) in remaining {
            let amount = amount.map(|amount| i64::try_from(amount).unwrap_or(i64::MAX));
            self.set_or_remove(&self.remaining, kind, amount);
        }
    }

    /// Adds the tokens of a request, as far as the provider has counted them.
    pub fn add_tokens(&self, input: Option<u64>, cached_input: Option<u64>, output: Option<u64>) {
        for (counter, tokens) in
            [(&self.input, input), (&self.cached_input, cached_input), (&self.output, output)]
        {
            if let Some(tokens) = tokens {
                counter.inc_by(tokens);
            }
        }
    }

    fn set_or_remove(
        &self,
        series: &Series<KeyKindLabels, Gauge>,
        kind: &'static str,
        value: Option<i64>,
    ) {
        let labels = self.labels.with_kind(kind);
        match value {
            Some(value) => {
                series.with(labels).set(value);
            }
            None => series.retain(|own| *own != labels),
        }
    }
}

impl KeyLabels {
    fn with_kind(&self, kind: &'static str) -> KeyKindLabels {
        let Self { provider, key } = self.clone();
        KeyKindLabels { provider, key, kind }
    }

    fn with_class(&self, class: &'static str) -> AttemptLabels {
        let Self { provider, key } = self.clone();
        AttemptLabels { provider, key, class }
    }
}
