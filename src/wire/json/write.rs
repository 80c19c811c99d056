//! Writes JSON member by member into one buffer, without building a value first.

use serde::Serialize;

/// Writes an object. [`Object::end`] closes it.
#[derive(Debug)]
pub(crate) struct Object<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> Object<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> Object<'o> {
        out.push(b'{');
        Object { out, first: true }
    }

    /// Writes a member's name and returns the buffer for its value. The name must be one that needs no
    /// escapes.
    pub(crate) fn member(&mut self, name: &str) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Writes a member.
    pub(crate) fn put(&mut self, name: &str, value: &(impl Serialize + ?Sized)) -> &mut Self {
        put(self.member(name), value);
        self
    }

    /// Writes a member unless the value is `None`.
    pub(crate) fn put_some(
        &mut self,
        name: &str,
        value: Option<&(impl Serialize + ?Sized)>,
    ) -> &mut Self {
        if let Some(value) = value {
            self.put(name, value);
        }
        self
    }

    /// Writes a member whose value is JSON text.
    pub(crate) fn raw(&mut self, name: &str, json: &str) -> &mut Self {
        self.member(name).extend_from_slice(json.as_bytes());
        self
    }

    pub(crate) fn object(&mut self, name: &str) -> Object<'_> {
        Object::new(self.member(name))
    }

    pub(crate) fn list(&mut self, name: &str) -> List<'_> {
        List::new(self.member(name))
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// Writes a list. [`List::end`] closes it.
#[derive(Debug)]
pub(crate) struct List<'o> {
    out: &'o mut Vec<u8>,
    first: bool,
}

impl<'o> List<'o> {
    pub(crate) fn new(out: &'o mut Vec<u8>) -> List<'o> {
        out.push(b'[');
        List { out, first: true }
    }

    /// Returns the buffer for the next element.
    pub(crate) fn element(&mut self) -> &mut Vec<u8> {
        if !std::mem::take(&mut self.first) {
            self.out.push(b',');
        }
        self.out
    }

    pub(crate) fn object(&mut self) -> Object<'_> {
        Object::new(self.element())
    }

    pub(crate) fn end(self) {
        self.out.push(b']');
    }
}

/// Writes a value. Serializing strings, numbers and JSON values into memory cannot fail.
pub(crate) fn put(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    let _ = serde_json::to_writer(out, value);
}
