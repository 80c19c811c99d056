//! The tables that only keys of one kind have: `azure_key_config` and its like.

use std::collections::BTreeMap;

use serde_json::Value as Json;

use super::Check;
use super::keys::{Around, Details};
use super::sources::{Lines, Resolved};
use crate::config::file;
use crate::config::path::{child, item};
use crate::config::source::{SecretSource, Source};
use crate::provider::Kind;

/// What there is of a key's `value` beside its table.
#[derive(Clone, Copy)]
pub(super) struct Given {
    /// Anything at all.
    pub(super) any: bool,
    /// It may hold what the table would say: a JSON text, or one that could not be read.
    pub(super) whole: bool,
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
        value: Given,
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
                    .row()
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
            return Details { credential: true, ..Details::default() };
        }
        let own = around
            .kind
            .and_then(|kind| kind.row().key_config)
            .map(|table| child(path, table))
            .unwrap_or_default();
        match around.kind {
            Some(Kind::Azure) => self.azure(&own, path, key.azure_key_config.as_ref(), value),
            Some(Kind::Vertex) => self.vertex(&own, path, key.vertex_key_config.as_ref(), value),
            Some(Kind::Bedrock) => self.bedrock(&own, path, key.bedrock_key_config.as_ref(), value),
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
        let value = self.secret(path, source, if cloud { Lines::Many } else { Lines::One })?;
        if cloud && value.text.trim_start().starts_with('{') {
            self.json(path, &value.text);
        }
        Some(value)
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

    fn azure(
        &mut self,
        path: &str,
        key: &str,
        written: Option<&file::Azure>,
        value: Given,
    ) -> Details {
        let at = |name: &str| child(path, name);
        let Some(written) = written else {
            if !value.whole && !self.doubtful(path) {
                let help = "write azure_key_config = { endpoint = \"https://….openai.azure.com\" }";
                self.error(key, "an azure key needs `azure_key_config`", help);
            }
            return Details { credential: value.whole, ..Details::default() };
        };
        let file::Azure {
            endpoint,
            api_version,
            deployments,
            tenant_id,
            client_id,
            client_secret,
            scopes: _,
            authority_host,
        } = written;
        let mut details =
            Details { deployments: self.deployments(path, deployments), ..Details::default() };
        if let Some(source) = endpoint {
            let url = self.plain(&at("endpoint"), source);
            details.endpoint = url.as_ref().and_then(|url| self.endpoint(&at("endpoint"), url, ""));
            details.identity.extend(url);
        } else if !value.whole && !self.doubtful(&at("endpoint")) {
            let help = "for example endpoint = \"https://my-resource.openai.azure.com\"";
            self.error(path, "`endpoint` is missing", help);
        }
        self.plain(&at("api_version"), api_version);
        self.endpoint(&at("authority_host"), authority_host, "");
        let names = ["tenant_id", "client_id", "client_secret"];
        let given = [tenant_id.is_some(), client_id.is_some(), client_secret.is_some()];
        details.credential = given.contains(&true);
        if details.credential && !self.doubtful(path) {
            for (name, _) in names.iter().zip(given).filter(|(_, given)| !given) {
                let help = "Entra ID credentials are tenant_id, client_id and client_secret";
                self.error(path, format!("`{name}` is missing"), help);
            }
        }
        for (name, source) in names.iter().zip([tenant_id, client_id]) {
            let text = source.as_ref().and_then(|source| self.plain(&at(name), source));
            details.identity.extend(text);
        }
        let secret = client_secret.as_ref();
        let secret =
            secret.and_then(|source| self.secret(&at("client_secret"), source, Lines::One));
        details.identity.extend(secret.map(|secret| secret.text));
        details
    }

    fn vertex(
        &mut self,
        path: &str,
        key: &str,
        written: Option<&file::Vertex>,
        value: Given,
    ) -> Details {
        let Some(written) = written else {
            if !self.doubtful(path) {
                self.error(
                    key,
                    "a vertex key needs `vertex_key_config`",
                    "with region, and auth_credentials = { file = \"…\" }",
                );
            }
            return Details { credential: true, ..Details::default() };
        };
        let file::Vertex { project_id, project_number, region, auth_credentials, deployments } =
            written;
        let mut details =
            Details { deployments: self.deployments(path, deployments), ..Details::default() };
        for (name, source) in
            [("project_id", project_id), ("project_number", project_number), ("region", region)]
        {
            let text = source.as_ref().and_then(|source| self.plain(&child(path, name), source));
            details.identity.extend(text);
        }
        if let Some(source) = auth_credentials {
            let at = child(path, "auth_credentials");
            if let Some(secret) = self.secret(&at, source, Lines::Many) {
                let account = self.json(&at, &secret.text);
                if account.is_some_and(|account| account.get("project_id").is_none())
                    && project_id.is_none()
                {
                    self.error(
                        path,
                        "`project_id` is missing, and the credentials do not name one",
                        "for example project_id = \"my-project\"",
                    );
                }
                details.identity.push_str(&secret.text);
            }
            details.credential = true;
        } else if !value.any && !self.doubtful(path) {
            self.error(
                path,
                "`auth_credentials` is missing",
                "write auth_credentials = { file = \"/run/secrets/service-account.json\" }",
            );
            details.credential = true;
        }
        details
    }

    fn bedrock(
        &mut self,
        path: &str,
        key: &str,
        written: Option<&file::Bedrock>,
        value: Given,
    ) -> Details {
        let Some(written) = written else {
            if !value.any && !self.doubtful(path) {
                self.error(
                    key,
                    "a bedrock key needs `bedrock_key_config` or a value",
                    "with region, access_key and secret_key",
                );
            }
            return Details { credential: true, ..Details::default() };
        };
        let file::Bedrock {
            region,
            access_key,
            secret_key,
            session_token,
            arn,
            deployments,
            regions,
            batch_s3_config,
        } = written;
        let mut details =
            Details { deployments: self.deployments(path, deployments), ..Details::default() };
        for (name, source) in [("region", region), ("arn", arn)] {
            let text = source.as_ref().and_then(|source| self.plain(&child(path, name), source));
            details.identity.extend(text);
        }
        let own = [
            ("access_key", access_key),
            ("secret_key", secret_key),
            ("session_token", session_token),
        ];
        let (pair, text) = self.pair(path, own);
        details.identity.push_str(&text);
        for (name, written) in regions {
            let at = child(&child(path, "regions"), name);
            let file::RegionPair { access_key, secret_key, session_token } = written;
            let own = [
                ("access_key", access_key),
                ("secret_key", secret_key),
                ("session_token", session_token),
            ];
            details.identity.push_str(&self.pair(&at, own).1);
        }
        if region.is_none() && regions.is_empty() && !value.any && !self.doubtful(path) {
            self.error(path, "`region` is missing", "for example region = \"us-east-1\"");
        }
        if !pair && regions.is_empty() && !value.any && !self.doubtful(path) {
            self.error(
                path,
                "there are no AWS credentials",
                "access_key and secret_key, or a pair under [….regions.REGION]",
            );
        }
        if let Some(batch) = batch_s3_config {
            self.buckets(&child(path, "batch_s3_config"), batch);
        }
        details.credential = true;
        details
    }

    /// Whether there is a pair of keys at all, and their text.
    fn pair(&mut self, path: &str, parts: [(&str, &Option<SecretSource>); 3]) -> (bool, String) {
        let mut identity = String::new();
        for (name, source) in &parts {
            let secret = source
                .as_ref()
                .and_then(|source| self.secret(&child(path, name), source, Lines::One));
            identity.extend(secret.map(|secret| secret.text));
        }
        let [(_, access), (_, secret), (_, token)] = parts;
        let half = match (access, secret, token) {
            (Some(_), None, _) => Some("secret_key"),
            (None, Some(_), _) | (None, None, Some(_)) => Some("access_key"),
            _ => None,
        };
        if let Some(half) = half.filter(|half| !self.doubtful(&child(path, half))) {
            self.error(
                path,
                format!("`{half}` is missing"),
                "access_key and secret_key go together",
            );
        }
        (access.is_some() || secret.is_some() || token.is_some(), identity)
    }

    fn buckets(&mut self, path: &str, written: &file::BatchS3) {
        let file::BatchS3 { buckets } = written;
        let list = child(path, "buckets");
        let mut default: Option<String> = None;
        for (place, bucket) in buckets.iter().enumerate() {
            let file::Bucket { bucket_name, prefix: _, is_default } = bucket;
            let at = item(&list, place);
            if bucket_name.as_deref().is_some_and(str::is_empty) {
                self.error(&child(&at, "bucket_name"), "`bucket_name` is empty", None);
            }
            if *is_default && let Some(first) = default.replace(at.clone()) {
                let place = self.place(&first);
                self.error(
                    &child(&at, "is_default"),
                    format!("another bucket is the default already{place}"),
                    "one bucket is used when a job names none",
                );
            }
        }
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

    fn json(&mut self, path: &str, text: &str) -> Option<Json> {
        let json: Option<Json> = serde_json::from_str(text).ok().filter(Json::is_object);
        if json.is_none() {
            self.error(
                path,
                "the credentials are not a JSON object",
                "the whole text of the JSON file that the provider gave out",
            );
        }
        json
    }
}
