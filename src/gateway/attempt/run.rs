//! The attempt loop: the keys of the first target, then the route's other targets and its fallbacks, until a
//! response begins; and all of them again after a wait, if a key is available soon.

use std::ops::ControlFlow;
use std::pin::pin;

use tokio::time::{Instant, timeout_at};

use super::affinity::RequestAffinity;
use super::call::Call;
use super::context::Deadlines;
use super::failed::FailedAttempt;
use super::first_token::FirstTokenTimeout;
use super::history::{History, KeyAttempt};
use super::try_key::{PlannedAttempt, attempt_and_record};
use crate::config::{Rescue, Route, RouteTimeouts, Timeouts};
use crate::gateway::record::Record;
use crate::gateway::response::AllCoolingDown;
use crate::gateway::response::refusal::Refusal;
use crate::gateway::response::started::StartedResponse;
use crate::keys::concurrency::{Permit, Waiter};
use crate::keys::{ChosenKey, KeyState, LimitScope, TriedKeys};
use crate::route::{Plan, Target};
use crate::wire::failure::class::Class;

/// The attempts of one request. It borrows nothing, so a request whose stream breaks can continue from here, with
/// the same call and plan built again.
pub(crate) struct AttemptLoop {
    history: History,
    affinity: RequestAffinity,
    first_token: FirstTokenTimeout,
    /// The route's timeouts, which override the provider's.
    timeouts: RouteTimeouts,
    began: Instant,
    /// True if another attempt follows a stream that breaks.
    rescues: bool,
    /// The key whose response began, and true if it was the first attempt at its target.
    started: Option<(KeyAttempt, bool)>,
    /// The only key of a target whose stream broke: it gets its second try.
    second_try: Option<KeyAttempt>,
    /// True if no attempt may follow.
    is_over: bool,
    waits: u32,
    /// The permit that the latest wait acquired.
    permit: Option<Permit>,
}

/// The result of trying a target: the end of the loop, or nothing.
type TargetResult = ControlFlow<Result<StartedResponse, Refusal>>;

impl AttemptLoop {
    pub(crate) fn new(call: &Call<'_>, route: Option<&Route>) -> Self {
        call.gateway.retries.budget.count_request();
        let first_token = route.and_then(|route| route.first_token).filter(|_| call.streams());
        Self {
            history: History::default(),
            affinity: RequestAffinity::default(),
            first_token: FirstTokenTimeout::new(first_token),
            timeouts: route.map(|route| route.timeouts).unwrap_or_default(),
            began: Instant::now(),
            rescues: route.is_some_and(|route| route.rescue != Rescue::None),
            started: None,
            second_try: None,
            is_over: false,
            waits: 0,
            permit: None,
        }
    }

    /// Returns the next response that begins. Call and plan must be those of [`AttemptLoop::new`].
    pub(crate) async fn next(
        &mut self,
        call: &Call<'_>,
        plan: &Plan<'_>,
        record: &mut Record,
    ) -> Result<StartedResponse, Refusal> {
        loop {
            for target in call.targets(plan) {
                if let ControlFlow::Break(end) = self.try_target(call, plan, target, record).await {
                    return end;
                }
                if self.is_over {
                    break;
                }
            }
            if !self.start_next_round() && !self.wait(call, plan).await {
                return self.give_up(call, plan, record);
            }
        }
    }

    /// Records that the stream of the latest response broke off. This counts as a provider failure.
    pub(crate) fn stream_broke(&mut self, stalled: bool) {
        let Some((attempt, is_first)) = self.started.take() else { return };
        self.history.after_trouble = true;
        if stalled {
            self.history.add_silent(attempt.provider);
        } else if is_first {
            self.second_try = Some(attempt.clone());
        }
        self.history.add_failed(attempt);
    }

    /// Tries the keys of one target, each once. Its only key gets a second try after a provider failure.
    async fn try_target(
        &mut self,
        call: &Call<'_>,
        plan: &Plan<'_>,
        target: Target<'_>,
        record: &mut Record,
    ) -> TargetResult {
        if self.history.excludes(target) || self.first_token.is_deferred(target) {
            return ControlFlow::Continue(());
        }
        let translated = match call.translate_for(target) {
            Ok(translated) => translated,
            Err(rejected) => {
                self.history.add_untranslatable(target, rejected);
                return ControlFlow::Continue(());
            }
        };
        let mut tried = self.history.tried_keys(target);
        let mut second_try =
            self.second_try.take_if(|attempt| attempt.is_at(target)).map(|attempt| attempt.key);
        let mut attempts = usize::from(second_try.is_some());
        loop {
            let now = Instant::now();
            let deadlines = self.deadlines(call, target, now);
            if now >= deadlines.total {
                return ControlFlow::Continue(());
            }
            let chosen = self.choose_key(call, target, &mut tried, second_try, now);
            let Some(chosen) = chosen else { return ControlFlow::Continue(()) };
            if !self.take_retry_budget(call, now) {
                self.is_over = true;
                return ControlFlow::Continue(());
            }
            attempts += 1;
            let key = chosen.index;
            let planned =
                PlannedAttempt { target, chosen, deadlines, translated: translated.as_ref() };
            let result = self.attempt_until_first_token(call, plan, planned, record).await;
            let Some(result) = result else { return ControlFlow::Continue(()) };
            let FailedAttempt { failure, response, is_silent } = match result {
                Ok(started) => {
                    if self.rescues {
                        self.started = Some((KeyAttempt::new(target, key), attempts == 1));
                    }
                    return ControlFlow::Break(Ok(started));
                }
                Err(failed) => failed,
            };
            if failure.class == Class::Caller {
                return ControlFlow::Break(response.map(|started| *started));
            }
            self.history.add_failure(target, key, failure.class, response);
            if is_silent {
                self.history.add_silent(target.provider);
            }
            if is_silent || failure.class == Class::ContextTooLong {
                return ControlFlow::Continue(());
            }
            let may_try_again = attempts == 1 && self.waits == 0 && self.history.after_trouble;
            second_try = may_try_again.then_some(key);
        }
    }

