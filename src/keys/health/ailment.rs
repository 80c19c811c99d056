//! What ails a key, or a key with one model: troubles counted, a cooldown, its probe.

use std::time::{Duration, Instant};

use crate::keys::cooldown::{Cooldown, LONGEST, TROUBLES};
use crate::keys::standing::{Reason, Standing};
use crate::wire::failure::class::{Class, Failure};

/// So much longer than the table has it a cooldown may be, so that keys which failed together are not
/// probed together.
const JITTER: f64 = 0.1;
/// What nobody has asked for since then is forgotten.
const STALE: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug)]
pub(super) struct Ailment {
    why: Class,
    /// `None`: troubles are counted, and nothing cools.
    until: Option<Instant>,
    /// Cooldowns for `why` before this one whose probes have failed.
    round: u32,
    /// Troubles in a row.
    troubles: u32,
    /// The number of the probe under way, and when it began.
    probe: Option<(u64, Instant)>,
    /// When it failed last.
    failed: Instant,
}

impl Ailment {
    pub(super) fn standing(&self, now: Instant) -> Standing {
        let why = self.why;
        match (self.until, self.probe) {
            (None, _) => Standing::Free,
            (Some(_), Some((_, since))) => Standing::Probing { why, since },
            (Some(until), None) => match until.saturating_duration_since(now) {
                Duration::ZERO => Standing::Due(why),
                left => Standing::Cooling { why: Reason::Failed(why), left },
            },
        }
    }

    pub(super) fn cools(&self) -> bool {
        self.until.is_some()
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Nobody has asked since it was over, or since the last trouble.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        let over = self.until.unwrap_or(self.failed);
        self.probe.is_none() && now.saturating_duration_since(over) >= STALE
    }

    /// Begins the probe, if it is due.
    pub(super) fn claim(&mut self, ticket: u64, now: Instant) -> Option<u64> {
        let due = matches!(self.standing(now), Standing::Due(_));
        due.then(|| {
            self.probe = Some((ticket, now));
            ticket
        })
    }

    pub(super) fn is_probe(&self, ticket: Option<u64>) -> bool {
        ticket.is_some() && self.probe.map(|(own, _)| own) == ticket
    }

    /// The probe did not take place.
    pub(super) fn release(&mut self, ticket: Option<u64>) {
        if self.is_probe(ticket) {
            self.probe = None;
        }
    }

    /// Takes note of a failure of a request with this ticket.
    pub(super) fn strike(
        slot: &mut Option<Self>,
        failure: Failure,
        row: Cooldown,
        ticket: Option<u64>,
        now: Instant,
        jitter: &mut Jitter,
    ) {
        let why = failure.class;
        let fresh = Self { why, until: None, round: 0, troubles: 0, probe: None, failed: now };
        let own = slot.get_or_insert(fresh);
        own.failed = now;
        let probed = own.is_probe(ticket);
        own.release(ticket);
        let round = match own.until {
            None if why == Class::Trouble => {
                own.troubles += 1;
                if own.troubles < TROUBLES {
                    return;
                }
                0
            }
            Some(_) if own.why == why => own.round + u32::from(probed),
            // One trouble is everyday, unless it is the answer to the probe.
            Some(_) if why == Class::Trouble && !probed => return,
            _ => 0,
        };
        let until = now + jitter.on(row.span(failure, round));
        let longer = own.until.is_none_or(|old| until > old);
        if longer || probed {
            let until = own.until.map_or(until, |old| until.max(old));
            *own = Self { why, until: Some(until), round, troubles: 0, ..*own };
        }
    }
}

/// Random numbers from a seed (splitmix64: <https://prng.di.unimi.it/splitmix64.c>).
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The span and up to a tenth of it, an hour at most.
    fn on(&mut self, span: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let share = f64::from(u32::try_from(word >> 32).unwrap_or_default()) / f64::from(u32::MAX);
        span.mul_f64(1.0 + JITTER * share).min(LONGEST)
    }
}
