//! JSON text, piece by piece, into a buffer.

use serde::Serialize;

/// A value as JSON text.
pub(crate) fn value(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    // Neither writing to memory nor a string, a number or a JSON value can fail.
    let _ = serde_json::to_writer(out, value);
}

/// `,"name":` and text that is JSON already.
pub(crate) fn raw(out: &mut Vec<u8>, name: &str, json: &[u8]) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
    out.extend_from_slice(json);
}

/// `,"name":"text"`
pub(crate) fn text(out: &mut Vec<u8>, name: &str, text: &str) {
    raw(out, name, b"");
    value(out, text);
}

/// `,"name":n`
pub(crate) fn number(out: &mut Vec<u8>, name: &str, number: u64) {
    raw(out, name, itoa::Buffer::new().format(number).as_bytes());
}
