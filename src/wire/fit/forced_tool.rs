//! Answers by schema from a format that has none: the model is made to call one tool, and the arguments of
//! that call are the answer's text.

use crate::wire::ir::{Event, Kind, Stop};

/// Turns the calls of the forced tool back into text.
#[derive(Clone, Debug)]
pub struct Forced {
    tool: String,
    seen: bool,
}

impl Forced {
    /// Of this tool.
    pub fn new(tool: String) -> Forced {
        Forced { tool, seen: false }
    }

    /// The event as it would have been without the tool.
    pub fn undo(&mut self, event: &mut Event) {
        match event {
            Event::Open { kind, .. } => {
                if matches!(kind, Kind::ToolCall { name, .. } if *name == self.tool) {
                    self.seen = true;
                    *kind = Kind::Text;
                }
            }
            Event::Stop { why, raw, .. } if self.seen && *why == Stop::Calls => {
                *why = Stop::End;
                *raw = None;
            }
            _ => {}
        }
    }
}
