//! Normalizes request bodies of the Responses format, so that two bodies with the same meaning are equal.

use serde_json::{Map, Value, json};

/// Members that are always sent, or whose value is the default.
const WITHOUT_MEANING: &[(&str, &str)] =
    &[("store", "*"), ("include", "*"), ("tools", "[]"), ("stream", "false")];

/// Returns the normalized body.
pub(crate) fn normal(body: Value) -> Value {
    let Value::Object(mut body) = body else { return body };
    body.retain(|_, value| !value.is_null());
    for (name, value) in WITHOUT_MEANING {
        if body.get(*name).is_some_and(|sent| *value == "*" || *sent == value_of(value)) {
            body.shift_remove(*name);
        }
    }
    if let Some(tools) = body.get_mut("tools") {
        tools.as_array_mut().unwrap().iter_mut().for_each(tool);
    }
    // The least that the API takes.
    if body.get("max_output_tokens").and_then(Value::as_u64).is_some_and(|most| most < 16) {
        body.insert("max_output_tokens".to_owned(), Value::from(16));
    }
    let mut items: Vec<Value> = match body.shift_remove("input") {
        Some(Value::Array(items)) => items.into_iter().map(item).collect(),
        Some(text) => vec![item(json!({ "role": "user", "content": text }))],
        None => Vec::new(),
    };
    if let Some(text) = body.shift_remove("instructions") {
        items.insert(0, item(json!({ "role": "system", "content": text })));
    }
    body.insert("input".to_owned(), Value::Array(items));
    Value::Object(body)
}

fn value_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn tool(tool: &mut Value) {
    let tool = tool.as_object_mut().unwrap();
    tool.retain(|_, value| !value.is_null());
    if tool["type"] == "function" {
        tool.entry("strict").or_insert(Value::Bool(false));
    }
}

fn item(item: Value) -> Value {
    let Value::Object(mut item) = item else { return item };
    item.retain(|_, value| !value.is_null());
    let message = item.contains_key("role");
    if message {
        item.insert("type".to_owned(), Value::from("message"));
    }
    if item.get("role").is_some_and(|role| role == "developer") {
        item.insert("role".to_owned(), Value::from("system"));
    }
    // Only signed reasoning needs its id.
    if item["type"] != "reasoning" {
        item.shift_remove("id");
    }
    item.shift_remove("status");
    for name in ["content", "output"] {
        if let Some(value) = item.get_mut(name) {
            *value = content(std::mem::take(value));
        }
    }
    Value::Object(item)
}

/// A single text becomes a string.
fn content(content: Value) -> Value {
    let Value::Array(mut parts) = content else { return content };
    for part in &mut parts {
        let part: &mut Map<_, _> = part.as_object_mut().unwrap();
        part.retain(|name, value| !value.is_null() && name != "annotations" && name != "logprobs");
        if part["type"] == "input_image" {
            part.entry("detail").or_insert(Value::from("auto"));
        }
    }
    match &*parts {
        [only] if only["text"].is_string() => only["text"].clone(),
        _ => Value::Array(parts),
    }
}
