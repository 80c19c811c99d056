//! [`Request`] -> a provider's body.

pub(crate) mod additional_fields;
pub(crate) mod messages;

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Map, Number, Value, json};

use self::additional_fields::extra;
use self::messages::{CachePoint, Message, Said, Sayer, bad_name};
use super::media_types::is_tool_name;
use super::models::Model;
use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::format::quirks::Quirks;
use crate::wire::ir::{Choice, Content, Form, Request, Sampling, Tier, Tool};
use crate::wire::json::fields::Rejected;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'r> {
    messages: Vec<Message<'r>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Said<'r>>,
    #[serde(skip_serializing_if = "Inference::is_empty")]
    inference_config: Inference<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_config: Option<ToolConfig<'r>>,
    #[serde(skip_serializing_if = "Map::is_empty")]
    additional_model_request_fields: Map<String, Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_metadata: Option<&'r Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<Value>,
}

#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Inference<'r> {
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<&'r Number>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<&'r Number>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'r [String],
}

impl Inference<'_> {
    fn is_empty(&self) -> bool {
        let Inference { max_tokens, temperature, top_p, stop_sequences } = self;
        max_tokens.is_none()
            && temperature.is_none()
            && top_p.is_none()
            && stop_sequences.is_empty()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolConfig<'r> {
    tools: Vec<Offered<'r>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_choice: Option<Must<'r>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Offered<'r> {
    ToolSpec(ToolSpec<'r>),
    CachePoint(CachePoint<'r>),
    #[serde(untagged)]
    Foreign(&'r Value),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ToolSpec<'r> {
    name: Cow<'r, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'r str>,
    input_schema: Schema<'r>,
    #[serde(skip_serializing_if = "Option::is_none")]
    strict: Option<bool>,
}

#[derive(Serialize)]
struct Schema<'r> {
    json: Cow<'r, Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Must<'r> {
    Auto {},
    Any {},
    Tool { name: Cow<'r, str> },
}

/// Writes a request for a provider. The model stands in the path, and whether to stream.
///
/// # Errors
///
/// When it cannot be said.
pub fn encode_request(
    request: &Request,
    _quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<Vec<u8>, Rejected> {
    let model = Model::of(&request.model);
    let (format, forced) = form(request, model, fitting)?;
    let tool_config = tools(request, model, forced, fitting)?;
    let must_call = tool_config
        .as_ref()
        .is_some_and(|config| matches!(config.tool_choice, Some(Must::Any {} | Must::Tool { .. })));
    let extra = extra(request, model, must_call, fitting)?;
    let inference_config = inference(request, model, extra.fixes_sampling, fitting)?;
    let mut output = Map::new();
    output.extend(format.map(|format| ("textFormat".to_owned(), format)));
    output.extend(extra.effort.map(|effort| ("effort".to_owned(), json!(effort))));
    leave_the_rest(request, fitting)?;
    let service_tier = tier(request, fitting)?;
    let request_metadata = metadata(request, fitting)?;
    let mut sayer = Sayer::new(fitting, model);
    let body = Body {
        system: sayer.system(&request.system)?,
        messages: sayer.messages(&request.turns)?,
        inference_config,
        tool_config,
        additional_model_request_fields: extra.fields,
        output_config: (!output.is_empty()).then_some(Value::Object(output)),
        request_metadata,
        service_tier,
    };
    serde_json::to_vec(&body).map_err(|error| Rejected::new("", format!("cannot be said: {error}")))
}

/// How the answer's form is asked for: by the format, or by a tool that the model must call.
fn form<'r>(
    request: &'r Request,
    model: Model,
    fitting: &mut Fitting,
) -> Result<(Option<Value>, Option<ToolSpec<'r>>), Rejected> {
    // Where a call is asked for, the answer is no text.
    let calls = matches!(request.choice, Some(Choice::Any | Choice::Tool(_) | Choice::AnyOf(_)));
    let (name, description, schema) = match &request.form {
        None => return Ok((None, None)),
        Some(Form::Json) => {
            fitting.keep(Feature::JsonObject, "")?;
            let about = "The answer, as a JSON object with the members that were asked for.";
            ("json", Some(about), Cow::Owned(json!({ "type": "object" })))
        }
        Some(Form::Schema { name, description, schema, strict }) => {
            fitting.keep(Feature::JsonSchema, "")?;
            let name = name.as_deref().filter(|name| is_tool_name(name)).unwrap_or("answer");
            if model.takes_schemas() && (*strict == Some(true) || is_closed(schema)) {
                let mut own = json!({ "name": name, "schema": schema.to_string() });
                if let Some(description) = description {
                    own["description"] = json!(description);
                }
                let structure = json!({ "jsonSchema": own });
                return Ok((Some(json!({ "type": "json_schema", "structure": structure })), None));
            }
            // Arguments are objects.
            if schema.get("type").is_none_or(|kind| kind != "object") {
                return Err(fitting.refuse(Feature::JsonSchema, ""));
            }
            (name, description.as_deref(), Cow::Borrowed(schema))
        }
    };
    if calls {
        return Ok((None, None));
    }
    let taken = |name: &str| {
        request
            .tools
            .iter()
            .any(|tool| matches!(tool, Tool::Function { name: own, .. } if own == name))
    };
    let mut name = Cow::Borrowed(name);
    while taken(&name) {
        name = format!("{name}_").into();
    }
    fitting.force_tool(&name);
    Ok((
        None,
        Some(ToolSpec { name, description, input_schema: Schema { json: schema }, strict: None }),
    ))
}

/// Whether all objects of a schema are: Bedrock takes no others.
fn is_closed(schema: &Value) -> bool {
    match schema {
        Value::Object(members) => {
            let is_object = members.get("type").is_some_and(|kind| kind == "object");
            let closed = members.get("additionalProperties") == Some(&Value::Bool(false));
            (!is_object || closed) && members.values().all(is_closed)
        }
        Value::Array(list) => list.iter().all(is_closed),
        _ => true,
    }
}

fn tools<'r>(
    request: &'r Request,
    model: Model,
    forced: Option<ToolSpec<'r>>,
    fitting: &mut Fitting,
) -> Result<Option<ToolConfig<'r>>, Rejected> {
    if request.parallel == Some(false) && !request.tools.is_empty() {
        fitting.keep(Feature::SingleToolCall, "")?;
    }
    let history = calls_at(request);
    let names_one = matches!(model, Model::Claude(..) | Model::Nova(_));
    // Without a choice of one by name it is the only one that is offered.
    let only: Option<&[String]> = match &request.choice {
        Some(Choice::Tool(name)) if !names_one => Some(std::slice::from_ref(name)),
        Some(Choice::AnyOf(names)) => Some(names),
        _ => None,
    };
    let mut tools = Vec::new();
    let no_tools = request.choice == Some(Choice::None) && history.is_none();
    for tool in request.tools.iter().filter(|_| !no_tools) {
        offer(tool, only, model, &mut tools, fitting)?;
    }
    let tool_choice = match (&request.choice, forced) {
        (_, Some(spec)) => {
            let name = spec.name.clone();
            let alone = tools.is_empty();
            tools.push(Offered::ToolSpec(spec));
            // Beside the caller's tools the model may answer or call; it must do one of both.
            let free = !matches!(request.choice, Some(Choice::None));
            if (alone || !free) && names_one {
                Some(Must::Tool { name })
            } else if alone || free {
                Some(Must::Any {})
            } else {
                return Err(fitting.refuse(Feature::ToolChoiceNone, ""));
            }
        }
        (None, None) => None,
        (Some(Choice::Auto), None) => Some(Must::Auto {}),
        // The format has no word for it: it is said where tools may be left out, which is where no call
        // stands in the conversation.
        (Some(Choice::None), None) if no_tools || tools.is_empty() => None,
        (Some(Choice::None), None) => return Err(fitting.refuse(Feature::ToolChoiceNone, "")),
        (Some(Choice::Any | Choice::AnyOf(_)), None) => Some(Must::Any {}),
        (Some(Choice::Tool(_)), None) if !names_one => Some(Must::Any {}),
        (Some(Choice::Tool(name)), None) => Some(Must::Tool { name: Cow::Borrowed(name) }),
    };
    match history {
        Some(at) if tools.is_empty() => Err(Rejected::new(
            at,
            "stands in a request without tools, which the provider's format does not allow",
        )),
        _ => Ok((!tools.is_empty()).then_some(ToolConfig { tools, tool_choice })),
    }
}

fn offer<'r>(
    tool: &'r Tool,
    only: Option<&[String]>,
    model: Model,
    out: &mut Vec<Offered<'r>>,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    let (name, description, parameters, strict, cache, at) = match tool {
        Tool::Function { name, description, parameters, strict, cache, at } => {
            (name, description, parameters, strict, cache, at)
        }
        Tool::Foreign { format: Format::Bedrock, json, .. } => {
            out.push(Offered::Foreign(json));
            return Ok(());
        }
        Tool::Foreign { at, .. } => return Err(fitting.refuse(Feature::ServerTool, at)),
    };
    if !is_tool_name(name) {
        return Err(bad_name(at));
    }
    if only.is_some_and(|only| !only.contains(name)) {
        return Ok(());
    }
    let strict = strict.filter(|strict| *strict);
    if strict.is_some() && !model.takes_schemas() {
        fitting.omit(Feature::StrictTools, at);
    }
    let schema = match parameters {
        Some(schema) => Cow::Borrowed(schema),
        None => Cow::Owned(json!({ "type": "object", "properties": {} })),
    };
    out.push(Offered::ToolSpec(ToolSpec {
        name: Cow::Borrowed(name),
        description: description.as_deref().filter(|text| !text.is_empty()),
        input_schema: Schema { json: schema },
        strict: strict.filter(|_| model.takes_schemas()),
    }));
    if let Some(cache) = cache {
        if model.caches_tools() {
            out.push(Offered::CachePoint(CachePoint::new(cache, model)));
        } else {
            fitting.omit(Feature::CachePoint, at);
        }
    }
    Ok(())
}

/// Where the first call or outcome of the conversation stands.
fn calls_at(request: &Request) -> Option<&str> {
    let mut blocks = request.turns.iter().flat_map(|turn| &turn.blocks);
    let first = blocks
        .find(|block| matches!(block.content, Content::ToolCall { .. } | Content::ToolResult(_)))?;
    Some(&first.at)
}

fn inference<'r>(
    request: &'r Request,
    model: Model,
    fixed: bool,
    fitting: &mut Fitting,
) -> Result<Inference<'r>, Rejected> {
    let Sampling { temperature, top_p, .. } = &request.sampling;
    let value = |number: &Number| number.as_f64().unwrap_or_default();
    let own = model.samples_by_itself();
    let temperature = temperature.as_ref().filter(|number| {
        // The API's range ends at 1.
        let fits = value(number) <= 1.0 && !own && (!fixed || value(number) >= 1.0);
        if !fits {
            fitting.omit(Feature::Temperature, "");
        }
        fits
    });
    let top_p = top_p.as_ref().filter(|number| {
        let alone = temperature.is_none() || !model.takes_one_of_temperature_and_top_p();
        let fits = !own && alone && (!fixed || value(number) >= 0.95);
        if !fits {
            fitting.omit(Feature::TopP, "");
        }
        fits
    });
    let stop = if request.stop.is_empty() || fitting.keep(Feature::StopSequences, "")? {
        &request.stop[..]
    } else {
        &[]
    };
    Ok(Inference { max_tokens: request.max_tokens, temperature, top_p, stop_sequences: stop })
}

