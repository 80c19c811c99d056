//! The health of one key: the result of its latest request, and its cooldowns.
//!
//! A key cools down as a whole, or with one model. A cooldown ends half-open: one request is admitted as
//! the probe, and for all others the key is still cooling down until the probe has its result. A
//! successful probe ends the cooldown, a failed one starts the next, twice as long. The failure of a
//! request that began before the cooldown can extend it and never doubles it.

mod cooldown;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use self::cooldown::{Cooldown, Jitter};
use super::cooldown_policy::{CooldownPolicy, CooldownScope};
use super::state::KeyState;
use crate::wire::failure::class::{Class, Failure};

/// Highest number of models with a record for one key. A limit is needed because callers choose the names.
const MAX_MODELS: usize = 256;
/// Longest model name that gets a record; real names are shorter.
const MAX_MODEL_NAME: usize = 512;
/// Interval between two searches for stale records.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// The classes in the order of their codes in [`Health::last_result`]: 1 is the first. 0 is a success.
const CLASSES: [Class; 7] = [
    Class::Caller,
    Class::ContextTooLong,
    Class::BadCredential,
    Class::NoAccess,
    Class::NoCredit,
    Class::Throttled,
    Class::Trouble,
];

/// The health of one key. Every key choice reads it, without a lock while the key has no cooldown.
#[derive(Debug)]
pub struct Health {
    /// Set when `cooldowns` has a record.
    has_cooldowns: AtomicBool,
    cooldowns: Mutex<Cooldowns>,
    /// Unix time in seconds, and in the lowest byte the code of the result; 0 before the first result.
    last_result: AtomicU64,
}

#[derive(Debug)]
struct Cooldowns {
    key: Option<Cooldown>,
    models: BTreeMap<Box<str>, Cooldown>,
    last_sweep: Option<Instant>,
    /// The ticket of the next probe.
    next_ticket: u64,
    jitter: Jitter,
}

/// The result of the latest request with a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastResult {
    /// The class of its failure; `None` after a success.
    pub failure: Option<Class>,
    /// When the request began, to the second.
    pub at: SystemTime,
}

/// The permission for one request to use a key. If the admission of a probe is dropped before a result is
/// recorded, the next request becomes the probe.
#[derive(Debug, Default)]
pub struct Admission(Option<Box<Probe>>);

#[derive(Debug)]
struct Probe {
    health: Arc<Health>,
    model: Box<str>,
    tickets: Tickets,
}

/// The tickets of a probe for the cooldown of the key, and for that of the key with the model.
#[derive(Clone, Copy, Debug, Default)]
struct Tickets {
    key: Option<u64>,
    model: Option<u64>,
}

impl Admission {
    /// Returns true if the request is a probe.
    pub fn is_probe(&self) -> bool {
        self.0.is_some()
    }

    fn tickets(&self) -> Tickets {
        self.0.as_ref().map_or_else(Tickets::default, |probe| probe.tickets)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let mut cooldowns = self.health.lock();
        if let Some(cooldown) = &mut cooldowns.key {
            cooldown.cancel_probe(self.tickets.key);
        }
        if let Some(cooldown) = cooldowns.models.get_mut(&self.model) {
            cooldown.cancel_probe(self.tickets.model);
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::with_seed(RandomState::new().hash_one(0))
    }
}

impl Health {
    /// Creates the health of a key without any result. The seed sets the jitter of its cooldowns.
    pub fn with_seed(seed: u64) -> Self {
        let cooldowns = Cooldowns {
            key: None,
            models: BTreeMap::new(),
            last_sweep: None,
            next_ticket: 1,
            jitter: Jitter::new(seed),
        };
        Self {
            has_cooldowns: AtomicBool::new(false),
            cooldowns: Mutex::new(cooldowns),
            last_result: AtomicU64::new(0),
        }
    }

    /// Returns the state of the key with the model.
    pub fn state(&self, model: &str, now: Instant) -> KeyState {
        if !self.has_cooldowns.load(Ordering::Relaxed) {
            return KeyState::Available;
        }
        self.lock().state(model, now)
    }

