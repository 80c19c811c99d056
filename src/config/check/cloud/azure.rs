//! `azure_key_config`

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::{CloudKey, deserialize_secret};
use crate::config::check::key_parts::{KeyValue, KindSettings};
use crate::config::check::report::Check;
use crate::config::check::resolve_source::{Lines, Resolved};
use crate::config::path::item;
use crate::config::{
    ApiVersion, Azure, AzureAuth, Cloud, Endpoint, EntraAuth, EntraCredential, file,
};
use crate::secret::Secret;

/// Default of `api_version`: the latest dated version that is generally available.
const DEFAULT_VERSION: &str = "2024-10-21";
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";
const AUTHORITY_VARIABLE: &str = "AZURE_AUTHORITY_HOST";
const AUTHORITY: &str = "https://login.microsoftonline.com";
const METADATA_HOST_VARIABLE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
/// The metadata service of a virtual machine, which issues tokens.
/// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
const METADATA_SERVICE: &str = "http://169.254.169.254";
const EXAMPLE_ID: &str = "00000000-0000-0000-0000-000000000000";

/// A `value` in JSON: the key with the settings of its resource.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonValue {
    endpoint: Option<String>,
    #[serde(default, deserialize_with = "deserialize_secret")]
    api_key: Option<Secret>,
    api_version: Option<String>,
    #[serde(default)]
    deployments: BTreeMap<String, String>,
}

impl Check<'_, '_> {
    pub(super) fn azure(
        &mut self,
        at: &CloudKey<'_>,
        written: Option<&file::Azure>,
    ) -> KindSettings {
        let default = file::Azure::default();
        let table = written.unwrap_or(&default);
        let text: Option<JsonValue> = match at.value {
            KeyValue::Json(value) => {
                let expected = "write { \"endpoint\": …, \"api_key\": … }, with api_version and deployments if needed";
                self.json(&at.value_path(), &value.text, "", expected)
            }
            _ => None,
        };
        // A JSON text that cannot be parsed may contain the endpoint.
        let is_unknown = matches!(at.value, KeyValue::Unknown)
            || (matches!(at.value, KeyValue::Json(_)) && text.is_none());
        let endpoint = self.azure_endpoint(at, written, text.as_ref(), is_unknown);
        let api_version = self.api_version(at, table, text.as_ref());
        // The table wins over the JSON text.
        let mut deployments =
            text.as_ref().map_or_else(BTreeMap::new, |text| text.deployments.clone());
        deployments.extend(table.deployments.clone());
        let deployments = self.deployments(at.table, &deployments);
        let (access, source) = match at.value {
            KeyValue::Plain(value) => {
                let is_valid = self.check_characters(&at.value_path(), &value.text, Lines::One);
                let key = is_valid.then(|| AzureAuth::ApiKey(value.text.clone()));
                (key, value.source.clone())
            }
            KeyValue::Json(value) => {
                let key = text.and_then(|text| {
                    if text.api_key.is_none() {
                        let help = "add \"api_key\": … beside the endpoint";
                        self.error(&at.value_path(), "the JSON text has no `api_key`", help);
                    }
                    text.api_key
                });
                (key.map(AzureAuth::ApiKey), value.source.clone())
            }
            KeyValue::Unknown => (None, String::new()),
            KeyValue::Absent => {
                let (entra, source) = self.entra(at, table).unzip();
                (entra.map(AzureAuth::Entra), source.unwrap_or_default())
            }
        };
        if !matches!(at.value, KeyValue::Absent) {
            self.reject_entra_settings(at, table);
        }
        let has_endpoint = endpoint.is_some() || at.context.has_base_url;
        let cloud = match (api_version, access) {
            (Some(api_version), Some(access)) if has_endpoint => {
                Cloud::Azure(Azure { api_version, auth: access })
            }
            _ => Cloud::None,
        };
        KindSettings {
            endpoint,
            deployments,
            cloud,
            source: Some(source),
            ..KindSettings::default()
        }
    }

