//! Records which key made the reasoning signatures in a response, so that later turns go to that key.

use crate::config::Affinity;
use crate::gateway::record::Record;
use crate::wire::inspect::conversation::is_conversation;
use crate::wire::inspect::signatures::Watch;

/// Finds the signatures in a response and records them in the pool.
#[derive(Debug)]
pub(crate) struct SignatureRecorder(Watch);

impl SignatureRecorder {
    /// Returns `None` if a signature makes no difference: the provider has one key, or no affinity.
    pub(crate) fn new(record: &Record) -> Option<Self> {
        let last = record.last_key?;
        let provider = &record.gateway().config.providers[last.provider];
        let operation = record.operation.filter(|operation| is_conversation(*operation))?;
        let matters = provider.keys.len() > 1 && provider.affinity != Affinity::None;
        matters.then(|| Self(Watch::new(operation)))
    }

    /// Scans the next bytes.
    pub(crate) fn push(&mut self, bytes: &[u8], record: &Record) {
        let Some(last) = record.last_key else { return };
        let pool = &record.gateway().providers[last.provider].pool;
        self.0.observe(bytes, &mut |signature| pool.record_signature(last.key, signature));
    }
}
