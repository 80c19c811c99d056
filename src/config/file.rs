//! The written form: the content of the file, field by field, before it is checked.
//!
//! The JSON Schema is generated from these types, and all generic code follows that schema: editors and
//! docs/configuration.md show the doc comments, `default` is the value of an absent setting, `required`,
//! `range` and `examples` are used by the problems of `schema_check.rs`, and `writeOnly` marks a secret.
//! No untagged or flattened types: they would lose the location of a setting.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::source::{SecretSource, Source};
use crate::provider::Kind;

/// The configuration of keymux.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "keymux.toml")]
pub(super) struct File {
    /// More configuration files, relative to this one. A `*` in a name matches any characters; matching files are read sorted by name. Lists of clients and keys are joined; any other setting that two files set is an error.
    #[schemars(extend("default" = [], "examples" = [["conf.d/*.toml"]]))]
    #[expect(dead_code, reason = "load.rs reads it from the tree, before there is a `File`")]
    pub(super) include: Vec<String>,
    /// The listener for clients.
    #[schemars(extend("default" = {}))]
    pub(super) server: Server,
    /// The listener for operators: health, metrics, keys, masked configuration.
    #[schemars(extend("default" = {}))]
    pub(super) admin: Admin,
    /// How changes of the files are detected.
    #[schemars(extend("default" = {}))]
    pub(super) reload: Reload,
    /// Limits on retries.
    #[schemars(extend("default" = {}))]
    pub(super) retry: Retry,
    /// Allowed callers. With no clients, anyone may call, and the listener must be on loopback or a unix socket.
    #[schemars(extend("default" = []))]
    pub(super) clients: Vec<Client>,
    /// The providers that requests are sent to, each under a name of your choice. The name of a kind implies that kind.
    #[schemars(extend("default" = {}))]
    pub(super) providers: BTreeMap<String, Provider>,
    /// Your own model names, each with the provider models that serve it.
    #[schemars(extend("default" = {}))]
    pub(super) routes: BTreeMap<String, Route>,
}

/// The listener for clients.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// The address for clients: `ADDRESS:PORT`, `unix:/path/of/socket`, `systemd` (socket activation) or `systemd:NAME` (the socket with that `FileDescriptorName=`). A change needs a restart.
    #[schemars(extend("default" = "127.0.0.1:8787", "examples" = ["127.0.0.1:8787"]))]
    pub(super) listen: String,
    /// Maximum size of a request body: a whole number with B, kB, MB, GB, KiB, MiB or GiB.
    #[schemars(extend("default" = "32MiB"))]
    pub(super) max_body: Size,
    /// How long running requests may take to finish after the stop signal; then they are cut.
    #[schemars(extend("default" = "120s"))]
    pub(super) drain_timeout: Period,
    /// Certificate and private key of this listener. If absent, it serves plain HTTP.
    pub(super) tls: Option<Tls>,
    /// Authentication of callers. `clients`: a caller must send the key of a client. `none`: anyone may call; this value is required to listen off loopback without clients.
    #[schemars(extend("default" = "clients"))]
    pub(super) auth: Auth,
    /// Maximum time for a caller to send the head of a request.
    #[schemars(extend("default" = "10s"))]
    pub(super) head_timeout: Period,
    /// Maximum time between two parts of a request body.
    #[schemars(extend("default" = "30s"))]
    pub(super) body_timeout: Period,
    /// Maximum time a caller may leave a response unread.
    #[schemars(extend("default" = "60s"))]
    pub(super) write_timeout: Period,
    /// Maximum number of open connections. Further connections wait until one closes.
    #[schemars(range(min = 1), extend("default" = 4096))]
    pub(super) max_connections: u32,
    /// Maximum time a request waits for a key to become available.
    #[schemars(extend("default" = "1s"))]
    pub(super) queue_timeout: Period,
    /// Log level and format. The environment variables `KEYMUX_LOG` and `RUST_LOG` win over the level.
    #[schemars(extend("default" = {}))]
    pub(super) log: Log,
}

