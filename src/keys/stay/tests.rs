use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::keys::health::Pass;
use crate::secret::Secret;
use crate::wire::failure::class::{Class, Failure};
use crate::wire::failure::rate_limits::{Left, Quota};
use super::*;

const MANY: u32 = 20_000;

fn pool(keys: &[(&str, f64)]) -> Vec<Member> {
    let endpoint = Arc::new(crate::config::Endpoint {
        scheme: http::uri::Scheme::HTTP,
        authority: http::uri::Authority::from_static("localhost"),
        prefix: String::new(),
    });
    let member = |(name, weight): &(&str, f64)| {
        let fingerprint = Secret::new((*name).to_owned()).fingerprint();
        let key =
            Key { fingerprint, weight: *weight, ..Key::new("p".into(), name, endpoint.clone()) };
        Member::new(Arc::new(key))
    };
    keys.iter().map(member).collect()
}

/// The name of the key that a conversation goes to.
fn of(members: &[Member], conversation: u32, now: Instant) -> Option<&str> {
    let open: Vec<_> = members
        .iter()
        .enumerate()
        .map(|(place, member)| (place, member.health.standing("m", now)))
        .filter(|(_, standing)| standing.is_open())
        .collect();
    let ties = Ties { conversation: Some(conversation.into()), seals: Vec::new() };
    home(members, &Made::default(), &open, &ties, "m", now).map(|place| &*members[place].key.name)
}

#[test]
fn shares_follow_the_weights_over_many_conversations() {
    for keys in [
        &[("a", 1.0), ("b", 1.0)][..],
        &[("a", 3.0), ("b", 1.0)],
        &[("a", 0.5), ("b", 2.0), ("c", 7.5), ("d", 90.0)],
    ] {
        let members = pool(keys);
        let total: f64 = keys.iter().map(|(_, weight)| weight).sum();
        for (name, weight) in keys {
            let now = Instant::now();
            let count: u32 = (0..MANY).map(|n| u32::from(of(&members, n, now) == Some(name))).sum();
            let (share, many) = (weight / total, f64::from(MANY));
            let off = (f64::from(count) - many * share) / (many * share * (1.0 - share)).sqrt();
            assert!(off.abs() < 4.0, "{name} of {keys:?}: {count}, {off} standard deviations off");
        }
    }
}

#[test]
fn only_the_conversations_of_a_key_that_goes_are_moved() {
    let (before, now) = (pool(&[("a", 3.0), ("b", 1.0), ("c", 2.0)]), Instant::now());
    let after = pool(&[("c", 2.0), ("a", 3.0)]);
    let mut moved = [0, 0];
    for conversation in 0..MANY {
        match (of(&before, conversation, now), of(&after, conversation, now)) {
            (Some("b"), Some("a")) => moved[0] += 1,
            (Some("b"), Some("c")) => moved[1] += 1,
            (one, other) => assert_eq!(one, other, "in another order, without b"),
        }
    }
    let to_a = f64::from(moved[0]) / f64::from(moved[0] + moved[1]);
    assert!((to_a - 0.6).abs() < 0.04, "those that move follow the weights too: {moved:?}");
}

#[test]
fn more_weight_draws_conversations_and_sends_none_away() {
    let (before, now) = (pool(&[("a", 1.0), ("b", 1.0)]), Instant::now());
    let after = pool(&[("a", 1.0), ("b", 2.0)]);
    for conversation in 0..MANY {
        if of(&before, conversation, now) == Some("b") {
            assert_eq!(of(&after, conversation, now), Some("b"));
        }
    }
}

#[test]
fn a_conversation_leaves_a_key_that_cools_and_comes_back() {
    let (members, now) = (pool(&[("a", 1.0), ("b", 1.0), ("c", 1.0)]), Instant::now());
    let at_home: Vec<_> = (0..1000).map(|n| of(&members, n, now)).collect();
    let failure = Failure { class: Class::Throttled, retry_after: None };
    members[0].health.failed("m", failure, Pass::default(), 1, now);
    for (conversation, home) in (0..).zip(&at_home) {
        let away = of(&members, conversation, now);
        assert!(away.is_some() && away != Some("a"));
        assert!(away == *home || *home == Some("a"), "the others stay");
    }
    let later = now + Duration::from_secs(60);
    let back: Vec<_> = (0..1000).map(|n| of(&members, n, later)).collect();
    assert_eq!(back, at_home);
}

#[test]
fn a_standby_key_is_nobodys_home() {
    let (members, now) = (pool(&[("standby", 0.0), ("a", 1.0), ("b", 0.001)]), Instant::now());
    assert!((0..MANY).all(|n| of(&members, n, now) != Some("standby")));
    let (members, now) = (pool(&[("standby", 0.0), ("spare", 0.0)]), Instant::now());
    assert_eq!(of(&members, 1, now), None, "the order of the file decides among them");
}

#[test]
fn what_providers_say_is_left_moves_a_conversation_only_from_nothing_to_something() {
    let (members, now) = (pool(&[("a", 1.0), ("b", 1.0), ("standby", 0.0)]), Instant::now());
    let at_a = (0..1000).find(|n| of(&members, *n, now) == Some("a")).expect("one of them");
    let says = |place: usize, remaining| {
        let left = Left { remaining, limit: None, reset: Duration::from_secs(30) };
        let quota = Quota { tokens: Some(left), ..Quota::default() };
        members[place].learned.learn("m", quota, now);
    };
    says(0, 1);
    assert_eq!(of(&members, at_a, now), Some("a"), "there is little left");
    says(0, 0);
    assert_eq!(of(&members, at_a, now), Some("b"));
    assert_eq!(of(&members, at_a, now + Duration::from_secs(30)), Some("a"), "after the reset");
    says(1, 0);
    assert_eq!(of(&members, at_a, now), None, "the standby steps in");
    says(2, 0);
    assert_eq!(of(&members, at_a, now), Some("a"), "nobody has more");
}

#[test]
fn a_seal_leads_back_to_its_maker() {
    let (members, made) = (pool(&[("a", 1.0), ("b", 0.0)]), Made::default());
    made.note(7, members[1].id);
    let (open, now) = ([(0, Standing::Free), (1, Standing::Free)], Instant::now());
    let to = |seals: &[u64], open: &[_]| {
        let ties = Ties { conversation: Some(1), seals: seals.to_vec() };
        home(&members, &made, open, &ties, "m", now)
    };
    assert_eq!(to(&[9, 7], &open), Some(1), "also of a standby key");
    assert_eq!(to(&[9], &open), Some(0), "of nobody that is known");
    assert_eq!(to(&[7], &open[..1]), Some(0), "while its maker rests");
    let none = Left { remaining: 0, limit: None, reset: Duration::from_secs(30) };
    members[1].learned.learn("m", Quota { requests: Some(none), ..Quota::default() }, now);
    assert_eq!(to(&[7], &open), Some(1), "whatever is said to be left");
}

#[test]
fn the_oldest_seals_are_forgotten() {
    let made = Made::default();
    let seals = 3 * REMEMBERED as u64;
    (0..seals).for_each(|seal| made.note(seal, seal));
    let all = made.0.lock().unwrap();
    assert!(all.young.len() + all.old.len() <= 2 * REMEMBERED);
    drop(all);
    assert_eq!(made.maker(&[0]), None);
    assert_eq!(made.maker(&[seals - REMEMBERED as u64]), Some(seals - REMEMBERED as u64));
}
