//! Chat completions and text completions.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Ask, Refusal, Reply, called, content_text, count, data, done, limited, pieces};

pub(super) fn chat(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    one_choice(ask)?;
    let messages = ask.needed("messages")?.as_array().filter(|messages| !messages.is_empty());
    let messages = messages.ok_or_else(|| {
        Refusal::of_param(Some("messages"), "'messages' must be a list of at least one message.")
    })?;
    let last = messages.iter().rfind(|message| message["role"] == "user");
    let last = messages.last().filter(|message| message["role"] == "tool").or(last);
    let text = last.map(|message| content_text(&message["content"])).unwrap_or_default();
    let by_user = last.is_some_and(|message| message["role"] == "user").then_some(text.as_str());
    let most = ask.get("max_completion_tokens").as_u64().or(ask.get("max_tokens").as_u64());
    let answer = match called(ask, |tool| tool["function"]["name"].as_str(), by_user) {
        Some(function) => Answer::Call(function),
        None => Answer::text(&text, most),
    };
    let prompt = messages.iter().map(|message| count(&content_text(&message["content"]))).sum();
    let usage = usage(prompt, answer.tokens());
    Ok(if ask.stream() {
        Reply::events(chat_events(ask, &answer, &usage))
    } else {
        let choice = json!({
            "index": 0,
            "message": answer.message(ask),
            "logprobs": null,
            "finish_reason": answer.reason(),
        });
        let mut reply = head(ask, "chatcmpl", "chat.completion");
        reply["choices"] = json!([choice]);
        reply["usage"] = usage;
        Reply::json(&reply)
    })
}

enum Answer<'v> {
    Text { text: String, cut: bool },
    Call(&'v str),
}

impl Answer<'_> {
    fn text(text: &str, most: Option<u64>) -> Self {
        let (text, cut) = limited(text, most);
        Answer::Text { text, cut }
    }

    fn tokens(&self) -> usize {
        match self {
            Answer::Text { text, .. } => count(text),
            Answer::Call(_) => 1,
        }
    }

    fn reason(&self) -> &'static str {
        match self {
            Answer::Text { cut: true, .. } => "length",
            Answer::Text { cut: false, .. } => "stop",
            Answer::Call(_) => "tool_calls",
        }
    }

    fn message(&self, ask: &Ask<'_>) -> Value {
        let mut message = json!({ "role": "assistant", "content": null, "refusal": null });
        match self {
            Answer::Text { text, .. } => message["content"] = json!(text),
            Answer::Call(name) => message["tool_calls"] = json!([call(ask, name, "{}")]),
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
    let counted = ask.get("stream_options")["include_usage"] == true;
    let event = |choices: Value, usage: &Value| {
        let mut chunk = head(ask, "chatcmpl", "chat.completion.chunk");
        chunk["choices"] = choices;
        if counted {
            chunk["usage"] = usage.clone();
        }
        data(&chunk)
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
            events
                .extend(pieces(text).iter().map(|piece| choice(json!({ "content": piece }), None)));
        }
        Answer::Call(name) => {
            let mut first = call(ask, name, "");
            first["index"] = json!(0);
            let delta = json!({ "role": "assistant", "content": null, "tool_calls": [first] });
            events.push(choice(delta, None));
            let rest = json!({ "index": 0, "function": { "arguments": "{}" } });
            events.push(choice(json!({ "tool_calls": [rest] }), None));
        }
    }
    events.push(choice(json!({}), Some(answer.reason())));
    if counted {
        events.push(event(json!([]), usage));
    }
    events.push(done());
    events
}

pub(super) fn completions(ask: &Ask<'_>) -> Result<Reply, Refusal> {
    one_choice(ask)?;
    let prompts: Option<Vec<&str>> = match ask.needed("prompt")? {
        Value::String(prompt) => Some(vec![prompt]),
        Value::Array(prompts) => prompts.iter().map(Value::as_str).collect(),
        _ => None,
    };
    let prompts = prompts.ok_or_else(|| {
        Refusal::of_param(Some("prompt"), "'prompt' must be a string or a list of strings.")
    })?;
    let most = ask.get("max_tokens").as_u64();
    let answers: Vec<_> = prompts.iter().map(|prompt| Answer::text(prompt, most)).collect();
    let prompt = prompts.iter().map(|prompt| count(prompt)).sum();
    let usage = usage(prompt, answers.iter().map(Answer::tokens).sum());
    let choice = |index: usize, text: &str, reason: Option<&str>| json!({ "text": text, "index": index, "logprobs": null, "finish_reason": reason });
    let mut reply = head(ask, "cmpl", "text_completion");
    if !ask.stream() {
        let choices = answers.iter().enumerate().map(|(index, answer)| match answer {
            Answer::Text { text, .. } => choice(index, text, Some(answer.reason())),
            Answer::Call(_) => Value::Null,
        });
        reply["choices"] = choices.collect();
        reply["usage"] = usage;
        return Ok(Reply::json(&reply));
    }
    let mut events = Vec::new();
    for (index, answer) in answers.iter().enumerate() {
        if let Answer::Text { text, .. } = answer {
            for piece in pieces(text) {
                reply["choices"] = json!([choice(index, piece, None)]);
                events.push(data(&reply));
            }
        }
        reply["choices"] = json!([choice(index, "", Some(answer.reason()))]);
        events.push(data(&reply));
    }
    if ask.get("stream_options")["include_usage"] == true {
        reply["choices"] = json!([]);
        reply["usage"] = usage;
        events.push(data(&reply));
    }
    events.push(done());
    Ok(Reply::events(events))
}

fn one_choice(ask: &Ask<'_>) -> Result<(), Refusal> {
    match ask.get("n").as_u64() {
        None | Some(1) => Ok(()),
        Some(_) => {
            Err(Refusal::of_param(Some("n"), "The echo provider makes one choice, 'n' = 1."))
        }
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
