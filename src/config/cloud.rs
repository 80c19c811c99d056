//! The checked form of `azure_key_config`, `vertex_key_config` and `bedrock_key_config`.

use std::path::PathBuf;

use super::endpoint::Endpoint;
use crate::secret::Secret;

/// The `*_key_config` of a cloud, with the key's credentials.
#[derive(Debug, Default)]
pub enum Cloud {
    /// The kind has no such table.
    #[default]
    None,
    /// `azure_key_config`
    Azure(Azure),
    /// `vertex_key_config`
    Vertex(Vertex),
    /// `bedrock_key_config`
    Bedrock(Bedrock),
}

/// A resource of Azure OpenAI or AI Foundry. Its address is [`super::Key::endpoint`].
#[derive(Debug)]
pub struct Azure {
    /// The version of its API, which decides the form of the URL.
    pub api_version: ApiVersion,
    /// The credentials.
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

/// Credentials for Azure.
#[derive(Debug)]
pub enum AzureAuth {
    /// A key of the resource, sent in the header `api-key`.
    ApiKey(Secret),
    /// A token of Entra ID.
    Entra(EntraAuth),
}

/// How a token of Entra ID is requested.
#[derive(Clone, Debug)]
pub struct EntraAuth {
    /// The scopes of the token; at least one.
    pub scopes: Vec<String>,
    /// The credential that Entra ID exchanges for the token.
    pub credential: EntraCredential,
}

/// A credential that Entra ID exchanges for a token.
#[derive(Clone, Debug)]
pub enum EntraCredential {
    /// The secret of an application: `POST {authority}/{tenant}/oauth2/v2.0/token`.
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
    /// Workload identity: a token of another issuer, sent to the same address. Its file is read again for
    /// each token request (`AZURE_FEDERATED_TOKEN_FILE`).
    WorkloadIdentity {
        /// `authority_host`, else `AZURE_AUTHORITY_HOST`.
        authority: Endpoint,
        /// `tenant_id`, else `AZURE_TENANT_ID`.
        tenant: String,
        /// `client_id`, else `AZURE_CLIENT_ID`.
        client: String,
        /// The file that contains the token.
        file: PathBuf,
    },
    /// Managed identity of a virtual machine: `GET {address}/metadata/identity/oauth2/token` with
    /// `metadata: true`.
    MachineIdentity {
        /// `http://169.254.169.254`, or `AZURE_POD_IDENTITY_AUTHORITY_HOST` if it is set.
        address: Endpoint,
        /// `client_id` of a user-assigned identity; `None`: the system-assigned one.
        client: Option<String>,
    },
    /// Managed identity of an App Service or a function: `GET {IDENTITY_ENDPOINT}` with
    /// `x-identity-header`.
    AppServiceIdentity {
        /// `IDENTITY_ENDPOINT`; its path is the prefix.
        address: Endpoint,
        /// `IDENTITY_HEADER`
        header: Secret,
        /// `client_id` of a user-assigned identity; `None`: the system-assigned one.
        client: Option<String>,
    },
}

/// A Google Cloud project and region.
#[derive(Debug)]
pub struct Vertex {
    /// The first of: `project_id` in the table, in the credentials, `GOOGLE_CLOUD_PROJECT`,
    /// `project_number`.
    pub project: String,
    /// `project_number`, if it is set. The endpoints of tuned models use it.
    pub number: Option<String>,
    /// `us-central1`, `global`, or a multi-region `us`, `eu`.
    pub region: String,
    /// The credentials.
    pub auth: GoogleAuth,
}

/// How a token of Google is requested.
#[derive(Clone, Debug)]
pub enum GoogleAuth {
    /// The text of a credentials file: `service_account`, `authorized_user`, `external_account` or
    /// `impersonated_service_account`. The first of: `auth_credentials` or `value`, the file of
    /// `GOOGLE_APPLICATION_CREDENTIALS`, the file of gcloud.
    Credentials(Secret),
    /// The metadata server of the machine: `http://metadata.google.internal`, or `GCE_METADATA_HOST` if it
    /// is set.
    MetadataServer(Endpoint),
}

/// The regions of one AWS account that may be called.
#[derive(Debug)]
pub struct Bedrock {
    /// At least one, names unique. The first is called when a request names none.
    pub regions: Vec<Region>,
    /// An ARN prefix of inference profiles, without a `/` at its end; it precedes the model's name in a
    /// request. A model that is a complete ARN is sent without it.
    pub arn: Option<String>,
    /// `batch_s3_config`
    pub buckets: Vec<Bucket>,
}

/// A region with its address and credentials.
#[derive(Debug)]
pub struct Region {
    /// `us-east-1`
    pub name: String,
    /// The provider's `base_url`, else the address of the region.
    pub endpoint: Endpoint,
    /// The credentials: the region's pair, else that of `global`, else the key's.
    pub auth: AwsAuth,
}

/// Credentials for AWS.
#[derive(Clone, Debug)]
pub enum AwsAuth {
    /// A Bedrock API key, sent as a Bearer token.
    Bearer(Secret),
    /// Signature Version 4 with these credentials.
    Pair(AwsCredentials),
    /// Signature Version 4 with credentials from the default chain: environment, profile, web identity,
    /// container, machine.
    Chain,
    /// Signature Version 4 with temporary credentials of a role: `arn` is that of a role.
    Role {
        /// `arn:aws:iam::…:role/…`
        arn: String,
        /// The credentials that assume the role; `None`: those of the default chain.
        from: Option<AwsCredentials>,
    },
}

/// An access key ID, its secret, and the session token of temporary credentials.
#[derive(Clone, Debug)]
pub struct AwsCredentials {
    /// `access_key`
    pub access_key: Secret,
    /// `secret_key`
    pub secret_key: Secret,
    /// `session_token`
    pub session_token: Option<Secret>,
}

/// An S3 bucket for the files of batch jobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// `bucket_name`
    pub name: String,
    /// `prefix`, without `/` at its ends; empty: none.
    pub prefix: String,
    /// True if it is used when a job names no bucket.
    pub is_default: bool,
}

/// Splits off the region that may precede a model (`eu-west-1/model`).
pub(super) fn split_region(model: &str) -> (Option<&str>, &str) {
    match model.split_once('/') {
        Some((region, rest)) if is_region(region) => (Some(region), rest),
        _ => (None, model),
    }
}

/// `us-east-1`, `ap-southeast-2`, `us-gov-west-1`: letters and dashes with a digit at the end. No
/// publisher of models has such a name.
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
    fn regions_differ_from_publishers() {
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
