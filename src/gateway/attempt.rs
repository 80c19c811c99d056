//! Attempt after attempt until one is answered: the keys of the first provider, then the route's other
//! targets and its fallbacks. Nothing has reached the caller before this is over.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Response};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout_at};

use super::answer::{self, Refusal};
use super::ids::Owner;
use super::record::Record;
use super::{Gateway, Provider};
use crate::config::Client;
use crate::keys::Tried;
use crate::route::{self, Hop, Plan};
use crate::upstream::{Arriving, Attempt, Broken, What};
use crate::wire::Operation;
use crate::wire::failure::{Class, Failure, classify};
use crate::wire::listen::{Framing, Listener};

/// Largest error body that is read; a provider's errors are a few hundred bytes.
const ERROR_BODY: usize = 256 * 1024;
/// Most that is read of a stream in wait for its first event.
const BEFORE_FIRST_EVENT: usize = 64 * 1024;

/// A request, read and understood, that providers are to be asked for.
pub(super) struct Call<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) client: Option<&'a Client>,
    pub(super) what: What<'a>,
    pub(super) query: Option<&'a str>,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a Bytes,
    /// The one key that will do, by provider and place: what is asked for belongs to it.
    pub(super) pin: Option<Owner>,
    pub(super) now: u64,
}

/// An answer whose head has come, and for a stream its first event.
pub(super) struct Answered {
    pub(super) response: Response<Arriving>,
    /// What was read of its body already.
    pub(super) early: Vec<Bytes>,
    /// Has heard that, and knows how the answer is framed.
    pub(super) listener: Listener,
    pub(super) idle: Duration,
    pub(super) deadline: Instant,
}

impl Answered {
    /// The answer with this for its whole body.
    fn whole(mut self, operation: Operation, body: Bytes) -> Rest {
        // Another length, and no other framing.
        self.response.headers_mut().remove(CONTENT_LENGTH);
        self.response = self.response.map(|_| Arriving::Made(vec![body].into_iter()));
        self.early.clear();
        self.listener = Listener::new(operation, Framing::Whole);
        Rest::Answer(Box::new(self))
    }
}

/// What is left to answer when no attempt succeeds.
enum Rest {
    /// The provider's own error.
    Answer(Box<Answered>),
    Refusal(Refusal),
}

/// A failed attempt: its class for the next step, the rest for the caller.
pub(super) struct Fallen {
    failure: Failure,
    rest: Rest,
    /// Whether the provider was silent until the deadline.
    silent: bool,
}

/// The limits of one attempt.
#[derive(Clone, Copy)]
struct Limits {
    first_byte: Instant,
    idle: Duration,
    total: Instant,
}

/// Runs the plan.
pub(super) async fn run(
    call: &Call<'_>,
    plan: Plan<'_>,
    record: &mut Record,
) -> Result<Answered, Refusal> {
    let began = Instant::now();
    let route = plan.route;
    let mut worst_first: Option<(Class, Rest)> = None;
    let mut silent: Vec<usize> = Vec::new();
    let mut too_long: Vec<&str> = Vec::new();
    let client = call.client.map(|client| &*client.name);
    let operation = call.what.operation();
    let mut other_api = None;
    for hop in plan {
        let kind = call.gateway.config.providers[hop.provider].kind;
        if !kind.serves(operation) {
            other_api = Some((hop.provider, kind));
            continue;
        }
        if call.pin.is_some_and(|owner| owner.provider != hop.provider) {
            continue;
        }
        let denied = call.client.is_some_and(|c| !route::may_have(c, &call.gateway.config, hop));
        if denied || silent.contains(&hop.provider) || too_long.contains(&hop.model) {
            continue;
        }
        let provider = &call.gateway.providers[hop.provider];
        let timeouts = call.gateway.config.providers[hop.provider].timeouts;
        let set = route.map(|route| route.timeouts).unwrap_or_default();
        let total = began + set.total.unwrap_or(timeouts.total);
        let mut tried = Tried::default();
        loop {
            let now = Instant::now();
            if now >= total {
                break;
            }
            let key = match call.pin {
                Some(owner) => provider.pool.this(owner.key, client, hop.model, &mut tried),
                None => provider.pool.choose(client, hop.model, &mut tried, now.into_std()),
            };
            let Some(key) = key else { break };
            let first_byte = (now + set.first_byte.unwrap_or(timeouts.first_byte)).min(total);
            let limits = Limits { first_byte, idle: set.idle.unwrap_or(timeouts.idle), total };
            let fallen = match noted(call, hop, key, limits, record).await {
                Ok(answered) => return Ok(answered),
                Err(fallen) => fallen,
            };
            let class = fallen.failure.class;
            if class == Class::Caller {
                return fallen.rest.into_answer();
            }
            if worst_first.as_ref().is_none_or(|(kept, _)| rank(class) >= rank(*kept)) {
                worst_first = Some((class, fallen.rest));
            }
            if fallen.silent {
                silent.push(hop.provider);
                break;
            }
            if class == Class::ContextTooLong {
                too_long.push(hop.model);
                break;
            }
        }
    }
    match (worst_first, other_api) {
        (Some((_, rest)), _) => rest.into_answer(),
        (None, Some((provider, kind))) => Err(Refusal::OtherApi {
            provider: call.gateway.config.providers[provider].name.to_string(),
            kind,
            operation,
        }),
        (None, None) => Err(Refusal::NoKeyOpen(record.model.clone().unwrap_or_default())),
    }
}

