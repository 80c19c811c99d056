//! What a caller's path asks for, in the manner of each API.
//!
//! | path | |
//! |---|---|
//! | `/v1/chat/completions` and its like | OpenAI |
//! | `/openai/v1/…`, `/openai/deployments/{model}/…`, `/openai/…` | OpenAI in the manner of Azure |
//! | `/v1/messages`, `/v1/messages/count_tokens`, both also behind `/anthropic` | Anthropic |
//! | `/{v1,v1beta,v1beta1,v1alpha}/models/{model}:{verb}`, also `tunedModels` | Gemini |
//! | `/{version}/projects/{}/locations/{}/publishers/{}/models/{model}:{verb}` | Vertex; without `projects/…/locations/…` too |
//! | `/{version}/projects/{}/locations/{}/endpoints/openapi/…` | OpenAI in the manner of Vertex |
//! | `/model/{model}/{verb}` | Bedrock, the model with its `:` and `/` encoded or not |
//! | `/v2/chat`, `/v2/embed`, `/v2/rerank` | Cohere |
//! | `/v1/files`, `/v1/batches` and what else [`stored`] lists | kept for later |
//! | `/v1/predictions`, `/v1/{models,deployments}/{owner}/{name}/predictions` | Replicate |

use std::borrow::Cow;

use super::resources::{self, Stored};
use super::{Api, Operation};

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place<'p> {
    /// `/`: clients look whether there is anybody.
    Presence,
    /// The list of models.
    Models,
    /// One model of the list, as the path has it.
    Model(&'p str),
    /// Something to be asked of a provider.
    Operation(Address<'p>),
    /// Something that a provider keeps.
    Stored(Stored<'p>),
}

/// An operation as a path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address<'p> {
    /// What is asked for.
    pub operation: Operation,
    /// What the path says of its form: Google's version, such as `v1beta`; Replicate's collection, such as
    /// `deployments`; `v1` for all others.
    pub form: &'p str,
    /// The model, where the path and not the body names it.
    pub model: Option<Cow<'p, str>>,
}

/// The versions of Google's APIs. <https://ai.google.dev/gemini-api/docs/api-versions>
const GOOGLE_VERSIONS: [&str; 4] = ["v1", "v1beta", "v1beta1", "v1alpha"];

/// What stands at the path; `None`: nothing.
pub fn find(path: &str) -> Option<Place<'_>> {
    match path {
        "/" => return Some(Place::Presence),
        "/v1/models" | "/v1beta/models" | "/openai/v1/models" | "/openai/models" => {
            return Some(Place::Models);
        }
        _ => {}
    }
    let plain = |operation| Address { operation, form: "v1", model: None };
    let behind_version = path.strip_prefix("/v1");
    let found = behind_version
        .and_then(|rest| Operation::at(Api::OpenAi, rest))
        .or_else(|| anthropic(path))
        .or_else(|| Operation::at(Api::Cohere, path))
        .map(plain)
        .or_else(|| azure(path))
        .or_else(|| bedrock(path))
        .or_else(|| replicate(path))
        .or_else(|| google(path));
    if let Some(address) = found {
        return Some(Place::Operation(address));
    }
    if let Some(stored) = resources::find(path) {
        return Some(Place::Stored(stored));
    }
    let id = ["/v1/models/", "/v1beta/models/", "/openai/v1/models/"]
        .iter()
        .find_map(|prefix| path.strip_prefix(prefix))?;
    (!id.is_empty()).then_some(Place::Model(id))
}

impl Place<'_> {
    /// Whose shapes a caller of it expects; `None`: it could be anybody's.
    pub fn api(&self) -> Option<Api> {
        match self {
            Place::Operation(address) => Some(address.operation.api()),
            Place::Stored(stored) => Some(stored.operation.api()),
            Place::Presence | Place::Models | Place::Model(_) => None,
        }
    }
}

/// Whose shape of errors is expected at a path where nothing stands, by its beginning; `None`: it could be
/// anybody's.
pub fn api_of(path: &str) -> Option<Api> {
    let first = path.strip_prefix('/')?.split('/').next()?;
    match first {
        "anthropic" => Some(Api::Anthropic),
        "model" => Some(Api::Bedrock),
        "v2" => Some(Api::Cohere),
        "v1beta" | "v1beta1" | "v1alpha" => Some(Api::Gemini),
        "v1" if path.starts_with("/v1/messages") => Some(Api::Anthropic),
        "v1" if path.starts_with("/v1/projects/") || path.starts_with("/v1/publishers/") => {
            Some(Api::Gemini)
        }
        "v1" if path.starts_with("/v1/predictions/") => Some(Api::Replicate),
        _ => None,
    }
}

