//! Prints a fitted request for a provider.

use std::borrow::Cow;

use super::vendors::{Images, Vendor};
use crate::wire::ir::{Block, Content, Effort, Media, Request, Role, Source};
use crate::wire::json::write::Object;

/// Writes a request that `fit` has fitted. The address contains a model of the form `owner/name`;
/// any other model is a version, which the body contains.
pub fn encode_request(request: &Request) -> Vec<u8> {
    let vendor = Vendor::of_model(&request.model);
    let mut out = Vec::with_capacity(4096);
    let mut body = Object::new(&mut out);
    if !request.model.contains('/') || request.model.contains(':') {
        body.put("version", &request.model);
    }
    let mut input = body.object("input");
    match prompt_blocks(request) {
        Some(blocks) => put_prompt(blocks, &request.system, vendor, &mut input),
        None => put_messages(request, &mut input),
    }
    put_settings(request, vendor, &mut input);
    input.end();
    if request.stream {
        body.put("stream", &true);
    }
    body.end();
    out
}

/// Returns the blocks of a conversation that is one turn of the user, which every model accepts as a prompt.
pub(super) fn prompt_blocks(request: &Request) -> Option<&[Block]> {
    match &*request.turns {
        [only] if only.role == Role::User => Some(&only.blocks),
        _ => None,
    }
}

fn put_prompt(blocks: &[Block], system: &[Block], vendor: &Vendor, input: &mut Object<'_>) {
    if let Some(name) = vendor.system {
        input.put_some(name, join_texts(system).as_ref());
    }
    input.put("prompt", &join_texts(blocks).unwrap_or_default());
    let images: Vec<_> = blocks.iter().filter_map(image_url).collect();
    match (vendor.images, &*images) {
        (Images::One(name), [image, ..]) => drop(input.put(name, image)),
        (Images::Many(name), [_, ..]) => drop(input.put(name, &images)),
        (Images::None, _) | (_, []) => {}
    }
}

/// Writes a conversation in the form of OpenAI's models.
fn put_messages(request: &Request, input: &mut Object<'_>) {
    let mut messages = input.list("messages");
    let turns = request.turns.iter().map(|turn| (turn.role, &turn.blocks));
    for (role, blocks) in std::iter::once((Role::System, &request.system)).chain(turns) {
        let role = match role {
            Role::User => "user",
            Role::Assistant => "assistant",
            Role::System => "system",
        };
        if let Some(text) = join_texts(blocks) {
            let mut message = messages.object();
            message.put("role", role).put("content", &text);
            message.end();
        }
    }
    messages.end();
}

fn put_settings(request: &Request, vendor: &Vendor, input: &mut Object<'_>) {
    input.put_some(vendor.max_tokens, request.max_tokens.as_ref());
    if !request.stop.is_empty() {
        input.put("stop_sequences", &request.stop.join(","));
    }
    let sampling = &request.sampling;
    input.put_some("temperature", sampling.temperature.as_ref());
    input.put_some("top_p", sampling.top_p.as_ref());
    input.put_some("top_k", sampling.top_k.as_ref());
    input.put_some("frequency_penalty", sampling.frequency_penalty.as_ref());
    input.put_some("presence_penalty", sampling.presence_penalty.as_ref());
    if let Some(thinking) = &request.thinking {
        input.put_some("reasoning_effort", thinking.effort.map(Effort::word));
        input.put_some("thinking_budget", thinking.budget.as_ref());
    }
}

/// Joins the texts of one turn as paragraphs.
fn join_texts(blocks: &[Block]) -> Option<String> {
    let texts = blocks.iter().filter_map(|block| match &block.content {
        Content::Text { text, .. } | Content::Refusal(text) => Some(text.as_str()),
        // Images are members beside the prompt; the rest was refused or dropped.
        Content::Media(_)
        | Content::ToolCall { .. }
        | Content::ToolResult(_)
        | Content::Reasoning { .. }
        | Content::Foreign { .. } => None,
    });
    let texts: Vec<_> = texts.collect();
    (!texts.is_empty()).then(|| texts.join("\n\n"))
}

/// The API accepts files by address, and small ones as `data:`.
/// <https://replicate.com/docs/topics/predictions/input-files>
fn image_url(block: &Block) -> Option<Cow<'_, str>> {
    match &block.content {
        Content::Media(Media { source: Source::Base64 { media_type, data }, .. }) => {
            Some(Cow::Owned(format!("data:{media_type};base64,{data}")))
        }
        Content::Media(Media { source: Source::Url { url, .. }, .. }) => Some(url.into()),
        _ => None,
    }
}
