//! The running program: everything that a request needs, built from a [`Config`] and swapped as a whole. Each
//! part uses only those before it in this list:
//!
//! ```text
//! deadline.rs      a timer for deadlines that move
//! catch_panic.rs   confines a panic to its request
//! tls.rs           TLS of the listener
//! retry_budget.rs  limits retries after provider failures
//! body_memory.rs   bounds the memory of large bodies
//! mod.rs           `Gateway`: a configuration with its live parts; `Live`: the current gateway
//! record.rs        writes the access line and the counters when a request ends
//! response/        the response to a caller: forwarded, held, or an error of our own
//! attempt/         sends a request with key after key until a response begins
//! request/         one request, from its head to the response
//! server/          connections, HTTP on them, and their limits
//! reload.rs        a change of the file: watch, load, build, swap, report; diff.rs: what changed
//! check.rs         tests keys with a free call to their provider
//! ```

mod attempt;
mod body_memory;
pub mod catch_panic;
pub mod check;
mod deadline;
mod diff;
mod record;
pub mod reload;
mod request;
mod response;
mod retry_budget;
#[cfg(test)]
mod scripted_provider;
pub mod server;
mod tls;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Instant, SystemTime};

use arc_swap::ArcSwap;
use http::HeaderValue;
use rustls::ServerConfig;

use self::body_memory::BodyMemory;
use self::retry_budget::Retries;
use crate::config::{Client, Config, Key, ServerAuth};
use crate::keys::concurrency::ConcurrencyLimit;
use crate::keys::{KeyState, Pool, PooledKey};
use crate::observe::log::Log;
use crate::observe::metrics::{ClientMeter, KeyMeter, Metrics, ProviderMeter};
use crate::secret::Secret;
use crate::share::TurnCounter;
use crate::upstream::{CarryOver, Upstream};

/// Everything that a request needs. It never changes once built: a request keeps the one it began with.
#[derive(Debug)]
pub struct Gateway {
    /// The configuration it was built from.
    pub config: Config,
    /// The index of each client, by the digest of its key.
    clients_by_digest: HashMap<[u8; 32], usize>,
    /// The index of each client that signs its requests, by its AWS access key.
    clients_by_access_key: HashMap<String, usize>,
    /// The metrics of each client, in the order of [`Config::clients`].
    client_meters: Vec<ClientMeter>,
    /// The metrics of callers without a client.
    anonymous_meter: ClientMeter,
    /// The concurrency limit of each client, in the order of [`Config::clients`].
    client_limits: Vec<Arc<ConcurrencyLimit>>,
    providers: Vec<Provider>,
    turns: Arc<TurnCounter>,
    retries: Arc<Retries>,
    kept: CarryOver,
    tls: Option<Arc<ServerConfig>>,
}

/// One provider of the configuration with its live parts, in the order of [`Config::providers`].
#[derive(Debug)]
struct Provider {
    pool: Pool,
    upstream: Upstream,
    meter: ProviderMeter,
    /// The metrics of each key.
    keys: Vec<KeyMeter>,
    /// The values of the response headers that name the provider and each key.
    header_names: Vec<(HeaderValue, HeaderValue)>,
    /// A script that answers in place of the provider.
    #[cfg(test)]
    script: Option<scripted_provider::Script>,
}

/// The indexes of a provider in the configuration and of one of its keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct KeyIndex {
    provider: usize,
    key: usize,
}

impl Gateway {
    /// Builds the gateway of a configuration. It takes over connections, tokens, key health, the retry budget and
    /// concurrency counts of `before`, its predecessor, for everything that is the same. The predecessor itself
    /// does not change, except that shared limits get their new values when the build succeeds. Must be called
    /// within the tokio runtime.
    ///
    /// # Errors
    ///
    /// When a TLS client or the server's TLS settings cannot be built.
    pub fn build(config: Config, before: Option<&Gateway>, metrics: &Metrics) -> io::Result<Self> {
        let mut kept = CarryOver::default();
        let mut providers = Vec::with_capacity(config.providers.len());
        for provider in &config.providers {
            let old = before.and_then(|gateway| gateway.provider(&provider.name));
            providers.push(Provider {
                pool: Pool::new(provider, old.map(|old| &old.pool)),
                upstream: Upstream::new(provider, &mut kept, before.map(|b| &b.kept))?,
                meter: metrics.provider(&provider.name),
                keys: provider
                    .keys
                    .iter()
                    .map(|key| metrics.key(&key.provider, &key.name))
                    .collect(),
                header_names: provider.keys.iter().map(|key| header_names(key)).collect(),
                #[cfg(test)]
                script: None,
            });
        }
        let clients_by_digest =
            config.clients.iter().enumerate().map(|(at, client)| (client.key_sha256, at));
        let clients_by_access_key = config.clients.iter().enumerate().filter_map(|(at, client)| {
            client.aws.as_ref().map(|caller| (caller.access_key.clone(), at))
        });
        let client_limits = config.clients.iter().map(|client| {
            let old = before.and_then(|gateway| gateway.client_limit(&client.name));
            old.map_or_else(|| ConcurrencyLimit::new(client.max_concurrent), Arc::clone)
        });
        let gateway = Self {
            clients_by_digest: clients_by_digest.collect(),
            clients_by_access_key: clients_by_access_key.collect(),
            client_limits: client_limits.collect(),
            client_meters: config.clients.iter().map(|c| metrics.client(&c.name)).collect(),
            anonymous_meter: metrics.client(&Arc::default()),
            providers,
            turns: before.map_or_else(Arc::default, |gateway| gateway.turns.clone()),
            retries: before.map_or_else(Arc::default, |gateway| gateway.retries.clone()),
            kept,
            tls: config.server.tls.as_ref().map(tls::server_config).transpose()?,
            config,
        };
        gateway.apply_limits();
        Ok(gateway)
    }

