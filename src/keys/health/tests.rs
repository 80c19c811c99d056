use super::*;
use crate::keys::state::Reason;

const S: Duration = Duration::from_secs(1);
const M: &str = "m";

/// A key, and a clock that moves when told to.
struct Patient {
    health: Arc<Health>,
    now: Instant,
}

impl Patient {
    fn new() -> Self {
        Self::seeded(1)
    }

    fn seeded(seed: u64) -> Self {
        Self { health: Arc::new(Health::seeded(seed)), now: Instant::now() }
    }

    fn fails_with(
        &self,
        model: &str,
        class: Class,
        retry_after: Option<Duration>,
        pass: Admission,
    ) {
        let failure = Failure { class, retry_after };
        self.health.record_failure(model, failure, pass, 1, self.now);
    }

    /// A failure of a request that is no probe.
    fn fails(&self, class: Class) {
        self.fails_with(M, class, None, Admission::default());
    }

    /// A failure of a request that needs leave for it; says whether it was the probe.
    fn asks_and_fails(&self, class: Class) -> bool {
        let pass = self.health.admit(M, self.now).expect("leave");
        let probe = pass.is_probe();
        self.fails_with(M, class, None, pass);
        probe
    }

    fn asks_and_is_answered(&self) {
        let pass = self.health.admit(M, self.now).expect("leave");
        self.health.record_success(M, pass, 1);
    }

    fn left(&self, model: &str) -> Option<Duration> {
        match self.health.state(model, self.now) {
            KeyState::CoolingDown { remaining: left, .. } => Some(left),
            _ => None,
        }
    }

    /// Lets the cooldown with the model pass; how long it was.
    fn wait(&mut self) -> Duration {
        let left = self.left(M).expect("a cooldown");
        self.now += left;
        left
    }

    fn stands(&self, model: &str) -> KeyState {
        self.health.state(model, self.now)
    }
}

/// Whether a span is so many seconds, and up to a tenth more.
fn is(span: Duration, seconds: u64) -> bool {
    (S * u32::try_from(seconds).unwrap()..=S * u32::try_from(seconds).unwrap() * 11 / 10)
        .contains(&span)
}

/// The spans of cooldowns that each end in a failed probe.
fn rounds(class: Class, rounds: usize) -> Vec<Duration> {
    let mut patient = Patient::new();
    while patient.left(M).is_none() {
        assert!(!patient.asks_and_fails(class), "nothing has cooled yet");
    }
    let mut spans = Vec::new();
    for _ in 0..rounds {
        spans.push(patient.wait());
        assert!(patient.asks_and_fails(class), "the first after the cooldown is the probe");
    }
    spans
}

fn are(spans: &[Duration], seconds: &[u64]) -> bool {
    spans.len() == seconds.len() && spans.iter().zip(seconds).all(|(span, own)| is(*span, *own))
}

#[test]
fn the_callers_fault_cools_nothing() {
    for class in [Class::Caller, Class::ContextTooLong] {
        let patient = Patient::new();
        for _ in 0..10 {
            patient.fails(class);
        }
        assert_eq!(patient.stands(M), KeyState::Available);
        assert_eq!(patient.health.states(patient.now), (KeyState::Available, vec![]));
    }
}

#[test]
fn a_bad_credential_cools_the_key_for_five_minutes_doubling_to_an_hour_and_never_for_ever() {
    let spans = rounds(Class::BadCredential, 7);
    assert!(are(&spans, &[300, 600, 1200, 2400, 3600, 3600, 3600]), "{spans:?}");
    let patient = Patient::new();
    patient.fails(Class::BadCredential);
    assert!(patient.left("another model").is_some());
}

#[test]
fn no_access_cools_the_key_with_the_model_for_five_minutes() {
    let spans = rounds(Class::NoAccess, 3);
    assert!(are(&spans, &[300, 300, 300]), "{spans:?}");
    let patient = Patient::new();
    patient.fails(Class::NoAccess);
    assert_eq!(patient.stands("another model"), KeyState::Available);
}

#[test]
fn no_credit_cools_the_key_for_ten_minutes_doubling_to_an_hour() {
    let spans = rounds(Class::NoCredit, 5);
    assert!(are(&spans, &[600, 1200, 2400, 3600, 3600]), "{spans:?}");
    let patient = Patient::new();
    patient.fails(Class::NoCredit);
    assert!(patient.left("another model").is_some());
}

