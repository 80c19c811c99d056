//! How one key fares: what was last seen of it, and what of it is left alone until when.
//!
//! Two things can cool: the key, and the key with one model. A cooldown ends half-open: one request
//! goes through as the probe, and to all others the key goes on cooling until the probe is back. Its
//! success clears, its failure cools for twice as long. Who comes late, with a failure of a request that
//! began before the cooldown, can extend it and never doubles it.

mod ailment;

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::wire::failure::class::{Class, Failure};
use self::ailment::{Ailment, Jitter};
use super::cooldown::{Cooldown, Reach};
use super::standing::Standing;

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
    ails: Mutex<Ails>,
    /// Unix time in seconds, and in the lowest byte what was seen; 0: nothing yet.
    last: AtomicU64,
}

#[derive(Debug)]
struct Ails {
    key: Option<Ailment>,
    models: BTreeMap<Box<str>, Ailment>,
    swept: Option<Instant>,
    /// The number of the next probe.
    ticket: u64,
    jitter: Jitter,
}

/// What was last seen of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Why it failed; `None`: it answered.
    pub failure: Option<Class>,
    /// When the request began, to the second.
    pub at: SystemTime,
}

/// The leave for one request to use a key. A probe whose pass is dropped without a report did not take
/// place, and the next request is the probe.
#[derive(Debug, Default)]
pub struct Pass(Option<Box<Probe>>);

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

impl Pass {
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
        let ails = Ails {
            key: None,
            models: BTreeMap::new(),
            swept: None,
            ticket: 1,
            jitter: Jitter::new(seed),
        };
        Self { ailing: AtomicBool::new(false), ails: Mutex::new(ails), last: AtomicU64::new(0) }
    }

    /// Whether the key can be asked for the model.
    pub fn standing(&self, model: &str, now: Instant) -> Standing {
        if !self.ailing.load(Ordering::Relaxed) {
            return Standing::Free;
        }
        self.ails().standing(model, now)
    }

    /// Leave to ask the key for the model; `None` while it is left alone.
    pub fn admit(self: &Arc<Self>, model: &str, now: Instant) -> Option<Pass> {
        if !self.ailing.load(Ordering::Relaxed) {
            return Some(Pass::default());
        }
        let mut ails = self.ails();
        if ails.is_to_be_swept(now) {
            ails.sweep(now);
            self.note(&ails);
        }
        match ails.standing(model, now) {
            Standing::Free => Some(Pass::default()),
            Standing::Cooling { .. } | Standing::Probing { .. } | Standing::Busy(_) => None,
            Standing::Due(_) => {
                let tickets = ails.probe(model, now);
                let health = self.clone();
                Some(Pass(Some(Box::new(Probe { health, model: model.into(), tickets }))))
            }
        }
    }

    /// The key has answered a request that began at that Unix time.
    pub fn answered(&self, model: &str, pass: Pass, began: u64) {
        self.see(began << 8);
        if self.ailing.load(Ordering::Relaxed) {
            let mut ails = self.ails();
            ails.answered(model, pass.tickets());
            self.note(&ails);
        }
        // Only now: dropping it takes the lock.
        drop(pass);
    }

    /// A request that began at that Unix time has failed with it. Without a model, a failure that is about
    /// a model says nothing.
    pub fn failed(&self, model: &str, failure: Failure, pass: Pass, began: u64, now: Instant) {
        self.see(began << 8 | code(failure.class));
        {
            let mut ails = self.ails();
            match Cooldown::of(failure.class) {
                Some(row) => ails.failed(model, failure, row, pass.tickets(), now),
                // The provider has let the key in.
                None => ails.answered(model, pass.tickets()),
            }
            self.note(&ails);
        }
        drop(pass);
    }

    /// Another key of the same account has failed with it: a limit of the account is a limit of this key.
    pub fn shares(&self, model: &str, failure: Failure, now: Instant) {
        let Some(row) = Cooldown::of(failure.class) else { return };
        let mut ails = self.ails();
        ails.failed(model, failure, row, Tickets::default(), now);
        self.note(&ails);
    }

    /// How the key itself stands, and each model that is not free.
    pub fn told(&self, now: Instant) -> (Standing, Vec<(Box<str>, Standing)>) {
        if !self.ailing.load(Ordering::Relaxed) {
            return (Standing::Free, Vec::new());
        }
        let ails = self.ails();
        let models = ails.models.iter().map(|(name, own)| (name.clone(), own.standing(now)));
        let models = models.filter(|(_, standing)| *standing != Standing::Free).collect();
        (ails.key.map_or(Standing::Free, |key| key.standing(now)), models)
    }

    /// What was last seen of it.
    pub fn last(&self) -> Option<Seen> {
        match self.last.load(Ordering::Relaxed) {
            0 => None,
            seen => {
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(seen >> 8);
                Some(Seen { failure: class(seen), at })
            }
        }
    }

    /// Written at most once a second while all is well.
    fn see(&self, seen: u64) {
        if self.last.load(Ordering::Relaxed) != seen {
            self.last.store(seen, Ordering::Relaxed);
        }
    }

    /// Ails change as a whole or not at all: a panic elsewhere leaves them as good as they were.
    fn ails(&self) -> MutexGuard<'_, Ails> {
        self.ails.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, ails: &Ails) {
        self.ailing.store(ails.key.is_some() || !ails.models.is_empty(), Ordering::Relaxed);
    }
}

impl Ails {
    fn standing(&self, model: &str, now: Instant) -> Standing {
        let of =
            |ailment: Option<&Ailment>| ailment.map_or(Standing::Free, |own| own.standing(now));
        of(self.key.as_ref()).and(of(self.models.get(model)))
    }

    /// Gives out the probe of what is due.
    fn probe(&mut self, model: &str, now: Instant) -> Tickets {
        let ticket = self.ticket;
        self.ticket += 1;
        let claim = |own: &mut Ailment| own.claim(ticket, now);
        Tickets {
            key: self.key.as_mut().and_then(claim),
            model: self.models.get_mut(model).and_then(claim),
        }
    }

    fn answered(&mut self, model: &str, tickets: Tickets) {
        if self.key.as_ref().is_some_and(|key| key.is_probe(tickets.key)) {
            self.key = None;
        }
        // Without a cooldown, it was counting troubles in a row, and the row ends here.
        let over = |own: &Ailment| own.is_probe(tickets.model) || !own.cools();
        if self.models.get(model).is_some_and(over) {
            self.models.remove(model);
        }
    }

    fn failed(
        &mut self,
        model: &str,
        failure: Failure,
        row: Cooldown,
        tickets: Tickets,
        now: Instant,
    ) {
        let Self { key, models, jitter, .. } = self;
        match row.reach {
            Reach::Key => {
                Ailment::strike(key, failure, row, tickets.key, now, jitter);
                // Nothing was learnt of the model.
                if let Some(own) = models.get_mut(model) {
                    own.release(tickets.model);
                }
            }
            Reach::Model => {
                match key {
                    // Nor of the key, in a provider's trouble.
                    Some(own) if failure.class == Class::Trouble => own.release(tickets.key),
                    Some(own) if own.is_probe(tickets.key) => *key = None,
                    _ => {}
                }
                if !model.is_empty() && model.len() <= NAME {
                    let mut slot = models.get(model).copied();
                    Ailment::strike(&mut slot, failure, row, tickets.model, now, jitter);
                    if let Some(ailment) = slot {
                        self.keep(model, ailment, now);
                    }
                }
            }
        }
    }

    fn keep(&mut self, model: &str, ailment: Ailment, now: Instant) {
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
