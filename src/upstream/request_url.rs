//! URL and body of a request, for each kind of provider. The paths are those of the vendors' API
//! references.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::attempt::{Attempt, RequestKind};
use super::request_body::RequestBody;
use crate::config::{ApiVersion, Cloud, Endpoint, Key, Vertex};
use crate::provider::Kind;
use crate::wire::api::resources::StoredObject;
use crate::wire::api::routes::Address;
use crate::wire::api::{Api, Operation, resources};
use crate::wire::format::anthropic_on_clouds;
use crate::wire::inspect::gemini_model_field;
use crate::wire::inspect::model::Peek;

/// All characters except RFC 3986's unreserved ones, so that a name stays one segment of a path.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Parameters of a caller's query that concern the caller's own URL or key.
const NOT_FORWARDED: [&str; 6] =
    ["key", "api_key", "api-key", "access_token", "api-version", "$key"];

/// The paths of one key that depend on nothing else, computed once.
#[derive(Debug)]
pub(super) struct Paths {
    fixed: [Option<PathAndQuery>; Operation::COUNT],
}

/// URL and body of one attempt.
pub(super) struct Target {
    pub(super) uri: Uri,
    pub(super) body: RequestBody,
}

impl Paths {
    pub(super) fn new(kind: Kind, key: &Key) -> io::Result<Self> {
        let mut fixed = [const { None }; Operation::COUNT];
        for operation in Operation::all().filter(|operation| kind.supports(*operation)) {
            if let Some(path) = fixed_path(kind, key, operation) {
                fixed[operation as usize] =
                    Some(PathAndQuery::try_from(path).map_err(io::Error::other)?);
            }
        }
        Ok(Self { fixed })
    }

    /// Returns URL and body of the attempt with this key; `None` if its model cannot be part of a path.
    pub(super) fn target(&self, kind: Kind, key: &Key, attempt: &Attempt<'_>) -> Option<Target> {
        // Other clouds do not support the query parameters of Anthropic's own API.
        let drops_query = matches!(kind, Kind::Vertex | Kind::Bedrock)
            && attempt.kind.operation().api() == Api::Anthropic;
        let query = attempt.query.filter(|_| !drops_query);
        let query = query.map(forwarded_query).filter(|query| !query.is_empty());
        let (address, peek) = match attempt.kind {
            RequestKind::Operation { address, peek } => (address, peek),
            RequestKind::StoredObject { object, .. } => {
                return object_target(kind, key, attempt, object, query);
            }
        };
        let (region, model) = key.region_and_model(attempt.model);
        let model = key.deployment(model).unwrap_or(model);
        let endpoint = endpoint(key, region)?;
        let path = match (&self.fixed[address.operation as usize], query) {
            (Some(path), None) => path.clone(),
            (Some(path), query) => with_query(path.to_string(), query)?,
            (None, query) => {
                with_query(model_path(kind, key, endpoint, address, peek, model)?, query)?
            }
        };
        let body = body(kind, address, peek, attempt.headers, attempt.body, model);
        Some(Target { uri: uri(endpoint, path)?, body })
    }
}

/// Returns the endpoint of a Bedrock region, or the key's only endpoint.
fn endpoint<'k>(key: &'k Key, region: Option<&str>) -> Option<&'k Endpoint> {
    match &key.cloud {
        Cloud::Bedrock(bedrock) => {
            let mut regions = bedrock.regions.iter();
            let found = regions.find(|own| region.is_none_or(|name| own.name == name))?;
            Some(&found.endpoint)
        }
        _ => Some(&*key.endpoint),
    }
}

fn uri(endpoint: &Endpoint, path: PathAndQuery) -> Option<Uri> {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(endpoint.scheme.clone());
    parts.authority = Some(endpoint.authority.clone());
    parts.path_and_query = Some(path);
    Uri::from_parts(parts).ok()
}

fn with_query(mut path: String, query: Option<String>) -> Option<PathAndQuery> {
    if let Some(query) = query {
        let separator = if path.contains('?') { '&' } else { '?' };
        let _ = write!(path, "{separator}{query}");
    }
    PathAndQuery::try_from(path).ok()
}

