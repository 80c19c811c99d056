//! Both halves of the chat format on recorded exchanges.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stderr, reason = "reports what was skipped and how much was read")]

#[path = "wire_recorded/exchanges.rs"]
mod exchanges;
#[path = "translation/grammar.rs"]
mod grammar;

use exchanges::Exchange;
use serde_json::{Value, json};

use keymux::provider::Kind;
use keymux::wire::api::{Format, Framing, Operation};
use keymux::wire::format::context::ResponseContext;
use keymux::wire::format::openai_chat::{
    Decoder, Encoder, decode_request, decode_whole, encode_whole,
};
use keymux::wire::format::quirks;
use keymux::wire::format::quirks::{CallIds, Quirks, ReasoningHistory};
use keymux::wire::frame::sse::Sse;
use keymux::wire::frame::{Frame, sse};
use keymux::wire::inspect::usage::Usage;
use keymux::wire::ir::{Candidate, Content, Event, Response, Stop};
use keymux::wire::translate::encode_request;

fn exchanges() -> Vec<Exchange> {
    let all = exchanges::all(true).unwrap_or_default();
    all.into_iter().filter(|exchange| exchange.operation == Operation::Chat).collect()
}

fn answers() -> impl Iterator<Item = Exchange> {
    exchanges().into_iter().filter(|exchange| exchange.status == 200)
}

fn streams() -> impl Iterator<Item = Exchange> {
    answers().filter(Exchange::is_stream)
}

fn quirks_of(exchange: &Exchange) -> &'static Quirks {
    let provider = exchange.id.split('/').next().unwrap();
    Kind::from_name(provider).map_or(&quirks::COMPATIBLE, |kind| kind.info().quirks)
}

/// Returns the events of a stream in these chunks; `ends`: it is closed in order.
fn decode<'b>(chunks: impl Iterator<Item = &'b [u8]>, ends: bool) -> Vec<Event> {
    let (mut sse, mut decoder) = (Sse::new(1 << 24), Decoder::new(&quirks::PLAIN));
    let mut events = Vec::new();
    for chunk in chunks {
        sse.push(chunk, |frame| match frame {
            sse::Frame::Event(event) => {
                let data = event.data.trim_ascii();
                decoder.frame(Frame::Event { name: event.name, data }, &mut events);
            }
            sse::Frame::Long { .. } => panic!("no recorded event is that long"),
        });
    }
    if ends {
        decoder.end(&mut events);
    }
    events
}

fn decode_answer(exchange: &Exchange) -> Vec<Event> {
    if exchange.is_stream() {
        decode(std::iter::once(exchange.body.as_slice()), true)
    } else {
        decode_whole(&exchange.body, quirks_of(exchange))
    }
}

fn has_ended(events: &[Event]) -> bool {
    events.contains(&Event::End)
}

fn has_failed(events: &[Event]) -> bool {
    matches!(events.last(), Some(Event::Fail(_)))
}

#[test]
fn recorded_answers_keep_to_the_grammar_and_end() {
    let mut read = 0;
    for exchange in answers() {
        let (id, events) = (&exchange.id, decode_answer(&exchange));
        grammar::check(&events).unwrap_or_else(|broken| panic!("{id}: {broken}"));
        let is_error = |body: Value| body.get("error").is_some();
        let failed = exchange.has("error_in_stream")
            || serde_json::from_slice(&exchange.body).is_ok_and(is_error);
        assert_eq!(has_failed(&events), failed, "{id}: {:?}", events.last());
        assert_eq!(has_ended(&events), !failed, "{id}: {:?}", events.last());
        read += 1;
    }
    eprintln!("{read} answers read");
}

#[test]
fn any_chunking_gives_the_same_events() {
    for exchange in streams() {
        let body = exchange.body.as_slice();
        let whole = decode(std::iter::once(body), true);
        for size in [1, 77] {
            assert_eq!(decode(body.chunks(size), true), whole, "{}, by {size}", exchange.id);
        }
    }
}

#[test]
fn a_stream_cut_between_two_events_has_no_end() {
    for exchange in streams() {
        let (mut sse, mut decoder) = (Sse::new(1 << 24), Decoder::new(quirks_of(&exchange)));
        let mut ends = Vec::new();
        sse.push(&exchange.body, |frame| {
            let sse::Frame::Event(event) = frame else { panic!("no event is that long") };
            let mut events = Vec::new();
            let data = event.data.trim_ascii();
            decoder.frame(Frame::Event { name: event.name, data }, &mut events);
            ends.push(has_ended(&events));
        });
        let last = ends.pop();
        assert!(last.is_some() && !ends.contains(&true), "{}", exchange.id);
    }
}

/// The answer as a simple client gathers it from the chunks.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    text: String,
    reasoning: String,
    refusal: String,
    calls: Vec<(String, String, String)>,
    finish: String,
}

