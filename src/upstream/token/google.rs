//! Tokens of Google: the files that its libraries read, and the metadata server.
//! <https://google.aip.dev/auth/4110>
//!
//! yup-oauth2 signs for service accounts and refreshes for users. What it does in part only is done
//! here: it knows one address for impersonation and one kind of source, passes over how a file with
//! another issuer's token is to be read, and panics at an address that is none.

mod bounded;
mod external;

use std::io;
use std::time::SystemTime;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Uri};
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

use self::bounded::Bounded;
use self::external::External;
use super::cell::{Fresh, Mint, NoToken};
use super::{Ways, oauth};
use crate::config::GoogleAuth;
use crate::secret::{Fingerprint, Secret};
use crate::upstream::auth;

/// What the tokens are for: everything that the account's roles allow.
const SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";
/// <https://cloud.google.com/compute/docs/metadata/default-metadata-values>
const METADATA: &str = "/computeMetadata/v1/instance/service-accounts/default/token";

/// Mints for one credential.
pub(super) struct Minter {
    source: Source,
    ways: Ways,
}

enum Source {
    /// Text that [`File`] can be read from.
    File(Secret),
    Metadata(Uri),
}

/// A file of credentials.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum File {
    ServiceAccount(Box<ServiceAccount>),
    AuthorizedUser(User),
    ExternalAccount(Box<External>),
    ImpersonatedServiceAccount(Impersonated),
}

/// The fields that the grant needs.
#[derive(Deserialize)]
struct ServiceAccount {
    private_key: String,
    private_key_id: Option<String>,
    client_email: String,
    #[serde(with = "address", default = "token_uri")]
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
    #[serde(with = "address")]
    service_account_impersonation_url: Uri,
    #[serde(default)]
    delegates: Vec<String>,
    source_credentials: Box<File>,
}

type Answered = Result<Fresh<Secret>, NoToken>;

impl Minter {
    pub(super) fn new(google: &GoogleAuth, ways: Ways) -> io::Result<Self> {
        let source = match google {
            GoogleAuth::MetadataServer(endpoint) => {
                Source::Metadata(oauth::at(endpoint, METADATA)?)
            }
            GoogleAuth::Credentials(text) => Source::File(text.clone()),
        };
        Ok(Self { source, ways })
    }
}

impl Mint<HeaderValue> for Minter {
    async fn mint(&self) -> Result<Fresh<HeaderValue>, NoToken> {
        let fresh = match &self.source {
            Source::Metadata(uri) => {
                let mut request = Request::new(Bytes::new());
                *request.uri_mut() = uri.clone();
                let name = HeaderName::from_static("metadata-flavor");
                request.headers_mut().insert(name, HeaderValue::from_static("Google"));
                oauth::token(&self.ways.machine, request).await?
            }
            Source::File(text) => {
                // Read anew each time, so that between two mints the secrets in it stay in one place.
                let file = serde_json::from_str(text.expose()).map_err(|_| unusable())?;
                self.ways.of_file(&file).await?
            }
        };
        oauth::bearer(&fresh)
    }
}

impl Ways {
    async fn of_file(&self, file: &File) -> Answered {
        match file {
            File::ServiceAccount(account) => self.of_account(account).await,
            File::AuthorizedUser(user) => self.of_user(user).await,
            File::ExternalAccount(external) => external.token(self).await,
            File::ImpersonatedServiceAccount(own) => {
                let source = Box::pin(self.of_file(&own.source_credentials)).await?;
                let uri = &own.service_account_impersonation_url;
                self.impersonate(uri, &own.delegates, &source.value).await
            }
        }
    }

    async fn of_account(&self, account: &ServiceAccount) -> Answered {
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
        let client = CustomHyperClientBuilder::from(self.once());
        let made = ServiceAccountAuthenticator::with_client(key, client).build().await;
        token(made.map_err(|_| unreadable())?).await
    }

    async fn of_user(&self, user: &User) -> Answered {
        let secret = AuthorizedUserSecret {
            client_id: user.client_id.clone(),
            client_secret: user.client_secret.clone(),
            refresh_token: user.refresh_token.clone(),
            key_type: "authorized_user".to_owned(),
        };
        let client = CustomHyperClientBuilder::from(self.once());
        let made = AuthorizedUserAuthenticator::with_client(secret, client).build().await;
        token(made.map_err(|_| unreadable())?).await
    }

    /// A client for the requests of one mint.
    fn once(&self) -> legacy::Client<Bounded, String> {
        legacy::Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(0)
            .build(Bounded(self.outside.connector()))
    }

    /// Trades a token for one of a service account.
    /// <https://cloud.google.com/iam/docs/reference/credentials/rest/v1/projects.serviceAccounts/generateAccessToken>
    async fn impersonate(&self, uri: &Uri, delegates: &[String], source: &Secret) -> Answered {
        let body = json!({ "scope": [SCOPE], "delegates": delegates, "lifetime": "3600s" });
        let mut request = Request::new(Bytes::from(body.to_string()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = uri.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(AUTHORIZATION, auth::bearer(source).map_err(|_| oauth::no_token())?);
        oauth::token(&self.outside, request).await
    }
}

/// What the credential hashes to.
pub(super) fn identity(google: &GoogleAuth) -> Fingerprint {
    match google {
        GoogleAuth::Credentials(text) => super::identity(&["file", text.expose()]),
        GoogleAuth::MetadataServer(endpoint) => {
            super::identity(&["metadata", &format!("{endpoint:?}")])
        }
    }
}

/// The library keeps tokens as well; each authenticator is made for one.
async fn token(made: Authenticator<Bounded>) -> Answered {
    let token = made.force_refreshed_token(&[SCOPE]).await.map_err(|error| failure(&error))?;
    let text = token.token().filter(|text| !text.is_empty()).ok_or_else(oauth::no_token)?;
    let lives = match token.expiration_time() {
        Some(moment) => oauth::until(SystemTime::from(moment)),
        None => oauth::UNSAID,
    };
    Ok(Fresh { value: Secret::new(text.to_owned()), lives })
}

/// The library's own words may hold what the server said.
fn failure(error: &Error) -> NoToken {
    match error {
        Error::AuthError(error) => oauth::refusal(error.error.as_str(), ""),
        Error::HttpError(_) | Error::HttpClientError(_) => {
            NoToken::unreachable("could not be reached")
        }
        _ => oauth::no_token(),
    }
}

fn unreadable() -> NoToken {
    NoToken::Refused("was not asked: the private key in the credentials cannot be read".to_owned())
}

/// The parser's own words may hold what it found.
fn unusable() -> NoToken {
    let words = "was not asked: the credentials lack a member of their type, or hold an address that is none";
    NoToken::Refused(words.to_owned())
}

fn token_uri() -> Uri {
    Uri::from_static("https://oauth2.googleapis.com/token")
}

/// A whole address: what the library makes a request of without looking.
mod address {
    use http::Uri;
    use serde::de::{Deserialize, Deserializer, Error};

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(text: D) -> Result<Uri, D::Error> {
        let uri: Option<Uri> = String::deserialize(text)?.parse().ok();
        let http = |uri: &Uri| matches!(uri.scheme_str(), Some("http" | "https"));
        uri.filter(http).ok_or_else(|| Error::custom("not an address"))
    }
}
