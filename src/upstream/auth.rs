//! The one place where a secret is opened: a key becomes a header here, and nowhere else. What is made of
//! secrets elsewhere in this room (a token, a signature) goes into a request from here.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use super::aws::{self, Keys, Regions, Service};
use super::token::{self, Bearer, Cell, Minted, NoToken};
use super::{Broken, Kept, Outgoing};
use crate::config::{AzureAuth, Cloud, Key, Transport};
use crate::provider::{Auth, Kind};
use crate::secret::Secret;

/// No output of keymux holds this many characters of a secret in a row.
const TELLING: usize = 6;

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
    Token(Arc<Bearer>),
    /// As the region it goes to has it, most often with a signature.
    Aws(Regions),
}

/// What one request was allowed by.
#[derive(Debug)]
pub enum Shown {
    /// The key itself, or nothing.
    Key,
    /// A token, which may have run out before its time.
    Token(Arc<Minted<HeaderValue>>),
    /// A signature with temporary credentials, which may have run out as well.
    Signature(Arc<Cell<Keys>>, Arc<Minted<Keys>>),
}

impl Credential {
    /// Makes the key ready for its provider's way of asking for it. `others` are secrets that go with
    /// it: the values of the provider's extra headers.
    pub fn of<'s>(
        key: &'s Key,
        kind: Kind,
        others: impl Iterator<Item = &'s Secret>,
        transport: &Transport,
        kept: &mut Kept,
        before: Option<&Kept>,
    ) -> io::Result<Self> {
        let own = |name: &'static str, secret: &Secret| {
            Ok::<_, io::Error>(Form::Header(HeaderName::from_static(name), header(secret)?))
        };
        let name = || format!("{}/{}", key.provider, key.name);
        let mut sent = key.value.as_ref();
        let form = match (kind.info().auth, &key.value, &key.cloud) {
            // Never used: nothing is minted for it.
            _ if !key.enabled => Form::None,
            (Auth::Bearer, Some(secret), _) => Form::Header(AUTHORIZATION, bearer(secret)?),
            (Auth::Anthropic, Some(secret), _) => own("x-api-key", secret)?,
            (Auth::Gemini, Some(secret), _) => own("x-goog-api-key", secret)?,
            (Auth::Cloud, _, Cloud::Azure(azure)) => match &azure.auth {
                AzureAuth::ApiKey(secret) => {
                    sent = Some(secret);
                    Form::Azure(header(secret)?)
                }
                AzureAuth::Entra(entra) => {
                    sent = None;
                    Form::Token(token::entra(entra, &name(), transport, kept, before)?)
                }
            },
            (Auth::Cloud, _, Cloud::Vertex(vertex)) => {
                sent = None;
                Form::Token(token::google(&vertex.auth, &name(), transport, kept, before)?)
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
        request: &mut Request<Outgoing>,
        region: Option<&str>,
    ) -> Result<Shown, Broken> {
        self.authorize_for(request, region, Service::Bedrock).await
    }

    /// [`Credential::authorize`] for a service of AWS that may be another than Bedrock.
    pub async fn authorize_for(
        &self,
        request: &mut Request<Outgoing>,
        region: Option<&str>,
        service: Service,
    ) -> Result<Shown, Broken> {
        match &self.form {
            Form::None => Ok(Shown::Key),
            Form::Header(name, value) => {
                request.headers_mut().insert(name.clone(), value.clone());
                Ok(Shown::Key)
            }
            Form::Azure(key) => {
                let is_anthropic = request.uri().path().contains("/anthropic/v1/");
                let headers = request.headers_mut();
                headers.insert(HeaderName::from_static("api-key"), key.clone());
                if is_anthropic {
                    headers.insert(HeaderName::from_static("x-api-key"), key.clone());
                }
                Ok(Shown::Key)
            }
            Form::Token(cell) => {
                let token = cell.get().await?;
                request.headers_mut().insert(AUTHORIZATION, token.value.clone());
                Ok(Shown::Token(token))
            }
            Form::Aws(regions) => regions.authorize(request, region, service).await,
        }
    }

    /// Waits for the token, where the credential needs one, and says why there is none.
    pub async fn token(&self, region: Option<&str>) -> Result<(), NoToken> {
        match &self.form {
            Form::None | Form::Header(..) | Form::Azure(_) => Ok(()),
            Form::Token(cell) => cell.get().await.map(drop),
            Form::Aws(regions) => regions.ready(region).await,
        }
    }

    /// Takes note of the head of an answer; `true`: what was shown is no longer good, and with another it
    /// may fare better.
    pub fn answered<B>(&self, answer: &Response<B>, shown: &Shown) -> bool {
        match (&self.form, shown) {
            (Form::Token(cell), Shown::Token(token))
                if answer.status() == StatusCode::UNAUTHORIZED =>
            {
                cell.invalidate(token);
                true
            }
            (_, Shown::Signature(cell, keys)) if aws::has_expired(answer) => {
                cell.invalidate(keys);
                true
            }
            _ => false,
        }
    }

    /// The body of a provider's error with every piece of a secret cut out of it; the same bytes when
    /// it holds none.
    pub fn redact(&self, body: Bytes) -> Bytes {
        let body =
            self.secrets.iter().fold(body, |body, secret| redact(secret.expose().as_bytes(), body));
        match &self.form {
            Form::None | Form::Header(..) | Form::Azure(_) => body,
            Form::Token(cell) => {
                cell.recent().fold(body, |body, minted| redact(token::text(&minted.value), body))
            }
            Form::Aws(regions) => regions.redact(body),
        }
    }
}

