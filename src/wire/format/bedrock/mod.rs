//! `Converse` and `ConverseStream` of Bedrock.
//! <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html>
//!
//! ```text
//! decode.rs turns.rs    a caller's body -> Request
//! encode.rs say.rs      Request -> a provider's body; extra.rs: what stands in additionalModelRequestFields
//! stream.rs whole.rs    a provider's answer -> events
//! show.rs               events -> a caller's answer
//! models.rs formats.rs  what the models differ in, and the format's own words for media
//! ```
//!
//! An answer is one message of blocks, each with an index; text and reasoning have no event that opens them.
//! Ends with `metadata`, behind `messageStop`.

mod decode_request;
mod decode_response;
mod encode_request;
mod encode_response;
mod media_types;
mod models;

pub use self::decode_request::decode_request;
pub use self::decode_response::Decoder;
pub use self::decode_response::whole::decode_whole;
pub use self::encode_request::encode_request;
pub use self::encode_response::{Encoder, encode_whole};

/// Stands before the data of a signature that is a `redactedContent` and no `signature`: both may come with an
/// empty text, and only one of them may go back as the other.
const REDACTED: &str = "redacted:";
