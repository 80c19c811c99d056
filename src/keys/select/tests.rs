use std::sync::Arc;
use std::time::Duration;

use http::uri::{Authority, Scheme};
use proptest::prelude::*;

use super::*;
use crate::config::{Endpoint, Pattern};
use crate::keys::{Pass, Reason, Tried};
use crate::secret::Secret;
use crate::wire::failure::{Class, Failure};

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

fn members(keys: Vec<Key>) -> Vec<Member> {
    keys.into_iter().map(|key| Member::new(Arc::new(key))).collect()
}

fn want<'a>(client: Option<&'a str>, model: &'a str) -> Want<'a> {
    Want { client, model, tokens: 1 }
}

struct Asker {
    members: Vec<Member>,
    turns: TurnCounter,
    now: Instant,
}

impl Asker {
    fn new(keys: Vec<Key>) -> Self {
        Self { members: members(keys), turns: TurnCounter::default(), now: Instant::now() }
    }

    fn throttle(&self, place: usize) {
        self.throttle_with(place, "m");
    }

    /// Leaves a key alone with the model for ten seconds and a bit.
    fn throttle_with(&self, place: usize, model: &str) {
        let failure = Failure { class: Class::Throttled, retry_after: None };
        self.members[place].health.failed(model, failure, Pass::default(), 1, self.now);
    }

    fn ask(&self, client: Option<&str>, model: &str, tried: &[usize]) -> Option<usize> {
        choose(&self.members, want(client, model), tried, &self.turns, self.now, &|_| None)
    }
}

#[test]
fn deny_wins_over_allow() {
    let key = Key {
        models: Some(patterns(&["gpt-4o*"])),
        blacklisted_models: patterns(&["*-realtime*"]),
        ..key("a", 1.0)
    };
    assert_eq!(verdict(&key, None, "GPT-4o-mini"), Ok(Scope::Everyone));
    assert_eq!(verdict(&key, None, "gpt-4o-realtime-preview"), Err(Out::Blacklisted));
    assert_eq!(verdict(&key, None, "o3"), Err(Out::NotListed));
}

#[test]
fn keys_that_name_the_client_come_first_and_alone() {
    let named = Key { clients: Some(vec!["staging".into()]), ..key("named", 0.001) };
    let asker = Asker::new(vec![key("everyone", 1000.0), named]);
    for _ in 0..50 {
        assert_eq!(asker.ask(Some("staging"), "m", &[]), Some(1));
        assert_eq!(asker.ask(Some("prod"), "m", &[]), Some(0));
        assert_eq!(asker.ask(None, "m", &[]), Some(0));
    }
    assert_eq!(asker.ask(Some("staging"), "m", &[1]), None, "no way round the client's own keys");
}

#[test]
fn a_standby_key_serves_only_when_no_other_can() {
    let asker = Asker::new(vec![key("standby", 0.0), key("a", 1.0), key("b", 1.0)]);
    for _ in 0..50 {
        assert_ne!(asker.ask(None, "m", &[]), Some(0));
    }
    assert_eq!(asker.ask(None, "m", &[1, 2]), Some(0));
    asker.throttle(1);
    asker.throttle(2);
    assert_eq!(asker.ask(None, "m", &[]), Some(0));
}

#[test]
fn cooling_keys_are_not_asked() {
    let asker = Asker::new(vec![key("a", 1.0), key("b", 1.0)]);
    asker.throttle(0);
    for _ in 0..20 {
        assert_eq!(asker.ask(None, "m", &[]), Some(1));
    }
    assert!(asker.ask(None, "other", &[1]).is_some(), "a limit is for one model");
    asker.throttle(1);
    assert_eq!(asker.ask(None, "m", &[]), None);
    let later = asker.now + Duration::from_secs(12);
    let free = choose(&asker.members, want(None, "m"), &[], &asker.turns, later, &|_| None);
    assert!(free.is_some());
}

#[test]
fn what_may_serve_is_told_with_how_it_stands() {
    let named = Key { clients: Some(vec!["staging".into()]), ..key("named", 1.0) };
    let off = Key { enabled: false, ..key("off", 1.0) };
    let asker = Asker::new(vec![key("a", 1.0), off, named, key("b", 1.0)]);
    asker.throttle(3);
    let told = |client| candidates(&asker.members, want(client, "m"), asker.now);
    assert_eq!(told(Some("staging")), [(2, Standing::Free)]);
    let all = told(None);
    assert_eq!((all[0], all[1].0, all.len()), ((0, Standing::Free), 3, 2));
    assert_eq!(all[1].1.why(), Some(Reason::Failed(Class::Throttled)));
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
    /// Rule 4: however many attempts fail, no attempt goes to a key that the rules put out.
    #[test]
    fn a_rule_holds_on_every_attempt(
        keys in prop::collection::vec(any_key(), 0..8),
        client in prop::option::of("[ab]{1,2}"),
        model in "[ab]{1,3}",
        cooling in any::<u8>(),
    ) {
        let asker = Asker::new(keys);
        for place in 0..asker.members.len() {
            if cooling & (1 << place) != 0 {
                asker.throttle_with(place, &model);
            }
        }
        let rests = |place: usize| cooling & (1 << place) != 0;
        let client = client.as_deref();
        let verdicts: Vec<_> =
            asker.members.iter().map(|member| verdict(&member.key, client, &model)).collect();
        let best = verdicts.iter().find(|v| **v == Ok(Scope::Named))
            .or_else(|| verdicts.iter().find(|v| v.is_ok()));
        let mut tried = Tried::default();
        while let Some(place) = asker.ask(client, &model, &tried.0) {
            prop_assert_eq!(Some(&verdicts[place]), best);
            prop_assert!(!tried.0.contains(&place) && !rests(place));
            tried.0.push(place);
        }
        let open = |place: &usize| {
            Some(&verdicts[*place]) == best && verdicts[*place].is_ok() && !rests(*place)
        };
        let open = (0..verdicts.len()).filter(open).count();
        prop_assert_eq!(tried.0.len(), open, "every candidate has its attempt");
    }

    #[test]
    fn shares_follow_the_weights_among_the_candidates(
        weights in prop::collection::vec(0.001..1000.0_f64, 2..6),
        turns in 100..3000_u32,
    ) {
        let out = Key { enabled: false, ..key("out", 500.0) };
        let keys = std::iter::once(out).chain(weights.iter().map(|weight| key("k", *weight)));
        let asker = Asker::new(keys.collect());
        let mut counts = vec![0_u32; weights.len()];
        for _ in 0..turns {
            counts[asker.ask(None, "m", &[]).expect("a candidate") - 1] += 1;
        }
        let total: f64 = weights.iter().sum();
        for (count, weight) in counts.iter().zip(&weights) {
            let exact = f64::from(turns) * weight / total;
            prop_assert!((f64::from(*count) - exact).abs() <= 6.0, "{} for {}", count, exact);
        }
    }
}