/// The value of `authorization` for a key or a token.
pub fn bearer(secret: &Secret) -> io::Result<HeaderValue> {
    sensitive(&format!("Bearer {}", secret.expose()))
}

/// An extra header of a provider; its value may be a secret.
pub fn header(secret: &Secret) -> io::Result<HeaderValue> {
    sensitive(secret.expose())
}

/// `proxy-authorization` for a proxy's `user:password`.
pub fn proxy(secret: &Secret) -> io::Result<HeaderValue> {
    sensitive(&format!("Basic {}", BASE64_STANDARD.encode(secret.expose())))
}

fn sensitive(text: &str) -> io::Result<HeaderValue> {
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| io::Error::other("a secret holds characters that no header can carry"))?;
    value.set_sensitive(true);
    Ok(value)
}

/// A body with every piece of a secret cut out of it.
pub fn redact(secret: &[u8], body: Bytes) -> Bytes {
    let pieces: HashSet<&[u8]> = secret.windows(TELLING).collect();
    let mut hidden = vec![false; body.len()];
    for (at, window) in body.windows(TELLING).enumerate() {
        if pieces.contains(window) {
            hidden[at..at + TELLING].fill(true);
        }
    }
    if !hidden.contains(&true) {
        return body;
    }
    let mut out = BytesMut::with_capacity(body.len());
    let mut at = 0;
    for run in hidden.chunk_by(|a, b| a == b) {
        out.extend_from_slice(if run[0] { b"***" } else { &body[at..at + run.len()] });
        at += run.len();
    }
    out.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redacted(secret: &str, body: &'static str) -> String {
        let body = redact(secret.as_bytes(), Bytes::from(body));
        String::from_utf8(body.to_vec()).unwrap()
    }

    #[test]
    fn a_key_is_cut_out_of_an_error_whole_or_in_part() {
        let secret = "sk-proj-abcdefghij";
        assert_eq!(redacted(secret, "bad key sk-proj-abcdefghij!"), "bad key ***!");
        assert_eq!(redacted(secret, "bad key sk-proj-****ghij"), "bad key *******ghij");
        assert_eq!(redacted(secret, "sk-proj-abcdefghij and cdefgh"), "*** and ***");
        assert_eq!(redacted(secret, "nothing of it"), "nothing of it");
    }

    #[test]
    fn a_short_secret_never_matches() {
        assert_eq!(redacted("abc", "abcabcabc"), "abcabcabc");
    }
}
