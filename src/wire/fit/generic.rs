//! The pass over the feature matrix that is the same for every target: what the target's format supports is
//! kept, the rest is dropped and named, or refused.

use std::mem::take;

use super::Fitting;
use crate::wire::feature::Feature;
use crate::wire::ir::Request;
use crate::wire::json::fields::{Rejected, child};

/// A scalar setting of a request: how to see that it is set, and how to take it away.
type Setting = (Feature, fn(&Request) -> bool, fn(&mut Request));

/// A row for each setting that has a field in [`Request`]. Settings of tools and of reasoning depend on each
/// other and are the format's own business.
const SETTINGS: &[Setting] = &[
    (Feature::MaxTokens, |r| r.max_tokens.is_some(), |r| r.max_tokens = None),
    (Feature::StopSequences, |r| !r.stop.is_empty(), |r| r.stop.clear()),
    (Feature::Candidates, |r| r.candidates.is_some_and(|n| n > 1), |r| r.candidates = None),
    (Feature::Logprobs, |r| r.logprobs.is_some(), |r| r.logprobs = None),
    (Feature::Temperature, |r| r.sampling.temperature.is_some(), |r| r.sampling.temperature = None),
    (Feature::TopP, |r| r.sampling.top_p.is_some(), |r| r.sampling.top_p = None),
    (Feature::TopK, |r| r.sampling.top_k.is_some(), |r| r.sampling.top_k = None),
    (
        Feature::FrequencyPenalty,
        |r| r.sampling.frequency_penalty.is_some(),
        |r| r.sampling.frequency_penalty = None,
    ),
    (
        Feature::PresencePenalty,
        |r| r.sampling.presence_penalty.is_some(),
        |r| r.sampling.presence_penalty = None,
    ),
    (Feature::Seed, |r| r.sampling.seed.is_some(), |r| r.sampling.seed = None),
    (Feature::EndUser, |r| r.user.is_some(), |r| r.user = None),
    (
        Feature::Metadata,
        |r| r.metadata.as_ref().is_some_and(|all| !all.is_empty()),
        |r| r.metadata = None,
    ),
    (Feature::ServiceTier, |r| r.tier.is_some(), |r| r.tier = None),
    (Feature::PromptCacheKey, |r| r.cache_key.is_some(), |r| r.cache_key = None),
];

/// Fits what is decided by the format alone.
///
/// # Errors
///
/// When the request sets something that the target does not support and that may not be left out.
pub(crate) fn fit(request: &mut Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    for (feature, at) in take(&mut request.asked) {
        fitting.keep(feature, &at)?;
    }
    for name in take(&mut request.unknown) {
        fitting.drop(&child("", &name));
    }
    for (feature, is_set, clear) in SETTINGS {
        if is_set(request) && !fitting.keep(*feature, "")? {
            clear(request);
        }
    }
    Ok(())
}
