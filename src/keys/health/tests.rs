use super::*;
use crate::keys::state::Reason;

const S: Duration = Duration::from_secs(1);
const M: &str = "m";

/// A key with a clock that the test moves.
struct TestKey {
    health: Arc<Health>,
    now: Instant,
}

impl TestKey {
    fn new() -> Self {
        Self::with_seed(1)
    }

    fn with_seed(seed: u64) -> Self {
        Self { health: Arc::new(Health::with_seed(seed)), now: Instant::now() }
    }

    fn fail_with(
        &self,
        model: &str,
        class: Class,
        retry_after: Option<Duration>,
        admission: Admission,
    ) {
        let failure = Failure { class, retry_after };
        self.health.record_failure(model, failure, admission, 1, self.now);
    }

    /// Records the failure of a request that is no probe.
    fn fail(&self, class: Class) {
        self.fail_with(M, class, None, Admission::default());
    }

    /// Admits a request and records its failure; returns whether it was the probe.
    fn admit_and_fail(&self, class: Class) -> bool {
        let admission = self.health.admit(M, self.now).expect("an admission");
        let probe = admission.is_probe();
        self.fail_with(M, class, None, admission);
        probe
    }

    fn admit_and_succeed(&self) {
        let admission = self.health.admit(M, self.now).expect("an admission");
        self.health.record_success(M, admission, 1);
    }

    fn remaining(&self, model: &str) -> Option<Duration> {
        match self.health.state(model, self.now) {
            KeyState::CoolingDown { remaining, .. } => Some(remaining),
            _ => None,
        }
    }

    /// Moves the clock to the end of the cooldown with the model; returns the time passed.
    fn wait(&mut self) -> Duration {
        let remaining = self.remaining(M).expect("a cooldown");
        self.now += remaining;
        remaining
    }

    fn state(&self, model: &str) -> KeyState {
        self.health.state(model, self.now)
    }
}

/// Returns true if the duration is this number of seconds, or up to a tenth more.
fn is_about(duration: Duration, seconds: u64) -> bool {
    (S * u32::try_from(seconds).unwrap()..=S * u32::try_from(seconds).unwrap() * 11 / 10)
        .contains(&duration)
}

/// Returns the lengths of cooldowns that each end in a failed probe.
fn cooldowns(class: Class, count: usize) -> Vec<Duration> {
    let mut key = TestKey::new();
    while key.remaining(M).is_none() {
        assert!(!key.admit_and_fail(class), "no cooldown yet");
    }
    let mut durations = Vec::new();
    for _ in 0..count {
        durations.push(key.wait());
        assert!(key.admit_and_fail(class), "the first after the cooldown is the probe");
    }
    durations
}

fn are_about(durations: &[Duration], seconds: &[u64]) -> bool {
    durations.len() == seconds.len() && durations.iter().zip(seconds).all(|(d, s)| is_about(*d, *s))
}

#[test]
fn a_fault_of_the_caller_starts_no_cooldown() {
    for class in [Class::Caller, Class::ContextTooLong] {
        let key = TestKey::new();
        for _ in 0..10 {
            key.fail(class);
        }
        assert_eq!(key.state(M), KeyState::Available);
        assert_eq!(key.health.states(key.now), (KeyState::Available, vec![]));
    }
}

#[test]
fn a_bad_credential_cools_down_the_key_for_five_minutes_doubling_to_an_hour() {
    let durations = cooldowns(Class::BadCredential, 7);
    assert!(are_about(&durations, &[300, 600, 1200, 2400, 3600, 3600, 3600]), "{durations:?}");
    let key = TestKey::new();
    key.fail(Class::BadCredential);
    assert!(key.remaining("another model").is_some());
}

#[test]
fn no_access_cools_down_the_key_with_the_model_for_five_minutes() {
    let durations = cooldowns(Class::NoAccess, 3);
    assert!(are_about(&durations, &[300, 300, 300]), "{durations:?}");
    let key = TestKey::new();
    key.fail(Class::NoAccess);
    assert_eq!(key.state("another model"), KeyState::Available);
}

#[test]
fn no_credit_cools_down_the_key_for_ten_minutes_doubling_to_an_hour() {
    let durations = cooldowns(Class::NoCredit, 5);
    assert!(are_about(&durations, &[600, 1200, 2400, 3600, 3600]), "{durations:?}");
    let key = TestKey::new();
    key.fail(Class::NoCredit);
    assert!(key.remaining("another model").is_some());
}

