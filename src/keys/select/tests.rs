use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use proptest::prelude::*;

use super::*;
use crate::config::{Endpoint, Pattern};
use crate::keys::health::Admission;
use crate::keys::state::Reason;
use crate::secret::Secret;
use crate::wire::failure::class::{Class, Failure};

fn key(name: &str, weight: f64) -> Key {
    let endpoint = Endpoint {
        scheme: Scheme::HTTP,
        authority: Authority::from_static("localhost"),
        prefix: String::new(),
    };
    let fingerprint = Secret::new(name.to_owned()).fingerprint();
    Key { fingerprint, weight, ..Key::new("p".into(), name, Arc::new(endpoint)) }
}

fn patterns(list: &[&str]) -> Vec<Pattern> {
    list.iter().map(|text| Pattern::new(text)).collect()
}

fn pooled(keys: Vec<Key>) -> Vec<PooledKey> {
    keys.into_iter().map(|key| PooledKey::new(Arc::new(key))).collect()
}

fn request<'a>(client: Option<&'a str>, model: &'a str) -> KeyRequest<'a> {
    KeyRequest { client, model, tokens: 1 }
}

struct TestPool {
    keys: Vec<PooledKey>,
    turns: TurnCounter,
    now: Instant,
}

impl TestPool {
    fn new(keys: Vec<Key>) -> Self {
        Self { keys: pooled(keys), turns: TurnCounter::default(), now: Instant::now() }
    }

    fn throttle(&self, index: usize) {
        self.throttle_with(index, "m");
    }

    /// Starts a cooldown of about ten seconds for the key with the model.
    fn throttle_with(&self, index: usize, model: &str) {
        let failure = Failure { class: Class::Throttled, retry_after: None };
        self.keys[index].health.record_failure(model, failure, Admission::default(), 1, self.now);
    }

    fn choose(&self, client: Option<&str>, model: &str, tried: &[usize]) -> Option<usize> {
        choose(&self.keys, request(client, model), tried, &self.turns, self.now, &|_| None)
    }
}

#[test]
fn blacklisted_models_win_over_models() {
    let key = Key {
        models: Some(patterns(&["gpt-4o*"])),
        blacklisted_models: patterns(&["*-realtime*"]),
        ..key("a", 1.0)
    };
    assert_eq!(eligibility(&key, None, "GPT-4o-mini"), Ok(ClientScope::AllClients));
    assert_eq!(eligibility(&key, None, "gpt-4o-realtime-preview"), Err(Ineligible::Blacklisted));
    assert_eq!(eligibility(&key, None, "o3"), Err(Ineligible::NotListed));
}

#[test]
fn keys_that_name_the_client_exclude_the_others() {
    let named = Key { clients: Some(vec!["staging".into()]), ..key("named", 0.001) };
    let pool = TestPool::new(vec![key("everyone", 1000.0), named]);
    for _ in 0..50 {
        assert_eq!(pool.choose(Some("staging"), "m", &[]), Some(1));
        assert_eq!(pool.choose(Some("prod"), "m", &[]), Some(0));
        assert_eq!(pool.choose(None, "m", &[]), Some(0));
    }
    assert_eq!(
        pool.choose(Some("staging"), "m", &[1]),
        None,
        "no fallback to keys for all clients"
    );
}

#[test]
fn a_standby_key_is_chosen_only_without_weighted_keys() {
    let pool = TestPool::new(vec![key("standby", 0.0), key("a", 1.0), key("b", 1.0)]);
    for _ in 0..50 {
        assert_ne!(pool.choose(None, "m", &[]), Some(0));
    }
    assert_eq!(pool.choose(None, "m", &[1, 2]), Some(0));
    pool.throttle(1);
    pool.throttle(2);
    assert_eq!(pool.choose(None, "m", &[]), Some(0));
}

#[test]
fn keys_that_are_cooling_down_are_not_chosen() {
    let pool = TestPool::new(vec![key("a", 1.0), key("b", 1.0)]);
    pool.throttle(0);
    for _ in 0..20 {
        assert_eq!(pool.choose(None, "m", &[]), Some(1));
    }
    assert!(pool.choose(None, "other", &[1]).is_some(), "throttling concerns one model");
    pool.throttle(1);
    assert_eq!(pool.choose(None, "m", &[]), None);
    let later = pool.now + Duration::from_secs(12);
    let chosen = choose(&pool.keys, request(None, "m"), &[], &pool.turns, later, &|_| None);
    assert!(chosen.is_some());
}

