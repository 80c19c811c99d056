//! Authenticates the requests of a Bedrock key, which may have other credentials in each region.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

use super::SentCredential;
use crate::config::{AwsAuth, Bedrock};
use crate::secret::Secret;
use crate::upstream::aws::{Service, SigningKeys};
use crate::upstream::carry_over::Builder;
use crate::upstream::error::{TokenError, UpstreamError};
use crate::upstream::redact::redact_all;
use crate::upstream::request_body::RequestBody;
use crate::upstream::secret_header;
use crate::upstream::token::TokenCache;
use crate::upstream::token::aws::Role;

/// The header with the type of an AWS error (the REST JSON protocol).
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// The regions of a key and their credentials. Requests that name no region go to the first.
#[derive(Debug)]
pub(super) struct BedrockAuth(Vec<(String, RegionAuth)>);

/// How the requests to one region are authenticated.
#[derive(Debug)]
enum RegionAuth {
    /// With a Bedrock API key: the value of `authorization`, and the key itself.
    ApiKey(HeaderValue, Secret),
    /// With a signature made with keys of the file.
    StaticKeys(SigningKeys),
    /// With a signature made with temporary credentials.
    TemporaryKeys(Arc<TokenCache<SigningKeys>>),
}

impl BedrockAuth {
    /// Prepares the credentials, and starts to fetch those that are temporary. Must be called within the
    /// runtime.
    pub(super) fn new(
        bedrock: &Bedrock,
        name: &str,
        builder: &mut Builder<'_>,
    ) -> io::Result<Self> {
        let mut regions = Vec::with_capacity(bedrock.regions.len());
        for region in &bedrock.regions {
            let auth = match &region.auth {
                AwsAuth::Bearer(key) => {
                    RegionAuth::ApiKey(secret_header::bearer(key)?, key.clone())
                }
                AwsAuth::Pair(pair) => RegionAuth::StaticKeys(SigningKeys::new(pair.clone())),
                AwsAuth::Chain => RegionAuth::TemporaryKeys(builder.aws_credentials(None, name)?),
                AwsAuth::Role { arn, from } => {
                    let (arn, region) = (arn.clone(), region.name.clone());
                    let role = Role { arn, region, from: from.clone() };
                    RegionAuth::TemporaryKeys(builder.aws_credentials(Some(role), name)?)
                }
            };
            regions.push((region.name.clone(), auth));
        }
        Ok(Self(regions))
    }

    /// Waits for the credentials of the region, if they are temporary.
    pub(super) async fn wait_for_credentials(
        &self,
        region: Option<&str>,
    ) -> Result<(), TokenError> {
        match self.region(region) {
            Some((_, RegionAuth::TemporaryKeys(cache))) => cache.get().await.map(drop),
            _ => Ok(()),
        }
    }

    /// Signs a request to a service in the region, or adds the API key to it.
    pub(super) async fn authorize(
        &self,
        request: &mut Request<RequestBody>,
        region: Option<&str>,
        service: Service,
    ) -> Result<SentCredential, UpstreamError> {
        let (region, auth) = self.region(region).ok_or(UpstreamError::Connect)?;
        match auth {
            RegionAuth::ApiKey(value, _) => {
                request.headers_mut().insert(AUTHORIZATION, value.clone());
                Ok(SentCredential::Key)
            }
            RegionAuth::StaticKeys(keys) => {
                keys.sign(request, region, service).await.ok_or(UpstreamError::Connect)?;
                Ok(SentCredential::Key)
            }
            RegionAuth::TemporaryKeys(cache) => {
                let keys = cache.get().await?;
                keys.value.sign(request, region, service).await.ok_or(UpstreamError::Connect)?;
                Ok(SentCredential::Signature(cache.clone(), keys))
            }
        }
    }

    /// Returns the region of this name; without a name, the first.
    fn region(&self, name: Option<&str>) -> Option<&(String, RegionAuth)> {
        self.0.iter().find(|(region, _)| name.is_none_or(|name| region == name))
    }

    /// Returns the body of an error with every piece of a secret removed. For a wrong signature AWS
    /// echoes everything that was signed, including the session token.
    pub(super) fn redact(&self, body: Bytes) -> Bytes {
        self.0.iter().fold(body, |body, (_, auth)| match auth {
            RegionAuth::ApiKey(_, key) => redact_all([key], body),
            RegionAuth::StaticKeys(keys) => keys.redact(body),
            RegionAuth::TemporaryKeys(cache) => {
                cache.recent().fold(body, |body, keys| keys.value.redact(body))
            }
        })
    }
}

/// Returns true if an answer reports that temporary credentials have expired.
pub(super) fn is_expired_credentials_error<B>(answer: &Response<B>) -> bool {
    let error = answer.headers().get(ERROR_TYPE).map(HeaderValue::as_bytes);
    answer.status() == StatusCode::FORBIDDEN
        && error.is_some_and(|error| error.starts_with(b"ExpiredToken"))
}
