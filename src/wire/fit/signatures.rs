//! Signatures and signed reasoning: only the format that made a signature takes it back.

use super::Fitting;
use crate::wire::feature::Feature;
use crate::wire::ir::{Content, Request};

/// Removes reasoning that has no signature of the target, for targets that refuse it.
pub(crate) fn remove_unsigned_reasoning(request: &mut Request, fitting: &mut Fitting) {
    for turn in &mut request.turns {
        turn.blocks.retain(|block| {
            if !matches!(block.content, Content::Reasoning { .. }) {
                return true;
            }
            let feature = match &block.signature {
                Some(signature) if signature.format == fitting.target() => return true,
                Some(_) => Feature::ForeignSignatures,
                None => Feature::Reasoning,
            };
            fitting.omit(feature, &block.at);
            false
        });
    }
}
