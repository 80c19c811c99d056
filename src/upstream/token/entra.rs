//! Tokens of Microsoft Entra ID.
//! <https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-client-creds-grant-flow>
//! <https://learn.microsoft.com/en-us/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
//! <https://learn.microsoft.com/en-us/azure/app-service/overview-managed-identity#rest-endpoint-reference>

use std::io;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Uri};

use super::cache::{NewToken, TokenSource};
use super::{Ways, oauth};
use crate::config::{Entra, Proof};
use crate::secret::{Fingerprint, Secret};
use crate::upstream::error::TokenError;
use crate::upstream::secret_header;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// Mints for one credential.
pub(super) struct Source {
    uri: Uri,
    scope: String,
    proof: Proof,
    ways: Ways,
}

impl Source {
    pub(super) fn new(entra: &Entra, ways: Ways) -> io::Result<Self> {
        let scope = entra.scopes.join(" ");
        let uri = match &entra.proof {
            Proof::Secret { authority, tenant, .. }
            | Proof::Federated { authority, tenant, .. } => {
                oauth::at(authority, &format!("/{}/oauth2/v2.0/token", oauth::component(tenant)))?
            }
            Proof::Machine { address, client } => {
                let query = identity_query("2018-02-01", &entra.scopes, client.as_deref());
                oauth::at(address, &format!("/metadata/identity/oauth2/token?{query}"))?
            }
            Proof::AppService { address, client, .. } => {
                let query = identity_query("2019-08-01", &entra.scopes, client.as_deref());
                oauth::at(address, &format!("?{query}"))?
            }
        };
        Ok(Self { uri, scope, proof: entra.proof.clone(), ways })
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

type Answered = Result<NewToken<Secret>, TokenError>;

impl TokenSource<HeaderValue> for Source {
    async fn mint(&self) -> Result<NewToken<HeaderValue>, TokenError> {
        let fresh = match &self.proof {
            Proof::Secret { client, secret, .. } => {
                self.token_for(client, &[("client_secret", secret.expose())]).await?
            }
            Proof::Federated { client, file, .. } => {
                let assertion = oauth::file(file).await.map_err(|_| {
                    TokenError::unreachable(
                        "was not asked: the federated token file cannot be read",
                    )
                })?;
                let proof = [
                    ("client_assertion_type", JWT_BEARER),
                    ("client_assertion", assertion.expose()),
                ];
                self.token_for(client, &proof).await?
            }
            Proof::Machine { .. } => {
                self.identity_with("metadata", HeaderValue::from_static("true")).await?
            }
            Proof::AppService { header, .. } => {
                let header = secret_header::plain(header).map_err(|_| {
                    TokenError::refused("was not asked: IDENTITY_HEADER is no header")
                })?;
                self.identity_with("x-identity-header", header).await?
            }
        };
        oauth::bearer(&fresh)
    }
}

/// What the credential hashes to.
pub(super) fn identity(entra: &Entra) -> Fingerprint {
    let scope = entra.scopes.join(" ");
    match &entra.proof {
        Proof::Secret { authority, tenant, client, secret } => super::identity(&[
            "secret",
            &scope,
            &format!("{authority:?}"),
            tenant,
            client,
            secret.expose(),
        ]),
        Proof::Federated { authority, tenant, client, file } => super::identity(&[
            "federated",
            &scope,
            &format!("{authority:?}"),
            tenant,
            client,
            &file.to_string_lossy(),
        ]),
        Proof::Machine { address, client } => {
            super::identity(&["machine", &scope, &format!("{address:?}{client:?}")])
        }
        Proof::AppService { address, header, client } => super::identity(&[
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
