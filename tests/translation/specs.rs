//! Requests held against the descriptions that providers publish of their APIs: types, what is required,
//! words of closed lists, and members that nobody knows. What JSON Schema has beyond that (lengths, patterns,
//! formats) is left to the providers, whose descriptions are often behind their practice there.

use std::io::Read as _;
use std::path::PathBuf;

use flate2::read::GzDecoder;
use serde_json::{Map, Value};

/// A published description; `None`: it is not here.
pub(crate) fn spec(name: &str) -> Option<Value> {
    let path = PathBuf::from(std::env::var_os("KEYMUX_SHARED")?).join("specs").join(name);
    let bytes = std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_none_or(|extension| extension != "gz") {
        return Some(serde_json::from_slice(&bytes).unwrap());
    }
    let mut text = Vec::new();
    GzDecoder::new(&*bytes).read_to_end(&mut text).unwrap();
    Some(serde_json::from_slice(&text).unwrap())
}

/// What is wrong with a value, with its place.
type Wrong = Vec<String>;

/// JSON Schema, as OpenAPI documents have it.
pub(crate) struct OpenApi(pub(crate) Value);

impl OpenApi {
    /// What is wrong with a value by the schema of that name. Members of the value itself must be known.
    pub(crate) fn check(&self, name: &str, value: &Value) -> Wrong {
        let schema = &self.0["components"]["schemas"][name];
        assert!(schema.is_object(), "no schema {name}");
        let mut wrong = self.schema(schema, value, "");
        let mut known = Map::new();
        self.members(schema, &mut known);
        for name in value.as_object().unwrap().keys().filter(|name| !known.contains_key(*name)) {
            wrong.push(format!("/{name} is not known"));
        }
        wrong
    }

    fn resolve<'s>(&'s self, schema: &'s Value) -> &'s Value {
        match schema["$ref"].as_str() {
            Some(path) => self.resolve(self.0.pointer(path.trim_start_matches('#')).unwrap()),
            None => schema,
        }
    }

    /// The members that an object may have by it.
    fn members(&self, schema: &Value, out: &mut Map<String, Value>) {
        let schema = self.resolve(schema);
        out.extend(schema["properties"].as_object().cloned().unwrap_or_default());
        for part in schema["allOf"].as_array().into_iter().flatten() {
            self.members(part, out);
        }
    }

    fn schema(&self, schema: &Value, value: &Value, at: &str) -> Wrong {
        let schema = self.resolve(schema);
        if value.is_null() && schema["nullable"] == true {
            return Wrong::new();
        }
        let mut wrong = Wrong::new();
        for part in schema["allOf"].as_array().into_iter().flatten() {
            wrong.extend(self.schema(part, value, at));
        }
        for name in ["anyOf", "oneOf"] {
            let Some(ways) = schema[name].as_array() else { continue };
            let tried: Vec<Wrong> = ways.iter().map(|way| self.schema(way, value, at)).collect();
            // The way that comes nearest tells most: the one that is wrong deepest inside.
            if !tried.iter().any(Vec::is_empty) {
                let depth = |wrong: &Wrong| wrong.iter().map(|one| one.matches('/').count()).max();
                wrong.extend(tried.into_iter().max_by_key(depth).unwrap());
            }
        }
        let own = |wrong: &mut Wrong, what: String| wrong.push(format!("{at} {what}"));
        if !Self::is_of(&schema["type"], value) {
            own(&mut wrong, format!("is no {}: {}", schema["type"], short(value)));
            return wrong;
        }
        if let Some(words) = schema["enum"].as_array()
            && !words.contains(value)
        {
            own(&mut wrong, format!("is none of {}: {}", schema["enum"], short(value)));
        }
        if schema.get("const").is_some_and(|only| only != value) {
            own(&mut wrong, format!("is not {}: {}", schema["const"], short(value)));
        }
        match value {
            Value::Object(members) => wrong.extend(self.object(schema, members, at)),
            Value::Array(list) if schema["items"].is_object() => {
                for (n, value) in list.iter().enumerate() {
                    wrong.extend(self.schema(&schema["items"], value, &format!("{at}/{n}")));
                }
            }
            _ => {}
        }
        wrong
    }

    fn object(&self, schema: &Value, members: &Map<String, Value>, at: &str) -> Wrong {
        let mut wrong = Wrong::new();
        for name in schema["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            if !members.contains_key(name) {
                wrong.push(format!("{at} lacks {name}"));
            }
        }
        for (name, value) in members {
            let at = format!("{at}/{name}");
            match (&schema["properties"][name], &schema["additionalProperties"]) {
                (known @ Value::Object(_), _) => wrong.extend(self.schema(known, value, &at)),
                (_, Value::Bool(false)) => wrong.push(format!("{at} is not known")),
                (_, others @ Value::Object(_)) => wrong.extend(self.schema(others, value, &at)),
                _ => {}
            }
        }
        wrong
    }

    fn is_of(kind: &Value, value: &Value) -> bool {
        match kind {
            Value::String(kind) => match &**kind {
                "object" => value.is_object(),
                "array" => value.is_array(),
                "string" => value.is_string(),
                "number" => value.is_number(),
                "integer" => value.is_u64() || value.is_i64(),
                "boolean" => value.is_boolean(),
                "null" => value.is_null(),
                other => panic!("no type {other}"),
            },
            Value::Array(kinds) => kinds.iter().any(|kind| Self::is_of(kind, value)),
            _ => true,
        }
    }
}

/// Google's discovery document: closed objects, nothing required.
pub(crate) struct Discovery(pub(crate) Value);

