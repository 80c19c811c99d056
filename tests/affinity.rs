//! Which key a conversation goes to from turn to turn, seen from both sides of the program.

#![allow(clippy::unwrap_used, reason = "so a test fails")]

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::config::{config, key, provider, secret};
use common::http::{self, Connection, Reply};
use common::keymux::Keymux;
use common::upstream::{Received, Upstream, answer, chat_answer, json_answer, sse};
use serde_json::{Value, json};
use tokio::time::sleep;

const CHAT: &str = "/v1/chat/completions";
const THREE_TO_ONE: [(&str, u32); 2] = [("heavy", 3), ("light", 1)];

fn file(upstream: &Upstream, settings: &str, keys: &[(&str, u32)]) -> String {
    let keys: Vec<String> =
        keys.iter().map(|(name, weight)| key(name, &format!("weight = {weight}"))).collect();
    config("", &[provider("main", upstream, settings, &keys)])
}

/// A conversation after this many answers, with a system text of this length.
fn talk(name: &str, system: usize, answers: usize) -> Value {
    let mut turns = vec![
        json!({"role": "system", "content": "s".repeat(system)}),
        json!({"role": "user", "content": format!("My name is {name}.")}),
    ];
    for answer in 0..answers {
        turns.push(json!({"role": "assistant", "content": format!("Answer {answer}.")}));
        turns.push(json!({"role": "user", "content": format!("Question {answer}?")}));
    }
    json!({"model": "m", "messages": turns})
}

fn key_of(reply: &Reply) -> String {
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply.header("x-keymux-key").unwrap().to_owned()
}

async fn ask(keymux: &Keymux, headers: &[(&str, &str)], body: &Value) -> String {
    key_of(&http::post(keymux.address(), CHAT, headers, body).await)
}

/// How many of these requests went to which key, over one connection.
async fn counts(keymux: &Keymux, bodies: impl Iterator<Item = Value>) -> BTreeMap<String, u32> {
    let mut caller = Connection::open(keymux.address()).await;
    let mut counts = BTreeMap::new();
    for body in bodies {
        caller.send(&http::json_request(CHAT, &[], &body)).await;
        *counts.entry(key_of(&caller.reply().await)).or_default() += 1;
    }
    counts
}

#[tokio::test]
async fn a_long_conversation_stays_with_its_key_also_over_a_reload() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keymux = Keymux::start(&file(&upstream, "", &THREE_TO_ONE), &[]).await;
    let mut homes = BTreeMap::new();
    for name in ["Ann", "Bob", "Cy", "Dee", "Eve", "Flo", "Gus", "Hal"] {
        let home = ask(&keymux, &[], &talk(name, 4200, 0)).await;
        for answers in 1..6 {
            assert_eq!(ask(&keymux, &[], &talk(name, 4200, answers)).await, home, "{name}");
        }
        homes.insert(name, home);
    }
    assert!(homes.values().any(|home| home == "light"), "{homes:?}");
    assert!(homes.values().any(|home| home == "heavy"), "{homes:?}");
    let [heavy, light] = THREE_TO_ONE;
    keymux.rewrite(&keymux.fill_in(&file(&upstream, "", &[("idle", 0), light, heavy])));
    keymux.log_with("configuration reloaded").await;
    for (name, home) in homes {
        for answers in 6..10 {
            assert_eq!(ask(&keymux, &[], &talk(name, 4200, answers)).await, home, "{name}");
        }
    }
}

#[tokio::test]
async fn short_requests_follow_the_weights_exactly_whatever_long_ones_do() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keymux = Keymux::start(&file(&upstream, "", &THREE_TO_ONE), &[]).await;
    let exact = BTreeMap::from([("heavy".to_owned(), 150), ("light".to_owned(), 50)]);
    let same = counts(&keymux, (0..200).map(|_| talk("Ann", 10, 0))).await;
    assert_eq!(same, exact);
    let long = counts(&keymux, (0..30).map(|_| talk("Ann", 5000, 0))).await;
    assert_eq!(long.len(), 1, "one conversation");
    let others = counts(&keymux, (0..200).map(|n| talk(&n.to_string(), 3000, n % 3))).await;
    let heavy = others["heavy"];
    assert!(heavy.abs_diff(150) <= 1, "{others:?}: no turn was taken by those that stay");
}

#[tokio::test]
async fn many_conversations_share_the_keys_by_weight() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keymux = Keymux::start(&file(&upstream, "", &THREE_TO_ONE), &[]).await;
    let counts = counts(&keymux, (0..600).map(|n| talk(&n.to_string(), 4200, 0))).await;
    // 600 throws of 3/4: 450, with a standard deviation of 10.6.
    assert!((405..=495).contains(&counts["heavy"]), "{counts:?}");
}

