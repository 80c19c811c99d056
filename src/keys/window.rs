//! A sliding window over one minute.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Amounts within one slot are counted together.
const SLOT: Duration = Duration::from_millis(100);
/// Number of slots during which an amount counts: its own, the 600 of the minute after it, and one more
/// because two requests may take different times on their way to the provider.
const COUNTED_SLOTS: u64 = 602;

/// A sliding window over one minute. In any 60 seconds at most the limit passes: each amount counts for
/// 60.1 to 60.2 seconds. The window holds at most 602 numbers.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// When slot 0 began.
    began: Option<Instant>,
    /// Number and amount of each slot that is not empty, oldest first.
    slots: VecDeque<(u64, u64)>,
    used: u64,
}

impl Window {
    /// Returns the time until an amount fits under the limit; zero if it fits now. An amount above the
    /// limit is treated as equal to the limit.
    pub(super) fn wait(&mut self, amount: u64, limit: u64, now: Instant) -> Duration {
        self.remove_old_slots(now);
        let mut excess = self.used.saturating_add(amount.min(limit)).saturating_sub(limit);
        for (slot, slot_amount) in &self.slots {
            if excess == 0 {
                break;
            }
            excess = excess.saturating_sub(*slot_amount);
            if excess == 0 {
                let free_at = Duration::from_millis((slot + COUNTED_SLOTS).saturating_mul(100));
                let elapsed = now.saturating_duration_since(self.began.unwrap_or(now));
                return free_at.saturating_sub(elapsed);
            }
        }
        Duration::ZERO
    }

    /// Adds an amount and returns the number of its slot.
    pub(super) fn add(&mut self, amount: u64, now: Instant) -> u64 {
        self.remove_old_slots(now);
        let slot = self.slot_at(now);
        match self.slots.back_mut() {
            Some((last, slot_amount)) if *last == slot => *slot_amount += amount,
            _ => self.slots.push_back((slot, amount)),
        }
        self.used += amount;
        slot
    }

    /// Replaces an amount in a slot. Does nothing if the slot has left the window.
    pub(super) fn correct(&mut self, slot: u64, from: u64, to: u64) {
        if let Ok(index) = self.slots.binary_search_by_key(&slot, |(number, _)| *number) {
            let slot_amount = &mut self.slots[index].1;
            *slot_amount = slot_amount.saturating_sub(from).saturating_add(to);
            self.used = self.used.saturating_sub(from).saturating_add(to);
        }
    }

    /// Returns the sum of the amounts in the window.
    pub(super) fn used(&mut self, now: Instant) -> u64 {
        self.remove_old_slots(now);
        self.used
    }

    fn remove_old_slots(&mut self, now: Instant) {
        let current = self.slot_at(now);
        while let Some((_, amount)) =
            self.slots.front().filter(|(slot, _)| slot + COUNTED_SLOTS <= current)
        {
            self.used = self.used.saturating_sub(*amount);
            self.slots.pop_front();
        }
    }

    /// Returns the number of the current slot. It never decreases, even if the clock seems to go back.
    fn slot_at(&mut self, now: Instant) -> u64 {
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
    fn an_amount_leaves_the_window_after_a_minute() {
        let (mut window, now) = (Window::default(), Instant::now());
        for _ in 0..3 {
            assert_eq!(window.wait(1, 3, now), Duration::ZERO);
            window.add(1, now);
        }
        assert_eq!(window.wait(1, 3, now), 60 * S + 2 * SLOT);
        assert_eq!(window.wait(1, 3, now + 20 * S), 40 * S + 2 * SLOT);
        assert_eq!(window.wait(1, 4, now + 20 * S), Duration::ZERO, "with a higher limit");
        assert_eq!(window.wait(1, 3, now + 60 * S + 2 * SLOT), Duration::ZERO);
        assert_eq!(window.used(now + 61 * S), 0);
    }

    #[test]
    fn a_large_amount_waits_until_enough_has_left() {
        let (mut window, now) = (Window::default(), Instant::now());
        window.add(40, now);
        window.add(40, now + 10 * S);
        assert_eq!(window.wait(20, 100, now + 10 * S), Duration::ZERO);
        assert_eq!(window.wait(30, 100, now + 10 * S), 50 * S + 2 * SLOT);
        assert_eq!(window.wait(70, 100, now + 10 * S), 60 * S + 2 * SLOT);
        assert_eq!(
            window.wait(5000, 100, now + 10 * S),
            60 * S + 2 * SLOT,
            "treated as equal to the limit"
        );
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
        assert_eq!(window.used(now + 61 * S), 0, "the slot has left the window");
    }

    proptest! {
        #[test]
        fn no_minute_exceeds_the_limit(
            pauses in prop::collection::vec(0..4000_u64, 1..400),
            limit in 1..40_u64,
        ) {
            let (mut window, mut now, mut passed) = (Window::default(), Instant::now(), vec![]);
            for pause in pauses {
                now += Duration::from_millis(pause);
                let wait = window.wait(1, limit, now);
                if wait.is_zero() {
                    window.add(1, now);
                    passed.push(now);
                } else {
                    let before = now + wait.saturating_sub(Duration::from_millis(1));
                    prop_assert!(!window.wait(1, limit, before).is_zero());
                    prop_assert!(wait <= 60 * S + 2 * SLOT);
                }
            }
            let limit = usize::try_from(limit).expect("few");
            for pair in passed.windows(limit + 1) {
                prop_assert!(pair[limit] - pair[0] > 60 * S);
            }
        }
    }
}
