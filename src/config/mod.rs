//! The configuration: from the text of a file to [`Config`], the form that the rest of keymux uses.
//!
//! ```text
//! files, environment, flags
//!   load.rs       read, follow `include`, call the rest of these in turn
//!   inputs.rs     what was read, and whether it is still the same
//!   tree.rs       all files as one tree, and where each setting stands; syntax.rs: syntax errors
//!   layers.rs     variables and flags over the files, with figment
//!   structure.rs  tree against schema: unknown names and wrong types, all of them; defaults
//!   foreign.rs    names that other programs have for our settings
//!   file.rs       the written form (serde + schemars), nothing but fields; source.rs: its values
//!   schema.rs     the JSON Schema of the written form
//!   check/        written form -> Config, and every remaining problem
//!   cloud.rs      what keys of the clouds have in that form
//!   lookup.rs     which provider a model name means
//!   effective.rs  every setting with its origin, without secrets
//!   problem.rs    how a problem is said; text.rs: its line with the values hidden
//!   watch.rs      files -> "content changed"
//! ```
//!
//! In a [`Config`] all names are resolved, all numbers bounded and all defaults filled in.

mod aliases;
mod check;
mod cloud;
mod effective;
mod file;
mod file_text;
mod input_files;
mod load;
mod model_resolution;
mod overrides;
mod path;
pub mod pattern;
pub mod problem;
pub mod schema;
mod schema_check;
mod source;
mod syntax_errors;
mod tree;
pub mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use http::{HeaderName, Uri};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::provider::Kind;
use crate::secret::{Fingerprint, Secret};

pub use cloud::{
    ApiVersion, AwsAuth, AwsCredentials, Azure, AzureAuth, Bedrock, Bucket, Cloud, EntraAuth,
    EntraCredential, GoogleAuth, Region, Vertex,
};
pub use input_files::{Environment, FileSet, InputFiles, SystemEnvironment};
pub use load::{LoadOptions, Loaded, load, read_admin_address};
pub use model_resolution::{ModelNotFound, ResolvedModel};
pub use pattern::Pattern;
pub use problem::{Problem, Severity};

/// A whole configuration that has passed every check.
#[derive(Debug)]
pub struct Config {
    /// Where programs call.
    pub server: Server,
    /// Health, metrics and the masked configuration.
    pub admin: Admin,
    /// How changes of the file are noticed.
    pub reload: Reload,
    /// How much may be tried again.
    pub retry: Retry,
    /// Who may call; empty: anybody.
    pub clients: Vec<Client>,
    /// Providers in the order of their names.
    pub providers: Vec<Provider>,
    /// Model names of the file's own, in the order of their names.
    pub routes: Vec<Route>,
    /// Every setting with its origin, secrets as fingerprints: what the admin listener shows.
    pub effective: Vec<Setting>,
    /// First 12 hex digits of the SHA-256 of the files' text.
    pub hash: String,
}

/// One line of the effective configuration.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Setting {
    /// Dotted path.
    pub path: String,
    /// The value as JSON; of a secret only its fingerprint.
    pub value: serde_json::Value,
    /// `keymux.toml:12`, `environment variable KEYMUX_…` or `default`.
    pub origin: String,
}

/// `[server]`
#[derive(Debug)]
pub struct Server {
    /// Where to accept callers.
    pub listen: Listen,
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// How long running requests may finish after the stop signal.
    pub drain_timeout: Duration,
    /// Certificates, when the listener speaks TLS.
    pub tls: Option<Tls>,
    /// Whether callers must be known.
    pub auth: ServerAuth,
    /// How long a caller may take for the head of a request.
    pub head_timeout: Duration,
    /// How long a caller may pause within a request body.
    pub body_timeout: Duration,
    /// How long a caller may leave the answer unread.
    pub write_timeout: Duration,
    /// Connections at once.
    pub max_connections: usize,
    /// How long a request may wait for a key to come free.
    pub queue_timeout: Duration,
    /// What is logged and how.
    pub log: Log,
}

/// Where a listener stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// `127.0.0.1:8787`, `[::1]:8787`
    Tcp(SocketAddr),
    /// `unix:/run/keymux/keymux.sock`
    Unix(PathBuf),
    /// `systemd` or `systemd:NAME`: the socket that systemd hands over (`LISTEN_FDS`), the first or
    /// the one of that `FileDescriptorName=`.
    Systemd(Option<String>),
}

