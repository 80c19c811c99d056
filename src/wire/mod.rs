//! Bytes and their meaning. Synchronous: no I/O, clock, configuration or logging in here.
//!
//! Each room below uses only those above it; `tests/layers.rs` holds the order.
//!
//! ```text
//! json         one scanner over JSON text, and splices into it
//! api          whose API, which operation, in which format, at which path
//! frame        server-sent events, AWS event streams, JSON arrays
//! failure      classes of failure, retry-after, rate limits; an error in another API's form
//! inspect      what is read of a body that passes as it is: model, conversation, usage, end
//! ir           the hub between formats: Request, Event, Response
//! feature      what a request may ask for: one row a feature, one column a format
//! models       what each family of models takes
//! fit          Request -> a Request that the target can take
//! format       decode and encode, one folder a format
//! translate    the only file that names all formats
//! ```

pub mod api;
pub mod embeddings;
pub mod failure;
pub mod feature;
mod fit;
pub mod format;
pub mod frame;
pub mod inspect;
pub mod ir;
pub mod json;
mod models;
pub mod token_count;
pub mod translate;
