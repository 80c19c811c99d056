//! Callers that have tokens counted, on providers that count in another format, and on those that do not.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "so a test fails")]

mod common;

use common::config::{config, secret};
use common::http::post;
use common::keymux::Keymux;
use common::upstream::{Received, Upstream, json_answer};
use serde_json::{Value, json};

const CLAUDE: &str = "us.anthropic.claude-haiku-4-5-20251001-v1:0";

/// A key of each kind, all at one address.
fn providers(upstream: &Upstream) -> String {
    let url = upstream.url();
    let one = |kind: &str, settings: &str| {
        format!(
            "[providers.{kind}]\nbase_url = \"{url}{}\"\n[[providers.{kind}.keys]]\nname = \"k\"\n\
             value = \"{}\"\n{settings}\n",
            if ["openai", "mistral"].contains(&kind) { "/v1" } else { "" },
            secret(kind)
        )
    };
    let bedrock = "bedrock_key_config = { region = \"us-east-1\" }";
    let kinds = ["anthropic", "gemini", "openai", "mistral"].map(|kind| one(kind, ""));
    kinds.concat() + &one("bedrock", bedrock)
}

/// What each provider says that counts seven.
fn seven(request: &Received) -> Value {
    match request.path() {
        "/v1/messages/count_tokens" => json!({"input_tokens": 7}),
        "/v1/responses/input_tokens" => {
            json!({"object": "response.input_tokens", "input_tokens": 7})
        }
        path if path.ends_with(":countTokens") => json!({"totalTokens": 7}),
        _ => json!({"inputTokens": 7}),
    }
}

/// The paths and bodies of a caller of each API for this model, and what it is answered.
fn callers(model: &str) -> [(String, Value, Value); 5] {
    let contents = json!([{"role": "user", "parts": [{"text": "hi"}]}]);
    let escaped = model.replace('/', "%2F").replace(':', "%3A");
    let gemini = format!("/v1beta/models/{model}:countTokens");
    let messages = json!([{"role": "user", "content": [{"text": "hi"}]}]);
    [
        (
            "/v1/messages/count_tokens".to_owned(),
            json!({"model": model, "messages": [{"role": "user", "content": "hi"}]}),
            json!({"input_tokens": 7}),
        ),
        (gemini.clone(), json!({"contents": contents}), json!({"totalTokens": 7})),
        (
            gemini,
            json!({"generateContentRequest": {"model": "models/x", "contents": contents}}),
            json!({"totalTokens": 7}),
        ),
        (
            "/v1/responses/input_tokens".to_owned(),
            json!({"model": model, "input": "hi"}),
            json!({"object": "response.input_tokens", "input_tokens": 7}),
        ),
        (
            format!("/model/{escaped}/count-tokens"),
            json!({"input": {"converse": {"messages": messages}}}),
            json!({"inputTokens": 7}),
        ),
    ]
}

#[tokio::test]
async fn every_caller_has_tokens_counted_by_every_provider_that_counts() {
    let upstream = Upstream::start(|request| json_answer(200, &seven(request))).await;
    let keymux = Keymux::start(&config("", &[providers(&upstream)]), &[]).await;
    let mut asked = 0;
    for (model, path) in [
        ("anthropic/claude-haiku-4-5", "/v1/messages/count_tokens"),
        ("gemini/gemini-2.5-flash", "/v1beta/models/gemini-2.5-flash:countTokens"),
        ("openai/gpt-4o", "/v1/responses/input_tokens"),
        (
            &format!("bedrock/{CLAUDE}"),
            "/model/anthropic.claude-haiku-4-5-20251001-v1%3A0/count-tokens",
        ),
    ] {
        for (caller, body, expected) in callers(model) {
            let reply = post(keymux.address(), &caller, &[], &body).await;
            assert_eq!(reply.status(), 200, "{caller} on {model}: {}", reply.text());
            assert_eq!(reply.json(), expected, "{caller} on {model}");
            let received = upstream.request(asked).await;
            assert_eq!(received.path(), path, "{caller}");
            let text = received.json().to_string();
            assert!(text.contains("hi") && !text.contains("max_tokens"), "{text}");
            asked += 1;
        }
    }
}

#[tokio::test]
async fn where_nothing_counts_it_is_a_404_in_the_callers_form() {
    let upstream = Upstream::start(|request| json_answer(200, &seven(request))).await;
    let keymux = Keymux::start(&config("", &[providers(&upstream)]), &[]).await;
    for model in ["mistral/mistral-small-latest", "bedrock/amazon.nova-lite-v1:0"] {
        let places = ["/error/message", "/error/message", "/error/message", "/error/message"];
        // Bedrock's own callers are passed on to Bedrock.
        for ((caller, body, _), place) in callers(model).into_iter().zip(places) {
            let reply = post(keymux.address(), &caller, &[], &body).await;
            assert_eq!(reply.status(), 404, "{caller} on {model}: {}", reply.text());
            let told = reply.json();
            let message = told.pointer(place).unwrap().as_str().unwrap();
            assert!(message.contains("cannot count tokens"), "{message}");
        }
    }
    assert!(upstream.requests().is_empty());
}

#[tokio::test]
async fn what_cannot_be_read_is_refused_at_its_place_in_the_callers_body() {
    let upstream = Upstream::start(|request| json_answer(200, &seven(request))).await;
    let keymux = Keymux::start(&config("", &[providers(&upstream)]), &[]).await;
    let body = json!({"generateContentRequest": {"contents": "hi"}});
    let path = "/v1beta/models/openai/gpt-4o:countTokens";
    let reply = post(keymux.address(), path, &[], &body).await;
    assert_eq!(reply.status(), 400, "{}", reply.text());
    let message = reply.json()["error"]["message"].to_string();
    assert!(message.contains("/generateContentRequest/contents"), "{message}");
    assert!(upstream.requests().is_empty());
}
