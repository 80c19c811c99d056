//! Gemini's `generateContent` and `streamGenerateContent`, as the Gemini API and Vertex have them.
//! <https://ai.google.dev/api/generate-content>,
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse>
//!
//! ```text
//! caller half     read.rs, read/      body -> Request
//!                 encoder.rs          Event, Response -> chunks, a whole answer
//! provider half   write.rs, write/    Request -> body
//!                 decoder.rs          chunks, a whole answer -> Event
//! both            part.rs             the parts of a content, as they are written
//!                 signature.rs             `thoughtSignature`
//!                 finish.rs           why an answer is over
//!                 features.rs         what is said, left out and refused
//! ```

mod decode_request;
mod decode_response;
mod encode_request;
mod encode_response;
mod object;
mod part;
mod schema;
mod signature;
mod stop_reason;

pub use self::decode_request::decode_request;
pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::{encode_prompt, encode_request};
pub use self::encode_response::{Encoder, encode_whole};
