//! Going on with a stream that broke: another stream must say the same from its beginning, and what it says
//! beyond that is new.
//!
//! What is compared is what a model says: texts, thoughts, calls and their arguments. Ids, times, counts and
//! signatures differ from one answer to the next and are not. Streams whose events point at each other by id
//! cannot be gone on with by another answer: the Responses API, whose deltas name the item that an earlier
//! event has opened. Nor can what is not read here as a conversation: Cohere, Replicate, Bedrock's frames,
//! and audio and images of any API.
//!
//! ```text
//! resume.rs   bytes of streams -> bytes of the one stream that the caller gets
//!   units.rs   bytes -> events, with the bytes they came in
//!   leaves.rs  what an event of each format says, place by place
//!   said.rs    what was said, and whether it is said again
//! ```

mod leaves;
mod said;
mod units;

use bytes::Bytes;
use serde_json::Value;

use self::leaves::Form;
use self::said::{Said, Taken};
use self::units::{Unit, Units};
use super::api::{Framing, Operation};
use super::failure::error_event::{Ending, error_event};

/// One stream as the caller gets it, made of the streams of several answers.
#[derive(Debug)]
pub struct Story {
    operation: Operation,
    framing: Framing,
    units: Units,
    teller: Teller,
}

/// Why a stream is not gone on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It says something else than the stream before it.
    Differs,
    /// It cannot be read.
    Garbled,
    /// It tells an error: the event, as the caller would get it.
    Failed(Vec<u8>),
}

impl Story {
    /// For the stream of an answer; `None`: such a stream cannot be gone on with.
    pub fn of(operation: Operation, framing: Framing) -> Option<Self> {
        let form = Form::of(operation, framing)?;
        let array = framing == Framing::Array;
        let said = Said::default();
        let teller = Teller {
            form,
            array,
            said,
            begun: false,
            in_long: false,
            lost: false,
            half: false,
            joins: false,
        };
        Some(Self { operation, framing, units: Units::new(array), teller })
    }

    /// Whether another answer may go on with what was said. Not when it is too long to be remembered, or
    /// something in it was not understood.
    pub fn can_go_on(&self) -> bool {
        !self.teller.lost && !self.teller.said.is_too_long()
    }

    /// Another stream begins.
    pub fn again(&mut self) {
        self.units = Units::new(self.teller.array);
        self.teller.joins = std::mem::take(&mut self.teller.half);
        self.teller.said.again();
    }

    /// Takes the next bytes of the stream, and puts out what of them is new. Only whole events are.
    ///
    /// # Errors
    ///
    /// When the stream is not to be gone on with; what was new before that is put out.
    pub fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Stop> {
        let Self { units, teller, .. } = self;
        let mut told = Ok(());
        let before = out.len();
        units.push(bytes, |unit| {
            if told.is_ok() {
                told = teller.unit(unit, out);
            }
        });
        if let Some(last) = out[before..].last() {
            teller.half = *last == b'\r';
        }
        told
    }

    /// The stream is over, in order.
    ///
    /// # Errors
    ///
    /// When the stream before it had said more.
    pub fn end(&mut self, out: &mut Vec<u8>) -> Result<(), Stop> {
        if !self.teller.said.is_caught_up() {
            return Err(Stop::Differs);
        }
        if self.units.is_array() {
            out.extend_from_slice(if self.teller.begun { b"\n]" } else { b"[]" });
        } else {
            out.extend_from_slice(self.units.rest());
        }
        Ok(())
    }

    /// What ends it when it cannot be gone on with.
    pub fn cut(&self, message: &str, code: &str) -> Ending {
        let before: &[u8] = match (self.teller.array, self.teller.in_long) {
            (true, true) => return Ending { bytes: Bytes::new(), breaks: true },
            (true, false) => self.teller.separator(),
            (false, true) => b"\n\n",
            (false, false) if self.teller.half || self.teller.joins => b"\n",
            (false, false) => b"",
        };
        let event = error_event(self.operation, self.framing, message, code);
        Ending { bytes: [before, &event].concat().into(), breaks: false }
    }
}