/// Returns URL and body of a request for a stored object.
fn object_target(
    kind: Kind,
    key: &Key,
    attempt: &Attempt<'_>,
    object: &StoredObject<'_>,
    query: Option<String>,
) -> Option<Target> {
    let body = RequestBody::whole(attempt.body.clone());
    if (object.operation, object.part) == (Operation::StoredPredictions, "stream") {
        let uri: Uri = object.id.as_deref()?.parse().ok()?;
        return is_same_domain(&key.endpoint, &uri).then_some(Target { uri, body });
    }
    let (region, _) = key.region_and_model(attempt.model);
    let mut endpoint = endpoint(key, region)?.clone();
    let path = resources::path(object.operation)?;
    let path = match (kind, object.operation.api(), &key.cloud) {
        (Kind::Azure, Api::Anthropic, _) => format!("/anthropic{path}"),
        (Kind::Azure, _, Cloud::Azure(azure)) if azure.api_version == ApiVersion::V1 => {
            format!("/openai{path}")
        }
        (Kind::Azure, ..) => path.replacen("/v1", "/openai", 1),
        (Kind::Bedrock, ..) => {
            // <https://docs.aws.amazon.com/general/latest/gr/bedrock.html>: jobs are in the control plane.
            let control = endpoint.authority.as_str().replacen("bedrock-runtime", "bedrock", 1);
            endpoint.authority = control.parse().ok()?;
            path.to_owned()
        }
        (_, Api::OpenAi, _) => path.replacen("/v1", "", 1),
        _ => path.to_owned(),
    };
    let mut path = format!("{}{path}", endpoint.prefix);
    if let Some(id) = &object.id {
        let _ = write!(path, "/{}", segment(id)?);
    }
    if !object.part.is_empty() {
        let _ = write!(path, "/{}", object.part);
    }
    if let Cloud::Azure(azure) = &key.cloud
        && let (ApiVersion::Dated(date), Api::OpenAi) = (&azure.api_version, object.operation.api())
    {
        let _ = write!(path, "?api-version={date}");
    }
    Some(Target { uri: uri(&endpoint, with_query(path, query)?)?, body })
}

/// Returns true if a URL that a provider returned is on the provider's host, or on another host of its
/// domain (`stream.replicate.com` beside `api.replicate.com`). The request there contains the key.
fn is_same_domain(own: &Endpoint, other: &Uri) -> bool {
    if other.scheme() != Some(&own.scheme) {
        return false;
    }
    let domain = |host: &str| match host.split_once('.') {
        // The parent of a two-part name is a public suffix; an IP address has no domain.
        Some((_, domain)) if domain.contains('.') && host.parse::<IpAddr>().is_err() => {
            Some(domain.to_ascii_lowercase())
        }
        _ => None,
    };
    other.authority() == Some(&own.authority)
        || (other
            .host()
            .and_then(domain)
            .is_some_and(|it| domain(own.authority.host()) == Some(it))
            && other.port_u16() == own.authority.port_u16()
            && other.authority().is_some_and(|authority| !authority.as_str().contains('@')))
}

/// Returns the path of an operation whose path is the same for every model.
fn fixed_path(kind: Kind, key: &Key, operation: Operation) -> Option<String> {
    let prefix = &key.endpoint.prefix;
    let path = operation.path();
    if path.is_empty() {
        return None;
    }
    Some(match (kind, operation.api()) {
        (Kind::Azure, Api::OpenAi) => match (&key.cloud, is_under_deployment(operation)) {
            (Cloud::Azure(azure), is_under_deployment) => match &azure.api_version {
                ApiVersion::V1 => format!("{prefix}/openai/v1{path}"),
                ApiVersion::Dated(date) if !is_under_deployment => {
                    format!("{prefix}/openai{path}?api-version={date}")
                }
                ApiVersion::Dated(_) => return None,
            },
            _ => return None,
        },
        (Kind::Azure, Api::Anthropic) => format!("{prefix}/anthropic{path}"),
        (Kind::Vertex, Api::OpenAi) => {
            format!("{prefix}/v1/{}/endpoints/openapi{path}", location(vertex(key)?))
        }
        (Kind::Vertex, _)
            if matches!(operation, Operation::CountTokens | Operation::RawCountTokens) =>
        {
            let location = location(vertex(key)?);
            format!("{prefix}/v1/{location}/publishers/anthropic/models/count-tokens:rawPredict")
        }
        (Kind::Vertex | Kind::Gemini | Kind::Replicate | Kind::Bedrock, _) => return None,
        (Kind::Cohere, api) => {
            let origin = prefix.strip_suffix(kind.info().path_prefix).unwrap_or(prefix);
            match (api, operation) {
                // Its OpenAI-compatible API has no reranking; its own API takes the same members.
                (_, Operation::Rerank) => format!("{origin}{}", Operation::CohereRerank.path()),
                (Api::Cohere, _) => format!("{origin}{path}"),
                _ => format!("{prefix}{path}"),
            }
        }
        _ => format!("{prefix}{path}"),
    })
}

