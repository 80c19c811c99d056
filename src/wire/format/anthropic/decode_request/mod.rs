//! Reading a caller's request.
//! <https://platform.claude.com/docs/en/api/messages/create>

pub(crate) mod blocks;

use serde_json::Value;

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::ir::{
    Block, Cache, Choice, Effort, Form, Request, Role, Thinking, Tier, Tool, Turn,
};
use crate::wire::json::fields::{Fields, Rejected, child};

use self::blocks::Reading;

type Read<T> = Result<T, Rejected>;

/// Members of the body that have no field in [`Request`].
const ASKED: [(&str, Feature); 9] = [
    ("container", Feature::Container),
    ("mcp_servers", Feature::Container),
    ("context_management", Feature::ContextManagement),
    ("inference_geo", Feature::ProviderFields),
    ("speed", Feature::ProviderFields),
    ("diagnostics", Feature::ProviderFields),
    ("fallbacks", Feature::ProviderFields),
    ("fallback_credit_token", Feature::ProviderFields),
    ("user_profile_id", Feature::ProviderFields),
];

/// Reads a caller's request. `max_tokens` may be missing, as it is where tokens are only counted.
///
/// # Errors
///
/// When the body is not what the format asks for.
pub fn decode_request(body: &[u8]) -> Read<Request> {
    let mut body = Fields::of_body(body)?;
    let mut request = Request {
        model: body.text("model")?.unwrap_or_default(),
        stream: body.flag("stream")?.unwrap_or_default(),
        stream_usage: true,
        max_tokens: body.count("max_tokens")?,
        ..Request::default()
    };
    let mut reading = Reading { asked: Vec::new() };
    request.system = system(&mut body, &mut reading)?;
    request.turns = turns(&mut body, &mut reading)?;
    for (tool, at) in body.list("tools")? {
        request.tools.push(read_tool(tool, at, &mut reading)?);
    }
    if let Some(choice) = body.fields("tool_choice")? {
        (request.choice, request.parallel) = read_choice(choice)?;
    }
    for (stop, at) in body.list("stop_sequences")? {
        let Value::String(stop) = stop else { return Err(Rejected::new(at, "must be a string")) };
        request.stop.push(stop);
    }
    request.sampling.temperature = body.number("temperature")?;
    request.sampling.top_p = body.number("top_p")?;
    request.sampling.top_k = body.number("top_k")?;
    read_output(&mut body, &mut request, &mut reading)?;
    if let Some(mut metadata) = body.fields("metadata")? {
        request.user = metadata.text("user_id")?;
        reading.left_over(&metadata);
    }
    request.tier = body.text("service_tier")?.map(|word| match &*word {
        "auto" => Tier::Auto,
        "standard_only" => Tier::Standard,
        _ => Tier::Other(word),
    });
    if let Some(cache) = read_cache(&mut body)? {
        mark_last(&mut request, cache);
    }
    for (name, feature) in ASKED {
        if body.value(name).is_some_and(|value| value.as_array().is_none_or(|all| !all.is_empty()))
        {
            reading.asked.push((feature, body.at(name)));
        }
    }
    request.unknown = body.left().map(str::to_owned).collect();
    request.asked = reading.asked;
    Ok(request)
}

fn system(body: &mut Fields, reading: &mut Reading) -> Read<Vec<Block>> {
    let Some(system) = body.value("system") else { return Ok(Vec::new()) };
    reading.content(system, body.at("system"))
}

fn turns(body: &mut Fields, reading: &mut Reading) -> Read<Vec<Turn>> {
    if !body.has("messages") {
        return Err(body.must("messages", "is missing"));
    }
    let mut turns = Vec::new();
    for (message, at) in body.list("messages")? {
        let mut message = Fields::new(message, at)?;
        let role = match &*message.needed_text("role")? {
            "user" => Role::User,
            "assistant" => Role::Assistant,
            "system" => Role::System,
            _ => return Err(message.must("role", "must be `user`, `assistant` or `system`")),
        };
        let Some(content) = message.value("content") else {
            return Err(message.must("content", "is missing"));
        };
        let at = message.at("content");
        reading.message(role, content, at, &mut turns)?;
        reading.left_over(&message);
    }
    Ok(turns)
}

/// `cache_control` of the body marks the last block that can be marked.
fn mark_last(request: &mut Request, cache: Cache) {
    let last = request.turns.last_mut().and_then(|turn| turn.blocks.last_mut());
    if let Some(block) = last.or(request.system.last_mut()) {
        block.cache.get_or_insert(cache);
    }
}

