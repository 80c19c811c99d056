//! Tokens of Google: the credentials files that its libraries read, and the metadata server.
//! <https://google.aip.dev/auth/4110>
//!
//! yup-oauth2 signs for service accounts and refreshes tokens of users. The rest is done here, because
//! the library supports one address and one kind of source for impersonation, ignores how a file with
//! another issuer's token is to be read, and panics at an invalid URL.

mod external_account;
mod limited_connector;

use std::io;
use std::time::SystemTime;

use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Uri};
use hyper_util::client::legacy;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize;
use serde_json::json;
use yup_oauth2::authenticator::Authenticator;
use yup_oauth2::authorized_user::AuthorizedUserSecret;
use yup_oauth2::{
    AuthorizedUserAuthenticator, CustomHyperClientBuilder, Error, ServiceAccountAuthenticator,
    ServiceAccountKey,
};

use self::external_account::ExternalAccount;
use self::limited_connector::LimitedConnector;
use super::cache::{NewToken, TokenSource};
use super::{TokenClients, oauth};
use crate::config::GoogleAuth;
use crate::secret::{Fingerprint, Secret};
use crate::upstream::error::TokenError;
use crate::upstream::secret_header;

/// The scope of the tokens: everything that the account's roles allow.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// <https://cloud.google.com/compute/docs/metadata/default-metadata-values>
const METADATA: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// Fetches tokens for one credential.
pub(in crate::upstream) struct GoogleSource {
    origin: Origin,
    clients: TokenClients,
}

enum Origin {
    /// The text of a [`CredentialsFile`].
    File(Secret),
    Metadata(Uri),
}

/// A credentials file.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum CredentialsFile {
    ServiceAccount(Box<ServiceAccount>),
    AuthorizedUser(User),
    ExternalAccount(Box<ExternalAccount>),
    ImpersonatedServiceAccount(Impersonated),
}

/// The members that the grant needs.
#[derive(Deserialize)]
struct ServiceAccount {
    private_key: String,
    private_key_id: Option<String>,
    client_email: String,
    #[serde(with = "absolute_url", default = "token_uri")]
    token_uri: Uri,
}

#[derive(Deserialize)]
struct User {
    client_id: String,
    client_secret: String,
    refresh_token: String,
}

#[derive(Deserialize)]
struct Impersonated {
    #[serde(with = "absolute_url")]
    service_account_impersonation_url: Uri,
    #[serde(default)]
    delegates: Vec<String>,
    source_credentials: Box<CredentialsFile>,
}

type Fetched = Result<NewToken<Secret>, TokenError>;

impl GoogleSource {
    pub(in crate::upstream) fn new(google: &GoogleAuth, clients: TokenClients) -> io::Result<Self> {
        let origin = match google {
            GoogleAuth::MetadataServer(endpoint) => {
                Origin::Metadata(oauth::uri_at(endpoint, METADATA)?)
            }
            GoogleAuth::Credentials(text) => Origin::File(text.clone()),
        };
        Ok(Self { origin, clients })
    }

    /// Returns the fingerprint of the credential.
    pub(in crate::upstream) fn identity(&self) -> Fingerprint {
        match &self.origin {
            Origin::File(text) => super::fingerprint(&["file", text.expose()]),
            Origin::Metadata(uri) => super::fingerprint(&["metadata", &uri.to_string()]),
        }
    }
}

impl TokenSource<HeaderValue> for GoogleSource {
    async fn fetch(&self) -> Result<NewToken<HeaderValue>, TokenError> {
        let token = match &self.origin {
            Origin::Metadata(uri) => {
                let mut request = oauth::get(uri);
                let name = HeaderName::from_static("metadata-flavor");
                request.headers_mut().insert(name, HeaderValue::from_static("Google"));
                oauth::fetch(&self.clients.direct, request).await?
            }
            Origin::File(text) => {
                // Parsed for each fetch, so that between fetches its secrets are in memory only once.
                let file = serde_json::from_str(text.expose()).map_err(|_| invalid_file())?;
                self.clients.fetch_with_file(&file).await?
            }
        };
        oauth::into_bearer(&token)
    }
}

