//! The running program: what one request needs, built from a [`Config`] and swapped whole.
//!
//! ```text
//! serve.rs    accept, connection limits, TLS             a caller's connection
//!   protocol.rs  HTTP/1 or HTTP/2 on it, until it ends or is drained
//!   conn.rs   deadlines on its reads and writes (alarm.rs)
//!   head.rs   what the library does not tell of a head, and its refusals in our words
//!   pace.rs   whether an HTTP/2 caller takes its answer
//! handle.rs   one request, top to bottom                 a request
//!   callers.rs   who sends it
//!   incoming.rs  its body, under the limits
//!   attempt/walk.rs  keys and providers in order, until one answers; attempt.rs: one of them
//!   stored.rs    files, batches and what else providers keep; ids.rs: whose they are
//! relay.rs    the answer's body on its way through       an answer
//!   rescue.rs    a stream that may take more than one attempt
//! contain.rs  a panic is one request's end
//! answer.rs   whatever keymux says itself, and every status code it chooses
//! record.rs   what is told of a request when it is over
//! models.rs   the models list, made from the configuration
//! reload.rs   watch -> load -> build -> swap -> tell     the next Gateway
//!   changes.rs   what is different in it, in words
//! check.rs    whether the providers take the keys
//! ```

mod alarm;
mod answer;
mod attempt;
mod callers;
mod changes;
pub mod check;
mod conn;
pub mod contain;
mod handle;
mod head;
mod ids;
mod incoming;
mod models;
mod pace;
mod protocol;
mod record;
mod relay;
pub mod reload;
mod rescue;
pub mod serve;
mod stored;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use arc_swap::ArcSwap;
use http::HeaderValue;
use rustls::ServerConfig;

use self::attempt::Retries;
use crate::config::{Client, Config, Key, ServerAuth};
use crate::keys::places::Places;
use crate::keys::{Member, Pool, Standing};
use crate::observe::log::Log;
use crate::observe::metrics::{ClientMeter, KeyMeter, Metrics, ProviderMeter};
use crate::secret::Secret;
use crate::share::TurnCounter;
use crate::upstream::{Kept, Upstream};

/// All that one request needs. Never changed once built: a request holds on to the one it began with.
#[derive(Debug)]
pub struct Gateway {
    /// The configuration it was built from.
    pub config: Config,
    callers: HashMap<[u8; 32], usize>,
    /// By the access key that callers in the manner of AWS name.
    signers: HashMap<String, usize>,
    /// At the same places as in [`Config::clients`].
    client_meters: Vec<ClientMeter>,
    /// What is counted of callers that have no name.
    nobody: ClientMeter,
    /// Requests under way, at the same places as in [`Config::clients`].
    client_places: Vec<Arc<Places>>,
    providers: Vec<Provider>,
    turns: Arc<TurnCounter>,
    retries: Arc<Retries>,
    kept: Kept,
    tls: Option<Arc<ServerConfig>>,
}

/// One provider of the configuration with its live parts; at the same place as in
/// [`Config::providers`].
#[derive(Debug)]
struct Provider {
    pool: Pool,
    upstream: Upstream,
    meter: ProviderMeter,
    keys: Vec<KeyMeter>,
    /// For each key, what answers call its provider and it.
    names: Vec<(HeaderValue, HeaderValue)>,
    /// Answers in place of the provider.
    #[cfg(test)]
    script: Option<attempt::tests::Script>,
}

