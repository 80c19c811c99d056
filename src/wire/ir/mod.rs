//! What passes between the formats: nothing here belongs to one of them.
//!
//! ```text
//! request.rs       what is asked: turns of blocks, tools, limits
//! event.rs         what is answered, event by event
//! response.rs      a whole answer: the fold of its events
//! block_writer.rs  writes the events of an answer for decoders, so that they keep to the grammar
//! ```
//!
//! What a format says and this does not know stays a [`Content::Foreign`] or a [`Request::asked`]: it is
//! refused or named where it cannot be said again, and never lost in silence.

pub(crate) mod block_writer;
mod event;
mod request;
mod response;

pub use self::response::{Candidate, Response};
pub use event::{Event, Kind, Piece, Stop};
pub use request::{
    Block, Cache, Choice, Content, Echo, Effort, Form, Logprobs, Media, MediaKind, Request, Role,
    Sampling, Signature, Source, Thinking, ThinkingMode, Tier, Tool, ToolResult, Turn,
};