    /// Returns the `endpoint` of the table or of the JSON text. `None` if the provider's `base_url` applies,
    /// or after a problem was reported.
    fn azure_endpoint(
        &mut self,
        at: &CloudKey<'_>,
        written: Option<&file::Azure>,
        text: Option<&JsonValue>,
        is_unknown: bool,
    ) -> Option<Endpoint> {
        if let Some(source) = written.and_then(|table| table.endpoint.as_ref()) {
            let path = at.path("endpoint");
            let url = self.plain(&path, source)?;
            self.reject_azure_path(&path, &url)?;
            return self.endpoint(&path, &url, "");
        }
        if let Some(url) = text.and_then(|text| text.endpoint.as_deref()) {
            self.reject_azure_path(&at.value_path(), url)?;
            let endpoint = Endpoint::parse(url);
            if endpoint.is_none() {
                let help = "for example \"https://my-resource.openai.azure.com\"";
                self.error(
                    &at.value_path(),
                    "`endpoint` in the JSON text is not a valid URL",
                    help,
                );
            }
            return endpoint;
        }
        if at.context.has_base_url || is_unknown || self.is_reported(&at.path("endpoint")) {
            return None;
        }
        if written.is_some() {
            let help = "for example endpoint = \"https://my-resource.openai.azure.com\"";
            self.error(at.table, "`endpoint` is missing", help);
        } else if !self.is_reported(at.table) {
            let help = "write azure_key_config = { endpoint = \"https://….openai.azure.com\" }";
            self.error(at.key, "an azure key needs `azure_key_config`", help);
        }
        None
    }

    /// Reports the URL of an API below the resource, where the URL of the resource is expected.
    pub(in crate::config::check) fn reject_azure_path(
        &mut self,
        path: &str,
        url: &str,
    ) -> Option<()> {
        let Some(api) = api_path(url) else { return Some(()) };
        let message = format!("this is the URL of {api} below the resource, not of the resource");
        self.error(path, message, format!("keep the part before {api}").as_str());
        None
    }

    fn api_version(
        &mut self,
        at: &CloudKey<'_>,
        table: &file::Azure,
        text: Option<&JsonValue>,
    ) -> Option<ApiVersion> {
        let path = at.path("api_version");
        let in_text = text.and_then(|text| text.api_version.clone());
        // The JSON text wins over the schema's default, but not over a value in the file.
        let (path, version) = match (&table.api_version, in_text) {
            (_, Some(in_text)) if self.tree.origin(&path).is_none() => (at.value_path(), in_text),
            (Some(source), _) => {
                let version = self.plain(&path, source)?;
                (path, version)
            }
            (None, _) => return Some(ApiVersion::Dated(DEFAULT_VERSION.to_owned())),
        };
        let version = parse_version(&version);
        if version.is_none() {
            let help =
                "write \"v1\", or a dated version such as \"2024-10-21\" or \"2025-04-01-preview\"";
            self.error(&path, "`api_version` is not a version of Azure's API", help);
        }
        version
    }

    /// Returns the token settings of a key without `value`, and their source for display.
    fn entra(&mut self, at: &CloudKey<'_>, table: &file::Azure) -> Option<(EntraAuth, String)> {
        let scopes = self.scopes(at, table);
        let mut ids = [const { None }; 2];
        for ((name, source), id) in
            [("tenant_id", &table.tenant_id), ("client_id", &table.client_id)]
                .into_iter()
                .zip(&mut ids)
        {
            if let Some(source) = source {
                let text = self.plain(&at.path(name), source)?;
                self.check_url_segment(&at.path(name), &text, EXAMPLE_ID)?;
                *id = Some(text);
            }
        }
        let [tenant, client] = ids;
        let (credential, source) = match &table.client_secret {
            Some(source) => {
                let authority = self.authority(at, table);
                let secret = self.secret(&at.path("client_secret"), source, Lines::One);
                let tenant = self.required_part(at, "tenant_id", tenant);
                let client = self.required_part(at, "client_id", client);
                let Resolved { text: secret, source } = secret?;
                let (authority, tenant, client) = (authority?, tenant?, client?);
                let credential =
                    EntraCredential::ClientSecret { authority, tenant, client, secret };
                (credential, format!("Entra ID client secret from {source}"))
            }
            None if self.is_reported(&at.path("client_secret")) => return None,
            None => {
                let credential = self.identity(at, table, tenant, client)?;
                let source = source_name(&credential).to_owned();
                (credential, source)
            }
        };
        Some((EntraAuth { scopes: scopes?, credential }, source))
    }

