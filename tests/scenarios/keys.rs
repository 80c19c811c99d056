//! Failures of one key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::*;
use crate::common::config::{keys_asked, name_of_key};
use crate::common::http::{Connection, json_request};

#[tokio::test]
async fn a_throttled_key_cools_down_for_retry_after() {
    let upstream = Upstream::start(|request| match name_of_key(request).as_str() {
        "a" if request.number < 2 => answer(429, &[("retry-after", "2")], b"{\"error\":{}}"),
        _ => chat_answer("hello"),
    })
    .await;
    // The first two requests go to `a`, at most once each, since `b` is on standby.
    let keymux = with_keys(&upstream, "", &[("a", ""), ("b", "weight = 0")]).await;
    let start = Instant::now();
    assert_eq!(told(&ask(&keymux, "m").await), (200, "main", "b", "2"));
    assert!(start.elapsed() < AT_ONCE, "{:?}", start.elapsed());
    while start.elapsed() < Duration::from_millis(1700) {
        assert_eq!(told(&ask(&keymux, "m").await), (200, "main", "b", "1"));
        sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(count(&keys_asked(&upstream), "a"), 1);
    // Two seconds and a tenth of jitter.
    sleep(Duration::from_millis(2300).saturating_sub(start.elapsed())).await;
    assert_eq!(told(&ask(&keymux, "m").await), (200, "main", "a", "1"));
}

#[tokio::test]
async fn a_revoked_key_costs_one_attempt_and_stays_out_after_a_reload() {
    let upstream = failing(&["a"], error(401, "invalid_api_key", "No such key.")).await;
    let keys = [("a", "weight = 9"), ("b", "")];
    let keymux = with_keys(&upstream, "", &keys).await;
    for _ in 0..10 {
        assert_eq!(ask(&keymux, "m").await.status(), 200);
    }
    keymux.rewrite(&with_keys_text(&upstream, "", &[("new", "weight = 0"), keys[1], keys[0]]));
    keymux.log_with("reloaded").await;
    for _ in 0..10 {
        assert_eq!(told(&ask(&keymux, "m").await), (200, "main", "b", "1"));
    }
    assert_eq!(count(&keys_asked(&upstream), "a"), 1);
    assert_eq!(state(&keymux, "a").await, ("cooling".into(), "bad_credential".into()));
}

#[tokio::test]
async fn a_key_without_credit_is_distinguished_from_a_throttled_one() {
    let body =
        br#"{"error":{"code":"insufficient_quota","message":"You exceeded your current quota."}}"#;
    let upstream = failing(&["a"], answer(429, &[("retry-after-ms", "100")], body)).await;
    let keymux = with_keys(&upstream, "", &[("a", "weight = 9"), ("b", "")]).await;
    assert_eq!(ask(&keymux, "m").await.status(), 200);
    sleep(Duration::from_millis(300)).await;
    for model in ["m", "another", "a-third"] {
        for _ in 0..5 {
            assert_eq!(told(&ask(&keymux, model).await), (200, "main", "b", "1"));
        }
    }
    assert!(count(&keys_asked(&upstream), "a") <= 1);
    assert_eq!(state(&keymux, "a").await, ("cooling".into(), "no_credit".into()));
}

#[tokio::test]
async fn a_key_without_the_model_serves_its_other_models() {
    let upstream = Upstream::start(|request| {
        if name_of_key(request) == "a" && request.json()["model"] == "new" {
            error(404, "model_not_found", "The model `new` does not exist.")
        } else {
            chat_answer("hello")
        }
    })
    .await;
    let keymux = with_keys(&upstream, "", &[("a", ""), ("b", "weight = 0")]).await;
    assert_eq!(told(&ask(&keymux, "new").await), (200, "main", "b", "2"));
    assert_eq!(told(&ask(&keymux, "new").await), (200, "main", "b", "1"));
    assert_eq!(told(&ask(&keymux, "old").await), (200, "main", "a", "1"));
}

#[tokio::test]
async fn a_recovered_key_gets_one_probe_and_then_its_share() {
    let ill = Arc::new(AtomicBool::new(true));
    let own = ill.clone();
    let upstream = Upstream::start(move |request| {
        if name_of_key(request) != "a" {
            chat_answer("hello")
        } else if own.load(Ordering::SeqCst) {
            throttled(1000)
        } else {
            // The probe is slow.
            [vec![Step::Pause(Duration::from_millis(300))], chat_answer("hello")].concat()
        }
    })
    .await;
    let keymux = with_keys(&upstream, "", &[("a", "weight = 3"), ("b", "")]).await;
    while count(&keys_asked(&upstream), "a") == 0 {
        assert_eq!(ask(&keymux, "m").await.status(), 200);
    }
    ill.store(false, Ordering::SeqCst);
    sleep(Duration::from_millis(1150)).await;
    let mut callers = JoinSet::new();
    for _ in 0..20 {
        let address = keymux.address();
        callers.spawn(async move { http::post(address, CHAT, &[], &chat("m", false)).await });
    }
    let served = callers.join_all().await;
    assert!(served.iter().all(|reply| reply.status() == 200));
    assert_eq!(count(&keys_asked(&upstream), "a"), 2, "the failure and one probe");
    // The shares follow the weights exactly again.
    let before = upstream.requests().len();
    for _ in 0..16 {
        assert_eq!(ask(&keymux, "m").await.status(), 200);
    }
    let asked = keys_asked(&upstream).split_off(before);
    assert_eq!((count(&asked, "a"), count(&asked, "b")), (12, 4), "{asked:?}");
}

#[tokio::test]
async fn while_a_key_cools_down_the_others_share_by_weight() {
    let upstream = failing(&["a"], throttled(60_000)).await;
    let keys = [("a", "weight = 6"), ("b", "weight = 3"), ("c", "weight = 1")];
    let keymux = with_keys(&upstream, "", &keys).await;
    while count(&keys_asked(&upstream), "a") == 0 {
        ask(&keymux, "m").await;
    }
    let before = upstream.requests().len();
    for _ in 0..40 {
        assert_eq!(ask(&keymux, "m").await.header("x-keymux-attempts"), Some("1"));
    }
    let asked = keys_asked(&upstream).split_off(before);
    let (of_b, of_c) = (count(&asked, "b"), count(&asked, "c"));
    assert!((29..=31).contains(&of_b) && of_b + of_c == 40, "{of_b} and {of_c}");
}

#[tokio::test]
async fn when_all_keys_cool_down_no_provider_is_called_and_retry_after_is_set() {
    let upstream = Upstream::always(throttled(5000)).await;
    let keymux = with_keys(&upstream, "", &[("a", ""), ("b", ""), ("c", "")]).await;
    // The last provider's own error.
    let reply = ask(&keymux, "m").await;
    assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (429, Some("3")));
    let mut caller = Connection::open(keymux.address()).await;
    let mut fastest = Duration::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        caller.send(&json_request(CHAT, &[], &chat("m", true))).await;
        let reply = caller.reply().await;
        fastest = fastest.min(start.elapsed());
        assert_eq!((reply.status(), reply.header("x-keymux-attempts")), (429, Some("0")));
        let after: u32 = reply.header("retry-after").unwrap().parse().unwrap();
        assert!((4..=6).contains(&after), "{after}");
        let message = reply.json()["error"]["message"].as_str().unwrap().to_owned();
        for key in ["main/a", "main/b", "main/c"] {
            assert!(message.contains(&format!("{key} is throttled")), "{message}");
        }
    }
    assert!(fastest < Duration::from_millis(5), "{fastest:?}");
    assert_eq!(upstream.requests().len(), 3);
}

#[tokio::test]
async fn a_reload_during_a_failover_keeps_its_keys() {
    let upstream = Upstream::start(|request| match name_of_key(request).as_str() {
        "a" => [vec![Step::Pause(Duration::from_millis(700))], throttled(60_000)].concat(),
        _ => chat_answer("hello"),
    })
    .await;
    let keymux = with_keys(&upstream, "", &[("a", ""), ("b", "weight = 0")]).await;
    let address = keymux.address();
    let asked =
        tokio::spawn(async move { http::post(address, CHAT, &[], &chat("m", false)).await });
    upstream.request(0).await;
    // `b` is removed and `c` added before `a` has sent anything.
    keymux.rewrite(&with_keys_text(&upstream, "", &[("c", "weight = 0"), ("a", "")]));
    keymux.log_with("reloaded").await;
    assert_eq!(told(&asked.await.unwrap()), (200, "main", "b", "2"), "the file it began with");
    // What a request of the old file learned about `a` applies in the new one.
    assert_eq!(told(&ask(&keymux, "m").await), (200, "main", "c", "1"));
    assert_eq!(keys_asked(&upstream), ["a", "b", "c"]);
}
