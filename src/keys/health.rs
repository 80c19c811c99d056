//! How one key fares: what was last seen of it, and what of it is left alone until when.
//!
//! Two things can cool: the key, and the key with one model. A cooldown ends half-open: one request
//! goes through as the probe, and to all others the key goes on cooling until the probe is back. Its
//! success clears, its failure cools for twice as long. Who comes late, with a failure of a request that
//! began before the cooldown, can extend it and never doubles it.

mod cooldown;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use self::cooldown::{Cooldown, Jitter};
use super::cooldown_policy::{CooldownPolicy, CooldownScope};
use super::state::KeyState;
use crate::wire::failure::{Class, Failure};

/// Models of one key that are remembered at once: callers choose their names.
const MODELS: usize = 256;
/// Longest name of a model that is remembered; the names of models are shorter.
const NAME: usize = 512;
/// How often is looked for models that nobody has asked for since their cooldown.
const SWEEP: Duration = Duration::from_secs(60);
/// The classes by the numbers that stand for them in one byte: 1 for the first. 0 is an answer.
const CLASSES: [Class; 7] = [
    Class::Caller,
    Class::ContextTooLong,
    Class::BadCredential,
    Class::NoAccess,
    Class::NoCredit,
    Class::Throttled,
    Class::Trouble,
];

/// The live state of one key. It is read on every choice: without a lock as long as nothing ails the key.
#[derive(Debug)]
pub struct Health {
    /// Whether there is anything in `ails`.
    ailing: AtomicBool,
    ails: Mutex<Cooldowns>,
    /// Unix time in seconds, and in the lowest byte what was seen; 0: nothing yet.
    last: AtomicU64,
}

#[derive(Debug)]
struct Cooldowns {
    key: Option<Cooldown>,
    models: BTreeMap<Box<str>, Cooldown>,
    swept: Option<Instant>,
    /// The number of the next probe.
    ticket: u64,
    jitter: Jitter,
}

/// What was last seen of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastResult {
    /// Why it failed; `None`: it answered.
    pub failure: Option<Class>,
    /// When the request began, to the second.
    pub at: SystemTime,
}

/// The leave for one request to use a key. A probe whose pass is dropped without a report did not take
/// place, and the next request is the probe.
#[derive(Debug, Default)]
pub struct Admission(Option<Box<Probe>>);

#[derive(Debug)]
struct Probe {
    health: Arc<Health>,
    model: Box<str>,
    tickets: Tickets,
}

/// The probe's number at the key, and at the key with the model.
#[derive(Clone, Copy, Debug, Default)]
struct Tickets {
    key: Option<u64>,
    model: Option<u64>,
}

impl Admission {
    /// Whether it is for a half-open probe.
    pub fn is_probe(&self) -> bool {
        self.0.is_some()
    }

    fn tickets(&self) -> Tickets {
        self.0.as_ref().map_or_else(Tickets::default, |probe| probe.tickets)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        let mut ails = self.health.ails();
        if let Some(key) = &mut ails.key {
            key.release(self.tickets.key);
        }
        if let Some(model) = ails.models.get_mut(&self.model) {
            model.release(self.tickets.model);
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self::seeded(RandomState::new().hash_one(0))
    }
}

impl Health {
    /// A key of which nothing is known. The seed is for the jitter of its cooldowns.
    pub fn seeded(seed: u64) -> Self {
        let ails = Cooldowns {
            key: None,
            models: BTreeMap::new(),
            swept: None,
            ticket: 1,
            jitter: Jitter::new(seed),
        };
        Self { ailing: AtomicBool::new(false), ails: Mutex::new(ails), last: AtomicU64::new(0) }
    }

    /// Whether the key can be asked for the model.
    pub fn state(&self, model: &str, now: Instant) -> KeyState {
        if !self.ailing.load(Ordering::Relaxed) {
            return KeyState::Available;
        }
        self.ails().state(model, now)
    }

    /// Leave to ask the key for the model; `None` while it is left alone.
    pub fn admit(self: &Arc<Self>, model: &str, now: Instant) -> Option<Admission> {
        if !self.ailing.load(Ordering::Relaxed) {
            return Some(Admission::default());
        }
        let mut ails = self.ails();
        if ails.is_to_be_swept(now) {
            ails.sweep(now);
            self.note(&ails);
        }
        match ails.state(model, now) {
            KeyState::Available => Some(Admission::default()),
            KeyState::CoolingDown { .. } | KeyState::Probing { .. } | KeyState::Busy(_) => None,
            KeyState::ProbeDue(_) => {
                let tickets = ails.probe(model, now);
                let health = self.clone();
                Some(Admission(Some(Box::new(Probe { health, model: model.into(), tickets }))))
            }
        }
    }

    /// The key has answered a request that began at that Unix time.
    pub fn record_success(&self, model: &str, pass: Admission, began: u64) {
        self.see(began << 8);
        if self.ailing.load(Ordering::Relaxed) {
            let mut ails = self.ails();
            ails.record_success(model, pass.tickets());
            self.note(&ails);
        }
        // Only now: dropping it takes the lock.
        drop(pass);
    }

    /// A request that began at that Unix time has failed with it. Without a model, a failure that is about
    /// a model says nothing.
    pub fn record_failure(
        &self,
        model: &str,
        failure: Failure,
        pass: Admission,
        began: u64,
        now: Instant,
    ) {
        self.see(began << 8 | code(failure.class));
        {
            let mut ails = self.ails();
            match CooldownPolicy::of(failure.class) {
                Some(row) => ails.record_failure(model, failure, row, pass.tickets(), now),
                // The provider has let the key in.
                None => ails.record_success(model, pass.tickets()),
            }
            self.note(&ails);
        }
        drop(pass);
    }

