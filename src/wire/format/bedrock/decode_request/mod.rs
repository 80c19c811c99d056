//! Decodes a caller's request.

mod messages;

use serde_json::Value;

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::ir::{Cache, Choice, Effort, Form, Request, Sampling, Thinking, Tier, Tool};
use crate::wire::json::fields::{Fields, Rejected};

/// Decodes a caller's request. The path has the model and whether to stream.
///
/// # Errors
///
/// When the body does not follow the format.
pub fn decode_request(body: &[u8]) -> Result<Request, Rejected> {
    let mut body = Fields::of_body(body)?;
    // `metadata` always has the usage.
    let mut request = Request { stream_usage: true, ..Request::default() };
    request.system = messages::system(&mut body, &mut request.asked)?;
    request.turns = messages::turns(&mut body, &mut request.asked)?;
    if let Some(config) = body.fields("inferenceConfig")? {
        decode_inference(config, &mut request)?;
    }
    if let Some(config) = body.fields("toolConfig")? {
        decode_tools(config, &mut request)?;
    }
    if let Some(config) = body.fields("outputConfig")? {
        decode_output(config, &mut request)?;
    }
    if let Some(fields) = body.fields("additionalModelRequestFields")? {
        decode_additional(fields, &mut request)?;
    }
    request.metadata = body.fields("requestMetadata")?.map(Fields::into_left);
    if let Some(mut tier) = body.fields("serviceTier")? {
        request.tier = Some(match &*tier.needed_text("type")? {
            "default" => Tier::Standard,
            "flex" => Tier::Flex,
            "priority" => Tier::Priority,
            other => Tier::Other(other.to_owned()),
        });
    }
    for (name, feature) in [
        ("guardrailConfig", Feature::Guardrail),
        ("promptVariables", Feature::PromptTemplate),
        ("additionalModelResponseFieldPaths", Feature::Include),
        ("performanceConfig", Feature::ProviderFields),
    ] {
        if body.value(name).is_some() {
            request.asked.push((feature, body.at(name)));
        }
    }
    request.unknown = body.left().map(str::to_owned).collect();
    Ok(request)
}

fn decode_inference(mut config: Fields, request: &mut Request) -> Result<(), Rejected> {
    request.max_tokens = config.count("maxTokens")?;
    let Sampling { temperature, top_p, .. } = &mut request.sampling;
    *temperature = config.number("temperature")?;
    *top_p = config.number("topP")?;
    for (stop, at) in config.list("stopSequences")? {
        let Value::String(stop) = stop else { return Err(Rejected::new(at, "must be a string")) };
        request.stop.push(stop);
    }
    note_rest(&config, request);
    Ok(())
}

fn decode_tools(mut config: Fields, request: &mut Request) -> Result<(), Rejected> {
    for (tool, at) in config.list("tools")? {
        let mut tool = Fields::new(tool, at)?;
        if let Some(spec) = tool.fields("toolSpec")? {
            request.tools.push(decode_function(spec)?);
        } else if let Some(point) = tool.fields("cachePoint")? {
            let place = point.place().to_owned();
            let point = decode_cache_point(point)?;
            match request.tools.last_mut() {
                Some(Tool::Function { cache, .. }) => *cache = Some(point),
                Some(Tool::Foreign { .. }) => request.asked.push((Feature::CachePoint, place)),
                None => {}
            }
        } else {
            let at = tool.place().to_owned();
            let json = Value::Object(tool.into_left());
            request.tools.push(Tool::Foreign { format: Format::Bedrock, json, at });
        }
    }
    if let Some(mut choice) = config.fields("toolChoice")? {
        request.choice = if choice.has("auto") {
            Some(Choice::Auto)
        } else if choice.has("any") {
            Some(Choice::Any)
        } else if let Some(mut tool) = choice.fields("tool")? {
            Some(Choice::Tool(tool.needed_text("name")?))
        } else {
            return Err(Rejected::new(choice.place(), "must be auto, any or tool"));
        };
    }
    Ok(())
}