/// Certificate and private key of a listener in PEM format: each is the path of a file, or a table that names the source of the text.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    /// The certificate chain, the listener's own certificate first.
    #[schemars(required, extend("examples" = ["/etc/keymux/tls.crt"]))]
    pub(super) cert: Option<Source>,
    /// The private key, not encrypted: RSA, ECDSA or Ed25519.
    #[schemars(required, extend("examples" = ["/etc/keymux/tls.key"]))]
    pub(super) key: Option<Source>,
    /// CA certificates for client certificates. If present, each caller must have a certificate signed by one of them.
    pub(super) client_ca: Option<Source>,
}

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum Auth {
    Clients,
    None,
}

/// Log level and format.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, `off`, or a filter such as `info,keymux::upstream=debug`.
    #[schemars(extend("default" = "info", "examples" = ["info"]))]
    pub(super) level: String,
    /// `text`, `json` (one object per line), or `auto`: text on a terminal and JSON elsewhere.
    #[schemars(extend("default" = "auto"))]
    pub(super) format: LogFormat,
}

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum LogFormat {
    Auto,
    Json,
    Text,
}

/// The listener for operators: health, metrics, keys, masked configuration.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    /// The address for operators, in the form of `server.listen`. Off loopback it needs a `token`. A change needs a restart.
    #[schemars(extend("default" = "127.0.0.1:8788", "examples" = ["127.0.0.1:8788"]))]
    pub(super) listen: String,
    /// The token that every path except `/livez` and `/readyz` requires, as `Authorization: Bearer TOKEN`.
    pub(super) token: Option<SecretSource>,
}

/// How changes of the files are detected.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reload {
    /// `auto`: file events, and polling in addition. `poll`: polling only. `off`: reload on SIGHUP only.
    #[schemars(extend("default" = "auto"))]
    pub(super) watch: WatchMode,
    /// How often the contents are compared when no file event arrives.
    #[schemars(extend("default" = "30s"))]
    pub(super) poll_interval: Period,
    /// How long the files must be unchanged before they are read again.
    #[schemars(extend("default" = "250ms"))]
    pub(super) settle: Period,
}

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum WatchMode {
    Auto,
    Poll,
    Off,
}

/// Limits on retries.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Maximum number of retries after failures of providers, as a share of all requests: 0.2 allows one retry per five requests.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.2))]
    pub(super) budget: f64,
    /// Number of retries per second that are allowed regardless of `budget`.
    #[schemars(extend("default" = 10))]
    pub(super) floor_per_second: u32,
    /// How often one request may wait for a key to become available.
    #[schemars(extend("default" = 2))]
    pub(super) max_waits: u32,
}

/// An allowed caller.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    /// The name of the client in rules, logs and metrics.
    #[schemars(required, extend("examples" = ["staging"]))]
    pub(super) name: Option<String>,
    /// The API key this client sends. Alternatives: `key_sha256`, `aws`.
    pub(super) key: Option<SecretSource>,
    /// SHA-256 of the API key this client sends, 64 hex digits: `printf %s "$KEY" | sha256sum`.
    #[schemars(extend("pattern" = "^[0-9A-Fa-f]{64}$"))]
    pub(super) key_sha256: Option<String>,
    /// The AWS access key with which this client signs its requests (Signature Version 4), with or without a `key`.
    pub(super) aws: Option<ClientAwsKey>,
    /// Models this client may request: names or patterns, `*` matches any characters, case is ignored. If absent, all.
    pub(super) models: Option<Vec<String>>,
    /// Models this client may not request. Wins over `models`.
    #[schemars(extend("default" = []))]
    pub(super) blacklisted_models: Vec<String>,
    /// If `false`, the key of this client is rejected.
    #[schemars(extend("default" = true))]
    pub(super) enabled: bool,
    /// Maximum number of concurrent requests of this client. If absent, unlimited.
    #[schemars(range(min = 1))]
    pub(super) max_concurrent: Option<u32>,
}

/// The AWS access key of a client.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientAwsKey {
    /// The access key ID.
    #[schemars(required)]
    pub(super) access_key: Option<SecretSource>,
    /// The secret access key.
    #[schemars(required)]
    pub(super) secret_key: Option<SecretSource>,
}