#[test]
fn throttling_cools_the_key_with_the_model_for_ten_seconds_doubling_to_two_minutes() {
    let spans = rounds(Class::Throttled, 6);
    assert!(are(&spans, &[10, 20, 40, 80, 120, 120]), "{spans:?}");
    let patient = Patient::new();
    patient.fails(Class::Throttled);
    assert_eq!(patient.stands("another model"), KeyState::Available);
}

#[test]
fn a_throttling_provider_says_for_how_long_up_to_an_hour() {
    for (asked, cools) in [(2, 2), (45, 45), (86_400, 3600)] {
        let patient = Patient::new();
        patient.fails_with(M, Class::Throttled, Some(asked * S), Admission::default());
        let left = patient.left(M).expect("a cooldown");
        assert!(is(left, cools) && left <= 3600 * S, "{left:?}");
    }
}

#[test]
fn three_troubles_in_a_row_cool_the_key_with_the_model_for_five_seconds_doubling_to_a_minute() {
    let patient = Patient::new();
    for _ in 0..2 {
        patient.fails(Class::Trouble);
        assert_eq!(patient.stands(M), KeyState::Available);
    }
    patient.fails(Class::Trouble);
    assert!(patient.left(M).is_some() && patient.stands("another model") == KeyState::Available);
    let spans = rounds(Class::Trouble, 6);
    assert!(are(&spans, &[5, 10, 20, 40, 60, 60]), "{spans:?}");
}

#[test]
fn an_answer_in_between_begins_the_row_of_troubles_anew() {
    for answer in [None, Some(Class::Caller)] {
        let patient = Patient::new();
        for _ in 0..5 {
            patient.fails(Class::Trouble);
            patient.fails(Class::Trouble);
            match answer {
                None => patient.asks_and_is_answered(),
                Some(class) => patient.fails(class),
            }
        }
        assert_eq!(patient.stands(M), KeyState::Available);
    }
}

#[test]
fn troubles_are_counted_for_each_model() {
    let patient = Patient::new();
    for model in ["a", "b", "c"] {
        for _ in 0..2 {
            patient.fails_with(model, Class::Trouble, None, Admission::default());
        }
        assert_eq!(patient.stands(model), KeyState::Available);
    }
}

#[test]
fn a_cooldown_is_only_ever_extended() {
    let patient = Patient::new();
    patient.fails_with(M, Class::Throttled, Some(60 * S), Admission::default());
    let before = patient.left(M);
    patient.fails_with(M, Class::Throttled, Some(S), Admission::default());
    patient.fails(Class::Trouble);
    assert_eq!(patient.left(M), before);
    patient.fails(Class::NoAccess);
    assert!(is(patient.left(M).unwrap(), 300));
    assert_eq!(
        patient.stands(M).reason(),
        Some(Reason::Failure(Class::NoAccess)),
        "the longest is what it is for"
    );
}

#[test]
fn who_comes_late_does_not_double_it() {
    let patient = Patient::new();
    for _ in 0..100 {
        patient.fails(Class::Throttled);
    }
    assert!(is(patient.left(M).unwrap(), 10));
}

#[test]
fn one_request_is_the_probe_and_the_others_see_it_cooling() {
    let mut patient = Patient::new();
    patient.fails(Class::Throttled);
    let left = patient.wait();
    let before = patient.now.checked_sub(left / 1000).unwrap();
    assert!(patient.health.admit(M, before).is_none());
    assert_eq!(patient.stands(M), KeyState::ProbeDue(Class::Throttled));
    let probe = patient.health.admit(M, patient.now).expect("the probe");
    for _ in 0..10 {
        assert!(patient.health.admit(M, patient.now).is_none());
    }
    let since = patient.now;
    assert_eq!(patient.stands(M), KeyState::Probing { class: Class::Throttled, since });
    patient.health.record_success(M, probe, 1);
    assert_eq!(patient.stands(M), KeyState::Available);
    assert!(!patient.health.ailing.load(Ordering::Relaxed), "and no choice takes the lock");
}

#[test]
fn a_cooldown_after_a_cleared_one_begins_short_again() {
    let mut patient = Patient::new();
    patient.fails(Class::Throttled);
    patient.wait();
    assert!(patient.asks_and_fails(Class::Throttled));
    assert!(is(patient.wait(), 20));
    patient.asks_and_is_answered();
    patient.fails(Class::Throttled);
    assert!(is(patient.left(M).unwrap(), 10));
}

