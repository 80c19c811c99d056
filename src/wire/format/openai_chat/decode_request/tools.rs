//! Decodes the tools and the choice among them. `functions` and `function_call` are their form of 2023.

use serde_json::Value;

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::ir::{Cache, Choice, Request, Tool};
use crate::wire::json::fields::{Fields, Rejected};

pub(super) fn decode(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    for (tool, at) in body.list("tools")? {
        request.tools.push(self::tool(tool, at)?);
    }
    for (function, at) in body.list("functions")? {
        let mut function = Fields::new(function, at.clone())?;
        request.tools.push(self::function(&mut function, None, at)?);
    }
    request.parallel = body.flag("parallel_tool_calls")?;
    if let Some(choice) = body.value("function_call") {
        request.choice = Some(function_call(choice, body)?);
    }
    if let Some(choice) = body.value("tool_choice") {
        let at = body.at("tool_choice");
        tool_choice(choice, at, request)?;
    }
    Ok(())
}

fn tool(tool: Value, at: String) -> Result<Tool, Rejected> {
    let mut fields = Fields::new(tool, at.clone())?;
    match fields.peek("type").and_then(Value::as_str) {
        // Some clients leave the type out.
        Some("function") | None => {
            let cache = cache_point(&mut fields)?;
            let missing = fields.must("function", "is missing");
            let mut inner = fields.fields("function")?.ok_or(missing)?;
            function(&mut inner, cache, at)
        }
        Some(_) => {
            let json = Value::Object(fields.into_left());
            Ok(Tool::Foreign { format: Format::OpenAiChat, json, at })
        }
    }
}

fn function(fields: &mut Fields, cache: Option<Cache>, at: String) -> Result<Tool, Rejected> {
    let parameters = match fields.value("parameters") {
        Some(Value::Object(schema)) => Some(Value::Object(schema)),
        None => None,
        Some(_) => return Err(fields.must("parameters", "must be an object")),
    };
    Ok(Tool::Function {
        name: fields.needed_text("name")?,
        description: fields.text("description")?,
        parameters,
        strict: fields.flag("strict")?,
        cache,
        at,
    })
}

/// Reads the cache point that OpenRouter and LiteLLM have taken over from Anthropic.
pub(super) fn cache_point(fields: &mut Fields) -> Result<Option<Cache>, Rejected> {
    let Some(mut point) = fields.fields("cache_control")? else { return Ok(None) };
    Ok(Some(Cache { ttl: point.text("ttl")? }))
}

fn choice_by_word(word: &str) -> Option<Choice> {
    match word {
        "auto" => Some(Choice::Auto),
        "none" => Some(Choice::None),
        // `any` is Mistral's.
        "required" | "any" => Some(Choice::Any),
        _ => None,
    }
}

fn function_call(choice: Value, body: &Fields) -> Result<Choice, Rejected> {
    let at = body.at("function_call");
    match choice {
        Value::String(word) => {
            choice_by_word(&word).ok_or_else(|| Rejected::new(at, "must be one of auto and none"))
        }
        choice => Ok(Choice::Tool(Fields::new(choice, at)?.needed_text("name")?)),
    }
}

fn tool_choice(choice: Value, at: String, request: &mut Request) -> Result<(), Rejected> {
    if let Value::String(word) = &choice {
        let why = "must be one of none, auto and required, or an object";
        request.choice = Some(choice_by_word(word).ok_or_else(|| Rejected::new(at, why))?);
        return Ok(());
    }
    let mut choice = Fields::new(choice, at)?;
    match choice.text("type")?.as_deref() {
        Some("function") | None => {
            let missing = choice.must("function", "is missing");
            let mut function = choice.fields("function")?.ok_or(missing)?;
            request.choice = Some(Choice::Tool(function.needed_text("name")?));
        }
        Some("allowed_tools") => {
            let missing = choice.must("allowed_tools", "is missing");
            let allowed = choice.fields("allowed_tools")?.ok_or(missing)?;
            allowed_tools(allowed, request)?;
        }
        Some(_) => request.asked.push((Feature::ServerTool, choice.place().to_owned())),
    }
    Ok(())
}

fn allowed_tools(mut allowed: Fields, request: &mut Request) -> Result<(), Rejected> {
    let mut names = Vec::new();
    for (tool, at) in allowed.list("tools")? {
        let mut tool = Fields::new(tool, at)?;
        let missing = tool.must("function", "is missing");
        let mut function = tool.fields("function")?.ok_or(missing)?;
        names.push(function.needed_text("name")?);
    }
    if allowed.text("mode")?.as_deref() == Some("required") {
        request.choice = Some(Choice::AnyOf(names));
        return Ok(());
    }
    // A free choice among some tools is a free choice in a request without the others.
    request.choice = Some(Choice::Auto);
    request.tools.retain(|tool| match tool {
        Tool::Function { name, .. } => names.contains(name),
        Tool::Foreign { .. } => true,
    });
    Ok(())
}
