//! Attempt after attempt until one is answered: the keys of the first provider, then the route's other
//! targets and its fallbacks; and all of them again after a wait, when one is soon to be free.

use std::ops::ControlFlow;
use std::pin::pin;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::budget::Budget;
use super::haste::Haste;
use super::resting::AllResting;
use super::stay::Bonds;
use super::{Answered, Call, Fallen, Limits, Rest, Try};
use crate::config::{Rescue, Route, RouteTimeouts, Timeouts};
use crate::gateway::answer::Refusal;
use crate::gateway::record::Record;
use crate::keys::places::{Permit, Waiter};
use crate::keys::{Chosen, Standing, Tried, Want, Whose};
use crate::provider::{Conversion, Kind};
use crate::route::{self, Plan, Target};
use crate::wire::failure::Class;
use crate::wire::fields::Rejected;

/// A token of English text has about four bytes, and JSON around it little more
/// (<https://platform.openai.com/tokenizer>). What the answer may have is not known before.
const BYTES_A_TOKEN: u64 = 4;

/// What requests share as they try again; it outlives every configuration.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Retries {
    budget: Budget,
    /// A probe is back.
    probed: Notify,
}

impl Retries {
    /// Tells those who wait that a probe is back.
    pub(super) fn probed(&self) {
        self.probed.notify_waiters();
    }
}

/// A request on its way through its plan: all that it has met so far. It borrows nothing, so that a request
/// whose stream breaks can go on from where it stood, with the same call and plan made anew.
pub(in crate::gateway) struct Walk {
    /// What ties it to a key.
    bonds: Bonds,
    /// The route's own deadlines.
    set: RouteTimeouts,
    pub(super) haste: Haste,
    /// Whether a stream that breaks is to be followed by another attempt.
    rescues: bool,
    began: Instant,
    /// Of the failures so far, the one that says most.
    kept: Option<(Class, Rest)>,
    /// Providers that have been silent: they are not asked again.
    silent: Vec<usize>,
    /// Models that the prompt does not fit.
    too_long: Vec<Box<str>>,
    /// Providers and models that the request cannot be put to, and why.
    unsaid: Vec<(usize, Box<str>, Rejected)>,
    /// Keys that have failed since the latest wait.
    pub(super) asked: Vec<Spot>,
    /// Those that no wait makes better: they do not cool for their failure.
    spent: Vec<Spot>,
    /// Who has answered, and whether it was asked at the first attempt at its hop.
    answered: Option<(Spot, bool)>,
    /// The only key of its hop whose stream broke: it gets its second try.
    again: Option<Spot>,
    /// The latest attempt met a provider's trouble, so the next one is paid for.
    pub(super) troubled: bool,
    /// No attempt may follow.
    pub(super) over: bool,
    waits: u32,
    /// The place that the latest wait was for.
    given: Option<Permit>,
}

/// A key at a hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    provider: usize,
    model: Box<str>,
    key: usize,
}

impl Spot {
    pub(super) fn new(hop: Target<'_>, key: usize) -> Self {
        Self { provider: hop.provider, model: hop.model.into(), key }
    }

    pub(super) fn is_at(&self, hop: Target<'_>) -> bool {
        self.provider == hop.provider && *self.model == *hop.model
    }

    pub(super) fn is(&self, hop: Target<'_>, key: usize) -> bool {
        self.key == key && self.is_at(hop)
    }
}

impl Walk {
    pub(in crate::gateway) fn new(call: &Call<'_>, route: Option<&Route>) -> Self {
        call.gateway.retries.budget.request();
        Self {
            bonds: Bonds::default(),
            set: route.map(|route| route.timeouts).unwrap_or_default(),
            haste: Haste::new(route.and_then(|route| route.first_token).filter(|_| call.streams())),
            rescues: route.is_some_and(|route| route.rescue != Rescue::None),
            began: Instant::now(),
            kept: None,
            silent: Vec::new(),
            too_long: Vec::new(),
            unsaid: Vec::new(),
            asked: Vec::new(),
            spent: Vec::new(),
            answered: None,
            again: None,
            troubled: false,
            over: false,
            waits: 0,
            given: None,
        }
    }

