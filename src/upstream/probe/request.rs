//! The call that checks a key, for each kind of provider.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};

use super::response;
use super::response::Support;
use crate::config::{ApiVersion, AwsAuth, AzureAuth, Cloud, Endpoint, Key, Region};
use crate::provider::Kind;
use crate::upstream::auth::Credential;
use crate::upstream::aws::Service;
use crate::upstream::request_body::RequestBody;
use crate::upstream::request_url::segment;
use crate::upstream::token::aws::sts_override;
use crate::wire::api::Api;

/// Needs no permission, so it fails only if the credentials are wrong.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>
const IDENTITY: &str = "Action=GetCallerIdentity&Version=2011-06-15";
/// Required by Anthropic's API in every request. Callers send it themselves.
/// <https://docs.claude.com/en/api/versioning>
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// A call that costs nothing.
pub(super) struct ProbeRequest {
    uri: Uri,
    call: FreeCall,
    api: Api,
    /// Set when the credential is a token that its issuer returned a moment ago, so it is valid.
    has_new_token: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum FreeCall {
    /// A GET, usually of the list of models.
    List,
    /// `GetCallerIdentity` of AWS STS.
    Identity,
}

impl ProbeRequest {
    /// Returns the free call of this kind of provider; `None` if its URL is invalid.
    pub(super) fn new(kind: Kind, key: &Key, region: Option<&str>) -> Option<Self> {
        let api = *kind.info().apis.first()?;
        let list =
            |uri, has_new_token| Some(Self { uri, call: FreeCall::List, api, has_new_token });
        let endpoint = &key.endpoint;
        match &key.cloud {
            Cloud::None => {
                // The path of a probe starts at the origin; the kind's OpenAI-compatible API has a prefix.
                let prefix = endpoint.prefix.strip_suffix(kind.info().path_prefix)?;
                list(uri(endpoint, &format!("{prefix}{}", kind.info().probe_path))?, false)
            }
            Cloud::Azure(azure) => {
                // <https://learn.microsoft.com/en-us/rest/api/azureopenai/models/list>
                let path = match &azure.api_version {
                    ApiVersion::V1 => format!("{}/openai/v1/models", endpoint.prefix),
                    ApiVersion::Dated(date) => {
                        format!("{}/openai/models?api-version={date}", endpoint.prefix)
                    }
                };
                list(uri(endpoint, &path)?, matches!(azure.auth, AzureAuth::Entra(_)))
            }
            Cloud::Vertex(vertex) => {
                // `projects.locations.list`: the same at every regional host and for every model, and it
                // needs the project. <https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations/list>
                let project = segment(&vertex.project)?;
                let path =
                    format!("{}/v1/projects/{project}/locations?pageSize=1", endpoint.prefix);
                list(uri(endpoint, &path)?, true)
            }
            Cloud::Bedrock(bedrock) => {
                let named = |own: &&Region| region.is_none_or(|name| own.name == name);
                let region = bedrock.regions.iter().find(named)?;
                if matches!(region.auth, AwsAuth::Bearer(_)) {
                    // <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html>
                    return list(control_plane(&region.endpoint)?, false);
                }
                let uri = sts_uri(region)?;
                Some(Self {
                    uri,
                    call: FreeCall::Identity,
                    api: Api::Bedrock,
                    has_new_token: false,
                })
            }
        }
    }

    /// Builds the request, without the credential. `extra` are the provider's extra headers.
    pub(super) fn request(&self, extra: &HeaderMap) -> Request<RequestBody> {
        let body = match self.call {
            FreeCall::List => RequestBody::default(),
            FreeCall::Identity => RequestBody::whole(Bytes::from_static(IDENTITY.as_bytes())),
        };
        let mut request = Request::new(body);
        *request.uri_mut() = self.uri.clone();
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let agent = concat!("keymux/", env!("CARGO_PKG_VERSION"));
        headers.insert(USER_AGENT, HeaderValue::from_static(agent));
        if self.api == Api::Anthropic {
            headers.insert(ANTHROPIC_VERSION, HeaderValue::from_static("2023-06-01"));
        }
        match self.call {
            FreeCall::List => {
                for (name, value) in extra {
                    headers.insert(name.clone(), value.clone());
                }
            }
            FreeCall::Identity => {
                let form = "application/x-www-form-urlencoded; charset=utf-8";
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
                *request.method_mut() = Method::POST;
            }
        }
        request
    }

    /// Returns the service that a signature of it must name.
    pub(super) fn service(&self) -> Service {
        match self.call {
            FreeCall::List => Service::Bedrock,
            FreeCall::Identity => Service::Sts,
        }
    }

    /// Returns its URL without path and query.
    pub(super) fn origin(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        format!("{scheme}://{}", self.uri.authority().map_or("", Authority::as_str))
    }

