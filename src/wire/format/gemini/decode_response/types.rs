//! `GenerateContentResponse`, as far as it is decoded.
//! <https://ai.google.dev/api/generate-content#generatecontentresponse>

use serde::Deserialize;
use serde_json::value::RawValue;

use super::partial_arguments::PartialArg;

/// A chunk of a stream, or a whole answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Chunk<'d> {
    #[serde(default, borrow)]
    pub(super) candidates: Option<Vec<CandidateChunk<'d>>>,
    #[serde(default, borrow)]
    pub(super) usage_metadata: Option<&'d RawValue>,
    #[serde(default, borrow)]
    pub(super) prompt_feedback: Option<&'d RawValue>,
    #[serde(default, borrow)]
    pub(super) error: Option<&'d RawValue>,
    #[serde(default, borrow)]
    pub(super) model_version: Option<&'d RawValue>,
    #[serde(default, borrow)]
    pub(super) response_id: Option<&'d RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CandidateChunk<'d> {
    #[serde(default)]
    pub(super) index: Option<u32>,
    #[serde(default, borrow)]
    pub(super) content: Option<Content<'d>>,
    #[serde(default, borrow)]
    pub(super) finish_reason: Option<&'d RawValue>,
    #[serde(default, borrow)]
    pub(super) grounding_metadata: Option<&'d RawValue>,
    #[serde(default, borrow)]
    pub(super) citation_metadata: Option<&'d RawValue>,
    #[serde(default, borrow)]
    pub(super) logprobs_result: Option<&'d RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Content<'d> {
    #[serde(default, borrow)]
    pub(super) parts: Option<Vec<&'d RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part<'d> {
    #[serde(default)]
    pub(super) text: Option<String>,
    #[serde(default)]
    pub(super) thought: Option<bool>,
    #[serde(default)]
    pub(super) thought_signature: Option<String>,
    #[serde(default, borrow)]
    pub(super) function_call: Option<FunctionCall<'d>>,
    #[serde(default)]
    pub(super) inline_data: Option<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FunctionCall<'d> {
    #[serde(default)]
    pub(super) id: Option<String>,
    #[serde(default)]
    pub(super) name: Option<String>,
    #[serde(default, borrow)]
    pub(super) args: Option<&'d RawValue>,
    #[serde(default)]
    pub(super) partial_args: Option<Vec<PartialArg>>,
    #[serde(default)]
    pub(super) will_continue: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Blob {
    pub(super) mime_type: String,
    pub(super) data: String,
}