    /// The next answer. Call and plan are those that the walk began with.
    pub(in crate::gateway) async fn next(
        &mut self,
        call: &Call<'_>,
        plan: &Plan<'_>,
        record: &mut Record,
    ) -> Result<Answered, Refusal> {
        loop {
            for hop in plan.clone().filter(|hop| call.is_open(*hop)) {
                if let ControlFlow::Break(end) = self.hop(call, plan, hop, record).await {
                    return end;
                }
                if self.over {
                    break;
                }
            }
            if !self.calms_down() && !self.wait(call, plan).await {
                return self.give_up(call, plan, record);
            }
        }
    }

    /// The latest answer's stream broke off: what follows is as after any trouble.
    pub(in crate::gateway) fn broke(&mut self, stalled: bool) {
        let Some((spot, first)) = self.answered.take() else { return };
        self.troubled = true;
        if stalled {
            self.silent.push(spot.provider);
        } else if first {
            self.again = Some(spot.clone());
        }
        self.asked.push(spot);
    }

    /// The keys of one provider, each once; its only key once more after a trouble.
    async fn hop(
        &mut self,
        call: &Call<'_>,
        plan: &Plan<'_>,
        hop: Target<'_>,
        record: &mut Record,
    ) -> ControlFlow<Result<Answered, Refusal>> {
        if self.is_out(hop) || self.haste.passes_over(hop) {
            return ControlFlow::Continue(());
        }
        let written = match call.written(hop) {
            Ok(written) => written,
            Err(rejected) => {
                self.unsaid.push((hop.provider, hop.model.into(), rejected));
                return ControlFlow::Continue(());
            }
        };
        let gateway = call.gateway;
        let timeouts = gateway.config.providers[hop.provider].timeouts;
        let total = self.total(&timeouts);
        // A route may name a hop twice.
        let failed = self.spent.iter().chain(&self.asked).filter(|spot| spot.is_at(hop));
        let mut tried: Tried = failed.map(|spot| spot.key).collect();
        let mut only = self.again.take_if(|spot| spot.is_at(hop)).map(|spot| spot.key);
        let mut attempts = usize::from(only.is_some());
        loop {
            let now = Instant::now();
            if now >= total {
                return ControlFlow::Continue(());
            }
            let chosen = self.choose(call, hop, &mut tried, only, now);
            let Some(chosen) = chosen else { return ControlFlow::Continue(()) };
            if !self.may_spend(call, now) {
                self.over = true;
                return ControlFlow::Continue(());
            }
            attempts += 1;
            let place = chosen.place;
            let limits = Limits {
                began: now,
                connect: timeouts.connect,
                first_byte: (now + self.set.first_byte.unwrap_or(timeouts.first_byte)).min(total),
                idle: self.set.idle.unwrap_or(timeouts.idle),
                total,
            };
            let attempt = Try { hop, chosen, limits, written: written.as_ref() };
            let tried_in_time = self.in_haste(call, plan, attempt, record).await;
            let Some(tried_in_time) = tried_in_time else { return ControlFlow::Continue(()) };
            let Fallen { failure, rest, silent } = match tried_in_time {
                Ok(answered) => {
                    if self.rescues {
                        self.answered = Some((Spot::new(hop, place), attempts == 1));
                    }
                    return ControlFlow::Break(Ok(answered));
                }
                Err(fallen) => fallen,
            };
            if failure.class == Class::Caller {
                return ControlFlow::Break(rest.into_answer());
            }
            self.keep(failure.class, rest);
            self.asked.push(Spot::new(hop, place));
            if silent {
                self.silent.push(hop.provider);
                return ControlFlow::Continue(());
            }
            if failure.class == Class::ContextTooLong {
                self.too_long.push(hop.model.into());
                return ControlFlow::Continue(());
            }
            only = (attempts == 1 && self.waits == 0 && self.troubled).then_some(place);
        }
    }

    /// A key that was not tried, or else the only one again.
    fn choose(
        &mut self,
        call: &Call<'_>,
        hop: Target<'_>,
        tried: &mut Tried,
        only: Option<usize>,
        now: Instant,
    ) -> Option<Chosen> {
        let pool = &call.gateway.providers[hop.provider].pool;
        let (want, now) = (call.want(hop), now.into_std());
        let Self { bonds, given, .. } = self;
        let fresh = match call.pin {
            Some(owner) => pool.this(owner.key, want, tried, given, now),
            None => pool.choose(want, tried, given, now, &|| bonds.ties(call, hop)),
        };
        let chosen = fresh.or_else(|| pool.again(only?, want, given, now))?;
        // The place that was waited for is used now, or another came free in the meantime.
        self.given = None;
        Some(chosen)
    }

