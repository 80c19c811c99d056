//! A chunk of a stream as vendors write it. A whole answer is a chunk with messages instead of deltas.
//!
//! Scalars of the wrong type are read as far as possible, so that an odd `index` does not lose the text beside
//! it.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

#[derive(Deserialize)]
pub(super) struct Chunk<'d> {
    #[serde(default, borrow)]
    pub(super) id: Text<'d>,
    #[serde(default, borrow)]
    pub(super) model: Text<'d>,
    #[serde(default)]
    pub(super) created: Option<Number>,
    #[serde(default, borrow)]
    pub(super) object: Text<'d>,
    #[serde(default, borrow)]
    pub(super) service_tier: Text<'d>,
    #[serde(default, borrow)]
    pub(super) choices: Option<Vec<Choice<'d>>>,
    #[serde(default, borrow)]
    pub(super) usage: Option<&'d RawValue>,
    /// Groq's: the usage of a stream that did not request it.
    #[serde(default, borrow)]
    pub(super) x_groq: Option<Groq<'d>>,
    #[serde(default, borrow)]
    pub(super) error: Option<&'d RawValue>,
    /// Perplexity's sources, in every chunk.
    #[serde(default, borrow)]
    pub(super) search_results: Option<&'d RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Groq<'d> {
    #[serde(default, borrow)]
    pub(super) usage: Option<&'d RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Choice<'d> {
    #[serde(default)]
    pub(super) index: Option<u64>,
    #[serde(default, borrow)]
    pub(super) delta: Option<Delta<'d>>,
    /// Of a whole answer; Perplexity has it beside the delta.
    #[serde(default, borrow)]
    pub(super) message: Option<Delta<'d>>,
    #[serde(default, borrow)]
    pub(super) finish_reason: Text<'d>,
    /// vLLM's: the stop sequence, or the number of a stop token.
    #[serde(default)]
    pub(super) stop_reason: Option<Value>,
    /// SGLang's: the stop sequence.
    #[serde(default)]
    pub(super) matched_stop: Option<Value>,
    #[serde(default)]
    pub(super) logprobs: Option<Logprobs>,
    /// OpenRouter's, of one choice.
    #[serde(default, borrow)]
    pub(super) error: Option<&'d RawValue>,
}

/// In OpenAI's form; others are ignored.
#[derive(Deserialize)]
pub(super) struct Logprobs {
    #[serde(default)]
    pub(super) content: Option<Vec<Value>>,
    #[serde(default)]
    pub(super) refusal: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
pub(super) struct Delta<'d> {
    #[serde(default, borrow)]
    pub(super) content: Content<'d>,
    #[serde(default, borrow)]
    pub(super) reasoning_content: Text<'d>,
    #[serde(default, borrow)]
    pub(super) reasoning: Text<'d>,
    /// OpenRouter's.
    #[serde(default, borrow)]
    pub(super) reasoning_details: Option<&'d RawValue>,
    #[serde(default, borrow)]
    pub(super) refusal: Text<'d>,
    #[serde(default, borrow)]
    pub(super) tool_calls: Option<Vec<Call<'d>>>,
    #[serde(default, borrow)]
    pub(super) function_call: Option<Function<'d>>,
    #[serde(default)]
    pub(super) annotations: Option<Vec<Value>>,
    #[serde(default, borrow)]
    pub(super) audio: Option<Audio<'d>>,
    /// OpenRouter's.
    #[serde(default, borrow)]
    pub(super) images: Option<Vec<Image<'d>>>,
    /// Google's.
    #[serde(default, borrow)]
    pub(super) extra_content: Option<Extra<'d>>,
}

#[derive(Deserialize)]
pub(super) struct Call<'d> {
    #[serde(default)]
    pub(super) index: Option<u64>,
    #[serde(default, borrow)]
    pub(super) id: Text<'d>,
    #[serde(default, borrow)]
    pub(super) function: Option<Function<'d>>,
    #[serde(default, borrow)]
    pub(super) extra_content: Option<Extra<'d>>,
}

