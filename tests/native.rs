//! Requests to a provider of the same API: what the provider receives.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::fmt::Write as _;

use common::config::secret;
use common::http;
use common::keymux::Keymux;
use common::upstream::{Received, Upstream, json_answer};
use serde_json::json;

/// Returns a provider of each kind that takes an API key, all at one address, and one client.
fn config(upstream: &Upstream) -> String {
    let mut text = format!(
        "[server]\nlisten = \"127.0.0.1:{{PORT}}\"\n[admin]\nlisten = \"127.0.0.1:{{ADMIN}}\"\n\
         [[clients]]\nname = \"me\"\nkey = \"{CLIENT}\"\n"
    );
    for kind in ["anthropic", "gemini", "cohere", "replicate"] {
        let _ = write!(
            text,
            "[providers.{kind}]\nbase_url = \"{url}/under\"\n[[providers.{kind}.keys]]\nname = \"k\"\nvalue = \"{key}\"\n",
            url = upstream.url(),
            key = secret(kind),
        );
    }
    text
}

/// Returns an azure provider with one key.
fn azure(upstream: &Upstream, version: &str) -> String {
    format!(
        "[server]\nlisten = \"127.0.0.1:{{PORT}}\"\n[admin]\nlisten = \"127.0.0.1:{{ADMIN}}\"\n\
         [[clients]]\nname = \"me\"\nkey = \"{CLIENT}\"\n\
         [[providers.azure.keys]]\nname = \"k\"\nvalue = \"{key}\"\n\
         azure_key_config = {{ endpoint = \"{url}\", api_version = \"{version}\", deployments = {{ \"gpt-4o\" = \"prod four\", \"sonnet\" = \"prod five\" }} }}\n",
        url = upstream.url(),
        key = secret("azure"),
    )
}

const CLIENT: &str = "the-key-of-the-client-0123456789";

