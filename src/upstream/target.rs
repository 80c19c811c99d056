//! Where a provider answers an operation, and what it wants of the body there. The paths are those of the
//! vendors' API references.

use std::fmt::Write as _;
use std::io;
use std::net::IpAddr;

use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::{Attempt, Outgoing, What};
use crate::config::{ApiVersion, Cloud, Endpoint, Key, Region, Vertex};
use crate::provider::Kind;
use crate::wire::address::Address;
use crate::wire::envelope;
use crate::wire::peek::Peek;
use crate::wire::stored::{self, Stored};
use crate::wire::{Api, Operation, google};

/// All but RFC 3986's unreserved characters: a name between two slashes stays there.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// What a caller's query may hold that concerns its own address or its own key.
const NOT_FORWARDED: [&str; 6] =
    ["key", "api_key", "api-key", "access_token", "api-version", "$key"];

/// One key's addresses, those that depend on nothing else made once.
#[derive(Debug)]
pub(super) struct Paths {
    fixed: [Option<PathAndQuery>; Operation::COUNT],
}

/// Where one attempt goes and what it carries.
pub(super) struct Target {
    pub(super) uri: Uri,
    pub(super) body: Outgoing,
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

    /// Where the attempt goes with this key; `None`: its model can stand in no path.
    pub(super) fn target(&self, kind: Kind, key: &Key, attempt: &Attempt<'_>) -> Option<Target> {
        // What Anthropic's own API has in its query, other clouds do not know.
        let foreign = matches!(kind, Kind::Vertex | Kind::Bedrock)
            && attempt.what.operation().api() == Api::Anthropic;
        let query = attempt.query.filter(|_| !foreign);
        let query = query.map(forwarded).filter(|query| !query.is_empty());
        let (address, peek) = match attempt.what {
            What::Operation { address, peek } => (address, peek),
            What::Stored { stored, .. } => return kept(kind, key, attempt, stored, query),
        };
        let (region, asked) = key.region_and_model(attempt.model);
        let model = key.deployment(asked).unwrap_or(asked);
        let endpoint = endpoint(key, region)?;
        let path = match (&self.fixed[address.operation as usize], query) {
            (Some(path), None) => path.clone(),
            (Some(path), query) => with_query(path.to_string(), query)?,
            (None, query) => {
                with_query(path_with(kind, key, endpoint, address, peek, model)?, query)?
            }
        };
        let body = body(kind, address, peek, attempt.headers, attempt.body, model);
        Some(Target { uri: uri(endpoint, path)?, body })
    }
}

/// Where a region of Bedrock answers, or the key's one address.
fn endpoint<'k>(key: &'k Key, region: Option<&str>) -> Option<&'k Endpoint> {
    match &key.cloud {
        Cloud::Bedrock(bedrock) => {
            let named = |own: &&Region| region.is_none_or(|name| own.name == name);
            Some(&bedrock.regions.iter().find(named)?.endpoint)
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
        let joint = if path.contains('?') { '&' } else { '?' };
        let _ = write!(path, "{joint}{query}");
    }
    PathAndQuery::try_from(path).ok()
}

/// Where a provider keeps something.
fn kept(
    kind: Kind,
    key: &Key,
    attempt: &Attempt<'_>,
    stored: &Stored<'_>,
    query: Option<String>,
) -> Option<Target> {
    let body = Outgoing::whole(attempt.body.clone());
    if (stored.operation, stored.part) == (Operation::StoredPredictions, "stream") {
        let uri: Uri = stored.id.as_deref()?.parse().ok()?;
        return is_near(&key.endpoint, &uri).then_some(Target { uri, body });
    }
    let (region, _) = key.region_and_model(attempt.model);
    let mut endpoint = endpoint(key, region)?.clone();
    let place = stored::path(stored.operation)?;
    let place = match (kind, stored.operation.api(), &key.cloud) {
        (Kind::Azure, Api::Anthropic, _) => format!("/anthropic{place}"),
        (Kind::Azure, _, Cloud::Azure(azure)) if azure.api_version == ApiVersion::V1 => {
            format!("/openai{place}")
        }
        (Kind::Azure, ..) => place.replacen("/v1", "/openai", 1),
        (Kind::Bedrock, ..) => {
            // <https://docs.aws.amazon.com/general/latest/gr/bedrock.html>: jobs are the control plane's.
            let control = endpoint.authority.as_str().replacen("bedrock-runtime", "bedrock", 1);
            endpoint.authority = control.parse().ok()?;
            place.to_owned()
        }
        (_, Api::OpenAi, _) => place.replacen("/v1", "", 1),
        _ => place.to_owned(),
    };
    let mut path = format!("{}{place}", endpoint.prefix);
    if let Some(id) = &stored.id {
        let _ = write!(path, "/{}", segment(id)?);
    }
    if !stored.part.is_empty() {
        let _ = write!(path, "/{}", stored.part);
    }
    if let Cloud::Azure(azure) = &key.cloud
        && let (ApiVersion::Dated(date), Api::OpenAi) = (&azure.api_version, stored.operation.api())
    {
        let _ = write!(path, "?api-version={date}");
    }
    Some(Target { uri: uri(&endpoint, with_query(path, query)?)?, body })
}