fn tier(request: &Request, fitting: &mut Fitting) -> Result<Option<Value>, Rejected> {
    let word = match &request.tier {
        None | Some(Tier::Auto) => return Ok(None),
        Some(Tier::Standard) => "default",
        Some(Tier::Flex) => "flex",
        Some(Tier::Priority) => "priority",
        Some(Tier::Other(word)) if word == "reserved" => "reserved",
        Some(Tier::Other(_)) => {
            fitting.omit(Feature::ServiceTier, "");
            return Ok(None);
        }
    };
    Ok(fitting.keep(Feature::ServiceTier, "")?.then(|| json!({ "type": word })))
}

/// Up to 16 strings of an alphabet; what does not fit is left out as a whole.
fn metadata<'r>(
    request: &'r Request,
    fitting: &mut Fitting,
) -> Result<Option<&'r Map<String, Value>>, Rejected> {
    let Some(metadata) = request.metadata.as_ref().filter(|metadata| !metadata.is_empty()) else {
        return Ok(None);
    };
    let fits = |text: &str| {
        text.len() <= 256
            && text.chars().all(|c| {
                c.is_ascii_alphanumeric() || c.is_whitespace() || ":_@$#=/+,-.".contains(c)
            })
    };
    let all = metadata
        .iter()
        .all(|(name, value)| !name.is_empty() && fits(name) && value.as_str().is_some_and(fits));
    if !all || metadata.len() > 16 {
        fitting.omit(Feature::Metadata, "");
        return Ok(None);
    }
    Ok(fitting.keep(Feature::Metadata, "")?.then_some(metadata))
}

/// What the format has no field for.
fn leave_the_rest(request: &Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    let Sampling { frequency_penalty, presence_penalty, seed, .. } = &request.sampling;
    for (there, feature) in [
        (request.candidates.is_some_and(|count| count > 1), Feature::Candidates),
        (request.logprobs.is_some(), Feature::Logprobs),
        (request.user.is_some(), Feature::EndUser),
        (request.cache_key.is_some(), Feature::PromptCacheKey),
        (frequency_penalty.is_some(), Feature::FrequencyPenalty),
        (presence_penalty.is_some(), Feature::PresencePenalty),
        (seed.is_some(), Feature::Seed),
    ] {
        if there {
            fitting.keep(feature, "")?;
        }
    }
    Ok(())
}
