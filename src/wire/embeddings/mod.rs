//! OpenAI's embeddings at providers that have a format of their own for them.
//!
//! ```text
//! request.rs    caller's request -> one or several bodies for the provider
//! response.rs   the provider's answers -> one answer for the caller
//! ```

mod request;
mod response;

use super::api::Operation;

pub use request::{Encoding, Request};
pub use response::{Vectors, encode_response};

/// The formats in which providers offer embeddings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EmbeddingsFormat {
    /// OpenAI's, at providers that take fewer texts in a request than OpenAI.
    OpenAi,
    /// `batchEmbedContents` of Gemini.
    Gemini,
    /// `predict` of Vertex.
    VertexPredict,
    /// `embedContent` of Vertex, for the newer models.
    VertexContent,
    /// `/v2/embed` of Cohere.
    Cohere,
    /// Titan text embeddings on Bedrock.
    Titan,
    /// Titan multimodal embeddings on Bedrock.
    TitanImage,
    /// Cohere's models on Bedrock.
    CohereOnBedrock,
    /// Nova multimodal embeddings on Bedrock.
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

    /// Returns the format of a model on Vertex, by its two names: the requested one, and the one of its
    /// deployment. `None`: a model of another publisher, which Vertex serves in OpenAI's format.
    ///
    /// `embedContent` takes Gemini's models since the second, and only those
    /// (<https://docs.cloud.google.com/vertex-ai/generative-ai/docs/embeddings/get-text-embeddings>).
    pub fn on_vertex(model: [&str; 2]) -> Option<EmbeddingsFormat> {
        let is_of_google = |name: &str| {
            let (publisher, _) = name.split_once('/').unwrap_or(("google", name));
            publisher == "google"
        };
        if !is_of_google(model[1]) {
            return None;
        }
        let is_newer = |name: &&str| name.contains("gemini-embedding") && !takes_one_text(name);
        Some(if model.iter().any(is_newer) {
            EmbeddingsFormat::VertexContent
        } else {
            EmbeddingsFormat::VertexPredict
        })
    }

    /// Returns the format of a model on Bedrock, by its two names. `None`: it is not known as a model for
    /// embeddings.
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

    /// Returns the operation of the provider.
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

/// Returns true for the one Gemini model that `predict` takes, with a single text in a request.
fn takes_one_text(model: &str) -> bool {
    model.contains("gemini-embedding-001")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_model_gives_its_format() {
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
