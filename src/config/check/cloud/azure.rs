//! `azure_key_config`

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Given, Place, hidden};
use crate::config::check::Check;
use crate::config::check::keys::Details;
use crate::config::check::resolve_source::{Lines, Resolved};
use crate::config::path::item;
use crate::config::{
    ApiVersion, Azure, AzureAuth, Cloud, Endpoint, EntraAuth, EntraCredential, file,
};
use crate::secret::Secret;

/// Default of `api_version`: the latest version of Azure's that is generally available and dated.
const DEFAULT_VERSION: &str = "2024-10-21";
const SCOPE: &str = "https://cognitiveservices.azure.com/.default";
const AUTHORITY_HOST: &str = "AZURE_AUTHORITY_HOST";
const AUTHORITY: &str = "https://login.microsoftonline.com";
const MACHINE_HOST: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
/// Where a virtual machine asks for a token.
/// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
const MACHINE: &str = "http://169.254.169.254";
const ID: &str = "00000000-0000-0000-0000-000000000000";

/// A `value` that says more than the key.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    endpoint: Option<String>,
    #[serde(default, deserialize_with = "hidden")]
    api_key: Option<Secret>,
    api_version: Option<String>,
    #[serde(default)]
    deployments: BTreeMap<String, String>,
}

impl Check<'_, '_> {
    pub(super) fn azure(&mut self, at: &Place<'_>, written: Option<&file::Azure>) -> Details {
        let nothing = file::Azure::default();
        let table = written.unwrap_or(&nothing);
        let text: Option<Text> = match at.value {
            Given::Json(value) => {
                let whole = "{ \"endpoint\": …, \"api_key\": … }, with api_version and deployments if need be";
                self.json(&at.value(), &value.text, "", whole)
            }
            _ => None,
        };
        // What a text that cannot be read would say is unknown.
        let unknown = matches!(at.value, Given::Unknown)
            || (matches!(at.value, Given::Json(_)) && text.is_none());
        let endpoint = self.azure_endpoint(at, written, text.as_ref(), unknown);
        let api_version = self.api_version(at, table, text.as_ref());
        // Where both name a model, the table is right.
        let mut deployments =
            text.as_ref().map_or_else(BTreeMap::new, |text| text.deployments.clone());
        deployments.extend(table.deployments.clone());
        let deployments = self.deployments(at.table, &deployments);
        let (access, source) = match at.value {
            Given::Plain(value) => {
                let sound = self.sound(&at.value(), &value.text, Lines::One);
                let key = sound.then(|| AzureAuth::ApiKey(Secret::new(value.text.clone())));
                (key, value.source.clone())
            }
            Given::Json(value) => {
                let key = text.and_then(|text| {
                    if text.api_key.is_none() {
                        let help = "write it beside the endpoint: \"api_key\": …";
                        self.error(&at.value(), "the JSON text has no `api_key`", help);
                    }
                    text.api_key
                });
                (key.map(AzureAuth::ApiKey), value.source.clone())
            }
            Given::Unknown => (None, String::new()),
            Given::Nothing => {
                let (entra, source) = self.entra(at, table).unzip();
                (entra.map(AzureAuth::Entra), source.unwrap_or_default())
            }
        };
        if !matches!(at.value, Given::Nothing) {
            self.no_entra(at, table);
        }
        let addressed = endpoint.is_some() || at.around.has_base;
        let cloud = match (api_version, access) {
            (Some(api_version), Some(access)) if addressed => {
                Cloud::Azure(Azure { api_version, auth: access })
            }
            _ => Cloud::None,
        };
        Details { endpoint, deployments, cloud, source: Some(source), ..Details::default() }
    }

    /// The table's `endpoint`, else that of the text, else the provider's `base_url`.
    fn azure_endpoint(
        &mut self,
        at: &Place<'_>,
        written: Option<&file::Azure>,
        text: Option<&Text>,
        unknown: bool,
    ) -> Option<Endpoint> {
        if let Some(source) = written.and_then(|table| table.endpoint.as_ref()) {
            let path = at.of("endpoint");
            let url = self.plain(&path, source)?;
            self.no_surface(&path, &url)?;
            return self.endpoint(&path, &url, "");
        }
        if let Some(url) = text.and_then(|text| text.endpoint.as_deref()) {
            self.no_surface(&at.value(), url)?;
            let endpoint = super::endpoint_of(url);
            if endpoint.is_none() {
                let help = "for example \"https://my-resource.openai.azure.com\"";
                self.error(&at.value(), "`endpoint` of the JSON text is not an address", help);
            }
            return endpoint;
        }
        if at.around.has_base || unknown || self.doubtful(&at.of("endpoint")) {
            return None;
        }
        if written.is_some() {
            let help = "for example endpoint = \"https://my-resource.openai.azure.com\"";
            self.error(at.table, "`endpoint` is missing", help);
        } else if !self.doubtful(at.table) {
            let help = "write azure_key_config = { endpoint = \"https://….openai.azure.com\" }";
            self.error(at.key, "an azure key needs `azure_key_config`", help);
        }
        None
    }