/// Takes a `cache_control`.
fn read_cache(fields: &mut Fields) -> Read<Option<Cache>> {
    let Some(mut control) = fields.fields("cache_control")? else { return Ok(None) };
    Ok(Some(Cache { ttl: control.text("ttl")? }))
}

fn read_tool(tool: Value, at: String, reading: &mut Reading) -> Read<Tool> {
    let custom = match tool.get("type") {
        None | Some(Value::Null) => true,
        Some(kind) => kind == "custom",
    };
    if tool.is_object() && !custom {
        return Ok(Tool::Foreign { format: Format::Anthropic, json: tool, at });
    }
    let mut tool = Fields::new(tool, at)?;
    tool.value("type");
    let name = tool.needed_text("name")?;
    let description = tool.text("description")?;
    let strict = tool.flag("strict")?;
    let cache = read_cache(&mut tool)?;
    let parameters = tool.value("input_schema");
    if parameters.as_ref().is_some_and(|schema| !schema.is_object()) {
        return Err(tool.must("input_schema", "must be an object"));
    }
    reading.left_over(&tool);
    let at = tool.place().to_owned();
    Ok(Tool::Function { name, description, parameters, strict, cache, at })
}

fn read_choice(mut choice: Fields) -> Read<(Option<Choice>, Option<bool>)> {
    let one = choice.flag("disable_parallel_tool_use")?;
    let wanted = match &*choice.needed_text("type")? {
        "auto" => Choice::Auto,
        "any" => Choice::Any,
        "none" => Choice::None,
        "tool" => Choice::Tool(choice.needed_text("name")?),
        _ => return Err(choice.must("type", "must be `auto`, `any`, `tool` or `none`")),
    };
    Ok((Some(wanted), one.map(|one| !one)))
}

/// `thinking`, `output_config`, and the older `output_format`.
fn read_output(body: &mut Fields, request: &mut Request, reading: &mut Reading) -> Read<()> {
    let mut form = body.fields("output_format")?;
    if let Some(mut config) = body.fields("output_config")? {
        let effort = config.text("effort")?;
        if let Some(word) = effort {
            let Some(effort) = read_effort(&word) else {
                return Err(config.must("effort", "is none of the words for effort"));
            };
            request.thinking = Some(Thinking { effort: Some(effort), budget: None, shown: None });
        }
        form = config.fields("format")?.or(form);
        reading.left_over(&config);
    }
    if let Some(mut form) = form {
        if form.needed_text("type")? != "json_schema" {
            return Err(form.must("type", "must be `json_schema`"));
        }
        let Some(schema) = form.value("schema") else {
            return Err(form.must("schema", "is missing"));
        };
        // `strict` stays open: OpenAI's strictness refuses schemas that are in order here.
        request.form = Some(Form::Schema { name: None, description: None, schema, strict: None });
    }
    if let Some(thinking) = body.fields("thinking")? {
        let effort = request.thinking.as_ref().and_then(|thinking| thinking.effort);
        request.thinking = Some(read_thinking(thinking, effort, reading)?);
    }
    Ok(())
}

fn read_thinking(
    mut fields: Fields,
    effort: Option<Effort>,
    reading: &mut Reading,
) -> Read<Thinking> {
    let kind = fields.needed_text("type")?;
    let budget = fields.count("budget_tokens")?;
    let shown = match fields.text("display")?.as_deref() {
        None => None,
        Some("omitted") => Some(false),
        Some(_) => Some(true),
    };
    reading.left_over(&fields);
    match &*kind {
        "enabled" => Ok(Thinking { effort, budget, shown }),
        "adaptive" => Ok(Thinking { effort, budget: None, shown }),
        // The latter is the least of a model that always thinks a little.
        "disabled" | "between_tools" => {
            Ok(Thinking { effort: Some(Effort::None), budget: None, shown })
        }
        _ => Err(fields.must("type", "must be `enabled`, `adaptive` or `disabled`")),
    }
}

fn read_effort(word: &str) -> Option<Effort> {
    Some(match word {
        "low" => Effort::Low,
        "medium" => Effort::Medium,
        "high" => Effort::High,
        "xhigh" => Effort::XHigh,
        "max" => Effort::Max,
        _ => return None,
    })
}

impl Reading {
    /// Names what was not taken of an object within the body.
    fn left_over(&mut self, fields: &Fields) {
        for name in fields.left() {
            self.asked.push((Feature::ProviderFields, child(fields.place(), name)));
        }
    }
}

#[cfg(test)]
mod tests;
