//! Tests of the request that a provider receives: the caller's bytes with another model, some of
//! the caller's headers, the provider's key.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use common::config::{config, key, one_key, provider, secret};
use common::http::{self, Reply};
use common::keymux::Keymux;
use common::upstream::{Received, Upstream, chat_answer, json_answer};
use serde_json::json;

const CHAT: &str = "/v1/chat/completions";

/// Sends a body unchanged.
async fn send(keymux: &Keymux, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
    let headers = [&[("content-type", "application/json")], headers].concat();
    http::exchange(keymux.address(), &http::request("POST", path, &headers, body)).await
}

/// Returns what a provider with one key receives for a chat with these bytes.
async fn forwarded(path: &str, headers: &[(&str, &str)], body: &[u8]) -> Received {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let reply = send(&keymux, path, headers, body).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    upstream.request(0).await
}

#[tokio::test]
async fn only_the_model_changes_in_the_body() {
    let asked = concat!(
        "{ \"z\" : [ ] ,\r\n\t\"temperature\":1.0E-2 , \"seed\":123456789012345678901234567890,\n",
        "\"messages\":[{\"role\":\"user\",\"content\":\"\\u00e9 \\/ \u{e9} \\ud83d\\ude00\"}],",
        "\"unknown\":{\"model\":\"stays\",\"n\":-0.0,\"dup\":1,\"dup\":2},\n",
        "  \"model\"  :  \"main/gpt-4o\"  , \"a\":null }\n"
    );
    let received = forwarded(CHAT, &[], asked.as_bytes()).await;
    let expected = asked.replace("main/gpt-4o", "gpt-4o");
    assert_eq!(String::from_utf8(received.body).unwrap(), expected);
}

#[tokio::test]
async fn a_bare_model_name_leaves_the_body_unchanged() {
    let asked = b"{\"model\":\"gp\\u0074-4o\",   \"messages\":[]}";
    let received = forwarded(CHAT, &[], asked).await;
    assert_eq!(received.body, asked);
}

#[tokio::test]
async fn everything_after_the_provider_prefix_is_the_model() {
    for (asked, model) in [
        ("main/meta/llama-3:free", "meta/llama-3:free"),
        ("main//x", "/x"),
        ("other/x", "other/x"),
        ("\u{6a21}\u{578b} \u{1f600}", "\u{6a21}\u{578b} \u{1f600}"),
        ("main/\"quoted\"\r\n{}", "\"quoted\"\r\n{}"),
    ] {
        let body = json!({"model": asked}).to_string();
        let received = forwarded(CHAT, &[], body.as_bytes()).await;
        assert_eq!(received.json(), json!({"model": model}), "{asked:?}");
    }
}

#[tokio::test]
async fn a_megabyte_of_prompt_arrives_whole() {
    let words: Vec<String> = (0..100_000).map(|n| format!("{n:x} \\n")).collect();
    let text = words.concat();
    let asked = format!("{{\"messages\":[{{\"content\":\"{text}\"}}],\"model\":\"main/m\"}}");
    let received = forwarded(CHAT, &[], asked.as_bytes()).await;
    assert_eq!(received.body, asked.replace("main/m", "m").as_bytes());
    assert_eq!(received.header("content-length"), Some(&*(asked.len() - 5).to_string()));
}

#[tokio::test]
async fn a_chunked_request_arrives_whole() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let mut caller = http::Connection::open(keymux.address()).await;
    let head = format!("POST {CHAT} HTTP/1.1\r\nhost: k\r\ntransfer-encoding: chunked\r\n\r\n");
    caller.send(head.as_bytes()).await;
    for piece in [&b"{\"mod"[..], b"el\":\"main/m\"", b"}"] {
        caller.send(&common::upstream::chunk(piece)).await;
    }
    caller.send(b"0\r\n\r\n").await;
    assert_eq!(caller.reply().await.status(), 200);
    let received = upstream.request(0).await;
    assert_eq!(received.body, b"{\"model\":\"m\"}");
    assert_eq!(received.header("transfer-encoding"), None);
}

#[tokio::test]
async fn a_multipart_form_is_forwarded_with_its_files_unchanged() {
    let form = |model: &str| {
        let mut body =
            b"--b0\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\
            Content-Type: audio/wav\r\n\r\n\x00\xff\r\n--b\x01\r\n--b0\r\n\
            Content-Disposition: form-data; name=\"model\"\r\n\r\n"
                .to_vec();
        body.extend(model.as_bytes());
        body.extend(b"\r\n--b0--\r\n");
        body
    };
    let upstream = Upstream::always(json_answer(200, &json!({"text": "hello"}))).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let headers = [("content-type", "multipart/form-data; boundary=b0")];
    let request =
        http::request("POST", "/v1/audio/transcriptions", &headers, &form("main/whisper-1"));
    let reply = http::exchange(keymux.address(), &request).await;
    assert_eq!(reply.json(), json!({"text": "hello"}));
    let received = upstream.request(0).await;
    assert_eq!(received.body, form("whisper-1"));
    assert_eq!(received.header("content-type"), Some(headers[0].1));
    assert_eq!(received.path(), "/v1/audio/transcriptions");
}

