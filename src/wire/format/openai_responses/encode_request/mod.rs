//! A request for a provider.

pub(crate) mod call_ids;
pub(crate) mod items;

use serde::Serialize;
use serde_json::{Map, Number, Value, json};

use self::items::{Item, instructions, items};
use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::format::quirks::Quirks;
use crate::wire::ir::{Choice, Content, Effort, Form, Request, Role, Thinking, Tier, Tool};
use crate::wire::json::fields::Rejected;

/// The least that the API takes for `max_output_tokens`.
const LEAST_TOKENS: u64 = 16;

/// The longest `user` that is taken.
const LONGEST_USER: usize = 64;

/// Brings the reasoning in a form in which it can be handed back.
const ENCRYPTED: &str = "reasoning.encrypted_content";

const LOGPROBS: &str = "message.output_text.logprobs";

#[derive(Serialize)]
struct Body<'r> {
    model: &'r str,
    #[serde(skip_serializing_if = "Option::is_none")]
    instructions: Option<&'r str>,
    input: Vec<Item<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Offered<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parallel_tool_calls: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Text<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    include: Vec<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'r Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'r str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'r str>,
    store: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Offered<'r> {
    Function {
        r#type: &'static str,
        name: &'r str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'r str>,
        parameters: Parameters<'r>,
        strict: bool,
    },
    Own(&'r Value),
}

#[derive(Serialize)]
#[serde(untagged)]
enum Parameters<'r> {
    Given(&'r Value),
    None { r#type: &'static str, properties: Map<String, Value> },
}

#[derive(Serialize)]
struct Reasoning {
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    summary: Option<&'static str>,
}

#[derive(Serialize)]
struct Text<'r> {
    format: TextFormat<'r>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum TextFormat<'r> {
    JsonObject,
    JsonSchema {
        name: &'r str,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'r str>,
        schema: &'r Value,
        #[serde(skip_serializing_if = "Option::is_none")]
        strict: Option<bool>,
    },
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
    refuse_what_is_not_there(request, fitting)?;
    if request.system.iter().any(|block| block.cache.is_some()) {
        fitting.keep(Feature::CachePoint, "")?;
    }
    let fixed = has_fixed_sampling(request);
    let mut sampled = |feature, value: &Option<Number>| {
        if value.is_some() && fixed {
            fitting.omit(feature, "");
        }
        !fixed
    };
    let temperature = sampled(Feature::Temperature, &request.sampling.temperature);
    let top_p = sampled(Feature::TopP, &request.sampling.top_p);
    let body = Body {
        model: &request.model,
        instructions: instructions(request),
        input: items(request, fitting)?,
        tools: tools(&request.tools, fitting)?,
        tool_choice: choice(request),
        parallel_tool_calls: request.parallel.filter(|_| !request.tools.is_empty()),
        reasoning: request.thinking.as_ref().and_then(reasoning),
        text: request.form.as_ref().map(|form| Text { format: format(form) }),
        max_output_tokens: max_tokens(request, fitting),
        temperature: request.sampling.temperature.as_ref().filter(|_| temperature),
        top_p: request.sampling.top_p.as_ref().filter(|_| top_p),
        top_logprobs: request.logprobs.and_then(|own| own.top),
        include: include(request),
        metadata: metadata(request, fitting),
        user: user(request, fitting),
        service_tier: tier(request, fitting),
        prompt_cache_key: request.cache_key.as_deref(),
        store: false,
        stream: request.stream,
    };
    serde_json::to_vec(&body).map_err(|error| Rejected::new("", format!("cannot be said: {error}")))
}

/// A name of a function: <https://platform.openai.com/docs/api-reference/responses/create#responses-create-tools>
pub(crate) fn named(name: &str, at: &str) -> Result<(), Rejected> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if !name.is_empty() && name.len() <= 128 && name.bytes().all(fits) {
        return Ok(());
    }
    let why = "must have a name of 1 to 128 letters, digits, `_` and `-` for this provider";
    Err(Rejected::new(at, why))
}

