//! Puts a key's credential into its requests. The way of a secret through this room:
//!
//! ```text
//! secret_header.rs   opens a Secret and makes it a header value marked sensitive
//! token/             sends secrets to token issuers, and receives tokens
//! aws/               signs with secrets
//! redact.rs          removes secrets from error bodies that a provider echoes them in
//! auth.rs            chooses one of these for each key, and puts the result into the request
//! ```

mod bedrock;

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use self::bedrock::BedrockAuth;
use super::aws::{Service, SigningKeys};
use super::carry_over::Builder;
use super::error::{TokenError, UpstreamError};
use super::redact::{redact, redact_all};
use super::request_body::RequestBody;
use super::secret_header;
use super::token::{self, BearerCache, CachedToken, TokenCache};
use crate::config::{AzureAuth, Cloud, Key};
use crate::provider::{Auth, Kind};
use crate::secret::Secret;

/// A key prepared for its requests, once for each configuration and not for each request.
#[derive(Debug)]
pub struct Credential {
    method: AuthMethod,
    /// Secrets that are sent to the provider, which might echo them.
    sent_secrets: Vec<Secret>,
}

/// How a request is authenticated.
#[derive(Debug)]
enum AuthMethod {
    None,
    /// With a header that is the same for every request.
    Header(HeaderName, HeaderValue),
    /// With the key of an Azure resource, in `api-key`. Azure's Anthropic endpoints read the key from
    /// `x-api-key`, as Anthropic does (the official SDK sends both).
    Azure(HeaderValue),
    /// With a token in `authorization`.
    Token(Arc<BearerCache>),
    /// As the region of the request requires, usually with a signature.
    Bedrock(BedrockAuth),
}

/// The credential that a request was sent with.
#[derive(Debug)]
pub enum SentCredential {
    /// The key itself, or no credential.
    Key,
    /// A token, which may be revoked before it expires.
    Token(Arc<CachedToken<HeaderValue>>),
    /// A signature with temporary credentials, which may be revoked as well.
    Signature(Arc<TokenCache<SigningKeys>>, Arc<CachedToken<SigningKeys>>),
}

impl Credential {
    /// Prepares the key for its kind of provider. `header_secrets` are the values of the provider's extra
    /// headers, which are redacted together with the key.
    pub(super) fn new<'s>(
        key: &'s Key,
        kind: Kind,
        header_secrets: impl Iterator<Item = &'s Secret>,
        builder: &mut Builder<'_>,
    ) -> io::Result<Self> {
        let name = format!("{}/{}", key.provider, key.name);
        let mut secret = key.value.as_ref();
        let method = match (kind.info().auth, &key.value, &key.cloud) {
            // Never used, so no tokens are fetched for it.
            _ if !key.enabled => AuthMethod::None,
            (Auth::Bearer, Some(key), _) => {
                AuthMethod::Header(AUTHORIZATION, secret_header::bearer(key)?)
            }
            (Auth::Anthropic, Some(key), _) => AuthMethod::header("x-api-key", key)?,
            (Auth::Gemini, Some(key), _) => AuthMethod::header("x-goog-api-key", key)?,
            (Auth::Cloud, _, cloud) => {
                let (method, sent) = AuthMethod::for_cloud(cloud, &name, builder)?;
                secret = sent;
                method
            }
            _ => AuthMethod::None,
        };
        let sent_secrets = secret.into_iter().chain(header_secrets).cloned().collect();
        Ok(Self { method, sent_secrets })
    }

    /// Adds the credential to a request that is otherwise complete, because it may be signed. `region`
    /// and `service` concern AWS alone; without a region the key's first one is used. Waits only while
    /// there is no token yet.
    pub async fn authorize(
        &self,
        request: &mut Request<RequestBody>,
        region: Option<&str>,
        service: Service,
    ) -> Result<SentCredential, UpstreamError> {
        match &self.method {
            AuthMethod::None => {}
            AuthMethod::Header(name, value) => {
                request.headers_mut().insert(name.clone(), value.clone());
            }
            AuthMethod::Azure(key) => {
                let is_anthropic = request.uri().path().contains("/anthropic/v1/");
                let headers = request.headers_mut();
                headers.insert(HeaderName::from_static("api-key"), key.clone());
                if is_anthropic {
                    headers.insert(HeaderName::from_static("x-api-key"), key.clone());
                }
            }
            AuthMethod::Token(cache) => {
                let token = cache.get().await?;
                request.headers_mut().insert(AUTHORIZATION, token.value.clone());
                return Ok(SentCredential::Token(token));
            }
            AuthMethod::Bedrock(auth) => return auth.authorize(request, region, service).await,
        }
        Ok(SentCredential::Key)
    }

    /// Waits for the token, if the credential needs one. Returns the error when there is none.
    pub async fn wait_for_token(&self, region: Option<&str>) -> Result<(), TokenError> {
        match &self.method {
            AuthMethod::None | AuthMethod::Header(..) | AuthMethod::Azure(_) => Ok(()),
            AuthMethod::Token(cache) => cache.get().await.map(drop),
            AuthMethod::Bedrock(auth) => auth.wait_for_credentials(region).await,
        }
    }

    /// Returns true if the provider rejected a token or temporary credentials; then the next request gets
    /// new ones.
    pub fn renew_if_rejected<B>(&self, answer: &Response<B>, sent: &SentCredential) -> bool {
        match (&self.method, sent) {
            (AuthMethod::Token(cache), SentCredential::Token(token))
                if answer.status() == StatusCode::UNAUTHORIZED =>
            {
                cache.invalidate(token);
                true
            }
            (_, SentCredential::Signature(cache, keys))
                if bedrock::is_expired_credentials_error(answer) =>
            {
                cache.invalidate(keys);
                true
            }
            _ => false,
        }
    }

    /// Returns the body of a provider's error with every piece of a secret removed; the same bytes when
    /// it contains none.
    pub fn redact(&self, body: Bytes) -> Bytes {
        let body = redact_all(&self.sent_secrets, body);
        match &self.method {
            AuthMethod::None | AuthMethod::Header(..) | AuthMethod::Azure(_) => body,
            AuthMethod::Token(cache) => {
                let tokens = cache.recent();
                tokens.fold(body, |body, token| redact(token::token_of(&token.value), body))
            }
            AuthMethod::Bedrock(auth) => auth.redact(body),
        }
    }
}

impl AuthMethod {
    fn header(name: &'static str, secret: &Secret) -> io::Result<Self> {
        Ok(Self::Header(HeaderName::from_static(name), secret_header::plain(secret)?))
    }

    /// Returns the method for a key of a cloud, and the secret that it sends to the provider itself.
    fn for_cloud<'k>(
        cloud: &'k Cloud,
        name: &str,
        builder: &mut Builder<'_>,
    ) -> io::Result<(Self, Option<&'k Secret>)> {
        let method = match cloud {
            Cloud::None => Self::None,
            Cloud::Azure(azure) => match &azure.auth {
                AzureAuth::ApiKey(key) => {
                    return Ok((Self::Azure(secret_header::plain(key)?), Some(key)));
                }
                AzureAuth::Entra(entra) => Self::Token(builder.entra_tokens(entra, name)?),
            },
            Cloud::Vertex(vertex) => Self::Token(builder.google_tokens(&vertex.auth, name)?),
            Cloud::Bedrock(bedrock) => Self::Bedrock(BedrockAuth::new(bedrock, name, builder)?),
        };
        Ok((method, None))
    }
}