impl Gateway {
    /// Builds the gateway of a configuration beside its predecessor, whose connections, tokens, key
    /// health, retry budget, turns and what is under way it takes over where they are the same. Of the predecessor
    /// nothing is changed but the limits of what is the same, and they only when all went well. Must be called within
    /// the runtime.
    pub fn build(config: Config, before: Option<&Gateway>, metrics: &Metrics) -> io::Result<Self> {
        let mut kept = Kept::default();
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
                names: provider.keys.iter().map(|key| names(key)).collect(),
                #[cfg(test)]
                script: None,
            });
        }
        let callers = config.clients.iter().enumerate().map(|(at, client)| (client.key_sha256, at));
        let signers = config.clients.iter().enumerate().filter_map(|(at, client)| {
            client.aws.as_ref().map(|caller| (caller.access_key.clone(), at))
        });
        let client_places = config.clients.iter().map(|client| {
            let known = before.and_then(|gateway| gateway.places_of(&client.name));
            known.map_or_else(|| Places::new(client.max_concurrent), Arc::clone)
        });
        let gateway = Self {
            callers: callers.collect(),
            signers: signers.collect(),
            client_places: client_places.collect(),
            client_meters: config.clients.iter().map(|c| metrics.client(&c.name)).collect(),
            nobody: metrics.client(&Arc::default()),
            providers,
            turns: before.map_or_else(Arc::default, |gateway| gateway.turns.clone()),
            retries: before.map_or_else(Arc::default, |gateway| gateway.retries.clone()),
            kept,
            tls: config.server.tls.as_ref().map(serve::tls_config).transpose()?,
            config,
        };
        gateway.enforce();
        Ok(gateway)
    }

    /// Puts its limits in force, which it shares with its predecessor.
    fn enforce(&self) {
        self.providers.iter().for_each(|provider| provider.pool.enforce());
        for (client, places) in self.config.clients.iter().zip(&self.client_places) {
            places.limit_to(client.max_concurrent);
        }
    }

    /// What the client of that name takes up.
    fn places_of(&self, client: &str) -> Option<&Arc<Places>> {
        let at = self.config.clients.iter().position(|own| &*own.name == client)?;
        self.client_places.get(at)
    }

    /// All keys with how they fare, in the order of the file.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        self.providers.iter().flat_map(|provider| provider.pool.members())
    }

    /// Brings what the metrics say of how the keys stand up to date.
    pub fn measure(&self) {
        let now = Instant::now();
        for provider in &self.providers {
            for (member, meter) in provider.pool.members().iter().zip(&provider.keys) {
                let (key, models) = member.health.told(now);
                meter.cooling(key != Standing::Free, models.len());
                meter.in_flight(member.places.taken());
                let Key { max_concurrent, rpm, tpm, .. } = *member.key;
                meter.limits([("max_concurrent", max_concurrent), ("rpm", rpm), ("tpm", tpm)]);
                let told = member.learned.told(now);
                meter.remaining(["requests", "tokens", "output_tokens"].map(|of| {
                    let left = told.iter().filter(|rest| rest.of == of).map(|rest| rest.remaining);
                    (of, left.min())
                }));
            }
        }
    }

    fn provider(&self, name: &str) -> Option<&Provider> {
        let at = self.config.providers.iter().position(|provider| &*provider.name == name)?;
        self.providers.get(at)
    }

    /// The client whose key has this digest.
    fn client(&self, digest: &[u8; 32]) -> Option<(usize, &Client)> {
        // What a lookup's timing tells is about the SHA-256 of a guess, which says nothing about the
        // next guess.
        let at = *self.callers.get(digest)?;
        let client = &self.config.clients[at];
        aws_lc_rs::constant_time::verify_slices_are_equal(&client.key_sha256, digest).ok()?;
        Some((at, client))
    }

    /// The client that signs with this access key, and what it signs with.
    fn signer(&self, access_key: &str) -> Option<(usize, &Client, &Secret)> {
        let at = *self.signers.get(access_key)?;
        let client = &self.config.clients[at];
        Some((at, client, &client.aws.as_ref()?.secret_key))
    }

    /// What is counted of the client at this place, or of callers that have no name.
    fn client_meter(&self, client: Option<usize>) -> &ClientMeter {
        client.and_then(|at| self.client_meters.get(at)).unwrap_or(&self.nobody)
    }

    /// Whether callers need no key.
    fn is_open(&self) -> bool {
        self.config.server.auth == ServerAuth::None || self.config.clients.is_empty()
    }
}

/// Provider and key as headers carry them; a name outside ASCII travels percent-encoded.
fn names(key: &Key) -> (HeaderValue, HeaderValue) {
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

/// The program's moving part: the gateway in force, and what outlives every gateway.
#[derive(Debug)]
pub struct Live {
    current: ArcSwap<Gateway>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// Where lines go.
    pub log: Log,
    /// How the latest change of the file fared.
    pub reloaded: Mutex<reload::Outcome>,
    /// What the bodies of callers take.
    bodies: incoming::Store,
    stopping: AtomicBool,
    cut: AtomicBool,
}

impl Live {
    /// Begins with this gateway.
    pub fn new(gateway: Gateway, metrics: Arc<Metrics>, log: Log) -> Self {
        Self {
            current: ArcSwap::from_pointee(gateway),
            metrics,
            log,
            reloaded: Mutex::default(),
            bodies: incoming::Store::default(),
            stopping: AtomicBool::new(false),
            cut: AtomicBool::new(false),
        }
    }

    /// The gateway in force.
    pub fn gateway(&self) -> Arc<Gateway> {
        self.current.load_full()
    }

    /// Puts the next gateway in force; requests that have begun go on with theirs. What was counted of
    /// clients and keys that it does not have is dropped.
    fn swap(&self, next: Gateway) {
        let next = Arc::new(next);
        self.current.store(next.clone());
        let config = &next.config;
        let provider = |name: &str| config.providers.iter().find(|own| &*own.name == name);
        self.metrics.keep(
            |name| config.clients.iter().any(|own| &*own.name == name),
            |name| provider(name).is_some(),
            |name, key| provider(name).is_some_and(|own| own.keys.iter().any(|k| &*k.name == key)),
        );
    }

    /// The stop signal has come.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The drain time is over.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Whether the stop signal has come: no new connections, `/readyz` says so.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    /// Whether the drain time is over: answers still running end with an error now.
    fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }
}
