//! The tables that only keys of one kind have: `azure_key_config` and its like.

pub(super) mod azure;
mod bedrock;
mod vertex;

use std::collections::BTreeMap;

use http::Uri;
use http::uri::Scheme;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use super::Check;
use super::keys::{Around, Details};
use super::resolve_source::{Lines, Resolved};
use crate::config::path::{child, leaf};
use crate::config::source::{SecretSource, Source};
use crate::config::{
    AwsAuth, AwsCredentials, AzureAuth, Cloud, Endpoint, EntraCredential, GoogleAuth, file,
};
use crate::provider::Kind;
use crate::secret::Secret;

/// What there is of a key's `value` beside its table.
pub(super) enum Given<'v> {
    /// None is written.
    Nothing,
    /// It was reported, and with it all that hangs on it is unknown.
    Unknown,
    /// A key as it is.
    Plain(&'v Resolved),
    /// A JSON text, or what was meant as one.
    Json(&'v Resolved),
}

impl<'v> Given<'v> {
    pub(super) fn of(resolved: Option<&'v Resolved>, written: bool) -> Self {
        match resolved {
            Some(value) if value.text.trim_start().starts_with('{') => Self::Json(value),
            Some(value) => Self::Plain(value),
            None if written => Self::Unknown,
            None => Self::Nothing,
        }
    }
}

const TABLES: [(&str, Kind); 7] = [
    ("azure_key_config", Kind::Azure),
    ("vertex_key_config", Kind::Vertex),
    ("bedrock_key_config", Kind::Bedrock),
    ("replicate_key_config", Kind::Replicate),
    ("vllm_key_config", Kind::Vllm),
    ("ollama_key_config", Kind::Ollama),
    ("sgl_key_config", Kind::Sglang),
];

impl Check<'_, '_> {
    /// What the key's own tables say. Sources of a disabled key are not looked at.
    pub(super) fn details(
        &mut self,
        path: &str,
        around: &Around<'_>,
        key: &file::Key,
        value: &Given<'_>,
    ) -> Details {
        let given = [
            key.azure_key_config.is_some(),
            key.vertex_key_config.is_some(),
            key.bedrock_key_config.is_some(),
            key.replicate_key_config.is_some(),
            key.vllm_key_config.is_some(),
            key.ollama_key_config.is_some(),
            key.sgl_key_config.is_some(),
        ];
        for ((table, owner), given) in TABLES.iter().zip(given) {
            if let Some(kind) = around.kind.filter(|kind| given && kind != owner) {
                let help = kind
                    .info()
                    .key_config
                    .map_or("remove it".to_owned(), |own| format!("keys of {kind} have {own}"));
                self.misplaced(
                    &child(path, table),
                    format!("`{table}` belongs to keys of {owner}, and this provider is {kind}"),
                    help.as_str(),
                );
            }
        }
        if !key.enabled {
            return Details::default();
        }
        let own = around
            .kind
            .and_then(|kind| kind.info().key_config)
            .map(|table| child(path, table))
            .unwrap_or_default();
        match around.kind {
            Some(Kind::Azure | Kind::Vertex | Kind::Bedrock) => {
                let at = Place { key: path, table: &own, around, value };
                let details = match around.kind {
                    Some(Kind::Azure) => self.azure(&at, key.azure_key_config.as_ref()),
                    Some(Kind::Vertex) => self.vertex(&at, key.vertex_key_config.as_ref()),
                    _ => self.bedrock(&at, key.bedrock_key_config.as_ref()),
                };
                let endpoint = details.endpoint.as_ref().unwrap_or(around.endpoint);
                let identity = identity(&details.cloud, endpoint);
                Details { identity, ..details }
            }
            Some(Kind::Replicate) => {
                let deployments = key
                    .replicate_key_config
                    .as_ref()
                    .map(|table| self.deployments(&own, &table.deployments));
                Details { deployments: deployments.unwrap_or_default(), ..Details::default() }
            }
            Some(Kind::Vllm) => {
                key.vllm_key_config.as_ref().map_or_else(Details::default, |table| {
                    let file::Vllm { url, model_name } = table;
                    if model_name.as_deref().is_some_and(|name| name.trim().is_empty()) {
                        self.error(
                            &child(&own, "model_name"),
                            "`model_name` is empty",
                            "write the name under which the server knows its model, or remove it",
                        );
                    }
                    Details { model: model_name.clone(), ..self.one_server(&own, url.as_ref()) }
                })
            }
            Some(Kind::Ollama) => self.one_server(
                &own,
                key.ollama_key_config.as_ref().and_then(|table| table.url.as_ref()),
            ),
            Some(Kind::Sglang) => self
                .one_server(&own, key.sgl_key_config.as_ref().and_then(|table| table.url.as_ref())),
            _ => Details::default(),
        }
    }

    /// The value of a key. The clouds' credentials may come as one JSON text.
    pub(super) fn credential_value(
        &mut self,
        path: &str,
        kind: Option<Kind>,
        source: &SecretSource,
    ) -> Option<Resolved> {
        let cloud = matches!(kind, Some(Kind::Azure | Kind::Vertex | Kind::Bedrock));
        self.secret(path, source, if cloud { Lines::Many } else { Lines::One })
    }

    fn one_server(&mut self, path: &str, url: Option<&Source>) -> Details {
        let at = child(path, "url");
        let url = url.and_then(|url| self.plain(&at, url));
        let endpoint = url.and_then(|url| self.endpoint(&at, &url, "/v1"));
        if endpoint.as_ref().is_some_and(|endpoint| endpoint.prefix.ends_with("/v1/v1")) {
            self.error(&at, "`url` is the bare origin; /v1 is added to it", "remove the /v1");
        }
        let identity = endpoint.as_ref().map_or(String::new(), |endpoint| format!("{endpoint:?}"));
        Details { endpoint, identity, ..Details::default() }
    }

    fn deployments(
        &mut self,
        path: &str,
        written: &BTreeMap<String, String>,
    ) -> BTreeMap<String, String> {
        for (model, deployment) in written {
            if model.trim().is_empty() || deployment.trim().is_empty() {
                let at = child(&child(path, "deployments"), model);
                self.error(
                    &at,
                    "a deployment needs a model and a name",
                    "for example deployments = { \"gpt-4o\" = \"prod-gpt4o\" }",
                );
            }
        }
        written.clone()
    }

    /// The JSON text of a key's credentials. What is wrong with it is said without its content: `of` says
    /// which text it is where the path does not, and `form` what would be right.
    fn json<'t, T: Deserialize<'t>>(
        &mut self,
        path: &str,
        text: &'t str,
        of: &str,
        form: &str,
    ) -> Option<T> {
        let parsed = serde_json::from_str(text).ok();
        if parsed.is_none() {
            let is_object = serde_json::from_str::<Json>(text).is_ok_and(|json| json.is_object());
            let what = if is_object {
                "have a member that is unknown or of the wrong type"
            } else {
                "are not a JSON object"
            };
            self.error(path, format!("the credentials{of} {what}"), form);
        }
        parsed
    }

    /// A variable of the environment that has a text.
    fn variable_text(&self, name: &str) -> Option<String> {
        let text = self.reader.around.variable(name)?.into_string().ok()?;
        Some(text).filter(|text| !text.trim().is_empty())
    }

    /// The address in a variable, which may lack its scheme.
    fn address_of(&mut self, path: &str, name: &str, scheme: &str, text: &str) -> Option<Endpoint> {
        let whole =
            if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") };
        let endpoint = endpoint_of(&whole);
        if endpoint.is_none() {
            self.error(path, format!("environment variable `{name}` is not an address"), None);
        }
        endpoint
    }

    /// A name that stands in the path of an address.
    fn segment(&mut self, path: &str, text: &str, example: &str) -> Option<()> {
        let good = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !good {
            let message = format!("`{}` has a character that it cannot have", leaf(path));
            self.error(path, message, format!("for example \"{example}\"").as_str());
        }
        good.then_some(())
    }
}

/// A key of a cloud, and what is known of it before its table is looked at.
struct Place<'p> {
    /// The path of the key.
    key: &'p str,
    /// The path of its table.
    table: &'p str,
    around: &'p Around<'p>,
    value: &'p Given<'p>,
}

