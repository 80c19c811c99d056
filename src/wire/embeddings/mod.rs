//! OpenAI's embeddings on providers that make them in a form of their own.
//!
//! ```text
//! request.rs   what is asked, and the bodies that ask it; several where one cannot carry all
//! answer.rs    what is answered to each, and the one answer that is made of all
//! ```

mod answer;
mod request;

use super::api::Operation;

pub use answer::{Part, write};
pub use request::{Encoding, Request};

/// The forms in which providers make embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmbeddingsFormat {
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

impl EmbeddingsFormat {
    /// All of them.
    pub const ALL: [EmbeddingsFormat; 9] = [
        EmbeddingsFormat::OpenAi,
        EmbeddingsFormat::Gemini,
        EmbeddingsFormat::VertexPredict,
        EmbeddingsFormat::VertexContent,
        EmbeddingsFormat::Cohere,
        EmbeddingsFormat::Titan,
        EmbeddingsFormat::TitanImage,
        EmbeddingsFormat::CohereOnBedrock,
        EmbeddingsFormat::Nova,
    ];

    /// That of a model on Vertex, by its two names: the one asked for, and the one it is deployed under.
    /// `None`: that of another publisher, which Vertex serves in OpenAI's form.
    ///
    /// `embedContent` has Gemini's models since the second, and no other has it
    /// (<https://docs.cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings>).
    pub fn on_vertex(model: [&str; 2]) -> Option<EmbeddingsFormat> {
        let own = |name: &str| {
            let (publisher, _) = name.split_once('/').unwrap_or(("google", name));
            publisher == "google"
        };
        if !own(model[1]) {
            return None;
        }
        let newer = |name: &&str| name.contains("gemini-embedding") && !is_one_by_one(name);
        Some(if model.iter().any(newer) {
            EmbeddingsFormat::VertexContent
        } else {
            EmbeddingsFormat::VertexPredict
        })
    }

    /// That of a model on Bedrock, by its two names. `None`: it makes none, as far as is known.
    pub fn on_bedrock(model: [&str; 2]) -> Option<EmbeddingsFormat> {
        let is = |part: &str| model.iter().any(|name| name.contains(part));
        Some(match () {
            () if is("titan-embed-image") => EmbeddingsFormat::TitanImage,
            () if is("titan-embed") => EmbeddingsFormat::Titan,
            () if is("cohere.embed") => EmbeddingsFormat::CohereOnBedrock,
            () if is("nova") && is("embed") => EmbeddingsFormat::Nova,
            () => return None,
        })
    }

    /// What is asked of the provider.
    pub fn operation(self) -> Operation {
        match self {
            EmbeddingsFormat::OpenAi => Operation::Embeddings,
            EmbeddingsFormat::Gemini => Operation::BatchEmbedContents,
            EmbeddingsFormat::VertexPredict => Operation::Predict,
            EmbeddingsFormat::VertexContent => Operation::EmbedContent,
            EmbeddingsFormat::Cohere => Operation::CohereEmbed,
            EmbeddingsFormat::Titan
            | EmbeddingsFormat::TitanImage
            | EmbeddingsFormat::CohereOnBedrock
            | EmbeddingsFormat::Nova => Operation::Invoke,
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
            ("gemini-embedding-001", Some(EmbeddingsFormat::VertexPredict)),
            ("google/text-embedding-005", Some(EmbeddingsFormat::VertexPredict)),
            ("1234567890", Some(EmbeddingsFormat::VertexPredict)),
            ("gemini-embedding-2", Some(EmbeddingsFormat::VertexContent)),
            ("gemini-embedding-2-preview", Some(EmbeddingsFormat::VertexContent)),
            ("intfloat/multilingual-e5-large-instruct-maas", None),
        ] {
            assert_eq!(EmbeddingsFormat::on_vertex([model; 2]), format, "{model}");
        }
        for (model, format) in [
            ("amazon.titan-embed-text-v1", Some(EmbeddingsFormat::Titan)),
            ("amazon.titan-embed-text-v2:0", Some(EmbeddingsFormat::Titan)),
            ("amazon.titan-embed-image-v1", Some(EmbeddingsFormat::TitanImage)),
            ("cohere.embed-english-v3", Some(EmbeddingsFormat::CohereOnBedrock)),
            ("us.cohere.embed-v4:0", Some(EmbeddingsFormat::CohereOnBedrock)),
            ("amazon.nova-2-multimodal-embeddings-v1:0", Some(EmbeddingsFormat::Nova)),
            ("amazon.nova-lite-v1:0", None),
            ("anthropic.claude-haiku-4-5-20251001-v1:0", None),
        ] {
            assert_eq!(EmbeddingsFormat::on_bedrock([model; 2]), format, "{model}");
        }
        let profile = "arn:aws:bedrock:us-east-1:1:application-inference-profile/x";
        let named = EmbeddingsFormat::on_bedrock(["cohere.embed-v4:0", profile]);
        assert_eq!(named, Some(EmbeddingsFormat::CohereOnBedrock));
    }
}