/// Returns the path of an operation whose path contains the model.
fn model_path(
    kind: Kind,
    key: &Key,
    endpoint: &Endpoint,
    address: &Address<'_>,
    peek: &Peek<'_>,
    model: &str,
) -> Option<String> {
    let prefix = &endpoint.prefix;
    let operation = address.operation;
    let path = operation.path();
    Some(match kind {
        Kind::Azure => {
            let Cloud::Azure(azure) = &key.cloud else { return None };
            let ApiVersion::Dated(date) = &azure.api_version else { return None };
            let deployment = segment(model)?;
            format!("{prefix}/openai/deployments/{deployment}{path}?api-version={date}")
        }
        Kind::Gemini => {
            let version = if address.form == "v1beta1" { "v1beta" } else { address.form };
            let (collection, model) = gemini_resource(model);
            format!("{prefix}/{version}/{collection}/{}:{path}", segment(model)?)
        }
        Kind::Vertex => {
            let vertex = vertex(key)?;
            let verb = match operation {
                Operation::Messages if peek.stream => Operation::StreamRawPredict.path(),
                Operation::Messages => Operation::RawPredict.path(),
                _ => path,
            };
            let version = match address.form {
                "v1beta" | "v1beta1" | "v1alpha" => "v1beta1",
                _ => "v1",
            };
            format!(
                "{prefix}/{version}/{}:{verb}",
                vertex_resource(vertex, operation.api(), model)?
            )
        }
        Kind::Bedrock if operation.api() == Api::OpenAi => format!("{prefix}/openai/v1{path}"),
        Kind::Bedrock => {
            let Cloud::Bedrock(bedrock) = &key.cloud else { return None };
            let model = match &bedrock.arn {
                _ if model.starts_with("arn:") => segment(model)?,
                _ if operation == Operation::BedrockCountTokens => {
                    segment(foundation_model(model))?
                }
                // The ARN of one profile; else the common prefix of all profiles.
                Some(arn) if arn.contains('/') => segment(arn)?,
                Some(arn) => segment(&format!("{arn}/{model}"))?,
                None => segment(model)?,
            };
            let verb = match operation {
                Operation::Messages if peek.stream => Operation::InvokeStream.path(),
                Operation::Messages => Operation::Invoke.path(),
                _ => path,
            };
            format!("{prefix}/model/{model}/{verb}")
        }
        Kind::Replicate => {
            let collection = if key.deployments.is_empty() { address.form } else { "deployments" };
            match (collection, model.split_once('/')) {
                ("predictions", _) => format!("{prefix}/v1/predictions"),
                (collection, Some((owner, name))) => {
                    let (owner, name) = (segment(owner)?, segment(name)?);
                    format!("{prefix}/v1/{collection}/{owner}/{name}/predictions")
                }
                (_, None) => return None,
            }
        }
        _ => return None,
    })
}

/// Returns the model of a cross-region inference profile: tokens are counted for models only.
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/count-tokens.html>
fn foundation_model(model: &str) -> &str {
    match model.split_once('.') {
        Some(("us" | "us-gov" | "eu" | "apac" | "jp" | "au" | "ca" | "global", model)) => model,
        _ => model,
    }
}

/// Returns the collection of a model in the Gemini API, and its name there.
fn gemini_resource(model: &str) -> (&'static str, &str) {
    match model.strip_prefix("tunedModels/") {
        Some(tuned) => ("tunedModels", tuned),
        None => ("models", model.strip_prefix("models/").unwrap_or(model)),
    }
}

/// Returns true for operations that Azure's dated versions have under a deployment; all others have the
/// model in the body.
fn is_under_deployment(operation: Operation) -> bool {
    matches!(
        operation,
        Operation::Chat
            | Operation::Completions
            | Operation::Embeddings
            | Operation::ImageGenerations
            | Operation::ImageEdits
            | Operation::Speech
            | Operation::Transcriptions
            | Operation::Translations
    )
}

fn vertex(key: &Key) -> Option<&Vertex> {
    match &key.cloud {
        Cloud::Vertex(vertex) => Some(vertex),
        _ => None,
    }
}

fn location(vertex: &Vertex) -> String {
    format!("projects/{}/locations/{}", vertex.project, vertex.region)
}

/// Returns the resource of a model: a bare name, `PUBLISHER/MODEL` of another publisher, or the number of
/// an own endpoint.
fn vertex_resource(vertex: &Vertex, api: Api, model: &str) -> Option<String> {
    if model.bytes().all(|byte| byte.is_ascii_digit()) {
        let project = vertex.number.as_deref().unwrap_or(&vertex.project);
        return Some(format!("projects/{project}/locations/{}/endpoints/{model}", vertex.region));
    }
    let default = if api == Api::Anthropic { "anthropic" } else { "google" };
    let (publisher, model) = model.split_once('/').unwrap_or((default, model));
    let location = location(vertex);
    Some(format!("{location}/publishers/{}/models/{}", segment(publisher)?, segment(model)?))
}