impl Place<'_> {
    fn of(&self, name: &str) -> String {
        child(self.table, name)
    }

    fn value(&self) -> String {
        child(self.key, "value")
    }
}

/// A member of a JSON text that is a secret.
fn hidden<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    if text.as_ref().is_some_and(|text| text.chars().any(char::is_control)) {
        return Err(D::Error::custom("a control character"));
    }
    Ok(text.filter(|text| !text.is_empty()).map(Secret::new))
}

/// An address of the web without a query, a user name or a password.
fn endpoint_of(text: &str) -> Option<Endpoint> {
    let parts = text.parse::<Uri>().ok()?.into_parts();
    let scheme = parts.scheme.filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme))?;
    let authority = parts
        .authority
        .filter(|authority| !authority.as_str().contains('@') && !authority.host().is_empty())?;
    let path = parts.path_and_query.filter(|path| path.query().is_none())?;
    let prefix = path.path().trim_end_matches('/').to_owned();
    Some(Endpoint { scheme, authority, prefix })
}

/// All that a cloud's requests and their authorization depend on. Of secrets it has the fingerprints; the
/// rest is what the types print of themselves, so that a field that is added is not forgotten here.
fn identity(cloud: &Cloud, endpoint: &Endpoint) -> String {
    let secrets = secrets(cloud).into_iter();
    let secrets: Vec<String> = secrets.map(|secret| secret.fingerprint().to_string()).collect();
    format!("{cloud:?} {endpoint:?} {secrets:?}")
}

fn secrets(cloud: &Cloud) -> Vec<&Secret> {
    match cloud {
        Cloud::None => Vec::new(),
        Cloud::Azure(azure) => match &azure.auth {
            AzureAuth::ApiKey(key) => vec![key],
            AzureAuth::Entra(entra) => match &entra.credential {
                EntraCredential::ClientSecret { secret, .. } => vec![secret],
                EntraCredential::AppServiceIdentity { header, .. } => vec![header],
                EntraCredential::WorkloadIdentity { .. }
                | EntraCredential::MachineIdentity { .. } => Vec::new(),
            },
        },
        Cloud::Vertex(vertex) => match &vertex.auth {
            GoogleAuth::Credentials(text) => vec![text],
            GoogleAuth::MetadataServer(_) => Vec::new(),
        },
        Cloud::Bedrock(bedrock) => {
            let mut secrets = Vec::new();
            for region in &bedrock.regions {
                let pair = match &region.auth {
                    AwsAuth::Bearer(key) => {
                        secrets.push(key);
                        None
                    }
                    AwsAuth::Pair(pair) => Some(pair),
                    AwsAuth::Role { from, .. } => from.as_ref(),
                    AwsAuth::Chain => None,
                };
                if let Some(AwsCredentials { access_key, secret_key, session_token }) = pair {
                    secrets.extend([access_key, secret_key]);
                    secrets.extend(session_token);
                }
            }
            secrets
        }
    }
}
