//! Translated conversations through the program: callers of one API, a provider of another.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{config, key};
use common::http::{self, Reply, sse_data};
use common::keymux::Keymux;
use common::upstream::{Step, Upstream, chat_answer, chat_events, cut, json_answer, sse};
use serde_json::{Value, json};

/// Starts keymux with a provider of this kind and without clients.
async fn keymux(kind: &str, upstream: &Upstream, more: &str) -> Keymux {
    Keymux::start(&config("", &[part(kind, upstream), more.to_owned()]), &[]).await
}

fn part(kind: &str, upstream: &Upstream) -> String {
    let (url, key) = (upstream.url(), key(kind, ""));
    let url = if kind == "openai" { format!("{url}/v1") } else { url };
    format!("[providers.{kind}]\nbase_url = \"{url}\"\n[[providers.{kind}.keys]]\n{key}")
}

fn claude(events: &[Value]) -> Vec<Step> {
    let event =
        |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    sse(&events.iter().map(event).collect::<Vec<_>>(), Duration::ZERO)
}

/// Claude's response to a question with a tool.
fn claude_calls() -> Vec<Value> {
    let start = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x",
        "content": [], "stop_reason": null, "usage": {"input_tokens": 7, "output_tokens": 1}});
    let delta = |index: u32, delta: Value| json!({"type": "content_block_delta", "index": index, "delta": delta});
    let tool = json!({"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {}});
    vec![
        json!({"type": "message_start", "message": start}),
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        delta(0, json!({"type": "text_delta", "text": "I look."})),
        json!({"type": "content_block_stop", "index": 0}),
        json!({"type": "content_block_start", "index": 1, "content_block": tool}),
        delta(1, json!({"type": "input_json_delta", "partial_json": "{\"city\":"})),
        delta(1, json!({"type": "input_json_delta", "partial_json": "\"Oslo\"}"})),
        json!({"type": "content_block_stop", "index": 1}),
        json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 9}}),
        json!({"type": "message_stop"}),
    ]
}

async fn chat(keymux: &Keymux, body: &Value) -> Reply {
    http::post(keymux.address(), "/v1/chat/completions", &[], body).await
}

