//! The key of each turn of a conversation, tested with a caller and a provider around the process.

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

/// Returns a conversation after this many answers, with a system text of this length.
fn conversation(name: &str, system: usize, answers: usize) -> Value {
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

async fn send_chat(keymux: &Keymux, headers: &[(&str, &str)], body: &Value) -> String {
    key_of(&http::post(keymux.address(), CHAT, headers, body).await)
}

/// Sends the requests over one connection and returns their number per key.
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
async fn a_long_conversation_keeps_its_key_also_across_a_reload() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keymux = Keymux::start(&file(&upstream, "", &THREE_TO_ONE), &[]).await;
    let mut preferred_keys = BTreeMap::new();
    for name in ["Ann", "Bob", "Cy", "Dee", "Eve", "Flo", "Gus", "Hal"] {
        let preferred = send_chat(&keymux, &[], &conversation(name, 4200, 0)).await;
        for answers in 1..6 {
            assert_eq!(
                send_chat(&keymux, &[], &conversation(name, 4200, answers)).await,
                preferred,
                "{name}"
            );
        }
        preferred_keys.insert(name, preferred);
    }
    assert!(preferred_keys.values().any(|preferred| preferred == "light"), "{preferred_keys:?}");
    assert!(preferred_keys.values().any(|preferred| preferred == "heavy"), "{preferred_keys:?}");
    let [heavy, light] = THREE_TO_ONE;
    keymux.rewrite(&keymux.fill_in(&file(&upstream, "", &[("idle", 0), light, heavy])));
    keymux.log_with("configuration reloaded").await;
    for (name, preferred) in preferred_keys {
        for answers in 6..10 {
            assert_eq!(
                send_chat(&keymux, &[], &conversation(name, 4200, answers)).await,
                preferred,
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn short_requests_follow_the_weights_exactly() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keymux = Keymux::start(&file(&upstream, "", &THREE_TO_ONE), &[]).await;
    let exact = BTreeMap::from([("heavy".to_owned(), 150), ("light".to_owned(), 50)]);
    let same = counts(&keymux, (0..200).map(|_| conversation("Ann", 10, 0))).await;
    assert_eq!(same, exact);
    let long = counts(&keymux, (0..30).map(|_| conversation("Ann", 5000, 0))).await;
    assert_eq!(long.len(), 1, "one conversation");
    let others = counts(&keymux, (0..200).map(|n| conversation(&n.to_string(), 3000, n % 3))).await;
    let heavy = others["heavy"];
    assert!(heavy.abs_diff(150) <= 1, "{others:?}: requests with affinity take no turn");
}

#[tokio::test]
async fn many_conversations_share_the_keys_by_weight() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keymux = Keymux::start(&file(&upstream, "", &THREE_TO_ONE), &[]).await;
    let counts = counts(&keymux, (0..600).map(|n| conversation(&n.to_string(), 4200, 0))).await;
    // 600 draws with probability 3/4: 450 expected, with a standard deviation of 10.6.
    assert!((405..=495).contains(&counts["heavy"]), "{counts:?}");
}

#[tokio::test]
async fn a_throttled_conversation_moves_and_returns() {
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
    let preferred = send_chat(&keymux, &[], &conversation("Ann", 4200, 0)).await;
    let switch = &throttles[usize::from(preferred == "heavy")];
    switch.store(true, Ordering::Relaxed);
    let reply = http::post(keymux.address(), CHAT, &[], &conversation("Ann", 4200, 1)).await;
    assert_eq!(reply.header("x-keymux-attempts"), Some("2"));
    assert_ne!(key_of(&reply), preferred);
    switch.store(false, Ordering::Relaxed);
    assert_ne!(
        send_chat(&keymux, &[], &conversation("Ann", 4200, 2)).await,
        preferred,
        "still cooling down"
    );
    sleep(Duration::from_millis(1800)).await;
    for answers in 3..6 {
        assert_eq!(send_chat(&keymux, &[], &conversation("Ann", 4200, answers)).await, preferred);
    }
}

#[tokio::test]
async fn sessions_keep_their_key_only_with_session_affinity() {
    let upstream = Upstream::always(chat_answer("hello")).await;
    let keeps_key =
        async |settings: &str, headers: &[(&str, &str)], body: &dyn Fn(usize) -> Value| {
            let keymux = Keymux::start(&file(&upstream, settings, &THREE_TO_ONE), &[]).await;
            let mut keys = Vec::new();
            for turn in 0..8 {
                keys.push(send_chat(&keymux, headers, &body(turn)).await);
            }
            keys.iter().all(|key| *key == keys[0])
        };
    let short = |turn: usize| conversation(&turn.to_string(), 10, 0);
    let long = |turn: usize| conversation(&turn.to_string(), 4200, 0);
    let keyed = |turn: usize| {
        let mut body = conversation(&turn.to_string(), 10, 0);
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
        assert!(keeps_key(session, &[(header, "one")], &short).await, "{header}");
    }
    let named = [("x-session-id", "one")];
    assert!(keeps_key(session, &[], &keyed).await);
    assert!(!keeps_key(session, &[], &short).await, "no session");
    assert!(!keeps_key("", &named, &short).await, "short requests follow the weights");
    assert!(keeps_key("", &named, &long).await, "one session with different first turns");
    assert!(
        !keeps_key(r#"affinity = "none""#, &named, &|turn| conversation("Ann", 4200, turn)).await
    );
}

/// Returns a signature that depends on the key, as a provider makes it.
fn signature(request: &Received) -> String {
    let key = request.header("authorization").unwrap_or_default().replace("Bearer ", "");
    format!("{key}{}0123456789abcdefghijklmnopqrstuvwxyz+/==", request.number)
}

#[tokio::test]
async fn encrypted_reasoning_returns_to_the_key_that_made_it() {
    let upstream = Upstream::start(|request| {
        let item =
            json!({"type": "reasoning", "id": "rs_1", "encrypted_content": signature(request)});
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
    let mut counts = BTreeMap::new();
    for round in 0..24 {
        if round == 12 {
            let [heavy, light] = THREE_TO_ONE;
            keymux.rewrite(&keymux.fill_in(&file(&upstream, "", &[light, heavy])));
            keymux.log_with("configuration reloaded").await;
        }
        // These requests are short, so the first turn goes to any key although all have the same text.
        let mut input = vec![json!({"role": "user", "content": "Why?"})];
        let body = json!({"model": "m", "stream": round % 2 == 0, "input": input});
        let first = http::post(keymux.address(), "/v1/responses", &[], &body).await;
        let preferred = key_of(&first);
        let text = first.text();
        let (_, encrypted) = text.split_once("\"encrypted_content\":\"").unwrap();
        let encrypted = encrypted.split('"').next().unwrap();
        input.push(json!({"type": "reasoning", "encrypted_content": encrypted}));
        input.push(json!({"role": "user", "content": "And why that?"}));
        let body = json!({"model": "m", "input": input});
        for _ in 0..2 {
            let next = http::post(keymux.address(), "/v1/responses", &[], &body).await;
            assert_eq!(key_of(&next), preferred, "round {round}");
        }
        *counts.entry(preferred).or_insert(0_u32) += 1;
    }
    assert!(counts["heavy"].abs_diff(18) <= 1, "the first turns follow the weights: {counts:?}");
}
