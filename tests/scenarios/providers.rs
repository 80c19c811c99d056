//! A provider fails: before the head, after it, in a whole response, and for all of its keys.

use tokio::net::TcpListener;
use tokio::time::Instant;

use super::*;
use crate::common::config::keys_asked;
use crate::common::http::{Connection, json_request};
use crate::common::upstream::message_answer;

/// The head and half of the body of a whole response that then ends like this.
fn truncated(end: Step) -> Vec<Step> {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n";
    let half = r#"{"object":"chat.completion","choices":[{"message":{"content":"hel"#;
    vec![
        Step::Send([head, half].concat().into_bytes()),
        Step::Pause(Duration::from_millis(50)),
        end,
    ]
}

/// The same response with more headers.
fn with_headers(steps: &[Step], headers: &[(&str, &str)]) -> Vec<Step> {
    let [Step::Send(bytes)] = steps else { panic!("one step") };
    let text = String::from_utf8_lossy(bytes);
    let (first, rest) = text.split_once("\r\n").unwrap();
    let more: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let more = more.concat();
    vec![Step::Send(format!("{first}\r\n{more}{rest}").into_bytes())]
}

#[tokio::test]
async fn a_burst_of_errors_is_hidden_and_ends_in_a_cooldown() {
    let upstream = failing(&["a"], error(500, "server_error", "Oops.")).await;
    let keymux = with_keys(&upstream, "", &[("a", "weight = 9"), ("b", "")]).await;
    for _ in 0..30 {
        assert_eq!(ask(&keymux, "m").await.status(), 200);
    }
    assert_eq!(count(&keys_asked(&upstream), "a"), 3, "the third in a row is one too many");
    let key = keymux.admin("/keys").await.json()[0].clone();
    assert_eq!(key["models"][0]["reason"], "trouble", "{key}");
}

#[tokio::test]
async fn an_overloaded_provider_falls_back() {
    let overloaded =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}});
    let first = Upstream::always(json_answer(529, &overloaded)).await;
    let second = Upstream::always(chat_answer("hello")).await;
    let route = "[routes.r]\ntargets = [{ model = \"first/m\" }]\nfallbacks = [\"second/m\"]\n";
    let text = config(
        "",
        &[
            native("first", "anthropic", &first, "", &[key("a", ""), key("b", "")]),
            provider("second", &second, "", &[key("c", "")]),
            route.to_owned(),
        ],
    );
    let keymux = Keymux::start(&text, &[]).await;
    let body =
        json!({"model": "r", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]});
    for attempts in ["3", "3", "3", "1"] {
        let reply = http::post(keymux.address(), "/v1/messages", &[], &body).await;
        assert_eq!(told(&reply), (200, "second", "c", attempts));
        let message = reply.json();
        assert_eq!(
            (&message["type"], &message["stop_reason"]),
            (&json!("message"), &json!("end_turn"))
        );
        assert_eq!(message["content"][0]["text"], "hello");
    }
}

#[tokio::test]
async fn a_refused_connection_fails_over_at_once() {
    let gone = Upstream::always(vec![Step::Close]).await;
    let second = Upstream::always(chat_answer("hello")).await;
    let keymux = with_fallback(&gone, "", &second).await;
    drop(gone);
    let start = Instant::now();
    assert_eq!(told(&ask(&keymux, "r").await), (200, "second", "c", "3"));
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_connection_reset_before_the_head_moves_to_the_next_key() {
    for failure in [
        vec![Step::Reset],
        vec![Step::Close],
        vec![Step::Send(b"HTTP/1.1 20".to_vec()), Step::Reset],
        vec![Step::Send(b"SSH-2.0-OpenSSH_9.6\r\n".to_vec()), Step::Close],
    ] {
        let upstream = failing(&["a"], failure).await;
        let keymux = with_keys(&upstream, "", &[("a", ""), ("b", "weight = 0")]).await;
        assert_eq!(told(&ask(&keymux, "m").await), (200, "main", "b", "2"));
        assert_eq!(keys_asked(&upstream), ["a", "b"]);
    }
}

#[tokio::test]
async fn a_failed_handshake_falls_back() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        // It accepts the connection but does not support TLS.
        while let Ok((stream, _)) = listener.accept().await {
            drop(stream);
        }
    });
    let second = Upstream::always(chat_answer("hello")).await;
    let text = config(
        "",
        &[
            format!(
                "[providers.first]\nkind = \"openai-compatible\"\nbase_url = \"https://127.0.0.1:{port}/v1\"\n\
                 [[providers.first.keys]]\n{}",
                key("a", "")
            ),
            provider("second", &second, "", &[key("c", "")]),
            "[routes.r]\ntargets = [{ model = \"first/m\" }]\nfallbacks = [\"second/m\"]\n".into(),
        ],
    );
    let keymux = Keymux::start(&text, &[]).await;
    let start = Instant::now();
    // The only key of the target gets a second try.
    assert_eq!(told(&ask(&keymux, "r").await), (200, "second", "c", "3"));
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_provider_that_hangs_before_its_head_is_tried_once() {
    let first = Upstream::always(vec![Step::Hang]).await;
    let second = Upstream::always(chat_answer("hello")).await;
    let keymux = with_fallback(&first, "timeouts = { first_byte = \"400ms\" }", &second).await;
    let start = Instant::now();
    let reply = ask(&keymux, "r").await;
    assert_eq!(told(&reply), (200, "second", "c", "2"));
    assert!(start.elapsed() < Duration::from_millis(400) + AT_ONCE, "{:?}", start.elapsed());
    assert_eq!(first.requests().len(), 1, "its other key would be as silent");
    first.left(0).await;
}