/// Encodes a name as one segment of a path; `None` for the empty name and for dot segments.
pub fn segment(name: &str) -> Option<String> {
    (!matches!(name, "" | "." | "..")).then(|| utf8_percent_encode(name, SEGMENT).to_string())
}

/// Returns the caller's query without the parameters that concern its own URL or key.
fn forwarded_query(query: &str) -> String {
    let forwarded = query.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        !NOT_FORWARDED.iter().any(|own| name.eq_ignore_ascii_case(own))
            && !name.to_ascii_lowercase().starts_with("x-amz-")
    });
    forwarded.collect::<Vec<_>>().join("&")
}

/// Returns the caller's body in the form that this provider needs.
pub(super) fn body(
    kind: Kind,
    address: &Address<'_>,
    peek: &Peek<'_>,
    headers: &HeaderMap,
    body: &Bytes,
    model: &str,
) -> RequestBody {
    match (kind, address.operation) {
        (Kind::Vertex, Operation::Messages) => {
            RequestBody::new(anthropic_on_clouds::for_vertex(peek, body))
        }
        (Kind::Vertex, Operation::CountTokens) => {
            RequestBody::new(anthropic_on_clouds::for_counting_on_vertex(peek, body, model))
        }
        (Kind::Bedrock, Operation::Messages) => {
            let betas = headers.get_all("anthropic-beta").iter();
            let betas = betas.filter_map(|value| value.to_str().ok());
            RequestBody::whole(anthropic_on_clouds::for_bedrock(body, betas).into())
        }
        (Kind::Gemini, operation) => {
            let (collection, model) = gemini_resource(model);
            let renamed =
                gemini_model_field::rename(operation, body, &format!("{collection}/{model}"));
            RequestBody::whole(renamed.unwrap_or_else(|| body.clone()))
        }
        _ if peek.model.as_deref().is_some_and(|own| own != model) => {
            RequestBody::new(peek.replace_model(body, model))
        }
        // The caller's path contains the model, and this provider reads it from the body.
        (_, operation)
            if peek.model.is_none()
                && operation.api() == Api::OpenAi
                && address.model.is_some() =>
        {
            RequestBody::new(peek.insert_model(body, model))
        }
        _ => RequestBody::whole(body.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_urls_of_the_providers_domain_are_accepted() {
        let own = |authority: &'static str| Endpoint {
            scheme: http::uri::Scheme::HTTPS,
            authority: http::uri::Authority::from_static(authority),
            prefix: String::new(),
        };
        let is_accepted =
            |authority, url: &str| is_same_domain(&own(authority), &url.parse().unwrap());
        assert!(is_accepted("api.replicate.com", "https://stream.replicate.com/v1/files/x"));
        assert!(is_accepted("127.0.0.1:99", "https://127.0.0.1:99/x"));
        for (authority, url) in [
            ("api.replicate.com", "http://stream.replicate.com/x"),
            ("api.replicate.com", "https://replicate.com.evil.org/x"),
            ("api.replicate.com", "https://stream.replicate.com:444/x"),
            ("api.replicate.com", "https://a@stream.replicate.com/x"),
            ("api.replicate.com", "https://169.254.169.254/x"),
            ("127.0.0.1:99", "https://126.0.0.1:99/x"),
            ("replicate.com", "https://evil.com/x"),
        ] {
            assert!(!is_accepted(authority, url), "{url}");
        }
    }

    #[test]
    fn a_model_is_encoded_as_one_segment() {
        assert_eq!(segment("a/b:c d").as_deref(), Some("a%2Fb%3Ac%20d"));
        assert_eq!((segment(".."), segment("."), segment("")), (None, None, None));
    }

    #[test]
    fn a_cross_region_profile_maps_to_its_model() {
        let model = "anthropic.claude-haiku-4-5-20251001-v1:0";
        assert_eq!(foundation_model(model), model);
        assert_eq!(foundation_model("global.anthropic.claude-haiku-4-5-20251001-v1:0"), model);
        assert_eq!(foundation_model("custom"), "custom");
    }

    #[test]
    fn parameters_for_the_callers_url_and_key_are_not_forwarded() {
        assert_eq!(
            forwarded_query("key=1&alt=sse&%6Bey=2&api-version=x&X-Amz-Date=1&b"),
            "alt=sse&b"
        );
        assert_eq!(forwarded_query("KEY=1"), "");
    }
}