/// Whether an address that a provider gave out is one of its own: on its host, or on another one of its
/// domain (`stream.replicate.com` beside `api.replicate.com`). The key goes along.
fn is_near(own: &Endpoint, other: &Uri) -> bool {
    if other.scheme() != Some(&own.scheme) {
        return false;
    }
    let domain = |host: &str| match host.split_once('.') {
        // Of a name of two parts the second is anybody's, of an address it is nobody's.
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

/// The path of an operation that stands at the same place for every model.
fn fixed_path(kind: Kind, key: &Key, operation: Operation) -> Option<String> {
    let prefix = &key.endpoint.prefix;
    let path = operation.path();
    if path.is_empty() {
        return None;
    }
    Some(match (kind, operation.api()) {
        (Kind::Azure, Api::OpenAi) => match (&key.cloud, behind_deployment(operation)) {
            (Cloud::Azure(azure), behind) => match &azure.api_version {
                ApiVersion::V1 => format!("{prefix}/openai/v1{path}"),
                ApiVersion::Dated(date) if !behind => {
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
                // Its OpenAI-compatible endpoint has no reranking; its own takes the same members.
                (_, Operation::Rerank) => format!("{origin}{}", Operation::CohereRerank.path()),
                (Api::Cohere, _) => format!("{origin}{path}"),
                _ => format!("{prefix}{path}"),
            }
        }
        _ => format!("{prefix}{path}"),
    })
}

/// The path of an operation that stands behind its model.
fn path_with(
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
            let (collection, model) = of_gemini(model);
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
            format!("{prefix}/{version}/{}:{verb}", resource(vertex, operation.api(), model)?)
        }
        Kind::Bedrock if operation.api() == Api::OpenAi => format!("{prefix}/openai/v1{path}"),
        Kind::Bedrock => {
            let Cloud::Bedrock(bedrock) = &key.cloud else { return None };
            let model = match &bedrock.arn {
                _ if model.starts_with("arn:") => segment(model)?,
                _ if operation == Operation::BedrockCountTokens => segment(foundation(model))?,
                // That of one profile; else what stands before the names of all.
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

/// The model behind an inference profile of several regions: tokens are counted for models only.
/// <https://docs.aws.amazon.com/bedrock/latest/userguide/count-tokens.html>
fn foundation(model: &str) -> &str {
    match model.split_once('.') {
        Some(("us" | "us-gov" | "eu" | "apac" | "jp" | "au" | "ca" | "global", model)) => model,
        _ => model,
    }
}

/// The collection of the Gemini API that a model is of, and its name there.
fn of_gemini(model: &str) -> (&'static str, &str) {
    match model.strip_prefix("tunedModels/") {
        Some(tuned) => ("tunedModels", tuned),
        None => ("models", model.strip_prefix("models/").unwrap_or(model)),
    }
}

/// What Azure's dated versions have behind a deployment; all else names its model in the body.
fn behind_deployment(operation: Operation) -> bool {
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

/// A model's resource: `PUBLISHER/MODEL` of another publisher, or the number of an endpoint of one's own.
fn resource(vertex: &Vertex, api: Api, model: &str) -> Option<String> {
    if model.bytes().all(|byte| byte.is_ascii_digit()) {
        let project = vertex.number.as_deref().unwrap_or(&vertex.project);
        return Some(format!("projects/{project}/locations/{}/endpoints/{model}", vertex.region));
    }
    let own = if api == Api::Anthropic { "anthropic" } else { "google" };
    let (publisher, model) = model.split_once('/').unwrap_or((own, model));
    let location = location(vertex);
    Some(format!("{location}/publishers/{}/models/{}", segment(publisher)?, segment(model)?))
}

/// A name as one segment of a path; `None` for what a path would take for a step.
pub fn segment(name: &str) -> Option<String> {
    (!matches!(name, "" | "." | "..")).then(|| utf8_percent_encode(name, SEGMENT).to_string())
}

/// The caller's query without what concerns its own address or its own key.
fn forwarded(query: &str) -> String {
    let kept = query.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        let name = percent_encoding::percent_decode_str(name).decode_utf8_lossy();
        !NOT_FORWARDED.iter().any(|own| name.eq_ignore_ascii_case(own))
            && !name.to_ascii_lowercase().starts_with("x-amz-")
    });
    kept.collect::<Vec<_>>().join("&")
}

/// The caller's body as this provider is to get it.
pub(super) fn body(
    kind: Kind,
    address: &Address<'_>,
    peek: &Peek<'_>,
    headers: &HeaderMap,
    body: &Bytes,
    model: &str,
) -> Outgoing {
    match (kind, address.operation) {
        (Kind::Vertex, Operation::Messages) => Outgoing::new(envelope::for_vertex(peek, body)),
        (Kind::Vertex, Operation::CountTokens) => {
            Outgoing::new(envelope::for_counting_on_vertex(peek, body, model))
        }
        (Kind::Bedrock, Operation::Messages) => {
            let betas = headers.get_all("anthropic-beta").iter();
            let betas = betas.filter_map(|value| value.to_str().ok());
            Outgoing::whole(envelope::for_bedrock(body, betas).into())
        }
        (Kind::Gemini, operation) => {
            let (collection, model) = of_gemini(model);
            let renamed = google::rename(operation, body, &format!("{collection}/{model}"));
            Outgoing::whole(renamed.unwrap_or_else(|| body.clone()))
        }
        _ if peek.model.as_deref().is_some_and(|asked| asked != model) => {
            Outgoing::new(peek.replace_model(body, model))
        }
        // The path named the model, and this provider looks for it in the body.
        (_, operation)
            if peek.model.is_none()
                && operation.api() == Api::OpenAi
                && address.model.is_some() =>
        {
            Outgoing::new(peek.insert_model(body, model))
        }
        _ => Outgoing::whole(body.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_the_providers_own_are_near() {
        let own = |authority: &'static str| Endpoint {
            scheme: http::uri::Scheme::HTTPS,
            authority: http::uri::Authority::from_static(authority),
            prefix: String::new(),
        };
        let near = |authority, url: &str| is_near(&own(authority), &url.parse().unwrap());
        assert!(near("api.replicate.com", "https://stream.replicate.com/v1/files/x"));
        assert!(near("127.0.0.1:99", "https://127.0.0.1:99/x"));
        for (authority, url) in [
            ("api.replicate.com", "http://stream.replicate.com/x"),
            ("api.replicate.com", "https://replicate.com.evil.org/x"),
            ("api.replicate.com", "https://stream.replicate.com:444/x"),
            ("api.replicate.com", "https://a@stream.replicate.com/x"),
            ("api.replicate.com", "https://169.254.169.254/x"),
            ("127.0.0.1:99", "https://126.0.0.1:99/x"),
            ("replicate.com", "https://evil.com/x"),
        ] {
            assert!(!near(authority, url), "{url}");
        }
    }

    #[test]
    fn a_model_is_one_segment() {
        assert_eq!(segment("a/b:c d").as_deref(), Some("a%2Fb%3Ac%20d"));
        assert_eq!((segment(".."), segment("."), segment("")), (None, None, None));
    }

    #[test]
    fn a_profile_leads_to_its_model() {
        let model = "anthropic.claude-haiku-4-5-20251001-v1:0";
        assert_eq!(foundation(model), model);
        assert_eq!(foundation("global.anthropic.claude-haiku-4-5-20251001-v1:0"), model);
        assert_eq!(foundation("custom"), "custom");
    }

    #[test]
    fn a_query_loses_what_is_the_callers_own() {
        assert_eq!(forwarded("key=1&alt=sse&%6Bey=2&api-version=x&X-Amz-Date=1&b"), "alt=sse&b");
        assert_eq!(forwarded("KEY=1"), "");
    }
}
