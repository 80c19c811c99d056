//! An object of Google's JSON, whose members may be written in camel case or with underscores, whose whole
//! numbers may be strings, and whose lists of one may lack their brackets.
//! <https://protobuf.dev/programming-guides/json/>

use std::borrow::Cow;

use serde_json::{Number, Value};

use crate::wire::json::fields::{Fields, Rejected, elements};

/// As [`Fields`], by names in camel case.
#[derive(Debug)]
pub(crate) struct Object {
    fields: Fields,
}

impl Object {
    pub(crate) fn of_body(body: &[u8]) -> Result<Object, Rejected> {
        Ok(Object { fields: Fields::of_body(body)? })
    }

    pub(crate) fn new(value: Value, at: String) -> Result<Object, Rejected> {
        Ok(Object { fields: Fields::new(value, at)? })
    }

    pub(crate) fn place(&self) -> &str {
        self.fields.place()
    }

    pub(crate) fn at(&self, camel: &str) -> String {
        self.fields.at(&self.written(camel))
    }

    pub(crate) fn has(&self, camel: &str) -> bool {
        self.fields.has(&self.written(camel))
    }

    pub(crate) fn value(&mut self, camel: &str) -> Option<Value> {
        self.fields.value(&self.written(camel))
    }

    pub(crate) fn text(&mut self, camel: &str) -> Result<Option<String>, Rejected> {
        self.fields.text(&self.written(camel))
    }

    pub(crate) fn needed_text(&mut self, camel: &str) -> Result<String, Rejected> {
        self.fields.needed_text(&self.written(camel))
    }

    pub(crate) fn flag(&mut self, camel: &str) -> Result<Option<bool>, Rejected> {
        self.fields.flag(&self.written(camel))
    }

    pub(crate) fn number(&mut self, camel: &str) -> Result<Option<Number>, Rejected> {
        self.fields.number(&self.written(camel))
    }

    /// A whole number, of which -1 often means something.
    pub(crate) fn whole(&mut self, camel: &str) -> Result<Option<i64>, Rejected> {
        let name = self.written(camel);
        let Some(value) = self.fields.value(&name) else { return Ok(None) };
        let whole = match &value {
            Value::Number(number) => number.as_i64().or_else(|| {
                let text = number.to_string();
                text.strip_suffix(".0")?.parse().ok()
            }),
            Value::String(text) => text.parse().ok(),
            _ => None,
        };
        whole.map(Some).ok_or_else(|| self.fields.must(&name, "must be a whole number"))
    }

    pub(crate) fn count(&mut self, camel: &str) -> Result<Option<u64>, Rejected> {
        let at = self.at(camel);
        let whole = self.whole(camel)?;
        whole
            .map(u64::try_from)
            .transpose()
            .map_err(|_| Rejected::new(at, "must be a whole number from 0"))
    }

    pub(crate) fn object(&mut self, camel: &str) -> Result<Option<Object>, Rejected> {
        let at = self.at(camel);
        self.value(camel).map(|value| Object::new(value, at)).transpose()
    }

    /// A list; a single object stands for a list of one.
    pub(crate) fn list(&mut self, camel: &str) -> Result<Vec<(Value, String)>, Rejected> {
        let at = self.at(camel);
        match self.value(camel) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(elements(list, &at)),
            Some(one @ Value::Object(_)) => Ok(vec![(one, at)]),
            Some(_) => Err(Rejected::new(at, "must be a list")),
        }
    }

    pub(crate) fn texts(&mut self, camel: &str) -> Result<Vec<String>, Rejected> {
        let list = self.list(camel)?.into_iter().map(|(value, at)| match value {
            Value::String(text) => Ok(text),
            _ => Err(Rejected::new(at, "must be a string")),
        });
        list.collect()
    }

    pub(crate) fn left(&self) -> impl Iterator<Item = &str> {
        self.fields.left()
    }

    pub(crate) fn must(&self, camel: &str, why: impl Into<Cow<'static, str>>) -> Rejected {
        Rejected::new(self.at(camel), why)
    }

    /// The name as the caller has it.
    fn written<'n>(&self, camel: &'n str) -> Cow<'n, str> {
        if self.fields.has(camel) || !camel.contains(|c: char| c.is_ascii_uppercase()) {
            return Cow::Borrowed(camel);
        }
        let snake = snake(camel);
        if self.fields.has(&snake) { Cow::Owned(snake) } else { Cow::Borrowed(camel) }
    }
}

fn snake(camel: &str) -> String {
    let mut snake = String::with_capacity(camel.len() + 4);
    for c in camel.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_writing_are_read() {
        let body = br#"{"topK": 3.0, "max_output_tokens": "20", "parts": {"text": "x"}, "b": 2}"#;
        let mut object = Object::of_body(body).unwrap();
        assert_eq!(object.whole("topK").unwrap(), Some(3));
        assert_eq!(object.at("maxOutputTokens"), "/max_output_tokens");
        assert_eq!(object.count("maxOutputTokens").unwrap(), Some(20));
        assert_eq!(object.list("parts").unwrap()[0].1, "/parts");
        assert_eq!(object.left().collect::<Vec<_>>(), ["b"]);
        assert_eq!(object.flag("b").unwrap_err().at, "/b");
    }
}
