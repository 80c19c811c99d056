//! Rewrites the model that some Gemini API bodies repeat from the path. Google rejects a body that names
//! another model. <https://ai.google.dev/api/embeddings>, <https://ai.google.dev/api/tokens>

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::wire::api::Operation;
use crate::wire::json::splice::{Splice, range_of};
use crate::wire::json::walk::members;

/// Replaces the model in the body with `name`, such as `models/gemini-embedding-001`. All other bytes stay
/// unchanged. Returns `None` if the body names no model or cannot be decoded; the body is then forwarded
/// unchanged.
pub fn rename(operation: Operation, body: &Bytes, name: &str) -> Option<Bytes> {
    let places = match operation {
        Operation::EmbedContent => vec![members(body, ["model"])[0]?],
        Operation::GeminiCountTokens => {
            let [request] = members(body, ["generateContentRequest"]);
            vec![members(request?, ["model"])[0]?]
        }
        Operation::BatchEmbedContents => {
            let requests: Vec<&RawValue> =
                serde_json::from_slice(members(body, ["requests"])[0]?).ok()?;
            let requests = requests.into_iter().map(|request| request.get().as_bytes());
            requests.filter_map(|request| members(request, ["model"])[0]).collect()
        }
        _ => return None,
    };
    let name = serde_json::to_vec(name).ok()?;
    let mut splice = Splice::new(body, 64 * places.len());
    for place in places {
        splice.replace(range_of(body, place), &name);
    }
    Some(splice.finish().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn renamed(operation: Operation, body: &'static str) -> Option<String> {
        let body = rename(operation, &Bytes::from_static(body.as_bytes()), "models/\"new\"")?;
        Some(String::from_utf8(body.to_vec()).unwrap())
    }

    fn changes(operation: Operation, body: &'static str) {
        let expected = body.replace(r#""models/old""#, r#""models/\"new\"""#);
        assert_ne!(expected, body);
        assert_eq!(renamed(operation, body), Some(expected));
    }

    #[test]
    fn only_the_names_of_the_model_change() {
        changes(Operation::EmbedContent, r#"{ "model" : "models/old", "content":{"model":"x"}}"#);
        changes(
            Operation::GeminiCountTokens,
            r#"{"generateContentRequest":{"contents":[], "model":"models/old"}, "model":"x"}"#,
        );
        changes(
            Operation::BatchEmbedContents,
            r#"{"requests" : [{"model": "models/old","content":{"parts":[{"text":"1.0"}]}},
               {"content":{}}, {"content":{"model":"x"},"model":"models/old"} ]}"#,
        );
    }

    #[test]
    fn bodies_without_a_model_stay_as_they_are() {
        for (operation, body) in [
            (Operation::EmbedContent, r#"{"content":{}}"#),
            (Operation::GeminiCountTokens, r#"{"contents":[],"model":"models/old"}"#),
            (Operation::GeminiCountTokens, r#"{"generateContentRequest":[]}"#),
            (Operation::BatchEmbedContents, r#"{"requests":{"model":"models/old"}}"#),
            (Operation::GenerateContent, r#"{"model":"models/old"}"#),
            (Operation::EmbedContent, r#"{"model":"models/old""#),
        ] {
            assert_eq!(renamed(operation, body), None, "{body}");
        }
    }
}