#[test]
fn eligible_keys_are_listed_with_their_states() {
    let named = Key { clients: Some(vec!["staging".into()]), ..key("named", 1.0) };
    let off = Key { enabled: false, ..key("off", 1.0) };
    let pool = TestPool::new(vec![key("a", 1.0), off, named, key("b", 1.0)]);
    pool.throttle(3);
    let listed = |client| eligible_keys(&pool.keys, request(client, "m"), pool.now);
    assert_eq!(listed(Some("staging")), [(2, KeyState::Available)]);
    let all = listed(None);
    assert_eq!((all[0], all[1].0, all.len()), ((0, KeyState::Available), 3, 2));
    assert_eq!(all[1].1.reason(), Some(Reason::Failure(Class::Throttled)));
}

fn any_key() -> impl Strategy<Value = Key> {
    let list = || prop::option::of(prop::collection::vec("[ab*]{1,3}", 1..3));
    (0.0..5.0_f64, list(), prop::collection::vec("[ab*]{1,3}", 0..2), any::<bool>(), list())
        .prop_map(|(weight, models, denied, enabled, clients)| Key {
            models: models.map(|list| list.iter().map(|text| Pattern::new(text)).collect()),
            blacklisted_models: denied.iter().map(|text| Pattern::new(text)).collect(),
            clients: clients.map(|list| list.into_iter().map(Into::into).collect()),
            enabled,
            ..key("k", weight)
        })
}

proptest! {
    /// Rule 4: however many attempts fail, no attempt uses an ineligible key.
    #[test]
    fn the_rules_hold_for_every_attempt(
        keys in prop::collection::vec(any_key(), 0..8),
        client in prop::option::of("[ab]{1,2}"),
        model in "[ab]{1,3}",
        cooling_down in any::<u8>(),
    ) {
        let pool = TestPool::new(keys);
        for index in 0..pool.keys.len() {
            if cooling_down & (1 << index) != 0 {
                pool.throttle_with(index, &model);
            }
        }
        let is_cooling_down = |index: usize| cooling_down & (1 << index) != 0;
        let client = client.as_deref();
        let eligibilities: Vec<_> =
            pool.keys.iter().map(|own| eligibility(&own.key, client, &model)).collect();
        let best = eligibilities.iter().find(|v| **v == Ok(ClientScope::NamedClients))
            .or_else(|| eligibilities.iter().find(|v| v.is_ok()));
        let mut tried = Vec::new();
        while let Some(index) = pool.choose(client, &model, &tried) {
            prop_assert_eq!(Some(&eligibilities[index]), best);
            prop_assert!(!tried.contains(&index) && !is_cooling_down(index));
            tried.push(index);
        }
        let is_candidate = |index: &usize| {
            Some(&eligibilities[*index]) == best && eligibilities[*index].is_ok() && !is_cooling_down(*index)
        };
        let candidates = (0..eligibilities.len()).filter(is_candidate).count();
        prop_assert_eq!(tried.len(), candidates, "every candidate is chosen once");
    }

    #[test]
    fn shares_follow_the_weights_among_the_candidates(
        weights in prop::collection::vec(0.001..1000.0_f64, 2..6),
        turns in 100..3000_u32,
    ) {
        let disabled = Key { enabled: false, ..key("disabled", 500.0) };
        let keys = std::iter::once(disabled).chain(weights.iter().map(|weight| key("k", *weight)));
        let pool = TestPool::new(keys.collect());
        let mut counts = vec![0_u32; weights.len()];
        for _ in 0..turns {
            counts[pool.choose(None, "m", &[]).expect("a candidate") - 1] += 1;
        }
        let total: f64 = weights.iter().sum();
        for (count, weight) in counts.iter().zip(&weights) {
            let exact = f64::from(turns) * weight / total;
            prop_assert!((f64::from(*count) - exact).abs() <= 6.0, "{} for {}", count, exact);
        }
    }
}
