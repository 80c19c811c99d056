//! Reads a JSON body member by member, so that each error contains the place of the fault as a JSON pointer.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Number, Value};

/// Why a request cannot be decoded, or cannot be encoded for a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// The place in the caller's body: a JSON pointer (RFC 6901); empty for the body itself.
    pub at: String,
    /// What is wrong there, as a sentence without its subject, such as "must be a string".
    pub why: Cow<'static, str>,
}

impl Rejected {
    /// Creates an error for this place and reason.
    pub fn new(at: impl Into<String>, why: impl Into<Cow<'static, str>>) -> Rejected {
        Rejected { at: at.into(), why: why.into() }
    }
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.at {
            "" => write!(f, "The body {}.", self.why),
            at => write!(f, "`{at}` {}.", self.why),
        }
    }
}

impl std::error::Error for Rejected {}

/// A JSON object whose members are taken out one by one. `null` counts as absent.
#[derive(Clone, Debug)]
pub struct Fields {
    at: String,
    members: Map<String, Value>,
}

impl Fields {
    /// Parses a whole body.
    ///
    /// # Errors
    ///
    /// If the body is not a JSON object.
    pub fn of_body(body: &[u8]) -> Result<Fields, Rejected> {
        let value = serde_json::from_slice(body)
            .map_err(|error| Rejected::new("", format!("is not valid JSON: {error}")))?;
        Fields::new(value, String::new())
    }

    /// Wraps a value that must be an object; `at` is its place.
    ///
    /// # Errors
    ///
    /// If the value is not an object.
    pub fn new(value: Value, at: String) -> Result<Fields, Rejected> {
        match value {
            Value::Object(members) => Ok(Fields { at, members }),
            _ => Err(Rejected::new(at, "must be an object")),
        }
    }

    /// Returns the place of the object.
    pub fn place(&self) -> &str {
        &self.at
    }

    /// Returns the place of a member.
    pub fn at(&self, name: &str) -> String {
        child(&self.at, name)
    }

    /// Returns whether the member is present and not `null`.
    pub fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// Returns a member without taking it.
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// Takes a member of any type.
    pub fn value(&mut self, name: &str) -> Option<Value> {
        self.members.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Takes a string.
    ///
    /// # Errors
    ///
    /// If the member has another type; the methods below do the same.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Rejected> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.must(name, "must be a string")),
        }
    }

    /// Takes a string that must be present.
    ///
    /// # Errors
    ///
    /// See [`Fields::text`].
    pub fn needed_text(&mut self, name: &str) -> Result<String, Rejected> {
        self.text(name)?.ok_or_else(|| self.must(name, "is missing"))
    }

    /// Takes a boolean.
    ///
    /// # Errors
    ///
    /// See [`Fields::text`].
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, Rejected> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(self.must(name, "must be true or false")),
        }
    }

    /// Takes an integer that is at least 0.
    ///
    /// # Errors
    ///
    /// See [`Fields::text`].
    pub fn count(&mut self, name: &str) -> Result<Option<u64>, Rejected> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => match value.as_u64() {
                Some(count) => Ok(Some(count)),
                None => Err(self.must(name, "must be a whole number from 0")),
            },
        }
    }

    /// Takes a number as written.
    ///
    /// # Errors
    ///
    /// See [`Fields::text`].
    pub fn number(&mut self, name: &str) -> Result<Option<Number>, Rejected> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Number(number)) => Ok(Some(number)),
            Some(_) => Err(self.must(name, "must be a number")),
        }
    }

    /// Takes a list, each element with its place; an absent list is empty.
    ///
    /// # Errors
    ///
    /// See [`Fields::text`].
    pub fn list(&mut self, name: &str) -> Result<Vec<(Value, String)>, Rejected> {
        match self.value(name) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => Ok(elements(list, &self.at(name))),
            Some(_) => Err(self.must(name, "must be a list")),
        }
    }

    /// Takes an object.
    ///
    /// # Errors
    ///
    /// See [`Fields::text`].
    pub fn fields(&mut self, name: &str) -> Result<Option<Fields>, Rejected> {
        let at = self.at(name);
        self.value(name).map(|value| Fields::new(value, at)).transpose()
    }

    /// Returns the names of the members that were not taken and are not `null`.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        self.members.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    /// Returns the members that were not taken.
    pub fn into_left(self) -> Map<String, Value> {
        self.members
    }

    /// Creates an error about a member.
    pub fn must(&self, name: &str, why: impl Into<Cow<'static, str>>) -> Rejected {
        Rejected::new(self.at(name), why)
    }
}

/// Pairs each element of the list at this place with its own place.
pub fn elements(list: Vec<Value>, at: &str) -> Vec<(Value, String)> {
    list.into_iter().enumerate().map(|(n, value)| (value, format!("{at}/{n}"))).collect()
}

/// Returns the place of a member of the object at `at`. RFC 6901, section 3: `~` and `/` are escaped.
pub fn child(at: &str, name: &str) -> String {
    if name.contains(['~', '/']) {
        format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"))
    } else {
        format!("{at}/{name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_contain_the_place_of_the_fault() {
        let mut body = Fields::of_body(br#"{"a/b": [{"n": "x"}], "t": 1}"#).unwrap();
        let (first, at) = body.list("a/b").unwrap().remove(0);
        let mut first = Fields::new(first, at).unwrap();
        assert_eq!(first.count("n").unwrap_err().at, "/a~1b/0/n");
        let error = body.text("t").unwrap_err();
        assert_eq!(error.to_string(), "`/t` must be a string.");
        let error = Fields::of_body(b"[]").unwrap_err();
        assert_eq!(error.to_string(), "The body must be an object.");
    }

    #[test]
    fn null_counts_as_absent() {
        let mut body = Fields::of_body(br#"{"a": null, "b": null}"#).unwrap();
        assert_eq!(body.text("a"), Ok(None));
        assert_eq!(body.left().count(), 0);
        assert_eq!(body.needed_text("b").unwrap_err().to_string(), "`/b` is missing.");
    }
}
