//! The written form: what the file says, field by field, before anything is checked.
//!
//! The JSON Schema is made from these types, and everything that walks the file generically goes by
//! that schema: a doc comment is what an editor shows, `default` is what stands in for an absent
//! setting, `required`, `range` and `examples` feed the problems of `structure.rs`, and `writeOnly`
//! marks a secret. No untagged or flattened types: they would lose track of where a setting stands.

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
    /// More files, relative to this one: a `*` in a name stands for anything, matches are read in the order of their names.
    #[schemars(extend("default" = []))]
    #[expect(dead_code, reason = "load.rs reads it from the tree, before there is a `File`")]
    pub(super) include: Vec<String>,
    /// Where programs call.
    #[schemars(extend("default" = {}))]
    pub(super) server: Server,
    /// The second listener: health, metrics, masked configuration, status page.
    #[schemars(extend("default" = {}))]
    pub(super) admin: Admin,
    /// How changes of the files are noticed.
    #[schemars(extend("default" = {}))]
    pub(super) reload: Reload,
    /// How much may be tried again.
    #[schemars(extend("default" = {}))]
    pub(super) retry: Retry,
    /// Who may call; none at all: anybody, and then on loopback or a unix socket only.
    #[schemars(extend("default" = []))]
    pub(super) clients: Vec<Client>,
    /// Where requests go, by a name of your choice; the name of a kind implies that kind.
    #[schemars(extend("default" = {}))]
    pub(super) providers: BTreeMap<String, Provider>,
    /// Model names of your own, each with the models that stand behind it.
    #[schemars(extend("default" = {}))]
    pub(super) routes: BTreeMap<String, Route>,
}

/// Where programs call.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Server {
    /// `ADDRESS:PORT`, `unix:/path/of/socket`, `systemd` or `systemd:NAME`.
    #[schemars(extend("default" = "127.0.0.1:8787", "examples" = ["127.0.0.1:8787"]))]
    pub(super) listen: String,
    /// Largest request body.
    #[schemars(extend("default" = "32MiB"))]
    pub(super) max_body: Size,
    /// How long running requests may finish after the stop signal.
    #[schemars(extend("default" = "120s"))]
    pub(super) drain_timeout: Period,
    /// Certificate and key of this listener; absent: plain HTTP.
    pub(super) tls: Option<Tls>,
    /// Who may call: `clients` asks for the key of a client, `none` lets everybody in and must be written to open a listener off loopback without clients.
    #[schemars(extend("default" = "clients"))]
    pub(super) auth: Auth,
    /// How long a caller may take for the head of a request.
    #[schemars(extend("default" = "10s"))]
    pub(super) head_timeout: Period,
    /// How long a caller may pause within a request body.
    #[schemars(extend("default" = "30s"))]
    pub(super) body_timeout: Period,
    /// How long a caller may leave an answer unread.
    #[schemars(extend("default" = "60s"))]
    pub(super) write_timeout: Period,
    /// Connections at once; more wait to be accepted.
    #[schemars(range(min = 1), extend("default" = 4096))]
    pub(super) max_connections: u32,
    /// How long a request may wait for a key that is about to be free.
    #[schemars(extend("default" = "1s"))]
    pub(super) queue_timeout: Period,
    /// What is logged and how; the variables `KEYMUX_LOG` and `RUST_LOG` win over the level.
    #[schemars(extend("default" = {}))]
    pub(super) log: Log,
}

/// Certificate and key of a listener, in PEM form: the path of a file, or a table that says where the text comes from.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Tls {
    /// The certificate chain, the listener's own first.
    #[schemars(required, extend("examples" = ["/etc/keymux/tls.crt"]))]
    pub(super) cert: Option<Source>,
    /// The private key.
    #[schemars(required, extend("examples" = ["/etc/keymux/tls.key"]))]
    pub(super) key: Option<Source>,
    /// The certificates that sign callers' certificates; absent: callers need none.
    pub(super) client_ca: Option<Source>,
}

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum Auth {
    Clients,
    None,
}

/// What is logged and how.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Log {
    /// `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,keymux::upstream=debug`.
    #[schemars(extend("default" = "info", "examples" = ["info"]))]
    pub(super) level: String,
    /// `auto` is text on a terminal and JSON elsewhere.
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