    /// Whether an attempt may be made; one that follows a trouble is paid for.
    pub(super) fn may_spend(&self, call: &Call<'_>, now: Instant) -> bool {
        let gateway = call.gateway;
        !self.troubled || gateway.retries.budget.take(gateway.config.retry, now.into_std())
    }

    fn keep(&mut self, class: Class, rest: Rest) {
        self.troubled = class == Class::Trouble;
        if self.kept.as_ref().is_none_or(|(kept, _)| rank(class) >= rank(*kept)) {
            self.kept = Some((class, rest));
        }
    }

    /// Whether this request has had enough of the hop.
    fn is_out(&self, hop: Target<'_>) -> bool {
        self.silent.contains(&hop.provider)
            || self.too_long.iter().any(|model| **model == *hop.model)
            || self.unsaid.iter().any(|(of, model, _)| *of == hop.provider && **model == *hop.model)
    }

    fn total(&self, timeouts: &Timeouts) -> Instant {
        self.began + self.set.total.unwrap_or(timeouts.total)
    }

    /// Whether a key that may be asked now has not been, save this one.
    pub(super) fn has_another(
        &self,
        call: &Call<'_>,
        plan: &Plan<'_>,
        than: (Target<'_>, usize),
        now: Instant,
    ) -> bool {
        let is_left = |hop: Target<'_>, key: usize| {
            (hop, key) != than
                && !self.spent.iter().chain(&self.asked).any(|spot| spot.is(hop, key))
        };
        plan.clone().filter(|hop| call.is_open(*hop) && !self.is_out(*hop)).any(|hop| {
            let all = call.standings(hop, now);
            now < self.total(&call.gateway.config.providers[hop.provider].timeouts)
                && all.iter().any(|(key, standing)| standing.is_open() && is_left(hop, *key))
        })
    }

    /// Waits until a key is due or a place has come free, if that is soon. `false`: it is not, or the
    /// request has waited enough.
    async fn wait(&mut self, call: &Call<'_>, plan: &Plan<'_>) -> bool {
        let gateway = call.gateway;
        self.given = None;
        if self.over || self.waits >= gateway.config.retry.max_waits {
            return false;
        }
        self.waits += 1;
        let now = Instant::now();
        let by = now + gateway.config.server.queue_timeout;
        for spot in self.asked.drain(..) {
            let pool = &gateway.providers[spot.provider].pool;
            let standing = pool.members()[spot.key].health.standing(&spot.model, now.into_std());
            if standing.is_open() {
                self.spent.push(spot);
            }
        }
        let mut line = Waiter::default();
        loop {
            // Listens before it looks: what happens in between is not missed.
            let mut probed = pin!(gateway.retries.probed.notified());
            probed.as_mut().enable();
            let now = Instant::now();
            match self.soonest(call, plan, now, by, &mut line) {
                None => return false,
                Some(due) if due <= now => return true,
                Some(due) => {
                    let either = async {
                        tokio::select! {
                            permit = &mut line => Some(permit),
                            () = probed => None,
                        }
                    };
                    if let Ok(Some(permit)) = timeout_at(due, either).await {
                        self.given = Some(permit);
                        return true;
                    }
                }
            }
        }
    }

    /// When it is worth while to look at the keys again; `None`: not by then. Lines up for the places of
    /// those that are busy.
    fn soonest(
        &self,
        call: &Call<'_>,
        plan: &Plan<'_>,
        now: Instant,
        by: Instant,
        line: &mut Waiter,
    ) -> Option<Instant> {
        let config = &call.gateway.config;
        let mut soonest: Option<Instant> = None;
        for hop in plan.clone().filter(|hop| call.is_open(*hop) && !self.is_out(*hop)) {
            let total = self.total(&config.providers[hop.provider].timeouts);
            for (place, standing) in call.standings(hop, now) {
                if self.spent.iter().any(|spot| spot.is(hop, place)) {
                    continue;
                }
                let due = match standing {
                    Standing::Free | Standing::Due(_) => now,
                    Standing::Cooling { left, .. } => now + left,
                    Standing::Busy(whose) => {
                        let pool = &call.gateway.providers[hop.provider].pool;
                        let places = match whose {
                            Whose::Key => &pool.members()[place].places,
                            Whose::Provider => pool.places(),
                        };
                        if by <= now || by >= total || !line.line_up(places) {
                            continue;
                        }
                        by
                    }
                    // An answer may take minutes: a probe that is not back soon is not waited for.
                    Standing::Probing { since, .. } => {
                        let patience = Instant::from_std(since) + config.server.queue_timeout;
                        if patience.min(by) <= now {
                            continue;
                        }
                        patience.min(by)
                    }
                };
                if due <= by && due < total && soonest.is_none_or(|known| due < known) {
                    soonest = Some(due);
                }
            }
        }
        soonest
    }

