//! Affinity: the requests of one conversation prefer the same key, as long as it is usable.
//!
//! The choice is weighted rendezvous hashing: each key draws a number for the conversation, higher with
//! more weight, and the highest wins. Over many conversations the shares follow the weights. When a key is
//! cooling down or removed, only its conversations move, each to its next highest key, and they return
//! with it. The draw depends only on the digest of the conversation and the names of provider and key, so
//! it is the same after a restart, in another instance and for another order in the file.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::pooled_key::PooledKey;
use super::state::KeyState;
use crate::wire::json::digest::Digest;

/// The properties of a request that bind it to a key.
#[derive(Clone, Debug, Default)]
pub struct AffinityKeys {
    /// The digest of its conversation or session; `None` if that does not decide on the key.
    pub conversation: Option<u64>,
    /// The digests of the signatures that it contains, the latest first.
    pub signatures: Vec<u64>,
}

/// Returns the usable key that a request prefers; `None` if the weights decide.
///
/// A key that has made a signature of the request comes first, whatever its reported limits, because other
/// keys may be unable to read the signature. Reported limits move a conversation only from a key with
/// nothing left to one with something left. A key with too few tokens left for the size of the request
/// keeps the conversation: most of a long conversation is in the prompt cache of the key and counts little
/// or not at all.
pub(super) fn preferred_key(
    keys: &[PooledKey],
    owners: &SignatureOwners,
    usable: &[(usize, KeyState)],
    affinity_keys: &AffinityKeys,
    model: &str,
    now: Instant,
) -> Option<usize> {
    if let Some(owner) = owners.find(&affinity_keys.signatures)
        && let Some((index, _)) = usable.iter().find(|(index, _)| keys[*index].id == owner)
    {
        return Some(*index);
    }
    let conversation = affinity_keys.conversation?;
    let allows = |index: usize| keys[index].reported_limits.allow(model, 1, now);
    let all_exhausted = !usable.iter().any(|(index, _)| allows(*index));
    let candidates = usable.iter().filter(|(index, _)| all_exhausted || allows(*index));
    let draws = candidates.filter_map(|(index, _)| {
        let PooledKey { key, id, .. } = &keys[*index];
        (key.weight > 0.0).then(|| (draw(conversation, *id, key.weight), *index))
    });
    draws.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, index)| index)
}

/// Returns the number that a key draws for a conversation: `-w / ln u` with `u` uniform in (0, 1). A key
/// has the highest number with the probability of its share.
fn draw(conversation: u64, key_id: u64, weight: f64) -> f64 {
    let bits = Digest::default().number(conversation).number(key_id).finish() >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
    let uniform = (bits as f64 + 0.5) / 9_007_199_254_740_992.0;
    -weight / uniform.ln()
}

/// At least this many signatures are remembered, and at most twice as many: about 5 MB.
const MIN_REMEMBERED: usize = 64 * 1024;

/// The key that made each signature. The oldest entries are removed.
#[derive(Debug, Default)]
pub(super) struct SignatureOwners(Mutex<Generations>);

/// Two generations: when the new one is full it replaces the old one.
#[derive(Debug, Default)]
struct Generations {
    new: HashMap<u64, u64>,
    old: HashMap<u64, u64>,
}

impl SignatureOwners {
    pub(super) fn insert(&self, signature: u64, key_id: u64) {
        let mut generations = self.lock();
        if generations.new.len() >= MIN_REMEMBERED {
            generations.old = std::mem::take(&mut generations.new);
        }
        generations.new.insert(signature, key_id);
    }

    /// Returns the id of the key that made the first remembered signature.
    fn find(&self, signatures: &[u64]) -> Option<u64> {
        if signatures.is_empty() {
            return None;
        }
        let Generations { new, old } = &*self.lock();
        signatures.iter().find_map(|own| new.get(own).or_else(|| old.get(own)).copied())
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
