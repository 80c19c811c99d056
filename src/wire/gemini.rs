//! Gemini's `generateContent` and `streamGenerateContent`, as the Gemini API and Vertex have them.
//! <https://ai.google.dev/api/generate-content>,
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse>
//!
//! ```text
//! caller half     read.rs, read/      body -> Request
//!                 encoder.rs          Event, Reply -> chunks, a whole answer
//! provider half   write.rs, write/    Request -> body
//!                 decoder.rs          chunks, a whole answer -> Event
//! both            part.rs             the parts of a content, as they are written
//!                 seal.rs             `thoughtSignature`
//!                 finish.rs           why an answer is over
//!                 features.rs         what is said, left out and refused
//! ```

mod decoder;
mod encoder;
mod features;
mod finish;
mod models;
mod object;
mod part;
mod read;
mod schema;
mod seal;
mod write;

pub use decoder::{Decoder, decode_whole};
pub use encoder::{Encoder, encode_whole};
pub use features::{place, verdict};
pub use read::decode_request;
pub use write::{encode_prompt, encode_request};