    /// The answer when nothing more can be tried.
    fn give_up(
        &mut self,
        call: &Call<'_>,
        plan: &Plan<'_>,
        record: &Record,
    ) -> Result<Answered, Refusal> {
        let model = record.model.clone().unwrap_or_default();
        let now = Instant::now();
        let config = &call.gateway.config;
        let kept = self.kept.take();
        // A stream may outlive the walk that cannot go on with it.
        self.given = None;
        let mut keys: Vec<(String, Standing)> = Vec::new();
        let unsaid = |hop: Target<'_>| {
            let all = &mut self.unsaid.iter();
            all.any(|(of, model, _)| *of == hop.provider && **model == *hop.model)
        };
        for hop in plan.clone().filter(|hop| call.is_open(*hop) && !unsaid(*hop)) {
            if kept.is_some() {
                break;
            }
            for (place, standing) in call.standings(hop, now) {
                let name = call.key_name(hop, place);
                if !keys.iter().any(|(known, _)| *known == name) {
                    keys.push((name, standing));
                }
            }
        }
        match (kept, call.other_api(plan.clone())) {
            (Some((_, rest)), _) => rest.into_answer(),
            (None, _) if !keys.is_empty() => Err(Refusal::Resting(AllResting { model, keys })),
            (None, _) if !self.unsaid.is_empty() => {
                Err(Refusal::Unsaid(self.unsaid.swap_remove(0).2))
            }
            (None, Some((provider, kind))) => Err(Refusal::OtherApi {
                provider: config.providers[provider].name.to_string(),
                kind,
                operation: call.what.operation(),
            }),
            (None, None) => Err(Refusal::NoKeyOpen(model)),
        }
    }
}

impl Call<'_> {
    /// What a key of the hop is wanted for.
    pub(super) fn want<'h>(&'h self, hop: Target<'h>) -> Want<'h> {
        let tokens = (self.body.len() as u64).div_ceil(BYTES_A_TOKEN);
        Want { client: self.client_name(), model: hop.model, tokens }
    }

    /// `provider/key`
    pub(super) fn key_name(&self, hop: Target<'_>, key: usize) -> String {
        let provider = &self.gateway.config.providers[hop.provider];
        format!("{}/{}", provider.name, provider.keys[key].name)
    }

    pub(super) fn client_name(&self) -> Option<&str> {
        self.client.map(|client| &*client.name)
    }

    /// Whether the answer is asked for as a stream.
    fn streams(&self) -> bool {
        self.what.streams()
    }

    /// The keys of a hop that may serve, and how they stand.
    fn standings(&self, hop: Target<'_>, now: Instant) -> Vec<(usize, Standing)> {
        let pool = &self.gateway.providers[hop.provider].pool;
        let mut all = pool.standings(self.want(hop), now.into_std());
        all.retain(|(place, _)| self.pin.is_none_or(|owner| owner.key == *place));
        all
    }

    /// Whether the hop can serve what is asked for, and the caller may have it.
    fn is_open(&self, hop: Target<'_>) -> bool {
        let config = &self.gateway.config;
        self.way(hop) != Conversion::Unsupported
            && self.pin.is_none_or(|owner| owner.provider == hop.provider)
            && self.client.is_none_or(|client| route::is_target_allowed(client, config, hop))
    }

    /// The last of the plan's providers that do not have what is asked for in the form it is asked in.
    fn other_api(&self, plan: Plan<'_>) -> Option<(usize, Kind)> {
        let hop = plan.filter(|hop| self.way(*hop) == Conversion::Unsupported).last()?;
        Some((hop.provider, self.gateway.config.providers[hop.provider].kind))
    }
}

/// Of several failures the caller is told the one that says most of what it can do: a limit that will
/// pass comes before a key that it knows nothing of.
fn rank(class: Class) -> u8 {
    match class {
        Class::BadCredential => 0,
        Class::NoCredit => 1,
        Class::NoAccess => 2,
        Class::Trouble => 3,
        Class::Throttled => 4,
        Class::ContextTooLong => 5,
        Class::Caller => 6,
    }
}
