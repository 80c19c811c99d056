//! The checked form of `[providers.NAME]` and its keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Uri};
use rustls_pki_types::CertificateDer;

use super::cloud::{Cloud, split_region};
use super::endpoint::Endpoint;
use super::pattern::Pattern;
use crate::provider::Kind;
use crate::secret::{Fingerprint, Secret};

/// `[providers.NAME]`
#[derive(Debug)]
pub struct Provider {
    /// The name in the file.
    pub name: Arc<str>,
    /// The kind of provider.
    pub kind: Kind,
    /// Additional headers for each request to it.
    pub headers: Vec<(HeaderName, Secret)>,
    /// How connections to it are made.
    pub transport: Transport,
    /// Its timeouts.
    pub timeouts: Timeouts,
    /// Maximum number of concurrent requests over all its keys.
    pub max_concurrent: Option<u32>,
    /// Which requests keep using the same key.
    pub affinity: Affinity,
    /// Its keys, in the order of the file.
    pub keys: Vec<Arc<Key>>,
}

impl Provider {
    /// The model without the region that may precede it (`eu-west-1/model`, for Bedrock only).
    pub fn without_region<'m>(&self, model: &'m str) -> &'m str {
        if self.kind == Kind::Bedrock { split_region(model).1 } else { model }
    }
}

/// The connection settings of a provider. Providers with equal settings share connections.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transport {
    /// The HTTP proxy for its connections.
    pub proxy: Option<Proxy>,
    /// CA certificates to trust instead of the system's.
    pub ca: Option<Arc<[CertificateDer<'static>]>>,
    /// Maximum time to open a connection.
    pub connect_timeout: Duration,
}

/// `proxy = "…"`: `http://host:port` with or without `user:password@`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// Its address, without the credentials.
    pub uri: Uri,
    /// The `user:password` of its address.
    pub credentials: Option<Secret>,
}

/// `timeouts = { … }`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until a connection is open.
    pub connect: Duration,
    /// Until the first byte of a response; for a stream, until its first meaningful event.
    pub first_byte: Duration,
    /// Between two parts of a response.
    pub idle: Duration,
    /// For the whole request, all attempts together.
    pub total: Duration,
}

/// `affinity`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Affinity {
    /// Requests with the same long stable prefix use the same key.
    PromptCache,
    /// Requests of one session use the same key.
    Session,
    /// The key of each request is chosen by weight only.
    None,
}

/// `[[providers.NAME.keys]]`
#[derive(Debug)]
pub struct Key {
    /// The name of its provider.
    pub provider: Arc<str>,
    /// Its name, unique within the provider.
    pub name: Arc<str>,
    /// The credential. `None` for kinds that need none, for cloud credentials, and for disabled keys.
    pub value: Option<Secret>,
    /// The `*_key_config` of a cloud, including its credentials.
    pub cloud: Cloud,
    /// Where the credential comes from, for display: `env OPENAI_KEY`, `file /run/…`, `literal`, `none`.
    pub source: String,
    /// Hash of the credential and its `*_key_config`. A reload keeps a key's live state while it is equal.
    pub fingerprint: Fingerprint,
    /// Where its requests are sent.
    pub endpoint: Arc<Endpoint>,
    /// Share of the traffic; 0: standby.
    pub weight: f64,
    /// Models it may serve; `None`: all.
    pub models: Option<Vec<Pattern>>,
    /// Models it may not serve; wins over `models`.
    pub blacklisted_models: Vec<Pattern>,
    /// Names of the clients it serves; `None`: all.
    pub clients: Option<Vec<Arc<str>>>,
    /// `false`: never used.
    pub enabled: bool,
    /// True if it may serve batch jobs.
    pub use_for_batch_api: bool,
    /// A note for operators.
    pub description: Option<String>,
    /// Requested model -> model name sent to the provider.
    pub deployments: BTreeMap<String, String>,
    /// Maximum number of concurrent requests.
    pub max_concurrent: Option<u32>,
    /// Requests per minute.
    pub rpm: Option<u32>,
    /// Tokens per minute.
    pub tpm: Option<u32>,
    /// Keys with the same value share the limits of one account.
    pub quota_group: Option<String>,
}

impl Key {
    /// Returns an enabled key without a credential and without restrictions.
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

    /// Splits off the region that may precede a requested model (`eu-west-1/model`, for Bedrock only).
    pub fn region_and_model<'m>(&self, model: &'m str) -> (Option<&'m str>, &'m str) {
        match self.cloud {
            Cloud::Bedrock(_) => split_region(model),
            _ => (None, model),
        }
    }

    /// True if the key can call that region. `None`, the default region, is always possible.
    pub fn has_region(&self, region: Option<&str>) -> bool {
        let Some(region) = region else { return true };
        match &self.cloud {
            Cloud::Bedrock(bedrock) => bedrock.regions.iter().any(|own| own.name == region),
            _ => false,
        }
    }
}
