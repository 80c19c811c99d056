//! Bedrock's Converse, both ways, over what was recorded and over what callers write.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stderr, reason = "says what was skipped and how much was read")]

#[path = "translation/answers.rs"]
mod answers;
#[path = "wire_recorded/exchanges.rs"]
mod exchanges;
#[path = "translation/grammar.rs"]
#[allow(unreachable_pub, reason = "the module is read by several tests")]
mod grammar;

use std::collections::BTreeMap;

use answers::{calls, events, frames, hold, more, opened, text};
use exchanges::Exchange;
use serde_json::{Value, json};

use keymux::wire::api::{Format, Framing, Operation};
use keymux::wire::failure::ProviderError;
use keymux::wire::failure::class::{Class, Failure};
use keymux::wire::format::context::ResponseContext;
use keymux::wire::format::quirks::PLAIN;
use keymux::wire::inspect::usage::Usage;
use keymux::wire::ir::{
    Block, Choice, Content, Effort, Event, Form, Kind, Piece, Request, Response, Role, Signature,
    Stop, Thinking, Tool, ToolResult, Turn,
};
use keymux::wire::json::fields::Rejected;
use keymux::wire::translate::{
    Encoded, Encoder, decode_request, decode_whole, encode_request, encode_whole,
};

fn recorded() -> Vec<Exchange> {
    let all = exchanges::all(false).unwrap_or_default().into_iter();
    all.filter(|one| matches!(one.operation, Operation::Converse | Operation::ConverseStream))
        .collect()
}

fn shown() -> ResponseContext {
    ResponseContext {
        id: "r1".to_owned(),
        created: 1,
        model: "m".to_owned(),
        usage: true,
        framing: Framing::Aws,
        echo: None,
    }
}

fn stream(all: &[Event]) -> Vec<u8> {
    let (mut encoder, mut out) = (Encoder::new(Format::Bedrock, shown()).unwrap(), Vec::new());
    for event in all {
        encoder.event(event, &mut out);
    }
    out
}

/// What a caller reads of a stream, event by event.
fn read(bytes: &[u8]) -> Vec<(String, Value)> {
    let mut heard = Vec::new();
    keymux::wire::frame::aws_event_stream::Frames::new(1 << 20).push(bytes, |frame| {
        use keymux::wire::frame::aws_event_stream::Frame;
        heard.push(match frame {
            Frame::Event { kind, payload } | Frame::Exception { kind, payload } => {
                (kind.to_owned(), serde_json::from_slice(payload).unwrap())
            }
            frame => panic!("{frame:?}"),
        });
    });
    heard
}

#[test]
fn recorded_answers_keep_the_grammar_and_come_back_the_same() {
    let mut count = 0;
    for exchange in recorded().into_iter().filter(|one| one.status < 300) {
        let id = &exchange.id;
        let events_of = hold(Format::Bedrock, &exchange);
        let reply = Response::fold(&events_of);
        assert!(reply.ended && reply.candidates.len() == 1, "{id}");

        let body = encode_whole(Format::Bedrock, &reply, &shown()).unwrap();
        let again = Response::fold(&decode_whole(Format::Bedrock, &body, &PLAIN));
        assert_eq!(again, spaceless(&reply), "{id}");

        let bytes = stream(&events_of);
        let kept = frames(Framing::Aws, &bytes, bytes.len());
        let again = Response::fold(&events(Format::Bedrock, &kept, true));
        assert_eq!(spaceless(&again), spaceless(&reply), "{id}");
        count += 1;
    }
    eprintln!("{count} answers");
}

/// Arguments without the spaces that a whole answer's JSON may have.
fn spaceless(reply: &Response) -> Response {
    let mut reply = reply.clone();
    for block in reply.candidates.iter_mut().flat_map(|own| &mut own.blocks) {
        if let Content::ToolCall { arguments, .. } = &mut block.content {
            let value: Value = serde_json::from_str(arguments).unwrap();
            *arguments = value.to_string();
        }
    }
    reply
}

