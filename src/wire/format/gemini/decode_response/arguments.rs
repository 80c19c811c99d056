//! Arguments of a call that come in pieces, each with the place that it belongs to. Vertex sends them so to
//! who asks for `streamFunctionCallArguments`.
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/Content#PartialArg>

use serde::Deserialize;
use serde_json::{Map, Number, Value};

/// The most that is gathered, in bytes of names and values.
const LARGEST: usize = 16 * 1024 * 1024;
/// No deeper than `serde_json` reads.
const DEEPEST: usize = 100;

/// Arguments as far as they have come.
#[derive(Debug)]
pub(crate) struct Arguments {
    value: Value,
    size: usize,
}

/// One `PartialArg`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Piece {
    json_path: String,
    #[serde(default)]
    string_value: Option<String>,
    #[serde(default)]
    number_value: Option<Number>,
    #[serde(default)]
    bool_value: Option<bool>,
}

#[derive(Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Place(usize),
}

impl Arguments {
    /// That begin with those which came whole.
    pub(crate) fn of(args: Option<&str>) -> Arguments {
        let value = args.and_then(|args| serde_json::from_str(args).ok());
        let value = value.filter(Value::is_object).unwrap_or(Value::Object(Map::new()));
        Arguments { value, size: 0 }
    }

    /// Adds a piece: of a string the next characters. `None`: it has no place here.
    pub(crate) fn take(&mut self, piece: Piece) -> Option<()> {
        let Piece { json_path, string_value, number_value, bool_value } = piece;
        self.size += json_path.len() + string_value.as_ref().map_or(8, String::len);
        if self.size > LARGEST {
            return None;
        }
        let value = match (string_value, number_value, bool_value) {
            (Some(text), _, _) => Value::String(text),
            (_, Some(number), _) => Value::Number(number),
            (_, _, Some(flag)) => Value::Bool(flag),
            (None, None, None) => Value::Null,
        };
        let slot = steps(&json_path)?.into_iter().try_fold(&mut self.value, step)?;
        match (slot, value) {
            (Value::String(before), Value::String(more)) => before.push_str(&more),
            (slot @ (Value::Null | Value::Number(_) | Value::Bool(_)), value) => *slot = value,
            _ => return None,
        }
        Some(())
    }

    pub(crate) fn into_text(self) -> String {
        self.value.to_string()
    }
}

/// The place within, made where it is new. Lists grow by one.
fn step(value: &mut Value, step: Step) -> Option<&mut Value> {
    match step {
        Step::Name(name) => {
            if value.is_null() {
                *value = Value::Object(Map::new());
            }
            Some(value.as_object_mut()?.entry(name).or_insert(Value::Null))
        }
        Step::Place(at) => {
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

/// The normalized paths of RFC 9535, and names behind dots: `$.a['b c'][0]`.
fn steps(path: &str) -> Option<Vec<Step>> {
    let mut rest = path.strip_prefix('$')?;
    let mut steps = Vec::new();
    while !rest.is_empty() {
        if steps.len() == DEEPEST {
            return None;
        }
        if let Some(behind) = rest.strip_prefix('.') {
            let end = behind.find(['.', '[']).unwrap_or(behind.len());
            steps.push(Step::Name(behind[..end].to_owned()));
            rest = &behind[end..];
        } else if let Some(quoted) = rest.strip_prefix("['") {
            rest = quoted_name(quoted, '\'', &mut steps)?;
        } else if let Some(quoted) = rest.strip_prefix("[\"") {
            rest = quoted_name(quoted, '"', &mut steps)?;
        } else {
            let (place, behind) = rest.strip_prefix('[')?.split_once(']')?;
            steps.push(Step::Place(place.parse().ok()?));
            rest = behind;
        }
    }
    Some(steps)
}

fn quoted_name<'p>(quoted: &'p str, quote: char, steps: &mut Vec<Step>) -> Option<&'p str> {
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
    reason = "so a test reads like what it says"
)]
mod tests {
    use serde_json::json;

    use super::*;

    fn gathered(pieces: Value) -> Option<Value> {
        let mut arguments = Arguments::of(None);
        for piece in serde_json::from_value::<Vec<Piece>>(pieces).unwrap() {
            arguments.take(piece)?;
        }
        Some(serde_json::from_str(&arguments.into_text()).unwrap())
    }

    #[test]
    fn pieces_grow_together() {
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
        assert_eq!(gathered(pieces), Some(whole));
    }

    #[test]
    fn what_has_no_place_is_refused() {
        for path in ["", "a", "$.a[9999999999]", "$.a[1]", "$.a[-1]", "$.a['b", "$[0]", "$x"] {
            let piece = json!([{"jsonPath": path, "stringValue": "x"}]);
            assert_eq!(gathered(piece), None, "{path}");
        }
        let deep = "[0]".repeat(DEEPEST + 1);
        assert_eq!(gathered(json!([{"jsonPath": format!("$.a{deep}"), "boolValue": true}])), None);
    }
}
