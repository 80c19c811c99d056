//! Reading a JSON body member by member, so that whatever is wrong has its place: a JSON pointer.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Map, Number, Value};

/// Why a request cannot be read, or cannot be said to a provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Where in the caller's body: a JSON pointer (RFC 6901); empty for the body itself.
    pub at: String,
    /// What is wrong there, as a sentence without its subject: "must be a string".
    pub why: Cow<'static, str>,
}

impl Rejected {
    /// At this place, for this reason.
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

/// An object of which members are taken one by one. `null` is as good as absent.
#[derive(Clone, Debug)]
pub struct Fields {
    at: String,
    members: Map<String, Value>,
}

impl Fields {
    /// A whole body.
    ///
    /// # Errors
    ///
    /// When it is no JSON object.
    pub fn of_body(body: &[u8]) -> Result<Fields, Rejected> {
        let value = serde_json::from_slice(body)
            .map_err(|error| Rejected::new("", format!("is no JSON: {error}")))?;
        Fields::new(value, String::new())
    }

    /// A value that must be an object, at this place.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub fn new(value: Value, at: String) -> Result<Fields, Rejected> {
        match value {
            Value::Object(members) => Ok(Fields { at, members }),
            _ => Err(Rejected::new(at, "must be an object")),
        }
    }

    /// Where the object stands.
    pub fn place(&self) -> &str {
        &self.at
    }

    /// Where a member of it stands.
    pub fn at(&self, name: &str) -> String {
        child(&self.at, name)
    }

    /// Whether the member is there and not `null`.
    pub fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// A member as it stands, left where it is.
    pub fn peek(&self, name: &str) -> Option<&Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// Takes a member as it stands.
    pub fn value(&mut self, name: &str) -> Option<Value> {
        self.members.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Takes a string.
    ///
    /// # Errors
    ///
    /// When the member is something else, as with all below.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, Rejected> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.must(name, "must be a string")),
        }
    }

    /// Takes a string that must be there.
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

    /// Takes a whole number from 0.
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

    /// Takes a number as it was written.
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

    /// Takes a list, each element with its place; an absent one is empty.
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

    /// The names that were not taken and are not `null`.
    pub fn left(&self) -> impl Iterator<Item = &str> {
        self.members.iter().filter(|(_, value)| !value.is_null()).map(|(name, _)| name.as_str())
    }

    /// What was not taken, as an object.
    pub fn into_left(self) -> Map<String, Value> {
        self.members
    }

    /// What is wrong with a member.
    pub fn must(&self, name: &str, why: impl Into<Cow<'static, str>>) -> Rejected {
        Rejected::new(self.at(name), why)
    }
}

/// The elements of a list at this place, each with its own.
pub fn elements(list: Vec<Value>, at: &str) -> Vec<(Value, String)> {
    list.into_iter().enumerate().map(|(n, value)| (value, format!("{at}/{n}"))).collect()
}

/// Where a member of an object stands. RFC 6901, section 3: `~` and `/` are escaped.
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
    fn what_is_wrong_has_its_place() {
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
    fn null_is_as_good_as_absent() {
        let mut body = Fields::of_body(br#"{"a": null, "b": null}"#).unwrap();
        assert_eq!(body.text("a"), Ok(None));
        assert_eq!(body.left().count(), 0);
        assert_eq!(body.needed_text("b").unwrap_err().to_string(), "`/b` is missing.");
    }
}
