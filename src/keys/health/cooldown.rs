//! The record of failures of a key, or of a key with one model: provider troubles counted, the cooldown,
//! and its probe.

use std::time::{Duration, Instant};

use crate::keys::cooldown_policy::{CooldownPolicy, MAX_COOLDOWN, TROUBLE_THRESHOLD};
use crate::keys::state::{KeyState, Reason};
use crate::wire::failure::class::{Class, Failure};

/// Largest part of a cooldown that is added to it at random, so that keys which failed together are not
/// probed together.
const JITTER: f64 = 0.1;
/// A record that no request has used for this long is deleted.
const STALE_AFTER: Duration = Duration::from_secs(3600);

#[derive(Clone, Copy, Debug)]
pub(super) struct Cooldown {
    class: Class,
    /// `None` while troubles are only counted.
    until: Option<Instant>,
    /// Number of earlier cooldowns of the same class whose probes failed.
    failed_probes: u32,
    /// Number of troubles in a row.
    troubles: u32,
    /// The ticket of the probe under way, and when it began.
    probe: Option<(u64, Instant)>,
    last_failure: Instant,
}

impl Cooldown {
    pub(super) fn state(&self, now: Instant) -> KeyState {
        let class = self.class;
        match (self.until, self.probe) {
            (None, _) => KeyState::Available,
            (Some(_), Some((_, since))) => KeyState::Probing { class, since },
            (Some(until), None) => match until.saturating_duration_since(now) {
                Duration::ZERO => KeyState::ProbeDue(class),
                remaining => KeyState::CoolingDown { reason: Reason::Failure(class), remaining },
            },
        }
    }

    /// Returns false while troubles are only counted.
    pub(super) fn has_started(&self) -> bool {
        self.until.is_some()
    }

    pub(super) fn until(&self) -> Option<Instant> {
        self.until
    }

    /// Returns true if no request has been sent for [`STALE_AFTER`] since the end of the cooldown, or since
    /// the last trouble.
    pub(super) fn is_stale(&self, now: Instant) -> bool {
        let end = self.until.unwrap_or(self.last_failure);
        self.probe.is_none() && now.saturating_duration_since(end) >= STALE_AFTER
    }

    /// Starts the probe if it is due, and returns its ticket.
    pub(super) fn start_probe(&mut self, ticket: u64, now: Instant) -> Option<u64> {
        let is_due = matches!(self.state(now), KeyState::ProbeDue(_));
        is_due.then(|| {
            self.probe = Some((ticket, now));
            ticket
        })
    }

    pub(super) fn is_probe(&self, ticket: Option<u64>) -> bool {
        ticket.is_some() && self.probe.map(|(probe, _)| probe) == ticket
    }

    /// Ends the probe without a result.
    pub(super) fn cancel_probe(&mut self, ticket: Option<u64>) {
        if self.is_probe(ticket) {
            self.probe = None;
        }
    }

    /// Records a failure of the request that has this ticket, if it has one.
    pub(super) fn record_failure(
        slot: &mut Option<Self>,
        failure: Failure,
        policy: CooldownPolicy,
        ticket: Option<u64>,
        now: Instant,
        jitter: &mut Jitter,
    ) {
        let class = failure.class;
        let cooldown = slot.get_or_insert(Self {
            class,
            until: None,
            failed_probes: 0,
            troubles: 0,
            probe: None,
            last_failure: now,
        });
        cooldown.last_failure = now;
        let was_probe = cooldown.is_probe(ticket);
        cooldown.cancel_probe(ticket);
        let failed_probes = match cooldown.until {
            None if class == Class::Trouble => {
                cooldown.troubles += 1;
                if cooldown.troubles < TROUBLE_THRESHOLD {
                    return;
                }
                0
            }
            Some(_) if cooldown.class == class => cooldown.failed_probes + u32::from(was_probe),
            // A single trouble is too common to change a cooldown of another class, unless it is the
            // result of the probe.
            Some(_) if class == Class::Trouble && !was_probe => return,
            _ => 0,
        };
        let until = now + jitter.add_to(policy.duration(failure, failed_probes));
        let is_longer = cooldown.until.is_none_or(|current| until > current);
        if is_longer || was_probe {
            let until = cooldown.until.map_or(until, |current| until.max(current));
            *cooldown = Self { class, until: Some(until), failed_probes, troubles: 0, ..*cooldown };
        }
    }
}

/// A generator of random numbers (splitmix64: <https://prng.di.unimi.it/splitmix64.c>).
#[derive(Debug)]
pub(super) struct Jitter(u64);

impl Jitter {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Returns the duration, made longer by up to a tenth, and at most [`MAX_COOLDOWN`].
    fn add_to(&mut self, duration: Duration) -> Duration {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let fraction =
            f64::from(u32::try_from(bits >> 32).unwrap_or_default()) / f64::from(u32::MAX);
        duration.mul_f64(1.0 + JITTER * fraction).min(MAX_COOLDOWN)
    }
}
