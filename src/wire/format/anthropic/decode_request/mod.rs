//! A caller's request -> Request.
//! <https://platform.claude.com/docs/en/api/messages/create>

mod blocks;

use serde_json::Value;

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::ir::{
    Block, Cache, Choice, Effort, Form, Request, Role, Thinking, Tier, Tool, Turn,
};
use crate::wire::json::fields::{Fields, Rejected, child};

use self::blocks::BlockDecoder;

type Decoded<T> = Result<T, Rejected>;

/// Members of the body that have no field in [`Request`].
const OTHER_FEATURES: [(&str, Feature); 9] = [
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

/// Decodes a caller's request. `max_tokens` may be missing, because requests that count tokens have none.
///
/// # Errors
///
/// When the body is not a request of the format.
pub fn decode_request(body: &[u8]) -> Decoded<Request> {
    let mut body = Fields::of_body(body)?;
    let mut request = Request {
        model: body.text("model")?.unwrap_or_default(),
        stream: body.flag("stream")?.unwrap_or_default(),
        stream_usage: true,
        max_tokens: body.count("max_tokens")?,
        ..Request::default()
    };
    let mut decoder = BlockDecoder { asked: Vec::new() };
    request.system = system(&mut body, &mut decoder)?;
    request.turns = turns(&mut body, &mut decoder)?;
    for (tool, at) in body.list("tools")? {
        request.tools.push(decode_tool(tool, at, &mut decoder)?);
    }
    if let Some(choice) = body.fields("tool_choice")? {
        (request.choice, request.parallel) = decode_tool_choice(choice)?;
    }
    for (stop, at) in body.list("stop_sequences")? {
        let Value::String(stop) = stop else { return Err(Rejected::new(at, "must be a string")) };
        request.stop.push(stop);
    }
    request.sampling.temperature = body.number("temperature")?;
    request.sampling.top_p = body.number("top_p")?;
    request.sampling.top_k = body.number("top_k")?;
    decode_output(&mut body, &mut request, &mut decoder)?;
    if let Some(mut metadata) = body.fields("metadata")? {
        request.user = metadata.text("user_id")?;
        decoder.note_unread(&metadata);
    }
    request.tier = body.text("service_tier")?.map(|word| match &*word {
        "auto" => Tier::Auto,
        "standard_only" => Tier::Standard,
        _ => Tier::Other(word),
    });
    if let Some(cache) = decode_cache(&mut body)? {
        set_last_cache_point(&mut request, cache);
    }
    for (name, feature) in OTHER_FEATURES {
        if body.value(name).is_some_and(|value| value.as_array().is_none_or(|all| !all.is_empty()))
        {
            decoder.asked.push((feature, body.at(name)));
        }
    }
    request.unknown = body.left().map(str::to_owned).collect();
    request.asked = decoder.asked;
    Ok(request)
}

fn system(body: &mut Fields, decoder: &mut BlockDecoder) -> Decoded<Vec<Block>> {
    let Some(system) = body.value("system") else { return Ok(Vec::new()) };
    decoder.content(system, body.at("system"))
}

fn turns(body: &mut Fields, decoder: &mut BlockDecoder) -> Decoded<Vec<Turn>> {
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
        decoder.message(role, content, at, &mut turns)?;
        decoder.note_unread(&message);
    }
    Ok(turns)
}

/// `cache_control` of the body is a cache point after the last block.
fn set_last_cache_point(request: &mut Request, cache: Cache) {
    let last = request.turns.last_mut().and_then(|turn| turn.blocks.last_mut());
    if let Some(block) = last.or(request.system.last_mut()) {
        block.cache.get_or_insert(cache);
    }
}

/// Decodes a `cache_control`.
fn decode_cache(fields: &mut Fields) -> Decoded<Option<Cache>> {
    let Some(mut control) = fields.fields("cache_control")? else { return Ok(None) };
    Ok(Some(Cache { ttl: control.text("ttl")? }))
}