#[test]
fn recorded_answers_say_what_they_say() {
    let all: BTreeMap<String, Response> = recorded()
        .into_iter()
        .filter(|one| one.status < 300)
        .map(|one| (one.id.clone(), Response::fold(&hold(Format::Bedrock, &one))))
        .collect();
    if all.is_empty() {
        return;
    }
    let of = |part: &str| all.iter().find(|(id, _)| id.contains(part)).unwrap().1;
    let calls_of = |part| calls(of(part));

    let city = |name: &str| format!("{{\"location\":\"{name}\"}}");
    let weather = "get_current_weather".to_owned();
    assert_eq!(
        calls_of("nova-micro-v1-0-4758f3"),
        [(weather.clone(), city("Seattle")), (weather, city("San Francisco"))]
    );
    assert_eq!(of("nova-micro-v1-0-4758f3").candidates[0].stop, Some(Stop::Calls));

    let cached = of("unary-tool-call-cache").usage;
    let expected = Usage {
        input: Some(22 + 2492),
        cached_input: Some(0),
        cache_write: Some(2492),
        output: Some(13),
        reasoning: None,
    };
    assert_eq!(cached, expected);

    let guarded = of("stream-content-filter");
    assert_eq!(guarded.candidates[0].stop, Some(Stop::Filter));
    assert_eq!(guarded.candidates[0].raw.as_deref(), Some("guardrail_intervened"));

    let cited = of("stream-document");
    assert_eq!(text(cited), "Ruby was created by Yukihiro Matsumoto in 1993.");
    let Content::Text { citations, .. } = &cited.candidates[0].blocks[0].content else { panic!() };
    assert_eq!(citations[0]["location"]["documentChar"]["end"], 73);

    // The provider's own tool, and the caller's behind it.
    for part in ["unary-parallel-tools", "stream-parallel-tools-tool-call-us-amazon-nova-2"] {
        let blocks = &of(part).candidates[0].blocks;
        let Content::Foreign { json, .. } = &blocks[0].content else { panic!() };
        assert_eq!(json["toolUse"]["name"], "nova_code_interpreter");
        assert!(json["toolUse"]["input"]["snippet"].is_string());
        let Content::Foreign { json, .. } = &blocks[1].content else { panic!() };
        assert_eq!(json["toolResult"]["content"][0]["json"]["exitCode"], 0);
        assert_eq!(calls_of(part)[0].0, "final_result");
    }
    let Content::Reasoning { text } = &of("unary-reasoning").candidates[0].blocks[0].content else {
        panic!()
    };
    assert!(text.starts_with("The user says"));
}

#[test]
fn recorded_errors_fail() {
    for exchange in recorded().into_iter().filter(|one| one.status >= 400) {
        let events = decode_whole(Format::Bedrock, &exchange.body, &PLAIN);
        let [Event::Fail(told)] = &*events else { panic!("{}: {events:?}", exchange.id) };
        assert!(told.message.len() > 20, "{}: {}", exchange.id, told.message);
    }
}

#[test]
fn exceptions_within_a_stream_keep_class_status_and_words() {
    for (kind, class, status) in [
        ("throttlingException", Class::Throttled, 429),
        ("validationException", Class::Caller, 400),
        ("internalServerException", Class::Trouble, 500),
        ("modelStreamErrorException", Class::Trouble, 424),
        ("serviceUnavailableException", Class::Trouble, 503),
    ] {
        let bytes = keymux::wire::frame::aws_event_stream::exception(kind, "no more");
        let kept = frames(Framing::Aws, &bytes, 1000);
        let out = events(Format::Bedrock, &kept, false);
        let [Event::Fail(told)] = &*out else { panic!("{out:?}") };
        assert_eq!(
            (told.failure.class, told.status, &*told.message),
            (class, Some(status), "no more")
        );
        // And the same exception comes out at the other side.
        assert_eq!(read(&stream(&out)), [(kind.to_owned(), json!({ "message": "no more" }))]);
    }
}

#[test]
fn recorded_requests_mean_the_same_when_said_again() {
    let mut count = 0;
    for exchange in recorded() {
        let Some(body) = &exchange.request else { continue };
        let id = &exchange.id;
        let request = decode(body);
        assert!(request.unknown.is_empty(), "{id}: {:?}", request.unknown);
        // Guardrails are said by those alone who stay with their format.
        let mut spoken = request.clone();
        spoken.asked.clear();
        spoken.model = model_of(id).to_owned();
        let encoded = encode(&spoken).unwrap_or_else(|error| panic!("{id}: {error}"));
        let again = decode(&encoded.body);
        assert_eq!(plain(again), plain(request), "{id}");
        count += 1;
    }
    eprintln!("{count} requests");
}