fn refuse_what_is_not_there(request: &Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    let sampling = &request.sampling;
    let asked = [
        (Feature::StopSequences, !request.stop.is_empty()),
        (Feature::Candidates, request.candidates.is_some_and(|count| count > 1)),
        (Feature::TopK, sampling.top_k.is_some()),
        (Feature::FrequencyPenalty, sampling.frequency_penalty.is_some()),
        (Feature::PresencePenalty, sampling.presence_penalty.is_some()),
        (Feature::Seed, sampling.seed.is_some()),
    ];
    for (feature, _) in asked.into_iter().filter(|(_, asked)| *asked) {
        fitting.keep(feature, "")?;
    }
    Ok(())
}

/// `strict` is always said: where it is absent, the API makes the schema a strict one, with all members
/// required.
fn tools<'r>(tools: &'r [Tool], fitting: &mut Fitting) -> Result<Vec<Offered<'r>>, Rejected> {
    let mut out = Vec::with_capacity(tools.len());
    for tool in tools {
        out.push(match tool {
            Tool::Function { name, description, parameters, strict, cache, at } => {
                if cache.is_some() {
                    fitting.keep(Feature::CachePoint, "")?;
                }
                named(name, at)?;
                Offered::Function {
                    r#type: "function",
                    name,
                    description: description.as_deref(),
                    parameters: parameters.as_ref().map_or_else(
                        || Parameters::None { r#type: "object", properties: Map::new() },
                        Parameters::Given,
                    ),
                    strict: strict.unwrap_or(false),
                }
            }
            Tool::Foreign { format: Format::OpenAiResponses, json, .. } => Offered::Own(json),
            Tool::Foreign { at, .. } => return Err(fitting.refuse(Feature::ServerTool, at)),
        });
    }
    Ok(out)
}

/// Without tools the API refuses a choice of them.
fn choice(request: &Request) -> Option<Value> {
    let function = |name: &String| json!({ "type": "function", "name": name });
    let choice = request.choice.as_ref().filter(|_| !request.tools.is_empty())?;
    Some(match choice {
        Choice::Auto => Value::from("auto"),
        Choice::Any => Value::from("required"),
        Choice::None => Value::from("none"),
        Choice::Tool(name) => function(name),
        Choice::AnyOf(names) => {
            let tools: Vec<_> = names.iter().map(function).collect();
            json!({ "type": "allowed_tools", "mode": "required", "tools": tools })
        }
    })
}

fn reasoning(thinking: &Thinking) -> Option<Reasoning> {
    let effort = effort(thinking);
    let thinks = effort != Some(Effort::None);
    // Summaries cost a check of the organisation at OpenAI: they are asked for when they are wanted.
    let summary = (thinking.shown == Some(true) && thinks).then_some("auto");
    let effort = effort.map(word);
    (effort.is_some() || summary.is_some()).then_some(Reasoning { effort, summary })
}

/// The effort asked for, or the one that a budget of tokens comes to.
fn effort(thinking: &Thinking) -> Option<Effort> {
    thinking.effort.or_else(|| {
        Some(match thinking.budget? {
            0 => Effort::None,
            1..=4096 => Effort::Low,
            4097..=16384 => Effort::Medium,
            _ => Effort::High,
        })
    })
}

fn word(effort: Effort) -> &'static str {
    match effort {
        Effort::None => "none",
        Effort::Minimal => "minimal",
        Effort::Low => "low",
        Effort::Medium => "medium",
        Effort::High => "high",
        Effort::XHigh => "xhigh",
        Effort::Max => "max",
    }
}

fn thinks(request: &Request) -> bool {
    request.thinking.as_ref().is_some_and(|thinking| effort(thinking) != Some(Effort::None))
}

/// OpenAI's models that reason refuse temperature and top p: the o series and the first GPT-5 always, its
/// later ones while they reason.
/// <https://platform.openai.com/docs/guides/latest-model#gpt-5-2-parameter-compatibility>
fn has_fixed_sampling(request: &Request) -> bool {
    let model = request.model.rsplit(['/', '.']).next().unwrap_or_default();
    let model = if request.model.starts_with("gpt-") { &*request.model } else { model };
    if ["o1", "o3", "o4"].iter().any(|series| model.starts_with(series)) {
        return true;
    }
    let Some(version) = model.strip_prefix("gpt-5") else { return false };
    !version.starts_with("-chat") && (!version.starts_with('.') || thinks(request))
}

