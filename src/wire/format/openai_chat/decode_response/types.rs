//! A chunk of a stream as vendors write it, and a whole answer, which is a chunk with messages for deltas.
//!
//! Scalars of the wrong type are read as far as they can be: a vendor's odd `index` is no reason to lose
//! its text.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Number, Value};

#[derive(Deserialize)]
pub(crate) struct Chunk<'d> {
    #[serde(default, borrow)]
    pub(crate) id: Text<'d>,
    #[serde(default, borrow)]
    pub(crate) model: Text<'d>,
    #[serde(default)]
    pub(crate) created: Option<Number>,
    #[serde(default, borrow)]
    pub(crate) object: Text<'d>,
    #[serde(default, borrow)]
    pub(crate) service_tier: Text<'d>,
    #[serde(default, borrow)]
    pub(crate) choices: Option<Vec<Choice<'d>>>,
    #[serde(default, borrow)]
    pub(crate) usage: Option<&'d RawValue>,
    /// Groq's own, in which a stream's usage stands where it was not asked for.
    #[serde(default, borrow)]
    pub(crate) x_groq: Option<Groq<'d>>,
    #[serde(default, borrow)]
    pub(crate) error: Option<&'d RawValue>,
    /// Perplexity's sources, in every chunk.
    #[serde(default, borrow)]
    pub(crate) search_results: Option<&'d RawValue>,
}

#[derive(Deserialize)]
pub(crate) struct Groq<'d> {
    #[serde(default, borrow)]
    pub(crate) usage: Option<&'d RawValue>,
}

#[derive(Deserialize)]
pub(crate) struct Choice<'d> {
    #[serde(default)]
    pub(crate) index: Option<u64>,
    #[serde(default, borrow)]
    pub(crate) delta: Option<Delta<'d>>,
    /// Of a whole answer; Perplexity has it beside the delta.
    #[serde(default, borrow)]
    pub(crate) message: Option<Delta<'d>>,
    #[serde(default, borrow)]
    pub(crate) finish_reason: Text<'d>,
    /// vLLM's name of the stop sequence; a number is a token's.
    #[serde(default)]
    pub(crate) stop_reason: Option<Value>,
    /// SGLang's.
    #[serde(default)]
    pub(crate) matched_stop: Option<Value>,
    #[serde(default)]
    pub(crate) logprobs: Option<Logprobs>,
    /// OpenRouter's, of one choice.
    #[serde(default, borrow)]
    pub(crate) error: Option<&'d RawValue>,
}

/// In the form of OpenAI; others are not read.
#[derive(Deserialize)]
pub(crate) struct Logprobs {
    #[serde(default)]
    pub(crate) content: Option<Vec<Value>>,
    #[serde(default)]
    pub(crate) refusal: Option<Vec<Value>>,
}

#[derive(Default, Deserialize)]
pub(crate) struct Delta<'d> {
    #[serde(default, borrow)]
    pub(crate) content: Content<'d>,
    #[serde(default, borrow)]
    pub(crate) reasoning_content: Text<'d>,
    #[serde(default, borrow)]
    pub(crate) reasoning: Text<'d>,
    /// OpenRouter's.
    #[serde(default, borrow)]
    pub(crate) reasoning_details: Option<&'d RawValue>,
    #[serde(default, borrow)]
    pub(crate) refusal: Text<'d>,
    #[serde(default, borrow)]
    pub(crate) tool_calls: Option<Vec<Call<'d>>>,
    #[serde(default, borrow)]
    pub(crate) function_call: Option<Function<'d>>,
    #[serde(default)]
    pub(crate) annotations: Option<Vec<Value>>,
    #[serde(default, borrow)]
    pub(crate) audio: Option<Audio<'d>>,
    /// OpenRouter's.
    #[serde(default, borrow)]
    pub(crate) images: Option<Vec<Image<'d>>>,
    /// Google's.
    #[serde(default, borrow)]
    pub(crate) extra_content: Option<Extra<'d>>,
}

#[derive(Deserialize)]
pub(crate) struct Call<'d> {
    #[serde(default)]
    pub(crate) index: Option<u64>,
    #[serde(default, borrow)]
    pub(crate) id: Text<'d>,
    #[serde(default, borrow)]
    pub(crate) function: Option<Function<'d>>,
    #[serde(default, borrow)]
    pub(crate) extra_content: Option<Extra<'d>>,
}

#[derive(Default, Deserialize)]
pub(crate) struct Function<'d> {
    #[serde(default, borrow)]
    pub(crate) name: Text<'d>,
    /// A string; some have the object itself.
    #[serde(default, borrow)]
    pub(crate) arguments: Option<&'d RawValue>,
}

impl Function<'_> {
    /// The arguments' JSON text, or the next piece of it.
    pub(crate) fn arguments(&self) -> Cow<'_, str> {
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
pub(crate) struct Audio<'d> {
    #[serde(default, borrow)]
    pub(crate) transcript: Text<'d>,
}

#[derive(Deserialize)]
pub(crate) struct Image<'d> {
    #[serde(default, borrow)]
    pub(crate) image_url: Option<ImageUrl<'d>>,
}

#[derive(Deserialize)]
pub(crate) struct ImageUrl<'d> {
    #[serde(default, borrow)]
    pub(crate) url: Text<'d>,
}

#[derive(Deserialize)]
pub(crate) struct Extra<'d> {
    #[serde(default, borrow)]
    pub(crate) google: Option<Google<'d>>,
}

#[derive(Deserialize)]
pub(crate) struct Google<'d> {
    #[serde(default, borrow)]
    pub(crate) thought_signature: Text<'d>,
}

impl Extra<'_> {
    pub(crate) fn signature(&self) -> Option<&str> {
        let signature = &self.google.as_ref()?.thought_signature;
        (!signature.is_empty()).then_some(signature.as_str())
    }
}

/// A string that is borrowed where it can be; `null`, and whatever is no scalar, is empty.
#[derive(Default)]
pub(crate) struct Text<'d>(pub(crate) Cow<'d, str>);

impl Text<'_> {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is not empty.
    pub(crate) fn told(&self) -> Option<String> {
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

/// Text, or Mistral's chunks of text and thought.
#[derive(Default)]
pub(crate) enum Content<'d> {
    #[default]
    None,
    Text(Cow<'d, str>),
    Parts(Vec<Part<'d>>),
}

#[derive(Deserialize)]
pub(crate) struct Part<'d> {
    #[serde(default, borrow, rename = "type")]
    pub(crate) kind: Text<'d>,
    #[serde(default, borrow)]
    pub(crate) text: Text<'d>,
    #[serde(default, borrow)]
    pub(crate) refusal: Text<'d>,
    #[serde(default, borrow)]
    pub(crate) thinking: Option<Box<Content<'d>>>,
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
