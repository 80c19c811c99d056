//! Temporary credentials of AWS: what the default chain finds, and roles that are assumed, both by
//! `reqsign`, over connections of ours.

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

use super::Ways;
use super::cell::{Fresh, Mint, NoToken};
use crate::config::AwsCredentials;
use crate::secret::{Fingerprint, Secret};
use crate::upstream::aws::Keys;

/// How long credentials without an end are used before the chain is asked again: what a profile holds
/// may change.
const UNSAID: Duration = Duration::from_secs(300);
/// Largest file of the chain: a profile, or the token of a web identity.
const FILE: u64 = 256 * 1024;
/// What sessions of an assumed role are called in CloudTrail.
const SESSION: &str = "keymux";
/// Another address of STS, as all AWS SDKs take it.
/// <https://docs.aws.amazon.com/sdkref/latest/guide/feature-ss-endpoints.html>
const STS: &str = "AWS_ENDPOINT_URL_STS";

/// Where temporary credentials come from.
#[derive(Debug)]
pub(super) struct Minter {
    /// The role to be assumed, and the region whose STS is asked.
    role: Option<(String, String)>,
    /// Who asks; `None`: whoever the default chain finds.
    from: Option<AwsCredentials>,
    ways: Ways,
}

impl Minter {
    /// What the default chain finds.
    pub(super) fn chain(ways: Ways) -> Self {
        Self { role: None, from: None, ways }
    }

    /// A role assumed by that pair, or by what the default chain finds.
    pub(super) fn role(arn: &str, region: &str, from: Option<&AwsCredentials>, ways: Ways) -> Self {
        let role = Some((arn.to_owned(), region.to_owned()));
        Self { role, from: from.cloned(), ways }
    }
}

/// What credentials hash to that come of these.
pub(super) fn identity(role: Option<(&str, &str)>, from: Option<&AwsCredentials>) -> Fingerprint {
    let (arn, region) = role.unwrap_or_default();
    let pair = from.map(|pair| {
        let token = pair.session_token.as_ref().map_or("", Secret::expose);
        [pair.access_key.expose(), pair.secret_key.expose(), token]
    });
    let [id, secret, token] = pair.unwrap_or_default();
    super::identity(&["aws", arn, region, id, secret, token])
}

impl Mint<Keys> for Minter {
    async fn mint(&self) -> Result<Fresh<Keys>, NoToken> {
        let http = Http { ways: self.ways.clone(), status: Arc::default() };
        let status = http.status.clone();
        let context = Context::new().with_env(OsEnv).with_file_read(Files).with_http_send(http);
        // Made anew each time: they keep what they find.
        let found = match (&self.role, &self.from) {
            (None, _) => chain().provide_credential(&context).await,
            (Some((arn, region)), from) => {
                let sign = RequestSigner::new("sts", region);
                let signer = match from {
                    Some(pair) => Signer::new(context.clone(), fixed(pair), sign),
                    None => Signer::new(context.clone(), chain(), sign),
                };
                let role = AssumeRoleCredentialProvider::new(arn.clone(), signer)
                    .with_region(region.clone())
                    .with_regional_sts_endpoint()
                    .with_role_session_name(SESSION.to_owned());
                role.provide_credential(&context).await
            }
        };
        match found {
            Ok(Some(credential)) => Ok(fresh(credential)),
            Ok(None) => Err(nothing()),
            Err(error) => Err(failed(&error, status.load(Ordering::Relaxed))),
        }
    }
}

/// Where STS is asked, when not at AWS's own address.
pub fn sts() -> Option<String> {
    OsEnv.var(STS).filter(|own| !own.is_empty())
}

/// The environment, profiles, web identity, container, machine. A profile's `credential_process` is not
/// run: nothing is started by this program.
fn chain() -> DefaultCredentialProvider {
    DefaultCredentialProvider::builder().no_process().build()
}

fn fixed(pair: &AwsCredentials) -> StaticCredentialProvider {
    let provider =
        StaticCredentialProvider::new(pair.access_key.expose(), pair.secret_key.expose());
    match &pair.session_token {
        Some(token) => provider.with_session_token(token.expose()),
        None => provider,
    }
}

fn fresh(credential: Credential) -> Fresh<Keys> {
    let end = credential.expires_in.map(reqsign_core::time::Timestamp::as_system_time);
    let left = end.map(|end| end.duration_since(SystemTime::now()).unwrap_or_default());
    let pair = AwsCredentials {
        access_key: Secret::new(credential.access_key_id),
        secret_key: Secret::new(credential.secret_access_key),
        session_token: credential.session_token.map(Secret::new),
    };
    Fresh { value: Keys::new(pair), lives: left.unwrap_or(UNSAID) }
}

fn nothing() -> NoToken {
    NoToken::unreachable("was not asked: the default chain of AWS finds no credentials")
}

/// The library's own text is not passed on: it repeats what it was sent.
fn failed(error: &Error, status: u16) -> NoToken {
    let refused = status == StatusCode::FORBIDDEN
        || matches!(
            error.kind(),
            ErrorKind::CredentialInvalid | ErrorKind::PermissionDenied | ErrorKind::ConfigInvalid
        );
    match (refused, status) {
        (true, 0) => NoToken::Refused("was not asked: no credentials to ask with".to_owned()),
        (true, _) => NoToken::Refused(format!("refuses the credential (status {status})")),
        (false, 0) => NoToken::unreachable("did not answer"),
        (false, _) => NoToken::unreachable(format!("did not give one (status {status})")),
    }
}

/// Requests of the library over connections of ours.
#[derive(Debug)]
struct Http {
    ways: Ways,
    /// Of the last answer; 0: there is none.
    status: Arc<AtomicU16>,
}

impl HttpSend for Http {
    async fn http_send(&self, mut request: Request<Bytes>) -> Result<Response<Bytes>, Error> {
        self.status.store(0, Ordering::Relaxed);
        // The machine and its container answer without TLS at addresses that no proxy reaches.
        let outside = request.uri().scheme() == Some(&Scheme::HTTPS);
        if outside && let Some(own) = sts() {
            elsewhere(&mut request, &own)
                .ok_or_else(|| Error::config_invalid(format!("{STS} is no address")))?;
        }
        let client = if outside { &self.ways.outside } else { &self.ways.machine };
        let answer = client.fetch(request).await;
        let answer = answer.map_err(|broken| Error::unexpected(broken.words()))?;
        self.status.store(answer.status().as_u16(), Ordering::Relaxed);
        Ok(answer)
    }
}

/// Sends a request for STS to another address. It is signed already, so it keeps the host that it is
/// signed for.
fn elsewhere(request: &mut Request<Bytes>, own: &str) -> Option<()> {
    let host = request.uri().authority()?.clone();
    if !host.as_str().starts_with("sts.") {
        return Some(());
    }
    let own: Uri = own.parse().ok()?;
    let mut parts = request.uri().clone().into_parts();
    parts.scheme = Some(own.scheme()?.clone());
    parts.authority = Some(own.authority()?.clone());
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    let host = HeaderValue::from_str(Authority::as_str(&host)).ok()?;
    request.headers_mut().entry(HOST).or_insert(host);
    Some(())
}

/// Files of the library, bounded.
#[derive(Debug)]
struct Files;

impl FileRead for Files {
    async fn file_read(&self, path: &str) -> Result<Vec<u8>, Error> {
        let read = async {
            let mut bytes = Vec::new();
            tokio::fs::File::open(path).await?.take(FILE).read_to_end(&mut bytes).await?;
            Ok(bytes)
        };
        read.await.map_err(|error: std::io::Error| Error::unexpected(error.kind().to_string()))
    }
}