/// The second listener: health, metrics, masked configuration, status page.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Admin {
    /// `ADDRESS:PORT`, `unix:/path/of/socket`, `systemd` or `systemd:NAME`; off loopback only with a token.
    #[schemars(extend("default" = "127.0.0.1:8788", "examples" = ["127.0.0.1:8788"]))]
    pub(super) listen: String,
    /// The token that all but `/livez` and `/readyz` ask for.
    pub(super) token: Option<SecretSource>,
}

/// How changes of the files are noticed.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Reload {
    /// `auto` uses file events with polling as a floor, `poll` polls only, `off` waits for SIGHUP.
    #[schemars(extend("default" = "auto"))]
    pub(super) watch: WatchMode,
    /// How often contents are compared when no event came.
    #[schemars(extend("default" = "30s"))]
    pub(super) poll_interval: Period,
    /// How long the files must be quiet before they are read.
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

/// How much may be tried again.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Retry {
    /// Attempts that follow a failure of a provider, as a share of all requests.
    #[schemars(range(min = 0, max = 1), extend("default" = 0.2))]
    pub(super) budget: f64,
    /// Such attempts a second that are allowed whatever the share.
    #[schemars(extend("default" = 10))]
    pub(super) floor_per_second: u32,
    /// How often one request may wait.
    #[schemars(extend("default" = 2))]
    pub(super) max_waits: u32,
}

/// A program that may call.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Client {
    /// Its name in rules, logs and metrics.
    #[schemars(required, extend("examples" = ["staging"]))]
    pub(super) name: Option<String>,
    /// The key it shows; `key_sha256` may stand instead.
    pub(super) key: Option<SecretSource>,
    /// SHA-256 of its key, 64 hex digits.
    #[schemars(extend("pattern" = "^[0-9A-Fa-f]{64}$"))]
    pub(super) key_sha256: Option<String>,
    /// The pair with which it signs requests in the AWS manner (Signature Version 4), in place of a key or beside it.
    pub(super) aws: Option<ClientAwsKey>,
    /// Models it may ask for, `*` for any run of characters; absent: everything.
    pub(super) models: Option<Vec<String>>,
    /// Models it may not ask for; wins over `models`.
    #[schemars(extend("default" = []))]
    pub(super) blacklisted_models: Vec<String>,
    /// `false` refuses its key.
    #[schemars(extend("default" = true))]
    pub(super) enabled: bool,
    /// Requests at once.
    #[schemars(range(min = 1))]
    pub(super) max_concurrent: Option<u32>,
}

/// An AWS access key and its secret key.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ClientAwsKey {
    /// The access key's id.
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
    /// What kind of provider it is; the provider's own name says so when it is the name of a kind.
    #[schemars(with = "Option<KindName>")]
    pub(super) kind: Option<String>,
    /// Where it answers; each kind but `openai-compatible` and `azure` has a default. For the clouds it stands in place of the addresses of their regions.
    #[schemars(extend("examples" = ["https://api.example.com/v1"]))]
    pub(super) base_url: Option<String>,
    /// Extra headers for each request to it.
    #[schemars(extend("default" = {}))]
    pub(super) headers: BTreeMap<String, SecretSource>,
    /// The proxy to go through, `http://host:port`, with `user:password@` where it asks for them.
    #[schemars(extend("examples" = ["http://proxy.internal:3128"]))]
    pub(super) proxy: Option<SecretSource>,
    /// A file of certificates, PEM, to trust in place of the system's.
    #[schemars(extend("examples" = ["/etc/ssl/private-ca.pem"]))]
    pub(super) ca_file: Option<String>,
    /// Its deadlines.
    #[schemars(extend("default" = {}))]
    pub(super) timeouts: Timeouts,
    /// Requests at once, over all its keys.
    #[schemars(range(min = 1))]
    pub(super) max_concurrent: Option<u32>,
    /// What makes requests stay with a key: `prompt_cache` a long stable prefix, `session` the caller's session, `none` nothing.
    #[schemars(extend("default" = "prompt_cache"))]
    pub(super) affinity: Affinity,
    /// Its keys.
    #[schemars(extend("default" = []))]
    pub(super) keys: Vec<Key>,
}

