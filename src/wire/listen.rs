//! Listening to an answer on its way through.
