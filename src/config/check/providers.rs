//! `[providers.NAME]`, but for its keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::uri::{Authority, Scheme};
use http::{HeaderName, HeaderValue, Uri, header};
use percent_encoding::percent_decode_str;
use rustls_pki_types::CertificateDer;
use serde_json::Value as Json;

use super::Check;
use super::resolve_source::Lines;
use crate::config::path::child;
use crate::config::schema_check::closest;
use crate::config::source::SecretSource;
use crate::config::{Affinity, Client, Endpoint, Provider, Proxy, Timeouts, Transport, file};
use crate::provider::Kind;
use crate::secret::Secret;

impl Check<'_, '_> {
    pub(super) fn providers(
        &mut self,
        written: BTreeMap<String, file::Provider>,
        clients: &[Client],
    ) -> Vec<Provider> {
        if written.is_empty() && !self.doubtful("providers") {
            self.error("", "there is no provider", "a file needs at least one, such as [providers.openai] with its [[providers.openai.keys]]");
        }
        written
            .into_iter()
            .map(|(name, provider)| self.provider(&name, provider, clients))
            .collect()
    }

    fn provider(&mut self, name: &str, written: file::Provider, clients: &[Client]) -> Provider {
        let file::Provider {
            kind,
            base_url,
            headers,
            proxy,
            ca_file,
            timeouts,
            max_concurrent,
            affinity,
            keys,
        } = written;
        let path = child("providers", name);
        let at = |name: &str| child(&path, name);
        self.name(&path, "provider", name);
        if name.contains('/') {
            self.error(
                &path,
                "the name of a provider must not hold a `/`",
                "callers write provider/model",
            );
        }
        let kind = self.kind(&path, name, kind.as_deref());
        let timeouts = self.timeouts(&at("timeouts"), timeouts);
        let ca = ca_file.and_then(|file| self.authorities(&at("ca_file"), &file));
        let transport = Transport {
            proxy: proxy.and_then(|proxy| self.proxy(&at("proxy"), &proxy)),
            ca,
            connect_timeout: timeouts.connect,
        };
        let endpoint = Arc::new(self.base(&path, kind, base_url.as_deref()));
        let name: Arc<str> = name.into();
        let keys = self.keys(
            &path,
            &super::keys::Around {
                provider: &name,
                kind,
                endpoint: &endpoint,
                has_base: base_url.is_some(),
                clients,
            },
            keys,
        );
        Provider {
            name,
            kind: kind.unwrap_or(Kind::OpenAi),
            headers: self.headers(&at("headers"), headers),
            transport,
            timeouts,
            max_concurrent,
            affinity: match affinity {
                file::Affinity::PromptCache => Affinity::PromptCache,
                file::Affinity::Session => Affinity::Session,
                file::Affinity::None => Affinity::None,
            },
            keys,
        }
    }

    fn kind(&mut self, path: &str, name: &str, written: Option<&str>) -> Option<Kind> {
        let kind = Kind::from_name(written.unwrap_or(name));
        if kind.is_none() && !self.doubtful(&child(path, "kind")) {
            let help = match closest(name, Kind::all().map(Kind::name)) {
                Some(meant) => format!("did you mean [providers.{meant}]? Otherwise write kind = \"…\""),
                None => "write kind = \"openai-compatible\" with a base_url, or the name of another kind".to_owned(),
            };
            self.misplaced(
                path,
                format!(
                    "`{}` is not the name of a kind, so the provider needs a `kind`",
                    name.escape_debug()
                ),
                help.as_str(),
            );
        }
        kind
    }

    /// Where the provider answers. Keys with an address of their own do not need it.
    fn base(&mut self, path: &str, kind: Option<Kind>, written: Option<&str>) -> Endpoint {
        let at = child(path, "base_url");
        let Some(row) = kind.map(Kind::info) else {
            let endpoint = written.and_then(|url| self.endpoint(&at, url, ""));
            return endpoint.unwrap_or_else(nowhere);
        };
        match written {
            Some(_) if row.kind == Kind::Echo => {
                self.warning(&at, "`base_url` has no effect: echo answers within keymux", None);
            }
            Some(url) => {
                let endpoint = self.endpoint(&at, url, row.path_prefix);
                if row.kind == Kind::Azure {
                    self.no_surface(&at, url);
                } else if let Some(endpoint) = &endpoint {
                    self.version(&at, row.kind, endpoint);
                }
                return endpoint.unwrap_or_else(nowhere);
            }
            None if row.kind == Kind::OpenAiCompatible && !self.doubtful(&at) => {
                self.error(
                    path,
                    "an openai-compatible provider needs a `base_url`",
                    "for example base_url = \"https://api.example.com/v1\"",
                );
            }
            None => {
                let default =
                    row.base_url.and_then(|url| url.parse::<Uri>().ok()).map(Uri::into_parts);
                if let Some((scheme, authority, own)) = default
                    .and_then(|parts| Some((parts.scheme?, parts.authority?, parts.path_and_query)))
                {
                    let own = own
                        .map_or(String::new(), |path| path.path().trim_end_matches('/').to_owned());
                    return Endpoint { scheme, authority, prefix: own + row.path_prefix };
                }
            }
        }
        nowhere()
    }

