//! State that survives a reload: streams, cooldowns, counters, connections.

use std::time::Duration;

use serde_json::json;

use crate::common::http::{self, Connection, Framing, Piece, json_request, sse_data};
use crate::common::keymux::Keymux;
use crate::common::upstream::{Received, Step, Upstream, answer, chat_answer, chat_events, sse};
use crate::{BASE, ask, chat, expect_reloads, metric};

/// A key: name and value.
type Pair<'a> = (&'a str, &'a str);

fn config(upstream: &Upstream, keys: &[Pair<'_>]) -> String {
    let key = |(name, value): &Pair<'_>| {
        format!("[[providers.up.keys]]\nname = \"{name}\"\nvalue = {{ value = \"{value}\" }}\n")
    };
    let keys: Vec<String> = keys.iter().map(key).collect();
    let provider = "[providers.up]\nkind = \"openai-compatible\"\nbase_url";
    format!("{BASE}\n{provider} = \"{}/v1\"\n{}", upstream.url(), keys.concat())
}

/// Returns the API key of a request.
fn shown(request: &Received) -> String {
    request.header("authorization").unwrap().trim_start_matches("Bearer ").to_owned()
}

#[tokio::test]
async fn a_running_stream_finishes_on_the_old_configuration() {
    let events = chat_events(&["a"; 20]);
    let upstream = Upstream::start({
        let events = events.clone();
        move |request| match shown(request).as_str() {
            "sk-old" => sse(&events, Duration::from_millis(40)),
            _ => chat_answer("hello"),
        }
    })
    .await;
    let keymux = Keymux::start(&config(&upstream, &[("old", "sk-old")]), &[]).await;
    let mut caller = Connection::open(keymux.address()).await;
    let mut body = chat("up/m");
    body["stream"] = json!(true);
    caller.send(&json_request("/v1/chat/completions", &[], &body)).await;
    let head = caller.head().await.unwrap();
    assert_eq!((head.status(), head.header("x-keymux-key")), (200, Some("old")));
    let mut framing = Framing::of_answer(&head);
    let Piece::Bytes(mut begun) = caller.piece(&mut framing).await else {
        panic!("no first event")
    };

    keymux.rewrite(&config(&upstream, &[("new", "sk-new")]));
    expect_reloads(&keymux, (1, 0)).await;
    assert!(sse_data(&begun).len() < events.len() / 2, "the change came in the middle");
    // The old key was removed and gets no new request.
    for _ in 0..10 {
        let reply = ask(&keymux, "up/m").await;
        assert_eq!((reply.status(), reply.header("x-keymux-key")), (200, Some("new")));
    }
    let (rest, complete) = caller.body(framing).await;
    begun.extend(rest);
    assert!(complete);
    assert_eq!(String::from_utf8(begun).unwrap(), events.concat());
    assert_eq!(upstream.requests().iter().filter(|request| shown(request) == "sk-old").count(), 1);
    // The next request on the same connection uses the new file.
    caller.send(&json_request("/v1/chat/completions", &[], &chat("up/m"))).await;
    assert_eq!(caller.reply().await.header("x-keymux-key"), Some("new"));
}

#[tokio::test]
async fn a_cooldown_survives_while_the_key_is_the_same() {
    let upstream = Upstream::start(|request| match shown(request).as_str() {
        "sk-tired" => answer(429, &[("retry-after", "600")], b"{}"),
        _ => chat_answer("hello"),
    })
    .await;
    let (tired, spare) = (("tired", "sk-tired"), ("spare", "sk-spare"));
    let keymux = Keymux::start(&config(&upstream, &[tired, spare]), &[]).await;
    let attempts_at = |value: &'static str| {
        upstream.requests().iter().filter(|request| shown(request) == value).count()
    };
    let ask_often = async || {
        for _ in 0..8 {
            let reply = ask(&keymux, "up/m").await;
            assert_eq!((reply.status(), reply.header("x-keymux-key")), (200, Some("spare")));
        }
    };
    ask_often().await;
    assert_eq!(attempts_at("sk-tired"), 1);
    // With another position, another weight and another key beside it, it is the same key.
    let next = config(&upstream, &[spare, ("more", "sk-more"), tired])
        .replace("\"more\"", "\"more\"\nweight = 0")
        .replace("\"tired\"", "\"tired\"\nweight = 5");
    keymux.rewrite(&next);
    expect_reloads(&keymux, (1, 0)).await;
    ask_often().await;
    assert_eq!(attempts_at("sk-tired"), 1);

    // With another secret it is another key, without a cooldown.
    keymux.rewrite(&config(&upstream, &[("tired", "sk-rested"), ("spare", "sk-spare")]));
    expect_reloads(&keymux, (2, 0)).await;
    for _ in 0..8 {
        assert_eq!(ask(&keymux, "up/m").await.header("x-keymux-attempts"), Some("1"));
    }
    assert!(attempts_at("sk-rested") >= 2, "it shares the traffic again");
    assert_eq!(attempts_at("sk-tired"), 1);
}