impl TokenClients {
    async fn fetch_with_file(&self, file: &CredentialsFile) -> Fetched {
        match file {
            CredentialsFile::ServiceAccount(account) => self.fetch_for_account(account).await,
            CredentialsFile::AuthorizedUser(user) => self.fetch_for_user(user).await,
            CredentialsFile::ExternalAccount(account) => account.fetch(self).await,
            CredentialsFile::ImpersonatedServiceAccount(account) => {
                let source = Box::pin(self.fetch_with_file(&account.source_credentials)).await?;
                let uri = &account.service_account_impersonation_url;
                self.impersonate(uri, &account.delegates, &source.value).await
            }
        }
    }

    async fn fetch_for_account(&self, account: &ServiceAccount) -> Fetched {
        let key = ServiceAccountKey {
            key_type: None,
            project_id: None,
            private_key_id: account.private_key_id.clone(),
            private_key: account.private_key.clone(),
            client_email: account.client_email.clone(),
            client_id: None,
            auth_uri: None,
            token_uri: account.token_uri.to_string(),
            auth_provider_x509_cert_url: None,
            client_x509_cert_url: None,
        };
        let client = CustomHyperClientBuilder::from(self.single_use_client());
        let built = ServiceAccountAuthenticator::with_client(key, client).build().await;
        fetch_with(built.map_err(|_| invalid_private_key())?).await
    }

    async fn fetch_for_user(&self, user: &User) -> Fetched {
        let secret = AuthorizedUserSecret {
            client_id: user.client_id.clone(),
            client_secret: user.client_secret.clone(),
            refresh_token: user.refresh_token.clone(),
            key_type: "authorized_user".to_owned(),
        };
        let client = CustomHyperClientBuilder::from(self.single_use_client());
        let built = AuthorizedUserAuthenticator::with_client(secret, client).build().await;
        fetch_with(built.map_err(|_| invalid_private_key())?).await
    }

    /// Returns a client for the requests of one fetch.
    fn single_use_client(&self) -> legacy::Client<LimitedConnector, String> {
        legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(LimitedConnector(self.provider.connector()))
    }

    /// Exchanges a token for one of a service account.
    /// <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>
    async fn impersonate(&self, uri: &Uri, delegates: &[String], source: &Secret) -> Fetched {
        let body = json!({ "scope": [SCOPE], "delegates": delegates, "lifetime": "3600s" });
        let mut request = oauth::post(uri, "application/json", body.to_string());
        let bearer = secret_header::bearer(source).map_err(|_| oauth::invalid_answer())?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
        oauth::fetch(&self.provider, request).await
    }
}

/// Fetches one token with the library. It caches tokens as well, so each authenticator is used once.
async fn fetch_with(authenticator: Authenticator<LimitedConnector>) -> Fetched {
    let fetched = authenticator.force_refreshed_token(&[SCOPE]).await;
    let token = fetched.map_err(|error| error_from_library(&error))?;
    let text = token.token().filter(|text| !text.is_empty()).ok_or_else(oauth::invalid_answer)?;
    let lifetime = match token.expiration_time() {
        Some(moment) => oauth::time_until(SystemTime::from(moment)),
        None => oauth::DEFAULT_LIFETIME,
    };
    Ok(NewToken { value: Secret::new(text.to_owned()), lifetime })
}

/// The library's error texts are not used: they may contain text of the server.
fn error_from_library(error: &Error) -> TokenError {
    match error {
        Error::AuthError(error) => oauth::error_for_code(error.error.as_str(), ""),
        Error::HttpError(_) | Error::HttpClientError(_) => {
            TokenError::unreachable("could not be reached")
        }
        _ => oauth::invalid_answer(),
    }
}

fn invalid_private_key() -> TokenError {
    TokenError::refused("was not called: the private key in the credentials cannot be read")
}

/// The parser's error text is not used: it may contain parts of the file.
fn invalid_file() -> TokenError {
    TokenError::refused(
        "was not called: the credentials lack a member that their type requires, or contain an invalid URL",
    )
}

fn token_uri() -> Uri {
    Uri::from_static("https://oauth2.googleapis.com/token")
}

/// Deserializes an absolute URL. The library sends requests to any text without a check.
mod absolute_url {
    use http::Uri;
    use serde::de::{Deserialize, Deserializer, Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(text: D) -> Result<Uri, D::Error> {
        let uri: Option<Uri> = String::deserialize(text)?.parse().ok();
        let is_http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        uri.filter(is_http).ok_or_else(|| Error::custom("not an absolute http(s) URL"))
    }
}
