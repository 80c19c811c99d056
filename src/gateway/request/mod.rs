//! One request, from its head to an attempt.

pub(crate) mod authenticate;
pub(crate) mod body;
pub(crate) mod handle;
pub(crate) mod models;
pub(crate) mod objects;
pub(crate) mod resource_ids;
