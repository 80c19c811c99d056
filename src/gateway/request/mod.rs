//! One request, from its head to the response. Each file uses only those before it in this list:
//!
//! ```text
//! authenticate.rs  the client, by its key or its AWS signature
//! body.rs          reads the body under the limits
//! resource_ids.rs  the key that owns a stored object, by the object's id
//! models.rs        GET /v1/models
//! respond.rs       a provider's response as the caller gets it
//! objects.rs       files, batches and other stored objects
//! operation.rs     chats, embeddings and other requests for a model
//! handle.rs        one request, from top to bottom
//! ```

mod authenticate;
mod body;
pub(super) mod handle;
mod models;
mod objects;
mod operation;
mod resource_ids;
mod respond;
