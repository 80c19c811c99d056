//! The scalar settings of `generationConfig` that pass as they are written.
//! <https://ai.google.dev/api/generate-content#generationconfig>

use serde_json::Number;

use crate::wire::ir::Sampling;

/// A member of `generationConfig`, and its field.
type Setting = (&'static str, fn(&mut Sampling) -> &mut Option<Number>);

/// Decoded and encoded by these rows.
pub(super) const SAMPLING: [Setting; 6] = [
    ("temperature", |sampling| &mut sampling.temperature),
    ("topP", |sampling| &mut sampling.top_p),
    ("topK", |sampling| &mut sampling.top_k),
    ("frequencyPenalty", |sampling| &mut sampling.frequency_penalty),
    ("presencePenalty", |sampling| &mut sampling.presence_penalty),
    ("seed", |sampling| &mut sampling.seed),
];
