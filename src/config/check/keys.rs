//! `[[providers.NAME.keys]]`

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::Check;
use super::cloud::Given;
use crate::config::path::{child, item};
use crate::config::pattern::Pattern;
use crate::config::source::{SecretSource, Source};
use crate::config::{Client, Cloud, Endpoint, Key, file};
use crate::provider::{Auth, Kind};
use crate::secret::{Fingerprint, Secret};

/// What a key needs to know of its provider.
pub(super) struct Around<'a> {
    pub(super) provider: &'a Arc<str>,
    /// `None`: there is no telling.
    pub(super) kind: Option<Kind>,
    pub(super) endpoint: &'a Arc<Endpoint>,
    /// Whether the file says where the provider answers.
    pub(super) has_base: bool,
    pub(super) clients: &'a [Client],
}

/// What a kind's own table adds to a key.
#[derive(Default)]
pub(super) struct Details {
    pub(super) endpoint: Option<Endpoint>,
    pub(super) deployments: BTreeMap<String, String>,
    /// The one model it serves.
    pub(super) model: Option<String>,
    /// What a key of a cloud has, its `value` included.
    pub(super) cloud: Cloud,
    /// Where that is from, in words.
    pub(super) source: Option<String>,
    /// All that tells this key from another, for its fingerprint.
    pub(super) identity: String,
}

impl Check<'_, '_> {
    pub(super) fn keys(
        &mut self,
        provider: &str,
        around: &Around<'_>,
        written: Vec<file::Key>,
    ) -> Vec<Arc<Key>> {
        let path = child(provider, "keys");
        if written.is_empty() && !self.doubtful(&path) {
            match around.kind.map(Kind::info) {
                Some(row) if !row.needs_value && row.auth != Auth::Cloud => {
                    return vec![Arc::new(Key::new(
                        around.provider.clone(),
                        "default",
                        around.endpoint.clone(),
                    ))];
                }
                Some(_) => self.error(
                    provider,
                    format!("provider `{}` has no keys", around.provider),
                    format!("add [[{path}]] with a value").as_str(),
                ),
                None => {}
            }
        }
        let mut names: HashMap<String, String> = HashMap::new();
        let mut values: HashMap<Fingerprint, String> = HashMap::new();
        let mut keys = Vec::with_capacity(written.len());
        for (place, key) in written.into_iter().enumerate() {
            let path = item(&path, place);
            let key = self.key(&path, around, key);
            if !key.name.is_empty()
                && let Some(first) = names.insert(key.name.to_string(), path.clone())
            {
                let place = self.place(&first);
                self.error(&path, format!("there is another key of the name `{}` in this provider{place}", key.name), "names of keys are unique within a provider; without `name`, the variable's name is taken");
            }
            let (same, what) = match (&key.value, &key.cloud) {
                (Some(value), _) => (Some(value.fingerprint()), "value"),
                (None, Cloud::None) => (None, ""),
                (None, _) => (Some(key.fingerprint), "credentials"),
            };
            if let Some(same) = same
                && let Some(first) = values.insert(same, key.name.to_string())
                && *first != *key.name
            {
                self.warning(
                    &path,
                    format!("key `{}` has the same {what} as key `{first}`", key.name),
                    "the provider counts them as one",
                );
            }
            keys.push(Arc::new(key));
        }
        if !keys.is_empty() && keys.iter().all(|key| key.weight == 0.0) {
            self.warning(
                &path,
                "every key has weight 0: all are standby, and none comes first",
                None,
            );
        }
        keys
    }

    fn key(&mut self, path: &str, around: &Around<'_>, written: file::Key) -> Key {
        let at = |name: &str| child(path, name);
        let value = written.value.as_ref().filter(|_| written.enabled);
        let resolved =
            value.and_then(|value| self.credential_value(&at("value"), around.kind, value));
        let unread = value.is_some() || self.doubtful(&at("value"));
        let given = Given::of(resolved.as_ref(), unread);
        let details = self.details(path, around, &written, &given);
        if matches!(given, Given::Nothing) && written.enabled {
            self.without_value(path, around.kind);
        }
        let file::Key {
            name,
            value,
            weight,
            models,
            blacklisted_models,
            clients,
            enabled,
            use_for_batch_api,
            description,
            max_concurrent,
            rpm,
            tpm,
            quota_group,
            azure_key_config: _,
            vertex_key_config: _,
            bedrock_key_config: _,
            replicate_key_config: _,
            vllm_key_config: _,
            ollama_key_config: _,
            sgl_key_config: _,
        } = written;
        let name = self.key_name(path, name, value.as_ref());
        let fingerprint =
            fingerprint(resolved.as_ref().map(|value| &*value.text), &details.identity);
        let (value, source) = resolved.map(|value| (value.text, value.source)).unzip();
        let in_cloud = around.kind.is_some_and(|kind| kind.info().auth == Auth::Cloud);
        let only = details.model.as_deref().map(|model| vec![Pattern::new(model)]);
        let models = self.allowed(&at("models"), models.as_deref()).or(only);
        Key {
            provider: around.provider.clone(),
            name: name.into(),
            fingerprint,
            value: value.filter(|_| !in_cloud).map(Secret::new),
            cloud: details.cloud,
            source: details.source.or(source).unwrap_or_else(|| "none".to_owned()),
            endpoint: details.endpoint.map_or_else(|| around.endpoint.clone(), Arc::new),
            weight,
            models,
            blacklisted_models: self.patterns(&at("blacklisted_models"), &blacklisted_models),
            clients: self.scope(&at("clients"), clients.as_deref(), around.clients),
            enabled,
            use_for_batch_api,
            description,
            deployments: details.deployments,
            max_concurrent,
            rpm,
            tpm,
            quota_group,
        }
    }

    /// A key that has none of the credentials its kind needs.
    fn without_value(&mut self, path: &str, kind: Option<Kind>) {
        if kind.is_some_and(|kind| kind.info().needs_value) {
            self.error(path, "this key has no `value`", "write value = { env_var = \"…\" }");
        }
    }

    /// The name of the key, or that of the variable its value comes from.
    fn key_name(
        &mut self,
        path: &str,
        name: Option<String>,
        value: Option<&SecretSource>,
    ) -> String {
        if let Some(name) = name {
            self.name(&child(path, "name"), "key", &name);
            return name;
        }
        let variable = match value.map(|value| &value.0) {
            Some(Source::Table(table)) if table.from_env != Some(false) => table.env_var.clone(),
            _ => None,
        };
        let unknown = self.doubtful(&child(path, "name")) || self.doubtful(&child(path, "value"));
        if variable.is_none() && !unknown {
            self.error(
                path,
                "this key has no `name`",
                "only a key whose value comes from an environment variable is named by itself",
            );
        }
        variable.unwrap_or_default()
    }
}

fn fingerprint(value: Option<&str>, identity: &str) -> Fingerprint {
    let value = value.unwrap_or_default();
    let text = if identity.is_empty() { value.to_owned() } else { format!("{value}\n{identity}") };
    Secret::new(text).fingerprint()
}
