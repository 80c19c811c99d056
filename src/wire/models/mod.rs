//! What each family of models takes, once for every API through which it is reached.

pub(crate) mod claude;
pub(crate) mod gemini;
pub(crate) mod nova;
pub(crate) mod openai;