/// A provider and its keys.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Provider {
    /// The kind of the provider. Default: the name of the provider, if that is a kind.
    #[schemars(with = "Option<KindName>")]
    pub(super) kind: Option<String>,
    /// The base URL of the provider. Each kind except `openai-compatible` and `azure` has a default. For OpenAI-like kinds it ends in the version of the API, such as `/v1`; for the others it is the origin without a version. For the clouds it replaces the addresses of the regions.
    #[schemars(extend("examples" = ["https://api.example.com/v1"]))]
    pub(super) base_url: Option<String>,
    /// Additional headers for each request to this provider.
    #[schemars(extend("default" = {}))]
    pub(super) headers: BTreeMap<String, SecretSource>,
    /// The HTTP proxy for connections to this provider: `http://host:port` or `http://user:password@host:port`.
    #[schemars(extend("examples" = ["http://proxy.internal:3128"]))]
    pub(super) proxy: Option<SecretSource>,
    /// The path of a PEM file with CA certificates to trust instead of the system's.
    #[schemars(extend("examples" = ["/etc/ssl/private-ca.pem"]))]
    pub(super) ca_file: Option<String>,
    /// Timeouts of requests to this provider.
    #[schemars(extend("default" = {}))]
    pub(super) timeouts: Timeouts,
    /// Maximum number of concurrent requests over all keys of this provider. If absent, unlimited.
    #[schemars(range(min = 1))]
    pub(super) max_concurrent: Option<u32>,
    /// Which requests keep using the same key. `prompt_cache`: requests with the same stable prefix of at least 4 kB, so that the provider's prompt cache is used. `session`: requests of one session that the caller names. `none`: every request is distributed by weight.
    #[schemars(extend("default" = "prompt_cache"))]
    pub(super) affinity: Affinity,
    /// The keys of this provider.
    #[schemars(extend("default" = []))]
    pub(super) keys: Vec<Key>,
}

/// Timeouts of requests to a provider: a number with ms, s, m or h.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    /// Maximum time to open a connection.
    #[schemars(extend("default" = "3s"))]
    pub(super) connect: Period,
    /// Maximum time until the first byte of a response; for a stream, until its first meaningful event.
    #[schemars(extend("default" = "120s"))]
    pub(super) first_byte: Period,
    /// Maximum time between two parts of a response.
    #[schemars(extend("default" = "60s"))]
    pub(super) idle: Period,
    /// Maximum time for the whole request, all attempts together.
    #[schemars(extend("default" = "600s"))]
    pub(super) total: Period,
}

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum Affinity {
    PromptCache,
    Session,
    None,
}

/// A key of a provider.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"name": "main", "value": {"env_var": "OPENAI_KEY"}}]))]
pub(super) struct Key {
    /// The name of the key in rules, logs and metrics, unique within the provider. Default: the name of the environment variable of `value`.
    #[schemars(extend("examples" = ["team-a"]))]
    pub(super) name: Option<String>,
    /// The credential: the text itself, or a table that names its source. For `azure`, `vertex` and `bedrock` it may be a JSON text. `vllm`, `ollama`, `sglang` and `echo` need none.
    pub(super) value: Option<SecretSource>,
    /// The share of the traffic, relative to the other keys. 0 makes a standby key, used only when no other key is available.
    #[schemars(range(min = 0), extend("default" = 1))]
    pub(super) weight: f64,
    /// Models this key may serve: names or patterns, `*` matches any characters, case is ignored. If absent, all.
    pub(super) models: Option<Vec<String>>,
    /// Models this key may not serve. Wins over `models`.
    #[schemars(extend("default" = []))]
    pub(super) blacklisted_models: Vec<String>,
    /// Names of the clients that may use this key. Keys that name a client are preferred for it. If absent, all clients.
    pub(super) clients: Option<Vec<String>>,
    /// If `false`, this key is not used, and its sources are not read.
    #[schemars(extend("default" = true))]
    pub(super) enabled: bool,
    /// If `true`, this key may serve batch jobs.
    #[schemars(extend("default" = false))]
    pub(super) use_for_batch_api: bool,
    /// A note for operators.
    pub(super) description: Option<String>,
    /// Maximum number of concurrent requests with this key. If absent, unlimited.
    #[schemars(range(min = 1))]
    pub(super) max_concurrent: Option<u32>,
    /// Maximum number of requests in any 60 seconds.
    #[schemars(range(min = 1))]
    pub(super) rpm: Option<u32>,
    /// Maximum number of tokens per minute. Each request is estimated first and corrected with the usage of its response.
    #[schemars(range(min = 1))]
    pub(super) tpm: Option<u32>,
    /// Keys with the same value belong to one account: when the provider reports a limit for one of them, it applies to all.
    pub(super) quota_group: Option<String>,
    /// For `azure`: the resource, deployments, Entra ID credentials.
    pub(super) azure_key_config: Option<Azure>,
    /// For `vertex`: project, region, credentials, deployments.
    pub(super) vertex_key_config: Option<Vertex>,
    /// For `bedrock`: AWS credentials, regions, deployments.
    pub(super) bedrock_key_config: Option<Bedrock>,
    /// For `replicate`: deployments.
    pub(super) replicate_key_config: Option<Replicate>,
    /// For `vllm`: one server and its model.
    pub(super) vllm_key_config: Option<Vllm>,
    /// For `ollama`: one server.
    pub(super) ollama_key_config: Option<OneServer>,
    /// For `sglang`: one server.
    pub(super) sgl_key_config: Option<OneServer>,
}

