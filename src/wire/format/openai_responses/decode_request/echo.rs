//! The members of a request that its response repeats. The API's reference requires some of them; a member that
//! the caller left out has the reference's default.

use std::sync::LazyLock;

use serde_json::Value;

use crate::wire::ir::Echo;
use crate::wire::json::fields::Fields;

/// The repeated members, each with its default. Not `service_tier`, because the provider may choose another, nor
/// `store`, because nothing is stored.
const REPEATED: &[(&str, &str)] = &[
    ("frequency_penalty", "0"),
    ("instructions", "null"),
    ("max_output_tokens", "null"),
    ("max_tool_calls", "null"),
    ("metadata", "{}"),
    ("parallel_tool_calls", "true"),
    ("presence_penalty", "0"),
    ("prompt_cache_key", "null"),
    ("reasoning", r#"{"effort":null,"summary":null}"#),
    ("safety_identifier", "null"),
    ("temperature", "1"),
    ("text", r#"{"format":{"type":"text"}}"#),
    ("tool_choice", r#""auto""#),
    ("tools", "[]"),
    ("top_logprobs", "0"),
    ("top_p", "1"),
    ("truncation", r#""disabled""#),
];

/// Members that their object must have: `null` unless the caller set them.
const REQUIRED_IN_REASONING: &[&str] = &["effort", "summary"];
const REQUIRED_IN_FUNCTION: &[&str] = &["description", "parameters", "strict"];

/// The echo of a request that sets none of the members.
pub(in super::super) static PLAIN: LazyLock<Echo> =
    LazyLock::new(|| Echo { members: members(|_| None), freeform: Vec::new() });

/// Returns the echo of a request of which no member was taken yet.
pub(super) fn new(body: &Fields) -> Echo {
    Echo { members: members(|name| body.peek(name)), freeform: custom_tools(body) }
}

fn members<'v>(value_of: impl Fn(&str) -> Option<&'v Value>) -> String {
    let mut out = String::new();
    for (name, default) in REPEATED {
        out.push_str(",\"");
        out.push_str(name);
        out.push_str("\":");
        match (value_of(name), *name) {
            (None, _) => out.push_str(default),
            (Some(value), "reasoning") => write_filled(value, REQUIRED_IN_REASONING, &mut out),
            (Some(Value::Array(tools)), "tools") => write_tools(tools, &mut out),
            (Some(value), _) => out.push_str(&value.to_string()),
        }
    }
    if let Some(user) = value_of("user") {
        out.push_str(",\"user\":");
        out.push_str(&user.to_string());
    }
    out
}

fn write_tools(tools: &[Value], out: &mut String) {
    out.push('[');
    for (index, tool) in tools.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        let required = if tool["type"] == "function" { REQUIRED_IN_FUNCTION } else { &[] };
        write_filled(tool, required, out);
    }
    out.push(']');
}

/// Writes an object with `null` for the required members that it lacks.
fn write_filled(value: &Value, required: &[&str], out: &mut String) {
    out.push_str(&value.to_string());
    let Value::Object(members) = value else { return };
    for name in required.iter().filter(|name| !members.contains_key(**name)) {
        let brace = out.pop();
        if !out.ends_with('{') {
            out.push(',');
        }
        out.push('"');
        out.push_str(name);
        out.push_str("\":null");
        out.extend(brace);
    }
}

/// Returns the names of the custom tools.
fn custom_tools(body: &Fields) -> Vec<String> {
    let tools = body.peek("tools").and_then(Value::as_array).into_iter().flatten();
    tools
        .filter(|tool| tool["type"] == "custom")
        .filter_map(|tool| tool["name"].as_str().map(str::to_owned))
        .collect()
}