#[tokio::test]
async fn an_error_with_status_200_is_not_forwarded() {
    let error = json!({"error": {"message": "The engine is overloaded.", "type": "server_error"}});
    let upstream = failing(&["a"], json_answer(200, &error)).await;
    let keymux = with_keys(&upstream, "", &[("a", ""), ("b", "weight = 0")]).await;
    let reply = ask(&keymux, "m").await;
    assert_eq!((told(&reply), said(&reply)), ((200, "main", "b", "2"), "hello".into()));
    // Without another key the caller gets the provider's error, with the right status.
    let upstream = Upstream::always(json_answer(200, &error)).await;
    let keymux = with_keys(&upstream, "", &[("a", "")]).await;
    let reply = ask(&keymux, "m").await;
    assert!(reply.status() >= 500, "{}", reply.status());
    assert!(reply.text().contains("The engine is overloaded."), "{}", reply.text());
}

#[tokio::test]
async fn a_truncated_whole_response_is_retried_with_another_key() {
    for end in [Step::Close, Step::Reset] {
        let upstream = failing(&["a"], truncated(end)).await;
        let keymux = with_keys(&upstream, "", &[("a", ""), ("b", "weight = 0")]).await;
        let reply = ask(&keymux, "m").await;
        assert_eq!((told(&reply), said(&reply)), ((200, "main", "b", "2"), "hello".into()));
        assert!(reply.complete);
    }
}

#[tokio::test]
async fn a_prompt_over_the_context_limit_goes_only_to_the_larger_model() {
    let upstream = Upstream::start(|request| match request.json()["model"].as_str().unwrap() {
        "large" => chat_answer("hello"),
        _ => error(
            400,
            "context_length_exceeded",
            "This model's maximum context length is 8192 tokens.",
        ),
    })
    .await;
    let keys = [key("a", ""), key("b", "")];
    let route =
        "[routes.r]\ntargets = [{ model = \"main/small\" }]\nfallbacks = [\"main/large\"]\n";
    let text = config("", &[provider("main", &upstream, "", &keys), route.into()]);
    let keymux = Keymux::start(&text, &[]).await;
    for _ in 0..3 {
        let reply = ask(&keymux, "r").await;
        assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (200, Some("2")));
    }
    let models: Vec<Value> =
        upstream.requests().iter().map(|request| request.json()["model"].clone()).collect();
    assert_eq!(models, ["small", "large"].repeat(3));
    for name in ["a", "b"] {
        assert_eq!(state(&keymux, name).await.0, "ok");
    }
}

#[tokio::test]
async fn a_content_policy_refusal_is_not_retried() {
    let body = json!({"error": {
        "code": "content_policy_violation", "type": "invalid_request_error", "param": null,
        "message": "Your request was rejected as a result of our safety system.",
    }});
    let first = Upstream::always(json_answer(400, &body)).await;
    let second = Upstream::always(chat_answer("hello")).await;
    let keymux = with_fallback(&first, "", &second).await;
    for _ in 0..4 {
        let reply = ask(&keymux, "r").await;
        assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (400, Some("1")));
        assert_eq!(reply.json(), body, "in its own words");
    }
    assert_eq!((first.requests().len(), second.requests().len()), (4, 0));
    assert_eq!(state(&keymux, "a").await.0, "ok");
}

#[tokio::test]
async fn a_translated_fallback_answers_in_the_callers_format() {
    let first = Upstream::always(error(503, "unavailable", "Down for maintenance.")).await;
    let headers = [("request-id", "req_of_c"), ("anthropic-ratelimit-requests-remaining", "7")];
    let second = Upstream::always(with_headers(&message_answer("hello"), &headers)).await;
    let keymux = with_foreign_fallback(&first, "", &second).await;
    let reply = ask(&keymux, "r").await;
    assert_eq!((told(&reply), said(&reply)), ((200, "second", "c", "3"), "hello".into()));
    for (name, value) in headers {
        assert_eq!(reply.header(name), Some(value), "{name}: {:?}", reply.head);
    }
    assert_eq!(reply.json()["choices"][0]["finish_reason"], "stop");
    let asked = &second.requests()[0];
    assert_eq!((asked.path(), asked.json()["model"].as_str()), ("/v1/messages", Some("m")));
    assert!(
        asked.header("authorization").is_none(),
        "the first provider's credential stays with it"
    );
}

#[tokio::test]
async fn a_failed_translated_fallback_returns_an_error_in_the_callers_format() {
    let first = Upstream::always(error(503, "unavailable", "Down for maintenance.")).await;
    let body =
        json!({"type": "error", "error": {"type": "rate_limit_error", "message": "Slow down."}});
    let second = Upstream::always(json_answer(429, &body)).await;
    let keymux = with_foreign_fallback(&first, "", &second).await;
    let reply = ask(&keymux, "r").await;
    assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (429, Some("3")));
    let error = &reply.json()["error"];
    assert_eq!((&error["message"], error.get("param").is_some()), (&json!("Slow down."), true));
}

#[tokio::test]
async fn a_disconnect_of_the_caller_ends_the_attempts() {
    let first = Upstream::always(vec![Step::Hang]).await;
    let second = Upstream::always(chat_answer("hello")).await;
    let keymux = with_fallback(&first, "timeouts = { first_byte = \"600ms\" }", &second).await;
    let mut caller = Connection::open(keymux.address()).await;
    caller.send(&json_request(CHAT, &[], &chat("r", false))).await;
    first.request(0).await;
    drop(caller);
    first.left(0).await;
    tokio::time::sleep(Duration::from_millis(800)).await;
    assert_eq!((first.requests().len(), second.requests().len()), (1, 0));
}
