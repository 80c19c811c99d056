//! The tools of a request, and the choice among them.

use serde_json::{Map, Value, json};

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::format::openai_responses::types::FREEFORM;
use crate::wire::ir::{Choice, Request, Tool};
use crate::wire::json::fields::{Fields, Rejected};

/// Takes `tools`, `tool_choice`, `parallel_tool_calls` and `max_tool_calls`.
pub(super) fn decode(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    for (tool, at) in body.list("tools")? {
        request.tools.push(decode_tool(tool, at)?);
    }
    decode_choice(body, request)?;
    request.parallel = body.flag("parallel_tool_calls")?;
    // It limits calls of the tools that providers run themselves, and those tools are refused.
    if body.count("max_tool_calls")?.is_some() {
        request.unknown.push("max_tool_calls".to_owned());
    }
    Ok(())
}

fn decode_tool(tool: Value, at: String) -> Result<Tool, Rejected> {
    let kind = tool["type"].as_str().unwrap_or_default().to_owned();
    let mut tool = Fields::new(tool, at)?;
    let at = tool.place().to_owned();
    match &*kind {
        "" => Err(tool.must("type", "is missing")),
        "function" => Ok(Tool::Function {
            name: tool.needed_text("name")?,
            description: tool.text("description")?,
            parameters: tool.value("parameters"),
            strict: tool.flag("strict")?,
            cache: None,
            at,
        }),
        "custom" => decode_custom_tool(&mut tool),
        _ => {
            let json = Value::Object(tool.into_left());
            Ok(Tool::Foreign { format: Format::OpenAiResponses, json, at })
        }
    }
}

/// A custom tool takes plain text. It becomes a function of one string, with the grammar for that text in its
/// description, because no other API enforces a grammar.
fn decode_custom_tool(tool: &mut Fields) -> Result<Tool, Rejected> {
    let mut input = Map::new();
    input.insert("type".to_owned(), Value::from("string"));
    if let Some(mut format) = tool.fields("format")?
        && format.text("type")?.as_deref() == Some("grammar")
    {
        let syntax = format.text("syntax")?.unwrap_or_default();
        let grammar = format.needed_text("definition")?;
        let description = format!("Must follow this grammar ({syntax}):\n{grammar}");
        input.insert("description".to_owned(), Value::from(description));
    }
    let parameters = json!({
        "type": "object",
        "properties": { FREEFORM: input },
        "required": [FREEFORM],
        "additionalProperties": false,
    });
    Ok(Tool::Function {
        name: tool.needed_text("name")?,
        description: tool.text("description")?,
        parameters: Some(parameters),
        strict: None,
        cache: None,
        at: tool.place().to_owned(),
    })
}

fn decode_choice(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let at = body.at("tool_choice");
    let expected = "must be `none`, `auto`, `required` or an object that names tools";
    request.choice = match body.value("tool_choice") {
        None => None,
        Some(Value::String(word)) => Some(match &*word {
            "auto" => Choice::Auto,
            "required" => Choice::Any,
            "none" => Choice::None,
            _ => return Err(Rejected::new(at, expected)),
        }),
        Some(value) => {
            let mut choice = Fields::new(value, at)?;
            match &*choice.needed_text("type")? {
                "function" | "custom" => Some(Choice::Tool(choice.needed_text("name")?)),
                "allowed_tools" => Some(decode_allowed_tools(&mut choice, request)?),
                // A tool that the provider runs itself.
                _ => {
                    request.asked.push((Feature::ServerTool, choice.place().to_owned()));
                    None
                }
            }
        }
    };
    Ok(())
}

/// Allowed tools of which none must be called: the other tools are removed, which means the same.
fn decode_allowed_tools(choice: &mut Fields, request: &mut Request) -> Result<Choice, Rejected> {
    let mode = choice.text("mode")?;
    let (mut names, mut kinds) = (Vec::new(), Vec::new());
    for (tool, at) in choice.list("tools")? {
        let mut tool = Fields::new(tool, at)?;
        match (tool.needed_text("type")?, tool.text("name")?) {
            (_, Some(name)) => names.push(name),
            (kind, None) => kinds.push(kind),
        }
    }
    if mode.as_deref() == Some("required") {
        return Ok(Choice::AnyOf(names));
    }
    request.tools.retain(|tool| match tool {
        Tool::Function { name, .. } => names.contains(name),
        Tool::Foreign { json, .. } => kinds.iter().any(|kind| json["type"] == **kind),
    });
    Ok(Choice::Auto)
}