    /// Admits a request with the model, as the probe if one is due; `None` while the key is cooling down.
    pub fn admit(self: &Arc<Self>, model: &str, now: Instant) -> Option<Admission> {
        if !self.has_cooldowns.load(Ordering::Relaxed) {
            return Some(Admission::default());
        }
        let mut cooldowns = self.lock();
        if cooldowns.is_sweep_due(now) {
            cooldowns.sweep(now);
            self.update_flag(&cooldowns);
        }
        match cooldowns.state(model, now) {
            KeyState::Available => Some(Admission::default()),
            KeyState::CoolingDown { .. } | KeyState::Probing { .. } | KeyState::Busy(_) => None,
            KeyState::ProbeDue(_) => {
                let tickets = cooldowns.start_probe(model, now);
                let health = self.clone();
                Some(Admission(Some(Box::new(Probe { health, model: model.into(), tickets }))))
            }
        }
    }

    /// Records the success of a request that began at this Unix time.
    pub fn record_success(&self, model: &str, admission: Admission, began: u64) {
        self.store_last_result(began << 8);
        if self.has_cooldowns.load(Ordering::Relaxed) {
            let mut cooldowns = self.lock();
            cooldowns.record_success(model, admission.tickets());
            self.update_flag(&cooldowns);
        }
        // Dropped only after the lock is released: `Probe::drop` takes it.
        drop(admission);
    }

    /// Records the failure of a request that began at this Unix time. With an empty `model`, a failure that
    /// concerns a model starts no cooldown.
    pub fn record_failure(
        &self,
        model: &str,
        failure: Failure,
        admission: Admission,
        began: u64,
        now: Instant,
    ) {
        self.store_last_result(began << 8 | code_of(failure.class));
        {
            let mut cooldowns = self.lock();
            match CooldownPolicy::of(failure.class) {
                Some(policy) => {
                    cooldowns.record_failure(model, failure, policy, admission.tickets(), now);
                }
                // The provider has accepted the key.
                None => cooldowns.record_success(model, admission.tickets()),
            }
            self.update_flag(&cooldowns);
        }
        drop(admission);
    }

    /// Records the failure of another key of the same account: a limit of the account limits this key too.
    pub fn record_shared_failure(&self, model: &str, failure: Failure, now: Instant) {
        let Some(policy) = CooldownPolicy::of(failure.class) else { return };
        let mut cooldowns = self.lock();
        cooldowns.record_failure(model, failure, policy, Tickets::default(), now);
        self.update_flag(&cooldowns);
    }

    /// Returns the state of the key itself, and of each model that is not available.
    pub fn states(&self, now: Instant) -> (KeyState, Vec<(Box<str>, KeyState)>) {
        if !self.has_cooldowns.load(Ordering::Relaxed) {
            return (KeyState::Available, Vec::new());
        }
        let cooldowns = self.lock();
        let models = cooldowns.models.iter().map(|(name, c)| (name.clone(), c.state(now)));
        let models = models.filter(|(_, state)| *state != KeyState::Available).collect();
        (cooldowns.key.map_or(KeyState::Available, |key| key.state(now)), models)
    }

    /// Returns the result of the latest request.
    pub fn last_result(&self) -> Option<LastResult> {
        match self.last_result.load(Ordering::Relaxed) {
            0 => None,
            stored => {
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(stored >> 8);
                Some(LastResult { failure: class_of(stored), at })
            }
        }
    }

    /// Writes at most once a second while all requests succeed.
    fn store_last_result(&self, result: u64) {
        if self.last_result.load(Ordering::Relaxed) != result {
            self.last_result.store(result, Ordering::Relaxed);
        }
    }

