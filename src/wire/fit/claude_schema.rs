//! The schemas that Claude models follow strictly.
//! <https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations>

use serde_json::Value;

/// The most references within each other.
const MAX_DEPTH: usize = 32;
/// The most schemas that are visited, so that one that refers to the same schema many times costs no more.
const MAX_VISITS: usize = 4096;

/// Keywords that the API refuses in a strict schema.
const REFUSED: [&str; 20] = [
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "contains",
    "prefixItems",
    "minProperties",
    "maxProperties",
    "patternProperties",
    "propertyNames",
    "dependentRequired",
    "dependentSchemas",
    "oneOf",
    "not",
    "if",
];

/// Returns true if the API accepts the schema for answers and for strict tools: every object is closed, no
/// keyword is refused, and nothing refers to itself.
pub(crate) fn is_strict(schema: &Value) -> bool {
    Walk { root: schema, visits_left: MAX_VISITS, path: Vec::new() }.accepts(schema)
}

struct Walk<'s> {
    root: &'s Value,
    visits_left: usize,
    /// The references that lead to the current schema.
    path: Vec<&'s str>,
}

impl<'s> Walk<'s> {
    fn accepts(&mut self, schema: &'s Value) -> bool {
        let Value::Object(members) = schema else { return false };
        let Some(left) = self.visits_left.checked_sub(1) else { return false };
        self.visits_left = left;
        let is_object = members.contains_key("properties")
            || members.get("type").is_some_and(|kind| {
                kind == "object"
                    || kind.as_array().is_some_and(|all| all.contains(&"object".into()))
            });
        if is_object && members.get("additionalProperties") != Some(&Value::Bool(false)) {
            return false;
        }
        members.iter().all(|(name, value)| match name.as_str() {
            "$ref" => self.accepts_reference(value),
            "properties" => {
                value.as_object().is_some_and(|own| own.values().all(|v| self.accepts(v)))
            }
            "items" => self.accepts(value),
            "anyOf" | "allOf" => {
                value.as_array().is_some_and(|own| own.iter().all(|v| self.accepts(v)))
            }
            "minItems" => matches!(value.as_u64(), Some(0 | 1)),
            name => !REFUSED.contains(&name),
        })
    }

    fn accepts_reference(&mut self, reference: &'s Value) -> bool {
        let Some(target) = reference.as_str() else { return false };
        if self.path.contains(&target) || self.path.len() >= MAX_DEPTH {
            return false;
        }
        let Some(schema) = target.strip_prefix('#').and_then(|at| self.root.pointer(at)) else {
            return false;
        };
        self.path.push(target);
        let is_accepted = target != "#" && self.accepts(schema);
        self.path.pop();
        is_accepted
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn closed_schemas_without_refused_keywords_are_strict() {
        let closed = json!({"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": false});
        assert!(is_strict(&closed));
        let nested =
            json!({"type": "array", "items": {"$ref": "#/$defs/a"}, "$defs": {"a": closed}});
        assert!(is_strict(&nested));
        for refused in [
            json!({"type": "object", "properties": {"a": {"type": "string"}}}),
            json!({"type": "integer", "minimum": 1}),
            json!({"type": "array", "items": {"$ref": "https://example.com/schema"}}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/a"}]}}}),
            json!({"type": "array", "items": {"$ref": "#"}}),
            json!(true),
        ] {
            assert!(!is_strict(&refused), "{refused}");
        }
    }
}
