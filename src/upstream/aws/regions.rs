//! What a key's requests are allowed by, region by region.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use super::sign::{self, For, Service};
use crate::config::{AwsAuth, AwsCredentials, Bedrock, Transport};
use crate::secret::Secret;
use crate::upstream::auth::{self, Shown};
use crate::upstream::token::{self, Cell, NoToken};
use crate::upstream::{Broken, Kept, Outgoing};

/// What kind of error an answer of AWS is, in a header (the REST JSON protocol).
const ERROR: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// What requests are signed with, and what of it an answer might repeat.
pub struct Keys {
    identity: Identity,
    secrets: Vec<Secret>,
}

impl Keys {
    /// Made ready for signing.
    pub fn new(pair: AwsCredentials) -> Self {
        let identity = sign::identity(&pair);
        let AwsCredentials { access_key, secret_key, session_token } = pair;
        let secrets = [access_key, secret_key].into_iter().chain(session_token).collect();
        Self { identity, secrets }
    }

    async fn sign(&self, request: &mut Request<Outgoing>, good: For<'_>) -> Result<(), Broken> {
        let hash = sign::hash(request.body().pieces()).await;
        let now = SystemTime::now();
        sign::sign(request, hash, &self.identity, good, now).ok_or(Broken::Connect)
    }

    fn redact(&self, body: Bytes) -> Bytes {
        self.secrets
            .iter()
            .fold(body, |body, secret| auth::redact(secret.expose().as_bytes(), body))
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys")
    }
}

/// The regions of a key, the one that is called when none is named first.
#[derive(Debug)]
pub struct Regions(Vec<(String, Access)>);

/// How the requests for one region are allowed.
#[derive(Debug)]
enum Access {
    /// A Bedrock API key: the value of `authorization`, and the key itself.
    Bearer(HeaderValue, Secret),
    /// A signature with keys of the file.
    Fixed(Keys),
    /// A signature with temporary ones.
    Minted(Arc<Cell<Keys>>),
}

impl Regions {
    /// Makes them ready; begins to mint where credentials are temporary. `name` is for the log. Must be
    /// called within the runtime.
    pub fn new(
        bedrock: &Bedrock,
        name: &str,
        transport: &Transport,
        kept: &mut Kept,
        before: Option<&Kept>,
    ) -> io::Result<Self> {
        let mut regions = Vec::with_capacity(bedrock.regions.len());
        for region in &bedrock.regions {
            let access = match &region.auth {
                AwsAuth::Bearer(key) => Access::Bearer(auth::bearer(key)?, key.clone()),
                AwsAuth::Pair(pair) => Access::Fixed(Keys::new(pair.clone())),
                AwsAuth::Chain => {
                    Access::Minted(token::aws(None, None, name, transport, kept, before)?)
                }
                AwsAuth::Role { arn, from } => {
                    let role = Some((&**arn, &*region.name));
                    Access::Minted(token::aws(role, from.as_ref(), name, transport, kept, before)?)
                }
            };
            regions.push((region.name.clone(), access));
        }
        Ok(Self(regions))
    }

    /// Waits for the credentials of that region, where they are temporary.
    pub async fn ready(&self, region: Option<&str>) -> Result<(), NoToken> {
        match self.of(region) {
            Some((_, Access::Minted(cell))) => cell.get().await.map(drop),
            _ => Ok(()),
        }
    }

    /// Signs a request to a service in that region, or in the key's own; or puts the API key into it.
    pub async fn authorize(
        &self,
        request: &mut Request<Outgoing>,
        region: Option<&str>,
        service: Service,
    ) -> Result<Shown, Broken> {
        let (name, access) = self.of(region).ok_or(Broken::Connect)?;
        let good = For { region: name, service: service.name() };
        match access {
            Access::Bearer(value, _) => {
                request.headers_mut().insert(AUTHORIZATION, value.clone());
                Ok(Shown::Key)
            }
            Access::Fixed(keys) => keys.sign(request, good).await.map(|()| Shown::Key),
            Access::Minted(cell) => {
                let keys = cell.get().await?;
                keys.value.sign(request, good).await?;
                Ok(Shown::Signature(cell.clone(), keys))
            }
        }
    }

    /// The region of that name, or the key's own.
    fn of(&self, region: Option<&str>) -> Option<&(String, Access)> {
        self.0.iter().find(|(own, _)| region.is_none_or(|name| own == name))
    }

    /// The body of an error without what it may repeat. Of a wrong signature AWS repeats all that was
    /// signed, and with it the session token.
    pub fn redact(&self, body: Bytes) -> Bytes {
        self.0.iter().fold(body, |body, (_, access)| match access {
            Access::Bearer(_, key) => auth::redact(key.expose().as_bytes(), body),
            Access::Fixed(keys) => keys.redact(body),
            Access::Minted(cell) => {
                cell.recent().fold(body, |body, minted| minted.value.redact(body))
            }
        })
    }
}

/// Whether an answer says that temporary credentials have run out.
pub fn has_expired<B>(answer: &Response<B>) -> bool {
    answer.status() == StatusCode::FORBIDDEN
        && answer
            .headers()
            .get(ERROR)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"ExpiredToken"))
}
