//! Attempt after attempt until one is answered: the keys of the first provider, then the route's other
//! targets and its fallbacks; and all of them again after a wait, when one is soon to be free.

use std::ops::ControlFlow;
use std::pin::pin;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use super::budget::Budget;
use super::resting::AllResting;
use super::{Answered, Call, Fallen, Limits, Rest, noted};
use crate::config::{RouteTimeouts, Timeouts};
use crate::gateway::answer::Refusal;
use crate::gateway::record::Record;
use crate::keys::{Chosen, Standing, Tried};
use crate::provider::Kind;
use crate::route::{self, Hop, Plan};
use crate::wire::failure::Class;

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

/// Runs the plan.
pub(in crate::gateway) async fn run(
    call: &Call<'_>,
    plan: Plan<'_>,
    record: &mut Record,
) -> Result<Answered, Refusal> {
    call.gateway.retries.budget.request();
    let mut walk = Walk {
        call,
        set: plan.route.map(|route| route.timeouts).unwrap_or_default(),
        began: Instant::now(),
        kept: None,
        silent: Vec::new(),
        too_long: Vec::new(),
        asked: Vec::new(),
        spent: Vec::new(),
        troubled: false,
        over: false,
        waits: 0,
    };
    loop {
        for hop in plan.clone().filter(|hop| walk.call.is_open(*hop)) {
            if let ControlFlow::Break(end) = walk.hop(hop, record).await {
                return end;
            }
            if walk.over {
                break;
            }
        }
        if !walk.wait(&plan).await {
            return walk.give_up(plan, record);
        }
    }
}

