//! Decodes a caller's request.

mod config;
mod contents;

use serde_json::{Map, Value};

use super::object::Object;
use super::schema::to_json_schema;
use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::ir::{Block, Choice, Content, Request, Tier, Tool};
use crate::wire::json::fields::{Rejected, child};

/// Decodes a caller's request.
///
/// # Errors
///
/// When the body is not a request of this format.
pub fn decode_request(body: &[u8]) -> Result<Request, Rejected> {
    let mut body = Object::of_body(body)?;
    // Every stream of this format reports its usage.
    let mut request = Request { stream_usage: true, ..Request::default() };
    request.turns = contents::decode_turns(&mut body, &mut request.asked)?;
    if let Some(mut system) = body.object("systemInstruction")? {
        request.system = decode_instructions(&mut system, &mut request.asked)?;
    }
    for (tool, at) in body.list("tools")? {
        decode_tools(tool, at, &mut request)?;
    }
    if let Some(config) = body.object("toolConfig")? {
        decode_tool_config(config, &mut request)?;
    }
    if let Some(config) = body.object("generationConfig")? {
        config::decode(config, &mut request)?;
    }
    if let Some(labels) = body.object("labels")? {
        request.metadata = Some(decode_labels(labels)?);
    }
    request.tier = body.text("serviceTier")?.map(decode_tier);
    for (name, feature) in [
        ("cachedContent", Feature::CachedContent),
        ("modelArmorConfig", Feature::Guardrail),
        ("safetySettings", Feature::SafetySettings),
        ("continuationToken", Feature::StoredConversation),
        ("outputConfig", Feature::ProviderFields),
        ("store", Feature::Store),
    ] {
        let at = body.at(name);
        if body.value(name).is_some_and(|value| !is_empty(&value)) {
            request.asked.push((feature, at));
        }
    }
    // It is in the path, too.
    body.value("model");
    request.unknown.extend(body.left().map(str::to_owned));
    Ok(request)
}

/// Returns true for a value that requests nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(members) => members.is_empty(),
        _ => false,
    }
}

fn decode_instructions(
    system: &mut Object,
    asked: &mut Vec<(Feature, String)>,
) -> Result<Vec<Block>, Rejected> {
    let mut blocks = Vec::new();
    for (part, at) in system.list("parts")? {
        contents::decode_part(part, at, &mut blocks, asked)?;
    }
    match blocks.iter().find(|block| !matches!(block.content, Content::Text { .. })) {
        Some(other) => Err(Rejected::new(&*other.at, "must be text: it is an instruction")),
        None => Ok(blocks),
    }
}

fn decode_labels(mut labels: Object) -> Result<Map<String, Value>, Rejected> {
    let names: Vec<String> = labels.left().map(str::to_owned).collect();
    let label = |name: String| {
        let text = labels.needed_text(&name)?;
        Ok((name, Value::String(text)))
    };
    names.into_iter().map(label).collect()
}

fn decode_tier(word: String) -> Tier {
    match &*word.to_ascii_lowercase() {
        "unspecified" => Tier::Auto,
        "standard" => Tier::Standard,
        "flex" => Tier::Flex,
        "priority" => Tier::Priority,
        _ => Tier::Other(word),
    }
}

/// Decodes one element of `tools`, which may contain function declarations and server tools.
fn decode_tools(tool: Value, at: String, request: &mut Request) -> Result<(), Rejected> {
    let mut tool = Object::new(tool, at)?;
    for (declaration, at) in tool.list("functionDeclarations")? {
        let function = decode_function(declaration, at, &mut request.asked)?;
        request.tools.push(function);
    }
    let names: Vec<String> = tool.left().map(str::to_owned).collect();
    for name in names {
        let at = child(tool.place(), &name);
        if let Some(value) = tool.value(&name) {
            let json = Value::Object(Map::from_iter([(name, value)]));
            request.tools.push(Tool::Foreign { format: Format::Gemini, json, at });
        }
    }
    Ok(())
}

fn decode_function(
    declaration: Value,
    at: String,
    asked: &mut Vec<(Feature, String)>,
) -> Result<Tool, Rejected> {
    let mut function = Object::new(declaration, at)?;
    let parameters = match (function.value("parameters"), function.value("parametersJsonSchema")) {
        (Some(_), Some(_)) => {
            let why = "must not be set together with `parametersJsonSchema`";
            return Err(function.must("parameters", why));
        }
        (Some(schema), None) => Some(to_json_schema(schema)),
        (None, json_schema) => json_schema,
    };
    for name in ["behavior", "response", "responseJsonSchema"] {
        if function.value(name).is_some() {
            asked.push((Feature::ProviderFields, function.at(name)));
        }
    }
    Ok(Tool::Function {
        name: function.needed_text("name")?,
        description: function.text("description")?.filter(|text| !text.is_empty()),
        parameters,
        strict: None,
        cache: None,
        at: function.place().to_owned(),
    })
}

