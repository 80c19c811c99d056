//! An object of Google's JSON: members may be written in camel case or with underscores, integers may be
//! strings, and a list of one element may lack its brackets.
//! <https://protobuf.dev/programming-guides/json/>

use std::borrow::Cow;

use serde_json::{Number, Value};

use crate::wire::json::fields::{Fields, Rejected, elements};

/// Like [`Fields`], by names in camel case.
#[derive(Debug)]
pub(super) struct Object {
    fields: Fields,
}

impl Object {
    pub(super) fn of_body(body: &[u8]) -> Result<Object, Rejected> {
        Ok(Object { fields: Fields::of_body(body)? })
    }

    pub(super) fn new(value: Value, at: String) -> Result<Object, Rejected> {
        Ok(Object { fields: Fields::new(value, at)? })
    }

    pub(super) fn place(&self) -> &str {
        self.fields.place()
    }

    pub(super) fn at(&self, camel: &str) -> String {
        self.fields.at(&self.written_name(camel))
    }

    pub(super) fn has(&self, camel: &str) -> bool {
        self.fields.has(&self.written_name(camel))
    }

    pub(super) fn value(&mut self, camel: &str) -> Option<Value> {
        self.fields.value(&self.written_name(camel))
    }

    pub(super) fn text(&mut self, camel: &str) -> Result<Option<String>, Rejected> {
        self.fields.text(&self.written_name(camel))
    }

    pub(super) fn needed_text(&mut self, camel: &str) -> Result<String, Rejected> {
        self.fields.needed_text(&self.written_name(camel))
    }

    pub(super) fn flag(&mut self, camel: &str) -> Result<Option<bool>, Rejected> {
        self.fields.flag(&self.written_name(camel))
    }

    pub(super) fn number(&mut self, camel: &str) -> Result<Option<Number>, Rejected> {
        self.fields.number(&self.written_name(camel))
    }

    /// Takes a whole number. -1 often has a meaning.
    pub(super) fn whole(&mut self, camel: &str) -> Result<Option<i64>, Rejected> {
        let name = self.written_name(camel);
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

    pub(super) fn count(&mut self, camel: &str) -> Result<Option<u64>, Rejected> {
        let at = self.at(camel);
        let whole = self.whole(camel)?;
        whole
            .map(u64::try_from)
            .transpose()
            .map_err(|_| Rejected::new(at, "must be a whole number from 0"))
    }

    pub(super) fn object(&mut self, camel: &str) -> Result<Option<Object>, Rejected> {
        let at = self.at(camel);
        self.value(camel).map(|value| Object::new(value, at)).transpose()
    }

    /// Takes a list; a single object is a list of one.
    pub(super) fn list(&mut self, camel: &str) -> Result<Vec<(Value, String)>, Rejected> {
        let at = self.at(camel);
        match self.value(camel) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(elements(list, &at)),
            Some(one @ Value::Object(_)) => Ok(vec![(one, at)]),
            Some(_) => Err(Rejected::new(at, "must be a list")),
        }
    }

    pub(super) fn texts(&mut self, camel: &str) -> Result<Vec<String>, Rejected> {
        let list = self.list(camel)?.into_iter().map(|(value, at)| match value {
            Value::String(text) => Ok(text),
            _ => Err(Rejected::new(at, "must be a string")),
        });
        list.collect()
    }

    pub(super) fn left(&self) -> impl Iterator<Item = &str> {
        self.fields.left()
    }

    pub(super) fn must(&self, camel: &str, why: impl Into<Cow<'static, str>>) -> Rejected {
        Rejected::new(self.at(camel), why)
    }

    /// Returns the name as the caller wrote it.
    fn written_name<'n>(&self, camel: &'n str) -> Cow<'n, str> {
        if self.fields.has(camel) || !camel.contains(|c: char| c.is_ascii_uppercase()) {
            return Cow::Borrowed(camel);
        }
        let snake = snake_case(camel);
        if self.fields.has(&snake) { Cow::Owned(snake) } else { Cow::Borrowed(camel) }
    }
}

pub(super) fn snake_case(camel: &str) -> String {
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
    fn both_spellings_of_names_are_accepted() {
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
