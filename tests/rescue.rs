//! Streams that may take more than one attempt: `rescue` and `first_token` of a route.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::time::Duration;

use common::config::{config, key, provider, secret};
use common::http::{self, Connection, Framing, Piece, Reply};
use common::keymux::Keymux;
use common::upstream::{Received, Step, Upstream, chat_events, cut, sse};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

const CHAT: &str = "/v1/chat/completions";
/// So small that the events of a test still leave one by one.
const PACE: Duration = Duration::from_millis(20);
const WORDS: [&str; 4] = ["one ", "two ", "three ", "four"];

fn carries(request: &Received, name: &str) -> bool {
    request.header("authorization") == Some(&*format!("Bearer {}", secret(name)))
}

/// keymux before one provider, with a route `r` to its model `m` and the keys `a` and `b`, of which `a` is
/// asked first.
async fn keymux(upstream: &Upstream, route: &str) -> Keymux {
    let keys = [key("a", "weight = 1"), key("b", "weight = 0")];
    let route = format!("[routes.r]\ntargets = [{{ model = \"main/m\" }}]\n{route}\n");
    Keymux::start(&config("", &[provider("main", upstream, "", &keys), route]), &[]).await
}

async fn ask(keymux: &Keymux) -> Reply {
    begin(keymux).await.reply().await
}

async fn begin(keymux: &Keymux) -> Connection {
    let mut caller = Connection::open(keymux.address()).await;
    caller.send(&http::json_request(CHAT, &[], &json!({"model": "r", "stream": true}))).await;
    caller
}

/// The provider's key `a` does the one thing, `b` the other.
async fn two(a: Vec<Step>, b: Vec<Step>) -> Upstream {
    Upstream::start(move |request| if carries(request, "a") { a.clone() } else { b.clone() }).await
}

/// The text of a chat's stream, and its last event.
fn text(reply: &Reply) -> (String, String) {
    let events = http::sse_data(&reply.body);
    let content = |data: &String| {
        let chunk: Value = serde_json::from_str(data).ok()?;
        chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned)
    };
    (events.iter().filter_map(content).collect(), events.last().cloned().unwrap_or_default())
}

