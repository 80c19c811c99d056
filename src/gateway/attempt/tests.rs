//! The attempts of a request, with providers that follow a script and a clock that stands still.
//!
//! Time moves only while all wait for it, so a span is exact, and what must not wait takes no time at all.

mod classes;
mod haste;
mod limits;
mod probes;
mod quotas;
mod resting;
mod simulation;
mod walking;

use std::fmt::{self, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Call, Understood, Walk};
use crate::config::{self, Config, LoadOptions, SystemEnvironment};
use crate::gateway::answer::{self, Refusal};
use crate::gateway::record::Record;
use crate::gateway::{Gateway, Live};
use crate::observe::log::Log;
use crate::observe::metrics::Metrics;
use crate::route::Plan;
use crate::upstream::{Arriving, Attempt, Broken, What};
use crate::wire::Api;
use crate::wire::address::{self, Place};
use crate::wire::peek::peek;

/// What a provider does with a request.
#[derive(Clone, Debug)]
pub(super) enum Says {
    /// Answers, whole.
    Answer(u16, Vec<(&'static str, String)>, Value),
    /// Begins a stream and breaks it off.
    Cut,
    /// Gives no answer, for this reason.
    Breaks(Broken),
    /// Is silent.
    Nothing,
    /// Does the other thing after that time.
    After(Duration, Box<Says>),
}

/// A request as a provider got it.
#[derive(Clone, Debug)]
pub(super) struct Asked {
    pub(super) provider: String,
    pub(super) key: String,
    pub(super) model: String,
    /// The id of the caller's request.
    pub(super) request: String,
    pub(super) at: Instant,
    /// The status of its answer, 0 for none, and how long it asks to wait. `None`: not yet, or the caller
    /// has left.
    pub(super) said: Option<(u16, Option<Duration>)>,
    /// When it was over, one way or the other.
    pub(super) over: Option<Instant>,
}

type Play = dyn Fn(&Asked) -> Says + Send + Sync;

/// What stands in for a provider.
#[derive(Clone)]
pub(in crate::gateway) struct Script {
    provider: String,
    keys: Vec<String>,
    play: Arc<Play>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Script")
    }
}

impl Script {
    pub(in crate::gateway) async fn play(
        &self,
        key: usize,
        attempt: &Attempt<'_>,
    ) -> Result<Response<Arriving>, Broken> {
        let asked = Asked {
            provider: self.provider.clone(),
            key: self.keys[key].clone(),
            model: attempt.model.to_owned(),
            request: attempt.id.to_owned(),
            at: Instant::now(),
            said: None,
            over: None,
        };
        let mut page = Page::new(&self.asked, asked.clone());
        let mut says = (self.play)(&asked);
        loop {
            says = match says {
                Says::After(span, then) => {
                    sleep(span).await;
                    *then
                }
                Says::Answer(status, headers, body) => {
                    let hint = headers.iter().find(|(name, _)| *name == "retry-after-ms");
                    let hint = hint.and_then(|(_, millis)| millis.parse().ok());
                    page.said(status, hint.map(Duration::from_millis));
                    return Ok(made(status, &headers, &body));
                }
                Says::Cut => {
                    let sse = vec![("content-type", "text/event-stream".to_owned())];
                    return Ok(made(200, &sse, &Value::Null));
                }
                Says::Breaks(broken) => {
                    page.said(0, None);
                    return Err(broken);
                }
                Says::Nothing => std::future::pending().await,
            };
        }
    }
}

/// A request in the book, until it is over.
struct Page<'b> {
    book: &'b Mutex<Vec<Asked>>,
    place: usize,
}

impl<'b> Page<'b> {
    fn new(book: &'b Mutex<Vec<Asked>>, asked: Asked) -> Self {
        let mut all = book.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(asked);
        Self { book, place: all.len() - 1 }
    }

    fn said(&mut self, status: u16, hint: Option<Duration>) {
        let mut all = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        all[self.place].said = Some((status, hint));
    }
}

impl Drop for Page<'_> {
    fn drop(&mut self) {
        let mut all = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        all[self.place].over = Some(Instant::now());
    }
}

