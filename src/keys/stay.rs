//! Staying: which key the requests of one conversation go to, as long as it is open.
//!
//! Weighted rendezvous hashing: each key draws a number for the conversation, the higher its weight the
//! higher, and the highest wins. Over many conversations the shares follow the weights; when a key rests or
//! goes, its conversations and no others move, each to the next highest, and come back with it. The draw is
//! made of the conversation's digest and the key's names, so neither the order of the file nor a restart
//! nor another instance makes a difference.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use crate::config::Key;
use crate::wire::json::digest::Digest;
use super::{Member, Standing};

/// What a request would stay with.
#[derive(Clone, Debug, Default)]
pub struct Ties {
    /// The digest of its conversation or session, when that decides on the key.
    pub conversation: Option<u64>,
    /// The seals that it brings back, the latest first.
    pub seals: Vec<u64>,
}

/// The candidate that a request stays with; `None`: nothing ties it, and the weights decide.
///
/// What providers say is left of their limits moves a conversation only from a key that has nothing left,
/// to one that has. A key with too few tokens for the request by its size keeps it: most of a long
/// conversation is in its cache, and counts for little or nothing there. What a key has sealed stays with
/// it in any case, for another may not be able to read it.
pub(super) fn home(
    members: &[Member],
    made: &Made,
    open: &[(usize, Standing)],
    ties: &Ties,
    model: &str,
    now: Instant,
) -> Option<usize> {
    if let Some(maker) = made.maker(&ties.seals) {
        let its = open.iter().find(|(place, _)| members[*place].id == maker);
        if let Some((place, _)) = its {
            return Some(*place);
        }
    }
    let conversation = ties.conversation?;
    let has = |place: usize| members[place].learned.has(model, 1, now);
    let all_spent = !open.iter().any(|(place, _)| has(*place));
    let draws =
        open.iter().filter(|(place, _)| all_spent || has(*place)).filter_map(|(place, _)| {
            let Member { key, id, .. } = &members[*place];
            (key.weight > 0.0).then(|| (draw(conversation, *id, key.weight), *place))
        });
    let highest = draws.max_by(|(one, _), (other, _)| one.total_cmp(other));
    highest.map(|(_, place)| place)
}

/// What a key draws for a conversation: `-w / ln u` with `u` even in (0, 1), the highest of which is the
/// key's with the probability of its share.
fn draw(conversation: u64, id: u64, weight: f64) -> f64 {
    let even = Digest::default().number(conversation).number(id).finish() >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let even = (even as f64 + 0.5) / 9_007_199_254_740_992.0;
    -weight / even.ln()
}

/// What a key is known by from one configuration to the next.
pub(super) fn id(key: &Key) -> u64 {
    Digest::default().text(key.provider.as_bytes()).text(key.name.as_bytes()).finish()
}

/// So many seals are remembered at least, and twice as many at most: some 5 MB.
const REMEMBERED: usize = 64 * 1024;

/// Which key has made which seal. The oldest are forgotten.
#[derive(Debug, Default)]
pub(super) struct Made(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl Made {
    pub(super) fn note(&self, seal: u64, key: u64) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.young.len() >= REMEMBERED {
            all.old = std::mem::take(&mut all.young);
        }
        all.young.insert(seal, key);
    }

    /// Who has made the first of these that is known.
    fn maker(&self, seals: &[u64]) -> Option<u64> {
        if seals.is_empty() {
            return None;
        }
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seals.iter().find_map(|seal| all.young.get(seal).or_else(|| all.old.get(seal)).copied())
    }
}

#[cfg(test)]
mod tests;
