//! The one place where a secret is opened: a key becomes a header here, and nowhere else. What is made of
//! secrets elsewhere in this room (a token, a signature) goes into a request from here.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use super::aws::{self, Regions, Service, SigningKeys};
use super::error::TokenError;
use super::redact::{redact, redact_all};
use super::secret_header;
use super::token::{self, BearerCache, CachedToken, TokenCache};
use super::{CarryOver, RequestBody, UpstreamError};
use crate::config::{AzureAccess, Cloud, Key, Transport};
use crate::provider::{Auth, Kind};
use crate::secret::Secret;

/// A key made ready to go into requests, once per configuration and not once per request.
#[derive(Debug)]
pub struct Credential {
    form: Form,
    /// What the provider is sent and might echo.
    secrets: Vec<Secret>,
}

/// How a request shows that it may be made.
#[derive(Debug)]
enum Form {
    /// Not at all.
    None,
    /// With a header that is the same for all.
    Header(HeaderName, HeaderValue),
    /// With the key of an Azure resource. What it has of Anthropic's API looks for the key where Anthropic
    /// does (the official SDK sends both).
    Azure(HeaderValue),
    /// With a token in `authorization`.
    Token(Arc<BearerCache>),
    /// As the region it goes to has it, most often with a signature.
    Aws(Regions),
}

/// What one request was allowed by.
#[derive(Debug)]
pub enum SentCredential {
    /// The key itself, or nothing.
    Key,
    /// A token, which may have run out before its time.
    Token(Arc<CachedToken<HeaderValue>>),
    /// A signature with temporary credentials, which may have run out as well.
    Signature(Arc<TokenCache<SigningKeys>>, Arc<CachedToken<SigningKeys>>),
}

impl Credential {
    /// Makes the key ready for its provider's way of asking for it. `others` are secrets that go with
    /// it: the values of the provider's extra headers.
    pub fn of<'s>(
        key: &'s Key,
        kind: Kind,
        others: impl Iterator<Item = &'s Secret>,
        transport: &Transport,
        kept: &mut CarryOver,
        before: Option<&CarryOver>,
    ) -> io::Result<Self> {
        let own = |name: &'static str, secret: &Secret| {
            Ok::<_, io::Error>(Form::Header(
                HeaderName::from_static(name),
                secret_header::plain(secret)?,
            ))
        };
        let name = || format!("{}/{}", key.provider, key.name);
        let mut sent = key.value.as_ref();
        let form = match (kind.row().auth, &key.value, &key.cloud) {
            // Never used: nothing is minted for it.
            _ if !key.enabled => Form::None,
            (Auth::Bearer, Some(secret), _) => {
                Form::Header(AUTHORIZATION, secret_header::bearer(secret)?)
            }
            (Auth::Anthropic, Some(secret), _) => own("x-api-key", secret)?,
            (Auth::Gemini, Some(secret), _) => own("x-goog-api-key", secret)?,
            (Auth::Cloud, _, Cloud::Azure(azure)) => match &azure.access {
                AzureAccess::ApiKey(secret) => {
                    sent = Some(secret);
                    Form::Azure(secret_header::plain(secret)?)
                }
                AzureAccess::Entra(entra) => {
                    sent = None;
                    Form::Token(token::entra(entra, &name(), transport, kept, before)?)
                }
            },
            (Auth::Cloud, _, Cloud::Vertex(vertex)) => {
                sent = None;
                Form::Token(token::google(&vertex.access, &name(), transport, kept, before)?)
            }
            (Auth::Cloud, _, Cloud::Bedrock(bedrock)) => {
                sent = None;
                Form::Aws(Regions::new(bedrock, &name(), transport, kept, before)?)
            }
            _ => Form::None,
        };
        Ok(Self { form, secrets: sent.into_iter().chain(others).cloned().collect() })
    }

    /// Puts the credential into a request that is otherwise as it will be sent, to that region of AWS
    /// or to the key's own. Waits only where there is no token yet.
    pub async fn authorize(
        &self,
        request: &mut Request<RequestBody>,
        region: Option<&str>,
    ) -> Result<SentCredential, UpstreamError> {
        self.authorize_for(request, region, Service::Bedrock).await
    }

    /// [`Credential::authorize`] for a service of AWS that may be another than Bedrock.
    pub async fn authorize_for(
        &self,
        request: &mut Request<RequestBody>,
        region: Option<&str>,
        service: Service,
    ) -> Result<SentCredential, UpstreamError> {
        match &self.form {
            Form::None => Ok(SentCredential::Key),
            Form::Header(name, value) => {
                request.headers_mut().insert(name.clone(), value.clone());
                Ok(SentCredential::Key)
            }
            Form::Azure(key) => {
                let is_anthropic = request.uri().path().contains("/anthropic/v1/");
                let headers = request.headers_mut();
                headers.insert(HeaderName::from_static("api-key"), key.clone());
                if is_anthropic {
                    headers.insert(HeaderName::from_static("x-api-key"), key.clone());
                }
                Ok(SentCredential::Key)
            }
            Form::Token(cell) => {
                let token = cell.get().await?;
                request.headers_mut().insert(AUTHORIZATION, token.value.clone());
                Ok(SentCredential::Token(token))
            }
            Form::Aws(regions) => regions.authorize(request, region, service).await,
        }
    }

    /// Waits for the token, where the credential needs one, and says why there is none.
    pub async fn token(&self, region: Option<&str>) -> Result<(), TokenError> {
        match &self.form {
            Form::None | Form::Header(..) | Form::Azure(_) => Ok(()),
            Form::Token(cell) => cell.get().await.map(drop),
            Form::Aws(regions) => regions.ready(region).await,
        }
    }

    /// Takes note of the head of an answer; `true`: what was shown is no longer good, and with another it
    /// may fare better.
    pub fn answered<B>(&self, answer: &Response<B>, shown: &SentCredential) -> bool {
        match (&self.form, shown) {
            (Form::Token(cell), SentCredential::Token(token))
                if answer.status() == StatusCode::UNAUTHORIZED =>
            {
                cell.invalidate(token);
                true
            }
            (_, SentCredential::Signature(cell, keys)) if aws::has_expired(answer) => {
                cell.invalidate(keys);
                true
            }
            _ => false,
        }
    }

    /// The body of a provider's error with every piece of a secret cut out of it; the same bytes when
    /// it holds none.
    pub fn redact(&self, body: Bytes) -> Bytes {
        let body = redact_all(&self.secrets, body);
        match &self.form {
            Form::None | Form::Header(..) | Form::Azure(_) => body,
            Form::Token(cell) => {
                cell.recent().fold(body, |body, minted| redact(token::text(&minted.value), body))
            }
            Form::Aws(regions) => regions.redact(body),
        }
    }
}