fn see(body: &[u8], stream: bool) -> Vec<Seen> {
    let text = std::str::from_utf8(body).unwrap();
    let mut seen: Vec<Seen> = Vec::new();
    let values: Vec<Value> = if stream {
        let lines = text.lines().filter_map(|line| line.strip_prefix("data:"));
        lines.filter_map(|data| serde_json::from_str(data).ok()).collect()
    } else {
        vec![serde_json::from_str(text).unwrap()]
    };
    let choices = values.iter().filter_map(|value| value["choices"].as_array()).flatten();
    for choice in choices {
        let index = usize::try_from(choice["index"].as_u64().unwrap_or(0)).unwrap();
        if seen.len() <= index {
            seen.resize_with(index + 1, Seen::default);
        }
        // Perplexity writes an empty delta beside a whole message.
        let (delta, message) = (&choice["delta"], &choice["message"]);
        let read = if stream && delta.is_object() { delta } else { message };
        see_delta(&mut seen[index], read);
        if let Some(reason) = choice["finish_reason"].as_str() {
            reason.clone_into(&mut seen[index].finish);
        }
    }
    seen
}

fn see_delta(seen: &mut Seen, delta: &Value) {
    seen.text.push_str(delta["content"].as_str().unwrap_or_default());
    for part in delta["content"].as_array().into_iter().flatten() {
        seen.text.push_str(part["text"].as_str().unwrap_or_default());
        for piece in part["thinking"].as_array().into_iter().flatten() {
            seen.reasoning.push_str(piece["text"].as_str().unwrap_or_default());
        }
    }
    let reasoning = delta["reasoning_content"].as_str().or(delta["reasoning"].as_str());
    seen.reasoning.push_str(reasoning.unwrap_or_default());
    seen.refusal.push_str(delta["refusal"].as_str().unwrap_or_default());
    for call in delta["tool_calls"].as_array().into_iter().flatten() {
        let id = call["id"].as_str().unwrap_or_default();
        let function = &call["function"];
        let text = |name: &str| function[name].as_str().unwrap_or_default().to_owned();
        let begins = !id.is_empty() && seen.calls.iter().all(|known| known.0 != id);
        match seen.calls.last_mut().filter(|_| !begins) {
            Some(call) => call.2.push_str(&text("arguments")),
            None => seen.calls.push((id.to_owned(), text("name"), text("arguments"))),
        }
    }
}

fn seen_in(candidate: &Candidate) -> Seen {
    let mut seen = Seen::default();
    for block in &candidate.blocks {
        match &block.content {
            Content::Text { text, .. } => seen.text.push_str(text),
            Content::Reasoning { text } => seen.reasoning.push_str(text),
            Content::Refusal(text) => seen.refusal.push_str(text),
            Content::ToolCall { id, name, arguments } => {
                let id = id.clone().unwrap_or_default();
                seen.calls.push((id, name.clone(), arguments.clone()));
            }
            other => panic!("{other:?} in an answer"),
        }
    }
    seen.finish = candidate.raw.clone().unwrap_or_default();
    seen
}

#[test]
fn decoded_answers_equal_a_simple_reading() {
    for exchange in answers() {
        let reply = Response::fold(&decode_answer(&exchange));
        // The blocks of a failed answer may be incomplete.
        let mut plain = see(&exchange.body, exchange.is_stream());
        let read: Vec<Seen> = reply.candidates.iter().map(seen_in).collect();
        if reply.failed.is_some() {
            plain.truncate(read.len());
        }
        assert_eq!(read, plain, "{}", exchange.id);
    }
}

#[test]
fn recorded_finish_reasons_are_decoded() {
    for exchange in answers() {
        for candidate in Response::fold(&decode_answer(&exchange)).candidates {
            let called = candidate
                .blocks
                .iter()
                .any(|block| matches!(block.content, Content::ToolCall { .. }));
            let refused =
                candidate.blocks.iter().any(|block| matches!(block.content, Content::Refusal(_)));
            let expected = match candidate.raw.as_deref() {
                Some("stop" | "eos") if called => Some(Stop::Calls),
                Some("stop" | "eos") if refused => Some(Stop::Refusal),
                Some("stop" | "eos") => Some(Stop::End),
                Some("length") => Some(Stop::Length),
                Some("tool_calls") => Some(Stop::Calls),
                Some("content_filter") => Some(Stop::Filter),
                other => {
                    assert_eq!((other, candidate.stop), (None, None), "{}", exchange.id);
                    None
                }
            };
            assert_eq!(candidate.stop, expected, "{}", exchange.id);
        }
    }
}

fn context() -> ResponseContext {
    ResponseContext {
        id: "id".to_owned(),
        created: 1,
        model: "m".to_owned(),
        usage: true,
        framing: Framing::Events,
        echo: None,
    }
}

/// Returns what a caller of the same format gets of an answer.
fn comparable(reply: &Response) -> (Vec<Seen>, Vec<Option<Stop>>, Usage, bool) {
    let stops = reply.candidates.iter().map(|one| one.stop).collect();
    let seen = reply.candidates.iter().map(|one| Seen { finish: String::new(), ..seen_in(one) });
    (seen.collect(), stops, reply.usage, reply.ended)
}

