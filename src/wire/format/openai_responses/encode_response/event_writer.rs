//! The events of a caller's stream: framed and numbered.

use crate::wire::format::context::ResponseContext;
use crate::wire::json::write::Object;

/// Writes events, or nothing where the answer is not streamed.
#[derive(Debug)]
pub(super) struct EventWriter<'o> {
    pub(super) context: &'o ResponseContext,
    pub(super) is_streamed: bool,
    /// The `sequence_number` of the next event.
    pub(super) sequence_number: &'o mut u64,
    pub(super) out: &'o mut Vec<u8>,
}

/// The part of an item that an event belongs to.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) item_id: String,
    pub(super) output_index: usize,
    /// The name of the part's index, and its value; calls have no parts.
    pub(super) part: Option<(&'static str, usize)>,
}

impl EventWriter<'_> {
    /// Writes an event of this type with `members`.
    pub(super) fn event(&mut self, kind: &str, members: impl FnOnce(&mut Object<'_>)) {
        if !self.is_streamed {
            return;
        }
        let out = &mut *self.out;
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        let mut event = Object::new(out);
        event.put("type", kind).put("sequence_number", self.sequence_number);
        members(&mut event);
        event.end();
        out.extend_from_slice(b"\n\n");
        *self.sequence_number += 1;
    }

    /// Writes an event of a part of an item.
    pub(super) fn event_at(
        &mut self,
        place: &Place,
        kind: &str,
        members: impl FnOnce(&mut Object<'_>),
    ) {
        self.event(kind, |event| {
            event.put("item_id", &place.item_id).put("output_index", &place.output_index);
            if let Some((name, index)) = place.part {
                event.put(name, &index);
            }
            members(event);
        });
    }
}