/// Sends a request with these headers; returns what the provider received.
async fn received(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Received {
    received_with(config, path, headers, body).await
}

async fn received_with(
    config: impl Fn(&Upstream) -> String,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Received {
    let upstream = Upstream::always(json_answer(200, &json!({"ok": true}))).await;
    let keymux = Keymux::start(&config(&upstream), &[]).await;
    let is_form = headers.iter().any(|(name, _)| *name == "content-type");
    let json: &[_] = if is_form { &[] } else { &[("content-type", "application/json")] };
    let headers = [json, headers].concat();
    let request = http::request("POST", path, &headers, body);
    let reply = http::exchange(keymux.address(), &request).await;
    assert_eq!(reply.status(), 200, "{path}: {}", reply.text());
    let received = upstream.request(0).await;
    let raw = String::from_utf8_lossy(&received.head.raw).into_owned();
    assert!(!raw.contains(CLIENT), "{raw}");
    received
}

#[tokio::test]
async fn anthropic_receives_its_version_headers_query_and_key() {
    let body = br#"{"max_tokens":1, "model":"anthropic/claude-x","messages":[]}"#;
    for credential in
        [("x-api-key", CLIENT.to_owned()), ("authorization", format!("Bearer {CLIENT}"))]
    {
        let headers = [
            (credential.0, &*credential.1),
            ("anthropic-version", "2023-06-01"),
            ("anthropic-beta", "a-1,b-2"),
            ("anthropic-beta", "c-3"),
        ];
        let received = received("/v1/messages?beta=true", &headers, body).await;
        assert_eq!(received.path(), "/under/v1/messages?beta=true");
        assert_eq!(received.header("x-api-key"), Some(&*secret("anthropic")));
        assert_eq!(received.header("authorization"), None);
        assert_eq!(received.header("anthropic-version"), Some("2023-06-01"));
        let betas: Vec<_> =
            received.head.headers.iter().filter(|h| h.0 == "anthropic-beta").collect();
        assert_eq!(betas.len(), 2);
        assert_eq!(received.body, br#"{"max_tokens":1, "model":"claude-x","messages":[]}"#);
    }
}

#[tokio::test]
async fn gemini_receives_the_requested_version_and_no_key_in_the_query() {
    let body = b"{ \"contents\": [ ] }";
    for (path, expected) in [
        ("/v1beta/models/gemini/g-2:generateContent", "/under/v1beta/models/g-2:generateContent"),
        ("/v1/models/gemini%2Fg-2:countTokens", "/under/v1/models/g-2:countTokens"),
        (
            "/v1beta1/models/gemini/g-2:streamGenerateContent?alt=sse",
            "/under/v1beta/models/g-2:streamGenerateContent?alt=sse",
        ),
        (
            "/v1beta/tunedModels/gemini/tunedModels/mine:generateContent",
            "/under/v1beta/tunedModels/mine:generateContent",
        ),
        (
            "/v1beta1/projects/p/locations/l/publishers/gemini/models/g-2:embedContent",
            "/under/v1beta/models/g-2:embedContent",
        ),
    ] {
        let received = received(path, &[("x-goog-api-key", CLIENT)], body).await;
        assert_eq!(received.path(), expected);
        assert_eq!(received.header("x-goog-api-key"), Some(&*secret("gemini")));
        assert_eq!(received.body, body);
    }
    let path = format!("/v1beta/models/gemini/g:generateContent?key={CLIENT}&alt=json&x=1");
    let received = received(&path, &[], body).await;
    assert_eq!(received.path(), "/under/v1beta/models/g:generateContent?alt=json&x=1");
}

#[tokio::test]
async fn cohere_receives_its_own_and_the_openai_compatible_api() {
    let auth = format!("Bearer {CLIENT}");
    for (path, expected) in [
        ("/v2/chat", "/under/v2/chat"),
        ("/v2/embed", "/under/v2/embed"),
        ("/v2/rerank", "/under/v2/rerank"),
        ("/v1/rerank", "/under/v2/rerank"),
        ("/v1/chat/completions", "/under/compatibility/v1/chat/completions"),
    ] {
        let body = br#"{"model":"cohere/command-a"}"#;
        let received = received(path, &[("authorization", &*auth)], body).await;
        assert_eq!(received.path(), expected);
        assert_eq!(
            received.header("authorization"),
            Some(&*format!("Bearer {}", secret("cohere")))
        );
        assert_eq!(received.body, br#"{"model":"command-a"}"#);
    }
}

#[tokio::test]
async fn azure_receives_the_deployment_in_the_path_or_in_the_body_by_api_version() {
    let named = br#"{"model":"azure/gpt-4o"}"#;
    let renamed = br#"{"model":"prod four"}"#;
    for (version, asked, sent, path, body) in [
        (
            "2024-10-21",
            "/v1/chat/completions",
            &named[..],
            "/openai/deployments/prod%20four/chat/completions?api-version=2024-10-21",
            &renamed[..],
        ),
        (
            "2024-10-21",
            "/openai/deployments/gpt-4o/embeddings?api-version=2023-05-15",
            b"{\"input\":1}",
            "/openai/deployments/prod%20four/embeddings?api-version=2024-10-21",
            b"{\"model\":\"prod four\",\"input\":1}",
        ),
        (
            "2024-10-21",
            "/openai/responses?api-version=x&a=b",
            named,
            "/openai/responses?api-version=2024-10-21&a=b",
            renamed,
        ),
        ("v1", "/v1/responses", named, "/openai/v1/responses", renamed),
        (
            "v1",
            "/openai/v1/chat/completions?api-version=preview",
            named,
            "/openai/v1/chat/completions",
            renamed,
        ),
        (
            "2024-10-21",
            "/v1/messages",
            b"{\"model\":\"sonnet\",\"messages\":[]}",
            "/anthropic/v1/messages",
            b"{\"model\":\"prod five\",\"messages\":[]}",
        ),
    ] {
        let received =
            received_with(|upstream| azure(upstream, version), asked, &[("api-key", CLIENT)], sent)
                .await;
        assert_eq!(received.path(), path);
        assert_eq!(received.header("api-key"), Some(&*secret("azure")));
        let anthropic = path.starts_with("/anthropic").then(|| secret("azure"));
        assert_eq!(received.header("x-api-key").map(str::to_owned), anthropic);
        assert_eq!(String::from_utf8(received.body).unwrap(), String::from_utf8_lossy(body));
    }
}

#[tokio::test]
async fn the_model_of_the_path_is_inserted_into_a_form() {
    let form = b"--x\r\ncontent-disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\nsound\r\n--x--\r\n";
    let headers = [("api-key", CLIENT), ("content-type", "multipart/form-data; boundary=x")];
    let path = "/openai/deployments/gpt-4o/audio/transcriptions";
    let received = received_with(|upstream| azure(upstream, "v1"), path, &headers, form).await;
    assert_eq!(received.path(), "/openai/v1/audio/transcriptions");
    let model = "--x\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nprod four\r\n";
    assert_eq!(received.body, [model.as_bytes(), form].concat());
}

#[tokio::test]
async fn an_unsupported_operation_is_refused_in_the_callers_format() {
    let upstream = Upstream::always(json_answer(200, &json!({}))).await;
    let keymux = Keymux::start(&config(&upstream), &[]).await;
    let auth = format!("Bearer {CLIENT}");
    let ask = async |path: &str, body: &[u8]| {
        let headers = [("authorization", &*auth), ("content-type", "application/json")];
        http::exchange(keymux.address(), &http::request("POST", path, &headers, body)).await
    };
    let reply = ask("/v1/messages/count_tokens", br#"{"model":"cohere/x","messages":[]}"#).await;
    assert_eq!((reply.status(), &reply.json()["type"]), (404, &json!("error")));
    let message = &reply.json()["error"]["message"];
    assert!(message.as_str().unwrap().contains("kind cohere"), "{message}");
    let reply = ask("/model/anthropic%2Fx/invoke", b"{}").await;
    assert_eq!(reply.header("x-amzn-errortype"), Some("ResourceNotFoundException"));
    let reply = ask("/v1/predictions", br#"{"version":"replicate/..","input":{}}"#).await;
    assert_eq!(reply.status(), 200, "a version may be anything");
    let reply = ask("/v1/models/replicate%2Fonly-a-name/predictions", b"{}").await;
    assert_eq!(reply.status(), 404, "{}", reply.text());
    let reply = ask("/v1beta/models/cohere/x:predict", b"{}").await;
    assert_eq!(reply.json()["error"]["status"], "NOT_FOUND");
    assert_eq!(upstream.requests().len(), 1);
}