/// Tells the caller what is new.
#[derive(Debug)]
struct Teller {
    form: Form,
    array: bool,
    said: Said,
    /// An element was put out.
    begun: bool,
    /// Within an event that is too long to be compared.
    in_long: bool,
    /// Something was said that was not understood.
    lost: bool,
    /// The last byte put out was a CR, to which a LF may belong.
    half: bool,
    /// The stream that had it broke: the LF, which many clients need, stands before what follows.
    joins: bool,
}

impl Teller {
    fn unit(&mut self, unit: Unit<'_>, out: &mut Vec<u8>) -> Result<(), Stop> {
        if std::mem::take(&mut self.joins) {
            out.push(b'\n');
        }
        match unit {
            Unit::Plain(bytes) => {
                (self.lost, self.in_long) = (true, true);
                out.extend_from_slice(bytes);
            }
            Unit::Lost => return Err(Stop::Garbled),
            Unit::Blank(raw) => out.extend_from_slice(raw),
            Unit::Long { bytes, last } => {
                if !self.said.is_caught_up() {
                    return Err(Stop::Differs);
                }
                self.lost = true;
                if self.in_long {
                    out.extend_from_slice(bytes);
                } else {
                    self.put(bytes, out);
                }
                self.in_long = !last;
            }
            Unit::Event { raw, name, data } => return self.event(raw, name, &data, out),
        }
        Ok(())
    }

    fn event(
        &mut self,
        raw: &[u8],
        name: &[u8],
        data: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), Stop> {
        let Ok(mut value) = serde_json::from_slice::<Value>(data) else {
            // `[DONE]`, or nothing that can be read.
            if !self.said.is_caught_up() {
                return Err(Stop::Differs);
            }
            self.lost |= data.trim_ascii() != b"[DONE]";
            self.put(raw, out);
            return Ok(());
        };
        if self.form.is_error(name, &value) {
            let mut event = Vec::new();
            self.put(raw, &mut event);
            return Err(Stop::Failed(event));
        }
        let mut all = Taken::Nothing;
        let understood = self.form.visit(&mut value, &mut |group, leaf| {
            let taken = self.said.take(group, leaf);
            all = all.and(taken);
            taken
        });
        self.lost |= !understood;
        let caught_up = self.said.is_caught_up();
        match all {
            Taken::Other => return Err(Stop::Differs),
            // What is passed over with the event was not compared.
            Taken::Old | Taken::Part if !understood => return Err(Stop::Differs),
            Taken::Nothing if !understood && !caught_up => return Err(Stop::Differs),
            Taken::Old => {}
            Taken::Nothing if !caught_up => {}
            Taken::Nothing | Taken::New => self.put(raw, out),
            Taken::Part => {
                let event = self.written(name, &value);
                self.put(&event, out);
            }
        }
        Ok(())
    }

    fn written(&self, name: &[u8], value: &Value) -> Vec<u8> {
        let data = value.to_string();
        if self.array {
            return data.into_bytes();
        }
        let mut event = Vec::with_capacity(data.len() + name.len() + 24);
        if !name.is_empty() {
            event.extend_from_slice(b"event: ");
            event.extend_from_slice(name);
            event.push(b'\n');
        }
        event.extend_from_slice(b"data: ");
        event.extend_from_slice(data.as_bytes());
        event.extend_from_slice(b"\n\n");
        event
    }

    fn put(&mut self, event: &[u8], out: &mut Vec<u8>) {
        if self.array {
            out.extend_from_slice(self.separator());
            self.begun = true;
        }
        out.extend_from_slice(event);
    }

    /// What stands before the next element.
    fn separator(&self) -> &'static [u8] {
        if self.begun { b",\r\n" } else { b"[" }
    }
}

#[cfg(test)]
mod tests;