    /// Makes an attempt. Returns `None` if its first token is late and another attempt can take its place.
    async fn attempt_until_first_token(
        &mut self,
        call: &Call<'_>,
        plan: &Plan<'_>,
        planned: PlannedAttempt<'_>,
        record: &mut Record,
    ) -> Option<Result<StartedResponse, FailedAttempt>> {
        let (target, deadlines) = (planned.target, planned.deadlines);
        let (key, is_probe) = (planned.chosen.index, planned.chosen.admission.is_probe());
        let due = self.first_token.due(deadlines.began).filter(|due| *due < deadlines.total);
        let mut attempt = pin!(attempt_and_record(call, planned, record));
        let Some(due) = due else { return Some(attempt.await) };
        if let Ok(result) = timeout_at(due, attempt.as_mut()).await {
            return Some(result);
        }
        let now = Instant::now();
        // The next attempt takes from the retry budget here. If the budget is exhausted, this one goes on.
        self.history.after_trouble = true;
        let has_another = self.has_another(call, plan, (target, key), now);
        if !has_another || !self.take_retry_budget(call, now) {
            return Some(attempt.await);
        }
        self.history.after_trouble = false;
        call.gateway.providers[target.provider].keys[key].record_failure(Class::Trouble.name());
        if is_probe {
            call.gateway.retries.notify_probe_ended();
        }
        let slow = KeyAttempt::new(target, key);
        self.history.add_failed(slow.clone());
        self.first_token.add_slow(slow);
        None
    }

    /// Returns true if slow keys give reason to try all targets once more.
    fn start_next_round(&mut self) -> bool {
        if self.is_over {
            return false;
        }
        let Some(allowed_again) = self.first_token.next_round() else { return false };
        self.history.forget_failed(allowed_again);
        true
    }

    /// Chooses a key that was not tried, or else the second try of the only one.
    fn choose_key(
        &mut self,
        call: &Call<'_>,
        target: Target<'_>,
        tried: &mut TriedKeys,
        second_try: Option<usize>,
        now: Instant,
    ) -> Option<ChosenKey> {
        let pool = &call.gateway.providers[target.provider].pool;
        let (want, now) = (call.want(target), now.into_std());
        let Self { affinity, permit, .. } = self;
        let untried = if let Some(pinned) = call.pinned_key {
            pool.choose_only(pinned.key, want, tried, permit, now)
        } else {
            let affinity_keys = || affinity.affinity_keys(call, target);
            pool.choose(want, tried, permit, now, &affinity_keys)
        };
        let chosen = untried.or_else(|| pool.admit(second_try?, want, permit, now))?;
        // The permit of the wait is used now, or another one was free.
        self.permit = None;
        Some(chosen)
    }

    /// Returns true if an attempt may be made. After a provider failure it takes from the retry budget.
    fn take_retry_budget(&self, call: &Call<'_>, now: Instant) -> bool {
        let gateway = call.gateway;
        !self.history.after_trouble
            || gateway.retries.budget.take(gateway.config.retry, now.into_std())
    }

    fn deadlines(&self, call: &Call<'_>, target: Target<'_>, now: Instant) -> Deadlines {
        let timeouts = call.gateway.config.providers[target.provider].timeouts;
        let total = self.total_deadline(&timeouts);
        let first_byte = self.timeouts.first_byte.unwrap_or(timeouts.first_byte);
        Deadlines {
            began: now,
            connect: timeouts.connect,
            first_byte: (now + first_byte).min(total),
            idle: self.timeouts.idle.unwrap_or(timeouts.idle),
            total,
        }
    }

    fn total_deadline(&self, timeouts: &Timeouts) -> Instant {
        self.began + self.timeouts.total.unwrap_or(timeouts.total)
    }

