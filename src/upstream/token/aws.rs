//! Temporary AWS credentials: those that the default chain finds and those of assumed roles, both
//! fetched by `reqsign` over keymux's own connections.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::HOST;
use http::uri::{Authority, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use reqsign_aws_v4::{
    AssumeRoleCredentialProvider, Credential, DefaultCredentialProvider, RequestSigner,
    StaticCredentialProvider,
};
use reqsign_core::{
    Context, Env, Error, ErrorKind, FileRead, HttpSend, OsEnv, ProvideCredential, Signer,
};
use tokio::io::AsyncReadExt;

use super::TokenClients;
use super::cache::{NewToken, TokenSource};
use crate::config::AwsCredentials;
use crate::secret::{Fingerprint, Secret};
use crate::upstream::aws::SigningKeys;
use crate::upstream::error::TokenError;

/// How long credentials without an expiry are used before the chain is asked again: a profile may change.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);
/// Bytes read of a file of the chain: a profile, or the token of a web identity.
const MAX_FILE: u64 = 256 * 1024;
/// The session name of assumed roles in CloudTrail.
const SESSION: &str = "keymux";
/// Replaces the address of STS, as in all AWS SDKs.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
const STS: &str = "AWS_ENDPOINT_URL_STS";

/// Fetches temporary credentials.
#[derive(Debug)]
pub(in crate::upstream) struct AwsSource {
    /// `None`: the credentials that the default chain finds.
    role: Option<Role>,
    clients: TokenClients,
}

/// A role to assume.
#[derive(Clone, Debug)]
pub(in crate::upstream) struct Role {
    pub(in crate::upstream) arn: String,
    /// The region of the STS endpoint.
    pub(in crate::upstream) region: String,
    /// The credentials that assume the role; `None`: those that the default chain finds.
    pub(in crate::upstream) from: Option<AwsCredentials>,
}

impl AwsSource {
    pub(in crate::upstream) fn new(role: Option<Role>, clients: TokenClients) -> Self {
        Self { role, clients }
    }

    /// Returns the fingerprint of role and credentials.
    pub(in crate::upstream) fn identity(&self) -> Fingerprint {
        let Some(Role { arn, region, from }) = &self.role else {
            return super::fingerprint(&["aws"]);
        };
        let pair = from.as_ref().map(|pair| {
            let token = pair.session_token.as_ref().map_or("", Secret::expose);
            [pair.access_key.expose(), pair.secret_key.expose(), token]
        });
        let [id, secret, token] = pair.unwrap_or_default();
        super::fingerprint(&["aws", arn, region, id, secret, token])
    }
}

impl TokenSource<SigningKeys> for AwsSource {
    async fn fetch(&self) -> Result<NewToken<SigningKeys>, TokenError> {
        let http = Http { clients: self.clients.clone(), last_status: Arc::default() };
        let last_status = http.last_status.clone();
        let context = Context::new().with_env(OsEnv).with_file_read(Files).with_http_send(http);
        // New providers for each fetch, because they cache what they find.
        let found = match &self.role {
            None => default_chain().provide_credential(&context).await,
            Some(Role { arn, region, from }) => {
                let sign = RequestSigner::new("sts", region);
                let signer = match from {
                    Some(pair) => Signer::new(context.clone(), static_provider(pair), sign),
                    None => Signer::new(context.clone(), default_chain(), sign),
                };
                let role = AssumeRoleCredentialProvider::new(arn.clone(), signer)
                    .with_region(region.clone())
                    .with_regional_sts_endpoint()
                    .with_role_session_name(SESSION.to_owned());
                role.provide_credential(&context).await
            }
        };
        match found {
            Ok(Some(credential)) => Ok(new_token(credential)),
            Ok(None) => Err(TokenError::unreachable(
                "was not called: AWS's default credential chain found no credentials",
            )),
            Err(error) => Err(error_from_library(&error, last_status.load(Ordering::Relaxed))),
        }
    }
}

/// Returns the address of STS that the environment sets, if it sets one.
pub(in crate::upstream) fn sts_override() -> Option<String> {
    OsEnv.var(STS).filter(|address| !address.is_empty())
}

/// Environment, profiles, web identity, container, machine. A profile's `credential_process` is not run:
/// keymux starts no programs.
fn default_chain() -> DefaultCredentialProvider {
    DefaultCredentialProvider::builder().no_process().build()
}

fn static_provider(pair: &AwsCredentials) -> StaticCredentialProvider {
    let provider =
        StaticCredentialProvider::new(pair.access_key.expose(), pair.secret_key.expose());
    match &pair.session_token {
        Some(token) => provider.with_session_token(token.expose()),
        None => provider,
    }
}

fn new_token(credential: Credential) -> NewToken<SigningKeys> {
    let expires = credential.expires_in.map(reqsign_core::time::Timestamp::as_system_time);
    let left = expires.map(|time| time.duration_since(SystemTime::now()).unwrap_or_default());
    let pair = AwsCredentials {
        access_key: Secret::new(credential.access_key_id),
        secret_key: Secret::new(credential.secret_access_key),
        session_token: credential.session_token.map(Secret::new),
    };
    NewToken { value: SigningKeys::new(pair), lifetime: left.unwrap_or(DEFAULT_LIFETIME) }
}

/// The library's error text is not used: it repeats the request. `status` is that of the last answer, 0
/// without an answer.
fn error_from_library(error: &Error, status: u16) -> TokenError {
    let is_refused = status == StatusCode::FORBIDDEN
        || matches!(
            error.kind(),
            ErrorKind::CredentialInvalid | ErrorKind::PermissionDenied | ErrorKind::ConfigInvalid
        );
    match (is_refused, status) {
        (true, 0) => TokenError::refused("was not called: there are no valid credentials for it"),
        (true, _) => TokenError::refused(format!("rejected the credential (status {status})")),
        (false, 0) => TokenError::unreachable("did not answer"),
        (false, _) => TokenError::unreachable(format!("returned no credentials (status {status})")),
    }
}

/// Sends the library's requests over keymux's own connections.
#[derive(Debug)]
struct Http {
    clients: TokenClients,
    /// The status of the last answer; 0 without an answer.
    last_status: Arc<AtomicU16>,
}

impl HttpSend for Http {
    async fn http_send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        self.last_status.store(0, Ordering::Relaxed);
        // The metadata services of machine and container have no TLS, and no proxy reaches them.
        let is_external = request.uri().scheme() == Some(&Scheme::HTTPS);
        if is_external && let Some(address) = sts_override() {
            redirect_sts(&mut request, &address)
                .ok_or_else(|| Error::config_invalid(format!("{STS} is not a valid URL")))?;
        }
        let client = if is_external { &self.clients.provider } else { &self.clients.direct };
        let answer = client.fetch(request).await;
        let answer = answer.map_err(|error| Error::unexpected(error.message()))?;
        self.last_status.store(answer.status().as_u16(), Ordering::Relaxed);
        Ok(answer)
    }
}

/// Sends a request for STS to another address. It is signed already, so it keeps the host of its
/// signature.
fn redirect_sts(request: &mut Request<Bytes>, address: &str) -> Option<()> {
    let host = request.uri().authority()?.clone();
    if !host.as_str().starts_with("sts.") {
        return Some(());
    }
    let address: Uri = address.parse().ok()?;
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(address.scheme()?.clone());
    parts.authority = Some(address.authority()?.clone());
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    let host = HeaderValue::from_str(Authority::as_str(&host)).ok()?;
    request.headers_mut().entry(HOST).or_insert(host);
    Some(())
}

/// Reads the library's files, with a size limit.
#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> Result<Vec<u8>, Error> {
        let read = async {
            let mut bytes = Vec::new();
            tokio::fs::File::open(path).await?.take(MAX_FILE).read_to_end(&mut bytes).await?;
            Ok(bytes)
        };
        read.await.map_err(|error: std::io::Error| Error::unexpected(error.kind().to_string()))
    }
}
