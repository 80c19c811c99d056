//! Which schemas the API follows to the letter.
//! <https://platform.claude.com/docs/en/build-with-claude/structured-outputs#json-schema-limitations>

use serde_json::Value;

/// What a schema may refer to, one within the other; and what is looked at in all, so that one that refers
/// to the same thing many times over costs no more.
const DEEPEST: usize = 32;
const MOST: usize = 4096;

/// Keywords that the API refuses in a schema that is to be followed to the letter.
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

/// Whether the API takes the schema for answers and for strict tools: every object closed, no keyword that
/// it refuses, and nothing that refers to itself.
pub(crate) fn is_strict(schema: &Value) -> bool {
    Walk { root: schema, left: MOST, within: Vec::new() }.takes(schema)
}

struct Walk<'s> {
    root: &'s Value,
    left: usize,
    within: Vec<&'s str>,
}

impl<'s> Walk<'s> {
    fn takes(&mut self, schema: &'s Value) -> bool {
        let Value::Object(members) = schema else { return false };
        let Some(left) = self.left.checked_sub(1) else { return false };
        self.left = left;
        let is_object = members.contains_key("properties")
            || members.get("type").is_some_and(|kind| {
                kind == "object"
                    || kind.as_array().is_some_and(|all| all.contains(&"object".into()))
            });
        if is_object && members.get("additionalProperties") != Some(&Value::Bool(false)) {
            return false;
        }
        members.iter().all(|(name, value)| match name.as_str() {
            "$ref" => self.refers(value),
            "properties" => {
                value.as_object().is_some_and(|own| own.values().all(|v| self.takes(v)))
            }
            "items" => self.takes(value),
            "anyOf" | "allOf" => {
                value.as_array().is_some_and(|own| own.iter().all(|v| self.takes(v)))
            }
            "minItems" => matches!(value.as_u64(), Some(0 | 1)),
            name => !REFUSED.contains(&name),
        })
    }

    fn refers(&mut self, to: &'s Value) -> bool {
        let Some(path) = to.as_str() else { return false };
        if self.within.contains(&path) || self.within.len() >= DEEPEST {
            return false;
        }
        let Some(there) = path.strip_prefix('#').and_then(|at| self.root.pointer(at)) else {
            return false;
        };
        self.within.push(path);
        let takes = path != "#" && self.takes(there);
        self.within.pop();
        takes
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_what_the_api_follows_is_strict() {
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
