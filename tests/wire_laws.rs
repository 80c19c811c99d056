//! What holds for any input of the wire room.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;

use keymux::wire::api::{Api, Framing, Operation};
use keymux::wire::failure::classify::classify;
use keymux::wire::frame::aws_event_stream::exception;
use keymux::wire::frame::sse::{Frame, Sse};
use keymux::wire::inspect::model::peek;
use keymux::wire::inspect::multipart;
use keymux::wire::inspect::observer::ResponseObserver;

/// A JSON value as somebody might write it: any spacing, escapes where none are needed.
fn written() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i32>().prop_map(|number| number.to_string()),
        any::<f32>()
            .prop_filter("JSON has finite numbers", |n| n.is_finite())
            .prop_map(|n| format!("{n:e}")),
        string(),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec((blank(), inner.clone()), 0..5).prop_map(|items| {
                let items: Vec<_> = items.into_iter().map(|(blank, item)| blank + &item).collect();
                format!("[{}]", items.join(","))
            }),
            vec((string(), blank(), inner), 0..5).prop_map(|members| object(&members)),
        ]
    })
}

fn object(members: &[(String, String, String)]) -> String {
    let members: Vec<_> = members
        .iter()
        .map(|(key, blank, value)| format!("{blank}{key}{blank}:{blank}{value}{blank}"))
        .collect();
    format!("{{{}}}", members.join(","))
}

fn blank() -> impl Strategy<Value = String> {
    "[ \t\r\n]{0,3}"
}

/// A string literal: plain characters, short escapes and `\u` escapes in any mix.
fn string() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z{}\\[\\]:, \u{e9}\u{4e2d}\u{1f600}]{1,8}",
        prop::sample::select(vec![
            r#"\""#,
            r"\\",
            r"\/",
            r"\n",
            r"\t",
            r"\u00e9",
            r"\u4e2d",
            r"\ud83d\ude00"
        ])
        .prop_map(str::to_owned),
        prop::sample::select(vec!["model", "stream", "usage", "error"]).prop_map(str::to_owned),
    ];
    vec(piece, 0..5).prop_map(|pieces| format!("\"{}\"", pieces.concat()))
}

/// Some way to write this key.
fn key(name: &'static str) -> impl Strategy<Value = String> {
    vec(any::<bool>(), name.len()).prop_map(move |escaped| {
        let written = name.chars().zip(escaped).map(|(character, escaped)| {
            if escaped { format!("\\u{:04x}", u32::from(character)) } else { character.to_string() }
        });
        format!("\"{}\"", written.collect::<String>())
    })
}

/// A request body, with a model and without other members of that name.
fn body() -> impl Strategy<Value = String> {
    let others = vec((string(), blank(), written()), 0..6).prop_map(|members| {
        let is_other = |key: &str| {
            let key: String = serde_json::from_str(key).unwrap();
            key != "model" && key != "stream"
        };
        members.into_iter().filter(|(key, ..)| is_other(key)).collect::<Vec<_>>()
    });
    let model = (key("model"), blank(), string())
        .prop_filter("a model has a name", |(_, _, value)| value != "\"\"");
    let stream = (key("stream"), blank(), prop::sample::select(vec!["true", "false", "null"]));
    (others, model, prop::option::of(stream), any::<prop::sample::Index>(), blank()).prop_map(
        |(mut members, model, stream, place, blank)| {
            members.insert(place.index(members.len() + 1), model);
            if let Some((key, blank, value)) = stream {
                let place = place.index(members.len() + 1);
                members.insert(place, (key, blank, value.to_owned()));
            }
            format!("{blank}{}{blank}", object(&members))
        },
    )
}

/// Lines of the other APIs' streams.
const NATIVE: &[&str] = &[
    "data: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":3}}}",
    "data: {\"type\":\"message_delta\",\"usage\":{\"output_tokens\":9}}",
    "event: message_stop",
    "event: message-start",
    "data: {\"type\":\"message-end\",\"delta\":{\"finish_reason\":\"ERROR\"}}",
    "data: {\"candidates\":[{\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":1}}",
    "data: {\"promptFeedback\":{\"blockReason\":\"SAFETY\"}}",
    "event: output",
    "event: done",
    "data: {\"reason\":\"error\"}",
];