#[tokio::test]
async fn counters_and_connections_survive() {
    let upstream = Upstream::start(|_| chat_answer("hello")).await;
    let keymux = Keymux::start(&config(&upstream, &[("a", "sk-a")]), &[]).await;
    let mut caller = Connection::open(keymux.address()).await;
    for round in 0..4 {
        let other = format!("sk-other-{round}");
        keymux.rewrite(&config(&upstream, &[("a", "sk-a"), ("b", &other)]));
        expect_reloads(&keymux, (round + 1, 0)).await;
        for _ in 0..6 {
            caller.send(&json_request("/v1/chat/completions", &[], &chat("up/m"))).await;
            assert_eq!(caller.reply().await.status(), 200);
        }
    }
    assert_eq!(upstream.connections(), 1, "one pool for all configurations");
    // A request is counted when the last byte of its response was sent.
    let counted = |text: &str| {
        let of = |key: &str| {
            let labels = format!("{{provider=\"up\",key=\"{key}\",class=\"ok\"}}");
            metric(text, &format!("keymux_attempts_total{labels}")).unwrap_or(0)
        };
        (of("a"), of("b"))
    };
    let text = keymux.admin("/metrics").await.text();
    let (a, b) = counted(&text);
    assert!(a + b == 24 && a.abs_diff(b) <= 6, "{a} and {b}: {text}");
}

#[tokio::test]
async fn counters_of_removed_names_are_removed() {
    let upstream = Upstream::start(|_| chat_answer("hello")).await;
    let before = [("a", "sk-a"), ("gone", "sk-gone")];
    let client = |name: &str| format!("[[clients]]\nname = \"{name}\"\nkey = \"ck-{name}-0123\"\n");
    let file = |clients: [&str; 2], keys: &[Pair<'_>]| {
        config(&upstream, keys) + &clients.map(client).concat()
    };
    let keymux = Keymux::start(&file(["one", "left"], &before), &[]).await;
    for name in ["one", "left", "one", "left"] {
        let authorization = format!("Bearer ck-{name}-0123");
        let headers = [("authorization", authorization.as_str())];
        let path = "/v1/chat/completions";
        let reply = http::post(keymux.address(), path, &headers, &chat("up/m")).await;
        assert_eq!(reply.status(), 200);
    }
    keymux.rewrite(&file(["one", "new"], &before[..1]));
    expect_reloads(&keymux, (1, 0)).await;
    let text = keymux.admin("/metrics").await.text();
    assert!(!text.contains("\"gone\"") && !text.contains("\"left\""), "{text}");
    let one = "keymux_requests_total{operation=\"chat\",status=\"200\",client=\"one\"}";
    assert_eq!(metric(&text, one), Some(2), "{text}");
    assert!(text.contains("key=\"a\""), "{text}");
}

/// A client's connection belongs to the process, not to a configuration.
#[tokio::test]
async fn a_reload_does_not_disturb_a_waiting_request() {
    let upstream = Upstream::start(|request| match shown(request).as_str() {
        "sk-slow" => [vec![Step::Pause(Duration::from_millis(600))], chat_answer("late")].concat(),
        _ => chat_answer("hello"),
    })
    .await;
    let keymux = Keymux::start(&config(&upstream, &[("slow", "sk-slow")]), &[]).await;
    let change = async {
        upstream.request(0).await;
        keymux.rewrite(&config(&upstream, &[("new", "sk-new")]));
        expect_reloads(&keymux, (1, 0)).await;
        ask(&keymux, "up/m").await
    };
    let body = chat("up/m");
    let wait = http::post(keymux.address(), "/v1/chat/completions", &[], &body);
    let (late, new) = tokio::join!(wait, change);
    assert_eq!((late.status(), late.header("x-keymux-key")), (200, Some("slow")));
    assert_eq!((new.status(), new.header("x-keymux-key")), (200, Some("new")));
}
