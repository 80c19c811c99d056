//! Bedrock's Converse in both directions, with recorded exchanges and with requests of callers.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]
#![allow(clippy::print_stderr, reason = "reports how many cases were read")]

#[path = "translation/answers.rs"]
mod answers;
#[path = "wire_recorded/exchanges.rs"]
mod exchanges;
#[path = "translation/grammar.rs"]
#[allow(unreachable_pub, reason = "several tests include the module")]
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

fn context() -> ResponseContext {
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
    let (mut encoder, mut out) = (Encoder::new(Format::Bedrock, context()).unwrap(), Vec::new());
    for event in all {
        encoder.event(event, &mut out);
    }
    out
}

/// Decodes a stream as a caller does, event by event.
fn read(bytes: &[u8]) -> Vec<(String, Value)> {
    let mut read = Vec::new();
    keymux::wire::frame::aws_event_stream::FrameDecoder::new(1 << 20).push(bytes, |frame| {
        use keymux::wire::frame::aws_event_stream::Frame;
        read.push(match frame {
            Frame::Event { kind, payload } | Frame::Exception { kind, payload } => {
                (kind.to_owned(), serde_json::from_slice(payload).unwrap())
            }
            frame => panic!("{frame:?}"),
        });
    });
    read
}

#[test]
fn recorded_answers_follow_the_grammar_and_survive_a_round_trip() {
    let mut count = 0;
    for exchange in recorded().into_iter().filter(|one| one.status < 300) {
        let id = &exchange.id;
        let events_of = hold(Format::Bedrock, &exchange);
        let response = Response::fold(&events_of);
        assert!(response.ended && response.candidates.len() == 1, "{id}");

        let body = encode_whole(Format::Bedrock, &response, &context()).unwrap();
        let again = Response::fold(&decode_whole(Format::Bedrock, &body, &PLAIN));
        assert_eq!(again, response, "{id}");

        let bytes = stream(&events_of);
        let kept = frames(Framing::Aws, &bytes, bytes.len());
        let again = Response::fold(&events(Format::Bedrock, &kept, true));
        assert_eq!(without_spaces(&again), without_spaces(&response), "{id}");
        count += 1;
    }
    eprintln!("{count} answers");
}

/// Removes spaces from arguments: a stream writes those of server tools again.
fn without_spaces(response: &Response) -> Response {
    let mut response = response.clone();
    for block in response.candidates.iter_mut().flat_map(|candidate| &mut candidate.blocks) {
        if let Content::ToolCall { arguments, .. } = &mut block.content {
            let value: Value = serde_json::from_str(arguments).unwrap();
            *arguments = value.to_string();
        }
    }
    response
}

#[test]
fn recorded_answers_are_decoded() {
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

    // The provider's own tool, then the caller's.
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
        let [Event::Fail(error)] = &*events else { panic!("{}: {events:?}", exchange.id) };
        assert!(error.message.len() > 20, "{}: {}", exchange.id, error.message);
    }
}

#[test]
fn exceptions_of_a_stream_keep_class_status_and_message() {
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
        let [Event::Fail(error)] = &*out else { panic!("{out:?}") };
        assert_eq!(
            (error.failure.class, error.status, &*error.message),
            (class, Some(status), "no more")
        );
        // The caller gets the same exception.
        assert_eq!(read(&stream(&out)), [(kind.to_owned(), json!({ "message": "no more" }))]);
    }
}