/// One attempt with this key and no other.
pub(super) async fn with_key(
    call: &Call<'_>,
    hop: Hop<'_>,
    key: usize,
    record: &mut Record,
) -> Result<Answered, Fallen> {
    let now = Instant::now();
    let timeouts = call.gateway.config.providers[hop.provider].timeouts;
    let total = now + timeouts.total;
    let limits =
        Limits { first_byte: (now + timeouts.first_byte).min(total), idle: timeouts.idle, total };
    noted(call, hop, key, limits, record).await
}

/// One attempt, and what it says of the key.
async fn noted(
    call: &Call<'_>,
    hop: Hop<'_>,
    key: usize,
    limits: Limits,
    record: &mut Record,
) -> Result<Answered, Fallen> {
    record.attempts += 1;
    record.tried = Some((hop.provider, key));
    let provider = &call.gateway.providers[hop.provider];
    let answered = once(call, hop, key, limits, &record.id).await;
    let health = &provider.pool.members()[key].health;
    match &answered {
        Ok(_) => {
            health.answered(call.now);
            provider.keys[key].answered();
        }
        Err(Fallen { failure: Failure { class, retry_after }, .. }) => {
            provider.keys[key].failed(class.name());
            health.failed(*class, call.now);
            if let Some(span) = cooldown(*class, *retry_after) {
                health.cool(*class, span, Instant::now().into_std());
            }
        }
    }
    answered
}

impl Rest {
    fn into_answer(self) -> Result<Answered, Refusal> {
        match self {
            Rest::Answer(answered) => Ok(*answered),
            Rest::Refusal(refusal) => Err(refusal),
        }
    }
}

/// How long a key is left alone after a failure of this class. Those that concern a key and one model
/// only, and a provider's troubles, do not cool the key.
fn cooldown(class: Class, retry_after: Option<Duration>) -> Option<Duration> {
    match class {
        Class::BadCredential => Some(Duration::from_secs(300)),
        Class::NoCredit => Some(Duration::from_secs(600)),
        Class::Throttled => Some(retry_after.unwrap_or(Duration::from_secs(10))),
        Class::Caller | Class::ContextTooLong | Class::NoAccess | Class::Trouble => None,
    }
}

/// Of several failures the caller is told the one that says most of what it can do: a limit that will
/// pass comes before a key that it knows nothing of.
fn rank(class: Class) -> u8 {
    match class {
        Class::BadCredential => 0,
        Class::NoCredit => 1,
        Class::NoAccess => 2,
        Class::Trouble => 3,
        Class::Throttled => 4,
        Class::ContextTooLong => 5,
        Class::Caller => 6,
    }
}

async fn once(
    call: &Call<'_>,
    hop: Hop<'_>,
    key: usize,
    limits: Limits,
    id: &str,
) -> Result<Answered, Fallen> {
    let provider = &call.gateway.providers[hop.provider];
    let name = || call.gateway.config.providers[hop.provider].name.to_string();
    let attempt = Attempt {
        what: call.what,
        model: hop.model,
        query: call.query,
        headers: call.headers,
        body: call.body,
        id,
        now: call.now,
    };
    let sent = timeout_at(limits.first_byte, provider.upstream.send(key, attempt)).await;
    let response = match sent.unwrap_or(Err(Broken::Silent)) {
        Ok(response) => response,
        Err(broken) => return Err(Fallen::unanswered(name(), broken)),
    };
    let operation = call.what.operation();
    let content_type = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let framing = Framing::of(operation, content_type);
    let mut listener = Listener::new(operation, framing);
    listener.read_head(&|name| response.headers().get(name)?.to_str().ok());
    let mut answered = Answered {
        listener,
        response,
        early: Vec::new(),
        idle: limits.idle,
        deadline: limits.total,
    };
    if !answered.response.status().is_success() {
        return Err(rejected(call, hop, key, answered, limits).await);
    }
    if framing.is_stream() {
        match first_event(&mut answered, limits.first_byte).await {
            Ok(()) => {}
            Err(Begun::Not(broken)) => return Err(Fallen::unanswered(name(), broken)),
            Err(Begun::Failed(failure)) => {
                let fallen = failed_at_once(provider, key, name(), failure, operation, answered);
                return Err(fallen);
            }
        }
    }
    Ok(answered)
}

