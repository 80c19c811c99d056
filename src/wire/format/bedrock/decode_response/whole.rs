//! Decodes a whole answer, block by block as its stream would bring them.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::types::{
    Bytes, Delta, MessageStop, Metadata, Reasoning, ServiceTier, Start, ToolInput, ToolUse,
};
use super::{Decoder, error_message, foreign, image};
use crate::wire::api::Api;
use crate::wire::failure::ProviderError;
use crate::wire::failure::classify::classify_told;
use crate::wire::format::quirks::Quirks;
use crate::wire::ir::Event;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer<'a> {
    #[serde(borrow)]
    output: Output<'a>,
    stop_reason: String,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    service_tier: Option<ServiceTier>,
    additional_model_response_fields: Option<Value>,
}

#[derive(Deserialize)]
struct Output<'a> {
    #[serde(borrow)]
    message: Message<'a>,
}

#[derive(Deserialize)]
struct Message<'a> {
    #[serde(borrow, default)]
    content: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContentBlock<'a> {
    text: Option<String>,
    #[serde(borrow)]
    tool_use: Option<ToolCall<'a>>,
    reasoning_content: Option<ReasoningContent>,
    citations_content: Option<CitationsContent>,
    image: Option<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolCall<'a> {
    tool_use_id: Option<String>,
    name: String,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    r#type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReasoningContent {
    reasoning_text: Option<ReasoningText>,
    redacted_content: Option<String>,
}

#[derive(Default, Deserialize)]
struct ReasoningText {
    text: Option<String>,
    signature: Option<String>,
}

#[derive(Deserialize)]
struct CitationsContent {
    #[serde(default)]
    content: Vec<CitedText>,
    #[serde(default)]
    citations: Vec<Value>,
}

#[derive(Deserialize)]
struct CitedText {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Image {
    format: String,
    source: Bytes,
}

/// Decodes a whole answer, or an error body.
pub fn decode_whole(body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    let mut out = Vec::new();
    let mut decoder = Decoder::new(quirks);
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body) else {
        decoder.writer.fail(decode_error(body), &mut out);
        return out;
    };
    let Answer { output, stop_reason, usage, service_tier, additional_model_response_fields } =
        answer;
    decoder.message_start(&mut out);
    for (index, block) in (0..).zip(output.message.content) {
        decode_block(&mut decoder, index, block, &mut out);
    }
    decoder.message_stop(MessageStop { stop_reason, additional_model_response_fields }, &mut out);
    decoder.metadata(&Metadata { usage, service_tier }, &mut out);
    decoder.end(&mut out);
    out
}

fn decode_block(decoder: &mut Decoder, index: u64, raw: &RawValue, out: &mut Vec<Event>) {
    let block: Option<ContentBlock<'_>> = serde_json::from_str(raw.get()).ok();
    let mut delta = |delta| decoder.delta(index, delta, out);
    match block {
        Some(ContentBlock { text: Some(text), .. }) => {
            delta(Delta { text: Some(text), ..Delta::default() });
        }
        Some(ContentBlock { reasoning_content: Some(reasoning), .. }) => {
            let ReasoningContent { reasoning_text, redacted_content } = reasoning;
            let ReasoningText { text, signature } = reasoning_text.unwrap_or_default();
            let reasoning = Reasoning { text, signature, redacted_content };
            delta(Delta { reasoning_content: Some(reasoning), ..Delta::default() });
        }
        Some(ContentBlock { citations_content: Some(cited), .. }) => {
            for text in cited.content {
                delta(Delta { text: text.text, ..Delta::default() });
            }
            for citation in cited.citations {
                delta(Delta { citation: Some(citation), ..Delta::default() });
            }
        }
        Some(ContentBlock { tool_use: Some(call), .. })
            if call.r#type.as_deref() != Some("server_tool_use") =>
        {
            let ToolCall { tool_use_id: id, name, input, r#type } = call;
            let tool_use = Some(ToolUse { id, name, r#type });
            decoder.start(index, Start { tool_use, ..Start::default() }, out);
            let input = input.map(|input| ToolInput { input: input.get().to_owned() });
            decoder.delta(index, Delta { tool_use: input, ..Delta::default() }, out);
        }
        Some(ContentBlock { image: Some(Image { format, source }), .. }) => {
            if let Some(image) = source.bytes.and_then(|bytes| image(&format, bytes)) {
                decoder.whole(image, out);
            }
        }
        _ => {
            let json = serde_json::from_str(raw.get()).unwrap_or_else(|_| json!(raw.get()));
            decoder.whole(foreign(json), out);
        }
    }
    decoder.stop(index, out);
}

fn decode_error(body: &[u8]) -> ProviderError {
    let message = error_message(body);
    ProviderError {
        failure: classify_told(Api::Bedrock, body),
        ..ProviderError::malformed(
            message.unwrap_or_else(|| "The provider sent a malformed answer.".to_owned()),
        )
    }
}