fn made(status: u16, headers: &[(&'static str, String)], body: &Value) -> Response<Arriving> {
    let frames = if body.is_null() { vec![] } else { vec![Bytes::from(body.to_string())] };
    let mut response = Response::new(Arriving::Made(frames.into_iter()));
    *response.status_mut() = StatusCode::from_u16(status).expect("a status");
    for (name, value) in headers {
        let value = HeaderValue::from_str(value).expect("a value");
        response.headers_mut().insert(HeaderName::from_static(name), value);
    }
    response
}

pub(super) fn well() -> Says {
    Says::Answer(200, vec![], json!({"choices": []}))
}

pub(super) fn fails(status: u16) -> Says {
    Says::Answer(status, vec![], json!({"error": {"message": "no"}}))
}

pub(super) fn throttles(millis: u64) -> Says {
    Says::Answer(429, vec![("retry-after-ms", millis.to_string())], json!({}))
}

pub(super) fn later(millis: u64, says: Says) -> Says {
    Says::After(Duration::from_millis(millis), Box::new(says))
}

/// An answer as the caller gets it.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    /// `provider/key` that was tried last.
    pub(super) from: Option<String>,
    pub(super) attempts: u32,
    /// What keymux says itself.
    pub(super) refusal: Option<Value>,
    /// How long it took.
    pub(super) took: Duration,
}

impl Reply {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(super) fn message(&self) -> String {
        let refusal = self.refusal.as_ref().expect("a refusal");
        refusal["error"]["message"].as_str().expect("a message").to_owned()
    }
}

/// A gateway in front of scripted providers.
#[derive(Clone)]
pub(super) struct World {
    live: Arc<Live>,
    play: Arc<Play>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl World {
    /// Providers and their keys from the text of a file. A provider needs no address.
    pub(super) fn new(text: &str, play: impl Fn(&Asked) -> Says + Send + Sync + 'static) -> Self {
        Self::of(load(text), play)
    }

    fn of(config: Config, play: impl Fn(&Asked) -> Says + Send + Sync + 'static) -> Self {
        let (asked, metrics) = (Arc::default(), Arc::<Metrics>::default());
        let play: Arc<Play> = Arc::new(play);
        let gateway = scripted(config, None, &metrics, &play, &asked);
        Self { live: Arc::new(Live::new(gateway, metrics, Log::unread())), play, asked }
    }

    /// Puts another text in force.
    pub(super) fn reload(&self, text: &str) {
        self.take(load(text));
    }

    /// Puts another configuration in force; the one before, when no request holds it.
    fn take(&self, config: Config) -> Option<Config> {
        let before = self.live.gateway();
        let metrics = &self.live.metrics;
        let next = scripted(config, Some(&before), metrics, &self.play, &self.asked);
        self.live.swap(next);
        Arc::into_inner(before).map(|gateway| gateway.config)
    }

    /// What the providers were asked.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The keys that were asked, in order.
    pub(super) fn keys(&self) -> Vec<String> {
        self.asked().into_iter().map(|asked| asked.key).collect()
    }

    /// Asks for a chat.
    pub(super) async fn ask(&self, model: &str) -> Reply {
        self.ask_for(model, false).await
    }

    /// Asks for a chat, or for the stream of one.
    pub(super) async fn ask_for(&self, model: &str, stream: bool) -> Reply {
        let began = Instant::now();
        let gateway = self.live.gateway();
        let mut record = Record::new(self.live.clone(), gateway.clone());
        let (status, headers, refusal) = match self.run(&gateway, model, stream, &mut record).await
        {
            Ok((status, headers)) => (status, headers, None),
            Err(refusal) => {
                let response = answer::refuse(&refusal, Api::OpenAi, "req");
                let body = json!({"error": {"message": refusal.message()}});
                (response.status(), response.headers().clone(), Some(body))
            }
        };
        let from = record.tried.map(|(provider, key)| {
            let provider = &gateway.config.providers[provider];
            format!("{}/{}", provider.name, provider.keys[key].name)
        });
        let (attempts, took) = (record.attempts, began.elapsed());
        Reply { status: status.as_u16(), headers, from, attempts, refusal, took }
    }

    async fn run(
        &self,
        gateway: &Gateway,
        model: &str,
        stream: bool,
        record: &mut Record,
    ) -> Result<(StatusCode, HeaderMap), Refusal> {
        let Some(Place::Operation(address)) = address::find("/v1/chat/completions") else {
            panic!("no operation");
        };
        let body =
            Bytes::from(json!({"model": model, "messages": [], "stream": stream}).to_string());
        let found = peek(&body).map_err(Refusal::Malformed)?;
        record.asked(model);
        let asked = gateway.config.resolve_model(model).map_err(Refusal::NotFound)?;
        let call = Call {
            gateway,
            client: None,
            what: What::Operation { address: &address, peek: &found },
            asked_for: model,
            body_wire: None,
            understood: Understood::default(),
            query: None,
            headers: &HeaderMap::new(),
            body: &body,
            pin: None,
            now: 1,
        };
        let plan = Plan::new(&asked, gateway.turns.next());
        let answered = Walk::new(&call, plan.route).next(&call, &plan, record).await?;
        Ok((answered.response.status(), answered.response.headers().clone()))
    }
}

fn scripted(
    config: Config,
    before: Option<&Gateway>,
    metrics: &Metrics,
    play: &Arc<Play>,
    asked: &Arc<Mutex<Vec<Asked>>>,
) -> Gateway {
    let mut gateway = Gateway::build(config, before, metrics).expect("a gateway");
    for (provider, own) in gateway.providers.iter_mut().zip(&gateway.config.providers) {
        provider.script = Some(Script {
            provider: own.name.to_string(),
            keys: own.keys.iter().map(|key| key.name.to_string()).collect(),
            play: play.clone(),
            asked: asked.clone(),
        });
    }
    gateway
}

fn load(text: &str) -> Config {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("keymux.toml");
    std::fs::write(&file, text).expect("a file");
    let loaded = config::load(&LoadOptions { file, overrides: Vec::new() }, &SystemEnvironment);
    let report = config::problem::report(&loaded.problems, false);
    loaded.config.unwrap_or_else(|| panic!("{report}"))
}

/// A provider with keys of weight 1, or `name=weight`, and more settings of its own.
pub(super) fn provider(name: &str, settings: &str, keys: &[&str]) -> String {
    let mut text = format!(
        "[providers.{name}]\nkind = \"openai-compatible\"\nbase_url = \"http://127.0.0.1:9/v1\"\n{settings}\n"
    );
    for key in keys {
        let (key, weight) = key.split_once('=').unwrap_or((key, "1"));
        let _ = write!(
            text,
            "[[providers.{name}.keys]]\nname = \"{key}\"\nvalue = \"secret-of-{key}\"\nweight = {weight}\n"
        );
    }
    text
}