fn model_of(id: &str) -> &'static str {
    if id.contains("anthropic") {
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
    } else if id.contains("gpt-oss") {
        "openai.gpt-oss-120b-1:0"
    } else {
        "us.amazon.nova-lite-v1:0"
    }
}

/// Without what is said in another way that means the same: sides of several messages are one.
fn plain(mut request: Request) -> Request {
    request.asked.clear();
    request
}

fn decode(body: &[u8]) -> Request {
    decode_request(Format::Bedrock, body, "m", true).unwrap()
}

fn encode(request: &Request) -> Result<Encoded, Rejected> {
    encode_request(Format::Bedrock, Format::OpenAiChat, request, &PLAIN)
}

fn said(request: &Request) -> Value {
    serde_json::from_slice(&encode(request).unwrap().body).unwrap()
}

fn turn(role: Role, content: Vec<Content>) -> Turn {
    let blocks = (0..).zip(content);
    let blocks = blocks.map(|(n, content)| Block::new(content, format!("/m/{n}"))).collect();
    Turn { role, name: None, blocks }
}

fn asking(model: &str, turns: Vec<Turn>) -> Request {
    Request { model: model.to_owned(), turns, ..Request::default() }
}

fn call(id: Option<&str>, name: &str) -> Content {
    let (id, name) = (id.map(str::to_owned), name.to_owned());
    Content::ToolCall { id, name, arguments: "{\"a\": 1}".to_owned() }
}

fn outcome(id: &str, text: &str) -> Content {
    let content = vec![Block::new(Content::text(text), "/o")];
    Content::ToolResult(ToolResult { id: id.to_owned(), name: None, content, is_error: false })
}

fn tool(name: &str) -> Tool {
    Tool::Function {
        name: name.to_owned(),
        description: None,
        parameters: None,
        strict: None,
        cache: None,
        at: "/tools/0".to_owned(),
    }
}

const CLAUDE: &str = "anthropic.claude-sonnet-4-5-20250929-v1:0";
const NOVA: &str = "amazon.nova-lite-v1:0";

#[test]
fn sides_alternate_and_outcomes_come_first() {
    let mut request = asking(
        CLAUDE,
        vec![
            turn(Role::User, vec![Content::text("one"), Content::text(" ")]),
            turn(Role::User, vec![Content::text("two")]),
            turn(Role::Assistant, vec![Content::text("")]),
            turn(Role::Assistant, vec![call(Some("a|1"), "f"), call(None, "g")]),
            turn(Role::User, vec![Content::text("and"), outcome("", "G"), outcome("a|1", "A")]),
        ],
    );
    request.tools = vec![tool("f"), tool("g")];
    let body = said(&request);
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[0]["content"], json!([{ "text": "one" }, { "text": "two" }]));
    let made = messages[1]["content"][0]["toolUse"]["toolUseId"].as_str().unwrap();
    assert_eq!(messages[1]["content"][0]["toolUse"]["input"], json!({ "a": 1 }));
    assert_eq!(messages[1]["content"][1]["toolUse"]["toolUseId"], "call_1");
    assert!(made.starts_with("a_1_"));
    assert_eq!(messages[2]["content"][0]["toolResult"]["toolUseId"], "call_1");
    assert_eq!(messages[2]["content"][1]["toolResult"]["toolUseId"], made);
    assert_eq!(messages[2]["content"][2], json!({ "text": "and" }));
}

#[test]
fn what_cannot_be_said_is_refused_with_its_place() {
    let refused = |request: &Request| encode(request).unwrap_err().at;
    let hi = || turn(Role::User, vec![Content::text("hi")]);

    let history = vec![hi(), turn(Role::Assistant, vec![call(Some("a"), "f")])];
    assert_eq!(refused(&asking(NOVA, history.clone())), "/m/0");

    let mut none = asking(NOVA, history);
    none.tools = vec![tool("f")];
    none.choice = Some(Choice::None);
    assert!(encode(&none).is_err());
    // Where nothing was called yet, tools are left out instead.
    none.turns = vec![hi()];
    assert!(said(&none).get("toolConfig").is_none());

    let mut odd = asking(NOVA, vec![hi()]);
    odd.tools = vec![tool("a.b")];
    assert_eq!(refused(&odd), "/tools/0");

    let mut many = asking(NOVA, vec![hi()]);
    many.candidates = Some(2);
    assert!(encode(&many).is_err());
}

