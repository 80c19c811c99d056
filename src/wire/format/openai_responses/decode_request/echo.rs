//! What a response repeats of its request. The API's reference requires some of it; what the caller did not
//! say stands there as the reference's default.

use std::sync::LazyLock;

use serde_json::Value;

use crate::wire::ir::Echo;
use crate::wire::json::fields::Fields;

/// Members of the response that are the request's, each with its default. Not `service_tier`, which may
/// become another, nor `store`: nothing is stored.
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

/// Members that are required where what they stand in is there, and are `null` unless the caller said them.
const WITHIN_REASONING: &[&str] = &["effort", "summary"];
const WITHIN_FUNCTION: &[&str] = &["description", "parameters", "strict"];

/// Of a request that says nothing of it.
pub(crate) static PLAIN: LazyLock<Echo> =
    LazyLock::new(|| Echo { members: members(|_| None), freeform: Vec::new() });

/// Of a request of which nothing was taken yet.
pub(crate) fn of(body: &Fields) -> Echo {
    Echo { members: members(|name| body.peek(name)), freeform: freeform(body) }
}

fn members<'v>(said: impl Fn(&str) -> Option<&'v Value>) -> String {
    let mut out = String::new();
    for (name, default) in REPEATED {
        out.push_str(",\"");
        out.push_str(name);
        out.push_str("\":");
        match (said(name), *name) {
            (None, _) => out.push_str(default),
            (Some(value), "reasoning") => filled(value, WITHIN_REASONING, &mut out),
            (Some(Value::Array(all)), "tools") => tools(all, &mut out),
            (Some(value), _) => out.push_str(&value.to_string()),
        }
    }
    if let Some(user) = said("user") {
        out.push_str(",\"user\":");
        out.push_str(&user.to_string());
    }
    out
}

fn tools(all: &[Value], out: &mut String) {
    out.push('[');
    for (place, tool) in all.iter().enumerate() {
        if place > 0 {
            out.push(',');
        }
        let within = if tool["type"] == "function" { WITHIN_FUNCTION } else { &[] };
        filled(tool, within, out);
    }
    out.push(']');
}

fn filled(value: &Value, names: &[&str], out: &mut String) {
    out.push_str(&value.to_string());
    let Value::Object(members) = value else { return };
    for name in names.iter().filter(|name| !members.contains_key(**name)) {
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

/// The names of custom tools.
fn freeform(body: &Fields) -> Vec<String> {
    let tools = body.peek("tools").and_then(Value::as_array).into_iter().flatten();
    tools
        .filter(|tool| tool["type"] == "custom")
        .filter_map(|tool| tool["name"].as_str().map(str::to_owned))
        .collect()
}
