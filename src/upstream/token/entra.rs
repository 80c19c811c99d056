//! Tokens of Microsoft Entra ID.
//! <https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
//! <https://learn.microsoft.com/en-us/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
//! <https://learn.microsoft.com/en-us/azure/app-service/overview-managed-identity#rest-endpoint-reference>

use std::io;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri};

use super::cell::{Fresh, Mint, NoToken};
use super::{Ways, oauth};
use crate::config::{EntraAuth, EntraCredential};
use crate::secret::{Fingerprint, Secret};
use crate::upstream::auth;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Mints for one credential.
pub(super) struct Minter {
    uri: Uri,
    scope: String,
    proof: EntraCredential,
    ways: Ways,
}

impl Minter {
    pub(super) fn new(entra: &EntraAuth, ways: Ways) -> io::Result<Self> {
        let scope = entra.scopes.join(" ");
        let uri = match &entra.credential {
            EntraCredential::ClientSecret { authority, tenant, .. }
            | EntraCredential::WorkloadIdentity { authority, tenant, .. } => {
                oauth::at(authority, &format!("/{}/oauth2/v2.0/token", oauth::component(tenant)))?
            }
            EntraCredential::MachineIdentity { address, client } => {
                let query = identity_query("2018-02-01", &entra.scopes, client.as_deref());
                oauth::at(address, &format!("/metadata/identity/oauth2/token?{query}"))?
            }
            EntraCredential::AppServiceIdentity { address, client, .. } => {
                let query = identity_query("2019-08-01", &entra.scopes, client.as_deref());
                oauth::at(address, &format!("?{query}"))?
            }
        };
        Ok(Self { uri, scope, proof: entra.credential.clone(), ways })
    }

    async fn token_for(&self, client: &str, proof: &[(&str, &str)]) -> Answered {
        let grant = [
            ("grant_type", "client_credentials"),
            ("client_id", client),
            ("scope", self.scope.as_str()),
        ];
        let form = oauth::form(&self.uri, grant.into_iter().chain(proof.iter().copied()));
        oauth::token(&self.ways.outside, form).await
    }

    async fn identity_with(&self, name: &'static str, value: HeaderValue) -> Answered {
        let mut request = Request::new(Bytes::new());
        *request.uri_mut() = self.uri.clone();
        request.headers_mut().insert(HeaderName::from_static(name), value);
        oauth::token(&self.ways.machine, request).await
    }
}

type Answered = Result<Fresh<Secret>, NoToken>;

impl Mint<HeaderValue> for Minter {
    async fn mint(&self) -> Result<Fresh<HeaderValue>, NoToken> {
        let fresh = match &self.proof {
            EntraCredential::ClientSecret { client, secret, .. } => {
                self.token_for(client, &[("client_secret", secret.expose())]).await?
            }
            EntraCredential::WorkloadIdentity { client, file, .. } => {
                let assertion = oauth::file(file).await.map_err(|_| {
                    NoToken::unreachable("was not asked: the federated token file cannot be read")
                })?;
                let proof = [
                    ("client_assertion_type", JWT_BEARER),
                    ("client_assertion", assertion.expose()),
                ];
                self.token_for(client, &proof).await?
            }
            EntraCredential::MachineIdentity { .. } => {
                self.identity_with("metadata", HeaderValue::from_static("true")).await?
            }
            EntraCredential::AppServiceIdentity { header, .. } => {
                let header = auth::header(header).map_err(|_| {
                    NoToken::Refused("was not asked: IDENTITY_HEADER is no header".to_owned())
                })?;
                self.identity_with("x-identity-header", header).await?
            }
        };
        oauth::bearer(&fresh)
    }
}

/// What the credential hashes to.
pub(super) fn identity(entra: &EntraAuth) -> Fingerprint {
    let scope = entra.scopes.join(" ");
    match &entra.credential {
        EntraCredential::ClientSecret { authority, tenant, client, secret } => super::identity(&[
            "secret",
            &scope,
            &format!("{authority:?}"),
            tenant,
            client,
            secret.expose(),
        ]),
        EntraCredential::WorkloadIdentity { authority, tenant, client, file } => {
            super::identity(&[
                "federated",
                &scope,
                &format!("{authority:?}"),
                tenant,
                client,
                &file.to_string_lossy(),
            ])
        }
        EntraCredential::MachineIdentity { address, client } => {
            super::identity(&["machine", &scope, &format!("{address:?}{client:?}")])
        }
        EntraCredential::AppServiceIdentity { address, header, client } => super::identity(&[
            "app service",
            &scope,
            &format!("{address:?}{client:?}"),
            header.expose(),
        ]),
    }
}

/// Managed identities are asked for a resource, where the token endpoint is asked for a scope: the
/// same without `/.default`. They take one.
fn identity_query(version: &str, scopes: &[String], client: Option<&str>) -> String {
    let scope = scopes.first().map_or("", String::as_str);
    let resource = scope.strip_suffix("/.default").unwrap_or(scope);
    let named = client.map(|client| ("client_id", client));
    oauth::encoded([("api-version", version), ("resource", resource)].into_iter().chain(named))
}
