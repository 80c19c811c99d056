//! What is asked of each kind of provider.

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};

use super::answer::{self, Said};
use crate::config::{ApiVersion, AwsAuth, AzureAuth, Cloud, Endpoint, Key, Region};
use crate::provider::Kind;
use crate::upstream::auth::Credential;
use crate::upstream::aws::Service;
use crate::upstream::outgoing::Outgoing;
use crate::upstream::target::segment;
use crate::upstream::token::aws_sts;
use crate::wire::Api;

/// Needs no permission, so that it fails for nothing but the credentials.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_GetCallerIdentity.html>
const IDENTITY: &str = "Action=GetCallerIdentity&Version=2011-06-15";
/// What Anthropic's API asks of every request, and what callers send by themselves.
/// <https://docs.claude.com/en/api/versioning>
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// A call that costs nothing.
pub(super) struct Call {
    uri: Uri,
    what: What,
    api: Api,
    /// What is shown is a token, which its issuer gave a moment ago.
    minted: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    /// A GET, most often of a list of models.
    List,
    /// Who the credentials are, asked of AWS.
    Identity,
}

impl Call {
    /// The call that is free at this kind of provider; `None`: its address cannot be made.
    pub(super) fn new(kind: Kind, key: &Key, region: Option<&str>) -> Option<Self> {
        let api = *kind.info().apis.first()?;
        let list = |uri, minted| Some(Self { uri, what: What::List, api, minted });
        let own = &key.endpoint;
        match &key.cloud {
            Cloud::None => {
                // The path of a probe stands behind the origin, where a kind's API of OpenAI's form does not.
                let prefix = own.prefix.strip_suffix(kind.info().path_prefix)?;
                list(uri(own, &format!("{prefix}{}", kind.info().probe_path))?, false)
            }
            Cloud::Azure(azure) => {
                // <https://learn.microsoft.com/en-us/rest/api/azureopenai/models/list>
                let path = match &azure.api_version {
                    ApiVersion::V1 => format!("{}/openai/v1/models", own.prefix),
                    ApiVersion::Dated(date) => {
                        format!("{}/openai/models?api-version={date}", own.prefix)
                    }
                };
                list(uri(own, &path)?, matches!(azure.auth, AzureAuth::Entra(_)))
            }
            Cloud::Vertex(vertex) => {
                // `projects.locations.list`: the same at every regional host and for every model, and it
                // needs the project. <https://cloud.google.com/vertex-ai/docs/reference/rest/v1/projects.locations/list>
                let project = segment(&vertex.project)?;
                let path = format!("{}/v1/projects/{project}/locations?pageSize=1", own.prefix);
                list(uri(own, &path)?, true)
            }
            Cloud::Bedrock(bedrock) => {
                let named = |own: &&Region| region.is_none_or(|name| own.name == name);
                let region = bedrock.regions.iter().find(named)?;
                if matches!(region.auth, AwsAuth::Bearer(_)) {
                    // <https://docs.aws.amazon.com/bedrock/latest/APIReference/API_ListFoundationModels.html>
                    return list(control_plane(&region.endpoint)?, false);
                }
                let uri = identity(region)?;
                Some(Self { uri, what: What::Identity, api: Api::Bedrock, minted: false })
            }
        }
    }

    /// The request, without the credential. The provider's own headers go along.
    pub(super) fn request(&self, own: &HeaderMap) -> Request<Outgoing> {
        let body = match self.what {
            What::List => Outgoing::default(),
            What::Identity => Outgoing::whole(Bytes::from_static(IDENTITY.as_bytes())),
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
        match self.what {
            What::List => {
                for (name, value) in own {
                    headers.insert(name.clone(), value.clone());
                }
            }
            What::Identity => {
                let form = "application/x-www-form-urlencoded; charset=utf-8";
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(form));
                *request.method_mut() = Method::POST;
            }
        }
        request
    }

    /// What a signature of it is for.
    pub(super) fn service(&self) -> Service {
        match self.what {
            What::List => Service::Bedrock,
            What::Identity => Service::Sts,
        }
    }

    /// Where it goes, without path and query.
    pub(super) fn origin(&self) -> String {
        let scheme = self.uri.scheme_str().unwrap_or_default();
        format!("{scheme}://{}", self.uri.authority().map_or("", Authority::as_str))
    }

    /// What its answer says of the key.
    pub(super) fn read(&self, response: &Response<Bytes>, credential: &Credential) -> Said {
        if response.status().is_success() {
            let good = self.what == What::Identity || !answer::is_a_page(response.body());
            return if good { answer::OK } else { answer::page(&self.origin()) };
        }
        answer::error(self.api, self.minted, &self.origin(), response, credential)
    }
}

/// Lists of models are the control plane's.
/// <https://docs.aws.amazon.com/general/latest/gr/bedrock.html>
fn control_plane(endpoint: &Endpoint) -> Option<Uri> {
    let authority = endpoint.authority.as_str().replacen("bedrock-runtime", "bedrock", 1);
    let authority = authority.parse().ok()?;
    let path = format!("{}/foundation-models", endpoint.prefix);
    uri(&Endpoint { authority, ..endpoint.clone() }, &path)
}

/// The STS of a region: where `AWS_ENDPOINT_URL_STS` says; else behind an address of the file's own that
/// is not of AWS; else AWS's, in the region's own partition.
fn identity(region: &Region) -> Option<Uri> {
    if let Some(own) = aws_sts() {
        let endpoint = own.parse::<Uri>().ok()?.into_parts();
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
        // A VPC's or a FIPS address of Bedrock.
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
    fn sts_is_asked_in_the_partition_of_the_region_or_behind_an_address_of_ones_own() {
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
            assert_eq!(identity(&region(name, base)).unwrap().to_string(), sts);
        }
    }

    #[test]
    fn models_of_bedrock_are_listed_by_its_control_plane() {
        let of = |base: &str| control_plane(&region("x", base).endpoint).unwrap().to_string();
        let own = of("https://bedrock-runtime.eu-west-1.amazonaws.com");
        assert_eq!(own, "https://bedrock.eu-west-1.amazonaws.com/foundation-models");
        assert_eq!(of("http://127.0.0.1:9/under"), "http://127.0.0.1:9/under/foundation-models");
    }
}
