//! What a caller sees of an answer, and what of it each caller's format cannot say.

use serde_json::Value;

use keymux::wire::api::Format;
use keymux::wire::inspect::usage::Usage;
use keymux::wire::ir::{Candidate, Content, Response, Stop};

/// An answer by what matters of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) candidates: Vec<Said>,
    pub(crate) usage: Usage,
    pub(crate) ended: bool,
    /// What a failure says.
    pub(crate) failed: Option<String>,
}

/// One of the answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Said {
    pub(crate) text: String,
    pub(crate) thought: String,
    pub(crate) refusal: String,
    /// Names, and arguments as JSON, where they are any.
    pub(crate) calls: Vec<(String, Value)>,
    pub(crate) media: usize,
    pub(crate) stop: Option<Stop>,
}

/// What a reply says.
pub(crate) fn seen(reply: &Response) -> Seen {
    Seen {
        candidates: reply.candidates.iter().map(said).collect(),
        usage: reply.usage,
        ended: reply.ended,
        failed: reply.failed.as_ref().map(|told| told.message.clone()),
    }
}

fn said(candidate: &Candidate) -> Said {
    let mut said = Said { stop: candidate.stop, ..Said::default() };
    for block in &candidate.blocks {
        match &block.content {
            Content::Text { text, .. } => said.text.push_str(text),
            Content::Reasoning { text } => said.thought.push_str(text),
            Content::Refusal(text) => said.refusal.push_str(text),
            Content::ToolCall { name, arguments, .. } => {
                said.calls.push((name.clone(), read(arguments)));
            }
            Content::Media(_) => said.media += 1,
            Content::Foreign { .. } | Content::ToolResult(_) => {}
        }
    }
    said
}

/// Arguments as JSON; damaged ones, and none, as they are.
fn read(arguments: &str) -> Value {
    match arguments {
        "" => Value::Object(serde_json::Map::new()),
        text => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
    }
}

/// What is left of an answer in a caller's format, by that format's reference.
pub(crate) fn left(of: &Seen, caller: Format) -> Seen {
    let mut left = of.clone();
    left.usage = usage_left(of.usage, caller);
    if of.failed.is_some() {
        // An error takes the place of the event that counts.
        left.usage = Usage::default();
    }
    for said in &mut left.candidates {
        let refused = !said.refusal.is_empty();
        said.stop = said.stop.map(|stop| stop_left(stop, caller, refused, !said.calls.is_empty()));
        // Only OpenAI's formats tell a refusal from text.
        if !matches!(caller, Format::OpenAiChat | Format::OpenAiResponses) {
            said.text.push_str(&std::mem::take(&mut said.refusal));
        }
    }
    left
}

/// What a caller reads of the counts.
fn usage_left(usage: Usage, caller: Format) -> Usage {
    match caller {
        Format::OpenAiResponses => {
            // The reference requires all of them: what is not counted is 0.
            let told = usage != Usage::default();
            let zero = |count: Option<u64>| count.or(told.then_some(0));
            Usage {
                input: zero(usage.input),
                cached_input: zero(usage.cached_input),
                cache_write: zero(usage.cache_write),
                output: zero(usage.output),
                reasoning: zero(usage.reasoning),
            }
        }
        // Likewise of these two.
        Format::Anthropic => {
            Usage { input: usage.input.or(Some(0)), output: usage.output.or(Some(0)), ..usage }
        }
        Format::Gemini => Usage { cache_write: None, ..usage },
        Format::Bedrock => Usage { reasoning: None, ..usage },
        Format::OpenAiChat | Format::Cohere | Format::Replicate => usage,
    }
}

/// The ending that a caller reads.
fn stop_left(stop: Stop, caller: Format, refused: bool, calls: bool) -> Stop {
    let done = if calls { Stop::Calls } else { Stop::End };
    match caller {
        Format::OpenAiChat => match stop {
            Stop::Window => Stop::Length,
            Stop::Refusal if !refused => Stop::Filter,
            Stop::End | Stop::Sequence | Stop::Pause | Stop::Malformed | Stop::Other => {
                if refused {
                    Stop::Refusal
                } else {
                    done
                }
            }
            other => other,
        },
        Format::OpenAiResponses => match stop {
            Stop::Window => Stop::Length,
            Stop::Refusal if !refused => Stop::Filter,
            Stop::End | Stop::Sequence => {
                if calls {
                    Stop::Calls
                } else if refused {
                    Stop::Refusal
                } else {
                    Stop::End
                }
            }
            Stop::Pause | Stop::Malformed => Stop::Other,
            other => other,
        },
        Format::Anthropic => match stop {
            Stop::Filter => Stop::Refusal,
            Stop::Malformed | Stop::Other => Stop::End,
            other => other,
        },
        Format::Gemini => match stop {
            Stop::Window => Stop::Length,
            Stop::Refusal => Stop::Filter,
            Stop::Pause => Stop::Other,
            Stop::End | Stop::Sequence => done,
            other => other,
        },
        Format::Bedrock => match stop {
            Stop::Refusal => Stop::Filter,
            other => other,
        },
        Format::Cohere | Format::Replicate => stop,
    }
}