fn decode_tool(tool: Value, at: String, decoder: &mut BlockDecoder) -> Decoded<Tool> {
    let is_custom = match tool.get("type") {
        None | Some(Value::Null) => true,
        Some(kind) => kind == "custom",
    };
    if tool.is_object() && !is_custom {
        return Ok(Tool::Foreign { format: Format::Anthropic, json: tool, at });
    }
    let mut tool = Fields::new(tool, at)?;
    tool.value("type");
    let name = tool.needed_text("name")?;
    let description = tool.text("description")?;
    let strict = tool.flag("strict")?;
    let cache = decode_cache(&mut tool)?;
    let parameters = tool.value("input_schema");
    if parameters.as_ref().is_some_and(|schema| !schema.is_object()) {
        return Err(tool.must("input_schema", "must be an object"));
    }
    decoder.note_unread(&tool);
    let at = tool.place().to_owned();
    Ok(Tool::Function { name, description, parameters, strict, cache, at })
}

fn decode_tool_choice(mut choice: Fields) -> Decoded<(Option<Choice>, Option<bool>)> {
    let is_single = choice.flag("disable_parallel_tool_use")?;
    let decoded = match &*choice.needed_text("type")? {
        "auto" => Choice::Auto,
        "any" => Choice::Any,
        "none" => Choice::None,
        "tool" => Choice::Tool(choice.needed_text("name")?),
        _ => return Err(choice.must("type", "must be `auto`, `any`, `tool` or `none`")),
    };
    Ok((Some(decoded), is_single.map(|is_single| !is_single)))
}

/// Decodes `thinking`, `output_config`, and the older `output_format`.
fn decode_output(
    body: &mut Fields,
    request: &mut Request,
    decoder: &mut BlockDecoder,
) -> Decoded<()> {
    let mut form = body.fields("output_format")?;
    if let Some(mut config) = body.fields("output_config")? {
        let effort = config.text("effort")?;
        if let Some(word) = effort {
            let is_supported = |effort: &Effort| *effort >= Effort::Low;
            let Some(effort) = Effort::from_word(&word).filter(is_supported) else {
                let why = "must be `low`, `medium`, `high`, `xhigh` or `max`";
                return Err(config.must("effort", why));
            };
            request.thinking = Some(Thinking { effort: Some(effort), budget: None, shown: None });
        }
        form = config.fields("format")?.or(form);
        decoder.note_unread(&config);
    }
    if let Some(mut form) = form {
        if form.needed_text("type")? != "json_schema" {
            return Err(form.must("type", "must be `json_schema`"));
        }
        let Some(schema) = form.value("schema") else {
            return Err(form.must("schema", "is missing"));
        };
        // `strict` stays unset: OpenAI's strict mode refuses schemas that are valid here.
        request.form = Some(Form::Schema { name: None, description: None, schema, strict: None });
    }
    if let Some(thinking) = body.fields("thinking")? {
        let effort = request.thinking.as_ref().and_then(|thinking| thinking.effort);
        request.thinking = Some(decode_thinking(thinking, effort, decoder)?);
    }
    Ok(())
}

fn decode_thinking(
    mut fields: Fields,
    effort: Option<Effort>,
    decoder: &mut BlockDecoder,
) -> Decoded<Thinking> {
    let kind = fields.needed_text("type")?;
    let budget = fields.count("budget_tokens")?;
    let shown = match fields.text("display")?.as_deref() {
        None => None,
        Some("omitted") => Some(false),
        Some(_) => Some(true),
    };
    decoder.note_unread(&fields);
    match &*kind {
        "enabled" => Ok(Thinking { effort, budget, shown }),
        "adaptive" => Ok(Thinking { effort, budget: None, shown }),
        // `between_tools` is the least of a model that always thinks a little.
        "disabled" | "between_tools" => {
            Ok(Thinking { effort: Some(Effort::None), budget: None, shown })
        }
        _ => Err(fields.must("type", "must be `enabled`, `adaptive` or `disabled`")),
    }
}

impl BlockDecoder {
    /// Notes the members of an object that were not read.
    fn note_unread(&mut self, fields: &Fields) {
        for name in fields.left() {
            self.asked.push((Feature::ProviderFields, child(fields.place(), name)));
        }
    }
}

#[cfg(test)]
mod tests;
