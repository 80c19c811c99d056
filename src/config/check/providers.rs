//! `[providers.NAME]`, except its keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::uri::Scheme;
use http::{HeaderName, HeaderValue, Uri, header};
use percent_encoding::percent_decode_str;
use rustls_pki_types::CertificateDer;
use serde_json::Value as Json;

use super::key_parts::ProviderContext;
use super::report::Check;
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
        if written.is_empty() && !self.is_reported("providers") {
            self.error(
                "",
                "the file has no provider",
                "add one, such as [providers.openai] with [[providers.openai.keys]]",
            );
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
        self.check_name(&path, "provider", name);
        if name.contains('/') {
            self.error(
                &path,
                "the name of a provider must not contain a `/`",
                "clients request provider/model",
            );
        }
        let kind = self.kind(&path, name, kind.as_deref());
        let timeouts = self.timeouts(&at("timeouts"), timeouts);
        let ca = ca_file.and_then(|file| self.ca_certificates(&at("ca_file"), &file));
        let transport = Transport {
            proxy: proxy.and_then(|proxy| self.proxy(&at("proxy"), &proxy)),
            ca,
            connect_timeout: timeouts.connect,
        };
        let endpoint = Arc::new(self.base_url(&path, kind, base_url.as_deref()));
        let name: Arc<str> = name.into();
        let keys = self.keys(
            &path,
            &ProviderContext {
                provider: &name,
                kind,
                endpoint: &endpoint,
                has_base_url: base_url.is_some(),
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
        if kind.is_none() && !self.is_reported(&child(path, "kind")) {
            let help = match closest(name, Kind::all().map(Kind::name)) {
                Some(meant) => {
                    format!("did you mean [providers.{meant}]? Otherwise write kind = \"…\"")
                }
                None => {
                    "write kind = \"openai-compatible\" with a base_url, or another kind".to_owned()
                }
            };
            self.name_error(
                path,
                format!(
                    "`{}` is not a kind of provider, so `kind` is missing",
                    name.escape_debug()
                ),
                help.as_str(),
            );
        }
        kind
    }

    /// Returns the base address of the provider. Keys that have their own address do not use it.
    fn base_url(&mut self, path: &str, kind: Option<Kind>, written: Option<&str>) -> Endpoint {
        let at = child(path, "base_url");
        let Some(row) = kind.map(Kind::info) else {
            let endpoint = written.and_then(|url| self.endpoint(&at, url, ""));
            return endpoint.unwrap_or_else(Endpoint::placeholder);
        };
        match written {
            Some(_) if row.kind == Kind::Echo => {
                self.warning(&at, "`base_url` has no effect: keymux itself answers for echo", None);
            }
            Some(url) => {
                let endpoint = self.endpoint(&at, url, row.path_prefix);
                if row.kind == Kind::Azure {
                    self.reject_azure_path(&at, url);
                } else if let Some(endpoint) = &endpoint {
                    self.check_version(&at, row.kind, endpoint);
                }
                return endpoint.unwrap_or_else(Endpoint::placeholder);
            }
            None if row.kind == Kind::OpenAiCompatible && !self.is_reported(&at) => {
                self.error(
                    path,
                    "an openai-compatible provider needs a `base_url`",
                    "for example base_url = \"https://api.example.com/v1\"",
                );
            }
            None => {
                let default =
                    row.base_url.and_then(|url| url.parse::<Uri>().ok()).map(Uri::into_parts);
                if let Some((scheme, authority, path)) = default
                    .and_then(|parts| Some((parts.scheme?, parts.authority?, parts.path_and_query)))
                {
                    let path = path
                        .map_or(String::new(), |path| path.path().trim_end_matches('/').to_owned());
                    return Endpoint { scheme, authority, prefix: path + row.path_prefix };
                }
            }
        }
        Endpoint::placeholder()
    }

    /// Reports valid addresses that are not the base address of the vendor's API.
    fn check_version(&mut self, path: &str, kind: Kind, endpoint: &Endpoint) {
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
                    "`base_url` is the URL of one operation",
                    "remove the part after the version, such as /v1",
                );
                return;
            }
        }
        if versioned && endpoint.prefix.is_empty() {
            self.warning(
                path,
                format!("the `base_url` of {kind} should end in the version of the API"),
                "add /v1 if the server has that path",
            );
        }
        let has_no_path = row.path_prefix.is_empty() && row.base_url.is_some() && !versioned;
        if has_no_path
            && ["/v1", "/v1beta", "/v1beta1"].iter().any(|end| endpoint.prefix.ends_with(end))
        {
            self.warning(
                path,
                format!("the `base_url` of {kind} should not contain a version, which keymux adds"),
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
                    "the `base_url` of {kind} should not contain a path, because keymux adds {}",
                    row.path_prefix
                ),
                "remove the path",
            );
        }
    }

    fn timeouts(&mut self, path: &str, written: file::Timeouts) -> Timeouts {
        let file::Timeouts { connect, first_byte, idle, total } = written;
        Timeouts {
            connect: self.positive_period(&child(path, "connect"), &connect),
            first_byte: self.positive_period(&child(path, "first_byte"), &first_byte),
            idle: self.positive_period(&child(path, "idle"), &idle),
            total: self.positive_period(&child(path, "total"), &total),
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
                self.name_error(
                    &at,
                    "this is not a valid header name",
                    "a header name has letters, digits and `-`",
                );
                continue;
            };
            if RESERVED.contains(&name) || name.as_str().starts_with("proxy-") {
                self.name_error(
                    &at,
                    format!("keymux sets the header `{name}` itself"),
                    "remove it",
                );
            } else if name == header::AUTHORIZATION {
                self.name_error(
                    &at,
                    "keymux sets the header `authorization` from the key",
                    "write the text after `Bearer ` as the `value` of a key",
                );
            } else if headers.iter().any(|(other, _)| *other == name) {
                self.name_error(
                    &at,
                    format!("the header `{name}` is set twice"),
                    "header names are case-insensitive",
                );
            }
            let Some(value) = value else { continue };
            if value.text.inspect_text(|text| HeaderValue::from_str(text).is_err()) {
                self.error(
                    &at,
                    "this is not a valid header value",
                    "a header value has visible ASCII characters and spaces",
                );
            }
            headers.push((name, value.text));
        }
        headers
    }

    fn proxy(&mut self, path: &str, written: &SecretSource) -> Option<Proxy> {
        let resolved = self.secret(path, written, Lines::One)?;
        let help = "for example \"http://proxy.internal:3128\" or \"http://user:password@proxy.internal:3128\"";
        let parts =
            resolved.text.inspect_text(|text| text.parse::<Uri>().ok()).map(Uri::into_parts);
        let is_root =
            |path: &http::uri::PathAndQuery| path.as_str() == "/" || path.as_str().is_empty();
        let parts = parts.filter(|parts| {
            parts.scheme == Some(Scheme::HTTP) && parts.path_and_query.as_ref().is_none_or(is_root)
        });
        let Some(authority) = parts.and_then(|parts| parts.authority) else {
            self.error(path, "`proxy` must be an http:// URL with a host and a port", help);
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
            self.error(path, "`proxy` must contain a host and a port", help);
            return None;
        };
        let credentials = credentials.map(|credentials| {
            Secret::new(percent_decode_str(&credentials).decode_utf8_lossy().into_owned())
        });
        let hidden = credentials.as_ref().map_or(String::new(), |credentials| {
            format!(" (fingerprint:{})", credentials.fingerprint())
        });
        self.displayed.insert(path.to_owned(), Json::from(format!("http://{host}{hidden}")));
        Some(Proxy { uri, credentials })
    }

    fn ca_certificates(
        &mut self,
        path: &str,
        name: &str,
    ) -> Option<Arc<[CertificateDer<'static>]>> {
        let file = self.resolve_path(path, name);
        let pem = self.read_text(path, &file, name)?;
        self.certificates(path, &pem).map(Into::into)
    }
}

/// Headers that frame the request or apply to one connection only.
const RESERVED: [HeaderName; 8] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::EXPECT,
];
