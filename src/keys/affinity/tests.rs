use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;
use crate::config::Key;
use crate::keys::health::Admission;
use crate::secret::Secret;
use crate::wire::failure::class::{Class, Failure};
use crate::wire::failure::rate_limits::{Left, Quota};

const CONVERSATIONS: u32 = 20_000;

fn pool(keys: &[(&str, f64)]) -> Vec<PooledKey> {
    let endpoint = Arc::new(crate::config::Endpoint {
        scheme: http::uri::Scheme::HTTP,
        authority: http::uri::Authority::from_static("localhost"),
        prefix: String::new(),
    });
    let pooled = |(name, weight): &(&str, f64)| {
        let fingerprint = Secret::new((*name).to_owned()).fingerprint();
        let key =
            Key { fingerprint, weight: *weight, ..Key::new("p".into(), name, endpoint.clone()) };
        PooledKey::new(Arc::new(key))
    };
    keys.iter().map(pooled).collect()
}

/// Returns the name of the key that a conversation prefers.
fn preferred(keys: &[PooledKey], conversation: u32, now: Instant) -> Option<&str> {
    let usable: Vec<_> = keys
        .iter()
        .enumerate()
        .map(|(index, key)| (index, key.health.state("m", now)))
        .filter(|(_, state)| state.is_usable())
        .collect();
    let affinity_keys =
        AffinityKeys { conversation: Some(conversation.into()), signatures: Vec::new() };
    preferred_key(keys, &SignatureOwners::default(), &usable, &affinity_keys, "m", now)
        .map(|index| &*keys[index].key.name)
}

#[test]
fn shares_follow_the_weights_over_many_conversations() {
    for keys in [
        &[("a", 1.0), ("b", 1.0)][..],
        &[("a", 3.0), ("b", 1.0)],
        &[("a", 0.5), ("b", 2.0), ("c", 7.5), ("d", 90.0)],
    ] {
        let pooled = pool(keys);
        let total: f64 = keys.iter().map(|(_, weight)| weight).sum();
        for (name, weight) in keys {
            let now = Instant::now();
            let count: u32 = (0..CONVERSATIONS)
                .map(|n| u32::from(preferred(&pooled, n, now) == Some(name)))
                .sum();
            let (share, conversations) = (weight / total, f64::from(CONVERSATIONS));
            let deviation = (f64::from(count) - conversations * share)
                / (conversations * share * (1.0 - share)).sqrt();
            assert!(
                deviation.abs() < 4.0,
                "{name} of {keys:?}: {count}, {deviation} standard deviations off"
            );
        }
    }
}

#[test]
fn removing_a_key_moves_only_its_conversations() {
    let (before, now) = (pool(&[("a", 3.0), ("b", 1.0), ("c", 2.0)]), Instant::now());
    let after = pool(&[("c", 2.0), ("a", 3.0)]);
    let mut moved = [0, 0];
    for conversation in 0..CONVERSATIONS {
        match (preferred(&before, conversation, now), preferred(&after, conversation, now)) {
            (Some("b"), Some("a")) => moved[0] += 1,
            (Some("b"), Some("c")) => moved[1] += 1,
            (one, other) => assert_eq!(one, other, "unchanged in another order, without b"),
        }
    }
    let to_a = f64::from(moved[0]) / f64::from(moved[0] + moved[1]);
    assert!((to_a - 0.6).abs() < 0.04, "moved conversations follow the weights: {moved:?}");
}

#[test]
fn more_weight_adds_conversations_and_removes_none() {
    let (before, now) = (pool(&[("a", 1.0), ("b", 1.0)]), Instant::now());
    let after = pool(&[("a", 1.0), ("b", 2.0)]);
    for conversation in 0..CONVERSATIONS {
        if preferred(&before, conversation, now) == Some("b") {
            assert_eq!(preferred(&after, conversation, now), Some("b"));
        }
    }
}

