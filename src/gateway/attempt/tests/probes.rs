//! The end of a cooldown: one request is the probe, and the others wait for it or go elsewhere.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;

/// A provider whose response can be changed: it sends this status after this number of milliseconds.
#[derive(Clone, Default)]
struct Behaviour(Arc<AtomicU64>);

impl Behaviour {
    fn set(&self, status: u16, millis: u64) {
        self.0.store(millis << 16 | u64::from(status), Ordering::Relaxed);
    }

    fn action(&self) -> Action {
        let now = self.0.load(Ordering::Relaxed);
        let status = u16::try_from(now & 0xffff).expect("a status");
        later(now >> 16, if status == 200 { succeeds() } else { fails(status) })
    }
}

fn with_behaviour(keys: &[&str]) -> (World, Behaviour) {
    let behaviour = Behaviour::default();
    behaviour.set(200, 0);
    let shared = behaviour.clone();
    let world = World::new(&provider("p", "", keys), move |received| match &*received.key {
        "good" => succeeds(),
        _ => shared.action(),
    });
    (world, behaviour)
}

/// Sends the same request this number of times, concurrently.
async fn many(world: &World, count: usize) -> Vec<Reply> {
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..count {
        let world = world.clone();
        tasks.spawn(async move { world.request("p/m").await });
    }
    tasks.join_all().await
}

fn with_status(replies: &[Reply], status: u16) -> usize {
    replies.iter().filter(|reply| reply.status == status).count()
}

#[tokio::test(start_paused = true)]
async fn a_key_due_for_a_probe_gets_one_request_while_others_use_another_key() {
    let (world, behaviour) = with_behaviour(&["bad=1000", "good"]);
    behaviour.set(429, 5000);
    world.request("p/m").await;
    sleep(Duration::from_secs(12)).await;
    let before = world.keys().len();
    let replies = many(&world, 50).await;
    assert_eq!(with_status(&replies, 200), 50);
    let received = world.keys().split_off(before);
    assert_eq!(received.iter().filter(|key| *key == "bad").count(), 1);
    // After its failure the cooldown is twice as long.
    sleep(Duration::from_secs(19)).await;
    many(&world, 50).await;
    assert_eq!(world.keys().split_off(before).iter().filter(|key| *key == "bad").count(), 1);
    sleep(Duration::from_secs(4)).await;
    many(&world, 50).await;
    assert_eq!(world.keys().split_off(before).iter().filter(|key| *key == "bad").count(), 2);
}

#[tokio::test(start_paused = true)]
async fn requests_waiting_for_a_probe_continue_when_it_succeeds() {
    let (world, behaviour) = with_behaviour(&["only"]);
    behaviour.set(429, 0);
    world.request("p/m").await;
    // Due within 600 ms: all wait, one is the probe, and 300 ms later all are served.
    sleep(Duration::from_millis(10_400)).await;
    behaviour.set(200, 300);
    let before = world.keys().len();
    let replies = many(&world, 20).await;
    assert_eq!(with_status(&replies, 200), 20, "{:?}", replies[0]);
    let received = world.received().split_off(before);
    assert_eq!(received.len(), 20);
    assert!(
        received[1..].iter().all(|later| later.at >= received[0].at + Duration::from_millis(300))
    );
}

#[tokio::test(start_paused = true)]
async fn requests_waiting_for_a_probe_are_refused_when_it_fails() {
    let (world, behaviour) = with_behaviour(&["only"]);
    behaviour.set(429, 0);
    world.request("p/m").await;
    sleep(Duration::from_secs(12)).await;
    behaviour.set(429, 500);
    let before = world.keys().len();
    let replies = many(&world, 20).await;
    assert_eq!(with_status(&replies, 429), 20);
    assert_eq!(world.keys().len(), before + 1);
    assert!(replies.iter().all(|reply| reply.took <= Duration::from_millis(501)));
}

#[tokio::test(start_paused = true)]
async fn a_slow_probe_is_not_waited_for() {
    let (world, behaviour) = with_behaviour(&["only"]);
    behaviour.set(429, 0);
    world.request("p/m").await;
    sleep(Duration::from_secs(12)).await;
    behaviour.set(200, 60_000);
    let probe = tokio::spawn({
        let world = world.clone();
        async move { world.request("p/m").await }
    });
    sleep(Duration::from_millis(1)).await;
    let reply = world.request("p/m").await;
    assert_eq!((reply.status, reply.header("retry-after")), (429, Some("1")));
    assert!(reply.took <= Duration::from_secs(1));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.request("p/m").await.took, Duration::ZERO);
    assert_eq!(probe.await.expect("an answer").status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_disconnect_of_the_caller_releases_its_probe() {
    let (world, behaviour) = with_behaviour(&["only"]);
    behaviour.set(401, 0);
    world.request("p/m").await;
    sleep(Duration::from_secs(331)).await;
    behaviour.set(200, 60_000);
    let left = tokio::time::timeout(Duration::from_secs(1), world.request("p/m"));
    assert!(left.await.is_err());
    behaviour.set(200, 0);
    let reply = world.request("p/m").await;
    assert_eq!((reply.status, reply.attempts), (200, 1));
}

#[tokio::test(start_paused = true)]
async fn a_cooldown_survives_a_reload_that_does_not_change_the_key() {
    let (world, behaviour) = with_behaviour(&["only"]);
    behaviour.set(402, 0);
    world.request("p/m").await;
    // The key has another position in the file.
    world.reload(&provider("p", "", &["before=0", "only"]));
    behaviour.set(200, 0);
    let reply = world.request("p/m").await;
    assert_eq!(reply.from.as_deref(), Some("p/before"));
    world.reload(&provider("p", "", &["only"]));
    assert_eq!(world.request("p/m").await.attempts, 0);
    sleep(Duration::from_secs(661)).await;
    assert_eq!(world.request("p/m").await.status, 200);
}