/// The settings of an `azure` key.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Azure {
    /// The URL of the resource. Default: `base_url` of the provider.
    #[schemars(extend("examples" = ["https://my-resource.openai.azure.com"]))]
    pub(super) endpoint: Option<Source>,
    /// The version of Azure's API: `v1`, which sends the deployment as the model in the body, or a date such as `2024-10-21`, which sends it in the URL.
    #[schemars(extend("default" = "2024-10-21", "examples" = ["v1", "2024-10-21"]))]
    pub(super) api_version: Option<Source>,
    /// Requested model -> name of the deployment.
    #[schemars(extend("default" = {}))]
    pub(super) deployments: BTreeMap<String, String>,
    /// Entra ID: the tenant. Without `value` and `client_secret`, the key uses workload identity if `AZURE_FEDERATED_TOKEN_FILE` is set, else the managed identity.
    pub(super) tenant_id: Option<Source>,
    /// Entra ID: the application, or a user-assigned managed identity.
    pub(super) client_id: Option<Source>,
    /// Entra ID: the secret of the application.
    pub(super) client_secret: Option<SecretSource>,
    /// Entra ID: the scopes of the token.
    #[schemars(extend("default" = ["https://cognitiveservices.azure.com/.default"]))]
    pub(super) scopes: Vec<String>,
    /// Entra ID: the origin of the token endpoint. Default: `AZURE_AUTHORITY_HOST`, else `https://login.microsoftonline.com`.
    #[schemars(extend("examples" = ["https://login.microsoftonline.com"]))]
    pub(super) authority_host: Option<String>,
}

/// The settings of a `vertex` key.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Vertex {
    /// The project ID. Default: the one in the credentials, else `GOOGLE_CLOUD_PROJECT`, else `project_number`.
    #[schemars(extend("examples" = ["my-project"]))]
    pub(super) project_id: Option<Source>,
    /// The project number. The endpoints of tuned models need it.
    pub(super) project_number: Option<Source>,
    /// A region, `global`, or a multi-region `us`, `eu`.
    #[schemars(required, extend("examples" = ["us-central1"]))]
    pub(super) region: Option<Source>,
    /// The JSON text of the credentials: a service account, a user, a workload identity or an impersonated service account. Default: application default credentials.
    pub(super) auth_credentials: Option<SecretSource>,
    /// Requested model -> model or endpoint of Vertex.
    #[schemars(extend("default" = {}))]
    pub(super) deployments: BTreeMap<String, String>,
}

/// The settings of a `bedrock` key.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Bedrock {
    /// The default region. Default: the first of `regions` by name, else `AWS_REGION`, else `AWS_DEFAULT_REGION`.
    #[schemars(extend("examples" = ["us-east-1"]))]
    pub(super) region: Option<Source>,
    /// The access key ID. Without any credentials, the default credential chain of AWS is used.
    pub(super) access_key: Option<SecretSource>,
    /// The secret access key.
    pub(super) secret_key: Option<SecretSource>,
    /// The session token of temporary credentials.
    pub(super) session_token: Option<SecretSource>,
    /// The ARN of a role to assume, or an ARN prefix of inference profiles, which precedes model names.
    pub(super) arn: Option<Source>,
    /// Requested model -> model ID or inference profile.
    #[schemars(extend("default" = {}))]
    pub(super) deployments: BTreeMap<String, String>,
    /// A pair of access keys for each region. The entry `global` applies to regions without their own.
    #[schemars(extend("default" = {}))]
    pub(super) regions: BTreeMap<String, RegionPair>,
    /// The S3 buckets for the files of batch jobs.
    pub(super) batch_s3_config: Option<BatchS3>,
}