fn decode_function(mut spec: Fields) -> Result<Tool, Rejected> {
    Ok(Tool::Function {
        name: spec.needed_text("name")?,
        description: spec.text("description")?,
        parameters: match spec.fields("inputSchema")? {
            Some(mut schema) => schema.value("json"),
            None => None,
        },
        strict: spec.flag("strict")?,
        cache: None,
        at: spec.place().to_owned(),
    })
}

fn decode_cache_point(mut point: Fields) -> Result<Cache, Rejected> {
    Ok(Cache { ttl: point.text("ttl")? })
}

fn decode_output(mut config: Fields, request: &mut Request) -> Result<(), Rejected> {
    if let Some(effort) = config.text("effort")? {
        set_effort(&effort, &config.at("effort"), request)?;
    }
    if let Some(mut format) = config.fields("textFormat")? {
        let Some(mut structure) = format.fields("structure")? else {
            return Err(format.must("structure", "is missing"));
        };
        let Some(mut schema) = structure.fields("jsonSchema")? else {
            return Err(structure.must("jsonSchema", "is missing"));
        };
        let text = schema.needed_text("schema")?;
        request.form = Some(Form::Schema {
            name: schema.text("name")?,
            description: schema.text("description")?,
            schema: serde_json::from_str(&text)
                .map_err(|_| schema.must("schema", "must be JSON in a string"))?,
            // The format has only strict schemas.
            strict: Some(true),
        });
    }
    note_rest(&config, request);
    Ok(())
}

/// Decodes what models accept beyond the format's own fields, as far as Claude, Nova and OpenAI's open models
/// document it.
fn decode_additional(mut fields: Fields, request: &mut Request) -> Result<(), Rejected> {
    request.sampling.top_k = fields.number("top_k")?;
    if let Some(mut config) = fields.fields("inferenceConfig")? {
        if let Some(top_k) = config.number("topK")? {
            request.sampling.top_k = Some(top_k);
        }
        note_rest(&config, request);
    }
    if let Some(effort) = fields.text("reasoning_effort")? {
        set_effort(&effort, &fields.at("reasoning_effort"), request)?;
    }
    if let Some(mut config) = fields.fields("output_config")? {
        if let Some(effort) = config.text("effort")? {
            set_effort(&effort, &config.at("effort"), request)?;
        }
        note_rest(&config, request);
    }
    if let Some(mut config) = fields.fields("reasoningConfig")? {
        let is_disabled = config.text("type")?.is_some_and(|kind| kind == "disabled");
        let effort = config.text("maxReasoningEffort")?;
        if is_disabled {
            thinking(request).effort = Some(Effort::None);
        } else if let Some(effort) = effort {
            set_effort(&effort, &config.at("maxReasoningEffort"), request)?;
        }
    }
    for name in ["thinking", "reasoning_config"] {
        if let Some(config) = fields.fields(name)? {
            decode_claude_thinking(config, request)?;
        }
    }
    note_rest(&fields, request);
    Ok(())
}

fn decode_claude_thinking(mut config: Fields, request: &mut Request) -> Result<(), Rejected> {
    let kind = config.text("type")?;
    let (budget, display) = (config.count("budget_tokens")?, config.text("display")?);
    note_rest(&config, request);
    let thinking = thinking(request);
    thinking.budget = budget;
    thinking.shown = display.map(|display| display != "omitted");
    if kind.as_deref() == Some("disabled") {
        thinking.effort = Some(Effort::None);
    }
    Ok(())
}

fn thinking(request: &mut Request) -> &mut Thinking {
    request.thinking.get_or_insert(Thinking { effort: None, budget: None, shown: None })
}

fn set_effort(word: &str, at: &str, request: &mut Request) -> Result<(), Rejected> {
    let effort = Effort::from_word(word);
    let why = "must be none, minimal, low, medium, high, xhigh or max";
    thinking(request).effort = Some(effort.ok_or_else(|| Rejected::new(at, why))?);
    Ok(())
}

/// Notes the members that were not read as provider-specific.
fn note_rest(fields: &Fields, request: &mut Request) {
    let rest = fields.left().map(|name| (Feature::ProviderFields, fields.at(name)));
    request.asked.extend(rest);
}
