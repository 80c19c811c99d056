//! Checks keys with calls to their providers that cost nothing.
//!
//! ```text
//! probe/request.rs    the call for each kind of provider
//! probe/response.rs   what its answer means for the key
//! ```

mod request;
mod response;

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde::{Serialize, Serializer};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use self::request::ProbeRequest;
use self::response::Support;
use super::client::HttpClient;
use super::error::TokenError;
use super::{Channel, ReadyKey, Upstream, UpstreamError};
use crate::config::{Cloud, Timeouts};

/// Time limit of a probe, unless the provider's own limit for the first byte is shorter.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Number of concurrent calls.
const CONCURRENCY: usize = 64;

/// A call to make: one for each key; on Bedrock one for each region of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The key's index in the file.
    pub key: usize,
    /// The region to call.
    pub region: Option<String>,
}

/// The result of a [`Probe`]. It contains no part of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeReport {
    /// What the answer means for the key.
    pub result: ProbeResult,
    /// The time it took, including the wait for a token.
    #[serde(rename = "latency_ms", serialize_with = "millis")]
    pub latency: Duration,
    /// Status and error code, or the address that did not answer; `None` if the key works.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a probe found out about a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "&'static str")]
pub enum ProbeResult {
    /// The provider accepts the key.
    Ok,
    /// The provider, or the token issuer, rejected the key.
    BadCredential,
    /// The key is valid but lacks the permission for the call.
    NoAccess,
    /// The account has no credit or quota left.
    NoCredit,
    /// The key is valid but over its rate limit.
    Throttled,
    /// The key could not be checked: no connection, or an answer that is not from the provider's API.
    Unreachable,
    /// No answer, or no token, within the time limit.
    Timeout,
}

impl ProbeResult {
    /// Returns its name in JSON: the name of the failure class in metrics, if there is one.
    pub fn name(self) -> &'static str {
        match self {
            ProbeResult::Ok => "ok",
            ProbeResult::BadCredential => "bad_credential",
            ProbeResult::NoAccess => "no_access",
            ProbeResult::NoCredit => "no_credit",
            ProbeResult::Throttled => "throttled",
            ProbeResult::Unreachable => "unreachable",
            ProbeResult::Timeout => "timeout",
        }
    }
}

fn millis<S: Serializer>(span: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

impl From<ProbeResult> for &'static str {
    fn from(finding: ProbeResult) -> Self {
        finding.name()
    }
}

/// Returns the time limit for a probe of a provider with these timeouts.
pub fn deadline(timeouts: &Timeouts) -> Duration {
    TIMEOUT.min(timeouts.first_byte)
}

/// Runs these calls, at most `CONCURRENCY` at once. Calls `on_end` with the index and report of each, in
/// the order in which they end.
pub async fn run_all<P>(
    probes: impl IntoIterator<Item = P>,
    mut on_end: impl FnMut(usize, ProbeReport),
) where
    P: Future<Output = ProbeReport> + Send + 'static,
{
    let mut waiting = probes.into_iter().enumerate();
    let mut running = JoinSet::new();
    loop {
        while running.len() < CONCURRENCY
            && let Some((index, probe)) = waiting.next()
        {
            running.spawn(async move { (index, probe.await) });
        }
        match running.join_next().await {
            Some(Ok((index, report))) => on_end(index, report),
            Some(Err(_)) => {}
            None => return,
        }
    }
}

impl Upstream {
    /// Returns the calls that check its keys; none for a disabled key.
    pub fn probes(&self) -> Vec<Probe> {
        let enabled = self.keys.iter().enumerate().filter(|(_, ready)| ready.key.enabled);
        let probes = enabled.flat_map(|(key, ready)| {
            let regions = match &ready.key.cloud {
                Cloud::Bedrock(bedrock) => {
                    bedrock.regions.iter().map(|region| Some(region.name.clone())).collect()
                }
                _ => vec![None],
            };
            regions.into_iter().map(move |region| Probe { key, region })
        });
        probes.collect()
    }

    /// Makes one call. Redirects are not followed: they would send the key to another address.
    pub async fn probe(&self, probe: &Probe, deadline: Duration) -> ProbeReport {
        let began = Instant::now();
        let (result, detail) = match &self.channel {
            Channel::Echo => (ProbeResult::Ok, None),
            Channel::Http(client) => {
                let key = &self.keys[probe.key];
                match ProbeRequest::new(self.kind, &key.key, probe.region.as_deref()) {
                    Some(call) => self.call(client, key, &call, probe, deadline).await,
                    None => (ProbeResult::Unreachable, Some("its URL is invalid".to_owned())),
                }
            }
        };
        ProbeReport { result, latency: began.elapsed(), detail }
    }

    async fn call(
        &self,
        client: &HttpClient,
        key: &ReadyKey,
        call: &ProbeRequest,
        probe: &Probe,
        deadline: Duration,
    ) -> Support {
        let by = Instant::now() + deadline;
        let region = probe.region.as_deref();
        match timeout_at(by, key.credential.wait_for_token(region)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return no_token(&error),
            Err(_) => {
                let detail = format!("no token within {deadline:?}");
                return (ProbeResult::Timeout, Some(detail));
            }
        }
        let origin = call.origin();
        match timeout_at(by, self.send_probe(client, key, call, region)).await {
            Ok(Ok(response)) => call.read(&response, &key.credential),
            Ok(Err(error)) => {
                (ProbeResult::Unreachable, Some(format!("{origin} {}", error.message())))
            }
            Err(_) => {
                (ProbeResult::Timeout, Some(format!("{origin} did not answer within {deadline:?}")))
            }
        }
    }

    /// Sends the call; a second time with a new token if the provider rejected the first one.
    async fn send_probe(
        &self,
        client: &HttpClient,
        key: &ReadyKey,
        call: &ProbeRequest,
        region: Option<&str>,
    ) -> Result<Response<Bytes>, UpstreamError> {
        let mut is_second = false;
        loop {
            let mut request = call.request(&self.headers);
            let sent = key.credential.authorize(&mut request, region, call.service()).await?;
            let response = client.fetch(request.map(|body| body.joined())).await?;
            if is_second || !key.credential.renew_if_rejected(&response, &sent) {
                return Ok(response);
            }
            is_second = true;
        }
    }
}

fn no_token(error: &TokenError) -> Support {
    let result = match error {
        TokenError::Refused(_) => ProbeResult::BadCredential,
        TokenError::Unreachable(_) => ProbeResult::Unreachable,
        TokenError::Timeout => ProbeResult::Timeout,
    };
    (result, Some(format!("the token issuer {error}")))
}