#[derive(Default, Deserialize)]
pub(super) struct Function<'d> {
    #[serde(default, borrow)]
    pub(super) name: Text<'d>,
    /// A string; some have the object itself.
    #[serde(default, borrow)]
    pub(super) arguments: Option<&'d RawValue>,
}

impl Function<'_> {
    /// Returns the arguments' JSON text, or the next piece of it.
    pub(super) fn arguments(&self) -> Cow<'_, str> {
        match self.arguments.map(RawValue::get) {
            None | Some("null") => Cow::Borrowed(""),
            Some(raw) if raw.starts_with('"') => {
                serde_json::from_str::<Text<'_>>(raw).map_or(Cow::Borrowed(""), |text| text.0)
            }
            Some(raw) => Cow::Borrowed(raw),
        }
    }
}

#[derive(Deserialize)]
pub(super) struct Audio<'d> {
    #[serde(default, borrow)]
    pub(super) transcript: Text<'d>,
}

#[derive(Deserialize)]
pub(super) struct Image<'d> {
    #[serde(default, borrow)]
    pub(super) image_url: Option<ImageUrl<'d>>,
}

#[derive(Deserialize)]
pub(super) struct ImageUrl<'d> {
    #[serde(default, borrow)]
    pub(super) url: Text<'d>,
}

#[derive(Deserialize)]
pub(super) struct Extra<'d> {
    #[serde(default, borrow)]
    pub(super) google: Option<Google<'d>>,
}

#[derive(Deserialize)]
pub(super) struct Google<'d> {
    #[serde(default, borrow)]
    pub(super) thought_signature: Text<'d>,
}

impl Extra<'_> {
    /// Returns Gemini's signature.
    pub(super) fn signature(&self) -> Option<&str> {
        let signature = &self.google.as_ref()?.thought_signature;
        (!signature.is_empty()).then_some(signature.as_str())
    }
}

/// A string, borrowed if possible. `null` and anything that is not a scalar is empty.
#[derive(Default)]
pub(super) struct Text<'d>(pub(super) Cow<'d, str>);

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the text if it is not empty.
    pub(super) fn non_empty(&self) -> Option<String> {
        (!self.0.is_empty()).then(|| self.0.as_ref().to_owned())
    }
}

impl<'de: 'd, 'd> Deserialize<'de> for Text<'d> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match deserializer.deserialize_any(ContentVisitor)? {
            Content::Text(text) => Ok(Text(text)),
            Content::None | Content::Parts(_) => Ok(Text::default()),
        }
    }
}

/// Text, or Mistral's parts of text and reasoning.
#[derive(Default)]
pub(super) enum Content<'d> {
    #[default]
    None,
    Text(Cow<'d, str>),
    Parts(Vec<Part<'d>>),
}

#[derive(Deserialize)]
pub(super) struct Part<'d> {
    #[serde(default, borrow, rename = "type")]
    pub(super) kind: Text<'d>,
    #[serde(default, borrow)]
    pub(super) text: Text<'d>,
    #[serde(default, borrow)]
    pub(super) refusal: Text<'d>,
    #[serde(default, borrow)]
    pub(super) thinking: Option<Box<Content<'d>>>,
}

impl<'de: 'd, 'd> Deserialize<'de> for Content<'d> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string or a list of parts")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Content::Text(Cow::Borrowed(text)))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(Content::Text(Cow::Owned(text.to_owned())))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Content::None)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
        Ok(Content::None)
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Content::Text(Cow::Owned(number.to_string())))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Content::Text(Cow::Owned(number.to_string())))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
        Ok(Content::Text(Cow::Owned(number.to_string())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut parts = Vec::new();
        while let Some(part) = list.next_element()? {
            parts.push(part);
        }
        Ok(Content::Parts(parts))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Content::None)
    }
}