/// `server.tls`: contents of the PEM files, read when the configuration was checked.
#[derive(Debug)]
pub struct Tls {
    /// Certificate chain.
    pub cert: Vec<CertificateDer<'static>>,
    /// Private key.
    pub key: PrivateKeyDer<'static>,
    /// Certificates that sign callers' certificates; `None`: callers need none.
    pub client_ca: Option<Vec<CertificateDer<'static>>>,
}

/// `server.auth`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerAuth {
    /// Callers show the key of a `[[clients]]` entry; with no entry at all the listener is open (and
    /// on loopback or a unix socket, or `check` refuses the file).
    Clients,
    /// Open to whoever reaches it, because the file says so.
    None,
}

/// `server.log`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// `error`, `warn`, `info`, `debug` or `trace`; or a whole filter in tracing-subscriber's syntax.
    pub level: String,
    /// How lines look.
    pub format: LogFormat,
}

/// `server.log.format`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// `[admin]`
#[derive(Debug)]
pub struct Admin {
    /// Where the admin listener stands.
    pub listen: Listen,
    /// SHA-256 of the token that all but `/livez` and `/readyz` ask for.
    pub token_sha256: Option<[u8; 32]>,
    /// The token itself, for commands that ask a running program.
    pub token: Option<Secret>,
}

/// `[reload]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reload {
    /// How changes are noticed.
    pub watch: WatchMode,
    /// How often contents are compared when no event came.
    pub poll_interval: Duration,
    /// How long the files must be quiet before they are read.
    pub settle: Duration,
}

/// `reload.watch`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WatchMode {
    /// File events, with polling as a floor.
    Auto,
    /// Polling only.
    Poll,
    /// SIGHUP only.
    Off,
}

/// `[retry]`
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// Attempts that follow a provider trouble, as a share of requests.
    pub budget: f64,
    /// Such attempts a second that are always allowed.
    pub floor_per_second: u32,
    /// Waits within one request.
    pub max_waits: u32,
}

/// `[[clients]]`
#[derive(Debug)]
pub struct Client {
    /// Its name in rules, logs and metrics.
    pub name: Arc<str>,
    /// SHA-256 of its key.
    pub key_sha256: [u8; 32],
    /// The pair with which it signs requests in the AWS manner.
    pub aws: Option<ClientAwsKey>,
    /// What it may ask for; `None`: everything.
    pub models: Option<Vec<Pattern>>,
    /// What it may not; wins over `models`.
    pub blacklisted_models: Vec<Pattern>,
    /// `false`: its key is refused.
    pub enabled: bool,
    /// Requests at once.
    pub max_concurrent: Option<u32>,
}

/// `clients.aws`: a caller that signs its requests with AWS Signature Version 4.
#[derive(Debug)]
pub struct ClientAwsKey {
    /// The id that its requests name.
    pub access_key: String,
    /// What they are signed with.
    pub secret_key: Secret,
}

/// `[providers.NAME]`
#[derive(Debug)]
pub struct Provider {
    /// The name in the file.
    pub name: Arc<str>,
    /// What kind of provider it is.
    pub kind: Kind,
    /// Extra headers for each request to it.
    pub headers: Vec<(HeaderName, Secret)>,
    /// How to reach it.
    pub transport: Transport,
    /// Its deadlines.
    pub timeouts: Timeouts,
    /// Requests at once, over all keys.
    pub max_concurrent: Option<u32>,
    /// What makes requests stay with a key.
    pub affinity: Affinity,
    /// Its keys, in the order of the file.
    pub keys: Vec<Arc<Key>>,
}

/// What decides whether two providers can share connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// The proxy to go through, `http://host:port` with or without `user:password@`.
    pub proxy: Option<Proxy>,
    /// Certificates to trust in place of the system's.
    pub ca: Option<Arc<[CertificateDer<'static>]>>,
    /// How long a connection may take to stand.
    pub connect_timeout: Duration,
}

/// `proxy = "…"`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its address, without the credentials.
    pub uri: Uri,
    /// The `user:password` of its address.
    pub credentials: Option<Secret>,
}

/// Where a provider answers: the beginning of every address asked of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// http or https.
    pub scheme: Scheme,
    /// Host and port.
    pub authority: Authority,
    /// Path before the operation's own: empty, or `/…` without a slash at its end.
    pub prefix: String,
}

