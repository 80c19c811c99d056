//! Tests of the attempts of a request, with scripted providers and a paused clock.
//!
//! Time advances only while all tasks wait for it, so a span is exact, and what must not wait takes no time.

mod classes;
mod cooling_down;
mod first_token;
mod limits;
mod order;
mod probes;
mod quotas;
mod simulation;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{AttemptLoop, Call, DecodedRequest};
use crate::config;
use crate::config::{Config, LoadOptions, SystemEnvironment};
use crate::gateway::record::Record;
use crate::gateway::response::error_response::refuse;
use crate::gateway::response::refusal::Refusal;
use crate::gateway::scripted_provider::{Action, Play, Received, Script};
use crate::gateway::{Gateway, Live};
use crate::observe::log::Log;
use crate::observe::metrics::Metrics;
use crate::route::Plan;
use crate::upstream::{RequestKind, UpstreamError};
use crate::wire::api::routes::Place;
use crate::wire::api::{Api, routes};
use crate::wire::inspect::model::peek;

fn succeeds() -> Action {
    Action::Respond(200, vec![], json!({"choices": []}))
}

fn fails(status: u16) -> Action {
    Action::Respond(status, vec![], json!({"error": {"message": "no"}}))
}

fn throttles(millis: u64) -> Action {
    Action::Respond(429, vec![("retry-after-ms", millis.to_string())], json!({}))
}

fn later(millis: u64, action: Action) -> Action {
    Action::After(Duration::from_millis(millis), Box::new(action))
}

/// A response as the caller gets it.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: HeaderMap,
    /// `provider/key` of the latest attempt.
    from: Option<String>,
    attempts: u32,
    /// The error, if keymux refused the request.
    refusal: Option<Value>,
    /// The time until the response.
    took: Duration,
}

impl Reply {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    fn message(&self) -> String {
        let refusal = self.refusal.as_ref().expect("a refusal");
        refusal["error"]["message"].as_str().expect("a message").to_owned()
    }
}

/// A gateway with scripted providers.
#[derive(Clone)]
struct World {
    live: Arc<Live>,
    play: Arc<Play>,
    received: Arc<Mutex<Vec<Received>>>,
}

impl World {
    /// Loads providers and their keys from the text of a file. A provider needs no address.
    fn new(text: &str, play: impl Fn(&Received) -> Action + Send + Sync + 'static) -> Self {
        Self::with_config(load(text), play)
    }

    fn with_config(
        config: Config,
        play: impl Fn(&Received) -> Action + Send + Sync + 'static,
    ) -> Self {
        let (received, metrics) = (Arc::default(), Arc::<Metrics>::default());
        let play: Arc<Play> = Arc::new(play);
        let gateway = scripted(config, None, &metrics, &play, &received);
        Self { live: Arc::new(Live::new(gateway, metrics, Log::unread())), play, received }
    }

    /// Applies another text.
    fn reload(&self, text: &str) {
        self.apply(load(text));
    }

    /// Applies another configuration. Returns the one before, if no request uses it.
    fn apply(&self, config: Config) -> Option<Config> {
        let before = self.live.gateway();
        let metrics = &self.live.metrics;
        let next = scripted(config, Some(&before), metrics, &self.play, &self.received);
        self.live.swap(next);
        Arc::into_inner(before).map(|gateway| gateway.config)
    }

    /// Returns the requests that the providers received.
    fn received(&self) -> Vec<Received> {
        self.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the keys that were tried, in order.
    fn keys(&self) -> Vec<String> {
        self.received().into_iter().map(|received| received.key).collect()
    }

    /// Requests a chat.
    async fn request(&self, model: &str) -> Reply {
        self.request_stream(model, false).await
    }

    /// Requests a chat, or the stream of one.
    async fn request_stream(&self, model: &str, stream: bool) -> Reply {
        let began = Instant::now();
        let gateway = self.live.gateway();
        let mut record = Record::new(self.live.clone(), gateway.clone());
        let (status, headers, refusal) = match self.run(&gateway, model, stream, &mut record).await
        {
            Ok((status, headers)) => (status, headers, None),
            Err(refusal) => {
                let response = refuse(&refusal, Api::OpenAi, "req");
                let body = json!({"error": {"message": refusal.message()}});
                (response.status(), response.headers().clone(), Some(body))
            }
        };
        let from = record.last_key.map(|last| {
            let provider = &gateway.config.providers[last.provider];
            format!("{}/{}", provider.name, provider.keys[last.key].name)
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
        let Some(Place::Operation(address)) = routes::find("/v1/chat/completions") else {
            panic!("no operation");
        };
        let body =
            Bytes::from(json!({"model": model, "messages": [], "stream": stream}).to_string());
        let found = peek(&body).map_err(Refusal::Malformed)?;
        record.set_model(model);
        let resolved = gateway.config.resolve_model(model).map_err(Refusal::NotFound)?;
        let call = Call {
            gateway,
            client: None,
            what: RequestKind::Operation { address: &address, peek: &found },
            requested_model: model,
            body_format: None,
            decoded: DecodedRequest::default(),
            query: None,
            headers: &HeaderMap::new(),
            body: &body,
            pinned_key: None,
            now: 1,
        };
        let plan = Plan::new(&resolved, gateway.turns.next());
        let started = AttemptLoop::new(&call, plan.route).next(&call, &plan, record).await?;
        Ok((started.response.status(), started.response.headers().clone()))
    }
}

fn scripted(
    config: Config,
    before: Option<&Gateway>,
    metrics: &Metrics,
    play: &Arc<Play>,
    received: &Arc<Mutex<Vec<Received>>>,
) -> Gateway {
    let mut gateway = Gateway::build(config, before, metrics).expect("a gateway");
    for (provider, provider_config) in gateway.providers.iter_mut().zip(&gateway.config.providers) {
        provider.script = Some(Script {
            provider: provider_config.name.to_string(),
            keys: provider_config.keys.iter().map(|key| key.name.to_string()).collect(),
            play: play.clone(),
            received: received.clone(),
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

/// Returns the text of a provider with keys of weight 1, or `name=weight`, and more settings.
fn provider(name: &str, settings: &str, keys: &[&str]) -> String {
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
