//! Converts Google's subset of OpenAPI schemas to JSON Schema. <https://ai.google.dev/api/caching#Schema>
//!
//! Callers also write plain JSON Schema in the same member, which stays as it is.

use serde_json::{Map, Value};

/// Converts a schema. The recursion is as deep as `serde_json` parses, which is bounded.
pub(super) fn to_json_schema(schema: Value) -> Value {
    let Value::Object(members) = schema else { return schema };
    let mut out = Map::with_capacity(members.len());
    let (mut nullable, mut ordering) = (false, None);
    for (name, value) in members {
        match (name.as_str(), value) {
            ("type", Value::String(kind)) => {
                if kind != "TYPE_UNSPECIFIED" {
                    out.insert(name, Value::String(kind.to_ascii_lowercase()));
                }
            }
            ("nullable", Value::Bool(flag)) => nullable = flag,
            ("propertyOrdering" | "property_ordering", list) => ordering = Some(list),
            // It only repeats that there is an `enum`.
            ("format", Value::String(format)) if format == "enum" => {}
            ("example", value) => {
                out.insert("examples".to_owned(), Value::Array(vec![value]));
            }
            ("anyOf" | "any_of", Value::Array(list)) => {
                out.insert("anyOf".to_owned(), list.into_iter().map(to_json_schema).collect());
            }
            ("items" | "additionalProperties" | "additional_properties", value) => {
                out.insert(camel_case(&name).to_owned(), to_json_schema(value));
            }
            ("properties", Value::Object(all)) => {
                out.insert(name, convert_each(all));
            }
            ("defs", Value::Object(all)) => {
                out.insert("$defs".to_owned(), convert_each(all));
            }
            ("ref", Value::String(to)) => {
                out.insert("$ref".to_owned(), to.replacen("#/defs/", "#/$defs/", 1).into());
            }
            (_, value) => {
                let named = camel_case(&name);
                let value = if is_count(named) { parse_count(value) } else { value };
                out.insert(named.to_owned(), value);
            }
        }
    }
    if let Some(Value::Array(order)) = ordering {
        order_properties(&mut out, &order);
    }
    if nullable {
        allow_null(&mut out);
    }
    Value::Object(out)
}

fn convert_each(all: Map<String, Value>) -> Value {
    Value::Object(all.into_iter().map(|(name, value)| (name, to_json_schema(value))).collect())
}

fn camel_case(name: &str) -> &str {
    match name {
        "min_items" => "minItems",
        "max_items" => "maxItems",
        "min_length" => "minLength",
        "max_length" => "maxLength",
        "min_properties" => "minProperties",
        "max_properties" => "maxProperties",
        "additional_properties" => "additionalProperties",
        _ => name,
    }
}

fn is_count(name: &str) -> bool {
    matches!(
        name,
        "minItems" | "maxItems" | "minLength" | "maxLength" | "minProperties" | "maxProperties"
    )
}

/// Google writes 64-bit integers as strings.
fn parse_count(value: Value) -> Value {
    match value.as_str().and_then(|text| text.parse::<u64>().ok()) {
        Some(count) => count.into(),
        None => value,
    }
}

/// Puts the properties into the order that the answer is to have. Models keep to the order of a schema.
fn order_properties(schema: &mut Map<String, Value>, order: &[Value]) {
    let Some(Value::Object(all)) = schema.get_mut("properties") else { return };
    let mut before = std::mem::take(all);
    for name in order.iter().filter_map(Value::as_str) {
        if let Some((name, value)) = before.shift_remove_entry(name) {
            all.insert(name, value);
        }
    }
    all.append(&mut before);
}

fn allow_null(schema: &mut Map<String, Value>) {
    if let Some(Value::Array(list)) = schema.get_mut("enum") {
        list.push(Value::Null);
    }
    if let Some(kind @ Value::String(_)) = schema.get_mut("type") {
        *kind = Value::Array(vec![kind.take(), "null".into()]);
    } else if let Some(Value::Array(list)) = schema.get_mut("anyOf") {
        list.push(serde_json::json!({"type": "null"}));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn openapi_subset_becomes_json_schema() {
        let openapi = json!({
            "type": "OBJECT",
            "properties": {
                "type": {"type": "STRING", "format": "enum", "enum": ["a"], "nullable": true},
                "list": {"type": "ARRAY", "items": {"type": "INTEGER", "format": "int32"}, "minItems": "1"},
                "first": {"any_of": [{"type": "NUMBER"}, {"type": "BOOLEAN"}], "nullable": true},
            },
            "required": ["list"],
            "propertyOrdering": ["first", "list"],
        });
        let expected = json!({
            "type": "object",
            "properties": {
                "first": {"anyOf": [{"type": "number"}, {"type": "boolean"}, {"type": "null"}]},
                "list": {"type": "array", "items": {"type": "integer", "format": "int32"}, "minItems": 1},
                "type": {"type": ["string", "null"], "enum": ["a", null]},
            },
            "required": ["list"],
        });
        assert_eq!(to_json_schema(openapi).to_string(), expected.to_string());
    }

    #[test]
    fn json_schema_stays_as_it_is() {
        let plain = json!({
            "$defs": {"a": {"type": "string"}},
            "type": ["object", "null"],
            "properties": {"a": {"$ref": "#/$defs/a"}, "b": true},
            "additionalProperties": false,
        });
        assert_eq!(to_json_schema(plain.clone()), plain);
        let vertex = json!({"ref": "#/defs/a", "defs": {"a": {"type": "STRING"}}});
        assert_eq!(
            to_json_schema(vertex),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "string"}}})
        );
    }
}