/// A stream whose first event is an error: the caller gets it with the status that it should have had.
fn failed_at_once(
    provider: &Provider,
    key: usize,
    name: String,
    failure: Failure,
    operation: Operation,
    mut answered: Answered,
) -> Fallen {
    let Failure { class, retry_after } = failure;
    let Some(told) = answered.listener.told().cloned() else {
        let refusal = Refusal::Failed { provider: name, class, retry_after };
        return Fallen { failure, rest: Rest::Refusal(refusal), silent: false };
    };
    answered.response = answer::as_error(answered.response, &told, class, retry_after);
    let rest = answered.whole(operation, provider.upstream.redact(key, told.body.into()));
    Fallen { failure, rest, silent: false }
}

impl Fallen {
    /// Whether another key may succeed.
    pub(super) fn another_key_may_help(&self) -> bool {
        self.failure.class.another_key_may_help()
    }

    /// What is left to answer.
    pub(super) fn into_answer(self) -> Result<Answered, Refusal> {
        self.rest.into_answer()
    }

    fn unanswered(provider: String, broken: Broken) -> Self {
        let class = match broken {
            Broken::Name => Class::Caller,
            Broken::Refused => Class::BadCredential,
            Broken::Connect | Broken::Lost | Broken::Stale | Broken::Silent | Broken::NoToken => {
                Class::Trouble
            }
        };
        Self {
            failure: Failure { class, retry_after: None },
            rest: Rest::Refusal(Refusal::Unanswered { provider, broken }),
            silent: broken == Broken::Silent,
        }
    }
}

/// Why a stream did not begin.
enum Begun {
    Not(Broken),
    Failed(Failure),
}

/// Waits for the first event that means something, keeping what comes before it.
async fn first_event(answered: &mut Answered, by: Instant) -> Result<(), Begun> {
    let mut kept = 0;
    while !answered.listener.begun() && kept < BEFORE_FIRST_EVENT {
        let frame = timeout_at(by, answered.response.body_mut().frame());
        let bytes = match frame.await {
            Err(_) => return Err(Begun::Not(Broken::Silent)),
            Ok(None | Some(Err(_))) => return Err(Begun::Not(Broken::Lost)),
            Ok(Some(Ok(frame))) => frame.into_data().unwrap_or_default(),
        };
        kept += bytes.len();
        answered.listener.hear(&bytes);
        answered.early.push(bytes);
    }
    answered.listener.failure().map_or(Ok(()), |failure| Err(Begun::Failed(failure)))
}

/// A provider's error: read whole, classified, and kept for the caller without the key it may echo.
async fn rejected(
    call: &Call<'_>,
    hop: Hop<'_>,
    key: usize,
    mut answered: Answered,
    limits: Limits,
) -> Fallen {
    let status = answered.response.status();
    let body = read_error(answered.response.body_mut(), limits).await;
    let headers = answered.response.headers();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let operation = call.what.operation();
    let bytes = body.as_deref().unwrap_or_default();
    let failure = classify(operation.api(), status.as_u16(), bytes, &header);
    let rest = match body {
        Some(body) => {
            let upstream = &call.gateway.providers[hop.provider].upstream;
            answered.whole(operation, upstream.redact(key, body))
        }
        None => Rest::Refusal(Refusal::Failed {
            provider: call.gateway.config.providers[hop.provider].name.to_string(),
            class: failure.class,
            retry_after: failure.retry_after,
        }),
    };
    Fallen { failure, rest, silent: false }
}

/// The body of an error; `None` when it does not come whole, in time and within [`ERROR_BODY`].
async fn read_error(body: &mut Arriving, limits: Limits) -> Option<Bytes> {
    let by = (Instant::now() + limits.idle).min(limits.total);
    let mut whole = BytesMut::new();
    while let Some(frame) = timeout_at(by, body.frame()).await.ok()? {
        let bytes = frame.ok()?.into_data().unwrap_or_default();
        if whole.len() + bytes.len() > ERROR_BODY {
            return None;
        }
        whole.extend_from_slice(&bytes);
    }
    Some(whole.freeze())
}