#[test]
fn a_conversation_leaves_a_key_that_is_cooling_down_and_returns() {
    let (keys, now) = (pool(&[("a", 1.0), ("b", 1.0), ("c", 1.0)]), Instant::now());
    let preferred_keys: Vec<_> = (0..1000).map(|n| preferred(&keys, n, now)).collect();
    let failure = Failure { class: Class::Throttled, retry_after: None };
    keys[0].health.record_failure("m", failure, Admission::default(), 1, now);
    for (conversation, usual) in (0..).zip(&preferred_keys) {
        let current = preferred(&keys, conversation, now);
        assert!(current.is_some() && current != Some("a"));
        assert!(current == *usual || *usual == Some("a"), "other conversations stay");
    }
    let later = now + Duration::from_secs(60);
    let later_keys: Vec<_> = (0..1000).map(|n| preferred(&keys, n, later)).collect();
    assert_eq!(later_keys, preferred_keys);
}

#[test]
fn no_conversation_prefers_a_standby_key() {
    let (keys, now) = (pool(&[("standby", 0.0), ("a", 1.0), ("b", 0.001)]), Instant::now());
    assert!((0..CONVERSATIONS).all(|n| preferred(&keys, n, now) != Some("standby")));
    let (keys, now) = (pool(&[("standby", 0.0), ("spare", 0.0)]), Instant::now());
    assert_eq!(preferred(&keys, 1, now), None, "the order of the file decides among standby keys");
}

#[test]
fn reported_limits_move_a_conversation_only_from_an_exhausted_key() {
    let (keys, now) = (pool(&[("a", 1.0), ("b", 1.0), ("standby", 0.0)]), Instant::now());
    let of_a = (0..1000).find(|n| preferred(&keys, *n, now) == Some("a")).expect("one of them");
    let report = |index: usize, remaining| {
        let left = Left { remaining, limit: None, reset: Duration::from_secs(30) };
        let quota = Quota { tokens: Some(left), ..Quota::default() };
        keys[index].reported_limits.update("m", quota, now);
    };
    report(0, 1);
    assert_eq!(preferred(&keys, of_a, now), Some("a"), "one token left");
    report(0, 0);
    assert_eq!(preferred(&keys, of_a, now), Some("b"));
    assert_eq!(preferred(&keys, of_a, now + Duration::from_secs(30)), Some("a"), "after the reset");
    report(1, 0);
    assert_eq!(preferred(&keys, of_a, now), None, "the standby key serves, without affinity");
    report(2, 0);
    assert_eq!(preferred(&keys, of_a, now), Some("a"), "all are exhausted");
}

#[test]
fn a_signature_leads_to_the_key_that_made_it() {
    let (keys, owners) = (pool(&[("a", 1.0), ("b", 0.0)]), SignatureOwners::default());
    owners.insert(7, keys[1].id);
    let (usable, now) = ([(0, KeyState::Available), (1, KeyState::Available)], Instant::now());
    let preferred = |signatures: &[u64], usable: &[_]| {
        let affinity_keys = AffinityKeys { conversation: Some(1), signatures: signatures.to_vec() };
        preferred_key(&keys, &owners, usable, &affinity_keys, "m", now)
    };
    assert_eq!(preferred(&[9, 7], &usable), Some(1), "also to a standby key");
    assert_eq!(preferred(&[9], &usable), Some(0), "unknown signature");
    assert_eq!(preferred(&[7], &usable[..1]), Some(0), "its key is not usable");
    let exhausted = Left { remaining: 0, limit: None, reset: Duration::from_secs(30) };
    keys[1].reported_limits.update(
        "m",
        Quota { requests: Some(exhausted), ..Quota::default() },
        now,
    );
    assert_eq!(preferred(&[7], &usable), Some(1), "whatever its reported limits");
}

#[test]
fn the_oldest_signatures_are_removed() {
    let owners = SignatureOwners::default();
    let signatures = 3 * MIN_REMEMBERED as u64;
    (0..signatures).for_each(|signature| owners.insert(signature, signature));
    let all = owners.0.lock().unwrap();
    assert!(all.new.len() + all.old.len() <= 2 * MIN_REMEMBERED);
    drop(all);
    assert_eq!(owners.find(&[0]), None);
    assert_eq!(
        owners.find(&[signatures - MIN_REMEMBERED as u64]),
        Some(signatures - MIN_REMEMBERED as u64)
    );
}
