//! The checked configuration: names resolved, numbers bounded, defaults filled in.

use std::sync::Arc;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::listen::Listen;
use super::pattern::Pattern;
use super::providers::Provider;
use crate::secret::Secret;

/// A whole configuration that has passed every check.
#[derive(Debug)]
pub struct Config {
    /// The listener for clients.
    pub server: Server,
    /// The listener for operators: health, metrics, keys and the masked configuration.
    pub admin: Admin,
    /// How changes of the file are detected.
    pub reload: Reload,
    /// Limits on retries.
    pub retry: Retry,
    /// Allowed callers. With no clients, anyone may call.
    pub clients: Vec<Client>,
    /// Providers, sorted by name.
    pub providers: Vec<Provider>,
    /// Routes, sorted by name.
    pub routes: Vec<Route>,
    /// Every setting with its origin, secrets as fingerprints, for the admin listener.
    pub effective: Vec<Setting>,
    /// First 12 hex digits of the SHA-256 of the files' text.
    pub hash: String,
}

/// One line of the effective configuration.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Setting {
    /// Dotted path.
    pub path: String,
    /// The value as JSON; for a secret only its fingerprint.
    pub value: serde_json::Value,
    /// `keymux.toml:12`, `environment variable KEYMUX_…` or `default`.
    pub origin: String,
}

/// `[server]`
#[derive(Debug)]
pub struct Server {
    /// The address of the listener.
    pub listen: Listen,
    /// Maximum size of a request body, in bytes.
    pub max_body: usize,
    /// How long running requests may take to finish after the stop signal.
    pub drain_timeout: Duration,
    /// Certificates; `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// Authentication of callers.
    pub auth: ServerAuth,
    /// Maximum time for a caller to send the head of a request.
    pub head_timeout: Duration,
    /// Maximum time between two parts of a request body.
    pub body_timeout: Duration,
    /// Maximum time a caller may leave a response unread.
    pub write_timeout: Duration,
    /// Maximum number of open connections.
    pub max_connections: usize,
    /// Maximum time a request waits for a key to become available.
    pub queue_timeout: Duration,
    /// Log level and format.
    pub log: Log,
}

/// `server.tls`: contents of the PEM files, read when the configuration was checked.
#[derive(Debug)]
pub struct Tls {
    /// Certificate chain.
    pub cert: Vec<CertificateDer<'static>>,
    /// Private key.
    pub key: PrivateKeyDer<'static>,
    /// CA certificates for clients' certificates; `None`: clients need no certificate.
    pub client_ca: Option<Vec<CertificateDer<'static>>>,
}

/// `server.auth`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAuth {
    /// Callers send the key of a `[[clients]]` entry. With no entry the listener is open, and `check`
    /// requires a loopback address or a unix socket.
    Clients,
    /// Open to anyone who can reach it, because the file sets it explicitly.
    None,
}

/// `server.log`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`; or a whole filter in tracing-subscriber's syntax.
    pub level: String,
    /// Format of the lines.
    pub format: LogFormat,
}

/// `server.log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object per line.
    Json,
    /// Readable text.
    Text,
}

/// `[admin]`
#[derive(Debug)]
pub struct Admin {
    /// The address of the listener.
    pub listen: Listen,
    /// SHA-256 of the token that every path except `/livez` and `/readyz` requires.
    pub token_sha256: Option<[u8; 32]>,
    /// The token itself, for commands that call a running gateway.
    pub token: Option<Secret>,
}

/// `[reload]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// How changes are detected.
    pub watch: WatchMode,
    /// How often contents are compared when no event arrives.
    pub poll_interval: Duration,
    /// How long the files must be unchanged before they are read.
    pub settle: Duration,
}

/// `reload.watch`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// File events, and polling in addition.
    Auto,
    /// Polling only.
    Poll,
    /// SIGHUP only.
    Off,
}

/// `[retry]`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// Retries after a failure of a provider, as a share of all requests.
    pub budget: f64,
    /// Retries per second that are always allowed.
    pub floor_per_second: u32,
    /// Maximum number of waits within one request.
    pub max_waits: u32,
}

/// `[[clients]]`
#[derive(Debug)]
pub struct Client {
    /// Its name in rules, logs and metrics.
    pub name: Arc<str>,
    /// SHA-256 of its API key; all zeros if it has none.
    pub key_sha256: [u8; 32],
    /// The access key with which it signs requests (AWS Signature Version 4).
    pub aws: Option<ClientAwsKey>,
    /// Models it may request; `None`: all.
    pub models: Option<Vec<Pattern>>,
    /// Models it may not request; wins over `models`.
    pub blacklisted_models: Vec<Pattern>,
    /// `false`: its API key is rejected.
    pub enabled: bool,
    /// Maximum number of concurrent requests.
    pub max_concurrent: Option<u32>,
}

/// `clients.aws`: the access key of a client that signs its requests with AWS Signature Version 4.
#[derive(Debug)]
pub struct ClientAwsKey {
    /// The access key ID that its requests name.
    pub access_key: String,
    /// The secret access key that signs them.
    pub secret_key: Secret,
}

/// `[routes.NAME]`
#[derive(Debug)]
pub struct Route {
    /// The model name that clients request.
    pub name: Arc<str>,
    /// Targets that share the traffic by weight.
    pub targets: Vec<RouteTarget>,
    /// Targets that are tried in order after `targets`; their weights are not used.
    pub fallbacks: Vec<RouteTarget>,
    /// Timeouts that replace those of the providers.
    pub timeouts: RouteTimeouts,
    /// Maximum time until the first event of a stream before the next attempt starts.
    pub first_token: Option<Duration>,
    /// What happens when a stream breaks.
    pub rescue: Rescue,
}

/// A model of a provider, as a route names it.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTarget {
    /// Index in [`Config::providers`].
    pub provider: usize,
    /// The model requested from that provider.
    pub model: Arc<str>,
    /// Share of the route's traffic; 0: standby.
    pub weight: f64,
}

/// `routes.NAME.timeouts`: only what the file sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// See [`super::Timeouts::first_byte`].
    pub first_byte: Option<Duration>,
    /// See [`super::Timeouts::idle`].
    pub idle: Option<Duration>,
    /// See [`super::Timeouts::total`].
    pub total: Option<Duration>,
}

/// `routes.NAME.rescue`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescue {
    /// A broken stream ends with an error event.
    None,
    /// A stream is sent to the client only when it is complete.
    Hold,
}