    /// Returns workload identity if its variables are set, else a managed identity.
    fn identity(
        &mut self,
        at: &CloudKey<'_>,
        table: &file::Azure,
        tenant: Option<String>,
        client: Option<String>,
    ) -> Option<EntraCredential> {
        let authority = self.authority(at, table)?;
        let file = self.variable_text("AZURE_FEDERATED_TOKEN_FILE");
        let has_tenant = tenant.is_some();
        let ids = (
            tenant.or_else(|| self.variable_text("AZURE_TENANT_ID")),
            client.clone().or_else(|| self.variable_text("AZURE_CLIENT_ID")),
        );
        if let (Some(file), (Some(tenant), Some(client))) = (file, ids) {
            return Some(EntraCredential::WorkloadIdentity {
                authority,
                tenant,
                client,
                file: PathBuf::from(file),
            });
        }
        if has_tenant {
            self.required_part(at, "client_id", client.as_ref())?;
            self.warning(
                &at.path("tenant_id"),
                "`tenant_id` has no effect on a managed identity",
                "add `client_secret`, or set AZURE_FEDERATED_TOKEN_FILE for workload identity",
            );
        }
        let service =
            self.variable_text("IDENTITY_ENDPOINT").zip(self.variable_text("IDENTITY_HEADER"));
        if let Some((address, header)) = service {
            let address = self.variable_endpoint(at.key, "IDENTITY_ENDPOINT", "http", &address)?;
            return Some(EntraCredential::AppServiceIdentity {
                address,
                header: Secret::new(header),
                client,
            });
        }
        let address = self
            .variable_text(METADATA_HOST_VARIABLE)
            .unwrap_or_else(|| METADATA_SERVICE.to_owned());
        let address = self.variable_endpoint(at.key, METADATA_HOST_VARIABLE, "http", &address)?;
        Some(EntraCredential::MachineIdentity { address, client })
    }

    fn authority(&mut self, at: &CloudKey<'_>, table: &file::Azure) -> Option<Endpoint> {
        if let Some(host) = &table.authority_host {
            return self.endpoint(&at.path("authority_host"), host, "");
        }
        let host = self.variable_text(AUTHORITY_VARIABLE).unwrap_or_else(|| AUTHORITY.to_owned());
        self.variable_endpoint(at.key, AUTHORITY_VARIABLE, "https", &host)
    }

    fn scopes(&mut self, at: &CloudKey<'_>, table: &file::Azure) -> Option<Vec<String>> {
        let path = at.path("scopes");
        if table.scopes.is_empty() && self.tree.origin(&path).is_none() {
            return Some(vec![SCOPE.to_owned()]);
        }
        let help = format!("for example scopes = [\"{SCOPE}\"]");
        if table.scopes.is_empty() {
            self.error(&path, "`scopes` is empty", help.as_str());
        }
        let mut is_valid = !table.scopes.is_empty();
        for (index, scope) in table.scopes.iter().enumerate() {
            if scope.is_empty() || scope.contains(char::is_whitespace) {
                self.error(&item(&path, index), "this is not a scope", help.as_str());
                is_valid = false;
            }
        }
        is_valid.then(|| table.scopes.clone())
    }

