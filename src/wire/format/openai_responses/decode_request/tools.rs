//! The tools of a request, and whether they must be called.

use serde_json::{Map, Value, json};

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::format::openai_responses::FREEFORM;
use crate::wire::ir::{Choice, Request, Tool};
use crate::wire::json::fields::{Fields, Rejected};

/// Takes `tools`, `tool_choice`, `parallel_tool_calls` and `max_tool_calls`.
pub(crate) fn read(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    for (tool, at) in body.list("tools")? {
        request.tools.push(read_tool(tool, at)?);
    }
    choice(body, request)?;
    request.parallel = body.flag("parallel_tool_calls")?;
    // It limits the calls of tools that providers run themselves, and those are refused.
    if body.count("max_tool_calls")?.is_some() {
        request.unknown.push("max_tool_calls".to_owned());
    }
    Ok(())
}

fn read_tool(tool: Value, at: String) -> Result<Tool, Rejected> {
    let kind = tool["type"].as_str().unwrap_or_default().to_owned();
    let mut own = Fields::new(tool, at)?;
    let at = own.place().to_owned();
    match &*kind {
        "" => Err(own.must("type", "is missing")),
        "function" => Ok(Tool::Function {
            name: own.needed_text("name")?,
            description: own.text("description")?,
            parameters: own.value("parameters"),
            strict: own.flag("strict")?,
            cache: None,
            at,
        }),
        "custom" => freeform(&mut own),
        _ => {
            let json = Value::Object(own.into_left());
            Ok(Tool::Foreign { format: Format::OpenAiResponses, json, at })
        }
    }
}

/// A tool that takes plain text becomes a function of one string. A grammar for that text is told in words:
/// no other API holds the model to it.
fn freeform(own: &mut Fields) -> Result<Tool, Rejected> {
    let mut about = Map::new();
    about.insert("type".to_owned(), Value::from("string"));
    if let Some(mut format) = own.fields("format")?
        && format.text("type")?.as_deref() == Some("grammar")
    {
        let syntax = format.text("syntax")?.unwrap_or_default();
        let grammar = format.needed_text("definition")?;
        let words = format!("Must follow this grammar ({syntax}):\n{grammar}");
        about.insert("description".to_owned(), Value::from(words));
    }
    let parameters = json!({
        "type": "object",
        "properties": { FREEFORM: about },
        "required": [FREEFORM],
        "additionalProperties": false,
    });
    Ok(Tool::Function {
        name: own.needed_text("name")?,
        description: own.text("description")?,
        parameters: Some(parameters),
        strict: None,
        cache: None,
        at: own.place().to_owned(),
    })
}

fn choice(body: &mut Fields, request: &mut Request) -> Result<(), Rejected> {
    let at = body.at("tool_choice");
    let wrong = "must be `none`, `auto`, `required` or an object that names tools";
    request.choice = match body.value("tool_choice") {
        None => None,
        Some(Value::String(word)) => Some(match &*word {
            "auto" => Choice::Auto,
            "required" => Choice::Any,
            "none" => Choice::None,
            _ => return Err(Rejected::new(at, wrong)),
        }),
        Some(value) => {
            let mut own = Fields::new(value, at)?;
            match &*own.needed_text("type")? {
                "function" | "custom" => Some(Choice::Tool(own.needed_text("name")?)),
                "allowed_tools" => Some(allowed(&mut own, request)?),
                // A tool that the provider runs itself.
                _ => {
                    request.asked.push((Feature::ServerTool, own.place().to_owned()));
                    None
                }
            }
        }
    };
    Ok(())
}

/// That some tools are allowed and none must be called is the same as to offer those alone.
fn allowed(own: &mut Fields, request: &mut Request) -> Result<Choice, Rejected> {
    let mode = own.text("mode")?;
    let (mut names, mut kinds) = (Vec::new(), Vec::new());
    for (tool, at) in own.list("tools")? {
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
