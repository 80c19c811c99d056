//! Bytes to events, each with the bytes it came in.

use std::borrow::Cow;

use memchr::memchr2;

use super::super::frame::sse::{field, next_line};
use crate::wire::frame::json_array::{Element, Elements, Position};

/// An event longer than this is not compared, and what follows it neither.
const GATHERED: usize = 256 * 1024;

/// What a stream falls into.
#[derive(Debug)]
pub(super) enum Unit<'u> {
    /// An event with data, or an element of an array.
    Event { raw: &'u [u8], name: &'u [u8], data: Cow<'u, [u8]> },
    /// Comments and empty lines.
    Blank(&'u [u8]),
    /// A piece of an event that is too long.
    Long { bytes: &'u [u8], last: bool },
    /// A piece of something that was to be an array and is none.
    Plain(&'u [u8]),
    /// Nothing more can be read.
    Lost,
}

/// Takes chunks, gives events. Behind an event that is too long nothing is compared any more.
#[derive(Debug)]
pub(super) enum Units {
    Events(Blocks),
    Array(Elements),
    /// What was to be an array and is none.
    Plain,
}

/// Blocks of lines that end with an empty one.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    /// The beginning of a block.
    carry: Vec<u8>,
    /// Where in it the line begins of which the end has not come.
    line: usize,
    /// A block has outgrown the limit: all is passed on as it comes from there on.
    long: bool,
}

impl Units {
    pub(super) fn new(array: bool) -> Self {
        if array { Units::Array(Elements::new(GATHERED)) } else { Units::Events(Blocks::default()) }
    }

    pub(super) fn push(&mut self, bytes: &[u8], mut each: impl FnMut(Unit<'_>)) {
        match self {
            Units::Events(blocks) => blocks.push(bytes, &mut each),
            Units::Array(elements) => {
                let before = elements.position();
                elements.push(bytes, |element| match element {
                    Element::Whole(raw) => each(Unit::Event { raw, name: b"", data: raw.into() }),
                    Element::Piece { bytes, last } => each(Unit::Long { bytes, last }),
                });
                match (before, elements.position()) {
                    (_, Position::Start) => each(Unit::Blank(bytes)),
                    (Position::Start, Position::Malformed)
                        if !bytes.trim_ascii().starts_with(b"[") =>
                    {
                        *self = Units::Plain;
                        each(Unit::Plain(bytes));
                    }
                    (_, Position::Malformed) => each(Unit::Lost),
                    _ => {}
                }
            }
            Units::Plain => each(Unit::Plain(bytes)),
        }
    }

    pub(super) fn is_array(&self) -> bool {
        matches!(self, Units::Array(_))
    }

    /// What has come of a block that does not end.
    pub(super) fn rest(&self) -> &[u8] {
        match self {
            Units::Events(blocks) => &blocks.carry,
            Units::Array(_) | Units::Plain => &[],
        }
    }
}

impl Blocks {
    fn push(&mut self, bytes: &[u8], each: &mut impl FnMut(Unit<'_>)) {
        if self.long {
            return each(Unit::Long { bytes, last: false });
        }
        self.carry.extend_from_slice(bytes);
        let carry = std::mem::take(&mut self.carry);
        let mut rest = &carry[..];
        while let Some(end) = self.end(rest) {
            let (raw, behind) = rest.split_at(end);
            each(block(raw));
            (self.line, rest) = (0, behind);
        }
        if rest.len() > GATHERED {
            self.long = true;
            each(Unit::Long { bytes: rest, last: false });
        } else {
            self.carry = rest.to_vec();
        }
    }

    /// Behind the empty line that ends the first block.
    fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        loop {
            let line = memchr2(b'\n', b'\r', &bytes[self.line..])? + self.line;
            let behind = line + if bytes[line..].starts_with(b"\r\n") { 2 } else { 1 };
            if line == self.line {
                return Some(behind);
            }
            // A CR at the end may be half a line end.
            if behind == bytes.len() && bytes[line] == b'\r' {
                return None;
            }
            self.line = behind;
        }
    }
}

fn block(raw: &[u8]) -> Unit<'_> {
    let (mut name, mut data): (&[u8], Option<Cow<'_, [u8]>>) = (b"", None);
    let mut rest = raw.strip_prefix(b"\xef\xbb\xbf").unwrap_or(raw);
    while !rest.is_empty() {
        match field(next_line(&mut rest)) {
            (b"data", value) => match &mut data {
                None => data = Some(value.into()),
                Some(data) => {
                    let data = data.to_mut();
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            },
            (b"event", value) => name = value,
            _ => {}
        }
    }
    match data {
        Some(data) if !data.is_empty() => Unit::Event { raw, name, data },
        _ => Unit::Blank(raw),
    }
}
