//! Arguments of a call that arrive in pieces, each with its path. Vertex sends them on request
//! (`streamFunctionCallArguments`).
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/Content#PartialArg>

use serde::Deserialize;
use serde_json::{Map, Number, Value};

/// The most bytes of paths and values.
const MAX_SIZE: usize = 16 * 1024 * 1024;
/// As deep as `serde_json` parses.
const MAX_DEPTH: usize = 100;

/// The arguments that have arrived.
#[derive(Debug)]
pub(super) struct PartialArguments {
    value: Value,
    size: usize,
}

/// One piece.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PartialArg {
    json_path: String,
    string_value: Option<String>,
    number_value: Option<Number>,
    bool_value: Option<bool>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

impl PartialArguments {
    /// Starts with the arguments that arrived whole.
    pub(super) fn new(args: Option<&str>) -> PartialArguments {
        let value = args.and_then(|args| serde_json::from_str(args).ok());
        let value = value.filter(Value::is_object).unwrap_or(Value::Object(Map::new()));
        PartialArguments { value, size: 0 }
    }

    /// Adds a piece: the next characters of a string, or another value. `None`: its path does not fit.
    pub(super) fn add(&mut self, piece: PartialArg) -> Option<()> {
        let PartialArg { json_path, string_value, number_value, bool_value } = piece;
        self.size += json_path.len() + string_value.as_ref().map_or(8, String::len);
        if self.size > MAX_SIZE {
            return None;
        }
        let value = match (string_value, number_value, bool_value) {
            (Some(text), _, _) => Value::String(text),
            (_, Some(number), _) => Value::Number(number),
            (_, _, Some(flag)) => Value::Bool(flag),
            (None, None, None) => Value::Null,
        };
        let slot = parse_path(&json_path)?.into_iter().try_fold(&mut self.value, step)?;
        match (slot, value) {
            (Value::String(before), Value::String(more)) => before.push_str(&more),
            (slot @ (Value::Null | Value::Number(_) | Value::Bool(_)), value) => *slot = value,
            _ => return None,
        }
        Some(())
    }

    pub(super) fn into_text(self) -> String {
        self.value.to_string()
    }
}

/// Returns the value one step down, which is created if it is new. Lists grow by one.
fn step(value: &mut Value, step: Step) -> Option<&mut Value> {
    match step {
        Step::Name(name) => {
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            Some(value.as_object_mut()?.entry(name).or_insert(Value::Null))
        }
        Step::Index(at) => {
            if value.is_null() {
                *value = Value::Array(Vec::new());
            }
            let list = value.as_array_mut()?;
            if list.len() == at {
                list.push(Value::Null);
            }
            list.get_mut(at)
        }
    }
}

/// Parses the normalized paths of RFC 9535, and names after dots: `$.a['b c'][0]`.
fn parse_path(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == MAX_DEPTH {
            return None;
        }
        if let Some(name) = rest.strip_prefix('.') {
            let end = name.find(['.', '[']).unwrap_or(name.len());
            steps.push(Step::Name(name[..end].to_owned()));
            rest = &name[end..];
        } else if let Some(quoted) = rest.strip_prefix("['") {
            rest = parse_quoted_name(quoted, '\'', &mut steps)?;
        } else if let Some(quoted) = rest.strip_prefix("[\"") {
            rest = parse_quoted_name(quoted, '"', &mut steps)?;
        } else {
            let (index, after) = rest.strip_prefix('[')?.split_once(']')?;
            steps.push(Step::Index(index.parse().ok()?));
            rest = after;
        }
    }
    Some(steps)
}

fn parse_quoted_name<'p>(quoted: &'p str, quote: char, steps: &mut Vec<Step>) -> Option<&'p str> {
    let (mut name, mut characters) = (String::new(), quoted.char_indices());
    loop {
        match characters.next()? {
            (_, '\\') => match characters.next()?.1 {
                'n' => name.push('\n'),
                't' => name.push('\t'),
                'r' => name.push('\r'),
                other => name.push(other),
            },
            (at, end) if end == quote => {
                steps.push(Step::Name(name));
                return quoted[at + 1..].strip_prefix(']');
            }
            (_, other) => name.push(other),
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "so that a test fails, and takes literals"
)]
mod tests {
    use serde_json::json;

    use super::*;

    fn joined(pieces: Value) -> Option<Value> {
        let mut arguments = PartialArguments::new(None);
        for piece in serde_json::from_value::<Vec<PartialArg>>(pieces).unwrap() {
            arguments.add(piece)?;
        }
        Some(serde_json::from_str(&arguments.into_text()).unwrap())
    }

    #[test]
    fn pieces_are_joined_by_their_paths() {
        let pieces = json!([
            {"jsonPath": "$.a.list[0].x", "stringValue": "16", "willContinue": true},
            {"jsonPath": "$.a.list[0].x", "stringValue": " oz", "willContinue": true},
            {"jsonPath": "$.a.list[0].x", "stringValue": ""},
            {"jsonPath": "$.a.list[1].x", "stringValue": ""},
            {"jsonPath": "$.a['b.c \\' d']", "numberValue": 1.5},
            {"jsonPath": "$.flag", "boolValue": true},
            {"jsonPath": "$[\"none\"]", "nullValue": "NULL_VALUE"},
        ]);
        let whole = json!({
            "a": {"list": [{"x": "16 oz"}, {"x": ""}], "b.c ' d": 1.5},
            "flag": true,
            "none": null,
        });
        assert_eq!(joined(pieces), Some(whole));
    }

    #[test]
    fn paths_that_do_not_fit_are_refused() {
        for path in ["", "a", "$.a[9999999999]", "$.a[1]", "$.a[-1]", "$.a['b", "$[0]", "$x"] {
            let piece = json!([{"jsonPath": path, "stringValue": "x"}]);
            assert_eq!(joined(piece), None, "{path}");
        }
        let deep = "[0]".repeat(MAX_DEPTH + 1);
        assert_eq!(joined(json!([{"jsonPath": format!("$.a{deep}"), "boolValue": true}])), None);
    }
}