/// The one access line that says how the request went.
async fn line(keymux: &Keymux) -> Value {
    let start = Instant::now();
    loop {
        let log = keymux.log();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        if let Some(line) = lines.rev().find(|line| line["target"] == "access") {
            return line;
        }
        assert!(start.elapsed() < Duration::from_secs(5), "no access line:\n{log}");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_held_stream_that_breaks_is_never_seen() {
    let events = chat_events(&WORDS);
    let upstream = two(cut(sse(&events, PACE), 2, Step::Close), sse(&events, PACE)).await;
    let keymux = keymux(&upstream, "rescue = \"hold\"").await;
    let reply = ask(&keymux).await;
    assert!(reply.complete);
    let bare = reply.text().replace(": keymux\n\n", "");
    assert_eq!(bare, events.concat(), "one stream, whole and as it came");
    assert!(reply.text().starts_with(": keymux\n\n"), "the caller hears that it is worked on");
    // The head left with the first attempt; the log knows the end.
    assert_eq!(reply.header("x-keymux-key"), Some("a"));
    let line = line(&keymux).await;
    let told = (&line["attempts"], &line["rescued"], &line["key"], &line["end"]);
    assert_eq!(told, (&json!(2), &json!(1), &json!("b"), &json!("complete")));
    assert_eq!(line["bytes_out"], reply.body.len());
    let metrics = keymux.admin("/metrics").await.text();
    assert!(metrics.contains("keymux_rescues_total{provider=\"main\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_held_stream_that_tells_an_error_is_held_back_too() {
    let events = chat_events(&WORDS);
    let error = "data: {\"error\":{\"message\":\"overloaded\",\"code\":503}}\n\n".to_owned();
    let failing = sse(&[events[0].clone(), events[1].clone(), error], PACE);
    let upstream = two(failing, sse(&events, PACE)).await;
    let reply = ask(&keymux(&upstream, "rescue = \"hold\"").await).await;
    assert_eq!(reply.text().replace(": keymux\n\n", ""), events.concat());
}

#[tokio::test]
async fn when_all_break_a_held_stream_is_an_error_and_nothing_of_it_is_shown() {
    let events = chat_events(&WORDS);
    let upstream = Upstream::always(cut(sse(&events, PACE), 2, Step::Reset)).await;
    let keymux = keymux(&upstream, "rescue = \"hold\"").await;
    let reply = ask(&keymux).await;
    let (said, last) = text(&reply);
    assert_eq!((said.as_str(), reply.complete), ("", true), "{}", reply.text());
    assert!(last.contains("\"error\"") && !reply.text().contains("[DONE]"), "{}", reply.text());
    let line = line(&keymux).await;
    assert_eq!((&line["attempts"], &line["end"]), (&json!(2), &json!("cut")));
}

#[tokio::test]
async fn a_providers_only_key_is_asked_once_more() {
    let events = chat_events(&WORDS);
    let (bad, good) = (cut(sse(&events, PACE), 2, Step::Close), sse(&events, PACE));
    let upstream =
        Upstream::start(move |r| if r.number == 0 { bad.clone() } else { good.clone() }).await;
    let route = "[routes.r]\ntargets = [{ model = \"main/m\" }]\nrescue = \"hold\"\n".to_owned();
    // The broken attempt has given its place back by then.
    let keys = [key("a", "max_concurrent = 1")];
    let keymux =
        Keymux::start(&config("", &[provider("main", &upstream, "", &keys), route]), &[]).await;
    assert_eq!(ask(&keymux).await.text().replace(": keymux\n\n", ""), events.concat());
}

#[tokio::test]
async fn a_failure_before_the_first_event_is_a_real_status_also_when_streams_are_held() {
    let upstream = Upstream::always(common::upstream::answer(400, &[], b"{}")).await;
    let reply = ask(&keymux(&upstream, "rescue = \"hold\"").await).await;
    assert_eq!((reply.status(), reply.text()), (400, "{}".to_owned()));
}

#[tokio::test]
async fn a_caller_that_leaves_a_held_stream_takes_the_provider_along() {
    let events = chat_events(&WORDS);
    let upstream =
        two(cut(sse(&events, PACE), 2, Step::Close), cut(sse(&events, PACE), 1, Step::Hang)).await;
    let keymux = keymux(&upstream, "rescue = \"hold\"").await;
    let mut caller = begin(&keymux).await;
    caller.head().await.unwrap();
    upstream.request(1).await;
    sleep(Duration::from_millis(100)).await;
    let gone = Instant::now();
    drop(caller);
    let left = upstream.left(1).await;
    assert!(left - gone < Duration::from_millis(100), "{:?}", left - gone);
    assert_eq!(line(&keymux).await["end"], "caller_gone");
}

#[tokio::test]
async fn more_than_can_be_held_is_delivered_as_it_comes() {
    let word = "x".repeat(1 << 20);
    let mut steps = sse(&vec![chat_events(&[&word])[0].clone(); 18], Duration::ZERO);
    steps.pop();
    steps.push(Step::Hang);
    let upstream = Upstream::always(steps).await;
    let keymux = keymux(&upstream, "rescue = \"hold\"").await;
    let mut caller = begin(&keymux).await;
    let mut framing = Framing::of_answer(&caller.head().await.unwrap());
    let mut come = 0;
    while come < 18 << 20 {
        match caller.piece(&mut framing).await {
            Piece::Bytes(bytes) => come += bytes.len(),
            end => panic!("{end:?} after {come}"),
        }
    }
}

#[tokio::test]
async fn a_late_first_token_moves_to_the_next_key() {
    let events = chat_events(&WORDS);
    // The head is there at once, which is no token.
    let mut late = sse(&events, PACE);
    late[1] = Step::Pause(Duration::from_secs(20));
    let upstream = two(late, sse(&events, PACE)).await;
    let keymux = keymux(&upstream, "first_token = \"300ms\"").await;
    let start = Instant::now();
    let reply = ask(&keymux).await;
    assert_eq!(reply.text(), events.concat());
    assert_eq!(
        (reply.header("x-keymux-key"), reply.header("x-keymux-attempts")),
        (Some("b"), Some("2"))
    );
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    let left = upstream.left(0).await;
    assert!(left - start < Duration::from_millis(600), "{:?}", left - start);
    // It was slow once, and is asked again.
    ask(&keymux).await;
    assert!(carries(&upstream.request(2).await, "a"));
}

#[tokio::test]
async fn a_broken_stream_is_gone_on_with_and_no_character_is_doubled() {
    let first = chat_events(&WORDS);
    let second = chat_events(&["one t", "wo th", "ree four"]);
    for cut_at in 1..=4 {
        let upstream = two(cut(sse(&first, PACE), cut_at, Step::Close), sse(&second, PACE)).await;
        let keymux = keymux(&upstream, "rescue = \"resume\"").await;
        let reply = ask(&keymux).await;
        let (said, last) = text(&reply);
        assert_eq!((said, last.as_str()), (WORDS.concat(), "[DONE]"), "{}", reply.text());
        assert!(reply.complete && reply.body.starts_with(first[0].as_bytes()));
        let line = line(&keymux).await;
        let told = (&line["attempts"], &line["rescued"], &line["key"], &line["end"]);
        assert_eq!(told, (&json!(2), &json!(1), &json!("b"), &json!("complete")));
        assert_eq!(line["bytes_out"], reply.body.len());
    }
}

#[tokio::test]
async fn events_come_as_they_are_made_when_a_stream_may_be_resumed() {
    let events = chat_events(&WORDS);
    let pace = Duration::from_millis(200);
    let upstream = Upstream::always(sse(&events, pace)).await;
    let keymux = keymux(&upstream, "rescue = \"resume\"").await;
    let mut caller = begin(&keymux).await;
    let mut framing = Framing::of_answer(&caller.head().await.unwrap());
    for event in &events {
        let bytes = http::within(pace * 2, "the event", caller.piece(&mut framing)).await;
        assert_eq!(bytes, Piece::Bytes(event.clone().into_bytes()));
    }
    assert_eq!(caller.piece(&mut framing).await, Piece::End);
}

#[tokio::test]
async fn another_answer_is_not_gone_on_with() {
    let first = chat_events(&WORDS);
    let other = chat_events(&["one ", "and ", "only"]);
    let upstream = two(cut(sse(&first, PACE), 2, Step::Close), sse(&other, PACE)).await;
    let keymux = keymux(&upstream, "rescue = \"resume\"").await;
    let reply = ask(&keymux).await;
    let (said, last) = text(&reply);
    assert_eq!((said.as_str(), reply.complete), ("one two ", true), "{}", reply.text());
    assert!(last.contains("\"error\""), "{last}");
    assert!(!reply.text().contains("[DONE]") && !reply.text().contains("stop"), "{}", reply.text());
    assert_eq!(line(&keymux).await["end"], "cut");
}

#[tokio::test]
async fn when_every_attempt_breaks_what_they_said_together_ends_with_an_error() {
    let events = chat_events(&WORDS);
    let upstream =
        two(cut(sse(&events, PACE), 1, Step::Close), cut(sse(&events, PACE), 3, Step::Reset)).await;
    let reply = ask(&keymux(&upstream, "rescue = \"resume\"").await).await;
    let (said, last) = text(&reply);
    assert_eq!(said, "one two three ", "the second went on where the first broke");
    assert!(last.contains("\"error\"") && reply.complete, "{}", reply.text());
}

#[tokio::test]
async fn a_caller_that_leaves_between_two_attempts_takes_the_provider_along() {
    let events = chat_events(&WORDS);
    let upstream = two(cut(sse(&events, PACE), 2, Step::Close), vec![Step::Hang]).await;
    let keymux = keymux(&upstream, "rescue = \"resume\"").await;
    let mut caller = begin(&keymux).await;
    caller.head().await.unwrap();
    upstream.request(1).await;
    sleep(Duration::from_millis(50)).await;
    let gone = Instant::now();
    drop(caller);
    let left = upstream.left(1).await;
    assert!(left - gone < Duration::from_millis(100), "{:?}", left - gone);
    let line = line(&keymux).await;
    assert_eq!((&line["end"], &line["attempts"]), (&json!("caller_gone"), &json!(2)));
}

#[tokio::test]
async fn the_total_time_covers_the_attempts_of_a_rescue() {
    let events = chat_events(&WORDS);
    let upstream = two(cut(sse(&events, PACE), 2, Step::Close), vec![Step::Hang]).await;
    for mode in ["hold", "resume"] {
        let route = format!("rescue = \"{mode}\"\ntimeouts = {{ total = \"600ms\" }}");
        let keymux = keymux(&upstream, &route).await;
        let start = Instant::now();
        let reply = ask(&keymux).await;
        assert!(text(&reply).1.contains("\"error\""), "{}", reply.text());
        assert!(start.elapsed() < Duration::from_millis(1500), "{:?}", start.elapsed());
    }
}

#[tokio::test]
async fn the_end_of_the_drain_time_ends_a_rescue_with_an_error() {
    let events = chat_events(&WORDS);
    for mode in ["hold", "resume"] {
        for b in [vec![Step::Hang], cut(sse(&events, PACE), 1, Step::Hang)] {
            let upstream = two(cut(sse(&events, PACE), 2, Step::Close), b).await;
            let keys = [key("a", "weight = 1"), key("b", "weight = 0")];
            let route =
                format!("[routes.r]\ntargets = [{{ model = \"main/m\" }}]\nrescue = \"{mode}\"\n");
            let parts = [provider("main", &upstream, "", &keys), route];
            let keymux = Keymux::start(&config("drain_timeout = \"200ms\"", &parts), &[]).await;
            let mut caller = begin(&keymux).await;
            let mut framing = Framing::of_answer(&caller.head().await.unwrap());
            upstream.request(1).await;
            keymux.signal(rustix::process::Signal::TERM);
            let mut body = Vec::new();
            while let Piece::Bytes(bytes) = caller.piece(&mut framing).await {
                body.extend(bytes);
            }
            let body = String::from_utf8(body).unwrap();
            assert!(body.contains("the gateway is stopping") && !body.contains("[DONE]"), "{body}");
            assert_eq!(line(&keymux).await["end"], "stopped");
        }
    }
}

#[tokio::test]
async fn what_cannot_be_resumed_ends_as_any_stream_does() {
    let event =
        |kind: &str| format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"delta\":\"a\"}}\n\n");
    let events = [event("response.created"), event("response.output_text.delta")];
    let upstream = Upstream::always(cut(sse(&events, PACE), 2, Step::Close)).await;
    let keymux = keymux(&upstream, "rescue = \"resume\"").await;
    let body = json!({"model": "r", "stream": true});
    let reply = http::post(keymux.address(), "/v1/responses", &[], &body).await;
    assert!(reply.text().starts_with(&events.concat()) && reply.text().contains("response.failed"));
    assert_eq!(upstream.requests().len(), 1);
}