    /// Reports a missing part of an application's credentials.
    fn required_part<T>(&mut self, at: &CloudKey<'_>, name: &str, text: Option<T>) -> Option<T> {
        if text.is_none() && !self.is_reported(&at.path(name)) {
            let help = "Entra ID needs tenant_id, client_id and client_secret";
            self.error(at.table, format!("`{name}` is missing"), help);
        }
        text
    }

    /// Reports Entra ID settings of a key that has a `value`.
    fn reject_entra_settings(&mut self, at: &CloudKey<'_>, table: &file::Azure) {
        let names = ["tenant_id", "client_id", "client_secret"];
        let given =
            [table.tenant_id.is_some(), table.client_id.is_some(), table.client_secret.is_some()];
        if let Some((name, _)) = names.iter().zip(given).find(|(_, given)| *given) {
            self.name_error(
                &at.path(name),
                format!("the key has both a `value` and `{name}` for Entra ID"),
                "remove the `value`, or tenant_id, client_id and client_secret",
            );
        }
    }
}

fn source_name(credential: &EntraCredential) -> &'static str {
    match credential {
        EntraCredential::ClientSecret { .. } => "Entra ID client secret",
        EntraCredential::WorkloadIdentity { .. } => "Entra ID workload identity",
        EntraCredential::MachineIdentity { .. } => "managed identity of the machine",
        EntraCredential::AppServiceIdentity { .. } => "managed identity of the app",
    }
}

/// Returns the API path that a URL from Azure's portal contains. A gateway in front of Azure may have a path
/// with the same name, so at the end of the URL the path counts only with a host of Azure.
fn api_path(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    ["/openai", "/anthropic"].into_iter().find(|api| {
        let inner = path.contains(&format!("{api}/"));
        let domains = [".azure.com", ".azure.us", ".azure.cn"];
        let last = path.strip_suffix(api);
        inner || last.is_some_and(|rest| domains.iter().any(|domain| rest.ends_with(domain)))
    })
}

/// Parses `v1`, its older names, or `2024-10-21` with or without `-preview`.
/// <https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle>
fn parse_version(text: &str) -> Option<ApiVersion> {
    if matches!(text, "v1" | "preview" | "latest") {
        return Some(ApiVersion::V1);
    }
    let date = text.strip_suffix("-preview").unwrap_or(text);
    let parts: Vec<&str> = date.split('-').collect();
    let digits = |part: &str, count: usize| {
        part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let [year, month, day] = parts.as_slice() else { return None };
    let good = digits(year, 4) && digits(month, 2) && digits(day, 2);
    let real = ("01"..="12").contains(month) && ("01"..="31").contains(day);
    (good && real).then(|| ApiVersion::Dated(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_of_apis_are_recognized() {
        for url in [
            "https://x.openai.azure.com/openai/deployments/a/chat/completions?api-version=2024-10-21",
            "https://x.openai.azure.com/openai/v1/",
            "https://x.openai.azure.com/openai",
            "https://gate.internal/azure/openai/v1",
        ] {
            assert_eq!(api_path(url), Some("/openai"), "{url}");
        }
        let url = "https://x.services.ai.azure.com/anthropic/v1/messages";
        assert_eq!(api_path(url), Some("/anthropic"));
        for url in
            ["https://x.openai.azure.com/", "https://gate.internal/openai", "https://openai.com"]
        {
            assert_eq!(api_path(url), None, "{url}");
        }
    }

    #[test]
    fn versions_are_v1_or_dates() {
        for text in ["v1", "preview", "latest"] {
            assert_eq!(parse_version(text), Some(ApiVersion::V1), "{text}");
        }
        for text in ["2024-10-21", "2025-04-01-preview"] {
            assert_eq!(parse_version(text), Some(ApiVersion::Dated(text.to_owned())), "{text}");
        }
        for text in ["", "v2", "2024-10", "2024-13-01", "2024-10-21-beta", "24-10-21", "2024-10-2a"]
        {
            assert_eq!(parse_version(text), None, "{text}");
        }
    }
}