#[test]
fn a_probe_that_never_took_place_leaves_its_turn_to_the_next() {
    let mut patient = Patient::new();
    for class in [Class::Throttled, Class::BadCredential] {
        patient.fails(class);
        patient.wait();
        drop(patient.health.admit(M, patient.now).expect("the probe"));
        assert!(patient.asks_and_fails(class));
    }
}

#[test]
fn only_the_probe_clears_a_cooldown() {
    let patient = Patient::new();
    patient.fails(Class::Throttled);
    // It began before the cooldown did.
    patient.health.record_success(M, Admission::default(), 1);
    assert!(patient.left(M).is_some());
}

#[test]
fn one_trouble_is_enough_to_fail_a_probe() {
    let mut patient = Patient::new();
    patient.fails(Class::Throttled);
    patient.wait();
    assert!(patient.asks_and_fails(Class::Trouble));
    assert!(is(patient.left(M).unwrap(), 5));
    assert_eq!(patient.stands(M).reason(), Some(Reason::Failure(Class::Trouble)));
}

#[test]
fn a_probe_that_says_nothing_of_the_key_leaves_it_due() {
    let mut patient = Patient::new();
    patient.fails(Class::BadCredential);
    patient.wait();
    assert!(patient.asks_and_fails(Class::Trouble));
    assert_eq!(patient.stands(M), KeyState::ProbeDue(Class::BadCredential));
    // A key that is throttled is let in.
    assert!(patient.asks_and_fails(Class::Throttled));
    assert_eq!(patient.stands("another model"), KeyState::Available);
    assert!(patient.left(M).is_some());
}

#[test]
fn jitter_is_a_tenth_at_most_and_follows_the_seed() {
    let span = |seed| {
        let patient = Patient::seeded(seed);
        patient.fails(Class::BadCredential);
        patient.left(M).unwrap()
    };
    let spans: Vec<Duration> = (0..200).map(span).collect();
    assert!(spans.iter().all(|span| is(*span, 300)), "{spans:?}");
    let (least, most) = (spans.iter().min().unwrap(), spans.iter().max().unwrap());
    assert!(*least < 305 * S && *most > 325 * S, "{least:?} to {most:?}");
    assert_eq!(spans, (0..200).map(span).collect::<Vec<_>>());
}

#[test]
fn models_are_remembered_up_to_a_bound_and_the_soonest_free_goes_first() {
    let mut patient = Patient::new();
    let name = |n: usize| format!("made-up-{n}");
    patient.fails_with(M, Class::NoAccess, None, Admission::default());
    for n in 0..10 * MODELS {
        patient.now += S / 1000;
        patient.fails_with(&name(n), Class::Throttled, None, Admission::default());
    }
    assert_eq!(patient.health.states(patient.now).1.len(), MODELS);
    assert!(patient.left(M).is_some(), "the longest stays");
    patient.fails_with(&"x".repeat(NAME + 1), Class::NoAccess, None, Admission::default());
    patient.fails_with("", Class::NoAccess, None, Admission::default());
    assert!(
        patient
            .health
            .states(patient.now)
            .1
            .iter()
            .all(|(name, _)| (1..=NAME).contains(&name.len()))
    );
}

#[test]
fn what_nobody_asks_for_is_forgotten() {
    let mut patient = Patient::new();
    patient.fails_with("seldom", Class::NoAccess, None, Admission::default());
    patient.fails_with("once", Class::Trouble, None, Admission::default());
    patient.now += 2 * 3600 * S;
    patient.asks_and_is_answered();
    assert!(!patient.health.ailing.load(Ordering::Relaxed));
}

#[test]
fn what_was_last_seen_is_kept_with_its_time() {
    let patient = Patient::new();
    assert_eq!(patient.health.last(), None);
    let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    patient.health.record_success(M, Admission::default(), 1_800_000_000);
    let seen = |failure, seconds| Some(LastResult { failure, at: at(seconds) });
    assert_eq!(patient.health.last(), seen(None, 1_800_000_000));
    for class in CLASSES {
        let failure = Failure { class, retry_after: None };
        patient.health.record_failure(M, failure, Admission::default(), 1_800_000_001, patient.now);
        assert_eq!(patient.health.last(), seen(Some(class), 1_800_000_001));
    }
}