    /// Another key of the same account has failed with it: a limit of the account is a limit of this key.
    pub fn record_shared_failure(&self, model: &str, failure: Failure, now: Instant) {
        let Some(row) = CooldownPolicy::of(failure.class) else { return };
        let mut ails = self.ails();
        ails.record_failure(model, failure, row, Tickets::default(), now);
        self.note(&ails);
    }

    /// How the key itself stands, and each model that is not free.
    pub fn states(&self, now: Instant) -> (KeyState, Vec<(Box<str>, KeyState)>) {
        if !self.ailing.load(Ordering::Relaxed) {
            return (KeyState::Available, Vec::new());
        }
        let ails = self.ails();
        let models = ails.models.iter().map(|(name, own)| (name.clone(), own.state(now)));
        let models = models.filter(|(_, standing)| *standing != KeyState::Available).collect();
        (ails.key.map_or(KeyState::Available, |key| key.state(now)), models)
    }

    /// What was last seen of it.
    pub fn last(&self) -> Option<LastResult> {
        match self.last.load(Ordering::Relaxed) {
            0 => None,
            seen => {
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seen >> 8);
                Some(LastResult { failure: class(seen), at })
            }
        }
    }

    /// Written at most once a second while all is well.
    fn see(&self, seen: u64) {
        if self.last.load(Ordering::Relaxed) != seen {
            self.last.store(seen, Ordering::Relaxed);
        }
    }

    /// Cooldowns change as a whole or not at all: a panic elsewhere leaves them as good as they were.
    fn ails(&self) -> MutexGuard<'_, Cooldowns> {
        self.ails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, ails: &Cooldowns) {
        self.ailing.store(ails.key.is_some() || !ails.models.is_empty(), Ordering::Relaxed);
    }
}

impl Cooldowns {
    fn state(&self, model: &str, now: Instant) -> KeyState {
        let of =
            |ailment: Option<&Cooldown>| ailment.map_or(KeyState::Available, |own| own.state(now));
        of(self.key.as_ref()).and(of(self.models.get(model)))
    }

    /// Gives out the probe of what is due.
    fn probe(&mut self, model: &str, now: Instant) -> Tickets {
        let ticket = self.ticket;
        self.ticket += 1;
        let claim = |own: &mut Cooldown| own.claim(ticket, now);
        Tickets {
            key: self.key.as_mut().and_then(claim),
            model: self.models.get_mut(model).and_then(claim),
        }
    }

    fn record_success(&mut self, model: &str, tickets: Tickets) {
        if self.key.as_ref().is_some_and(|key| key.is_probe(tickets.key)) {
            self.key = None;
        }
        // Without a cooldown, it was counting troubles in a row, and the row ends here.
        let over = |own: &Cooldown| own.is_probe(tickets.model) || !own.cools();
        if self.models.get(model).is_some_and(over) {
            self.models.remove(model);
        }
    }

    fn record_failure(
        &mut self,
        model: &str,
        failure: Failure,
        row: CooldownPolicy,
        tickets: Tickets,
        now: Instant,
    ) {
        let Self { key, models, jitter, .. } = self;
        match row.reach {
            CooldownScope::Key => {
                Cooldown::strike(key, failure, row, tickets.key, now, jitter);
                // Nothing was learnt of the model.
                if let Some(own) = models.get_mut(model) {
                    own.release(tickets.model);
                }
            }
            CooldownScope::Model => {
                match key {
                    // Nor of the key, in a provider's trouble.
                    Some(own) if failure.class == Class::Trouble => own.release(tickets.key),
                    Some(own) if own.is_probe(tickets.key) => *key = None,
                    _ => {}
                }
                if !model.is_empty() && model.len() <= NAME {
                    let mut slot = models.get(model).copied();
                    Cooldown::strike(&mut slot, failure, row, tickets.model, now, jitter);
                    if let Some(ailment) = slot {
                        self.keep(model, ailment, now);
                    }
                }
            }
        }
    }

    fn keep(&mut self, model: &str, ailment: Cooldown, now: Instant) {
        if let Some(own) = self.models.get_mut(model) {
            *own = ailment;
            return;
        }
        if self.models.len() >= MODELS {
            self.sweep(now);
        }
        if self.models.len() >= MODELS {
            let soonest = self.models.iter().min_by_key(|(_, own)| own.until());
            if let Some(name) = soonest.map(|(name, _)| name.clone()) {
                self.models.remove(&name);
            }
        }
        self.models.insert(model.into(), ailment);
    }

    fn is_to_be_swept(&self, now: Instant) -> bool {
        self.swept.is_none_or(|at| now.saturating_duration_since(at) >= SWEEP)
    }

    fn sweep(&mut self, now: Instant) {
        self.swept = Some(now);
        self.models.retain(|_, own| !own.is_stale(now));
    }
}

fn code(class: Class) -> u64 {
    let place = CLASSES.iter().position(|own| *own == class);
    place.map_or(0, |place| place as u64 + 1)
}

/// The class in the lowest byte.
fn class(word: u64) -> Option<Class> {
    let place = usize::try_from(word & 0xff).ok()?.checked_sub(1)?;
    CLASSES.get(place).copied()
}

#[cfg(test)]
mod tests;