#[test]
fn encoded_answers_decode_to_the_same() {
    for exchange in answers() {
        let id = &exchange.id;
        let events = decode_answer(&exchange);
        let reply = Response::fold(&events);
        if reply.failed.is_some() {
            continue;
        }
        let mut encoder = Encoder::new(context());
        let mut stream = Vec::new();
        for event in &events {
            encoder.event(event, &mut stream);
        }
        let again = decode(std::iter::once(stream.as_slice()), true);
        grammar::check(&again).unwrap_or_else(|broken| panic!("{id}: {broken}"));
        assert_eq!(comparable(&Response::fold(&again)), comparable(&reply), "{id}, as a stream");

        let whole = encode_whole(&reply, &context());
        let again = decode_whole(&whole, &quirks::PLAIN);
        grammar::check(&again).unwrap_or_else(|broken| panic!("{id}: {broken}"));
        assert_eq!(comparable(&Response::fold(&again)), comparable(&reply), "{id}, whole");

        let written = see(&stream, true);
        assert_eq!(written, see(&whole, false), "{id}: stream and whole are the same");
    }
}

#[test]
fn recorded_requests_are_decoded_and_encoded_again() {
    let mut read = 0;
    for exchange in exchanges() {
        let Some(body) = &exchange.request else { continue };
        let id = &exchange.id;
        let request = match decode_request(body) {
            Ok(request) => request,
            Err(why) => panic!("{id}: {why}"),
        };
        let written: Value = serde_json::from_slice(body).unwrap();
        let encoded =
            encode_request(Format::OpenAiChat, Format::OpenAiChat, &request, quirks_of(&exchange));
        match encoded {
            Ok(encoded) => {
                let encoded_body: Value = serde_json::from_slice(&encoded.body).unwrap();
                assert_eq!(
                    plain(&encoded_body, quirks_of(&exchange)),
                    plain(&written, quirks_of(&exchange)),
                    "{id}"
                );
            }
            Err(why) => {
                // Searches by the vendor's own servers have no translation.
                let is_search = exchange.has("server_tools") && why.at == "/web_search_options";
                // A vendor without documents refused it as well.
                let is_document = exchange.has("document") && exchange.has("error_400");
                assert!(is_search || is_document, "{id}: {why}");
            }
        }
        read += 1;
    }
    eprintln!("{read} requests read");
}

/// Returns a request in a normal form.
fn plain(body: &Value, quirks: &Quirks) -> Value {
    let messages = body["messages"].as_array().into_iter().flatten();
    let mut messages: Vec<Value> = messages.map(|message| plain_message(message, quirks)).collect();
    // System messages at the beginning are merged.
    let system = messages.iter().take_while(|message| message["role"] == "system").count();
    let parts: Vec<Value> = messages
        .drain(..system)
        .flat_map(|message| message["content"].as_array().cloned().unwrap_or_default())
        .collect();
    let tools = body["tools"].as_array().into_iter().flatten();
    let tools: Vec<Value> = tools.map(|tool| tool["function"]["name"].clone()).collect();
    let most = [&body["max_completion_tokens"], &body["max_tokens"]];
    json!({
        "model": body["model"],
        "system": parts,
        "messages": messages,
        "tools": tools,
        "tool_choice": match (&body["tool_choice"], &body["function_call"]) {
            (Value::Null, older) => older.clone(),
            (Value::String(any), _) if any == "any" => json!("required"),
            (choice, _) => choice.clone(),
        },
        "most": most.into_iter().find(|most| !most.is_null()),
        "temperature": body["temperature"],
        "top_p": body["top_p"],
        "stop": body["stop"],
        "stream": body["stream"] == json!(true),
    })
}

fn plain_message(message: &Value, quirks: &Quirks) -> Value {
    let role = match message["role"].as_str() {
        Some("developer") => "system",
        role => role.unwrap(),
    };
    let parts: Vec<Value> = match &message["content"] {
        Value::String(text) if text.is_empty() => Vec::new(),
        Value::String(text) => vec![json!({ "type": "text", "text": text })],
        Value::Array(parts) => parts.clone(),
        _ => Vec::new(),
    };
    let calls = message["tool_calls"].as_array().into_iter().flatten();
    let id = |id: &Value| match quirks.call_ids {
        CallIds::Any | CallIds::AtMost40 => id.clone(),
        // Replaced; another test checks that call and result keep the same.
        CallIds::NineAlphanumerics => Value::Null,
    };
    let calls: Vec<Value> =
        calls.map(|call| json!({ "id": id(&call["id"]), "function": call["function"] })).collect();
    let reasoning = match quirks.reasoning {
        ReasoningHistory::Member(name) | ReasoningHistory::RequiredMember(name) => {
            message[name].clone()
        }
        _ => Value::Null,
    };
    json!({
        "role": role,
        "content": parts,
        "tool_calls": calls,
        "tool_call_id": id(&message["tool_call_id"]),
        "reasoning": if reasoning == json!("") { Value::Null } else { reasoning },
    })
}