#[tokio::test]
async fn a_throttled_conversation_goes_elsewhere_and_comes_back() {
    let throttles: Arc<[AtomicBool; 2]> = Arc::default();
    let script = throttles.clone();
    let upstream = Upstream::start(move |request| {
        let heavy = request.header("authorization").unwrap().ends_with(&secret("heavy"));
        if script[usize::from(heavy)].load(Ordering::Relaxed) {
            answer(429, &[("retry-after-ms", "1500")], b"{}")
        } else {
            chat_answer("hello")
        }
    })
    .await;
    let keymux = Keymux::start(&file(&upstream, "", &THREE_TO_ONE), &[]).await;
    let home = ask(&keymux, &[], &talk("Ann", 4200, 0)).await;
    let switch = &throttles[usize::from(home == "heavy")];
    switch.store(true, Ordering::Relaxed);
    let reply = http::post(keymux.address(), CHAT, &[], &talk("Ann", 4200, 1)).await;
    assert_eq!(reply.header("x-keymux-attempts"), Some("2"));
    assert_ne!(key_of(&reply), home);
    switch.store(false, Ordering::Relaxed);
    assert_ne!(ask(&keymux, &[], &talk("Ann", 4200, 2)).await, home, "it still rests");
    sleep(Duration::from_millis(1800)).await;
    for answers in 3..6 {
        assert_eq!(ask(&keymux, &[], &talk("Ann", 4200, answers)).await, home);
    }
}

#[tokio::test]
async fn sessions_stay_only_where_they_are_told_to() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let stays = async |settings: &str, headers: &[(&str, &str)], body: &dyn Fn(usize) -> Value| {
        let keymux = Keymux::start(&file(&upstream, settings, &THREE_TO_ONE), &[]).await;
        let mut keys = Vec::new();
        for turn in 0..8 {
            keys.push(ask(&keymux, headers, &body(turn)).await);
        }
        keys.iter().all(|key| *key == keys[0])
    };
    let short = |turn: usize| talk(&turn.to_string(), 10, 0);
    let long = |turn: usize| talk(&turn.to_string(), 4200, 0);
    let keyed = |turn: usize| {
        let mut body = talk(&turn.to_string(), 10, 0);
        body["prompt_cache_key"] = json!("one");
        body
    };
    let session = r#"affinity = "session""#;
    for header in [
        "x-claude-code-session-id",
        "session-id",
        "session_id",
        "x-session-id",
        "x-session-affinity",
    ] {
        assert!(stays(session, &[(header, "one")], &short).await, "{header}");
    }
    let named = [("x-session-id", "one")];
    assert!(stays(session, &[], &keyed).await);
    assert!(!stays(session, &[], &short).await, "no session");
    assert!(!stays("", &named, &short).await, "short, so by weight");
    assert!(stays("", &named, &long).await, "one session, whatever its first turn");
    assert!(!stays(r#"affinity = "none""#, &named, &|turn| talk("Ann", 4200, turn)).await);
}

/// A seal for each key, as the provider would make it.
fn seal(request: &Received) -> String {
    let sealed = request.header("authorization").unwrap_or_default().replace("Bearer ", "");
    format!("{sealed}{}0123456789abcdefghijklmnopqrstuvwxyz+/==", request.number)
}

#[tokio::test]
async fn encrypted_reasoning_goes_back_to_the_key_that_made_it() {
    let upstream = Upstream::start(|request| {
        let item = json!({"type": "reasoning", "id": "rs_1", "encrypted_content": seal(request)});
        if request.json()["stream"] == true {
            let done = json!({"type": "response.output_item.done", "item": item});
            let end = json!({"type": "response.completed", "response": {"output": [item]}});
            let events = [done, end].map(|event| {
                format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap())
            });
            return sse(&events, Duration::ZERO);
        }
        json_answer(200, &json!({"id": "resp_1", "object": "response", "output": [item]}))
    })
    .await;
    let keymux = Keymux::start(&file(&upstream, "", &THREE_TO_ONE), &[]).await;
    let mut seen = BTreeMap::new();
    for round in 0..24 {
        if round == 12 {
            let [heavy, light] = THREE_TO_ONE;
            keymux.rewrite(&keymux.fill_in(&file(&upstream, "", &[light, heavy])));
            keymux.log_with("configuration reloaded").await;
        }
        // Conversations that begin in the same words go to any key, as short requests do.
        let mut input = vec![json!({"role": "user", "content": "Why?"})];
        let body = json!({"model": "m", "stream": round % 2 == 0, "input": input});
        let first = http::post(keymux.address(), "/v1/responses", &[], &body).await;
        let home = key_of(&first);
        let text = first.text();
        let (_, sealed) = text.split_once("\"encrypted_content\":\"").unwrap();
        let sealed = sealed.split('"').next().unwrap();
        input.push(json!({"type": "reasoning", "encrypted_content": sealed}));
        input.push(json!({"role": "user", "content": "And why that?"}));
        let body = json!({"model": "m", "input": input});
        for _ in 0..2 {
            let next = http::post(keymux.address(), "/v1/responses", &[], &body).await;
            assert_eq!(key_of(&next), home, "round {round}");
        }
        *seen.entry(home).or_insert(0_u32) += 1;
    }
    assert!(seen["heavy"].abs_diff(18) <= 1, "the first turns follow the weights: {seen:?}");
}