fn format(form: &Form) -> TextFormat<'_> {
    match form {
        Form::Json => TextFormat::JsonObject,
        Form::Schema { name, description, schema, strict } => TextFormat::JsonSchema {
            // The API demands a name.
            name: name.as_deref().unwrap_or("answer"),
            description: description.as_deref(),
            schema,
            strict: *strict,
        },
    }
}

/// A limit below the API's least becomes that, and is named.
fn max_tokens(request: &Request, fitting: &mut Fitting) -> Option<u64> {
    let wanted = request.max_tokens?;
    if wanted < LEAST_TOKENS {
        fitting.omit(Feature::MaxTokens, "");
    }
    Some(wanted.max(LEAST_TOKENS))
}

/// Encrypted reasoning is asked for where there is reasoning: of other models the API refuses it.
fn include(request: &Request) -> Vec<&'static str> {
    let sealed = |block: &crate::wire::ir::Block| {
        matches!(block.content, Content::Reasoning { .. })
            && block
                .signature
                .as_ref()
                .is_some_and(|signature| signature.format == Format::OpenAiResponses)
    };
    let turns = || request.turns.iter().filter(|turn| turn.role == Role::Assistant);
    let mut include = Vec::new();
    if thinks(request) || turns().any(|turn| turn.blocks.iter().any(sealed)) {
        include.push(ENCRYPTED);
    }
    if request.logprobs.is_some() {
        include.push(LOGPROBS);
    }
    include
}

/// Up to 16 strings.
fn metadata<'r>(request: &'r Request, fitting: &mut Fitting) -> Option<&'r Map<String, Value>> {
    let metadata = request.metadata.as_ref().filter(|own| !own.is_empty())?;
    let fits = |(name, value): (&String, &Value)| {
        name.chars().count() <= 64
            && value.as_str().is_some_and(|value| value.chars().count() <= 512)
    };
    if metadata.len() <= 16 && metadata.iter().all(fits) {
        return Some(metadata);
    }
    fitting.omit(Feature::Metadata, "");
    None
}

/// Under its old name, which all vendors know.
fn user<'r>(request: &'r Request, fitting: &mut Fitting) -> Option<&'r str> {
    let user = request.user.as_deref()?;
    if user.chars().count() <= LONGEST_USER {
        return Some(user);
    }
    fitting.omit(Feature::EndUser, "");
    None
}

