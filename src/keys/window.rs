//! What went through within the last minute.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// What is counted together.
const SLOT: Duration = Duration::from_millis(100);
/// For so many slots something counts, its own among them: a minute behind the end of its own, and one
/// more, because two requests may take different times on their way to the provider.
const SPAN: u64 = 602;

/// A sliding window over a minute. In any 60 seconds, however they are chosen, no more goes through than
/// the limit says: each amount counts for 60.1 to 60.2 seconds. It holds 602 numbers at most.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// When the first slot began.
    began: Option<Instant>,
    /// Number and amount of each slot that has one, oldest first.
    slots: VecDeque<(u64, u64)>,
    used: u64,
}

impl Window {
    /// How long until so much more is within the limit; nothing: it is now. More than the limit itself is
    /// taken for the limit.
    pub(super) fn wait(&mut self, amount: u64, limit: u64, now: Instant) -> Duration {
        self.forget(now);
        let mut over = self.used.saturating_add(amount.min(limit)).saturating_sub(limit);
        for (number, own) in &self.slots {
            if over == 0 {
                break;
            }
            over = over.saturating_sub(*own);
            if over == 0 {
                let free = Duration::from_millis((number + SPAN).saturating_mul(100));
                let since = now.saturating_duration_since(self.began.unwrap_or(now));
                return free.saturating_sub(since);
            }
        }
        Duration::ZERO
    }

    /// Counts an amount; gives the number of the slot it is counted in.
    pub(super) fn add(&mut self, amount: u64, now: Instant) -> u64 {
        self.forget(now);
        let number = self.number(now);
        match self.slots.back_mut() {
            Some((last, own)) if *last == number => *own += amount,
            _ => self.slots.push_back((number, amount)),
        }
        self.used += amount;
        number
    }

    /// Corrects an amount that was counted there; what has left the window stays out.
    pub(super) fn correct(&mut self, number: u64, from: u64, to: u64) {
        if let Ok(place) = self.slots.binary_search_by_key(&number, |(own, _)| *own) {
            let own = &mut self.slots[place].1;
            *own = (own.saturating_sub(from)).saturating_add(to);
            self.used = self.used.saturating_sub(from).saturating_add(to);
        }
    }

    /// How much counts now.
    pub(super) fn used(&mut self, now: Instant) -> u64 {
        self.forget(now);
        self.used
    }

    fn forget(&mut self, now: Instant) {
        let current = self.number(now);
        while let Some((_, own)) = self.slots.front().filter(|(own, _)| own + SPAN <= current) {
            self.used = self.used.saturating_sub(*own);
            self.slots.pop_front();
        }
    }

    /// A clock that seems to go back stands still.
    fn number(&mut self, now: Instant) -> u64 {
        let began = *self.began.get_or_insert(now);
        let slots = now.saturating_duration_since(began).as_millis() / SLOT.as_millis();
        let last = self.slots.back().map_or(0, |(last, _)| *last);
        u64::try_from(slots).unwrap_or(u64::MAX).max(last)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_used_up_comes_back_after_a_minute() {
        let (mut window, now) = (Window::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(window.wait(1, 3, now), Duration::ZERO);
            window.add(1, now);
        }
        assert_eq!(window.wait(1, 3, now), 60 * S + 2 * SLOT);
        assert_eq!(window.wait(1, 3, now + 20 * S), 40 * S + 2 * SLOT);
        assert_eq!(window.wait(1, 4, now + 20 * S), Duration::ZERO, "another limit");
        assert_eq!(window.wait(1, 3, now + 60 * S + 2 * SLOT), Duration::ZERO);
        assert_eq!(window.used(now + 61 * S), 0);
    }

    #[test]
    fn a_large_amount_waits_for_as_much_as_it_needs() {
        let (mut window, now) = (Window::default(), Instant::now());
        window.add(40, now);
        window.add(40, now + 10 * S);
        assert_eq!(window.wait(20, 100, now + 10 * S), Duration::ZERO);
        assert_eq!(window.wait(30, 100, now + 10 * S), 50 * S + 2 * SLOT);
        assert_eq!(window.wait(70, 100, now + 10 * S), 60 * S + 2 * SLOT);
        assert_eq!(window.wait(5000, 100, now + 10 * S), 60 * S + 2 * SLOT, "all there is");
    }

    #[test]
    fn an_amount_can_be_corrected() {
        let (mut window, now) = (Window::default(), Instant::now());
        let slot = window.add(40, now);
        window.add(10, now);
        window.correct(slot, 40, 90);
        assert_eq!(window.used(now), 100);
        window.correct(slot, 90, 0);
        assert_eq!(window.used(now), 10);
        assert_eq!(window.used(now + 61 * S), 0);
        window.correct(slot, 0, 7);
        assert_eq!(window.used(now + 61 * S), 0, "it has left");
    }

    proptest! {
        #[test]
        fn no_minute_sees_more_than_the_limit(
            pauses in prop::collection::vec(0..4000_u64, 1..400),
            limit in 1..40_u64,
        ) {
            let (mut window, mut now, mut through) = (Window::default(), Instant::now(), vec![]);
            for pause in pauses {
                now += Duration::from_millis(pause);
                let wait = window.wait(1, limit, now);
                if wait.is_zero() {
                    window.add(1, now);
                    through.push(now);
                } else {
                    let before = now + wait.saturating_sub(Duration::from_millis(1));
                    prop_assert!(!window.wait(1, limit, before).is_zero());
                    prop_assert!(wait <= 60 * S + 2 * SLOT);
                }
            }
            let limit = usize::try_from(limit).expect("few");
            for pair in through.windows(limit + 1) {
                prop_assert!(pair[limit] - pair[0] > 60 * S);
            }
        }
    }
}