#[test]
fn recorded_requests_survive_a_round_trip() {
    let mut count = 0;
    for exchange in recorded() {
        let Some(body) = &exchange.request else { continue };
        let id = &exchange.id;
        let request = decode(body);
        assert!(request.unknown.is_empty(), "{id}: {:?}", request.unknown);
        // Guardrails are refused in a translation.
        let mut sent = request.clone();
        sent.asked.clear();
        sent.model = model_of(id).to_owned();
        let encoded = encode(&sent).unwrap_or_else(|error| panic!("{id}: {error}"));
        let again = decode(&encoded.body);
        assert_eq!(without_asked(again), without_asked(request), "{id}");
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

fn without_asked(mut request: Request) -> Request {
    request.asked.clear();
    request
}

fn decode(body: &[u8]) -> Request {
    decode_request(Format::Bedrock, body, "m", true).unwrap()
}

fn encode(request: &Request) -> Result<Encoded, Rejected> {
    encode_request(Format::Bedrock, Format::OpenAiChat, request, &PLAIN)
}

fn encoded(request: &Request) -> Value {
    serde_json::from_slice(&encode(request).unwrap().body).unwrap()
}

fn turn(role: Role, content: Vec<Content>) -> Turn {
    let blocks = (0..).zip(content);
    let blocks = blocks.map(|(n, content)| Block::new(content, format!("/m/{n}"))).collect();
    Turn { role, name: None, blocks }
}

fn request_to(model: &str, turns: Vec<Turn>) -> Request {
    Request { model: model.to_owned(), turns, ..Request::default() }
}

fn call(id: Option<&str>, name: &str) -> Content {
    let (id, name) = (id.map(str::to_owned), name.to_owned());
    Content::ToolCall { id, name, arguments: "{\"a\": 1}".to_owned() }
}

fn result(id: &str, text: &str) -> Content {
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
fn roles_alternate_and_results_come_first() {
    let mut request = request_to(
        CLAUDE,
        vec![
            turn(Role::User, vec![Content::text("one"), Content::text(" ")]),
            turn(Role::User, vec![Content::text("two")]),
            turn(Role::Assistant, vec![Content::text("")]),
            turn(Role::Assistant, vec![call(Some("a|1"), "f"), call(None, "g")]),
            turn(Role::User, vec![Content::text("and"), result("", "G"), result("a|1", "A")]),
        ],
    );
    request.tools = vec![tool("f"), tool("g")];
    let body = encoded(&request);
    let messages = body["messages"].as_array().unwrap();
    assert_eq!(messages.len(), 3);
    assert_eq!(messages[0]["content"], json!([{ "text": "one" }, { "text": "two" }]));
    assert_eq!(messages[1]["content"][0]["toolUse"]["toolUseId"], "a_7c1");
    assert_eq!(messages[1]["content"][0]["toolUse"]["input"], json!({ "a": 1 }));
    assert_eq!(messages[1]["content"][1]["toolUse"]["toolUseId"], "call_0");
    assert_eq!(messages[2]["content"][0]["toolResult"]["toolUseId"], "call_0");
    assert_eq!(messages[2]["content"][1]["toolResult"]["toolUseId"], "a_7c1");
    assert_eq!(messages[2]["content"][2], json!({ "text": "and" }));
}

#[test]
fn the_user_begins_the_conversation() {
    let user = |text: &str| json!({ "role": "user", "content": [{ "text": text }] });
    for model in [CLAUDE, NOVA] {
        let greeting = turn(Role::Assistant, vec![Content::text("hello")]);
        let question = turn(Role::User, vec![Content::text("hi")]);
        let body = encoded(&request_to(model, vec![greeting, question]));
        assert_eq!(body["messages"][0], user("."));
        assert_eq!(body["messages"][2], user("hi"));

        let mut instructed = request_to(model, Vec::new());
        instructed.system = vec![Block::new(Content::text("be brief"), "/s")];
        let body = encoded(&instructed);
        assert_eq!((&body["messages"], body.get("system")), (&json!([user("be brief")]), None));

        let blank = turn(Role::User, vec![Content::text(" \n")]);
        let error = encode(&request_to(model, vec![blank])).unwrap_err();
        assert_eq!(error.to_string(), "The body must contain a message that is not blank.");
    }
}

/// Bedrock refuses a conversation with calls in a request without tools.
#[test]
fn tools_are_made_from_the_calls_of_the_conversation() {
    let hi = || turn(Role::User, vec![Content::text("hi")]);
    let calls = turn(Role::Assistant, vec![call(Some("a"), "f"), call(Some("b"), "f")]);
    let results = turn(Role::User, vec![result("a", "A"), result("b", "B")]);
    let mut history = request_to(NOVA, vec![hi(), calls, results]);
    let tools = |request: &Request| encoded(request)["toolConfig"]["tools"].clone();
    let names = |tools: Value| -> Vec<String> {
        let all = tools.as_array().cloned().unwrap_or_default();
        all.iter().map(|tool| tool["toolSpec"]["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(tools(&history)), ["f"]);
    let schema = json!({ "json": { "type": "object", "properties": {} } });
    assert_eq!(tools(&history)[0]["toolSpec"]["inputSchema"], schema);

    // The format has no word for "call no tool".
    history.tools = vec![tool("f"), tool("g")];
    history.choice = Some(Choice::None);
    assert_eq!(names(tools(&history)), ["f"]);
    assert_eq!(encode(&history).unwrap().dropped, ["/tool_choice"]);
    history.turns = vec![hi()];
    assert!(encoded(&history).get("toolConfig").is_none());
    assert!(encode(&history).unwrap().dropped.is_empty());
}

#[test]
fn what_the_format_does_not_support_is_refused_with_its_place() {
    let refused = |request: &Request| encode(request).unwrap_err().to_string();
    let hi = || turn(Role::User, vec![Content::text("hi")]);

    let mut request = request_to(NOVA, vec![hi()]);
    request.tools = vec![tool("a.b")];
    let expected = "`/tools/0` must have a name of 1 to 64 letters, digits, `_`, `-`.";
    assert_eq!(refused(&request), expected);

    let called = turn(Role::Assistant, vec![call(None, "a.b")]);
    let expected = "`/m/0` must have a tool name of 1 to 64 letters, digits, `_`, `-`.";
    assert_eq!(refused(&request_to(NOVA, vec![hi(), called])), expected);

    let mut request = request_to(NOVA, vec![hi()]);
    request.candidates = Some(2);
    let expected =
        "`/n` uses multiple candidates, which the Bedrock Converse format does not support.";
    assert_eq!(refused(&request), expected);

    let prefill = turn(Role::Assistant, vec![Content::text("One,")]);
    assert!(encode(&request_to(CLAUDE, vec![hi(), prefill.clone()])).is_ok());
    let opus = "us.anthropic.claude-opus-4-6-v1";
    assert!(refused(&request_to(opus, vec![hi(), prefill])).starts_with("`/m/0` "));
}

#[test]
fn token_limits_are_at_most_those_of_the_model() {
    for (model, expected, dropped) in [
        (NOVA, 10_000, 1),
        ("us.amazon.nova-2-lite-v1:0", 65_535, 1),
        ("anthropic.claude-3-haiku-20240307-v1:0", 4096, 0),
        ("qwen.qwen3-32b-v1:0", 99_000, 0),
    ] {
        let mut request = request_to(model, vec![turn(Role::User, vec![Content::text("hi")])]);
        request.max_tokens = Some(99_000);
        assert_eq!(encoded(&request)["inferenceConfig"]["maxTokens"], expected, "{model}");
        assert_eq!(encode(&request).unwrap().dropped.len(), dropped, "{model}");
    }
}

#[test]
fn schemas_are_native_or_a_forced_tool() {
    let closed = json!({ "type": "object", "additionalProperties": false, "properties": {} });
    let mut request = request_to(CLAUDE, vec![turn(Role::User, vec![Content::text("hi")])]);
    request.form = Some(Form::Schema {
        name: Some("city".to_owned()),
        description: None,
        schema: closed.clone(),
        strict: None,
    });
    let format = &encoded(&request)["outputConfig"]["textFormat"]["structure"]["jsonSchema"];
    assert_eq!(serde_json::from_str::<Value>(format["schema"].as_str().unwrap()).unwrap(), closed);

    NOVA.clone_into(&mut request.model);
    let encoded = encode(&request).unwrap();
    assert_eq!(encoded.forced.as_deref(), Some("city"));
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(body["toolConfig"]["toolChoice"], json!({ "tool": { "name": "city" } }));

    // Beside the caller's tools the model may still call one of those.
    request.tools = vec![tool("city")];
    let encoded = encode(&request).unwrap();
    assert_eq!(encoded.forced.as_deref(), Some("city_"));
    let body: Value = serde_json::from_slice(&encoded.body).unwrap();
    assert_eq!(body["toolConfig"]["toolChoice"], json!({ "any": {} }));
}

#[test]
fn each_family_has_its_own_reasoning_fields() {
    let thinking = |effort, budget| Some(Thinking { effort, budget, shown: None });
    let extra = |model: &str, thinking, max_tokens| {
        let mut request = request_to(model, vec![turn(Role::User, vec![Content::text("hi")])]);
        (request.thinking, request.max_tokens) = (thinking, max_tokens);
        let body = encoded(&request);
        (body["additionalModelRequestFields"].clone(), body["outputConfig"]["effort"].clone())
    };
    let low = || thinking(Some(Effort::Low), None);
    let budget = |n: u64| json!({ "thinking": { "type": "enabled", "budget_tokens": n } });
    assert_eq!(extra(CLAUDE, low(), None).0, budget(1024));
    assert_eq!(extra(CLAUDE, thinking(None, Some(9000)), Some(5000)).0, budget(2500));
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
fn requests_are_decoded_with_cache_points_signatures_and_places() {
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
    let Content::ToolResult(result) = &request.turns[2].blocks[0].content else { panic!() };
    assert!(result.is_error && result.content[0].content == Content::text("[1]"));
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
fn blocks_are_written_one_after_another() {
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
    let written = read(&stream(&all));
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
    assert_eq!(written, expected);
}

#[test]
fn a_failure_ends_the_stream() {
    let error = ProviderError {
        failure: Failure { class: Class::Throttled, retry_after: None },
        status: Some(429),
        kind: None,
        code: None,
        param: None,
        message: "slow down".to_owned(),
    };
    let written = read(&stream(&[Event::Fail(error)]));
    assert_eq!(written, [("throttlingException".to_owned(), json!({ "message": "slow down" }))]);
}

#[test]
fn a_count_that_is_missing_beside_another_is_zero() {
    let usage = Usage { input: Some(3), ..Usage::default() };
    let all =
        [Event::Start { id: None, model: None, created: None }, Event::Usage(usage), Event::End];
    let expected = json!({ "inputTokens": 3, "outputTokens": 0, "totalTokens": 3 });
    assert_eq!(read(&stream(&all))[1].1["usage"], expected);
    let whole = encode_whole(Format::Bedrock, &Response::fold(&all), &context()).unwrap();
    assert_eq!(serde_json::from_slice::<Value>(&whole).unwrap()["usage"], expected);
}

#[test]
fn an_answer_with_calls_stops_for_them_and_has_objects_as_input() {
    let all = [
        Event::Start { id: None, model: None, created: None },
        opened(0, None, "f"),
        more(0, "null"),
        Event::Close { block: 0 },
        Event::Stop { candidate: 0, why: Stop::End, raw: Some("stop".to_owned()), sequence: None },
        Event::End,
    ];
    let whole = encode_whole(Format::Bedrock, &Response::fold(&all), &context()).unwrap();
    let whole: Value = serde_json::from_slice(&whole).unwrap();
    assert_eq!(whole["stopReason"], "tool_use");
    let call = json!({ "toolUse": { "toolUseId": "call_r1_0", "name": "f", "input": {} } });
    assert_eq!(whole["output"]["message"]["content"], json!([call]));
}
