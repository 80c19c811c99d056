//! `[[providers.NAME.keys]]`

use std::collections::HashMap;
use std::sync::Arc;

use super::key_parts::{KeyValue, ProviderContext};
use super::report::Check;
use crate::config::path::{child, item};
use crate::config::pattern::Pattern;
use crate::config::source::{SecretSource, Source};
use crate::config::{Cloud, Key, file};
use crate::provider::{Auth, Kind};
use crate::secret::{Fingerprint, Secret};

impl Check<'_, '_> {
    pub(super) fn keys(
        &mut self,
        provider: &str,
        context: &ProviderContext<'_>,
        written: Vec<file::Key>,
    ) -> Vec<Arc<Key>> {
        let path = child(provider, "keys");
        if written.is_empty() && !self.is_reported(&path) {
            match context.kind.map(Kind::info) {
                Some(row) if !row.needs_value && row.auth != Auth::Cloud => {
                    return vec![Arc::new(Key::new(
                        context.provider.clone(),
                        "default",
                        context.endpoint.clone(),
                    ))];
                }
                Some(_) => self.error(
                    provider,
                    format!("provider `{}` has no keys", context.provider),
                    format!("add [[{path}]] with a `value`").as_str(),
                ),
                None => {}
            }
        }
        let mut names: HashMap<String, String> = HashMap::new();
        let mut values: HashMap<Fingerprint, String> = HashMap::new();
        let mut keys = Vec::with_capacity(written.len());
        for (index, key) in written.into_iter().enumerate() {
            let path = item(&path, index);
            let key = self.key(&path, context, key);
            if !key.name.is_empty()
                && let Some(first) = names.insert(key.name.to_string(), path.clone())
            {
                let first = self.location(&first);
                let message =
                    format!("another key of this provider has the name `{}`{first}", key.name);
                let help = "names of keys are unique within a provider; without `name`, the name of the environment variable is used";
                self.error(&path, message, help);
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
                    "the provider applies its limits to both together",
                );
            }
            keys.push(Arc::new(key));
        }
        if !keys.is_empty() && keys.iter().all(|key| key.weight == 0.0) {
            self.warning(&path, "every key has weight 0, so every key is a standby key", None);
        }
        keys
    }

    fn key(&mut self, path: &str, context: &ProviderContext<'_>, written: file::Key) -> Key {
        let at = |name: &str| child(path, name);
        let value = written.value.as_ref().filter(|_| written.enabled);
        let resolved =
            value.and_then(|value| self.credential_value(&at("value"), context.kind, value));
        let is_written = value.is_some() || self.is_reported(&at("value"));
        let key_value = KeyValue::new(resolved.as_ref(), is_written);
        let settings = self.kind_settings(path, context, &written, &key_value);
        if matches!(key_value, KeyValue::Absent) && written.enabled {
            self.report_missing_value(path, context.kind);
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
            fingerprint(resolved.as_ref().map(|value| &value.text), &settings.identity);
        let (value, source) = resolved.map(|value| (value.text, value.source)).unzip();
        let is_cloud = context.kind.is_some_and(|kind| kind.info().auth == Auth::Cloud);
        let only_model = settings.model.as_deref().map(|model| vec![Pattern::new(model)]);
        let models = self.allowed_models(&at("models"), models.as_deref()).or(only_model);
        Key {
            provider: context.provider.clone(),
            name: name.into(),
            fingerprint,
            value: value.filter(|_| !is_cloud),
            cloud: settings.cloud,
            source: settings.source.or(source).unwrap_or_else(|| "none".to_owned()),
            endpoint: settings.endpoint.map_or_else(|| context.endpoint.clone(), Arc::new),
            weight,
            models,
            blacklisted_models: self.patterns(&at("blacklisted_models"), &blacklisted_models),
            clients: self.client_names(&at("clients"), clients.as_deref(), context.clients),
            enabled,
            use_for_batch_api,
            description,
            deployments: settings.deployments,
            max_concurrent,
            rpm,
            tpm,
            quota_group,
        }
    }

    /// Reports a key without the credential that its kind requires.
    fn report_missing_value(&mut self, path: &str, kind: Option<Kind>) {
        if kind.is_some_and(|kind| kind.info().needs_value) {
            self.error(path, "this key has no `value`", "write value = { env_var = \"NAME\" }");
        }
    }

    /// Returns the name of the key, or the name of the environment variable of its `value`.
    fn key_name(
        &mut self,
        path: &str,
        name: Option<String>,
        value: Option<&SecretSource>,
    ) -> String {
        if let Some(name) = name {
            self.check_name(&child(path, "name"), "key", &name);
            return name;
        }
        let variable = match value.map(|value| &value.0) {
            Some(Source::Table(table)) if table.from_env != Some(false) => table.env_var.clone(),
            _ => None,
        };
        let is_unknown =
            self.is_reported(&child(path, "name")) || self.is_reported(&child(path, "value"));
        if variable.is_none() && !is_unknown {
            self.error(
                path,
                "this key has no `name`",
                "only a key whose `value` comes from an environment variable has a default name",
            );
        }
        variable.unwrap_or_default()
    }
}

fn fingerprint(value: Option<&Secret>, identity: &str) -> Fingerprint {
    let text = match value {
        Some(value) if identity.is_empty() => return value.fingerprint(),
        Some(value) => value.inspect_text(|text| format!("{text}\n{identity}")),
        None if identity.is_empty() => String::new(),
        None => format!("\n{identity}"),
    };
    Secret::new(text).fingerprint()
}
