//! A caller's body -> [`Request`].

pub(crate) mod messages;

use serde_json::{Map, Value};

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::ir::{Cache, Choice, Effort, Form, Request, Sampling, Thinking, Tier, Tool};
use crate::wire::json::fields::{Fields, Rejected};

/// Reads a caller's request. The model and whether to stream stand in the path.
///
/// # Errors
///
/// When the body is not what the format asks for.
pub fn decode_request(body: &[u8]) -> Result<Request, Rejected> {
    let mut body = Fields::of_body(body)?;
    // `metadata` always tells the usage.
    let mut request = Request { stream_usage: true, ..Request::default() };
    request.system = messages::system(&mut body, &mut request.asked)?;
    request.turns = messages::turns(&mut body, &mut request.asked)?;
    if let Some(config) = body.fields("inferenceConfig")? {
        inference(config, &mut request)?;
    }
    if let Some(config) = body.fields("toolConfig")? {
        tools(config, &mut request)?;
    }
    if let Some(config) = body.fields("outputConfig")? {
        output(config, &mut request)?;
    }
    if let Some(extra) = body.fields("additionalModelRequestFields")? {
        additional(extra, &mut request)?;
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

fn inference(mut config: Fields, request: &mut Request) -> Result<(), Rejected> {
    request.max_tokens = config.count("maxTokens")?;
    let Sampling { temperature, top_p, .. } = &mut request.sampling;
    *temperature = config.number("temperature")?;
    *top_p = config.number("topP")?;
    for (stop, at) in config.list("stopSequences")? {
        let Value::String(stop) = stop else { return Err(Rejected::new(at, "must be a string")) };
        request.stop.push(stop);
    }
    leave(&config, request);
    Ok(())
}

fn tools(mut config: Fields, request: &mut Request) -> Result<(), Rejected> {
    for (tool, at) in config.list("tools")? {
        let mut tool = Fields::new(tool, at)?;
        if let Some(spec) = tool.fields("toolSpec")? {
            request.tools.push(function(spec)?);
        } else if let Some(mark) = tool.fields("cachePoint")? {
            let place = mark.place().to_owned();
            let mark = cache(mark)?;
            match request.tools.last_mut() {
                Some(Tool::Function { cache, .. }) => *cache = Some(mark),
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

fn function(mut spec: Fields) -> Result<Tool, Rejected> {
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

/// A `cachePoint`.
pub(crate) fn cache(mut mark: Fields) -> Result<Cache, Rejected> {
    Ok(Cache { ttl: mark.text("ttl")? })
}

fn output(mut config: Fields, request: &mut Request) -> Result<(), Rejected> {
    if let Some(effort) = config.text("effort")? {
        effort_of(&effort, &config.at("effort"), request)?;
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
            // It always is followed to the letter.
            strict: Some(true),
        });
    }
    leave(&config, request);
    Ok(())
}

/// What models take beyond the format's own fields; those are read that Claude, Nova and OpenAI's open
/// models document.
fn additional(mut extra: Fields, request: &mut Request) -> Result<(), Rejected> {
    request.sampling.top_k = extra.number("top_k")?;
    if let Some(mut config) = extra.fields("inferenceConfig")? {
        if let Some(top_k) = config.number("topK")? {
            request.sampling.top_k = Some(top_k);
        }
        leave(&config, request);
    }
    if let Some(effort) = extra.text("reasoning_effort")? {
        effort_of(&effort, &extra.at("reasoning_effort"), request)?;
    }
    if let Some(mut config) = extra.fields("output_config")? {
        if let Some(effort) = config.text("effort")? {
            effort_of(&effort, &config.at("effort"), request)?;
        }
        leave(&config, request);
    }
    if let Some(mut config) = extra.fields("reasoningConfig")? {
        let off = config.text("type")?.is_some_and(|kind| kind == "disabled");
        let effort = config.text("maxReasoningEffort")?;
        if off {
            thinking(request).effort = Some(Effort::None);
        } else if let Some(effort) = effort {
            effort_of(&effort, &config.at("maxReasoningEffort"), request)?;
        }
    }
    for name in ["thinking", "reasoning_config"] {
        if let Some(config) = extra.fields(name)? {
            claude_thinking(config, request)?;
        }
    }
    leave(&extra, request);
    Ok(())
}

fn claude_thinking(mut config: Fields, request: &mut Request) -> Result<(), Rejected> {
    let kind = config.text("type")?;
    let (budget, display) = (config.count("budget_tokens")?, config.text("display")?);
    leave(&config, request);
    let own = thinking(request);
    own.budget = budget;
    own.shown = display.map(|display| display != "omitted");
    if kind.as_deref() == Some("disabled") {
        own.effort = Some(Effort::None);
    }
    Ok(())
}

fn thinking(request: &mut Request) -> &mut Thinking {
    request.thinking.get_or_insert(Thinking { effort: None, budget: None, shown: None })
}

fn effort_of(word: &str, at: &str, request: &mut Request) -> Result<(), Rejected> {
    let effort = match word {
        "none" => Effort::None,
        "minimal" => Effort::Minimal,
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::XHigh,
        "max" => Effort::Max,
        _ => return Err(Rejected::new(at, "is no effort that is known here")),
    };
    thinking(request).effort = Some(effort);
    Ok(())
}

/// What is left in an object is of the provider's own.
fn leave(fields: &Fields, request: &mut Request) {
    let left: Vec<_> =
        fields.left().map(|name| (Feature::ProviderFields, fields.at(name))).collect();
    request.asked.extend(left);
}

/// A union with one member: its name and value.
pub(crate) fn member(value: &Map<String, Value>) -> Option<(&str, &Value)> {
    value.iter().find(|(_, value)| !value.is_null()).map(|(name, value)| (name.as_str(), value))
}