    /// Addresses that are right as addresses, but that the vendor's API does not stand at.
    fn version(&mut self, path: &str, kind: Kind, endpoint: &Endpoint) {
        let row = kind.info();
        let versioned = row.base_url.is_some_and(|url| {
            url.rsplit('/').next().is_some_and(|last| last.starts_with('v') && last.len() == 2)
        });
        for operation in
            ["/chat/completions", "/completions", "/responses", "/embeddings", "/models"]
        {
            if endpoint.prefix.ends_with(operation) {
                self.error(
                    path,
                    "`base_url` is the address of one operation",
                    "remove what follows the version, such as /v1",
                );
                return;
            }
        }
        if versioned && endpoint.prefix.is_empty() {
            self.warning(
                path,
                format!("the `base_url` of {kind} ends in the version of the API"),
                "add /v1, if that is where it answers",
            );
        }
        let bare = row.path_prefix.is_empty() && row.base_url.is_some() && !versioned;
        if bare && ["/v1", "/v1beta", "/v1beta1"].iter().any(|end| endpoint.prefix.ends_with(end)) {
            self.warning(
                path,
                format!("the `base_url` of {kind} is the bare origin; the version is added to it"),
                "remove the version",
            );
        }
        if !row.path_prefix.is_empty()
            && endpoint.prefix.len() > row.path_prefix.len()
            && endpoint.prefix.contains("/v1/")
        {
            self.warning(
                path,
                format!(
                    "the `base_url` of {kind} is the bare origin; {} is added to it",
                    row.path_prefix
                ),
                "remove the path",
            );
        }
    }

    fn timeouts(&mut self, path: &str, written: file::Timeouts) -> Timeouts {
        let file::Timeouts { connect, first_byte, idle, total } = written;
        Timeouts {
            connect: self.some_period(&child(path, "connect"), &connect),
            first_byte: self.some_period(&child(path, "first_byte"), &first_byte),
            idle: self.some_period(&child(path, "idle"), &idle),
            total: self.some_period(&child(path, "total"), &total),
        }
    }

    fn headers(
        &mut self,
        path: &str,
        written: BTreeMap<String, SecretSource>,
    ) -> Vec<(HeaderName, Secret)> {
        let mut headers: Vec<(HeaderName, Secret)> = Vec::with_capacity(written.len());
        for (name, source) in written {
            let at = child(path, &name);
            let value = self.secret(&at, &source, Lines::One);
            let Ok(name) = HeaderName::try_from(name.as_str()) else {
                self.misplaced(
                    &at,
                    "this is not the name of a header",
                    "a name has letters, digits and `-`",
                );
                continue;
            };
            if OURS.contains(&name) || name.as_str().starts_with("proxy-") {
                self.misplaced(
                    &at,
                    format!("keymux writes the header `{name}` itself"),
                    "remove it",
                );
            } else if name == header::AUTHORIZATION {
                self.misplaced(
                    &at,
                    "the header `authorization` carries the key",
                    "put what follows `Bearer ` into the `value` of a key",
                );
            } else if headers.iter().any(|(other, _)| *other == name) {
                self.misplaced(
                    &at,
                    format!("the header `{name}` is set twice"),
                    "names of headers do not tell capitals from small letters",
                );
            }
            let Some(value) = value else { continue };
            if HeaderValue::from_str(&value.text).is_err() {
                self.error(
                    &at,
                    "this cannot be the value of a header",
                    "a value has visible ASCII characters and spaces",
                );
            }
            headers.push((name, Secret::new(value.text)));
        }
        headers
    }

    fn proxy(&mut self, path: &str, written: &SecretSource) -> Option<Proxy> {
        let resolved = self.secret(path, written, Lines::One)?;
        let help = "for example \"http://proxy.internal:3128\" or \"http://user:password@proxy.internal:3128\"";
        let parts = resolved.text.parse::<Uri>().ok().map(Uri::into_parts);
        let bare =
            |path: &http::uri::PathAndQuery| path.as_str() == "/" || path.as_str().is_empty();
        let parts = parts.filter(|parts| {
            parts.scheme == Some(Scheme::HTTP) && parts.path_and_query.as_ref().is_none_or(bare)
        });
        let Some(authority) = parts.and_then(|parts| parts.authority) else {
            self.error(path, "`proxy` must be http://, a host and a port", help);
            return None;
        };
        let (credentials, host) = match authority.as_str().rsplit_once('@') {
            Some((credentials, host)) => (Some(credentials.to_owned()), host),
            None => (None, authority.as_str()),
        };
        let uri =
            Uri::builder().scheme(Scheme::HTTP).authority(host).path_and_query("/").build().ok();
        let uri = uri.filter(|uri| {
            uri.port_u16().is_some() && uri.host().is_some_and(|host| !host.is_empty())
        });
        let Some(uri) = uri else {
            self.error(path, "`proxy` must name a host and a port", help);
            return None;
        };
        let credentials = credentials.map(|credentials| {
            Secret::new(percent_decode_str(&credentials).decode_utf8_lossy().into_owned())
        });
        let hidden = credentials.as_ref().map_or(String::new(), |credentials| {
            format!(" (fingerprint:{})", credentials.fingerprint())
        });
        self.shown.insert(path.to_owned(), Json::from(format!("http://{host}{hidden}")));
        Some(Proxy { uri, credentials })
    }

    fn authorities(&mut self, path: &str, name: &str) -> Option<Arc<[CertificateDer<'static>]>> {
        let file = self.beside(path, name);
        let pem = self.text_of(path, &file, name)?.into_bytes();
        self.certificates(path, &pem).map(Into::into)
    }
}

/// Headers that frame the request or are for one hop only.
const OURS: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
];

/// Stands in for an address that was reported, and for that of the echo provider, which has none.
fn nowhere() -> Endpoint {
    Endpoint {
        scheme: Scheme::HTTP,
        authority: Authority::from_static("localhost"),
        prefix: String::new(),
    }
}