/// The deadlines of a provider.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Timeouts {
    /// Until a connection stands.
    #[schemars(extend("default" = "3s"))]
    pub(super) connect: Period,
    /// Until the first byte of an answer; for a stream, its first meaningful event.
    #[schemars(extend("default" = "120s"))]
    pub(super) first_byte: Period,
    /// Between two pieces of an answer.
    #[schemars(extend("default" = "60s"))]
    pub(super) idle: Period,
    /// For the whole request, all attempts together.
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
    /// Its name in rules, logs and metrics; default: the name of the variable that `value` comes from.
    #[schemars(extend("examples" = ["team-a"]))]
    pub(super) name: Option<String>,
    /// The credential itself, or where it comes from.
    pub(super) value: Option<SecretSource>,
    /// Its share of the traffic, relative to the other keys; 0: standby, used only when no other key can serve.
    #[schemars(range(min = 0), extend("default" = 1))]
    pub(super) weight: f64,
    /// Models it may serve, `*` for any run of characters; absent: all.
    pub(super) models: Option<Vec<String>>,
    /// Models it may not serve; wins over `models`.
    #[schemars(extend("default" = []))]
    pub(super) blacklisted_models: Vec<String>,
    /// Names of the clients it serves; absent: everybody.
    pub(super) clients: Option<Vec<String>>,
    /// `false` takes it out of use; its sources are then not read.
    #[schemars(extend("default" = true))]
    pub(super) enabled: bool,
    /// Whether it may serve batch jobs.
    #[schemars(extend("default" = false))]
    pub(super) use_for_batch_api: bool,
    /// A note for people.
    pub(super) description: Option<String>,
    /// Requests at once.
    #[schemars(range(min = 1))]
    pub(super) max_concurrent: Option<u32>,
    /// Requests in any 60 seconds.
    #[schemars(range(min = 1))]
    pub(super) rpm: Option<u32>,
    /// Tokens in a minute, estimated before and corrected after each answer.
    #[schemars(range(min = 1))]
    pub(super) tpm: Option<u32>,
    /// Keys with the same name here are of one account: its limits at the provider are met by all of them.
    pub(super) quota_group: Option<String>,
    /// For `azure`: the resource, its deployments, Entra ID credentials.
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

/// What an `azure` key needs besides its value.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Azure {
    /// The resource's origin; default: the provider's `base_url`.
    #[schemars(extend("examples" = ["https://my-resource.openai.azure.com"]))]
    pub(super) endpoint: Option<Source>,
    /// The version of Azure's API: `v1`, where the model is the deployment's name, or a dated one such as `2024-10-21`.
    #[schemars(extend("default" = "2024-10-21", "examples" = ["v1", "2024-10-21"]))]
    pub(super) api_version: Option<Source>,
    /// Model asked for -> name of the deployment.
    #[schemars(extend("default" = {}))]
    pub(super) deployments: BTreeMap<String, String>,
    /// Entra ID: the tenant. Without a `value` and a `client_secret` the key takes workload identity (`AZURE_FEDERATED_TOKEN_FILE`), else the managed identity.
    pub(super) tenant_id: Option<Source>,
    /// Entra ID: the application, or a managed identity that is not the machine's own.
    pub(super) client_id: Option<Source>,
    /// Entra ID: the application's secret.
    pub(super) client_secret: Option<SecretSource>,
    /// Entra ID: what the token is asked for.
    #[schemars(extend("default" = ["https://cognitiveservices.azure.com/.default"]))]
    pub(super) scopes: Vec<String>,
    /// Entra ID: where tokens are asked for; default: `AZURE_AUTHORITY_HOST`, else `https://login.microsoftonline.com`.
    #[schemars(extend("examples" = ["https://login.microsoftonline.com"]))]
    pub(super) authority_host: Option<String>,
}

/// What a `vertex` key needs.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Vertex {
    /// The project's id; default: the one inside the credentials, else `GOOGLE_CLOUD_PROJECT`, else the number.
    #[schemars(extend("examples" = ["my-project"]))]
    pub(super) project_id: Option<Source>,
    /// The project's number; endpoints of tuned models are under it.
    pub(super) project_number: Option<Source>,
    /// A region, `global`, or a multi-region `us`, `eu`.
    #[schemars(required, extend("examples" = ["us-central1"]))]
    pub(super) region: Option<Source>,
    /// The JSON of a service account, a user, a workload identity or an impersonated service account; default: application default credentials.
    pub(super) auth_credentials: Option<SecretSource>,
    /// Model asked for -> model or endpoint at Vertex.
    #[schemars(extend("default" = {}))]
    pub(super) deployments: BTreeMap<String, String>,
}