#[tokio::test]
async fn only_allowed_headers_are_forwarded() {
    let kept = [
        ("accept", "application/json, text/event-stream"),
        ("accept-language", "de"),
        ("idempotency-key", "abc"),
        ("openai-beta", "assistants=v2"),
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("user-agent", "my-agent/1.0"),
        ("x-client-request-id", "mine"),
    ];
    let left = [
        ("authorization", "Bearer sk-of-the-caller"),
        ("x-api-key", "sk-of-the-caller"),
        ("api-key", "sk-of-the-caller"),
        ("cookie", "session=1"),
        ("accept-encoding", "gzip, br"),
        ("openai-organization", "org-1"),
        ("openai-project", "proj-1"),
        ("x-forwarded-for", "10.0.0.1"),
        ("forwarded", "for=10.0.0.1"),
        ("x-whatever", "1"),
        ("connection", "keep-alive, x-hop"),
        ("x-hop", "1"),
        ("keep-alive", "timeout=5"),
        ("te", "trailers"),
        ("upgrade", "websocket"),
        ("proxy-authorization", "Basic abc"),
        ("x-keymux-key", "mine"),
        ("x-stainless-lang", "python"),
        ("referer", "http://example.com"),
        ("origin", "http://example.com"),
    ];
    let received = forwarded(CHAT, &[&kept[..], &left].concat(), b"{\"model\":\"m\"}").await;
    for (name, value) in kept {
        assert_eq!(received.header(name), Some(value), "{name}");
    }
    for (name, _) in left.iter().filter(|(name, _)| *name != "authorization") {
        assert_eq!(received.header(name), None, "{name}");
    }
    let raw = String::from_utf8_lossy(&received.head.raw).into_owned();
    assert!(!raw.contains("of-the-caller"), "{raw}");
}

#[tokio::test]
async fn authorization_contains_the_key_and_host_is_the_providers() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    send(&keymux, CHAT, &[("authorization", "Bearer whatever")], b"{\"model\":\"m\"}").await;
    let received = upstream.request(0).await;
    let credentials: Vec<_> =
        received.head.headers.iter().filter(|(name, _)| name == "authorization").collect();
    assert_eq!(credentials.len(), 1);
    assert_eq!(credentials[0].1, format!("Bearer {}", secret("only")));
    let hosts: Vec<_> = received.head.headers.iter().filter(|(name, _)| name == "host").collect();
    assert_eq!(hosts.len(), 1);
    assert_eq!(hosts[0].1, upstream.address().to_string());
    assert_eq!(received.head.first_line, format!("POST {CHAT} HTTP/1.1"));
}

#[tokio::test]
async fn configured_headers_are_added_and_override_the_callers() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let settings =
        r#"headers = { "openai-organization" = "org-ours", "User-Agent" = { env_var = "AGENT" } }"#;
    let text = config("", &[provider("main", &upstream, settings, &[key("only", "")])]);
    let keymux = Keymux::start(&text, &[("AGENT", "ours/1")]).await;
    let headers = [("openai-organization", "org-theirs"), ("user-agent", "theirs/1")];
    send(&keymux, CHAT, &headers, b"{\"model\":\"m\"}").await;
    let received = upstream.request(0).await;
    assert_eq!(received.header("openai-organization"), Some("org-ours"));
    assert_eq!(received.header("user-agent"), Some("ours/1"));
}

#[tokio::test]
async fn the_query_is_forwarded_and_every_operation_keeps_its_path() {
    let upstream = Upstream::always(json_answer(200, &json!({}))).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    let paths = [
        "/v1/chat/completions?a=1&b=%20x&c",
        "/v1/completions",
        "/v1/responses",
        "/v1/responses/compact",
        "/v1/responses/input_tokens",
        "/v1/embeddings",
        "/v1/moderations",
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/images/variations",
        "/v1/audio/speech",
        "/v1/audio/translations",
        "/v1/rerank",
    ];
    for (number, path) in paths.into_iter().enumerate() {
        let reply = send(&keymux, path, &[], b"{\"model\":\"main/m\"}").await;
        assert_eq!(reply.status(), 200, "{path}");
        assert_eq!(upstream.request(number).await.path(), path);
    }
}

#[tokio::test]
async fn base_urls_and_key_urls_keep_their_path_prefix() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let url = upstream.url();
    let text = format!(
        "[providers.prefixed]\nkind = \"openai-compatible\"\nbase_url = \"{url}/deep/er/v7/\"\n\
         [[providers.prefixed.keys]]\nname = \"a\"\nvalue = \"secret-a\"\n\
         [providers.cohere]\nbase_url = \"{url}\"\n\
         [[providers.cohere.keys]]\nname = \"b\"\nvalue = \"secret-b\"\n\
         [providers.gpus]\nkind = \"vllm\"\n\
         [[providers.gpus.keys]]\nname = \"c\"\n\
         vllm_key_config = {{ url = \"{url}\", model_name = \"real/name\" }}\n"
    );
    let keymux = Keymux::start(&config("", &[text]), &[]).await;
    let expected = [
        ("prefixed/m", "/deep/er/v7/chat/completions", "m", Some("Bearer secret-a")),
        (
            "cohere/command-a",
            "/compatibility/v1/chat/completions",
            "command-a",
            Some("Bearer secret-b"),
        ),
        ("gpus/real/name", CHAT, "real/name", None),
    ];
    for (number, (asked, path, model, credential)) in expected.into_iter().enumerate() {
        let reply = http::post(keymux.address(), CHAT, &[], &json!({"model": asked})).await;
        assert_eq!(reply.status(), 200, "{asked}: {}", reply.text());
        let received = upstream.request(number).await;
        assert_eq!(received.path(), path);
        assert_eq!(received.json()["model"], model);
        assert_eq!(received.header("authorization"), credential);
    }
}

#[tokio::test]
async fn connections_to_the_provider_are_reused() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keymux = Keymux::start(&one_key(&upstream), &[]).await;
    for _ in 0..10 {
        let reply = http::post(keymux.address(), CHAT, &[], &json!({"model": "m"})).await;
        assert_eq!(reply.status(), 200);
    }
    assert_eq!((upstream.requests().len(), upstream.connections()), (10, 1));
}
