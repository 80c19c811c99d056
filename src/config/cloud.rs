//! What the keys of the clouds have beside a `value`, or in its place: `azure_key_config` and its like
//! after the checks.

use std::path::PathBuf;

use super::{Endpoint, Key, Provider};
use crate::provider::Kind;
use crate::secret::Secret;

/// A key's own table, for the kinds that have more to say than a `value`.
#[derive(Debug, Default)]
pub enum Cloud {
    /// The kind has none.
    #[default]
    None,
    /// `azure_key_config`
    Azure(Azure),
    /// `vertex_key_config`
    Vertex(Vertex),
    /// `bedrock_key_config`
    Bedrock(Bedrock),
}

/// A resource of Azure OpenAI or AI Foundry. Its address is [`Key::endpoint`].
#[derive(Debug)]
pub struct Azure {
    /// Which of its surfaces is called.
    pub api_version: ApiVersion,
    /// What its requests are allowed by.
    pub auth: AzureAuth,
}

/// `api_version`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ApiVersion {
    /// `"v1"`: `/openai/v1/…`, the model in the body.
    V1,
    /// `"2024-10-21"`: `/openai/deployments/{deployment}/…?api-version=2024-10-21`.
    Dated(String),
}

/// How an Azure resource is asked.
#[derive(Debug)]
pub enum AzureAuth {
    /// With a key of the resource, in the header `api-key`.
    ApiKey(Secret),
    /// With a token of Entra ID.
    Entra(EntraAuth),
}

/// Where a token of Entra ID comes from.
#[derive(Clone, Debug)]
pub struct EntraAuth {
    /// What the token is asked for; at least one.
    pub scopes: Vec<String>,
    /// What it is given for.
    pub credential: EntraCredential,
}

/// What Entra ID gives a token for.
#[derive(Clone, Debug)]
pub enum EntraCredential {
    /// An application's secret: `POST {authority}/{tenant}/oauth2/v2.0/token`.
    ClientSecret {
        /// `authority_host`
        authority: Endpoint,
        /// `tenant_id`
        tenant: String,
        /// `client_id`
        client: String,
        /// `client_secret`
        secret: Secret,
    },
    /// Workload identity: a token of another issuer, in a file that is read anew for each request to the
    /// same address (`AZURE_FEDERATED_TOKEN_FILE`).
    WorkloadIdentity {
        /// `authority_host`, else `AZURE_AUTHORITY_HOST`.
        authority: Endpoint,
        /// `tenant_id`, else `AZURE_TENANT_ID`.
        tenant: String,
        /// `client_id`, else `AZURE_CLIENT_ID`.
        client: String,
        /// Where the token is.
        file: PathBuf,
    },
    /// Managed identity of a virtual machine: `GET {address}/metadata/identity/oauth2/token` with
    /// `metadata: true`.
    MachineIdentity {
        /// `http://169.254.169.254`, else `AZURE_POD_IDENTITY_AUTHORITY_HOST`.
        address: Endpoint,
        /// `client_id` of an identity that is not the machine's own.
        client: Option<String>,
    },
    /// Managed identity of an App Service or a function: `GET {IDENTITY_ENDPOINT}` with
    /// `x-identity-header`.
    AppServiceIdentity {
        /// `IDENTITY_ENDPOINT`; its path is the prefix.
        address: Endpoint,
        /// `IDENTITY_HEADER`
        header: Secret,
        /// `client_id` of an identity that is not the app's own.
        client: Option<String>,
    },
}

/// A Google Cloud project and region.
#[derive(Debug)]
pub struct Vertex {
    /// `project_id`: of the table, else of the credentials, else `GOOGLE_CLOUD_PROJECT`, else
    /// `project_number`.
    pub project: String,
    /// `project_number`, where it is given: endpoints of tuned models are under it.
    pub number: Option<String>,
    /// `us-central1`, `global`, or a multi-region `us`, `eu`.
    pub region: String,
    /// What its requests are allowed by.
    pub auth: GoogleAuth,
}

/// Where a token of Google comes from.
#[derive(Clone, Debug)]
pub enum GoogleAuth {
    /// The text of a credentials file: `service_account`, `authorized_user`, `external_account` or
    /// `impersonated_service_account`. From `auth_credentials` or `value`, else from the file of
    /// `GOOGLE_APPLICATION_CREDENTIALS`, else from gcloud's own.
    Credentials(Secret),
    /// The machine's metadata server: `http://metadata.google.internal`, else `GCE_METADATA_HOST`.
    MetadataServer(Endpoint),
}

