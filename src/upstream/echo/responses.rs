//! The Responses API.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Ask, Refusal, Reply, content_text, count_tokens, function_to_call, named_event, split_words,
    truncate,
};

pub(super) fn responses(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let input = Input::parse(ask)?;
    let user_text = input.is_from_user.then_some(input.text.as_str());
    let function = function_to_call(ask, |tool| tool["name"].as_str(), user_text);
    let (text, cut) = truncate(&input.text, ask.get("max_output_tokens").as_u64());
    let (item, tokens) = match function {
        Some(name) => (call(ask, name, "{}", "completed"), 1),
        None => (message(ask, Some(&text), "completed"), count_tokens(&text)),
    };
    let mut whole = empty_response(ask);
    whole["status"] = json!(if cut && function.is_none() { "incomplete" } else { "completed" });
    if whole["status"] == "incomplete" {
        whole["incomplete_details"] = json!({ "reason": "max_output_tokens" });
    }
    whole["output"] = json!([item]);
    whole["usage"] = json!({
        "input_tokens": input.tokens,
        "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": tokens,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": input.tokens + tokens,
    });
    Ok(if ask.stream() { Reply::events(events(ask, &whole, &text)) } else { Reply::json(&whole) })
}

pub(super) fn input_tokens(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    let tokens = Input::parse(ask)?.tokens;
    Ok(Reply::json(&json!({ "object": "response.input_tokens", "input_tokens": tokens })))
}

struct Input {
    /// The text to return.
    text: String,
    is_from_user: bool,
    tokens: usize,
}

impl Input {
    fn parse(ask: &Ask<'_>) -> Result<Input, Refusal> {
        let instructions = ask.text("instructions").map_or(0, count_tokens);
        match ask.required("input")? {
            Value::String(text) => {
                let tokens = instructions + count_tokens(text);
                Ok(Input { text: text.clone(), is_from_user: true, tokens })
            }
            Value::Array(items) => {
                let is_result = |item: &&Value| item["type"] == "function_call_output";
                let user = items.iter().rfind(|item| item["role"] == "user");
                let last = items.last().filter(is_result).or(user);
                let tokens: usize = items.iter().map(|item| count_tokens(&text_of(item))).sum();
                Ok(Input {
                    text: last.map(text_of).unwrap_or_default(),
                    is_from_user: last.is_some_and(|item| !is_result(&item)),
                    tokens: instructions + tokens,
                })
            }
            _ => Err(Refusal::invalid(Some("input"), "'input' must be a string or a list.")),
        }
    }
}

fn text_of(item: &Value) -> String {
    content_text(if item["output"].is_null() { &item["content"] } else { &item["output"] })
}

/// Returns a response without output. It repeats the settings of the request.
fn empty_response(ask: &Ask<'_>) -> Value {
    let setting = |name: &str, or: Value| match ask.get(name) {
        Value::Null => or,
        value => value.clone(),
    };
    json!({
        "id": format!("resp_{}", ask.id),
        "object": "response",
        "created_at": ask.created,
        "status": "in_progress",
        "background": false,
        "error": null,
        "incomplete_details": null,
        "instructions": ask.get("instructions"),
        "max_output_tokens": ask.get("max_output_tokens"),
        "model": ask.model(),
        "output": [],
        "parallel_tool_calls": setting("parallel_tool_calls", json!(true)),
        "previous_response_id": ask.get("previous_response_id"),
        "reasoning": setting("reasoning", json!({ "effort": null, "summary": null })),
        "store": setting("store", json!(true)),
        "temperature": setting("temperature", json!(1.0)),
        "text": setting("text", json!({ "format": { "type": "text" } })),
        "tool_choice": setting("tool_choice", json!("auto")),
        "tools": setting("tools", json!([])),
        "top_p": setting("top_p", json!(1.0)),
        "truncation": setting("truncation", json!("disabled")),
        "usage": null,
        "metadata": setting("metadata", json!({})),
    })
}

fn message(ask: &Ask<'_>, text: Option<&str>, status: &str) -> Value {
    let content: Vec<_> = text.into_iter().map(part).collect();
    json!({
        "id": format!("msg_{}", ask.id),
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": content,
    })
}

fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn call(ask: &Ask<'_>, name: &str, arguments: &str, status: &str) -> Value {
    json!({
        "id": format!("fc_{}", ask.id),
        "type": "function_call",
        "call_id": format!("call_{}", ask.id),
        "name": name,
        "arguments": arguments,
        "status": status,
    })
}

fn events(ask: &Ask<'_>, whole: &Value, text: &str) -> Vec<Bytes> {
    let empty = empty_response(ask);
    let item = &whole["output"][0];
    let at = json!({ "item_id": item["id"], "output_index": 0 });
    let in_part = json!({ "item_id": item["id"], "output_index": 0, "content_index": 0 });
    let of_item = |item: &Value| json!({ "output_index": 0, "item": item });
    let mut events = vec![
        ("response.created", json!({ "response": empty })),
        ("response.in_progress", json!({ "response": empty })),
    ];
    if let Some(name) = item["name"].as_str() {
        let added = of_item(&call(ask, name, "", "in_progress"));
        events.push(("response.output_item.added", added));
        let with = |key: &str| with(&at, key, json!("{}"));
        events.push(("response.function_call_arguments.delta", with("delta")));
        events.push(("response.function_call_arguments.done", with("arguments")));
    } else {
        let added = of_item(&message(ask, None, "in_progress"));
        events.push(("response.output_item.added", added));
        events.push(("response.content_part.added", with(&in_part, "part", part(""))));
        let logged = with(&in_part, "logprobs", json!([]));
        for word in split_words(text) {
            let delta = with(&logged, "delta", json!(word));
            events.push(("response.output_text.delta", delta));
        }
        events.push(("response.output_text.done", with(&logged, "text", json!(text))));
        events.push(("response.content_part.done", with(&in_part, "part", part(text))));
    }
    events.push(("response.output_item.done", of_item(item)));
    let last =
        if whole["status"] == "incomplete" { "response.incomplete" } else { "response.completed" };
    events.push((last, json!({ "response": whole })));
    let numbered = events.into_iter().enumerate().map(|(number, (kind, event))| {
        let event = with(&event, "sequence_number", json!(number));
        named_event(&with(&event, "type", json!(kind)))
    });
    numbered.collect()
}

fn with(event: &Value, key: &str, value: Value) -> Value {
    let mut event = event.clone();
    event[key] = value;
    event
}