    /// Refuses the address of one of the resource's surfaces where that of the resource is meant.
    pub(in crate::config::check) fn no_surface(&mut self, path: &str, url: &str) -> Option<()> {
        let Some(surface) = surface(url) else { return Some(()) };
        let message = format!("this is the address of what the resource has under {surface}");
        self.error(path, message, format!("keep what stands before {surface}").as_str());
        None
    }

    fn api_version(
        &mut self,
        at: &Place<'_>,
        table: &file::Azure,
        text: Option<&Text>,
    ) -> Option<ApiVersion> {
        let path = at.of("api_version");
        let said = text.and_then(|text| text.api_version.clone());
        // The schema's default is no reason to pass over what the text says.
        let (path, version) = match (&table.api_version, said) {
            (_, Some(said)) if self.tree.origin(&path).is_none() => (at.value(), said),
            (Some(source), _) => {
                let version = self.plain(&path, source)?;
                (path, version)
            }
            (None, _) => return Some(ApiVersion::Dated(DEFAULT_VERSION.to_owned())),
        };
        let version = version_of(&version);
        if version.is_none() {
            let help = "\"v1\", or a dated one such as \"2024-10-21\" or \"2025-04-01-preview\"";
            self.error(&path, "`api_version` is no version of Azure's API", help);
        }
        version
    }

    /// Where the token comes from, of a key that has no `value`; and the same in words.
    fn entra(&mut self, at: &Place<'_>, table: &file::Azure) -> Option<(EntraAuth, String)> {
        let scopes = self.scopes(at, table);
        let mut ids = [const { None }; 2];
        for ((name, source), id) in
            [("tenant_id", &table.tenant_id), ("client_id", &table.client_id)]
                .into_iter()
                .zip(&mut ids)
        {
            if let Some(source) = source {
                let text = self.plain(&at.of(name), source)?;
                self.segment(&at.of(name), &text, ID)?;
                *id = Some(text);
            }
        }
        let [tenant, client] = ids;
        let (proof, source) = match &table.client_secret {
            Some(source) => {
                let authority = self.authority(at, table);
                let secret = self.secret(&at.of("client_secret"), source, Lines::One);
                let tenant = self.part(at, "tenant_id", tenant);
                let client = self.part(at, "client_id", client);
                let Resolved { text, source } = secret?;
                let (authority, tenant, client) = (authority?, tenant?, client?);
                let proof = EntraCredential::ClientSecret {
                    authority,
                    tenant,
                    client,
                    secret: Secret::new(text),
                };
                (proof, format!("Entra ID client secret from {source}"))
            }
            None if self.doubtful(&at.of("client_secret")) => return None,
            None => {
                let proof = self.secretless(at, table, tenant, client)?;
                let words = words(&proof).to_owned();
                (proof, words)
            }
        };
        Some((EntraAuth { scopes: scopes?, credential: proof }, source))
    }

    /// What there is without an application's secret: workload identity, else a managed identity.
    fn secretless(
        &mut self,
        at: &Place<'_>,
        table: &file::Azure,
        tenant: Option<String>,
        client: Option<String>,
    ) -> Option<EntraCredential> {
        let authority = self.authority(at, table)?;
        let file = self.variable_text("AZURE_FEDERATED_TOKEN_FILE");
        let named = tenant.is_some();
        let whole = (
            tenant.or_else(|| self.variable_text("AZURE_TENANT_ID")),
            client.clone().or_else(|| self.variable_text("AZURE_CLIENT_ID")),
        );
        if let (Some(file), (Some(tenant), Some(client))) = (file, whole) {
            return Some(EntraCredential::WorkloadIdentity {
                authority,
                tenant,
                client,
                file: PathBuf::from(file),
            });
        }
        if named {
            self.part(at, "client_id", client.as_ref())?;
            self.warning(
                &at.of("tenant_id"),
                "`tenant_id` has no effect on a managed identity",
                "was `client_secret` forgotten? For workload identity AZURE_FEDERATED_TOKEN_FILE must be set",
            );
        }
        let service =
            self.variable_text("IDENTITY_ENDPOINT").zip(self.variable_text("IDENTITY_HEADER"));
        if let Some((address, header)) = service {
            let address = self.address_of(at.key, "IDENTITY_ENDPOINT", "http", &address)?;
            return Some(EntraCredential::AppServiceIdentity {
                address,
                header: Secret::new(header),
                client,
            });
        }
        let address = self.variable_text(MACHINE_HOST).unwrap_or_else(|| MACHINE.to_owned());
        let address = self.address_of(at.key, MACHINE_HOST, "http", &address)?;
        Some(EntraCredential::MachineIdentity { address, client })
    }