/// The regions of one AWS account that may be called.
#[derive(Debug)]
pub struct Bedrock {
    /// The first is called when a request names none. At least one, no name twice.
    pub regions: Vec<Region>,
    /// What stands before a model's name in a request: an `arn` of inference profiles, without a `/` at
    /// its end. An ARN that is whole stands in place of the model.
    pub arn: Option<String>,
    /// `batch_s3_config`
    pub buckets: Vec<Bucket>,
}

/// A region and how it is asked.
#[derive(Debug)]
pub struct Region {
    /// `us-east-1`
    pub name: String,
    /// Where it answers: the provider's own `base_url`, else that of the region.
    pub endpoint: Endpoint,
    /// What its requests are allowed by: its own pair, else that of `global`, else the key's.
    pub auth: AwsAuth,
}

/// What AWS allows a request for.
#[derive(Clone, Debug)]
pub enum AwsAuth {
    /// A Bedrock API key, as Bearer.
    Bearer(Secret),
    /// Signature Version 4 with this pair.
    Pair(AwsCredentials),
    /// Signature Version 4 with what the default chain finds: environment, profile, web identity,
    /// container, machine.
    Chain,
    /// Signature Version 4 with temporary credentials of a role: `arn` is that of a role.
    Role {
        /// `arn:aws:iam::…:role/…`
        arn: String,
        /// Who assumes it: the pair, or what the default chain finds.
        from: Option<AwsCredentials>,
    },
}

/// An access key, its secret, and the session token of temporary ones.
#[derive(Clone, Debug)]
pub struct AwsCredentials {
    /// `access_key`
    pub access_key: Secret,
    /// `secret_key`
    pub secret_key: Secret,
    /// `session_token`
    pub session_token: Option<Secret>,
}

/// Where batch jobs keep their files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// `bucket_name`
    pub name: String,
    /// `prefix`, without `/` at its ends; empty: none.
    pub prefix: String,
    /// Whether it is used when a job names none.
    pub is_default: bool,
}

impl Key {
    /// A model as it is asked of this key, without the region that may stand before it
    /// (`eu-west-1/model`, for Bedrock only).
    pub fn region_and_model<'m>(&self, model: &'m str) -> (Option<&'m str>, &'m str) {
        match self.cloud {
            Cloud::Bedrock(_) => region_and_model(model),
            _ => (None, model),
        }
    }

    /// Whether requests for that region may go over this key; every key has the region that is not named.
    pub fn has_region(&self, region: Option<&str>) -> bool {
        let Some(region) = region else { return true };
        match &self.cloud {
            Cloud::Bedrock(bedrock) => bedrock.regions.iter().any(|own| own.name == region),
            _ => false,
        }
    }
}

impl Provider {
    /// A model as it is asked of this provider, without the region that may stand before it.
    pub fn without_region<'m>(&self, model: &'m str) -> &'m str {
        if self.kind == Kind::Bedrock { region_and_model(model).1 } else { model }
    }
}

fn region_and_model(model: &str) -> (Option<&str>, &str) {
    match model.split_once('/') {
        Some((region, rest)) if is_region(region) => (Some(region), rest),
        _ => (None, model),
    }
}

/// `us-east-1`, `ap-southeast-2`, `us-gov-west-1`: letters and dashes with a digit at the end. No
/// publisher of models is called like that.
fn is_region(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let [first, middle @ .., last] = parts.as_slice() else { return false };
    let letters =
        |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    // `eusc` is the partition of AWS's European Sovereign Cloud.
    (first.len() == 2 || *first == "eusc")
        && !middle.is_empty()
        && letters(first)
        && middle.iter().copied().all(letters)
        && last.len() == 1
        && last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_told_from_publishers() {
        for region in ["us-east-1", "ap-southeast-2", "us-gov-west-1", "eusc-de-east-1"] {
            assert!(is_region(region), "{region}");
        }
        for other in
            ["meta", "us", "us-1", "meta-llama", "eu-west-10", "US-east-1", "a-b-1", "us--1"]
        {
            assert!(!is_region(other), "{other}");
        }
    }
}