fn anthropic(path: &str) -> Option<Operation> {
    let path = path.strip_prefix("/anthropic").unwrap_or(path);
    matches!(path, "/v1/messages" | "/v1/messages/count_tokens")
        .then(|| Operation::at(Api::Anthropic, path))?
}

fn azure(path: &str) -> Option<Address<'_>> {
    let rest = path.strip_prefix("/openai")?;
    if let Some(rest) = rest.strip_prefix("/deployments/") {
        // The official SDK leaves a `/` in the name of a client's deployment as it is.
        let (model, operation) = rest.match_indices('/').find_map(|(at, _)| {
            Operation::at(Api::OpenAi, &rest[at..]).map(|operation| (&rest[..at], operation))
        })?;
        return Some(Address { operation, form: "v1", model: Some(resources::decoded(model)?) });
    }
    let operation = Operation::at(Api::OpenAi, rest.strip_prefix("/v1").unwrap_or(rest))?;
    Some(Address { operation, form: "v1", model: None })
}

fn bedrock(path: &str) -> Option<Address<'_>> {
    let (model, verb) = path.strip_prefix("/model/")?.rsplit_once('/')?;
    let operation = Operation::at(Api::Bedrock, verb)?;
    Some(Address { operation, form: "v1", model: Some(resources::decoded(model)?) })
}

fn replicate(path: &str) -> Option<Address<'_>> {
    let rest = path.strip_prefix("/v1/")?.strip_suffix("predictions")?;
    let operation = Operation::Prediction;
    if rest.is_empty() {
        return Some(Address { operation, form: "predictions", model: None });
    }
    let (form, model) = rest.strip_suffix('/')?.split_once('/')?;
    let known = matches!(form, "models" | "deployments");
    known.then_some(Address { operation, form, model: Some(resources::decoded(model)?) })
}