fn question(stream: bool) -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let tool =
        json!({"type": "function", "function": {"name": "weather", "parameters": parameters}});
    json!({"model": "anthropic/claude-sonnet-4-5", "stream": stream, "tools": [tool],
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Oslo?"}]})
}

#[tokio::test]
async fn an_openai_caller_gets_a_claude_stream_as_chunks() {
    let upstream = Upstream::always(claude(&claude_calls())).await;
    let keymux = keymux("anthropic", &upstream, "").await;
    let reply = chat(&keymux, &question(true)).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.header("content-type"), Some("text/event-stream; charset=utf-8"));
    let data = sse_data(&reply.body);
    assert_eq!(data.last().unwrap(), "[DONE]");
    let chunks: Vec<Value> =
        data[..data.len() - 1].iter().map(|data| serde_json::from_str(data).unwrap()).collect();
    let all = |path: &str| -> String {
        chunks.iter().filter_map(|chunk| chunk.pointer(path)?.as_str()).collect()
    };
    assert_eq!(all("/choices/0/delta/content"), "I look.");
    assert_eq!(all("/choices/0/delta/tool_calls/0/id"), "toolu_1");
    assert_eq!(all("/choices/0/delta/tool_calls/0/function/name"), "weather");
    assert_eq!(all("/choices/0/delta/tool_calls/0/function/arguments"), r#"{"city":"Oslo"}"#);
    assert_eq!(all("/choices/0/finish_reason"), "tool_calls");
    assert!(
        chunks.iter().all(|chunk| chunk.get("usage").is_none_or(Value::is_null)),
        "not asked for"
    );

    let asked = upstream.request(0).await;
    assert_eq!(
        (asked.path(), asked.header("anthropic-version")),
        ("/v1/messages", Some("2023-06-01"))
    );
    let body = asked.json();
    assert_eq!(body["system"][0]["text"], "Be brief.");
    assert_eq!(body["tools"][0]["name"], "weather");
    assert!(body["max_tokens"].is_u64(), "the API demands it");
}

#[tokio::test]
async fn a_translated_stream_that_is_cut_never_looks_finished() {
    for events in 1..claude_calls().len() {
        let steps = cut(claude(&claude_calls()), events, Step::Reset);
        let upstream = Upstream::always(steps).await;
        let keymux = keymux("anthropic", &upstream, "").await;
        let reply = chat(&keymux, &question(true)).await;
        let text = reply.text();
        assert!(!text.contains("[DONE]"), "{events}: {text}");
        if reply.status() == 200 {
            let last: Value = serde_json::from_str(sse_data(&reply.body).last().unwrap()).unwrap();
            assert!(last["error"]["message"].is_string(), "{events}: {last}");
        } else {
            assert_eq!(reply.status(), 502, "{events}");
        }
    }
}

#[tokio::test]
async fn dropped_settings_are_named_and_unsupported_ones_are_refused_at_their_place() {
    let upstream = Upstream::always(claude(&claude_calls())).await;
    let keymux = keymux("anthropic", &upstream, "").await;
    let mut body = question(true);
    body["seed"] = json!(7);
    body["made_up"] = json!(true);
    let reply = chat(&keymux, &body).await;
    let dropped = reply.header("x-keymux-dropped").unwrap();
    assert_eq!(dropped.split(", ").collect::<Vec<_>>(), ["/made_up", "/seed"], "{dropped}");

    let file = json!({"type": "file", "file": {"file_id": "file-1"}});
    body["messages"][1]["content"] = json!([file]);
    let reply = chat(&keymux, &body).await;
    assert_eq!(reply.status(), 400);
    let error = reply.json()["error"].clone();
    assert_eq!(error["param"], "/messages/1/content/0", "{error}");
    assert_eq!(upstream.requests().len(), 1, "nobody is asked what cannot be said");
}

#[tokio::test]
async fn a_providers_error_has_the_callers_format_and_its_own_message() {
    let error = json!({"type": "error", "error": {"type": "not_found_error", "message": "model: claude-9"}});
    let upstream = Upstream::always(json_answer(404, &error)).await;
    let keymux = keymux("anthropic", &upstream, "").await;
    let reply = chat(&keymux, &question(false)).await;
    assert_eq!(reply.status(), 404);
    let error = reply.json()["error"].clone();
    assert_eq!(
        (&error["message"], &error["code"]),
        (&json!("model: claude-9"), &json!("model_not_found"))
    );
}

#[tokio::test]
async fn a_route_falls_back_to_a_provider_of_another_format() {
    let down =
        Upstream::always(json_answer(529, &json!({"error": {"message": "Overloaded"}}))).await;
    let up = Upstream::always(chat_answer("hello")).await;
    let route = "[routes.fast]\ntargets = [{ model = \"anthropic/claude-x\" }]\nfallbacks = [\"openai/gpt-4o\"]";
    let keymux = Keymux::start(
        &config("", &[part("anthropic", &down), part("openai", &up), route.to_owned()]),
        &[],
    )
    .await;
    let asked =
        json!({"model": "fast", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]});
    let reply = http::post(keymux.address(), "/v1/messages", &[], &asked).await;
    assert_eq!((reply.status(), reply.header("x-keymux-provider")), (200, Some("openai")));
    let message = reply.json();
    assert_eq!(
        (&message["type"], &message["stop_reason"]),
        (&json!("message"), &json!("end_turn"))
    );
    assert_eq!(message["content"], json!([{"type": "text", "text": "hello"}]));
    assert_eq!(message["usage"]["input_tokens"], 3);
    assert_eq!(up.request(0).await.path(), "/v1/chat/completions");
}

#[tokio::test]
async fn a_responses_body_at_the_chat_path_is_answered_in_chunks() {
    let upstream = Upstream::always(sse(&chat_events(&["one ", "two"]), Duration::ZERO)).await;
    let keymux = keymux("openai", &upstream, "").await;
    let body = json!({"model": "openai/gpt-4o", "input": "count", "instructions": "Be brief.", "stream": true});
    let reply = chat(&keymux, &body).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    let data = sse_data(&reply.body);
    assert_eq!(data.last().unwrap(), "[DONE]");
    assert!(data[0].contains("chat.completion.chunk"), "{}", data[0]);
    assert!(!reply.text().contains("\"usage\":{"), "not asked for");
    let asked = upstream.request(0).await.json();
    assert_eq!(asked["messages"][1], json!({"role": "user", "content": "count"}));
}