    /// Returns what its answer means for the key.
    pub(super) fn read(&self, response: &Response<Bytes>, credential: &Credential) -> Support {
        if response.status().is_success() {
            let is_api = self.call == FreeCall::Identity || !response::is_web_page(response.body());
            return if is_api { response::OK } else { response::web_page(&self.origin()) };
        }
        response::error(self.api, self.has_new_token, &self.origin(), response, credential)
    }
}

/// Returns the URL of the list of models, which is in the control plane.
/// <https://docs.aws.amazon.com/general/latest/gr/bedrock.html>
fn control_plane(endpoint: &Endpoint) -> Option<Uri> {
    let authority = endpoint.authority.as_str().replacen("bedrock-runtime", "bedrock", 1);
    let authority = authority.parse().ok()?;
    let path = format!("{}/foundation-models", endpoint.prefix);
    uri(&Endpoint { authority, ..endpoint.clone() }, &path)
}

/// Returns the URL of STS for a region: `AWS_ENDPOINT_URL_STS`; else the file's endpoint if it is not of
/// AWS; else AWS's own in the region's partition.
fn sts_uri(region: &Region) -> Option<Uri> {
    if let Some(address) = sts_override() {
        let endpoint = address.parse::<Uri>().ok()?.into_parts();
        let prefix = endpoint.path_and_query.as_ref().map_or("", |path| path.path());
        let prefix = prefix.trim_end_matches('/').to_owned();
        let (scheme, authority) = (endpoint.scheme?, endpoint.authority?);
        return uri(&Endpoint { scheme, authority, prefix }, "/");
    }
    let runtime = &region.endpoint;
    let host = runtime.authority.host();
    let public = format!("bedrock-runtime.{}.", region.name);
    let host = match host.strip_prefix(&public) {
        Some(domain) => format!("sts.{}.{domain}", region.name),
        // A VPC or FIPS endpoint of Bedrock.
        None if host.contains(".amazonaws.") => {
            let domain =
                if region.name.starts_with("cn-") { "amazonaws.com.cn" } else { "amazonaws.com" };
            format!("sts.{}.{domain}", region.name)
        }
        None => return uri(runtime, &format!("{}/", runtime.prefix)),
    };
    let authority = host.parse().ok()?;
    uri(&Endpoint { scheme: Scheme::HTTPS, authority, prefix: String::new() }, "/")
}

fn uri(endpoint: &Endpoint, path: &str) -> Option<Uri> {
    Uri::builder()
        .scheme(endpoint.scheme.clone())
        .authority(endpoint.authority.clone())
        .path_and_query(path)
        .build()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(name: &str, base: &str) -> Region {
        let base: Uri = base.parse().unwrap();
        let endpoint = Endpoint {
            scheme: base.scheme().unwrap().clone(),
            authority: base.authority().unwrap().clone(),
            prefix: base.path().trim_end_matches('/').to_owned(),
        };
        Region { name: name.to_owned(), endpoint, auth: AwsAuth::Chain }
    }

    #[test]
    fn sts_is_in_the_partition_of_the_region_or_at_the_configured_endpoint() {
        for (name, base, sts) in [
            (
                "us-east-1",
                "https://bedrock-runtime.us-east-1.amazonaws.com",
                "https://sts.us-east-1.amazonaws.com/",
            ),
            (
                "cn-north-1",
                "https://bedrock-runtime.cn-north-1.amazonaws.com.cn",
                "https://sts.cn-north-1.amazonaws.com.cn/",
            ),
            (
                "eusc-de-east-1",
                "https://bedrock-runtime.eusc-de-east-1.amazonaws.eu",
                "https://sts.eusc-de-east-1.amazonaws.eu/",
            ),
            (
                "us-east-1",
                "https://bedrock-runtime-fips.us-east-1.amazonaws.com",
                "https://sts.us-east-1.amazonaws.com/",
            ),
            (
                "us-east-1",
                "https://vpce-1.bedrock-runtime.us-east-1.vpce.amazonaws.com",
                "https://sts.us-east-1.amazonaws.com/",
            ),
            ("us-east-1", "http://127.0.0.1:9/under", "http://127.0.0.1:9/under/"),
        ] {
            assert_eq!(sts_uri(&region(name, base)).unwrap().to_string(), sts);
        }
    }

    #[test]
    fn bedrock_models_are_listed_by_the_control_plane() {
        let of = |base: &str| control_plane(&region("x", base).endpoint).unwrap().to_string();
        let own = of("https://bedrock-runtime.eu-west-1.amazonaws.com");
        assert_eq!(own, "https://bedrock.eu-west-1.amazonaws.com/foundation-models");
        assert_eq!(of("http://127.0.0.1:9/under"), "http://127.0.0.1:9/under/foundation-models");
    }
}
