//! A provider's whole answer -> events, by the way of its stream.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{
    Decoder, Delta, Input, MessageStop, Metadata, Reasoning, ServiceTier, Start, ToolUse, image,
    message,
};
use crate::wire::api::{Api, Format};
use crate::wire::failure::ProviderError;
use crate::wire::failure::classify::classify_told;
use crate::wire::format::bedrock::{decode_response, media_types};
use crate::wire::format::quirks::Quirks;
use crate::wire::ir::{Event, Kind, MediaKind};

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
struct Block<'a> {
    text: Option<String>,
    #[serde(borrow)]
    tool_use: Option<Call<'a>>,
    reasoning_content: Option<Thought>,
    citations_content: Option<Cited>,
    image: Option<Image>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call<'a> {
    tool_use_id: Option<String>,
    name: String,
    #[serde(borrow)]
    input: Option<&'a RawValue>,
    r#type: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Thought {
    reasoning_text: Option<ThoughtText>,
    redacted_content: Option<String>,
}

#[derive(Deserialize)]
struct ThoughtText {
    text: Option<String>,
    signature: Option<String>,
}

#[derive(Deserialize)]
struct Cited {
    #[serde(default)]
    content: Vec<Text>,
    #[serde(default)]
    citations: Vec<Value>,
}

#[derive(Deserialize)]
struct Text {
    text: Option<String>,
}

#[derive(Deserialize)]
struct Image {
    format: String,
    source: decode_response::Bytes,
}

/// Makes events of a provider's whole answer.
pub fn decode_whole(body: &[u8], quirks: &'static Quirks) -> Vec<Event> {
    let mut out = Vec::new();
    let mut decoder = Decoder::new(quirks);
    let Ok(answer) = serde_json::from_slice::<Answer<'_>>(body) else {
        decoder.fail_as(told(body), &mut out);
        return out;
    };
    decoder.begin(&mut out);
    for (index, block) in (0..).zip(answer.output.message.content) {
        tell(&mut decoder, index, block, &mut out);
    }
    let Answer { stop_reason, additional_model_response_fields, .. } = answer;
    decoder.message_stop(MessageStop { stop_reason, additional_model_response_fields }, &mut out);
    let Answer { usage, service_tier, .. } = answer;
    decoder.metadata(&Metadata { usage, service_tier }, &mut out);
    decoder.end(&mut out);
    out
}

/// A block as the stream would have told it.
fn tell(decoder: &mut Decoder, index: u64, raw: &RawValue, out: &mut Vec<Event>) {
    let block: Option<Block<'_>> = serde_json::from_str(raw.get()).ok();
    let mut delta = |delta| decoder.delta(index, delta, out);
    match block {
        Some(Block { text: Some(text), .. }) => {
            delta(Delta { text: Some(text), ..Delta::default() });
        }
        Some(Block { reasoning_content: Some(thought), .. }) => {
            let (text, signature) =
                thought.reasoning_text.map_or((None, None), |own| (own.text, own.signature));
            let redacted_content = thought.redacted_content;
            let reasoning = Reasoning { text, signature, redacted_content };
            delta(Delta { reasoning_content: Some(reasoning), ..Delta::default() });
        }
        Some(Block { citations_content: Some(cited), .. }) => {
            for text in cited.content {
                delta(Delta { text: text.text, ..Delta::default() });
            }
            for citation in cited.citations {
                delta(Delta { citation: Some(citation), ..Delta::default() });
            }
        }
        Some(Block { tool_use: Some(call), .. })
            if call.r#type.as_deref() != Some("server_tool_use") =>
        {
            let Call { tool_use_id: id, name, input, r#type } = call;
            let tool_use = Some(ToolUse { id, name, r#type });
            decoder.start(index, Start { tool_use, ..Start::default() }, out);
            let input = input.map(|input| Input { input: input.get().to_owned() });
            decoder.delta(index, Delta { tool_use: input, ..Delta::default() }, out);
        }
        Some(Block { image: Some(Image { format, source }), .. }) => {
            let media_type = media_types::type_of(MediaKind::Image, &format);
            if let (Some(media_type), Some(bytes)) = (media_type, source.bytes) {
                decoder.whole(Kind::Media(image(media_type, bytes)), out);
            }
        }
        _ => {
            let json = serde_json::from_str(raw.get()).unwrap_or_else(|_| json!(raw.get()));
            decoder.whole(Kind::Foreign { format: Format::Bedrock, json }, out);
        }
    }
    decoder.stop(index, out);
}

/// What went wrong, by a body that is no answer.
fn told(body: &[u8]) -> ProviderError {
    let message = message(body);
    ProviderError {
        failure: classify_told(Api::Bedrock, body),
        status: None,
        kind: None,
        code: None,
        param: None,
        message: message.unwrap_or_else(|| "The provider's answer cannot be read.".to_owned()),
    }
}