fn tier<'r>(request: &'r Request, fitting: &mut Fitting) -> Option<&'r str> {
    match request.tier.as_ref()? {
        Tier::Auto => Some("auto"),
        Tier::Standard => Some("default"),
        Tier::Flex => Some("flex"),
        Tier::Priority => Some("priority"),
        Tier::Other(word) if word == "scale" => Some(word),
        Tier::Other(_) => {
            fitting.omit(Feature::ServiceTier, "");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::format::quirks::PLAIN;
    use crate::wire::ir::{Block, Signature, ToolResult, Turn};

    fn said(request: &Request) -> (Value, Fitting) {
        let mut fitting = Fitting::new(Format::OpenAiResponses, Format::OpenAiResponses);
        let body = encode_request(request, &PLAIN, &mut fitting).unwrap();
        (serde_json::from_slice(&body).unwrap(), fitting)
    }

    fn refused(request: &Request) -> String {
        let mut fitting = Fitting::new(Format::OpenAiResponses, Format::OpenAiResponses);
        encode_request(request, &PLAIN, &mut fitting).unwrap_err().to_string()
    }

    fn turn(role: Role, contents: Vec<Content>) -> Turn {
        let blocks = contents.into_iter().map(|content| Block::new(content, "/x")).collect();
        Turn { role, name: None, blocks }
    }

    #[test]
    fn calls_without_ids_and_their_outcomes_find_each_other() {
        let call = |name: &str| Content::ToolCall {
            id: None,
            name: name.to_owned(),
            arguments: String::new(),
        };
        let outcome = |text: &str| {
            let content = vec![Block::new(Content::text(text), "")];
            Content::ToolResult(ToolResult {
                id: String::new(),
                name: None,
                content,
                is_error: false,
            })
        };
        let request = Request {
            turns: vec![
                turn(Role::Assistant, vec![Content::text("Wait"), call("f"), call("g")]),
                turn(Role::User, vec![outcome("1"), outcome("2"), Content::text("so?")]),
            ],
            ..Request::default()
        };
        let (body, _) = said(&request);
        assert_eq!(
            body["input"],
            json!([
                {"type": "message", "role": "assistant", "content": "Wait"},
                {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
                {"type": "function_call", "call_id": "call_2", "name": "g", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "call_1", "output": "1"},
                {"type": "function_call_output", "call_id": "call_2", "output": "2"},
                {"type": "message", "role": "user", "content": "so?"}
            ])
        );
    }

    #[test]
    fn only_own_signatures_go_back() {
        let thought = |format, id: Option<&str>| {
            let mut block = Block::new(Content::Reasoning { text: "Hm".to_owned() }, "");
            let id = id.map(str::to_owned);
            block.signature = Some(Signature { format, data: "S".to_owned(), id });
            block
        };
        let blocks =
            vec![thought(Format::OpenAiResponses, Some("rs_1")), thought(Format::Anthropic, None)];
        let turns = vec![Turn { role: Role::Assistant, name: None, blocks }];
        let (body, _) = said(&Request { turns, ..Request::default() });
        let own = json!([{"type": "reasoning", "id": "rs_1", "encrypted_content": "S",
            "summary": [{"type": "summary_text", "text": "Hm"}]}]);
        assert_eq!(body["input"], own);
        assert_eq!(body["include"], json!(["reasoning.encrypted_content"]));
    }

    #[test]
    fn a_budget_becomes_an_effort() {
        let effort = |budget| {
            let thinking = Thinking { effort: None, budget: Some(budget), shown: Some(true) };
            let (body, _) = said(&Request { thinking: Some(thinking), ..Request::default() });
            (body["reasoning"]["effort"].clone(), body["reasoning"]["summary"].clone())
        };
        assert_eq!(effort(0), (json!("none"), Value::Null));
        assert_eq!(effort(1024), (json!("low"), json!("auto")));
        assert_eq!(effort(10_000), (json!("medium"), json!("auto")));
        assert_eq!(effort(32_000), (json!("high"), json!("auto")));
    }

    #[test]
    fn temperature_is_left_out_where_the_model_refuses_it() {
        let sent = |model: &str, thinks: bool| {
            let mut request = Request { model: model.to_owned(), ..Request::default() };
            request.sampling.temperature = Number::from_f64(0.5);
            let effort = Some(Effort::High);
            request.thinking = thinks.then_some(Thinking { effort, budget: None, shown: None });
            said(&request).0["temperature"].is_number()
        };
        for model in ["o3-mini", "gpt-5", "gpt-5-nano", "openai/o1", "openai.gpt-5-mini"] {
            assert!(!sent(model, false), "{model}");
        }
        for model in ["gpt-4o", "gpt-5-chat-latest", "gpt-5.2", "grok-4", "llama"] {
            assert!(sent(model, false), "{model}");
        }
        assert!(!sent("gpt-5.2", true));
        assert!(sent("grok-4", true));
    }

    #[test]
    fn strictness_is_always_said() {
        let tool = |name: &str| Tool::Function {
            name: name.to_owned(),
            description: None,
            parameters: None,
            strict: None,
            cache: None,
            at: "/tools/0".to_owned(),
        };
        let (body, _) = said(&Request { tools: vec![tool("f")], ..Request::default() });
        let expected = json!([{"type": "function", "name": "f", "strict": false,
            "parameters": {"type": "object", "properties": {}}}]);
        assert_eq!(body["tools"], expected);
        let odd = Request { tools: vec![tool("a.b")], ..Request::default() };
        assert!(refused(&odd).starts_with("`/tools/0` must have a name of"));
    }

    #[test]
    fn what_has_another_meaning_without_it_is_refused_and_the_rest_left_out() {
        let stop = Request { stop: vec!["x".to_owned()], ..Request::default() };
        assert!(refused(&stop).contains("stop sequences"));
        let prefill = Request {
            turns: vec![turn(Role::Assistant, vec![Content::text("{")])],
            ..Request::default()
        };
        assert!(refused(&prefill).starts_with("`/x` "));
        let request =
            Request { max_tokens: Some(1), user: Some("u".repeat(65)), ..Request::default() };
        let (body, _) = said(&request);
        assert_eq!(body["max_output_tokens"], 16);
        assert_eq!(body["user"], Value::Null);
        assert_eq!(body["store"], false);
    }
}