fn google(path: &str) -> Option<Address<'_>> {
    let (version, mut rest) = path.strip_prefix('/')?.split_once('/')?;
    if !GOOGLE_VERSIONS.contains(&version) {
        return None;
    }
    if let Some(behind) = rest.strip_prefix("projects/") {
        let mut parts = behind.splitn(4, '/');
        let (_project, locations, _location) = (parts.next()?, parts.next()?, parts.next()?);
        rest = parts.next().filter(|_| locations == "locations")?;
    }
    if let Some(rest) = rest.strip_prefix("endpoints/openapi") {
        let operation = Operation::at(Api::OpenAi, rest)?;
        return Some(Address { operation, form: version, model: None });
    }
    if rest == "publishers/anthropic/models/count-tokens:rawPredict" {
        return Some(Address { operation: Operation::RawCountTokens, form: version, model: None });
    }
    let (resource, verb) = rest.rsplit_once(':')?;
    let operation =
        Operation::at(Api::Gemini, verb).or_else(|| Operation::at(Api::Anthropic, verb))?;
    let model = if let Some(rest) = resource.strip_prefix("publishers/") {
        let (publisher, model) = rest.split_once("/models/")?;
        let model = resources::decoded(model)?;
        match publisher {
            "google" | "anthropic" => model,
            // The official SDK makes a publisher of what stands before the first `/` of a model.
            _ => Cow::Owned(format!("{}/{model}", resources::decoded(publisher)?)),
        }
    } else {
        let of = ["models/", "tunedModels/", "endpoints/"];
        let model = of.iter().find_map(|prefix| resource.strip_prefix(prefix))?;
        resources::decoded(model)?
    };
    Some(Address { operation, form: version, model: Some(model) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(path: &str) -> Option<(Operation, String)> {
        match find(path)? {
            Place::Operation(address) => {
                Some((address.operation, address.model.unwrap_or_default().into_owned()))
            }
            _ => None,
        }
    }

    fn is(path: &str, expected: Operation, model: &str) {
        assert_eq!(operation(path), Some((expected, model.to_owned())), "{path}");
    }

    #[test]
    fn each_api_is_known_by_its_paths() {
        is("/v1/chat/completions", Operation::Chat, "");
        is("/v1/messages", Operation::Messages, "");
        is("/anthropic/v1/messages/count_tokens", Operation::CountTokens, "");
        is("/v2/rerank", Operation::CohereRerank, "");
        is("/v1/rerank", Operation::Rerank, "");
        is("/openai/v1/responses", Operation::Responses, "");
        is("/openai/responses", Operation::Responses, "");
        is("/openai/deployments/my%20gpt/audio/speech", Operation::Speech, "my gpt");
        is("/openai/deployments/azure/my-gpt/chat/completions", Operation::Chat, "azure/my-gpt");
        is("/v1/predictions", Operation::Prediction, "");
        is("/v1/models/meta/llama-3/predictions", Operation::Prediction, "meta/llama-3");
        is("/v1/deployments/me/mine/predictions", Operation::Prediction, "me/mine");
    }

    #[test]
    fn google_s_models_stand_before_the_verb() {
        is(
            "/v1beta/models/gemini-2.5-flash:countTokens",
            Operation::GeminiCountTokens,
            "gemini-2.5-flash",
        );
        is("/v1beta/models/gemini/x:generateContent", Operation::GenerateContent, "gemini/x");
        is("/v1/tunedModels/mine:generateContent", Operation::GenerateContent, "mine");
        let vertex = "/v1beta1/projects/p/locations/us-central1";
        is(&format!("{vertex}/publishers/google/models/g:predict"), Operation::Predict, "g");
        is(&format!("{vertex}/publishers/vertex/models/g:predict"), Operation::Predict, "vertex/g");
        is(
            &format!("{vertex}/publishers/anthropic/models/claude@1:streamRawPredict"),
            Operation::StreamRawPredict,
            "claude@1",
        );
        is(
            &format!("{vertex}/publishers/anthropic/models/count-tokens:rawPredict"),
            Operation::RawCountTokens,
            "",
        );
        is(&format!("{vertex}/endpoints/123:generateContent"), Operation::GenerateContent, "123");
        is(&format!("{vertex}/endpoints/openapi/chat/completions"), Operation::Chat, "");
        is("/v1beta1/publishers/google/models/g:embedContent", Operation::EmbedContent, "g");
    }

    #[test]
    fn bedrock_s_models_may_be_encoded_or_not() {
        let arn = "arn:aws:bedrock:us-east-1:1:inference-profile/us.a-v1:0";
        is(&format!("/model/{arn}/converse"), Operation::Converse, arn);
        let encoded = arn.replace(':', "%3A").replace('/', "%2F");
        is(&format!("/model/{encoded}/invoke-with-response-stream"), Operation::InvokeStream, arn);
    }

    #[test]
    fn a_model_is_a_name_and_no_way_to_another_path() {
        for path in [
            "/model/../converse",
            "/model/a%2F..%2Fb/converse",
            "/model/%00/converse",
            "/model/%FF/converse",
            "/model//converse",
            "/v1beta/models/:generateContent",
            "/openai/deployments/%2E%2E/chat/completions",
            "/v2/projects/p/locations/l/publishers/google/models/m:generateContent",
            "/v1/chat",
            "/model/m/other",
        ] {
            assert_eq!(operation(path), None, "{path}");
        }
    }

    #[test]
    fn models_are_listed_and_looked_at() {
        assert_eq!(find("/"), Some(Place::Presence));
        assert_eq!(find("/v1/models"), Some(Place::Models));
        assert_eq!(find("/v1/models/ft:gpt-4o:me"), Some(Place::Model("ft:gpt-4o:me")));
        assert_eq!(find("/v1/models/"), None);
    }

    #[test]
    fn a_path_tells_whose_errors_are_expected() {
        assert_eq!(api_of("/v1/messages/batches/x"), Some(Api::Anthropic));
        assert_eq!(api_of("/model/x/what"), Some(Api::Bedrock));
        assert_eq!(api_of("/v1beta/cachedContents"), Some(Api::Gemini));
        let chat = find("/v1/chat/completions").unwrap();
        assert_eq!(chat.api(), Some(Api::OpenAi));
        assert_eq!(api_of("/v1/what"), None);
    }
}
