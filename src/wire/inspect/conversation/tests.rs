use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// Returns a request in each API after `answers` responses, with `first` as the first user turn, and the
/// member that contains its system text.
fn conversations(first: &str, answers: usize) -> Vec<(&'static str, Value)> {
    let first = first.to_owned();
    let more = |turn: &dyn Fn(&str, String) -> Value, model: &str| -> Vec<Value> {
        let mut turns = vec![turn("user", first.clone())];
        for answer in 0..answers {
            turns.push(turn(model, format!("Answer {answer}.")));
            turns.push(turn("user", format!("Question {answer}?")));
        }
        turns
    };
    let plain = more(&|role, text| json!({"role": role, "content": text}), "assistant");
    let lead = |role: &str| {
        let mut turns = plain.clone();
        turns.insert(0, json!({"role": role, "content": "Be brief."}));
        turns
    };
    let blocks =
        more(&|role, text| json!({"role": role, "content": [{"text": text}]}), "assistant");
    let parts = more(&|role, text| json!({"role": role, "parts": [{"text": text}]}), "model");
    let input = |kind: &str| {
        more(
            &|role, text| json!({"type": "message", "role": role, "content": [{"type": kind, "text": text}]}),
            "assistant",
        )
    };
    let tool = json!({"name": "look", "description": "Looks."});
    vec![
        ("chat", json!({"model": "m", "tools": [tool], "messages": lead("system")})),
        ("chat, developer", json!({"messages": lead("developer"), "functions": [tool]})),
        ("cohere", json!({"tools": [tool], "messages": lead("system"), "stream": true})),
        (
            "responses",
            json!({"instructions": "Be brief.", "tools": [tool], "input": input("input_text")}),
        ),
        ("anthropic", json!({"max_tokens": 9, "system": "Be brief.", "messages": plain})),
        (
            "converse",
            json!({"system": [{"text": "Be brief."}], "toolConfig": {"tools": [tool]}, "messages": blocks}),
        ),
        (
            "gemini",
            json!({"systemInstruction": {"parts": [{"text": "Be brief."}]}, "contents": parts}),
        ),
        (
            "gemini, in its other spelling",
            json!({"system_instruction": {"parts": [{"text": "Be brief."}]}, "contents": parts}),
        ),
    ]
}

fn of(body: &Value) -> Stable {
    stable(body.to_string().as_bytes()).expect("turns")
}

#[test]
fn a_conversation_is_the_same_after_each_turn_and_in_no_other() {
    let other_text = |body: &Value| body.to_string().replace("Be brief.", "Be verbose.");
    for (place, (api, first)) in conversations("Why is the sky blue?", 0).iter().enumerate() {
        let known = of(first).digest;
        for answers in 1..8 {
            let (_, grown) = &conversations("Why is the sky blue?", answers)[place];
            assert_eq!(of(grown).digest, known, "{api} after {answers}");
        }
        let (_, other) = &conversations("Why is the sky black?", 3)[place];
        assert_ne!(of(other).digest, known, "{api}, another question");
        let other = stable(other_text(first).as_bytes()).expect("turns");
        assert_ne!(other.digest, known, "{api}, another system text");
    }
}