/// The beginning of an array of responses, with anything behind it.
fn arrays() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"{\"candidates\":[{\"finishReason\":\"STOP\"}]}".to_vec()),
        Just(b"{\"error\":{\"code\":429,\"status\":\"X\"}}".to_vec()),
        Just(b",".to_vec()),
        Just(b"\r\n".to_vec()),
        Just(b"]".to_vec()),
        written().prop_map(String::into_bytes),
    ];
    vec(piece, 0..8).prop_map(|pieces| [b"[".to_vec(), pieces.concat()].concat())
}

/// Messages of an AWS event stream, with a byte of them changed or not.
fn messages() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop::sample::select(vec!["throttlingException", "modelStreamErrorException", ""]);
    let message = (kind, string()).prop_map(|(kind, text)| exception(kind, &text).to_vec());
    let change = prop::option::weighted(0.3, (any::<prop::sample::Index>(), any::<u8>()));
    (vec(message, 1..4), change).prop_map(|(messages, change)| {
        let mut bytes = messages.concat();
        if let Some((at, byte)) = change {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

fn streams() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        Just("data: [DONE]".to_owned()),
        Just("data: {\"choices\":[{\"index\":0,\"finish_reason\":\"stop\"}]}".to_owned()),
        Just("data: {\"choices\":[{\"index\":1,\"finish_reason\":null}],\"usage\":{\"prompt_tokens\":3}}".to_owned()),
        Just("data:{\"error\":{\"code\":429}}".to_owned()),
        Just("event: error".to_owned()),
        Just("event: response.completed".to_owned()),
        prop::sample::select(NATIVE.to_vec()).prop_map(str::to_owned),
        Just(": comment".to_owned()),
        Just("\u{feff}".to_owned()),
        written().prop_map(|value| format!("data: {}", value.replace(['\r', '\n'], " "))),
        "[ -~]{0,20}",
    ];
    let end = prop::sample::select(vec!["\n", "\r", "\r\n", "\n\n", "\r\r", "\r\n\r\n"]);
    vec((line, end), 0..12).prop_map(|lines| {
        lines
            .into_iter()
            .flat_map(|(line, end)| [line, end.to_owned()])
            .collect::<String>()
            .into_bytes()
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop::sample::select(Operation::all().collect::<Vec<_>>())
}

fn heard(operation: Operation, framing: Framing, chunks: &[&[u8]]) -> String {
    let mut listener = ResponseObserver::new(operation, framing);
    for chunk in chunks {
        listener.observe(chunk);
    }
    format!(
        "{:?}",
        (
            listener.begun(),
            listener.complete(),
            listener.done(),
            listener.at_boundary(),
            listener.failure(),
            listener.usage()
        )
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn replacing_the_model_leaves_every_other_byte_alone(body in body(), name in ".{1,20}") {
        let before: Value = serde_json::from_str(&body).unwrap();
        let bytes = Bytes::from(body);
        let found = peek(&bytes).unwrap();
        prop_assert_eq!(found.model.as_deref(), before["model"].as_str());
        prop_assert_eq!(found.stream, before["stream"] == true);

        let [head, value, tail] = found.replace_model(&bytes, &name);
        prop_assert!(bytes.starts_with(&head) && bytes.ends_with(&tail));
        let old = &bytes[head.len()..bytes.len() - tail.len()];
        prop_assert_eq!(serde_json::from_slice::<String>(old).unwrap(), found.model.unwrap());

        let after: Value = serde_json::from_slice(&[head, value, tail].concat()).unwrap();
        let mut expected = before;
        expected["model"] = name.into();
        prop_assert_eq!(after, expected);
    }

    #[test]
    fn a_second_model_or_stream_is_always_found(
        body in body(),
        (name, key) in prop_oneof![
            (Just("model"), key("model")), (Just("stream"), key("stream"))
        ],
        at_end in any::<bool>(),
    ) {
        let had: Value = serde_json::from_str(&body).unwrap();
        let value = if name == "model" { "\"m\"" } else { "true" };
        let inner = body.trim().strip_prefix('{').unwrap().strip_suffix('}').unwrap();
        let doubled = if at_end {
            format!("{{{inner},{key}:{value}}}")
        } else {
            format!("{{{key}:{value},{inner}}}")
        };
        match peek(doubled.as_bytes()) {
            Ok(_) => prop_assert!(had.get(name).is_none()),
            Err(error) => prop_assert_eq!(error.param(), Some(name)),
        }
    }

    #[test]
    fn whatever_is_peeked_into_is_as_a_json_reader_sees_it(bytes in vec(any::<u8>(), 0..60), cut in 0..40_usize) {
        // Beginnings of a body with anything behind them.
        let start = br#"{"model":"m\u0061","x":[{"y":"z"}],"stream":true}"#;
        let bytes = [&start[..cut.min(start.len())], &bytes].concat();
        if let (Ok(found), Ok(plain)) = (peek(&bytes), serde_json::from_slice::<Value>(&bytes)) {
            prop_assert_eq!(found.model.as_deref(), plain["model"].as_str());
            prop_assert_eq!(found.stream, plain["stream"] == true);
        }
    }

    #[test]
    fn what_a_json_reader_takes_can_be_peeked_into(value in written()) {
        let plain: Value = serde_json::from_str(&value).unwrap();
        let wrapped = format!("{{\"x\":{value},\"model\":\"m\"}}");
        let found = peek(wrapped.as_bytes()).unwrap();
        prop_assert_eq!(found.model.as_deref(), Some("m"));
        prop_assert!(plain.is_object() || peek(value.as_bytes()).is_err());
    }

    #[test]
    fn forms_never_panic(bytes in vec(prop_oneof![
        Just(b"--x".to_vec()), Just(b"\r\n".to_vec()), Just(b"--".to_vec()), Just(b"\r\n\r\n".to_vec()),
        Just(b"content-disposition: form-data; name=\"model\"".to_vec()),
        Just(b"Content-Disposition: form-data; filename=\"\\\"; name=stream".to_vec()),
        vec(any::<u8>(), 0..5),
    ], 0..20)) {
        let body = Bytes::from(bytes.concat());
        if let Ok(found) = multipart::peek(&body, "x") {
            let model = found.model.clone().unwrap_or_default();
            prop_assert_eq!(found.replace_model(&body, &model).concat(), body.to_vec());
        }
    }

    #[test]
    fn any_cut_of_any_stream_is_heard_the_same(
        operation in operation(),
        bytes in prop_oneof![streams(), arrays(), messages()],
        cuts in vec(any::<prop::sample::Index>(), 0..4),
    ) {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let chunks: Vec<_> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
        for framing in [Framing::Whole, Framing::Events, Framing::Array, Framing::Aws] {
            let whole = heard(operation, framing, &[&bytes]);
            prop_assert_eq!(&heard(operation, framing, &chunks), &whole);
            prop_assert_eq!(&heard(operation, framing, &bytes.chunks(1).collect::<Vec<_>>()), &whole);
        }
    }

    #[test]
    fn a_limit_changes_how_events_come_and_not_which(
        bytes in streams(),
        limit in 1..40_usize,
        size in 1..20_usize,
    ) {
        let mut plain = Vec::new();
        Sse::new(1 << 20).push(&bytes, |frame| if let Frame::Event(event) = frame {
            plain.push(event.data.to_vec());
        });
        let (mut sse, mut events, mut long) = (Sse::new(limit), Vec::new(), 0);
        for chunk in bytes.chunks(size) {
            sse.push(chunk, |frame| match frame {
                Frame::Event(event) => events.push(event.data.to_vec()),
                Frame::Long { last, .. } => long += usize::from(last),
            });
        }
        // Blocks over the limit may also have been comments, so there are at most as many events less.
        prop_assert!(events.len() <= plain.len() && events.len() + long >= plain.len());
        prop_assert!(events.iter().all(|event| plain.contains(event)));
    }

    #[test]
    fn any_error_body_has_a_class(
        status in 0..1000_u16,
        body in prop_oneof![written().prop_map(String::into_bytes), vec(any::<u8>(), 0..50)],
        header in "[0-9a-zA-Z:, .+-]{0,30}",
    ) {
        for api in [Api::OpenAi, Api::Anthropic, Api::Gemini, Api::Bedrock, Api::Cohere, Api::Replicate] {
            let failure = classify(api, status, &body, &|_| Some(header.as_str()));
            prop_assert!(failure.retry_after.is_none_or(|wait| !wait.is_zero() && wait.as_secs() <= 3600));
        }
    }
}
