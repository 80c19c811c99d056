//! `first_token`: an attempt whose first token is late makes way for another one, while there is another.
//!
//! A model that is slow is slow with every key, so the route's other targets and its fallbacks come first,
//! then the other keys of those that were slow. The last attempt that is left keeps the time that
//! `first_byte` gives it, and when the others fail, those that were only slow are asked once more: late is
//! better than never. Nothing of this is held against a key.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::walk::{Spot, Walk};
use super::{Answered, Call, Fallen, Try, noted};
use crate::gateway::record::Record;
use crate::route::{Plan, Target};
use crate::wire::failure::Class;

/// How much of a hurry a request is in.
#[derive(Debug)]
pub(super) struct Haste {
    first_token: Option<Duration>,
    /// Who was too slow.
    slow: Vec<Spot>,
    round: Round,
}

#[derive(Debug, PartialEq, Eq)]
enum Round {
    /// Hops where a key was slow are passed over.
    OtherHops,
    /// Their other keys are asked.
    OtherKeys,
    /// Whoever was slow is asked again, and given time.
    Patient,
}

impl Haste {
    pub(super) fn new(first_token: Option<Duration>) -> Self {
        Self { first_token, slow: Vec::new(), round: Round::OtherHops }
    }

    /// Whether the hop is left for later.
    pub(super) fn passes_over(&self, hop: Target<'_>) -> bool {
        self.round == Round::OtherHops && self.slow.iter().any(|spot| spot.is_at(hop))
    }
}

impl Walk {
    /// An attempt; `None` when its first token was late and another one can take its place.
    pub(super) async fn in_haste(
        &mut self,
        call: &Call<'_>,
        plan: &Plan<'_>,
        attempt: Try<'_>,
        record: &mut Record,
    ) -> Option<Result<Answered, Fallen>> {
        let (hop, limits) = (attempt.hop, attempt.limits);
        let (place, probe) = (attempt.chosen.place, attempt.chosen.pass.is_probe());
        let first_token = self.haste.first_token.filter(|_| self.haste.round != Round::Patient);
        let due = first_token.map(|span| limits.began + span).filter(|due| *due < limits.total);
        let mut attempt = pin!(noted(call, attempt, record));
        let Some(due) = due else { return Some(attempt.await) };
        if let Ok(tried) = timeout_at(due, attempt.as_mut()).await {
            return Some(tried);
        }
        let now = Instant::now();
        // The next attempt is paid for here: one that the budget does not allow is no reason to leave.
        self.troubled = true;
        if !self.has_another(call, plan, (hop, place), now) || !self.may_spend(call, now) {
            return Some(attempt.await);
        }
        self.troubled = false;
        call.gateway.providers[hop.provider].keys[place].failed(Class::Trouble.name());
        if probe {
            call.gateway.retries.probed();
        }
        let spot = Spot::new(hop, place);
        self.asked.push(spot.clone());
        self.haste.slow.push(spot);
        None
    }

    /// After the plan was gone through in vain: whether whoever was slow gives reason to do it once more.
    pub(super) fn calms_down(&mut self) -> bool {
        let Haste { slow, round, .. } = &mut self.haste;
        if slow.is_empty() || self.over {
            return false;
        }
        match round {
            Round::OtherHops => *round = Round::OtherKeys,
            Round::OtherKeys => {
                *round = Round::Patient;
                self.asked.retain(|spot| !slow.contains(spot));
            }
            Round::Patient => return false,
        }
        true
    }
}
