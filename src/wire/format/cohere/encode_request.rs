//! [`Request`] -> body.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Number, Value, json};

use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::format::quirks::Quirks;
use crate::wire::ir::{
    Block, Choice, Content, Effort, Form, Media, MediaKind, Request, Role, Sampling, Source,
    Thinking, Tool, ToolResult,
};
use crate::wire::json::fields::Rejected;

#[derive(Serialize)]
struct Body<'r> {
    model: &'r str,
    stream: bool,
    messages: Vec<Message<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    documents: Vec<Value>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Offered<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict_tools: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'r [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    p: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frequency_penalty: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    presence_penalty: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
}

#[derive(Serialize)]
struct Message<'r> {
    role: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<Cow<'r, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_plan: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Called<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<Vec<Part<'r>>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Part<'r> {
    Text { text: &'r str },
    Thinking { thinking: &'r str },
    ImageUrl { image_url: ImageUrl<'r> },
}

#[derive(Serialize)]
struct ImageUrl<'r> {
    url: Cow<'r, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<&'r str>,
}

#[derive(Serialize)]
struct Called<'r> {
    id: Cow<'r, str>,
    r#type: &'static str,
    function: CalledFunction<'r>,
}

#[derive(Serialize)]
struct CalledFunction<'r> {
    name: &'r str,
    arguments: &'r str,
}

#[derive(Serialize)]
struct Offered<'r> {
    r#type: &'static str,
    function: Function<'r>,
}

#[derive(Serialize)]
struct Function<'r> {
    name: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'r str>,
    parameters: Cow<'r, Value>,
}

/// Writes a request for a provider.
///
/// # Errors
///
/// When it cannot be said.
pub fn encode_request(
    request: &Request,
    _quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<Vec<u8>, Rejected> {
    leave_the_rest(request, fitting)?;
    let tools = tools(request, fitting)?;
    let Sampling { temperature, top_p, top_k, frequency_penalty, presence_penalty, seed } =
        &request.sampling;
    // The ranges are those of the API's reference.
    let mut within = |number: &'_ Option<Number>, feature, from: f64, to: f64| {
        let value = number.as_ref()?.as_f64()?;
        let fits = (from..=to).contains(&value);
        if !fits {
            fitting.omit(feature, "");
        }
        Some(fits)
    };
    let p = within(top_p, Feature::TopP, 0.01, 0.99) == Some(true);
    let k = within(top_k, Feature::TopK, 0.0, 500.0) == Some(true);
    let frequency = within(frequency_penalty, Feature::FrequencyPenalty, 0.0, 1.0) == Some(true);
    let presence = within(presence_penalty, Feature::PresencePenalty, 0.0, 1.0) == Some(true);
    let logprobs = request.logprobs.map(|wanted| {
        // There are none of other tokens than those that were drawn.
        if wanted.top.is_some_and(|top| top > 0) {
            fitting.omit(Feature::Logprobs, "");
        }
        true
    });
    let thinking = thinking(request, fitting);
    let response_format = form(request, fitting)?;
    let mut sayer = Sayer { fitting, documents: Vec::new(), made: Vec::new(), count: 0 };
    let messages = sayer.messages(request)?;
    let body = Body {
        model: &request.model,
        stream: request.stream,
        messages,
        documents: sayer.documents,
        strict_tools: tools.strict,
        tool_choice: tools.choice,
        tools: tools.offered,
        response_format,
        thinking,
        max_tokens: request.max_tokens,
        stop_sequences: &request.stop,
        temperature: temperature.as_ref(),
        p: top_p.as_ref().filter(|_| p),
        k: top_k.as_ref().filter(|_| k),
        seed: seed.as_ref(),
        frequency_penalty: frequency_penalty.as_ref().filter(|_| frequency),
        presence_penalty: presence_penalty.as_ref().filter(|_| presence),
        logprobs,
    };
    serde_json::to_vec(&body).map_err(|error| Rejected::new("", format!("cannot be said: {error}")))
}

#[derive(Default)]
struct Tools<'r> {
    offered: Vec<Offered<'r>>,
    strict: Option<bool>,
    choice: Option<&'static str>,
}

