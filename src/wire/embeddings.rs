//! OpenAI's embeddings on providers that make them in a form of their own.
//!
//! ```text
//! request.rs   what is asked, and the bodies that ask it; several where one cannot carry all
//! answer.rs    what is answered to each, and the one answer that is made of all
//! ```

mod answer;
mod request;

use super::Operation;

pub use answer::{Part, write};
pub use request::{Encoding, Request};

/// The forms in which providers make embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// OpenAI's, where a request carries fewer texts than at OpenAI.
    OpenAi,
    /// `batchEmbedContents` of Gemini.
    Gemini,
    /// `predict` of Vertex.
    VertexPredict,
    /// `embedContent` of Vertex, which the newer models have.
    VertexContent,
    /// `/v2/embed` of Cohere.
    Cohere,
    /// Titan's embeddings of text on Bedrock.
    Titan,
    /// Titan's embeddings of text and images on Bedrock.
    TitanImage,
    /// Cohere's models on Bedrock.
    CohereOnBedrock,
    /// Nova's embeddings on Bedrock.
    Nova,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 9] = [
        Format::OpenAi,
        Format::Gemini,
        Format::VertexPredict,
        Format::VertexContent,
        Format::Cohere,
        Format::Titan,
        Format::TitanImage,
        Format::CohereOnBedrock,
        Format::Nova,
    ];

    /// That of a model on Vertex, by its two names: the one asked for, and the one it is deployed under.
    /// `None`: that of another publisher, which Vertex serves in OpenAI's form.
    ///
    /// `embedContent` has Gemini's models since the second, and no other has it
    /// (<https://docs.cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings>).
    pub fn on_vertex(model: [&str; 2]) -> Option<Format> {
        let own = |name: &str| {
            let (publisher, _) = name.split_once('/').unwrap_or(("google", name));
            publisher == "google"
        };
        if !own(model[1]) {
            return None;
        }
        let newer = |name: &&str| name.contains("gemini-embedding") && !is_one_by_one(name);
        Some(if model.iter().any(newer) { Format::VertexContent } else { Format::VertexPredict })
    }

    /// That of a model on Bedrock, by its two names. `None`: it makes none, as far as is known.
    pub fn on_bedrock(model: [&str; 2]) -> Option<Format> {
        let is = |part: &str| model.iter().any(|name| name.contains(part));
        Some(match () {
            () if is("titan-embed-image") => Format::TitanImage,
            () if is("titan-embed") => Format::Titan,
            () if is("cohere.embed") => Format::CohereOnBedrock,
            () if is("nova") && is("embed") => Format::Nova,
            () => return None,
        })
    }

    /// What is asked of the provider.
    pub fn operation(self) -> Operation {
        match self {
            Format::OpenAi => Operation::Embeddings,
            Format::Gemini => Operation::BatchEmbedContents,
            Format::VertexPredict => Operation::Predict,
            Format::VertexContent => Operation::EmbedContent,
            Format::Cohere => Operation::CohereEmbed,
            Format::Titan | Format::TitanImage | Format::CohereOnBedrock | Format::Nova => {
                Operation::Invoke
            }
        }
    }
}

/// The one model of Gemini's that `predict` has. It takes a single text a request.
fn is_one_by_one(model: &str) -> bool {
    model.contains("gemini-embedding-001")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_asked_in_the_form_that_it_has() {
        for (model, format) in [
            ("gemini-embedding-001", Some(Format::VertexPredict)),
            ("google/text-embedding-005", Some(Format::VertexPredict)),
            ("1234567890", Some(Format::VertexPredict)),
            ("gemini-embedding-2", Some(Format::VertexContent)),
            ("gemini-embedding-2-preview", Some(Format::VertexContent)),
            ("intfloat/multilingual-e5-large-instruct-maas", None),
        ] {
            assert_eq!(Format::on_vertex([model; 2]), format, "{model}");
        }
        for (model, format) in [
            ("amazon.titan-embed-text-v1", Some(Format::Titan)),
            ("amazon.titan-embed-text-v2:0", Some(Format::Titan)),
            ("amazon.titan-embed-image-v1", Some(Format::TitanImage)),
            ("cohere.embed-english-v3", Some(Format::CohereOnBedrock)),
            ("us.cohere.embed-v4:0", Some(Format::CohereOnBedrock)),
            ("amazon.nova-2-multimodal-embeddings-v1:0", Some(Format::Nova)),
            ("amazon.nova-lite-v1:0", None),
            ("anthropic.claude-haiku-4-5-20251001-v1:0", None),
        ] {
            assert_eq!(Format::on_bedrock([model; 2]), format, "{model}");
        }
        let profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/x";
        let named = Format::on_bedrock(["cohere.embed-v4:0", profile]);
        assert_eq!(named, Some(Format::CohereOnBedrock));
    }
}
