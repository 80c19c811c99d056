//! What Amazon's Nova models take, by their ids.
//!
//! Sources: <https://docs.aws.amazon.com/nova/latest/userguide/> and
//! <https://docs.aws.amazon.com/nova/latest/nova2-userguide/extended-thinking.html>. The first generation's limit is
//! the one that the API enforces; the model cards give a lower one.

use crate::wire::ir::Effort;

/// What a model takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Model {
    /// The most tokens of an answer, reasoning included.
    pub(crate) max_output_tokens: u64,
    /// True if it reasons when it is told to.
    reasons: bool,
}

impl Model {
    /// Returns the model of an id, which may be an ARN or begin with a region: `us.amazon.nova-2-lite-v1:0`.
    pub(crate) fn by_id(id: &str) -> Option<Model> {
        let (_, name) = id.split_once("amazon.nova-")?;
        Some(if name.starts_with("2-") {
            Model { max_output_tokens: 65_535, reasons: true }
        } else {
            Model { max_output_tokens: 10_000, reasons: false }
        })
    }

    /// Returns the efforts that it takes, in ascending order. High effort excludes a token limit, which binds.
    pub(crate) fn efforts(self, has_token_limit: bool) -> &'static [Effort] {
        match (self.reasons, has_token_limit) {
            (false, _) => &[],
            (true, true) => &[Effort::None, Effort::Low, Effort::Medium],
            (true, false) => &[Effort::None, Effort::Low, Effort::Medium, Effort::High],
        }
    }
}