impl Discovery {
    /// What is wrong with a value by the schema of that name.
    pub(crate) fn check(&self, name: &str, value: &Value) -> Wrong {
        self.schema(&self.0["schemas"][name], value, "")
    }

    fn schema(&self, schema: &Value, value: &Value, at: &str) -> Wrong {
        if let Some(name) = schema["$ref"].as_str() {
            return self.schema(&self.0["schemas"][name], value, at);
        }
        let fits = match schema["type"].as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            // 64 bits come as strings, and as numbers too.
            "string" => {
                let wide = matches!(schema["format"].as_str(), Some("int64" | "uint64"));
                value.is_string() || (wide && value.is_number())
            }
            "number" => value.is_number(),
            "integer" => value.is_u64() || value.is_i64(),
            "boolean" => value.is_boolean(),
            "any" => return Wrong::new(),
            other => panic!("no type {other}"),
        };
        if !fits {
            return vec![format!("{at} is no {}: {}", schema["type"], short(value))];
        }
        let mut wrong = Wrong::new();
        if let (Some(words), Some(word)) = (schema["enum"].as_array(), value.as_str())
            // Case does not matter to Google's parser of these.
            && !words.iter().any(|own| own.as_str().unwrap().eq_ignore_ascii_case(word))
        {
            wrong.push(format!("{at} is none of {}: {word}", schema["enum"]));
        }
        for (n, value) in value.as_array().into_iter().flatten().enumerate() {
            wrong.extend(self.schema(&schema["items"], value, &format!("{at}/{n}")));
        }
        for (name, value) in value.as_object().into_iter().flatten() {
            let at = format!("{at}/{name}");
            match (&schema["properties"][camel(name)], &schema["additionalProperties"]) {
                (known @ Value::Object(_), _) | (_, known @ Value::Object(_)) => {
                    wrong.extend(self.schema(known, value, &at));
                }
                _ => wrong.push(format!("{at} is not known")),
            }
        }
        wrong
    }
}

/// Google takes names in snake case as well (protobuf's JSON mapping).
fn camel(name: &str) -> String {
    let mut pieces = name.split('_');
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |all, piece| {
        let (initial, rest) = piece.split_at(piece.len().min(1));
        all + &initial.to_uppercase() + rest
    })
}

/// A service model of AWS.
pub(crate) struct Service(pub(crate) Value);

impl Service {
    /// What is wrong with a body by the shape of that name.
    pub(crate) fn check(&self, name: &str, value: &Value) -> Wrong {
        let mut wrong = self.shape(name, value, "");
        // It stands in the path.
        wrong.retain(|one| one != " lacks modelId");
        wrong
    }

    fn shape(&self, name: &str, value: &Value, at: &str) -> Wrong {
        let shape = &self.0["shapes"][name];
        if shape["document"] == true {
            return Wrong::new();
        }
        let kind = shape["type"].as_str().unwrap_or_else(|| panic!("no shape {name}"));
        let fits = match kind {
            "structure" | "map" => value.is_object(),
            "list" => value.is_array(),
            "string" | "blob" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" | "long" => value.is_u64() || value.is_i64(),
            "float" | "double" => value.is_number(),
            other => panic!("no type {other}"),
        };
        if !fits {
            return vec![format!("{at} is no {kind}: {}", short(value))];
        }
        let mut wrong = Self::limits(shape, value, at);
        match (kind, value) {
            ("structure", Value::Object(members)) => {
                wrong.extend(self.structure(shape, members, at));
            }
            ("map", Value::Object(members)) => {
                let of = shape["value"]["shape"].as_str().unwrap();
                for (name, value) in members {
                    wrong.extend(self.shape(of, value, &format!("{at}/{name}")));
                }
            }
            ("list", Value::Array(list)) => {
                let of = shape["member"]["shape"].as_str().unwrap();
                for (n, value) in list.iter().enumerate() {
                    wrong.extend(self.shape(of, value, &format!("{at}/{n}")));
                }
            }
            _ => {}
        }
        wrong
    }

    fn structure(&self, shape: &Value, members: &Map<String, Value>, at: &str) -> Wrong {
        let mut wrong = Wrong::new();
        if shape["union"] == true && members.len() != 1 {
            wrong.push(format!("{at} is not one of its kinds"));
        }
        for name in shape["required"].as_array().into_iter().flatten() {
            let name = name.as_str().unwrap();
            if !members.contains_key(name) {
                wrong.push(format!("{at} lacks {name}"));
            }
        }
        for (name, value) in members {
            let at = format!("{at}/{name}");
            match shape["members"][name]["shape"].as_str() {
                Some(of) => wrong.extend(self.shape(of, value, &at)),
                None => wrong.push(format!("{at} is not known")),
            }
        }
        wrong
    }

    /// The words of a closed list, and how much there may be.
    fn limits(shape: &Value, value: &Value, at: &str) -> Wrong {
        let mut wrong = Wrong::new();
        if let Some(words) = shape["enum"].as_array()
            && !words.contains(value)
        {
            wrong.push(format!("{at} is none of {}: {}", shape["enum"], short(value)));
        }
        let size = match value {
            Value::String(text) => u32::try_from(text.chars().count()).ok().map(f64::from),
            Value::Array(list) => u32::try_from(list.len()).ok().map(f64::from),
            value => value.as_f64(),
        };
        if let Some(size) = size
            && (shape["min"].as_f64().is_some_and(|least| size < least)
                || shape["max"].as_f64().is_some_and(|most| size > most))
        {
            let (least, most) = (&shape["min"], &shape["max"]);
            wrong.push(format!("{at} is not within {least}..{most}: {}", short(value)));
        }
        wrong
    }
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}