#[test]
fn throttling_cools_down_the_key_with_the_model_for_ten_seconds_doubling_to_two_minutes() {
    let durations = cooldowns(Class::Throttled, 6);
    assert!(are_about(&durations, &[10, 20, 40, 80, 120, 120]), "{durations:?}");
    let key = TestKey::new();
    key.fail(Class::Throttled);
    assert_eq!(key.state("another model"), KeyState::Available);
}

#[test]
fn retry_after_sets_the_cooldown_of_throttling_up_to_an_hour() {
    for (retry_after, expected) in [(2, 2), (45, 45), (86_400, 3600)] {
        let key = TestKey::new();
        key.fail_with(M, Class::Throttled, Some(retry_after * S), Admission::default());
        let remaining = key.remaining(M).expect("a cooldown");
        assert!(is_about(remaining, expected) && remaining <= 3600 * S, "{remaining:?}");
    }
}

#[test]
fn three_troubles_in_a_row_cool_down_the_key_with_the_model_for_five_seconds_doubling_to_a_minute()
{
    let key = TestKey::new();
    for _ in 0..2 {
        key.fail(Class::Trouble);
        assert_eq!(key.state(M), KeyState::Available);
    }
    key.fail(Class::Trouble);
    assert!(key.remaining(M).is_some() && key.state("another model") == KeyState::Available);
    let durations = cooldowns(Class::Trouble, 6);
    assert!(are_about(&durations, &[5, 10, 20, 40, 60, 60]), "{durations:?}");
}

#[test]
fn a_success_resets_the_count_of_troubles() {
    for answer in [None, Some(Class::Caller)] {
        let key = TestKey::new();
        for _ in 0..5 {
            key.fail(Class::Trouble);
            key.fail(Class::Trouble);
            match answer {
                None => key.admit_and_succeed(),
                Some(class) => key.fail(class),
            }
        }
        assert_eq!(key.state(M), KeyState::Available);
    }
}

#[test]
fn troubles_are_counted_per_model() {
    let key = TestKey::new();
    for model in ["a", "b", "c"] {
        for _ in 0..2 {
            key.fail_with(model, Class::Trouble, None, Admission::default());
        }
        assert_eq!(key.state(model), KeyState::Available);
    }
}

#[test]
fn a_cooldown_is_never_shortened() {
    let key = TestKey::new();
    key.fail_with(M, Class::Throttled, Some(60 * S), Admission::default());
    let before = key.remaining(M);
    key.fail_with(M, Class::Throttled, Some(S), Admission::default());
    key.fail(Class::Trouble);
    assert_eq!(key.remaining(M), before);
    key.fail(Class::NoAccess);
    assert!(is_about(key.remaining(M).unwrap(), 300));
    assert_eq!(
        key.state(M).reason(),
        Some(Reason::Failure(Class::NoAccess)),
        "the reason of the longest"
    );
}

#[test]
fn failures_of_requests_that_began_earlier_do_not_double_the_cooldown() {
    let key = TestKey::new();
    for _ in 0..100 {
        key.fail(Class::Throttled);
    }
    assert!(is_about(key.remaining(M).unwrap(), 10));
}

#[test]
fn one_request_is_the_probe_and_the_others_wait_for_its_result() {
    let mut key = TestKey::new();
    key.fail(Class::Throttled);
    let remaining = key.wait();
    let before = key.now.checked_sub(remaining / 1000).unwrap();
    assert!(key.health.admit(M, before).is_none());
    assert_eq!(key.state(M), KeyState::ProbeDue(Class::Throttled));
    let probe = key.health.admit(M, key.now).expect("the probe");
    for _ in 0..10 {
        assert!(key.health.admit(M, key.now).is_none());
    }
    let since = key.now;
    assert_eq!(key.state(M), KeyState::Probing { class: Class::Throttled, since });
    key.health.record_success(M, probe, 1);
    assert_eq!(key.state(M), KeyState::Available);
    assert!(!key.health.has_cooldowns.load(Ordering::Relaxed), "key choices take no lock");
}

#[test]
fn a_successful_probe_resets_the_length_of_cooldowns() {
    let mut key = TestKey::new();
    key.fail(Class::Throttled);
    key.wait();
    assert!(key.admit_and_fail(Class::Throttled));
    assert!(is_about(key.wait(), 20));
    key.admit_and_succeed();
    key.fail(Class::Throttled);
    assert!(is_about(key.remaining(M).unwrap(), 10));
}

