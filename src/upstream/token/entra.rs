//! Tokens of Microsoft Entra ID.
//! <https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
//! <https://learn.microsoft.com/en-us/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
//! <https://learn.microsoft.com/en-us/azure/app-service/overview-managed-identity#rest-endpoint-reference>

use std::io;

use http::{HeaderName, HeaderValue, Uri};

use super::cache::{NewToken, TokenSource};
use super::{TokenClients, oauth};
use crate::config::{EntraAuth, EntraCredential};
use crate::secret::{Fingerprint, Secret};
use crate::upstream::error::TokenError;
use crate::upstream::secret_header;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Fetches tokens for one credential.
pub(in crate::upstream) struct EntraSource {
    uri: Uri,
    scope: String,
    credential: EntraCredential,
    clients: TokenClients,
}

impl EntraSource {
    pub(in crate::upstream) fn new(entra: &EntraAuth, clients: TokenClients) -> io::Result<Self> {
        let scope = entra.scopes.join(" ");
        let uri = match &entra.credential {
            EntraCredential::ClientSecret { authority, tenant, .. }
            | EntraCredential::WorkloadIdentity { authority, tenant, .. } => {
                let tenant = oauth::percent_encode(tenant);
                oauth::uri_at(authority, &format!("/{tenant}/oauth2/v2.0/token"))?
            }
            EntraCredential::MachineIdentity { address, client } => {
                let query = identity_query("2018-02-01", &entra.scopes, client.as_deref());
                oauth::uri_at(address, &format!("/metadata/identity/oauth2/token?{query}"))?
            }
            EntraCredential::AppServiceIdentity { address, client, .. } => {
                let query = identity_query("2019-08-01", &entra.scopes, client.as_deref());
                oauth::uri_at(address, &format!("?{query}"))?
            }
        };
        Ok(Self { uri, scope, credential: entra.credential.clone(), clients })
    }

    /// Returns the fingerprint of the credential. The URI contains authority, tenant and, of a managed
    /// identity, the client.
    pub(in crate::upstream) fn identity(&self) -> Fingerprint {
        let uri = self.uri.to_string();
        let file;
        let (kind, client, secret) = match &self.credential {
            EntraCredential::ClientSecret { client, secret, .. } => {
                ("secret", &**client, secret.expose())
            }
            EntraCredential::WorkloadIdentity { client, file: path, .. } => {
                file = path.to_string_lossy();
                ("federated", &**client, &*file)
            }
            EntraCredential::MachineIdentity { .. } => ("machine", "", ""),
            EntraCredential::AppServiceIdentity { header, .. } => {
                ("app service", "", header.expose())
            }
        };
        super::fingerprint(&[kind, &self.scope, &uri, client, secret])
    }

    /// Requests a token for an application, which proves its identity with these fields.
    async fn fetch_for_client(
        &self,
        client: &str,
        proof: &[(&str, &str)],
    ) -> Result<NewToken<Secret>, TokenError> {
        let grant = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("scope", self.scope.as_str()),
        ];
        let form = oauth::form(&self.uri, grant.into_iter().chain(proof.iter().copied()));
        oauth::fetch(&self.clients.provider, form).await
    }

    /// Requests a token for a managed identity, with the header that its service requires.
    async fn fetch_from_machine(
        &self,
        name: &'static str,
        value: HeaderValue,
    ) -> Result<NewToken<Secret>, TokenError> {
        let mut request = oauth::get(&self.uri);
        request.headers_mut().insert(HeaderName::from_static(name), value);
        oauth::fetch(&self.clients.direct, request).await
    }
}

impl TokenSource<HeaderValue> for EntraSource {
    async fn fetch(&self) -> Result<NewToken<HeaderValue>, TokenError> {
        let token = match &self.credential {
            EntraCredential::ClientSecret { client, secret, .. } => {
                self.fetch_for_client(client, &[("client_secret", secret.expose())]).await?
            }
            EntraCredential::WorkloadIdentity { client, file, .. } => {
                let assertion = oauth::read_token_file(file).await.map_err(|_| {
                    TokenError::unreachable(
                        "was not called: the federated token file cannot be read",
                    )
                })?;
                let proof = [
                    ("client_assertion_type", JWT_BEARER),
                    ("client_assertion", assertion.expose()),
                ];
                self.fetch_for_client(client, &proof).await?
            }
            EntraCredential::MachineIdentity { .. } => {
                self.fetch_from_machine("metadata", HeaderValue::from_static("true")).await?
            }
            EntraCredential::AppServiceIdentity { header, .. } => {
                let header = secret_header::plain(header).map_err(|_| {
                    TokenError::refused(
                        "was not called: IDENTITY_HEADER contains characters that are not allowed in an HTTP header",
                    )
                })?;
                self.fetch_from_machine("x-identity-header", header).await?
            }
        };
        oauth::into_bearer(&token)
    }
}

/// Managed identities take one `resource` where the token endpoint takes scopes: the scope without
/// `/.default`.
fn identity_query(version: &str, scopes: &[String], client: Option<&str>) -> String {
    let scope = scopes.first().map_or("", String::as_str);
    let resource = scope.strip_suffix("/.default").unwrap_or(scope);
    let client = client.map(|client| ("client_id", client));
    oauth::form_encode([("api-version", version), ("resource", resource)].into_iter().chain(client))
}