/// There is no choice of one tool: it is the only one that is offered then.
fn tools<'r>(request: &'r Request, fitting: &mut Fitting) -> Result<Tools<'r>, Rejected> {
    let only: Option<&[String]> = match &request.choice {
        Some(Choice::Tool(name)) => Some(std::slice::from_ref(name)),
        Some(Choice::AnyOf(names)) => Some(names),
        _ => None,
    };
    let (mut all_strict, mut strict_at) = (true, None);
    let mut tools = Tools::default();
    for tool in &request.tools {
        let (name, description, parameters, strict, cache, at) = match tool {
            Tool::Function { name, description, parameters, strict, cache, at } => {
                (name, description, parameters, strict, cache, at)
            }
            Tool::Foreign { at, .. } => return Err(fitting.refuse(Feature::ServerTool, at)),
        };
        if only.is_some_and(|only| !only.contains(name)) {
            continue;
        }
        if cache.is_some() {
            fitting.keep(Feature::CachePoint, at)?;
        }
        // A strict tool must have a parameter that is required.
        let required = parameters.as_ref().and_then(|schema| schema.get("required")?.as_array());
        all_strict &= *strict == Some(true) && required.is_some_and(|names| !names.is_empty());
        strict_at = strict_at.or((*strict == Some(true)).then_some(at));
        let parameters = match parameters {
            Some(schema) => Cow::Borrowed(schema),
            None => Cow::Owned(json!({ "type": "object", "properties": {} })),
        };
        let function = Function { name, description: description.as_deref(), parameters };
        tools.offered.push(Offered { r#type: "function", function });
    }
    if tools.offered.is_empty() {
        return Ok(tools);
    }
    match strict_at {
        Some(_) if all_strict => tools.strict = Some(true),
        Some(at) => fitting.omit(Feature::StrictTools, at),
        None => {}
    }
    if request.parallel == Some(false) {
        fitting.keep(Feature::SingleToolCall, "")?;
    }
    tools.choice = match request.choice {
        None | Some(Choice::Auto) => None,
        Some(Choice::None) => Some("NONE"),
        Some(Choice::Any | Choice::Tool(_) | Choice::AnyOf(_)) => Some("REQUIRED"),
    };
    Ok(tools)
}

fn form(request: &Request, fitting: &mut Fitting) -> Result<Option<Value>, Rejected> {
    Ok(match &request.form {
        None => None,
        Some(Form::Json) => {
            fitting.keep(Feature::JsonObject, "")?.then(|| json!({ "type": "json_object" }))
        }
        Some(Form::Schema { schema, .. }) => fitting
            .keep(Feature::JsonSchema, "")?
            .then(|| json!({ "type": "json_object", "json_schema": schema })),
    })
}

/// Models that reason do so unless told otherwise; the older ones do not know the word.
/// <https://docs.cohere.com/docs/reasoning>
fn thinking(request: &Request, fitting: &mut Fitting) -> Option<Value> {
    let Thinking { effort, budget, shown: _ } = request.thinking.as_ref()?;
    let model = &request.model;
    let old = ["command-r", "command-a-03", "command-a-vision", "command-a-translate", "c4ai-"];
    let thinks = !old.iter().any(|name| model.starts_with(name)) && model.matches('-').count() > 1;
    if *effort == Some(Effort::None) || *budget == Some(0) {
        return thinks.then(|| json!({ "type": "disabled" }));
    }
    if !thinks || budget.is_none() {
        // There are no words for how much.
        if effort.is_some() {
            fitting.omit(Feature::ReasoningEffort, "");
        }
        if budget.is_some() {
            fitting.omit(Feature::ReasoningBudget, "");
        }
    }
    match budget {
        Some(budget) if thinks => Some(json!({ "type": "enabled", "token_budget": budget })),
        _ => (thinks && effort.is_some()).then(|| json!({ "type": "enabled" })),
    }
}

struct Sayer<'s> {
    fitting: &'s mut Fitting,
    documents: Vec<Value>,
    /// Ids made for calls that had none, with their tools.
    made: Vec<(String, String)>,
    count: usize,
}