    /// Returns the targets that can still be tried, with the deadline of each.
    fn open_targets<'p>(
        &'p self,
        call: &'p Call<'p>,
        plan: &Plan<'p>,
    ) -> impl Iterator<Item = (Target<'p>, Instant)> {
        let targets = call.targets(plan).filter(|target| !self.history.excludes(*target));
        targets.map(|target| {
            let timeouts = &call.gateway.config.providers[target.provider].timeouts;
            (target, self.total_deadline(timeouts))
        })
    }

    /// Returns true if a key other than `current` is available now and was not tried.
    fn has_another(
        &self,
        call: &Call<'_>,
        plan: &Plan<'_>,
        current: (Target<'_>, usize),
        now: Instant,
    ) -> bool {
        let is_untried = |target: Target<'_>, key: usize| {
            (target, key) != current && !self.history.has_tried(target, key)
        };
        self.open_targets(call, plan).any(|(target, total)| {
            let states = call.key_states(target, now);
            now < total
                && states.iter().any(|(key, state)| state.is_usable() && is_untried(target, *key))
        })
    }

    /// Waits until a key is available or a permit is free, if that is soon. Returns false if it is not, or if the
    /// request has waited often enough.
    async fn wait(&mut self, call: &Call<'_>, plan: &Plan<'_>) -> bool {
        let gateway = call.gateway;
        self.permit = None;
        if self.is_over || self.waits >= gateway.config.retry.max_waits {
            return false;
        }
        self.waits += 1;
        let now = Instant::now();
        let by = now + gateway.config.server.queue_timeout;
        self.history.start_wait(call, now);
        let mut waiter = Waiter::default();
        loop {
            // Enabled before the key states are read, so that a probe that ends in between is not missed.
            let mut probe_ended = pin!(gateway.retries.probe_ended.notified());
            probe_ended.as_mut().enable();
            let now = Instant::now();
            match self.next_check(call, plan, now, by, &mut waiter) {
                None => return false,
                Some(due) if due <= now => return true,
                Some(due) => {
                    let either = async {
                        tokio::select! {
                            permit = &mut waiter => Some(permit),
                            () = probe_ended => None,
                        }
                    };
                    if let Ok(Some(permit)) = timeout_at(due, either).await {
                        self.permit = Some(permit);
                        return true;
                    }
                }
            }
        }
    }

    /// Returns when to check the keys again, or `None` if no key can be available by then. Enqueues for the
    /// permits of busy keys.
    fn next_check(
        &self,
        call: &Call<'_>,
        plan: &Plan<'_>,
        now: Instant,
        by: Instant,
        waiter: &mut Waiter,
    ) -> Option<Instant> {
        let queue_timeout = call.gateway.config.server.queue_timeout;
        let mut soonest: Option<Instant> = None;
        for (target, total) in self.open_targets(call, plan) {
            for (key, state) in call.key_states(target, now) {
                if self.history.has_exhausted(target, key) {
                    continue;
                }
                let due = match state {
                    KeyState::Available | KeyState::ProbeDue(_) => now,
                    KeyState::CoolingDown { remaining, .. } => now + remaining,
                    KeyState::Busy(whose) => {
                        let pool = &call.gateway.providers[target.provider].pool;
                        let limit = match whose {
                            LimitScope::Key => &pool.keys()[key].concurrency,
                            LimitScope::Provider => pool.concurrency(),
                        };
                        if by <= now || by >= total || !waiter.enqueue(limit) {
                            continue;
                        }
                        by
                    }
                    // A response may take minutes, so a probe is waited for only for a short time.
                    KeyState::Probing { since, .. } => {
                        let due = (Instant::from_std(since) + queue_timeout).min(by);
                        if due <= now {
                            continue;
                        }
                        due
                    }
                };
                if due <= by && due < total && soonest.is_none_or(|other| due < other) {
                    soonest = Some(due);
                }
            }
        }
        soonest
    }

    /// Returns the response when nothing more can be tried.
    fn give_up(
        &mut self,
        call: &Call<'_>,
        plan: &Plan<'_>,
        record: &Record,
    ) -> Result<StartedResponse, Refusal> {
        // Released here, because a held stream may outlive this call.
        self.permit = None;
        if let Some(response) = self.history.take_best_failure() {
            return response.map(|started| *started);
        }
        let model = record.model.clone().unwrap_or_default();
        let keys = self.history.all_key_states(call, plan, Instant::now());
        if !keys.is_empty() {
            return Err(Refusal::CoolingDown(AllCoolingDown { model, keys }));
        }
        if let Some(rejected) = self.history.take_untranslatable() {
            return Err(Refusal::Untranslatable(rejected));
        }
        match call.unsupported_provider(plan.clone()) {
            Some((provider, kind)) => Err(Refusal::UnsupportedOperation {
                provider: call.gateway.config.providers[provider].name.to_string(),
                kind,
                operation: call.what.operation(),
            }),
            None => Err(Refusal::NoKeyForClient(model)),
        }
    }
}