#[test]
fn schemas_are_the_formats_own_or_a_forced_tool() {
    let closed = json!({ "type": "object", "additionalProperties": false, "properties": {} });
    let mut request = asking(CLAUDE, vec![turn(Role::User, vec![Content::text("hi")])]);
    request.form = Some(Form::Schema {
        name: Some("city".to_owned()),
        description: None,
        schema: closed.clone(),
        strict: None,
    });
    let own = &said(&request)["outputConfig"]["textFormat"]["structure"]["jsonSchema"];
    assert_eq!(serde_json::from_str::<Value>(own["schema"].as_str().unwrap()).unwrap(), closed);

    NOVA.clone_into(&mut request.model);
    let encoded = encode(&request).unwrap();
    assert_eq!(encoded.forced.as_deref(), Some("city"));
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(body["toolConfig"]["toolChoice"], json!({ "tool": { "name": "city" } }));

    // Beside tools the model may still call one of them.
    request.tools = vec![tool("city")];
    let encoded = encode(&request).unwrap();
    assert_eq!(encoded.forced.as_deref(), Some("city_"));
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(body["toolConfig"]["toolChoice"], json!({ "any": {} }));
}

#[test]
fn each_model_thinks_in_its_own_words() {
    let thinking = |effort, budget| Some(Thinking { effort, budget, shown: None });
    let extra = |model: &str, thinking, max_tokens| {
        let mut request = asking(model, vec![turn(Role::User, vec![Content::text("hi")])]);
        (request.thinking, request.max_tokens) = (thinking, max_tokens);
        let body = said(&request);
        (body["additionalModelRequestFields"].clone(), body["outputConfig"]["effort"].clone())
    };
    let low = || thinking(Some(Effort::Low), None);
    let budget = |n: u64| json!({ "thinking": { "type": "enabled", "budget_tokens": n } });
    assert_eq!(extra(CLAUDE, low(), None).0, budget(1024));
    assert_eq!(extra(CLAUDE, thinking(None, Some(9000)), Some(5000)).0, budget(4999));
    assert_eq!(extra(CLAUDE, low(), Some(500)).0, Value::Null);
    let adaptive = json!({ "thinking": { "type": "adaptive" } });
    let opus = "us.anthropic.claude-opus-4-7-v1";
    assert_eq!(extra(opus, low(), None), (adaptive, json!("low")));
    let nova = json!({ "reasoningConfig": { "type": "enabled", "maxReasoningEffort": "low" } });
    assert_eq!(extra("us.amazon.nova-2-lite-v1:0", low(), None).0, nova);
    assert_eq!(
        extra("openai.gpt-oss-20b-1:0", low(), None).0,
        json!({ "reasoning_effort": "low" })
    );
    assert_eq!(extra(NOVA, low(), None).0, Value::Null);
}

#[test]
fn a_callers_body_is_read_with_marks_seals_and_places() {
    let body = json!({
        "system": [{ "text": "s" }, { "cachePoint": { "type": "default", "ttl": "1h" } }],
        "messages": [
            { "role": "user", "content": [
                { "image": { "format": "jpeg", "source": { "bytes": "AAAA" } } },
                { "cachePoint": { "type": "default" } },
                { "guardContent": { "text": { "text": "x" } } },
            ]},
            { "role": "assistant", "content": [
                { "reasoningContent": { "reasoningText": { "text": "t", "signature": "gemini:c2ln" } } },
                { "reasoningContent": { "redactedContent": "eA==" } },
                { "toolUse": { "toolUseId": "a", "name": "f", "input": { "b": 1.0 } } },
            ]},
            { "role": "user", "content": [
                { "toolResult": { "toolUseId": "a", "status": "error", "content": [{ "json": [1] }] } },
            ]},
        ],
        "additionalModelRequestFields": {
            "top_k": 5, "thinking": { "type": "enabled", "budget_tokens": 2000 }, "anthropic_beta": ["b"],
        },
        "performanceConfig": { "latency": "optimized" },
        "novel": 1,
    });
    let request = decode(body.to_string().as_bytes());
    assert_eq!(request.system[0].cache.as_ref().unwrap().ttl.as_deref(), Some("1h"));
    assert!(request.turns[0].blocks[0].cache.is_some());
    let signatures: Vec<_> =
        request.turns[1].blocks.iter().map(|block| block.signature.clone()).collect();
    let signature =
        |format, data: &str| Some(Signature { format, data: data.to_owned(), id: None });
    assert_eq!(
        signatures[..2],
        [signature(Format::Gemini, "c2ln"), signature(Format::Bedrock, "redacted:eA==")]
    );
    let Content::ToolResult(outcome) = &request.turns[2].blocks[0].content else { panic!() };
    assert!(outcome.is_error && outcome.content[0].content == Content::text("[1]"));
    assert_eq!(request.turns[2].blocks[0].at, "/messages/2/content/0");
    assert_eq!(request.thinking.unwrap().budget, Some(2000));
    assert_eq!(request.unknown, ["novel"]);
    let asked: Vec<_> = request.asked.iter().map(|(_, at)| at.as_str()).collect();
    let expected = [
        "/messages/0/content/2/guardContent",
        "/additionalModelRequestFields/anthropic_beta",
        "/performanceConfig",
    ];
    assert_eq!(asked, expected);

    let wrong = br#"{"messages":[{"role":"user","content":[{"text":1}]}]}"#;
    let error = decode_request(Format::Bedrock, wrong, "m", true).unwrap_err();
    assert_eq!(error.at, "/messages/0/content/0/text");
}

