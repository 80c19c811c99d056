//! Gemini's `generateContent` and `streamGenerateContent`, as the Gemini API and Vertex have them.
//! <https://ai.google.dev/api/generate-content>,
//! <https://cloud.google.com/vertex-ai/generative-ai/docs/reference/rest/v1/GenerateContentResponse>
//!
//! ```text
//! caller half     decode_request    body -> Request
//!                 encode_response   Event, Response -> chunks, a whole answer
//! provider half   fit               Request -> a Request that the model takes
//!                 encode_request    Request -> body
//!                 decode_response   chunks, a whole answer -> Event
//! both            part              parts of a content, as they are written
//!                 settings          scalar settings, one row each
//!                 signature         `thoughtSignature`
//!                 stop_reason       `finishReason`
//!                 media, object, schema
//! ```

mod decode_request;
mod decode_response;
mod encode_request;
mod encode_response;
mod fit;
mod media;
mod object;
mod part;
mod schema;
mod settings;
mod signature;
mod stop_reason;

pub use self::decode_request::decode_request;
pub use self::decode_response::{Decoder, decode_whole};
pub use self::encode_request::encode_request;
pub use self::encode_response::{Encoder, encode_whole};
pub(crate) use self::fit::fit;