/// `timeouts = { … }`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// Until the first byte of an answer; for a stream, its first meaningful event.
    pub first_byte: Duration,
    /// Between two pieces of an answer.
    pub idle: Duration,
    /// For the whole request, all attempts together.
    pub total: Duration,
}

/// `affinity`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// Requests with a long stable prefix stay with a key.
    PromptCache,
    /// Requests of one session stay with a key.
    Session,
    /// Each request is chosen for by weight alone.
    None,
}

/// `[[providers.NAME.keys]]`
#[derive(Debug)]
pub struct Key {
    /// The name of its provider.
    pub provider: Arc<str>,
    /// Its name, unique within the provider.
    pub name: Arc<str>,
    /// The credential; `None` for kinds that need none, for cloud credentials, and for disabled keys.
    pub value: Option<Secret>,
    /// What keys of the clouds have beside it, or in its place.
    pub cloud: Cloud,
    /// Where the credential comes from, in words: `env OPENAI_KEY`, `file /run/…`, `literal`, `none`.
    pub source: String,
    /// What the credential and its sub-config hash to; live state is carried over while it stays.
    pub fingerprint: Fingerprint,
    /// Where to send its requests.
    pub endpoint: Arc<Endpoint>,
    /// Share of the traffic; 0: standby.
    pub weight: f64,
    /// Models it may serve; `None`: all.
    pub models: Option<Vec<Pattern>>,
    /// Models it may not serve; wins over `models`.
    pub blacklisted_models: Vec<Pattern>,
    /// Clients it serves, by name; `None`: everybody.
    pub clients: Option<Vec<Arc<str>>>,
    /// `false`: never used.
    pub enabled: bool,
    /// May serve batch jobs.
    pub use_for_batch_api: bool,
    /// A note for people.
    pub description: Option<String>,
    /// Model asked for -> model named to the provider.
    pub deployments: BTreeMap<String, String>,
    /// Requests at once.
    pub max_concurrent: Option<u32>,
    /// Requests a minute.
    pub rpm: Option<u32>,
    /// Tokens a minute.
    pub tpm: Option<u32>,
    /// Keys of one account share limits under this name.
    pub quota_group: Option<String>,
}

impl Key {
    /// A key without a credential that serves everything to everybody.
    pub fn new(provider: Arc<str>, name: &str, endpoint: Arc<Endpoint>) -> Self {
        Self {
            provider,
            name: name.into(),
            value: None,
            cloud: Cloud::None,
            source: "none".to_owned(),
            fingerprint: Secret::new(String::new()).fingerprint(),
            endpoint,
            weight: 1.0,
            models: None,
            blacklisted_models: Vec::new(),
            clients: None,
            enabled: true,
            use_for_batch_api: false,
            description: None,
            deployments: BTreeMap::new(),
            max_concurrent: None,
            rpm: None,
            tpm: None,
            quota_group: None,
        }
    }
}

/// `[routes.NAME]`
#[derive(Debug)]
pub struct Route {
    /// The model name it answers to.
    pub name: Arc<str>,
    /// Shared by weight.
    pub targets: Vec<RouteTarget>,
    /// Tried in order when no target can answer; their weights mean nothing.
    pub fallbacks: Vec<RouteTarget>,
    /// Deadlines that replace those of the providers.
    pub timeouts: RouteTimeouts,
    /// How long the first event of a stream may take before the next attempt.
    pub first_token: Option<Duration>,
    /// What happens to a stream that breaks.
    pub rescue: Rescue,
}

/// A model at a provider, as a route names it.
#[derive(Clone, Debug, PartialEq)]
pub struct RouteTarget {
    /// Place in [`Config::providers`].
    pub provider: usize,
    /// The model asked of that provider.
    pub model: Arc<str>,
    /// Share of the route's traffic; 0: standby.
    pub weight: f64,
}

/// `routes.NAME.timeouts`: only what the file sets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RouteTimeouts {
    /// See [`Timeouts::first_byte`].
    pub first_byte: Option<Duration>,
    /// See [`Timeouts::idle`].
    pub idle: Option<Duration>,
    /// See [`Timeouts::total`].
    pub total: Option<Duration>,
}

/// `routes.NAME.rescue`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rescue {
    /// A broken stream ends with an error event.
    None,
    /// Streams are delivered only when they are whole.
    Hold,
    /// The next attempt goes on where the broken one stopped, if it says the same up to there.
    Resume,
}
