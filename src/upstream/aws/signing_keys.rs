//! The keys of an AWS account, ready to sign.

use std::fmt;
use std::time::SystemTime;

use aws_smithy_runtime_api::client::identity::Identity;
use bytes::Bytes;
use http::Request;

use super::sign::{self, Scope, Service};
use crate::config::AwsCredentials;
use crate::secret::Secret;
use crate::upstream::redact::redact_all;
use crate::upstream::request_body::RequestBody;

/// The keys that requests are signed with, and their parts that an answer might echo.
pub struct SigningKeys {
    identity: Identity,
    secrets: Vec<Secret>,
}

impl SigningKeys {
    /// Prepares the keys for signing.
    pub fn new(pair: AwsCredentials) -> Self {
        let identity = sign::identity(&pair);
        let AwsCredentials { access_key, secret_key, session_token } = pair;
        let secrets = [access_key, secret_key].into_iter().chain(session_token).collect();
        Self { identity, secrets }
    }

    /// Signs a request. `None`: it cannot be signed; see [`sign::sign`].
    pub(in crate::upstream) async fn sign(
        &self,
        request: &mut Request<RequestBody>,
        region: &str,
        service: Service,
    ) -> Option<()> {
        let hash = sign::hash(request.body().pieces()).await;
        let scope = Scope { region, service: service.name() };
        sign::sign(request, hash, &self.identity, scope, SystemTime::now())
    }

    pub(in crate::upstream) fn redact(&self, body: Bytes) -> Bytes {
        redact_all(&self.secrets, body)
    }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKeys")
    }
}
