//! A whole answer for the caller.

use serde::Serialize;
use serde_json::Value;

use super::members::Counted;
use super::{Logprobs, NOTHING, google, image, members};
use crate::wire::api::Format;
use crate::wire::format::context::ResponseContext;
use crate::wire::ir::{Block, Candidate, Content, Response};

#[derive(Serialize)]
struct Completion<'r> {
    id: &'r str,
    object: &'static str,
    created: u64,
    model: &'r str,
    choices: Vec<Choice<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Counted>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

#[derive(Serialize)]
struct Choice<'r> {
    index: usize,
    message: Message<'r>,
    logprobs: Option<Logprobs<'r>>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Message<'r> {
    role: &'static str,
    content: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasoning_details: Vec<Value>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    annotations: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<Value>,
}

#[derive(Serialize)]
struct Call<'r> {
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<Value>,
}

#[derive(Serialize)]
struct Function<'r> {
    name: &'r str,
    arguments: &'r str,
}

/// Writes a whole answer for the caller.
pub fn encode_whole(reply: &Response, shown: &ResponseContext) -> Vec<u8> {
    let own = format!("chatcmpl-{}", shown.id);
    // Calls without an id get the number that their block has in a stream.
    let mut block = 0;
    let choices = reply.candidates.iter().enumerate();
    let completion = Completion {
        id: reply.id.as_deref().unwrap_or(&own),
        object: "chat.completion",
        created: reply.created.unwrap_or(shown.created),
        model: reply.model.as_deref().unwrap_or(&shown.model),
        choices: choices.map(|(index, own)| choice(index, own, &shown.id, &mut block)).collect(),
        usage: members::counted(reply.usage),
        service_tier: reply.tier.as_deref().and_then(members::service_tier),
    };
    // Strings, numbers and JSON values always can be written.
    serde_json::to_vec(&completion).unwrap_or_default()
}

fn choice<'r>(index: usize, own: &'r Candidate, id: &str, number: &mut usize) -> Choice<'r> {
    let mut message = Message { role: "assistant", ..Message::default() };
    for block in &own.blocks {
        message.take(block, id, *number);
        *number += 1;
    }
    let refused = message.refusal.is_some();
    let logprobs = Some(own.logprobs.as_slice()).filter(|tokens| !tokens.is_empty());
    Choice {
        index,
        logprobs: logprobs.map(|tokens| Logprobs { content: Some(tokens), refusal: None }),
        finish_reason: own.stop.map(|why| members::finish_reason(why, refused)),
        message,
    }
}

impl<'r> Message<'r> {
    fn take(&mut self, block: &'r Block, id: &str, number: usize) {
        match &block.content {
            Content::Text { text, citations } => {
                let content = self.content.get_or_insert_default();
                let from = content.chars().count();
                content.push_str(text);
                let to = content.chars().count();
                let cited = citations.iter();
                self.annotations.extend(cited.filter_map(|one| members::annotation(one, from, to)));
            }
            Content::Reasoning { text } => {
                if !text.is_empty() {
                    self.reasoning_content.get_or_insert_default().push_str(text);
                }
                let own = block
                    .signature
                    .as_ref()
                    .filter(|signature| signature.format == Format::OpenAiChat);
                let details = own
                    .and_then(|signature| serde_json::from_str::<Vec<Value>>(&signature.data).ok());
                self.reasoning_details.extend(details.into_iter().flatten());
            }
            Content::Refusal(text) => self.refusal.get_or_insert_default().push_str(text),
            Content::ToolCall { id: known, name, arguments } => {
                let signature =
                    block.signature.as_ref().filter(|signature| signature.format == Format::Gemini);
                let arguments = if arguments.is_empty() { NOTHING } else { arguments };
                self.tool_calls.push(Call {
                    id: known.clone().unwrap_or_else(|| format!("call_{id}_{number}")),
                    kind: "function",
                    function: Function { name, arguments },
                    extra_content: signature.map(google),
                });
            }
            Content::Media(media) => self.images.extend(image(media)),
            // Another format's, or no part of an answer.
            Content::Foreign { .. } | Content::ToolResult(_) => {}
        }
    }
}