/// What a `bedrock` key needs.
#[derive(Deserialize, JsonSchema, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct Bedrock {
    /// The region that is called; default: the first of `regions` by name, else `AWS_REGION`.
    #[schemars(extend("examples" = ["us-east-1"]))]
    pub(super) region: Option<Source>,
    /// The access key's id; without any credentials the default chain of AWS is asked.
    pub(super) access_key: Option<SecretSource>,
    /// The secret access key.
    pub(super) secret_key: Option<SecretSource>,
    /// The session token of temporary credentials.
    pub(super) session_token: Option<SecretSource>,
    /// The ARN of a role, which is assumed; or the prefix of inference profile ARNs.
    pub(super) arn: Option<Source>,
    /// Model asked for -> model id or inference profile.
    #[schemars(extend("default" = {}))]
    pub(super) deployments: BTreeMap<String, String>,
    /// A pair of keys for each region; `global` is used where a region has none.
    #[schemars(extend("default" = {}))]
    pub(super) regions: BTreeMap<String, RegionPair>,
    /// Where batch jobs keep their files.
    pub(super) batch_s3_config: Option<BatchS3>,
}

/// The AWS credentials of one region.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RegionPair {
    /// The access key's id.
    #[schemars(required)]
    pub(super) access_key: Option<SecretSource>,
    /// The secret access key.
    #[schemars(required)]
    pub(super) secret_key: Option<SecretSource>,
    /// The session token of temporary credentials.
    pub(super) session_token: Option<SecretSource>,
}

/// Where batch jobs keep their files.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BatchS3 {
    /// The buckets.
    #[schemars(extend("default" = []))]
    pub(super) buckets: Vec<Bucket>,
}

/// A bucket for batch jobs.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the name is that of the file")]
pub(super) struct Bucket {
    /// Its name.
    #[schemars(required, extend("examples" = ["my-batches"]))]
    pub(super) bucket_name: Option<String>,
    /// The folder within it.
    pub(super) prefix: Option<String>,
    /// Whether it is used when a job names none.
    #[schemars(extend("default" = false))]
    pub(super) is_default: bool,
}

/// What a `replicate` key may have besides its value.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Replicate {
    /// Model asked for -> deployment.
    #[schemars(extend("default" = {}))]
    pub(super) deployments: BTreeMap<String, String>,
}

/// One vLLM server.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Vllm {
    /// Its origin, without `/v1`.
    #[schemars(extend("examples" = ["http://10.0.0.5:8000"]))]
    pub(super) url: Option<Source>,
    /// The one model it serves.
    #[schemars(extend("examples" = ["llama-3.3-70b"]))]
    pub(super) model_name: Option<String>,
}

/// One server of your own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OneServer {
    /// Its origin, without `/v1`.
    #[schemars(extend("examples" = ["http://10.0.0.5:11434"]))]
    pub(super) url: Option<Source>,
}

/// A model name of your own.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Route {
    /// What stands behind it, shared by weight.
    #[schemars(required, extend("examples" = [[{"model": "openai/gpt-4o-mini"}]]))]
    pub(super) targets: Option<Vec<RouteTarget>>,
    /// Models to try in order when no target can answer.
    #[schemars(extend("default" = []))]
    pub(super) fallbacks: Vec<String>,
    /// Deadlines that replace those of the providers.
    pub(super) timeouts: Option<RouteTimeouts>,
    /// How long the first event of a stream may take before the next attempt, while there is one that could be faster; absent: as long as `first_byte` allows. Answers that are no streams have no first token.
    pub(super) first_token: Option<Period>,
    /// What happens to a stream that breaks: `none` ends it with an error; `hold` delivers a stream only when it is whole; `resume` goes on with another attempt that begins with the same words.
    #[schemars(extend("default" = "none"))]
    pub(super) rescue: Rescue,
}

/// A model behind a route.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteTarget {
    /// `provider/model`, or a model that exactly one provider has.
    #[schemars(required, extend("examples" = ["openai/gpt-4o-mini"]))]
    pub(super) model: Option<String>,
    /// Its share of the route's traffic; 0: standby.
    #[schemars(range(min = 0), extend("default" = 1))]
    pub(super) weight: f64,
}

/// Deadlines of a route.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RouteTimeouts {
    /// Until the first byte of an answer; for a stream, its first meaningful event.
    pub(super) first_byte: Option<Period>,
    /// Between two pieces of an answer.
    pub(super) idle: Option<Period>,
    /// For the whole request, all attempts together.
    pub(super) total: Option<Period>,
}

#[derive(Deserialize, JsonSchema, Clone, Copy)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(super) enum Rescue {
    None,
    Hold,
    Resume,
}

/// A length of time, as text.
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

/// A number of bytes, as text.
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

/// The name of a kind, for the schema only.
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