    fn authority(&mut self, at: &Place<'_>, table: &file::Azure) -> Option<Endpoint> {
        if let Some(host) = &table.authority_host {
            return self.endpoint(&at.of("authority_host"), host, "");
        }
        let host = self.variable_text(AUTHORITY_HOST).unwrap_or_else(|| AUTHORITY.to_owned());
        self.address_of(at.key, AUTHORITY_HOST, "https", &host)
    }

    fn scopes(&mut self, at: &Place<'_>, table: &file::Azure) -> Option<Vec<String>> {
        let path = at.of("scopes");
        if table.scopes.is_empty() && self.tree.origin(&path).is_none() {
            return Some(vec![SCOPE.to_owned()]);
        }
        let help = format!("for example scopes = [\"{SCOPE}\"]");
        if table.scopes.is_empty() {
            self.error(&path, "`scopes` is empty", help.as_str());
        }
        let mut good = !table.scopes.is_empty();
        for (place, scope) in table.scopes.iter().enumerate() {
            if scope.is_empty() || scope.contains(char::is_whitespace) {
                self.error(&item(&path, place), "this is no scope", help.as_str());
                good = false;
            }
        }
        good.then(|| table.scopes.clone())
    }

    /// A part of an application's credentials, which must be there.
    fn part<T>(&mut self, at: &Place<'_>, name: &str, text: Option<T>) -> Option<T> {
        if text.is_none() && !self.doubtful(&at.of(name)) {
            let help = "Entra ID credentials are tenant_id, client_id and client_secret";
            self.error(at.table, format!("`{name}` is missing"), help);
        }
        text
    }

    /// A key has one way of being allowed in.
    fn no_entra(&mut self, at: &Place<'_>, table: &file::Azure) {
        let names = ["tenant_id", "client_id", "client_secret"];
        let given =
            [table.tenant_id.is_some(), table.client_id.is_some(), table.client_secret.is_some()];
        if let Some((name, _)) = names.iter().zip(given).find(|(_, given)| *given) {
            self.misplaced(
                &at.of(name),
                format!("the key has a `value`, and `{name}` for Entra ID as well"),
                "remove the `value`, or tenant_id, client_id and client_secret",
            );
        }
    }
}

fn words(proof: &EntraCredential) -> &'static str {
    match proof {
        EntraCredential::ClientSecret { .. } => "Entra ID client secret",
        EntraCredential::WorkloadIdentity { .. } => "Entra ID workload identity",
        EntraCredential::MachineIdentity { .. } => "managed identity of the machine",
        EntraCredential::AppServiceIdentity { .. } => "managed identity of the app",
    }
}

/// Which of the resource's surfaces the address is one of, as it is shown to be copied. A gateway in front
/// of it may have a path of the same name, so at the end it counts with a host of Azure's only.
fn surface(url: &str) -> Option<&'static str> {
    let path = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
    ["/openai", "/anthropic"].into_iter().find(|surface| {
        let inner = path.contains(&format!("{surface}/"));
        let domains = [".azure.com", ".azure.us", ".azure.cn"];
        let last = path.strip_suffix(surface);
        inner || last.is_some_and(|rest| domains.iter().any(|domain| rest.ends_with(domain)))
    })
}

/// `v1`, its older names, or `2024-10-21` with or without `-preview`.
/// <https://learn.microsoft.com/azure/ai-foundry/openai/api-version-lifecycle>
fn version_of(text: &str) -> Option<ApiVersion> {
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
    fn addresses_of_surfaces() {
        for url in [
            "https://x.openai.azure.com/openai/deployments/a/chat/completions?api-version=2024-10-21",
            "https://x.openai.azure.com/openai/v1/",
            "https://x.openai.azure.com/openai",
            "https://gate.internal/azure/openai/v1",
        ] {
            assert_eq!(surface(url), Some("/openai"), "{url}");
        }
        let url = "https://x.services.ai.azure.com/anthropic/v1/messages";
        assert_eq!(surface(url), Some("/anthropic"));
        for url in
            ["https://x.openai.azure.com/", "https://gate.internal/openai", "https://openai.com"]
        {
            assert_eq!(surface(url), None, "{url}");
        }
    }

    #[test]
    fn versions() {
        for text in ["v1", "preview", "latest"] {
            assert_eq!(version_of(text), Some(ApiVersion::V1), "{text}");
        }
        for text in ["2024-10-21", "2025-04-01-preview"] {
            assert_eq!(version_of(text), Some(ApiVersion::Dated(text.to_owned())), "{text}");
        }
        for text in ["", "v2", "2024-10", "2024-13-01", "2024-10-21-beta", "24-10-21", "2024-10-2a"]
        {
            assert_eq!(version_of(text), None, "{text}");
        }
    }
}