    /// Applies its values to the limits that it shares with its predecessor.
    fn apply_limits(&self) {
        self.providers.iter().for_each(|provider| provider.pool.apply_limits());
        for (client, limit) in self.config.clients.iter().zip(&self.client_limits) {
            limit.set_limit(client.max_concurrent);
        }
    }

    /// Returns the concurrency limit of the client with this name.
    fn client_limit(&self, client: &str) -> Option<&Arc<ConcurrencyLimit>> {
        let at = self.config.clients.iter().position(|own| &*own.name == client)?;
        self.client_limits.get(at)
    }

    /// Returns all keys with their state, in the order of the file.
    pub fn keys(&self) -> impl Iterator<Item = &PooledKey> {
        self.providers.iter().flat_map(|provider| provider.pool.keys())
    }

    /// Updates the gauges of all keys.
    pub fn update_key_gauges(&self) {
        let now = Instant::now();
        for provider in &self.providers {
            for (member, meter) in provider.pool.keys().iter().zip(&provider.keys) {
                let (key, models) = member.health.states(now);
                meter.set_cooldowns(key != KeyState::Available, models.len());
                meter.set_in_flight(member.concurrency.in_use());
                let Key { max_concurrent, rpm, tpm, .. } = *member.key;
                meter.set_limits([("max_concurrent", max_concurrent), ("rpm", rpm), ("tpm", tpm)]);
                let reported = member.reported_limits.current(now);
                meter.set_remaining(["requests", "tokens", "output_tokens"].map(|kind| {
                    let left = reported
                        .iter()
                        .filter(|limit| limit.kind == kind)
                        .map(|limit| limit.remaining);
                    (kind, left.min())
                }));
            }
        }
    }

    fn provider(&self, name: &str) -> Option<&Provider> {
        let at = self.config.providers.iter().position(|provider| &*provider.name == name)?;
        self.providers.get(at)
    }

    /// Returns the client whose key has this digest, and its index.
    fn client(&self, digest: &[u8; 32]) -> Option<(usize, &Client)> {
        // The timing of the lookup reveals something about the SHA-256 of a guess, which does not help with the
        // next guess.
        let at = *self.clients_by_digest.get(digest)?;
        let client = &self.config.clients[at];
        aws_lc_rs::constant_time::verify_slices_are_equal(&client.key_sha256, digest).ok()?;
        Some((at, client))
    }

    /// Returns the client that signs with this access key, its index, and its secret key.
    fn signer(&self, access_key: &str) -> Option<(usize, &Client, &Secret)> {
        let at = *self.clients_by_access_key.get(access_key)?;
        let client = &self.config.clients[at];
        Some((at, client, &client.aws.as_ref()?.secret_key))
    }

    /// Returns the metrics of the client with this index, or of callers without a client.
    fn client_meter(&self, client: Option<usize>) -> &ClientMeter {
        client.and_then(|at| self.client_meters.get(at)).unwrap_or(&self.anonymous_meter)
    }

    /// Returns true if callers need no key.
    fn is_open(&self) -> bool {
        self.config.server.auth == ServerAuth::None || self.config.clients.is_empty()
    }
}

/// Returns the names of provider and key as header values. Bytes outside ASCII are percent-encoded.
fn header_names(key: &Key) -> (HeaderValue, HeaderValue) {
    let value = |name: &str| {
        let mut text = String::with_capacity(name.len());
        for byte in name.bytes() {
            if byte.is_ascii_graphic() || byte == b' ' {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
        }
        HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("?"))
    };
    (value(&key.provider), value(&key.name))
}

/// The current gateway, and the state that outlives every gateway.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Gateway>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Writes the access log.
    pub log: Log,
    /// The result of the latest change of the file.
    pub last_reload: Mutex<ReloadOutcome>,
    body_memory: BodyMemory,
    stopping: AtomicBool,
    cut: AtomicBool,
}

/// The result of a change of the file.
#[derive(Clone, Debug)]
pub enum ReloadOutcome {
    /// It is active since then.
    Applied(SystemTime),
    /// It was rejected then, for these problems, and the one before stays active.
    Rejected(SystemTime, Vec<String>),
}

impl Default for ReloadOutcome {
    fn default() -> Self {
        ReloadOutcome::Applied(SystemTime::now())
    }
}

impl Live {
    /// Starts with this gateway.
    pub fn new(gateway: Gateway, metrics: Arc<Metrics>, log: Log) -> Self {
        Self {
            current: ArcSwap::from_pointee(gateway),
            metrics,
            log,
            last_reload: Mutex::default(),
            body_memory: BodyMemory::default(),
            stopping: AtomicBool::new(false),
            cut: AtomicBool::new(false),
        }
    }

    /// Returns the current gateway.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.current.load_full()
    }

    /// Makes `next` the current gateway; running requests keep theirs. The metrics of clients and keys that it does
    /// not have are dropped.
    fn swap(&self, next: Gateway) {
        let next = Arc::new(next);
        self.current.store(next.clone());
        let config = &next.config;
        let provider = |name: &str| config.providers.iter().find(|own| &*own.name == name);
        self.metrics.retain(
            |name| config.clients.iter().any(|own| &*own.name == name),
            |name| provider(name).is_some(),
            |name, key| provider(name).is_some_and(|own| own.keys.iter().any(|k| &*k.name == key)),
        );
    }

    /// Records the stop signal.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Records that the drain timeout has passed.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Returns true after the stop signal: no connections are accepted, and `/readyz` reports 503.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Returns true after the drain timeout: running responses end with an error now.
    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }
}
