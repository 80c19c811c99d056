//! Exact shares: which of several weighted things has its turn.
//!
//! The n-th turn is the point `n · φ mod 1`, φ being the golden ratio, and falls to whoever owns that
//! part of the unit interval. These points fill it more evenly than any other simple sequence
//! (Kronecker sequence, discrepancy O(log n / n)): after n turns each count is within a few of
//! `n · weight / total` for weights of any size, where a random choice would be off by `√n`. There is
//! no state but one counter, so keys may come, go or cool down without anything to repair.

use std::sync::atomic::{AtomicU64, Ordering};

/// Hands out turns.
#[derive(Debug, Default)]
pub struct TurnCounter(AtomicU64);

impl TurnCounter {
    /// The next turn.
    pub fn next(&self) -> Turn {
        Turn(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// One turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn(u64);

/// 2^64 / φ, odd, so that all 2^64 turns are different points.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Turn {
    /// The place of the weight whose turn it is; `None` when no weight is above zero. Weights are
    /// finite and not negative (the check of the file sees to it).
    pub fn pick(self, weights: impl Iterator<Item = f64> + Clone) -> Option<usize> {
        let largest = weights.clone().fold(0.0, f64::max);
        if largest <= 0.0 {
            return None;
        }
        // Scaled by the largest, so that the sum cannot overflow.
        let total: f64 = weights.clone().map(|weight| weight / largest).sum();
        let mut left = self.point() * total;
        let mut last = None;
        for (place, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0.0) {
            last = Some(place);
            left -= weight / largest;
            if left < 0.0 {
                break;
            }
        }
        last
    }

    fn point(self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits of the point are plenty")]
        let point = self.0.wrapping_mul(GOLDEN) as f64;
        point / 18_446_744_073_709_551_616.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn counts(weights: &[f64], turns: u32) -> Vec<f64> {
        let (counter, mut counts) = (TurnCounter::default(), vec![0.0; weights.len()]);
        for _ in 0..turns {
            let place = counter.next().pick(weights.iter().copied()).expect("a weight above zero");
            counts[place] += 1.0;
        }
        counts
    }

    proptest! {
        #[test]
        fn every_count_stays_within_a_few_of_its_exact_share(
            weights in prop::collection::vec(prop_oneof![Just(0.0), 0.001..1000.0_f64], 1..12),
            turns in 1..20_000_u32,
        ) {
            let total: f64 = weights.iter().sum();
            prop_assume!(total > 0.0);
            for (count, weight) in counts(&weights, turns).iter().zip(&weights) {
                let exact = f64::from(turns) * weight / total;
                prop_assert!((count - exact).abs() <= 6.0, "{count} in place of {exact}");
            }
        }
    }

    #[test]
    fn a_thousandth_beside_a_thousand_gets_its_millionth() {
        let counts = counts(&[0.001, 1000.0], 3_000_000);
        assert!((2.0..=4.0).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn three_to_one_is_three_to_one_from_the_first_turns_on() {
        for turns in 1..=2000 {
            let heavy = counts(&[3.0, 1.0], turns)[0];
            assert!((heavy - f64::from(turns) * 0.75).abs() <= 2.5, "{heavy} of {turns}");
        }
    }

    #[test]
    fn the_largest_and_smallest_weights_do_not_overflow() {
        let counts = counts(&[f64::MAX, f64::MAX, f64::MIN_POSITIVE], 100);
        assert!((49.0..=51.0).contains(&counts[0]) && counts[2] == 0.0, "{counts:?}");
    }

    #[test]
    fn nobody_is_chosen_when_all_weights_are_zero() {
        assert_eq!(TurnCounter::default().next().pick([0.0, 0.0].into_iter()), None);
        assert_eq!(TurnCounter::default().next().pick(std::iter::empty()), None);
    }
}
