//! Scenarios of failure from end to end: the real program between a provider that fails as scripted and a
//! caller that sees every byte. Each is checked on both sides, in the provider's log and in what the
//! caller got.
//!
//! ```text
//! keys.rs       failures of one key
//! providers.rs  a provider fails: before the head, after it, in a whole response, and for all keys
//! streams.rs    a stream fails: before its first event and after it
//! ```

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "so a test fails")]

#[path = "../common/mod.rs"]
mod common;

mod keys;
mod providers;
mod streams;

use std::time::Duration;

use common::config::{config, key, native, provider};
use common::http::{self, Reply};
use common::keymux::Keymux;
use common::upstream::{Received, Step, Upstream, answer, chat_answer, json_answer};
use serde_json::{Value, json};

const CHAT: &str = "/v1/chat/completions";
/// The longest time of a few attempts without any wait, on a busy machine.
const AT_ONCE: Duration = Duration::from_millis(900);

fn chat(model: &str, stream: bool) -> Value {
    let messages = json!([{"role": "user", "content": "Hello there"}]);
    json!({"model": model, "stream": stream, "messages": messages})
}

async fn ask(keymux: &Keymux, model: &str) -> Reply {
    http::post(keymux.address(), CHAT, &[], &chat(model, false)).await
}

async fn stream(keymux: &Keymux, model: &str) -> Reply {
    http::post(keymux.address(), CHAT, &[], &chat(model, true)).await
}

/// Returns the provider `main` with these keys, each with its settings.
async fn with_keys(upstream: &Upstream, settings: &str, keys: &[(&str, &str)]) -> Keymux {
    Keymux::start(&with_keys_text(upstream, settings, keys), &[]).await
}

fn with_keys_text(upstream: &Upstream, settings: &str, keys: &[(&str, &str)]) -> String {
    let keys: Vec<String> = keys.iter().map(|(name, settings)| key(name, settings)).collect();
    config("[reload]\nsettle = \"40ms\"\n", &[provider("main", upstream, settings, &keys)])
}

/// Returns the route `r`: the provider `first` with the keys `a` and `b`, and `second` with the key `c` as its
/// fallback.
async fn with_fallback(first: &Upstream, settings: &str, second: &Upstream) -> Keymux {
    let route = "[routes.r]\ntargets = [{ model = \"first/m\" }]\nfallbacks = [\"second/m\"]\n";
    let text = config(
        "",
        &[
            provider("first", first, settings, &[key("a", ""), key("b", "")]),
            provider("second", second, "", &[key("c", "")]),
            route.to_owned(),
        ],
    );
    Keymux::start(&text, &[]).await
}

/// The same with a fallback that has Anthropic's API.
async fn with_foreign_fallback(first: &Upstream, settings: &str, second: &Upstream) -> Keymux {
    let route = "[routes.r]\ntargets = [{ model = \"first/m\" }]\nfallbacks = [\"second/m\"]\n";
    let text = config(
        "",
        &[
            provider("first", first, settings, &[key("a", ""), key("b", "")]),
            native("second", "anthropic", second, "", &[key("c", "")]),
            route.to_owned(),
        ],
    );
    Keymux::start(&text, &[]).await
}

/// Returns what every response reports: status, provider, key, attempts.
fn told(reply: &Reply) -> (u16, &str, &str, &str) {
    assert!(reply.header("x-request-id").is_some_and(|id| !id.is_empty()), "{:?}", reply.head);
    let header = |name| reply.header(name).unwrap_or_default();
    let (provider, key) = (header("x-keymux-provider"), header("x-keymux-key"));
    (reply.status(), provider, key, header("x-keymux-attempts"))
}

/// Returns the text of a whole chat completion.
fn said(reply: &Reply) -> String {
    let json = reply.json();
    assert_eq!(json["object"], "chat.completion", "{json}");
    json["choices"][0]["message"]["content"].as_str().unwrap_or_default().to_owned()
}

/// Returns the text of a stream, which must be complete.
fn streamed(reply: &Reply) -> String {
    let (text, finished) = heard(reply);
    assert!(finished && reply.complete, "{}", reply.text());
    text
}

/// Returns the text of a stream, which must end with an error event and must not look finished.
fn broken_off(reply: &Reply) -> String {
    let (text, finished) = heard(reply);
    let events = http::sse_data(&reply.body);
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap();
    assert!(last["error"]["message"].is_string(), "{}", reply.text());
    assert!(!finished && reply.complete, "{}", reply.text());
    text
}

/// Returns the text of a stream, and true if anything in it lets an SDK take it for finished.
fn heard(reply: &Reply) -> (String, bool) {
    let (mut text, mut finished) = (String::new(), false);
    for data in http::sse_data(&reply.body) {
        if data == "[DONE]" {
            finished = true;
            continue;
        }
        let event: Value = serde_json::from_str(&data).unwrap();
        let choice = &event["choices"][0];
        text.push_str(choice["delta"]["content"].as_str().unwrap_or_default());
        finished |= choice["finish_reason"].is_string();
    }
    (text, finished)
}

fn count(keys: &[String], name: &str) -> usize {
    keys.iter().filter(|own| *own == name).count()
}

/// Returns the key as the admin listener reports it.
async fn state(keymux: &Keymux, name: &str) -> (String, String) {
    let keys = keymux.admin("/keys").await.json();
    let own = keys.as_array().unwrap().iter().find(|own| own["key"] == name);
    let own = own.unwrap_or_else(|| panic!("no {name} in {keys}"));
    let text = |field: &str| own[field].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

fn error(status: u16, code: &str, message: &str) -> Vec<Step> {
    json_answer(status, &json!({"error": {"code": code, "type": code, "message": message}}))
}

fn throttled(millis: u64) -> Vec<Step> {
    answer(429, &[("retry-after-ms", &millis.to_string())], b"{\"error\":{}}")
}

/// A provider that succeeds for every key except these.
async fn failing(bad: &'static [&'static str], failure: Vec<Step>) -> Upstream {
    Upstream::start(move |request: &Received| {
        if bad.contains(&&*common::config::name_of_key(request)) {
            failure.clone()
        } else {
            chat_answer("hello")
        }
    })
    .await
}
