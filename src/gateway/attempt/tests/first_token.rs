//! `first_token`.

use super::*;

const SLOW: u64 = 30_000;

/// Two targets and a fallback; the first target is tried first, since the other has weight 0.
fn world(
    targets: &[(&str, &[&str])],
    play: impl Fn(&Received) -> Action + Send + Sync + 'static,
) -> World {
    let mut text = String::new();
    for (name, keys) in targets {
        text += &provider(name, "", keys);
    }
    let listed: Vec<String> =
        targets.iter().map(|(name, _)| format!("{{ model = \"{name}/m\", weight = 0 }}")).collect();
    let listed = listed.join(", ");
    let route = format!("[routes.r]\nfirst_token = \"2s\"\ntargets = [{listed}]\n");
    World::new(&(text + &route), play)
}

fn millis(reply: &Reply) -> u128 {
    reply.took.as_millis()
}

#[tokio::test(start_paused = true)]
async fn a_late_first_token_moves_to_the_next_target_before_the_next_key() {
    let targets: [(&str, &[&str]); 2] = [("a", &["a1", "a2"]), ("b", &["b1"])];
    let world = world(&targets, |received| match &*received.provider {
        "a" => later(SLOW, succeeds()),
        _ => later(500, succeeds()),
    });
    let reply = world.request_stream("r", true).await;
    assert_eq!((reply.status, reply.attempts, reply.from.as_deref()), (200, 2, Some("b/b1")));
    assert_eq!(millis(&reply), 2500);
    assert!(world.received()[0].ended.is_some(), "the slow one is left");
}

#[tokio::test(start_paused = true)]
async fn without_another_target_the_next_key_is_tried() {
    let world = world(&[("a", &["a1", "a2"])], |received| match &*received.key {
        "a1" => later(SLOW, succeeds()),
        _ => succeeds(),
    });
    for _ in 0..4 {
        let reply = world.request_stream("r", true).await;
        assert_eq!((reply.status, reply.from.as_deref()), (200, Some("a/a2")));
        assert!([0, 2000].contains(&millis(&reply)), "{:?}", reply.took);
    }
    let slow = world.keys().iter().filter(|key| *key == "a1").count();
    assert!(slow >= 2, "one that was slow is not left alone for it: {slow}");
}

#[tokio::test(start_paused = true)]
async fn the_last_attempt_has_the_first_byte_timeout() {
    let targets: [(&str, &[&str]); 2] = [("a", &["a1"]), ("b", &["b1"])];
    let world = world(&targets, |_| later(SLOW, succeeds()));
    let reply = world.request_stream("r", true).await;
    assert_eq!((reply.status, reply.attempts, reply.from.as_deref()), (200, 2, Some("b/b1")));
    assert_eq!(millis(&reply), 32_000);
}

#[tokio::test(start_paused = true)]
async fn slow_keys_are_tried_again_when_the_others_fail() {
    let targets: [(&str, &[&str]); 2] = [("a", &["a1"]), ("b", &["b1"])];
    let world = world(&targets, |received| match &*received.provider {
        "a" => later(5000, succeeds()),
        _ => fails(403),
    });
    let reply = world.request_stream("r", true).await;
    assert_eq!((reply.status, reply.attempts, reply.from.as_deref()), (200, 3, Some("a/a1")));
    assert_eq!(millis(&reply), 7000);
}

#[tokio::test(start_paused = true)]
async fn a_whole_response_has_no_first_token() {
    let targets: [(&str, &[&str]); 2] = [("a", &["a1"]), ("b", &["b1"])];
    let world = world(&targets, |_| later(SLOW, succeeds()));
    let reply = world.request_stream("r", false).await;
    assert_eq!((reply.attempts, millis(&reply)), (1, 30_000));
}

#[tokio::test(start_paused = true)]
async fn a_late_first_token_without_retry_budget_is_waited_for() {
    let text = "[retry]\nbudget = 0.0\nfloor_per_second = 0\n".to_owned()
        + &provider("a", "", &["a1", "a2"])
        + "[routes.r]\nfirst_token = \"2s\"\ntargets = [{ model = \"a/m\" }]\n";
    let world = World::new(&text, |_| later(SLOW, succeeds()));
    let reply = world.request_stream("r", true).await;
    assert_eq!((reply.status, reply.attempts, millis(&reply)), (200, 1, 30_000));
}
