//! A stream fails: before its first event, where the caller does not notice, and after it.

use tokio::time::Instant;

use super::*;
use crate::common::config::{keys_asked, name_of_key};
use crate::common::upstream::{chat_events, cut, message_events, sse};

const PACE: Duration = Duration::from_millis(15);
const WORDS: [&str; 3] = ["one ", "two ", "three"];

/// A provider that succeeds for every key except `a`, which it answers with these steps.
async fn streaming(failure: Vec<Step>) -> Upstream {
    Upstream::start(move |request| match name_of_key(request).as_str() {
        "a" => failure.clone(),
        _ => sse(&chat_events(&WORDS), PACE),
    })
    .await
}

fn events() -> Vec<Step> {
    sse(&chat_events(&WORDS), PACE)
}

/// Returns the response of a provider with the keys `a` and then `b`.
async fn of_two(failure: Vec<Step>, settings: &str) -> (Upstream, Reply) {
    let upstream = streaming(failure).await;
    let keymux = with_keys(&upstream, settings, &[("a", ""), ("b", "weight = 0")]).await;
    let reply = stream(&keymux, "m").await;
    (upstream, reply)
}

#[tokio::test]
async fn a_stream_that_ends_before_its_first_event_is_retried_with_another_key() {
    for end in [Step::Close, Step::Reset, Step::Send(b"0\r\n\r\n".to_vec())] {
        let (upstream, reply) = of_two(cut(events(), 0, end), "").await;
        assert_eq!(told(&reply), (200, "main", "b", "2"));
        assert_eq!(streamed(&reply), "one two three");
        assert_eq!(keys_asked(&upstream), ["a", "b"]);
    }
}

#[tokio::test]
async fn a_stream_that_hangs_after_its_head_falls_back() {
    let comment = sse(&[": keep-alive\n\n".to_owned()], PACE);
    let first = Upstream::always(cut(comment, 1, Step::Hang)).await;
    let second = Upstream::always(sse(&chat_events(&WORDS), PACE)).await;
    let keymux = with_fallback(&first, "timeouts = { first_byte = \"400ms\" }", &second).await;
    let reply = stream(&keymux, "r").await;
    assert_eq!(
        (told(&reply), streamed(&reply)),
        ((200, "second", "c", "2"), "one two three".into())
    );
    assert!(!reply.text().contains("keep-alive"), "nothing of the first is shown");
    assert_eq!(first.requests().len(), 1);
    first.left(0).await;
}

#[tokio::test]
async fn an_error_as_the_first_event_is_retried_with_another_key() {
    let error =
        json!({"error": {"message": "Overloaded", "type": "server_error", "code": "overloaded"}});
    let failure = sse(&[format!("data: {error}\n\n")], PACE);
    let (_, reply) = of_two(failure.clone(), "").await;
    assert_eq!((told(&reply), streamed(&reply)), ((200, "main", "b", "2"), "one two three".into()));
    // Without another key it is an error status.
    let upstream = Upstream::always(failure).await;
    let keymux = with_keys(&upstream, "", &[("a", "")]).await;
    let reply = stream(&keymux, "m").await;
    assert!(reply.status() >= 500, "{}", reply.status());
    assert_eq!(reply.json()["error"]["message"], "Overloaded");
}

#[tokio::test]
async fn a_stream_cut_in_the_middle_ends_with_an_error_and_is_not_restarted() {
    for end in [Step::Close, Step::Reset, Step::Send(b"0\r\n\r\n".to_vec())] {
        let (upstream, reply) = of_two(cut(events(), 2, end), "").await;
        assert_eq!(told(&reply), (200, "main", "a", "1"));
        assert_eq!(broken_off(&reply), "one two ");
        assert_eq!(keys_asked(&upstream), ["a"]);
    }
}

#[tokio::test]
async fn a_stalled_stream_ends_with_an_error_after_the_idle_timeout() {
    let start = Instant::now();
    let stalled = cut(events(), 2, Step::Hang);
    let (upstream, reply) = of_two(stalled, "timeouts = { idle = \"400ms\" }").await;
    assert_eq!(broken_off(&reply), "one two ");
    let took = start.elapsed();
    assert!(took > Duration::from_millis(400) && took < Duration::from_secs(4), "{took:?}");
    upstream.left(0).await;
}

#[tokio::test]
async fn a_translated_fallback_streams_in_the_callers_format() {
    let first = Upstream::always(cut(events(), 0, Step::Reset)).await;
    let second = Upstream::always(sse(&message_events(&WORDS), PACE)).await;
    let keymux = with_foreign_fallback(&first, "", &second).await;
    let reply = stream(&keymux, "r").await;
    assert_eq!(
        (told(&reply), streamed(&reply)),
        ((200, "second", "c", "3"), "one two three".into())
    );
    // The stream breaks off within the comments.
    let second = Upstream::always(cut(sse(&message_events(&WORDS), PACE), 4, Step::Close)).await;
    let keymux = with_foreign_fallback(&first, "", &second).await;
    let reply = stream(&keymux, "r").await;
    assert_eq!((told(&reply), broken_off(&reply)), ((200, "second", "c", "3"), "one two ".into()));
}