/// The AWS credentials of one region.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegionPair {
    /// The access key ID.
    #[schemars(required)]
    pub(super) access_key: Option<SecretSource>,
    /// The secret access key.
    #[schemars(required)]
    pub(super) secret_key: Option<SecretSource>,
    /// The session token of temporary credentials.
    pub(super) session_token: Option<SecretSource>,
}

/// The S3 buckets for the files of batch jobs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchS3 {
    /// The buckets.
    #[schemars(extend("default" = []))]
    pub(super) buckets: Vec<Bucket>,
}

/// An S3 bucket for batch jobs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the name is that of the file")]
pub(super) struct Bucket {
    /// The name of the bucket.
    #[schemars(required, extend("examples" = ["my-batches"]))]
    pub(super) bucket_name: Option<String>,
    /// The folder in the bucket.
    pub(super) prefix: Option<String>,
    /// If `true`, this bucket is used when a job names none. Only one bucket can be the default.
    #[schemars(extend("default" = false))]
    pub(super) is_default: bool,
}

/// The settings of a `replicate` key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Replicate {
    /// Requested model -> deployment.
    #[schemars(extend("default" = {}))]
    pub(super) deployments: BTreeMap<String, String>,
}

/// One vLLM server.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Vllm {
    /// The origin of the server, without `/v1`.
    #[schemars(extend("examples" = ["http://10.0.0.5:8000"]))]
    pub(super) url: Option<Source>,
    /// The only model that the server has.
    #[schemars(extend("examples" = ["llama-3.3-70b"]))]
    pub(super) model_name: Option<String>,
}

/// One server.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OneServer {
    /// The origin of the server, without `/v1`.
    #[schemars(extend("examples" = ["http://10.0.0.5:11434"]))]
    pub(super) url: Option<Source>,
}

/// Your own model name.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// The provider models that serve it. They share the traffic by weight; when one fails, the others are tried.
    #[schemars(required, extend("examples" = [[{"model": "openai/gpt-4o-mini"}]]))]
    pub(super) targets: Option<Vec<RouteTarget>>,
    /// Models to try in order after all targets failed.
    #[schemars(extend("default" = []))]
    pub(super) fallbacks: Vec<String>,
    /// Timeouts that replace those of the providers.
    pub(super) timeouts: Option<RouteTimeouts>,
    /// Maximum time until the first event of a stream before the next target is tried, if another one is available. Default: no limit besides `first_byte`. Does not apply to requests without streaming.
    pub(super) first_token: Option<Period>,
    /// What happens when a stream breaks. `none`: it ends with an error event. `hold`: a stream is sent to the client only when it is complete, so that a broken one can be retried.
    #[schemars(extend("default" = "none"))]
    pub(super) rescue: Rescue,
}

/// A model that serves a route.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteTarget {
    /// `provider/model`, or a model that exactly one provider lists.
    #[schemars(required, extend("examples" = ["openai/gpt-4o-mini"]))]
    pub(super) model: Option<String>,
    /// The share of the route's traffic. 0 makes a standby target.
    #[schemars(range(min = 0), extend("default" = 1))]
    pub(super) weight: f64,
}

/// Timeouts of a route: a number with ms, s, m or h.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteTimeouts {
    /// Maximum time until the first byte of a response; for a stream, until its first meaningful event.
    pub(super) first_byte: Option<Period>,
    /// Maximum time between two parts of a response.
    pub(super) idle: Option<Period>,
    /// Maximum time for the whole request, all attempts together.
    pub(super) total: Option<Period>,
}

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum Rescue {
    None,
    Hold,
}

/// A duration as text.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Period(pub(super) String);

impl JsonSchema for Period {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h)$",
            "examples": ["30s", "250ms", "2m", "1h"],
        })
    }
}

/// A number of bytes as text.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Size(pub(super) String);

impl JsonSchema for Size {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Size".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[0-9]+(B|kB|MB|GB|KiB|MiB|GiB)$",
            "examples": ["32MiB", "512KiB", "10MB"],
        })
    }
}

/// The name of a kind; for the schema only.
struct KindName;

impl JsonSchema for KindName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "KindName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = Kind::all().map(Kind::name).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}
