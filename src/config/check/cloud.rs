//! The tables of keys of one kind: `azure_key_config` and similar ones.

mod azure;
mod bedrock;
mod vertex;

use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::Value as Json;

use super::key_parts::{KeyValue, KindSettings, ProviderContext};
use super::report::Check;
use super::resolve_source::{Lines, Resolved};
use crate::config::path::{child, leaf};
use crate::config::source::{SecretSource, Source};
use crate::config::{
    AwsAuth, AwsCredentials, AzureAuth, Cloud, Endpoint, EntraCredential, GoogleAuth, file,
};
use crate::provider::Kind;
use crate::secret::Secret;

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
    /// Checks the `*_key_config` of a key. Does not resolve the sources of a disabled key.
    pub(super) fn kind_settings(
        &mut self,
        path: &str,
        context: &ProviderContext<'_>,
        key: &file::Key,
        value: &KeyValue<'_>,
    ) -> KindSettings {
        self.reject_tables_of_other_kinds(path, context.kind, key);
        if !key.enabled {
            return KindSettings::default();
        }
        let own = context
            .kind
            .and_then(|kind| kind.info().key_config)
            .map(|table| child(path, table))
            .unwrap_or_default();
        match context.kind {
            Some(Kind::Azure | Kind::Vertex | Kind::Bedrock) => {
                let at = CloudKey { key: path, table: &own, context, value };
                let settings = match context.kind {
                    Some(Kind::Azure) => self.azure(&at, key.azure_key_config.as_ref()),
                    Some(Kind::Vertex) => self.vertex(&at, key.vertex_key_config.as_ref()),
                    _ => self.bedrock(&at, key.bedrock_key_config.as_ref()),
                };
                let endpoint = settings.endpoint.as_ref().unwrap_or(context.endpoint);
                let identity = identity(&settings.cloud, endpoint);
                KindSettings { identity, ..settings }
            }
            Some(Kind::Replicate) => {
                let deployments = key
                    .replicate_key_config
                    .as_ref()
                    .map(|table| self.deployments(&own, &table.deployments));
                KindSettings {
                    deployments: deployments.unwrap_or_default(),
                    ..KindSettings::default()
                }
            }
            Some(Kind::Vllm) => {
                key.vllm_key_config.as_ref().map_or_else(KindSettings::default, |table| {
                    let file::Vllm { url, model_name } = table;
                    if model_name.as_deref().is_some_and(|name| name.trim().is_empty()) {
                        self.error(
                            &child(&own, "model_name"),
                            "`model_name` is empty",
                            "write the model name of the server, or remove the setting",
                        );
                    }
                    KindSettings {
                        model: model_name.clone(),
                        ..self.one_server(&own, url.as_ref())
                    }
                })
            }
            Some(Kind::Ollama) => self.one_server(
                &own,
                key.ollama_key_config.as_ref().and_then(|table| table.url.as_ref()),
            ),
            Some(Kind::Sglang) => self
                .one_server(&own, key.sgl_key_config.as_ref().and_then(|table| table.url.as_ref())),
            _ => KindSettings::default(),
        }
    }

    /// Reports each `*_key_config` that is for keys of another kind.
    fn reject_tables_of_other_kinds(&mut self, path: &str, kind: Option<Kind>, key: &file::Key) {
        let given = [
            key.azure_key_config.is_some(),
            key.vertex_key_config.is_some(),
            key.bedrock_key_config.is_some(),
            key.replicate_key_config.is_some(),
            key.vllm_key_config.is_some(),
            key.ollama_key_config.is_some(),
            key.sgl_key_config.is_some(),
        ];
        for ((table, owner), is_given) in TABLES.iter().zip(given) {
            if let Some(kind) = kind.filter(|kind| is_given && kind != owner) {
                let help = kind
                    .info()
                    .key_config
                    .map_or("remove it".to_owned(), |own| format!("keys of {kind} have {own}"));
                self.name_error(
                    &child(path, table),
                    format!("`{table}` is for keys of {owner}, but this provider is {kind}"),
                    help.as_str(),
                );
            }
        }
    }

    /// Resolves the `value` of a key. For a cloud it may be a JSON text.
    pub(super) fn credential_value(
        &mut self,
        path: &str,
        kind: Option<Kind>,
        source: &SecretSource,
    ) -> Option<Resolved> {
        let cloud = matches!(kind, Some(Kind::Azure | Kind::Vertex | Kind::Bedrock));
        self.secret(path, source, if cloud { Lines::Many } else { Lines::One })
    }

    fn one_server(&mut self, path: &str, url: Option<&Source>) -> KindSettings {
        let at = child(path, "url");
        let url = url.and_then(|url| self.plain(&at, url));
        let endpoint = url.and_then(|url| self.endpoint(&at, &url, "/v1"));
        if endpoint.as_ref().is_some_and(|endpoint| endpoint.prefix.ends_with("/v1/v1")) {
            self.error(&at, "`url` must not contain /v1, which keymux adds", "remove the /v1");
        }
        let identity = endpoint.as_ref().map_or(String::new(), |endpoint| format!("{endpoint:?}"));
        KindSettings { endpoint, identity, ..KindSettings::default() }
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
                    "a deployment needs a model and a deployment name",
                    "for example deployments = { \"gpt-4o\" = \"prod-gpt4o\" }",
                );
            }
        }
        written.clone()
    }

    /// Parses credentials in JSON. Messages do not repeat the content. `location` names the text if the path
    /// does not, and `expected` is the right form.
    fn json<T: DeserializeOwned>(
        &mut self,
        path: &str,
        text: &Secret,
        location: &str,
        expected: &str,
    ) -> Option<T> {
        let parsed = text.inspect_text(|text| serde_json::from_str(text).ok());
        if parsed.is_none() {
            let is_object = text.inspect_text(|text| {
                serde_json::from_str::<Json>(text).is_ok_and(|json| json.is_object())
            });
            let problem = if is_object {
                "have a member that is unknown or of the wrong type"
            } else {
                "are not a JSON object"
            };
            self.error(path, format!("the credentials{location} {problem}"), expected);
        }
        parsed
    }

    /// Returns an environment variable that is not blank.
    fn variable_text(&self, name: &str) -> Option<String> {
        let text = self.reader.environment.variable(name)?.into_string().ok()?;
        Some(text).filter(|text| !text.trim().is_empty())
    }

    /// Parses the address in an environment variable; `scheme` is used if it has none.
    fn variable_endpoint(
        &mut self,
        path: &str,
        name: &str,
        scheme: &str,
        text: &str,
    ) -> Option<Endpoint> {
        let url = if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") };
        let endpoint = Endpoint::parse(&url);
        if endpoint.is_none() {
            self.error(path, format!("environment variable `{name}` is not a URL"), None);
        }
        endpoint
    }

    /// Checks a name that becomes part of a URL path.
    fn check_url_segment(&mut self, path: &str, text: &str, example: &str) -> Option<()> {
        let good = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte));
        if !good {
            let message = format!("`{}` contains a character that is not allowed", leaf(path));
            self.error(path, message, format!("for example \"{example}\"").as_str());
        }
        good.then_some(())
    }
}

/// A key of a cloud, before its table is checked.
struct CloudKey<'p> {
    /// The path of the key.
    key: &'p str,
    /// The path of its table.
    table: &'p str,
    context: &'p ProviderContext<'p>,
    value: &'p KeyValue<'p>,
}

impl CloudKey<'_> {
    fn path(&self, name: &str) -> String {
        child(self.table, name)
    }

    fn value_path(&self) -> String {
        child(self.key, "value")
    }
}

/// Deserializes a member of a JSON text into a secret; `None` if it is absent or empty.
fn deserialize_secret<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Secret>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    if text.as_ref().is_some_and(|text| text.chars().any(char::is_control)) {
        return Err(D::Error::custom("a control character"));
    }
    Ok(text.filter(|text| !text.is_empty()).map(Secret::new))
}

/// Returns a text of everything that the requests of a cloud key and their authorization depend on, with
/// fingerprints for secrets. The rest is the `Debug` output of the types, so that it includes added fields.
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