fn decode_tool_config(mut config: Object, request: &mut Request) -> Result<(), Rejected> {
    if let Some(mut calling) = config.object("functionCallingConfig")? {
        let at = calling.at("mode");
        let mode = calling.text("mode")?.map(|mode| mode.to_ascii_uppercase());
        let mut names = calling.texts("allowedFunctionNames")?;
        request.choice = match (mode.as_deref(), names.len()) {
            (None | Some("MODE_UNSPECIFIED"), _) => None,
            (Some("AUTO"), _) => Some(Choice::Auto),
            // Like AUTO, with arguments that follow their schemas.
            (Some("VALIDATED"), _) => {
                request.asked.push((Feature::ProviderFields, at));
                Some(Choice::Auto)
            }
            (Some("NONE"), _) => Some(Choice::None),
            (Some("ANY"), 0) => Some(Choice::Any),
            (Some("ANY"), 1) => Some(Choice::Tool(names.remove(0))),
            (Some("ANY"), _) => Some(Choice::AnyOf(names)),
            _ => {
                let why = "must be `AUTO`, `ANY`, `NONE` or `VALIDATED`";
                return Err(Rejected::new(at, why));
            }
        };
        // It sets how Vertex streams arguments. Formats stream them in their own way.
        calling.value("streamFunctionCallArguments");
        request.unknown.extend(calling.left().map(|name| child(calling.place(), name)));
    }
    for name in ["retrievalConfig", "includeServerSideToolInvocations"] {
        let at = config.at(name);
        if config.value(name).is_some_and(|value| !is_empty(&value)) {
            request.asked.push((Feature::ProviderFields, at));
        }
    }
    request.unknown.extend(config.left().map(|name| child(config.place(), name)));
    Ok(())
}

#[cfg(test)]
#[allow(
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "so that a test fails, and takes literals"
)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decoded(body: &Value) -> Result<Request, Rejected> {
        decode_request(body.to_string().as_bytes())
    }

    #[test]
    fn functions_and_server_tools_are_decoded() {
        let request = decoded(&json!({
            "contents": [],
            "tools": [{"googleSearch": {}, "function_declarations": [
                {"name": "a", "parameters": {"type": "OBJECT", "properties": {}}},
                {"name": "b", "description": "", "parameters_json_schema": {"type": "object"}},
            ]}],
            "toolConfig": {"functionCallingConfig": {"mode": "any", "allowedFunctionNames": ["b"]}},
        }))
        .unwrap();
        let names: Vec<_> = request
            .tools
            .iter()
            .map(|tool| match tool {
                Tool::Function { name, parameters, at, .. } => {
                    assert_eq!(parameters.as_ref().unwrap()["type"], "object");
                    format!("{name} {at}")
                }
                Tool::Foreign { json, at, .. } => format!("{json} {at}"),
            })
            .collect();
        assert_eq!(
            names,
            [
                "a /tools/0/function_declarations/0",
                "b /tools/0/function_declarations/1",
                r#"{"googleSearch":{}} /tools/0/googleSearch"#
            ]
        );
        assert_eq!(request.choice, Some(Choice::Tool("b".to_owned())));
    }

    #[test]
    fn errors_contain_the_place() {
        let place = |body: Value| decoded(&body).unwrap_err().at;
        assert_eq!(place(json!({"contents": 1})), "/contents");
        assert_eq!(
            place(json!({"contents": [{"role": "tool-user", "parts": []}]})),
            "/contents/0/role"
        );
        assert_eq!(
            place(json!({"contents": [{"parts": [{"text": 1}]}]})),
            "/contents/0/parts/0/text"
        );
        assert_eq!(
            place(json!({"tools": [{"functionDeclarations": [{}]}]})),
            "/tools/0/functionDeclarations/0/name"
        );
        let image = json!({"parts": [{"inlineData": {"mimeType": "image/png", "data": "AA=="}}]});
        assert_eq!(place(json!({"systemInstruction": image})), "/systemInstruction/parts/0");
    }

    #[test]
    fn members_without_a_field_are_features_or_unknown() {
        let request = decoded(&json!({
            "contents": [],
            "model": "models/x",
            "safetySettings": [{"category": "a"}],
            "cachedContent": "cachedContents/1",
            "labels": {"team": "a"},
            "serviceTier": "flex",
            "generationConfig": {"responseModalities": ["TEXT"], "new": 1},
            "toolConfig": {"retrievalConfig": {"latLng": {}}},
            "newField": 1,
        }))
        .unwrap();
        let asked: Vec<_> = request.asked.iter().map(|(feature, at)| (*feature, &**at)).collect();
        assert_eq!(
            asked,
            [
                (Feature::ProviderFields, "/toolConfig/retrievalConfig"),
                (Feature::CachedContent, "/cachedContent"),
                (Feature::SafetySettings, "/safetySettings"),
            ]
        );
        assert_eq!(request.unknown, ["/generationConfig/new", "newField"]);
        assert_eq!(request.tier, Some(Tier::Flex));
        assert_eq!(request.metadata.unwrap()["team"], "a");
    }
}