#[test]
fn dropping_a_probe_makes_the_next_request_the_probe() {
    let mut key = TestKey::new();
    for class in [Class::Throttled, Class::BadCredential] {
        key.fail(class);
        key.wait();
        drop(key.health.admit(M, key.now).expect("the probe"));
        assert!(key.admit_and_fail(class));
    }
}

#[test]
fn only_a_probe_ends_a_cooldown() {
    let key = TestKey::new();
    key.fail(Class::Throttled);
    // This request began before the cooldown.
    key.health.record_success(M, Admission::default(), 1);
    assert!(key.remaining(M).is_some());
}

#[test]
fn one_trouble_is_enough_to_fail_a_probe() {
    let mut key = TestKey::new();
    key.fail(Class::Throttled);
    key.wait();
    assert!(key.admit_and_fail(Class::Trouble));
    assert!(is_about(key.remaining(M).unwrap(), 5));
    assert_eq!(key.state(M).reason(), Some(Reason::Failure(Class::Trouble)));
}

#[test]
fn a_probe_without_a_result_for_the_key_stays_due() {
    let mut key = TestKey::new();
    key.fail(Class::BadCredential);
    key.wait();
    assert!(key.admit_and_fail(Class::Trouble));
    assert_eq!(key.state(M), KeyState::ProbeDue(Class::BadCredential));
    // A provider that throttles a key has accepted it.
    assert!(key.admit_and_fail(Class::Throttled));
    assert_eq!(key.state("another model"), KeyState::Available);
    assert!(key.remaining(M).is_some());
}

#[test]
fn jitter_is_at_most_a_tenth_and_depends_on_the_seed() {
    let duration = |seed| {
        let key = TestKey::with_seed(seed);
        key.fail(Class::BadCredential);
        key.remaining(M).unwrap()
    };
    let durations: Vec<Duration> = (0..200).map(duration).collect();
    assert!(durations.iter().all(|duration| is_about(*duration, 300)), "{durations:?}");
    let (least, most) = (durations.iter().min().unwrap(), durations.iter().max().unwrap());
    assert!(*least < 305 * S && *most > 325 * S, "{least:?} to {most:?}");
    assert_eq!(durations, (0..200).map(duration).collect::<Vec<_>>());
}

#[test]
fn the_number_of_models_is_bounded_and_the_shortest_cooldown_is_removed_first() {
    let mut key = TestKey::new();
    let name = |n: usize| format!("model-{n}");
    key.fail_with(M, Class::NoAccess, None, Admission::default());
    for n in 0..10 * MAX_MODELS {
        key.now += S / 1000;
        key.fail_with(&name(n), Class::Throttled, None, Admission::default());
    }
    assert_eq!(key.health.states(key.now).1.len(), MAX_MODELS);
    assert!(key.remaining(M).is_some(), "the longest cooldown stays");
    key.fail_with(&"x".repeat(MAX_MODEL_NAME + 1), Class::NoAccess, None, Admission::default());
    key.fail_with("", Class::NoAccess, None, Admission::default());
    assert!(
        key.health
            .states(key.now)
            .1
            .iter()
            .all(|(name, _)| (1..=MAX_MODEL_NAME).contains(&name.len()))
    );
}

#[test]
fn stale_records_are_removed() {
    let mut key = TestKey::new();
    key.fail_with("rare", Class::NoAccess, None, Admission::default());
    key.fail_with("once", Class::Trouble, None, Admission::default());
    key.now += 2 * 3600 * S;
    key.admit_and_succeed();
    assert!(!key.health.has_cooldowns.load(Ordering::Relaxed));
}

#[test]
fn the_last_result_has_its_time() {
    let key = TestKey::new();
    assert_eq!(key.health.last_result(), None);
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    key.health.record_success(M, Admission::default(), 1_800_000_000);
    let result = |failure, seconds| Some(LastResult { failure, at: at(seconds) });
    assert_eq!(key.health.last_result(), result(None, 1_800_000_000));
    for class in CLASSES {
        let failure = Failure { class, retry_after: None };
        key.health.record_failure(M, failure, Admission::default(), 1_800_000_001, key.now);
        assert_eq!(key.health.last_result(), result(Some(class), 1_800_000_001));
    }
}