    /// A panic elsewhere cannot leave the cooldowns half changed, so a poisoned lock is used as it is.
    fn lock(&self) -> MutexGuard<'_, Cooldowns> {
        self.cooldowns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn update_flag(&self, cooldowns: &Cooldowns) {
        let has_any = cooldowns.key.is_some() || !cooldowns.models.is_empty();
        self.has_cooldowns.store(has_any, Ordering::Relaxed);
    }
}

impl Cooldowns {
    fn state(&self, model: &str, now: Instant) -> KeyState {
        let state = |cooldown: Option<&Cooldown>| {
            cooldown.map_or(KeyState::Available, |cooldown| cooldown.state(now))
        };
        state(self.key.as_ref()).or_stricter(state(self.models.get(model)))
    }

    /// Starts the probe of each cooldown that is due one.
    fn start_probe(&mut self, model: &str, now: Instant) -> Tickets {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let start = |cooldown: &mut Cooldown| cooldown.start_probe(ticket, now);
        Tickets {
            key: self.key.as_mut().and_then(start),
            model: self.models.get_mut(model).and_then(start),
        }
    }

    fn record_success(&mut self, model: &str, tickets: Tickets) {
        if self.key.as_ref().is_some_and(|key| key.is_probe(tickets.key)) {
            self.key = None;
        }
        // A record that has not started to cool down counts troubles in a row, and the row ends here.
        let is_over = |own: &Cooldown| own.is_probe(tickets.model) || !own.has_started();
        if self.models.get(model).is_some_and(is_over) {
            self.models.remove(model);
        }
    }

    fn record_failure(
        &mut self,
        model: &str,
        failure: Failure,
        policy: CooldownPolicy,
        tickets: Tickets,
        now: Instant,
    ) {
        let Self { key, models, jitter, .. } = self;
        match policy.scope {
            CooldownScope::Key => {
                Cooldown::record_failure(key, failure, policy, tickets.key, now, jitter);
                // The probe had no result for the model.
                if let Some(cooldown) = models.get_mut(model) {
                    cooldown.cancel_probe(tickets.model);
                }
            }
            CooldownScope::Model => {
                match key {
                    // A trouble of the provider is no result for the key either.
                    Some(own) if failure.class == Class::Trouble => own.cancel_probe(tickets.key),
                    Some(own) if own.is_probe(tickets.key) => *key = None,
                    _ => {}
                }
                if !model.is_empty() && model.len() <= MAX_MODEL_NAME {
                    let mut slot = models.get(model).copied();
                    Cooldown::record_failure(
                        &mut slot,
                        failure,
                        policy,
                        tickets.model,
                        now,
                        jitter,
                    );
                    if let Some(cooldown) = slot {
                        self.insert(model, cooldown, now);
                    }
                }
            }
        }
    }

    /// Inserts a record. At the limit, the one that ends first makes room.
    fn insert(&mut self, model: &str, cooldown: Cooldown, now: Instant) {
        if let Some(own) = self.models.get_mut(model) {
            *own = cooldown;
            return;
        }
        if self.models.len() >= MAX_MODELS {
            self.sweep(now);
        }
        if self.models.len() >= MAX_MODELS {
            let first = self.models.iter().min_by_key(|(_, own)| own.until());
            if let Some(name) = first.map(|(name, _)| name.clone()) {
                self.models.remove(&name);
            }
        }
        self.models.insert(model.into(), cooldown);
    }

    fn is_sweep_due(&self, now: Instant) -> bool {
        self.last_sweep.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP_INTERVAL)
    }

    fn sweep(&mut self, now: Instant) {
        self.last_sweep = Some(now);
        self.models.retain(|_, cooldown| !cooldown.is_stale(now));
    }
}

fn code_of(class: Class) -> u64 {
    let index = CLASSES.iter().position(|own| *own == class);
    index.map_or(0, |index| index as u64 + 1)
}

/// Returns the class whose code is in the lowest byte.
fn class_of(result: u64) -> Option<Class> {
    let index = usize::try_from(result & 0xff).ok()?.checked_sub(1)?;
    CLASSES.get(index).copied()
}

#[cfg(test)]
mod tests;
