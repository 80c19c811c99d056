//! `GenerateContentResponse`, as far as it is decoded.
//! <https://ai.google.dev/api/generate-content#generatecontentresponse>

use serde::Deserialize;
use serde_json::value::RawValue;

use super::partial_arguments::PartialArg;

/// A chunk of a stream, or a whole answer.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Chunk<'d> {
    #[serde(borrow)]
    pub(super) candidates: Option<Vec<CandidateChunk<'d>>>,
    #[serde(borrow)]
    pub(super) usage_metadata: Option<&'d RawValue>,
    #[serde(borrow)]
    pub(super) prompt_feedback: Option<&'d RawValue>,
    #[serde(borrow)]
    pub(super) error: Option<&'d RawValue>,
    #[serde(borrow)]
    pub(super) model_version: Option<&'d RawValue>,
    #[serde(borrow)]
    pub(super) response_id: Option<&'d RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CandidateChunk<'d> {
    pub(super) index: Option<u32>,
    #[serde(borrow)]
    pub(super) content: Option<Content<'d>>,
    #[serde(borrow)]
    pub(super) finish_reason: Option<&'d RawValue>,
    #[serde(borrow)]
    pub(super) grounding_metadata: Option<&'d RawValue>,
    #[serde(borrow)]
    pub(super) citation_metadata: Option<&'d RawValue>,
    #[serde(borrow)]
    pub(super) logprobs_result: Option<&'d RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Content<'d> {
    #[serde(borrow)]
    pub(super) parts: Option<Vec<&'d RawValue>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Part<'d> {
    pub(super) text: Option<String>,
    pub(super) thought: Option<bool>,
    pub(super) thought_signature: Option<String>,
    #[serde(borrow)]
    pub(super) function_call: Option<FunctionCall<'d>>,
    pub(super) inline_data: Option<Blob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct FunctionCall<'d> {
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    #[serde(borrow)]
    pub(super) args: Option<&'d RawValue>,
    pub(super) partial_args: Option<Vec<PartialArg>>,
    pub(super) will_continue: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Blob {
    pub(super) mime_type: String,
    pub(super) data: String,
}
