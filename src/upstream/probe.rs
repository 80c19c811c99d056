//! Whether a provider takes a key, shown by a call that costs nothing.
//!
//! ```text
//! probe/call.rs     what is asked of each kind of provider
//! probe/answer.rs   what its answer says of the key
//! ```

mod request;
mod response;

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use serde::{Serialize, Serializer};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use self::request::Call;
use self::response::Said;
use super::client::HttpClient;
use super::error::TokenError;
use super::request_body::RequestBody;
use super::{Channel, Ready, Upstream, UpstreamError};
use crate::config::{Cloud, Timeouts};

/// How long a probe may take, unless the provider's own answers must come sooner.
const DEADLINE: Duration = Duration::from_secs(10);
/// How many calls are under way at once.
const AT_ONCE: usize = 64;

/// One call to be made: a key has one, on Bedrock one for each of its regions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The key's place in the file.
    pub key: usize,
    /// The region that is asked.
    pub region: Option<String>,
}

/// What came of a [`Probe`]. Nothing in it is of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ProbeReport {
    /// What it says of the key.
    pub result: ProbeResult,
    /// How long it took, the wait for a token included.
    #[serde(rename = "latency_ms", serialize_with = "millis")]
    pub latency: Duration,
    /// Status and error code, or the address that did not answer; `None` when all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// What a probe says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "&'static str")]
pub enum ProbeResult {
    /// The provider takes it.
    Ok,
    /// The provider, or the issuer of its tokens, does not take it.
    BadCredential,
    /// It is known, and may not do what was asked.
    NoAccess,
    /// Its account has no credit or quota left.
    NoCredit,
    /// It is good, and asks too much for now.
    Throttled,
    /// Nothing was heard of the key: no connection, or an answer that is not of the provider's API.
    Unreachable,
    /// No answer, or no token, within the deadline.
    Timeout,
}

impl ProbeResult {
    /// Its name in JSON: that of the failure's class in metrics, where it has one.
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

/// How long a probe of a provider with these deadlines may take.
pub fn deadline(timeouts: &Timeouts) -> Duration {
    DEADLINE.min(timeouts.first_byte)
}

/// Makes many calls, `AT_ONCE` of them at once. `ended` hears of each by its place among them, in the
/// order in which they end.
pub async fn run_all<P>(
    probes: impl IntoIterator<Item = P>,
    mut ended: impl FnMut(usize, ProbeReport),
) where
    P: Future<Output = ProbeReport> + Send + 'static,
{
    let mut waiting = probes.into_iter().enumerate();
    let mut running = JoinSet::new();
    loop {
        while running.len() < AT_ONCE
            && let Some((place, probe)) = waiting.next()
        {
            running.spawn(async move { (place, probe.await) });
        }
        match running.join_next().await {
            Some(Ok((place, report))) => ended(place, report),
            Some(Err(_)) => {}
            None => return,
        }
    }
}

impl Upstream {
    /// The calls that show whether its keys are good; none for a key that is disabled.
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

    /// Makes one call. Redirects are not followed: they would take the key elsewhere.
    pub async fn probe(&self, probe: &Probe, deadline: Duration) -> ProbeReport {
        let began = Instant::now();
        let (finding, detail) = match &self.channel {
            Channel::Echo => (ProbeResult::Ok, None),
            Channel::Http(client) => {
                let ready = &self.keys[probe.key];
                match Call::new(self.kind, &ready.key, probe.region.as_deref()) {
                    Some(call) => self.ask(client, ready, &call, probe, deadline).await,
                    None => {
                        (ProbeResult::Unreachable, Some("its address cannot be made".to_owned()))
                    }
                }
            }
        };
        ProbeReport { result: finding, latency: began.elapsed(), detail }
    }

    async fn ask(
        &self,
        client: &HttpClient,
        ready: &Ready,
        call: &Call,
        probe: &Probe,
        deadline: Duration,
    ) -> Said {
        let by = Instant::now() + deadline;
        let region = probe.region.as_deref();
        match timeout_at(by, ready.credential.token(region)).await {
            Ok(Ok(())) => {}
            Ok(Err(why)) => return no_token(&why),
            Err(_) => {
                let words = format!("no token came within {deadline:?}");
                return (ProbeResult::Timeout, Some(words));
            }
        }
        let origin = call.origin();
        match timeout_at(by, self.exchange(client, ready, call, region)).await {
            Ok(Ok(response)) => call.read(&response, &ready.credential),
            Ok(Err(broken)) => {
                (ProbeResult::Unreachable, Some(format!("{origin} {}", broken.message())))
            }
            Err(_) => {
                (ProbeResult::Timeout, Some(format!("{origin} did not answer within {deadline:?}")))
            }
        }
    }

    /// Sends the call; once more with a new token where the one it went with has run out.
    async fn exchange(
        &self,
        client: &HttpClient,
        ready: &Ready,
        call: &Call,
        region: Option<&str>,
    ) -> Result<Response<Bytes>, UpstreamError> {
        let mut is_second = false;
        loop {
            let mut request = call.request(&self.headers);
            let shown =
                ready.credential.authorize_for(&mut request, region, call.service()).await?;
            let response = client.fetch(request.map(|body: RequestBody| body.joined())).await?;
            if is_second || !ready.credential.answered(&response, &shown) {
                return Ok(response);
            }
            is_second = true;
        }
    }
}

fn no_token(why: &TokenError) -> Said {
    let finding = match why {
        TokenError::Refused(_) => ProbeResult::BadCredential,
        TokenError::Unreachable(_) => ProbeResult::Unreachable,
        TokenError::Timeout => ProbeResult::Timeout,
    };
    (finding, Some(format!("the token issuer {why}")))
}