#[test]
fn blocks_are_told_one_after_the_other() {
    let all = [
        Event::Start { id: None, model: None, created: None },
        Event::Open { block: 0, candidate: 0, kind: Kind::Reasoning },
        more(0, "hm"),
        opened(1, Some("a"), "f"),
        opened(2, None, "g"),
        more(2, "{\"x\":"),
        more(1, "{}"),
        Event::Delta {
            block: 0,
            piece: Piece::Signature(Signature {
                format: Format::Gemini,
                data: "s".to_owned(),
                id: None,
            }),
        },
        Event::Close { block: 0 },
        more(2, "1}"),
        Event::Close { block: 1 },
        Event::Close { block: 2 },
        Event::Stop { candidate: 0, why: Stop::Calls, raw: None, sequence: None },
        Event::Usage(Usage {
            input: Some(30),
            cached_input: Some(20),
            output: Some(5),
            ..Usage::default()
        }),
        Event::End,
    ];
    grammar::check(&all).unwrap();
    let heard = read(&stream(&all));
    let delta = |index: u32, delta: Value| {
        ("contentBlockDelta".to_owned(), json!({ "contentBlockIndex": index, "delta": delta }))
    };
    let stop = |index: u32| ("contentBlockStop".to_owned(), json!({ "contentBlockIndex": index }));
    let start = |index: u32, id: &str, name: &str| {
        let start = json!({ "toolUse": { "toolUseId": id, "name": name } });
        ("contentBlockStart".to_owned(), json!({ "start": start, "contentBlockIndex": index }))
    };
    let usage = json!({
        "inputTokens": 10, "outputTokens": 5, "totalTokens": 35, "cacheReadInputTokens": 20,
    });
    let expected = [
        ("messageStart".to_owned(), json!({ "role": "assistant" })),
        delta(0, json!({ "reasoningContent": { "text": "hm" } })),
        delta(0, json!({ "reasoningContent": { "signature": "gemini:s" } })),
        stop(0),
        start(1, "a", "f"),
        delta(1, json!({ "toolUse": { "input": "{}" } })),
        stop(1),
        start(2, "call_r1_1", "g"),
        delta(2, json!({ "toolUse": { "input": "{\"x\":" } })),
        delta(2, json!({ "toolUse": { "input": "1}" } })),
        stop(2),
        ("messageStop".to_owned(), json!({ "stopReason": "tool_use" })),
        ("metadata".to_owned(), json!({ "usage": usage })),
    ];
    assert_eq!(heard, expected);
}

#[test]
fn a_failure_is_the_last_word() {
    let told = ProviderError {
        failure: Failure { class: Class::Throttled, retry_after: None },
        status: Some(429),
        kind: None,
        code: None,
        param: None,
        message: "slow down".to_owned(),
    };
    let heard = read(&stream(&[Event::Fail(told)]));
    assert_eq!(heard, [("throttlingException".to_owned(), json!({ "message": "slow down" }))]);
}