#[test]
fn a_moved_cache_control_changes_nothing() {
    let marked = |text: &str| json!([{"type": "text", "text": text, "cache_control": {"type": "ephemeral", "ttl": "1h"}}]);
    let tool = |name: &str| json!({"name": name, "input_schema": {"required": ["cache_control"]}});
    let first = json!({
        "system": marked("Be brief."),
        "tools": [tool("a"), tool("b")],
        "messages": [{"role": "user", "content": marked("Why?")}],
    });
    let mut second = json!({
        "system": [{"type": "text", "text": "Be brief."}],
        "tools": [tool("a"), tool("b")],
        "messages": [
            {"role": "user", "content": "Why?"},
            {"role": "assistant", "content": "Because."},
            {"role": "user", "content": marked("And why that?")},
        ],
    });
    assert_eq!(of(&first).digest, of(&second).digest);
    second["tools"][1]["cache_control"] = json!({"type": "ephemeral"});
    assert_eq!(of(&first).digest, of(&second).digest, "at the end of a tool");
    let text =
        second.to_string().replace(r#"{"name":"a""#, r#"{"cache_control" : null , "name":"a""#);
    let moved = stable(text.as_bytes()).expect("turns");
    assert_eq!(of(&first).digest, moved.digest, "at its beginning");
    second["tools"][0]["input_schema"]["required"][0] = json!("other");
    assert_ne!(of(&first).digest, of(&second).digest, "a value of that name is none");
}

#[test]
fn what_claude_code_writes_for_its_billing_is_passed_over() {
    let with = |text: &str| {
        let text = json!({"type": "text", "text": text});
        json!({"system": [text, {"type": "text", "text": "Be brief."}],
            "messages": [{"role": "user", "content": "Why?"}]})
    };
    let billing = |cch: &str| format!("x-anthropic-billing-header: cc_version=2; cch={cch};");
    assert_eq!(of(&with(&billing("36ee5"))).digest, of(&with(&billing("0aaa9"))).digest);
    assert_ne!(of(&with("Version 1")).digest, of(&with("Version 2")).digest);
}

#[test]
fn a_text_and_a_list_with_that_text_are_one_turn() {
    let text = json!({"input": "Why?"});
    let list = json!({"input": [
        {"role": "user", "content": [{"type": "input_text", "text": "Why?"}]},
        {"type": "reasoning", "encrypted_content": "x"},
        {"role": "user", "content": "And?"},
    ]});
    assert_eq!(of(&text).digest, of(&list).digest);
}

#[test]
fn the_prefix_is_long_from_four_kilobytes_on() {
    let ask = |system: usize, first: usize, later: &[usize]| {
        let turn = |length: &usize| json!({"role": "user", "content": "x".repeat(*length)});
        let mut turns = vec![turn(&first)];
        turns.extend(later.iter().map(turn));
        of(&json!({"system": "s".repeat(system), "messages": turns})).long
    };
    assert!(!ask(0, 100, &[]));
    assert!(ask(4094, 0, &[]), "the system text alone");
    assert!(ask(2000, 2100, &[]), "with the first turn");
    assert!(!ask(2000, 100, &[9000]), "the last turn was never cached");
    assert!(ask(2000, 100, &[2000, 10]), "turns before the last count");
    let mut turns = Vec::new();
    for count in 0..50 {
        let long = ask(1000, 200, &turns);
        assert_eq!(long, count > 29, "{count} turns");
        turns.push(72); // 100 bytes as written
    }
}

#[test]
fn a_prompt_cache_key_is_told() {
    let key = |body: Value| of(&body).cache_key;
    let one = key(json!({"messages": [], "prompt_cache_key": "one"}));
    assert!(one.is_some() && one != key(json!({"messages": [], "prompt_cache_key": "two"})));
    assert_eq!(key(json!({"messages": [], "prompt_cache_key": null})), None);
    assert_eq!(key(json!({"messages": [], "prompt_cache_key": ""})), None);
}

#[test]
fn what_is_no_conversation_has_no_digest() {
    for body in ["", "{}", "[]", r#"{"model":"m"}"#, r#"{"tools":[]"#] {
        assert_eq!(stable(body.as_bytes()), None, "{body}");
    }
}

proptest! {
    /// Every input is accepted, and the content after the first user turn does not change the key.
    #[test]
    fn any_text_is_looked_at(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "{", "}", "[", "]", ",", ":", " ", "\\", "\"", "\"a\"", "1", "\"cache_control\"",
                "\"messages\":", "\"system\":", "\"tools\":", "\"role\":", "\"user\"",
                "\"x-anthropic-billing-header:\"",
            ]),
            0..40,
        ),
    ) {
        let text = words.concat();
        let _ = stable(text.as_bytes());
        let body = |more: &[Value]| {
            let mut turns = vec![json!({"role": "user", "content": text})];
            turns.extend_from_slice(more);
            of(&json!({"messages": turns})).digest
        };
        let more = json!({"role": "assistant", "content": [{"role": text, "text": text}]});
        prop_assert_eq!(body(&[more.clone(), more]), body(&[]));
    }
}