impl Sayer<'_> {
    fn messages<'r>(&mut self, request: &'r Request) -> Result<Vec<Message<'r>>, Rejected> {
        let mut messages = Vec::new();
        self.turn("system", &request.system, &mut messages)?;
        for turn in &request.turns {
            if turn.name.is_some() {
                self.fitting.keep(Feature::ParticipantName, "")?;
            }
            match turn.role {
                Role::User => self.turn("user", &turn.blocks, &mut messages)?,
                Role::Assistant => self.model(&turn.blocks, &mut messages)?,
                Role::System => {
                    let at = turn.blocks.first().map(|block| block.at.as_str());
                    self.fitting.keep(Feature::SystemTurn, at.unwrap_or_default())?;
                    self.turn("system", &turn.blocks, &mut messages)?;
                }
            }
        }
        if let Some(turn) = request.turns.last().filter(|turn| turn.role == Role::Assistant) {
            let at = turn.blocks.first().map(|block| block.at.as_str());
            self.fitting.keep(Feature::Prefill, at.unwrap_or_default())?;
        }
        Ok(messages)
    }

    fn turn<'r>(
        &mut self,
        role: &'static str,
        blocks: &'r [Block],
        out: &mut Vec<Message<'r>>,
    ) -> Result<(), Rejected> {
        let mut content = Vec::new();
        for block in blocks {
            self.mark(block)?;
            match &block.content {
                Content::Text { text, .. } | Content::Refusal(text) => {
                    push_text(text, &mut content);
                }
                Content::Media(media) => self.media(media, &block.at, &mut content)?,
                Content::ToolResult(outcome) => out.push(self.outcome(outcome, &block.at)?),
                Content::ToolCall { .. } | Content::Reasoning { .. } | Content::Foreign { .. } => {
                    return Err(self.fitting.refuse(Feature::ServerToolBlock, &block.at));
                }
            }
        }
        if !content.is_empty() {
            let (tool_calls, content) = (Vec::new(), Some(content));
            out.push(Message { role, tool_call_id: None, tool_plan: None, tool_calls, content });
        }
        Ok(())
    }

    fn model<'r>(
        &mut self,
        blocks: &'r [Block],
        out: &mut Vec<Message<'r>>,
    ) -> Result<(), Rejected> {
        // What is thought before a call is the call's plan.
        let calls = blocks.iter().any(|block| matches!(block.content, Content::ToolCall { .. }));
        let (mut plan, mut content, mut tool_calls) = (String::new(), Vec::new(), Vec::new());
        for block in blocks {
            self.mark(block)?;
            match &block.content {
                Content::Text { text, .. } | Content::Refusal(text) => {
                    push_text(text, &mut content);
                }
                Content::Reasoning { .. } if block.signature.is_some() => {
                    self.fitting.keep(Feature::ForeignSignatures, &block.at)?;
                }
                Content::Reasoning { text } if calls => plan.push_str(text),
                Content::Reasoning { text } if text.is_empty() => {}
                Content::Reasoning { text } => content.push(Part::Thinking { thinking: text }),
                Content::ToolCall { id, name, arguments } => {
                    let id = if let Some(id) = id {
                        Cow::Borrowed(id.as_str())
                    } else {
                        self.count += 1;
                        let id = format!("call_{}", self.count);
                        self.made.push((name.clone(), id.clone()));
                        Cow::Owned(id)
                    };
                    let arguments = if arguments.is_empty() { "{}" } else { arguments };
                    let function = CalledFunction { name, arguments };
                    tool_calls.push(Called { id, r#type: "function", function });
                }
                Content::Media(media) => self.media(media, &block.at, &mut content)?,
                Content::ToolResult(_) | Content::Foreign { .. } => {
                    return Err(self.fitting.refuse(Feature::ServerToolBlock, &block.at));
                }
            }
        }
        if !content.is_empty() || calls {
            let tool_plan = Some(plan).filter(|plan| !plan.is_empty());
            let content = Some(content).filter(|content| !content.is_empty());
            let role = "assistant";
            out.push(Message { role, tool_call_id: None, tool_plan, tool_calls, content });
        }
        Ok(())
    }

    fn mark(&mut self, block: &Block) -> Result<(), Rejected> {
        if block.cache.is_some() {
            self.fitting.keep(Feature::CachePoint, &block.at)?;
        }
        Ok(())
    }

    fn outcome<'r>(&mut self, outcome: &'r ToolResult, at: &str) -> Result<Message<'r>, Rejected> {
        if outcome.is_error {
            self.fitting.keep(Feature::ToolResultError, at)?;
        }
        let id = if outcome.id.is_empty() {
            let tool = outcome.name.as_deref();
            let of_tool = self.made.iter().position(|(name, _)| tool == Some(name));
            let place = of_tool.or(if self.made.is_empty() { None } else { Some(0) });
            let place = place.ok_or_else(|| {
                Rejected::new(at, "is the outcome of a call that is not in the conversation")
            })?;
            Cow::Owned(self.made.remove(place).1)
        } else {
            Cow::Borrowed(outcome.id.as_str())
        };
        let mut content = Vec::new();
        for part in &outcome.content {
            self.mark(part)?;
            match &part.content {
                Content::Text { text, .. } => content.push(Part::Text { text }),
                Content::Media(_) => {
                    return Err(self.fitting.refuse(Feature::ToolResultMedia, &part.at));
                }
                _ => return Err(self.fitting.refuse(Feature::ServerToolBlock, &part.at)),
            }
        }
        // Content is required.
        if content.is_empty() {
            content.push(Part::Text { text: "" });
        }
        Ok(Message {
            role: "tool",
            tool_call_id: Some(id),
            tool_plan: None,
            tool_calls: Vec::new(),
            content: Some(content),
        })
    }

    fn media<'r>(
        &mut self,
        media: &'r Media,
        at: &str,
        out: &mut Vec<Part<'r>>,
    ) -> Result<(), Rejected> {
        let url = match (media.kind, &media.source) {
            (MediaKind::Image, Source::Base64 { media_type, data }) => {
                self.fitting.keep(Feature::ImageBytes, at)?;
                Cow::Owned(format!("data:{media_type};base64,{data}"))
            }
            (MediaKind::Image, Source::Url { url, .. }) => {
                self.fitting.keep(Feature::ImageUrl, at)?;
                Cow::Borrowed(url.as_str())
            }
            // Beside the conversation, as all documents are.
            (MediaKind::Document, Source::Text(text)) => {
                self.fitting.keep(Feature::DocumentText, at)?;
                let mut data = json!({ "text": text });
                if let Some(name) = &media.name {
                    data["title"] = json!(name);
                }
                self.documents.push(json!({ "data": data }));
                return Ok(());
            }
            (kind, source) => {
                let feature = match (kind, source) {
                    (_, Source::File { .. }) => Feature::FileId,
                    (MediaKind::Audio, _) => Feature::Audio,
                    (MediaKind::Video, _) => Feature::Video,
                    (_, Source::Url { .. }) => Feature::DocumentUrl,
                    (MediaKind::Image | MediaKind::Document, _) => Feature::DocumentBytes,
                };
                return Err(self.fitting.refuse(feature, at));
            }
        };
        let detail = media.detail.as_deref();
        out.push(Part::ImageUrl { image_url: ImageUrl { url, detail } });
        Ok(())
    }
}

fn push_text<'r>(text: &'r str, out: &mut Vec<Part<'r>>) {
    if !text.is_empty() {
        out.push(Part::Text { text });
    }
}

/// What the format has no field for.
fn leave_the_rest(request: &Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    for (there, feature) in [
        (request.candidates.is_some_and(|count| count > 1), Feature::Candidates),
        (request.user.is_some(), Feature::EndUser),
        (request.metadata.is_some(), Feature::Metadata),
        (request.tier.is_some(), Feature::ServiceTier),
        (request.cache_key.is_some(), Feature::PromptCacheKey),
    ] {
        if there {
            fitting.keep(feature, "")?;
        }
    }
    Ok(())
}
