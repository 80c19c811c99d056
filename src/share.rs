//! Distributes turns by weight, exactly.
//!
//! The n-th turn is the point `n · φ mod 1`, where φ is the golden ratio. The unit interval is divided by
//! weight, and the part that contains the point is chosen. These points fill the interval more evenly than
//! any other simple sequence (Kronecker sequence, discrepancy O(log n / n)): after n turns each count differs
//! by a few from `n · weight / total`, for weights of any size; a random choice would differ by `√n`. The only
//! state is one counter, so keys can be added, be removed or cool down without corrections.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts turns.
#[derive(Debug, Default)]
pub struct TurnCounter(AtomicU64);

impl TurnCounter {
    /// Returns the next turn.
    pub fn next(&self) -> Turn {
        Turn(self.0.fetch_add(1, Ordering::Relaxed))
    }
}

/// One turn: it chooses one of several weights.
#[derive(Clone, Copy, Debug)]
pub struct Turn(u64);

/// 2^64 / φ, odd, so that all 2^64 turns are different points.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

impl Turn {
    /// Returns the index of the weight that has this turn; `None` if no weight is above zero. Weights must be
    /// finite and not negative, which the check of the file ensures.
    pub fn pick(self, weights: impl Iterator<Item = f64> + Clone) -> Option<usize> {
        let largest = weights.clone().fold(0.0, f64::max);
        if largest <= 0.0 {
            return None;
        }
        // Scaled by the largest, so that the sum cannot overflow.
        let total: f64 = weights.clone().map(|weight| weight / largest).sum();
        let mut remaining = self.point() * total;
        let mut last = None;
        for (index, weight) in weights.enumerate().filter(|(_, weight)| *weight > 0.0) {
            last = Some(index);
            remaining -= weight / largest;
            if remaining < 0.0 {
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
            let index = counter.next().pick(weights.iter().copied()).expect("a weight above zero");
            counts[index] += 1.0;
        }
        counts
    }

    proptest! {
        #[test]
        fn every_count_is_close_to_its_exact_share(
            weights in prop::collection::vec(prop_oneof![Just(0.0), 0.001..1000.0_f64], 1..12),
            turns in 1..20_000_u32,
        ) {
            let total: f64 = weights.iter().sum();
            prop_assume!(total > 0.0);
            for (count, weight) in counts(&weights, turns).iter().zip(&weights) {
                let exact = f64::from(turns) * weight / total;
                prop_assert!((count - exact).abs() <= 6.0, "{count} in index of {exact}");
            }
        }
    }

    #[test]
    fn very_different_weights_get_exact_shares() {
        let counts = counts(&[0.001, 1000.0], 3_000_000);
        assert!((2.0..=4.0).contains(&counts[0]), "{counts:?}");
    }

    #[test]
    fn shares_are_exact_from_the_first_turns() {
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
    fn nothing_is_chosen_if_all_weights_are_zero() {
        assert_eq!(TurnCounter::default().next().pick([0.0, 0.0].into_iter()), None);
        assert_eq!(TurnCounter::default().next().pick(std::iter::empty()), None);
    }
}
