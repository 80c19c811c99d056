//! Arguments of tool calls for targets that accept JSON objects only.

use std::borrow::Cow;

use serde_json::{Value, json};

use crate::wire::ir::{Content, Request};

/// Makes the arguments of every call a JSON object. Blank arguments, `null` and `[]` become `{}`: clients
/// write them for a call without arguments. A JSON string that contains an object becomes that object.
/// Anything else, such as arguments that were cut off, is wrapped as Anthropic's documentation advises
/// (<https://platform.claude.com/docs/en/agents-and-tools/tool-use/fine-grained-tool-streaming>), because a
/// refusal would end the caller's session: the call stays in its history.
pub(crate) fn make_objects(request: &mut Request) {
    for block in request.turns.iter_mut().flat_map(|turn| &mut turn.blocks) {
        if let Content::ToolCall { arguments, .. } = &mut block.content
            && let Cow::Owned(object) = object_of(arguments)
        {
            *arguments = object;
        }
    }
}

fn is_object(arguments: &str) -> bool {
    arguments.trim_start().starts_with('{')
        && serde_json::from_str::<serde::de::IgnoredAny>(arguments).is_ok()
}

/// Returns the JSON text of the object that [`make_objects`] makes of some arguments.
pub(crate) fn object_of(arguments: &str) -> Cow<'_, str> {
    if is_object(arguments) {
        return Cow::Borrowed(arguments);
    }
    if arguments.trim().is_empty() {
        return Cow::Owned("{}".to_owned());
    }
    Cow::Owned(match serde_json::from_str(arguments) {
        Ok(Value::Null) => "{}".to_owned(),
        Ok(Value::Array(list)) if list.is_empty() => "{}".to_owned(),
        Ok(Value::String(text)) if text.trim().is_empty() => "{}".to_owned(),
        Ok(Value::String(text)) if is_object(&text) => text,
        _ => json!({ "INVALID_JSON": arguments }).to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_an_object() {
        for (arguments, expected) in [
            (r#" {"a": 1} "#, r#" {"a": 1} "#),
            ("", "{}"),
            (" ", "{}"),
            ("null", "{}"),
            ("[]", "{}"),
            (r#""{\"a\":1}""#, r#"{"a":1}"#),
            ("[1]", r#"{"INVALID_JSON":"[1]"}"#),
            (r#"{"a":"b"#, r#"{"INVALID_JSON":"{\"a\":\"b"}"#),
        ] {
            let mut request = Request::default();
            let call =
                Content::ToolCall { id: None, name: "f".to_owned(), arguments: arguments.into() };
            let block = crate::wire::ir::Block::new(call, "");
            let role = crate::wire::ir::Role::Assistant;
            request.turns.push(crate::wire::ir::Turn { role, name: None, blocks: vec![block] });
            make_objects(&mut request);
            let Content::ToolCall { arguments, .. } = &request.turns[0].blocks[0].content else {
                panic!("the call is gone");
            };
            assert_eq!(arguments, expected);
        }
    }
}
