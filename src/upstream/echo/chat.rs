//! Chat completions and text completions.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{
    Ask, Refusal, Reply, content_text, count_tokens, data_event, done_event, function_to_call,
    split_words, truncate,
};

pub(super) fn chat(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    require_one_choice(ask)?;
    let messages = ask.required("messages")?.as_array().filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| {
        Refusal::invalid(Some("messages"), "'messages' must be a list of at least one message.")
    })?;
    let last = messages.iter().rfind(|message| message["role"] == "user");
    let last = messages.last().filter(|message| message["role"] == "tool").or(last);
    let text = last.map(|message| content_text(&message["content"])).unwrap_or_default();
    let user_text = last.is_some_and(|message| message["role"] == "user").then_some(text.as_str());
    let limit = ask.get("max_completion_tokens").as_u64().or(ask.get("max_tokens").as_u64());
    let answer = match function_to_call(ask, |tool| tool["function"]["name"].as_str(), user_text) {
        Some(function) => Answer::ToolCall(function),
        None => Answer::text(&text, limit),
    };
    let prompt =
        messages.iter().map(|message| count_tokens(&content_text(&message["content"]))).sum();
    let usage = usage(prompt, answer.tokens());
    Ok(if ask.stream() {
        Reply::events(chat_events(ask, &answer, &usage))
    } else {
        let choice = json!({
            "index": 0,
            "message": answer.message(ask),
            "logprobs": null,
            "finish_reason": answer.finish_reason(),
        });
        let mut reply = head(ask, "chatcmpl", "chat.completion");
        reply["choices"] = json!([choice]);
        reply["usage"] = usage;
        Reply::json(&reply)
    })
}

enum Answer<'v> {
    Text { text: String, is_cut: bool },
    ToolCall(&'v str),
}

impl Answer<'_> {
    fn text(text: &str, limit: Option<u64>) -> Self {
        let (text, is_cut) = truncate(text, limit);
        Answer::Text { text, is_cut }
    }

    fn tokens(&self) -> usize {
        match self {
            Answer::Text { text, .. } => count_tokens(text),
            Answer::ToolCall(_) => 1,
        }
    }

    fn finish_reason(&self) -> &'static str {
        match self {
            Answer::Text { is_cut: true, .. } => "length",
            Answer::Text { is_cut: false, .. } => "stop",
            Answer::ToolCall(_) => "tool_calls",
        }
    }

    fn message(&self, ask: &Ask<'_>) -> Value {
        let mut message = json!({ "role": "assistant", "content": null, "refusal": null });
        match self {
            Answer::Text { text, .. } => message["content"] = json!(text),
            Answer::ToolCall(name) => message["tool_calls"] = json!([call(ask, name, "{}")]),
        }
        message
    }
}

fn call(ask: &Ask<'_>, name: &str, arguments: &str) -> Value {
    json!({
        "id": format!("call_{}", ask.id),
        "type": "function",
        "function": { "name": name, "arguments": arguments },
    })
}

fn chat_events(ask: &Ask<'_>, answer: &Answer<'_>, usage: &Value) -> Vec<Bytes> {
    let with_usage = ask.get("stream_options")["include_usage"] == true;
    let event = |choices: Value, usage: &Value| {
        let mut chunk = head(ask, "chatcmpl", "chat.completion.chunk");
        chunk["choices"] = choices;
        if with_usage {
            chunk["usage"] = usage.clone();
        }
        data_event(&chunk)
    };
    let choice = |delta: Value, reason: Option<&str>| {
        let choice =
            json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": reason });
        event(json!([choice]), &Value::Null)
    };
    let mut events = Vec::new();
    match answer {
        Answer::Text { text, .. } => {
            events.push(choice(json!({ "role": "assistant", "content": "" }), None));
            events.extend(
                split_words(text).iter().map(|word| choice(json!({ "content": word }), None)),
            );
        }
        Answer::ToolCall(name) => {
            let mut first = call(ask, name, "");
            first["index"] = json!(0);
            let delta = json!({ "role": "assistant", "content": null, "tool_calls": [first] });
            events.push(choice(delta, None));
            let rest = json!({ "index": 0, "function": { "arguments": "{}" } });
            events.push(choice(json!({ "tool_calls": [rest] }), None));
        }
    }
    events.push(choice(json!({}), Some(answer.finish_reason())));
    if with_usage {
        events.push(event(json!([]), usage));
    }
    events.push(done_event());
    events
}

pub(super) fn completions(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    require_one_choice(ask)?;
    let prompts: Option<Vec<&str>> = match ask.required("prompt")? {
        Value::String(prompt) => Some(vec![prompt]),
        Value::Array(prompts) => prompts.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let prompts = prompts.ok_or_else(|| {
        Refusal::invalid(Some("prompt"), "'prompt' must be a string or a list of strings.")
    })?;
    let limit = ask.get("max_tokens").as_u64();
    let answers: Vec<_> = prompts.iter().map(|prompt| Answer::text(prompt, limit)).collect();
    let prompt = prompts.iter().map(|prompt| count_tokens(prompt)).sum();
    let usage = usage(prompt, answers.iter().map(Answer::tokens).sum());
    let choice = |index: usize, text: &str, reason: Option<&str>| json!({ "text": text, "index": index, "logprobs": null, "finish_reason": reason });
    let mut reply = head(ask, "cmpl", "text_completion");
    if !ask.stream() {
        let choices = answers.iter().enumerate().map(|(index, answer)| match answer {
            Answer::Text { text, .. } => choice(index, text, Some(answer.finish_reason())),
            Answer::ToolCall(_) => Value::Null,
        });
        reply["choices"] = choices.collect();
        reply["usage"] = usage;
        return Ok(Reply::json(&reply));
    }
    let mut events = Vec::new();
    for (index, answer) in answers.iter().enumerate() {
        if let Answer::Text { text, .. } = answer {
            for word in split_words(text) {
                reply["choices"] = json!([choice(index, word, None)]);
                events.push(data_event(&reply));
            }
        }
        reply["choices"] = json!([choice(index, "", Some(answer.finish_reason()))]);
        events.push(data_event(&reply));
    }
    if ask.get("stream_options")["include_usage"] == true {
        reply["choices"] = json!([]);
        reply["usage"] = usage;
        events.push(data_event(&reply));
    }
    events.push(done_event());
    Ok(Reply::events(events))
}

fn require_one_choice(ask: &Ask<'_>) -> Result<(), Refusal> {
    match ask.get("n").as_u64() {
        None | Some(1) => Ok(()),
        Some(_) => Err(Refusal::invalid(
            Some("n"),
            "The echo provider supports one choice: 'n' must be 1.",
        )),
    }
}

fn head(ask: &Ask<'_>, prefix: &str, object: &str) -> Value {
    json!({
        "id": format!("{prefix}-{}", ask.id),
        "object": object,
        "created": ask.created,
        "model": ask.model(),
    })
}

fn usage(prompt: usize, completion: usize) -> Value {
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": { "cached_tokens": 0 },
        "completion_tokens_details": { "reasoning_tokens": 0 },
    })
}
