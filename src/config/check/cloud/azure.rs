//! `azure_key_config`

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::{Given, Place, hidden};
use crate::config::check::Check;
use crate::config::check::keys::Details;
use crate::config::check::sources::Lines;
use crate::config::path::item;
use crate::config::{ApiVersion, Azure, AzureAccess, Cloud, Endpoint, Entra, Proof, file};
use crate::secret::Secret;

const SCOPE: &str = "https://cognitiveservices.azure.com/.default";
const AUTHORITY: &str = "https://login.microsoftonline.com";
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
                self.json(&at.value(), &value.text, whole)
            }
            _ => None,
        };
        // What a text that cannot be read would say is unknown.
        let unknown = matches!(at.value, Given::Unknown)
            || (matches!(at.value, Given::Json(_)) && text.is_none());
        let endpoint = self.azure_endpoint(at, written, text.as_ref(), unknown);
        let api_version = self.api_version(at, table, text.as_ref());
        let mut deployments = self.deployments(at.table, &table.deployments);
        for (model, deployment) in text.iter().flat_map(|text| &text.deployments) {
            deployments.entry(model.clone()).or_insert_with(|| deployment.clone());
        }
        let (access, source) = match at.value {
            Given::Plain(value) => {
                (Some(AzureAccess::ApiKey(Secret::new(value.text.clone()))), value.source.clone())
            }
            Given::Json(value) => {
                let key = text.and_then(|text| {
                    if text.api_key.is_none() {
                        let help = "write it beside the endpoint: \"api_key\": …";
                        self.error(&at.value(), "the JSON text has no `api_key`", help);
                    }
                    text.api_key
                });
                (key.map(AzureAccess::ApiKey), value.source.clone())
            }
            Given::Unknown => (None, String::new()),
            Given::Nothing => {
                let entra = self.entra(at, table);
                let source = entra.as_ref().map(|entra| source(&entra.proof).to_owned());
                (entra.map(AzureAccess::Entra), source.unwrap_or_default())
            }
        };
        if !matches!(at.value, Given::Nothing) {
            self.no_entra(at, table);
        }
        let cloud = match (api_version, access) {
            (Some(api_version), Some(access)) => Cloud::Azure(Azure { api_version, access }),
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
            return self.resource(&path, &url);
        }
        if let Some(url) = text.and_then(|text| text.endpoint.as_deref()) {
            let endpoint = super::endpoint_of(url);
            if endpoint.is_none() {
                let help = "for example \"https://my-resource.openai.azure.com\"";
                self.error(&at.value(), "`endpoint` of the JSON text is not an address", help);
            }
            endpoint.as_ref()?;
            return self.resource(&at.value(), url);
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

    /// The address of a resource, and not one of what it offers.
    fn resource(&mut self, path: &str, url: &str) -> Option<Endpoint> {
        let bare = url.split(['?', '#']).next().unwrap_or_default().trim_end_matches('/');
        for surface in ["/openai", "/anthropic"] {
            let inner = bare.find(&format!("{surface}/"));
            let azure = [".azure.com", ".azure.us", ".azure.cn"];
            let last = bare
                .strip_suffix(surface)
                .filter(|origin| azure.iter().any(|domain| origin.ends_with(domain)));
            if inner.is_some() || last.is_some() {
                self.error(
                    path,
                    "`endpoint` is the address of a surface of the resource",
                    format!("keep what stands before {surface}").as_str(),
                );
                return None;
            }
        }
        self.endpoint(path, url, "")
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
            (None, _) => return Some(ApiVersion::V1),
        };
        let version = version_of(&version);
        if version.is_none() {
            let help = "\"v1\", or a dated one such as \"2024-10-21\" or \"2025-04-01-preview\"";
            self.error(&path, "`api_version` is no version of Azure's API", help);
        }
        version
    }

    /// Where the token comes from, of a key that has no `value`.
    fn entra(&mut self, at: &Place<'_>, table: &file::Azure) -> Option<Entra> {
        let scopes = self.scopes(at, table);
        let tenant = match &table.tenant_id {
            Some(source) => Some(self.plain(&at.of("tenant_id"), source)?),
            None => None,
        };
        let client = match &table.client_id {
            Some(source) => Some(self.plain(&at.of("client_id"), source)?),
            None => None,
        };
        for (name, text) in [("tenant_id", &tenant), ("client_id", &client)] {
            if let Some(text) = text {
                self.segment(&at.of(name), text, ID)?;
            }
        }
        let proof = match &table.client_secret {
            Some(source) => {
                let authority = self.authority(at, table);
                let secret = self.secret(&at.of("client_secret"), source, Lines::One);
                let tenant = self.part(at, "tenant_id", tenant);
                let client = self.part(at, "client_id", client);
                Proof::Secret {
                    authority: authority?,
                    tenant: tenant?,
                    client: client?,
                    secret: Secret::new(secret?.text),
                }
            }
            None if self.doubtful(&at.of("client_secret")) => return None,
            None => self.secretless(at, table, tenant, client)?,
        };
        Some(Entra { scopes: scopes?, proof })
    }

    /// What there is without an application's secret: workload identity, else a managed identity.
    fn secretless(
        &mut self,
        at: &Place<'_>,
        table: &file::Azure,
        tenant: Option<String>,
        client: Option<String>,
    ) -> Option<Proof> {
        let authority = self.authority(at, table)?;
        let file = self.variable_text("AZURE_FEDERATED_TOKEN_FILE");
        let both = (
            tenant.clone().or_else(|| self.variable_text("AZURE_TENANT_ID")),
            client.clone().or_else(|| self.variable_text("AZURE_CLIENT_ID")),
        );
        if let (Some(file), (Some(tenant), Some(client))) = (file, both) {
            return Some(Proof::Federated { authority, tenant, client, file: PathBuf::from(file) });
        }
        if tenant.is_some() {
            let client = self.part(at, "client_id", client.clone());
            client.as_ref()?;
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
            return Some(Proof::AppService { address, header: Secret::new(header), client });
        }
        const NAME: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";
        let address = self.variable_text(NAME).unwrap_or_else(|| MACHINE.to_owned());
        let address = self.address_of(at.key, NAME, "http", &address)?;
        Some(Proof::Machine { address, client })
    }

    fn authority(&mut self, at: &Place<'_>, table: &file::Azure) -> Option<Endpoint> {
        const NAME: &str = "AZURE_AUTHORITY_HOST";
        match &table.authority_host {
            Some(host) => self.endpoint(&at.of("authority_host"), host, ""),
            None => {
                let host = self.variable_text(NAME).unwrap_or_else(|| AUTHORITY.to_owned());
                self.address_of(at.key, NAME, "https", &host)
            }
        }
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
    fn part(&mut self, at: &Place<'_>, name: &str, text: Option<String>) -> Option<String> {
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

fn source(proof: &Proof) -> &'static str {
    match proof {
        Proof::Secret { .. } => "Entra ID client secret",
        Proof::Federated { .. } => "Entra ID workload identity",
        Proof::Machine { .. } => "managed identity of the machine",
        Proof::AppService { .. } => "managed identity of the app",
    }
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