/// A request on its way through the plan.
struct Walk<'w, 'c> {
    call: &'w Call<'c>,
    /// The route's own deadlines.
    set: RouteTimeouts,
    began: Instant,
    /// Of the failures so far, the one that says most.
    kept: Option<(Class, Rest)>,
    /// Providers that have been silent: they are not asked again.
    silent: Vec<usize>,
    /// Models that the prompt does not fit.
    too_long: Vec<&'w str>,
    /// Keys that have failed, by place, since the latest wait.
    asked: Vec<(Hop<'w>, usize)>,
    /// Those that no wait makes better: they do not cool for their failure.
    spent: Vec<(Hop<'w>, usize)>,
    /// The latest attempt met a provider's trouble, so the next one is paid for.
    troubled: bool,
    /// No attempt may follow.
    over: bool,
    waits: u32,
}

impl<'w> Walk<'w, '_> {
    /// The keys of one provider, each once; its only key once more after a trouble.
    async fn hop(
        &mut self,
        hop: Hop<'w>,
        record: &mut Record,
    ) -> ControlFlow<Result<Answered, Refusal>> {
        if self.is_out(hop) {
            return ControlFlow::Continue(());
        }
        let gateway = self.call.gateway;
        let timeouts = gateway.config.providers[hop.provider].timeouts;
        let total = self.total(&timeouts);
        // A route may name a hop twice.
        let failed = self.spent.iter().chain(&self.asked).filter(|(of, _)| *of == hop);
        let mut tried: Tried = failed.map(|(_, place)| *place).collect();
        let (mut attempts, mut only) = (0, None);
        loop {
            let now = Instant::now();
            if now >= total {
                return ControlFlow::Continue(());
            }
            let chosen = self.choose(hop, &mut tried, now).or_else(|| {
                let pool = &gateway.providers[hop.provider].pool;
                only.and_then(|place| pool.again(place, hop.model, now.into_std()))
            });
            let Some(chosen) = chosen else { return ControlFlow::Continue(()) };
            let budget = &gateway.retries.budget;
            if self.troubled && !budget.take(gateway.config.retry, now.into_std()) {
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
            let Fallen { failure, rest, silent } =
                match noted(self.call, hop, chosen, limits, record).await {
                    Ok(answered) => return ControlFlow::Break(Ok(answered)),
                    Err(fallen) => fallen,
                };
            if failure.class == Class::Caller {
                return ControlFlow::Break(rest.into_answer());
            }
            self.keep(failure.class, rest);
            self.asked.push((hop, place));
            if silent {
                self.silent.push(hop.provider);
                return ControlFlow::Continue(());
            }
            if failure.class == Class::ContextTooLong {
                self.too_long.push(hop.model);
                return ControlFlow::Continue(());
            }
            only = (attempts == 1 && self.waits == 0 && self.troubled).then_some(place);
        }
    }

    fn choose(&self, hop: Hop<'_>, tried: &mut Tried, now: Instant) -> Option<Chosen> {
        let pool = &self.call.gateway.providers[hop.provider].pool;
        let (client, now) = (self.call.client_name(), now.into_std());
        match self.call.pin {
            Some(owner) => pool.this(owner.key, client, hop.model, tried, now),
            None => pool.choose(client, hop.model, tried, now),
        }
    }

    fn keep(&mut self, class: Class, rest: Rest) {
        self.troubled = class == Class::Trouble;
        if self.kept.as_ref().is_none_or(|(kept, _)| rank(class) >= rank(*kept)) {
            self.kept = Some((class, rest));
        }
    }

    /// Whether this request has had enough of the hop.
    fn is_out(&self, hop: Hop<'_>) -> bool {
        self.silent.contains(&hop.provider) || self.too_long.contains(&hop.model)
    }

    fn total(&self, timeouts: &Timeouts) -> Instant {
        self.began + self.set.total.unwrap_or(timeouts.total)
    }

    /// Waits until a key is due, if that is soon. `false`: it is not, or the request has waited enough.
    async fn wait(&mut self, plan: &Plan<'w>) -> bool {
        let gateway = self.call.gateway;
        if self.over || self.waits >= gateway.config.retry.max_waits {
            return false;
        }
        self.waits += 1;
        let now = Instant::now();
        let by = now + gateway.config.server.queue_timeout;
        for (hop, place) in self.asked.drain(..) {
            let pool = &gateway.providers[hop.provider].pool;
            let standing = pool.members()[place].health.standing(hop.model, now.into_std());
            if standing.is_open() {
                self.spent.push((hop, place));
            }
        }
        loop {
            // Listens before it looks: what happens in between is not missed.
            let mut probed = pin!(gateway.retries.probed.notified());
            probed.as_mut().enable();
            let now = Instant::now();
            match self.soonest(plan, now, by) {
                None => return false,
                Some(due) if due <= now => return true,
                Some(due) => {
                    let _ = timeout_at(due, probed).await;
                }
            }
        }
    }

    /// When it is worth while to look at the keys again; `None`: not by then.
    fn soonest(&self, plan: &Plan<'w>, now: Instant, by: Instant) -> Option<Instant> {
        let config = &self.call.gateway.config;
        let mut soonest: Option<Instant> = None;
        for hop in plan.clone().filter(|hop| self.call.is_open(*hop) && !self.is_out(*hop)) {
            let total = self.total(&config.providers[hop.provider].timeouts);
            for (place, standing) in self.standings(hop, now) {
                if self.spent.contains(&(hop, place)) {
                    continue;
                }
                let due = match standing {
                    Standing::Free | Standing::Due(_) => now,
                    Standing::Cooling { left, .. } => now + left,
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

    /// The keys of a hop that may serve, and how they stand.
    fn standings(&self, hop: Hop<'_>, now: Instant) -> Vec<(usize, Standing)> {
        let pool = &self.call.gateway.providers[hop.provider].pool;
        let mut all = pool.standings(self.call.client_name(), hop.model, now.into_std());
        all.retain(|(place, _)| self.call.pin.is_none_or(|owner| owner.key == *place));
        all
    }

    /// The answer when nothing more can be tried.
    fn give_up(self, plan: Plan<'w>, record: &Record) -> Result<Answered, Refusal> {
        let model = record.model.clone().unwrap_or_default();
        let now = Instant::now();
        let config = &self.call.gateway.config;
        let mut keys: Vec<(String, Standing)> = Vec::new();
        for hop in plan.clone().filter(|hop| self.call.is_open(*hop)) {
            if self.kept.is_some() {
                break;
            }
            let provider = &config.providers[hop.provider];
            for (place, standing) in self.standings(hop, now) {
                let name = format!("{}/{}", provider.name, provider.keys[place].name);
                if !keys.iter().any(|(known, _)| *known == name) {
                    keys.push((name, standing));
                }
            }
        }
        match (self.kept, self.call.other_api(plan)) {
            (Some((_, rest)), _) => rest.into_answer(),
            (None, _) if !keys.is_empty() => Err(Refusal::Resting(AllResting { model, keys })),
            (None, Some((provider, kind))) => Err(Refusal::OtherApi {
                provider: config.providers[provider].name.to_string(),
                kind,
                operation: self.call.what.operation(),
            }),
            (None, None) => Err(Refusal::NoKeyOpen(model)),
        }
    }
}

impl Call<'_> {
    fn client_name(&self) -> Option<&str> {
        self.client.map(|client| &*client.name)
    }

    /// Whether the hop can serve what is asked for, and the caller may have it.
    fn is_open(&self, hop: Hop<'_>) -> bool {
        let config = &self.gateway.config;
        config.providers[hop.provider].kind.serves(self.what.operation())
            && self.pin.is_none_or(|owner| owner.provider == hop.provider)
            && self.client.is_none_or(|client| route::may_have(client, config, hop))
    }

    /// The last of the plan's providers that do not have what is asked for in the form it is asked in.
    fn other_api(&self, plan: Plan<'_>) -> Option<(usize, Kind)> {
        let kinds =
            plan.map(|hop| (hop.provider, self.gateway.config.providers[hop.provider].kind));
        kinds.filter(|(_, kind)| !kind.serves(self.what.operation())).last()
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
