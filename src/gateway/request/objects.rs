//! Stored objects: files, batches, stored responses, predictions. Requests for an existing object go to the key
//! that created it; a new object is created with a key that has `use_for_batch_api`.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{Method, Response, StatusCode};
use serde_json::Value;

use super::resource_ids::{owners, remove_signatures};
use super::respond::{own_origin, respond};
use crate::config::{Client, Cloud, Key, ResolvedModel};
use crate::gateway::attempt::{Call, DecodedRequest, FailedAttempt};
use crate::gateway::record::Record;
use crate::gateway::response::body::CallerBody;
use crate::gateway::response::id_signer::{ResponseIdSigner, stream_url};
use crate::gateway::response::refusal::Refusal;
use crate::gateway::response::started::StartedResponse;
use crate::gateway::{Gateway, KeyIndex, attempt};
use crate::keys::{ClientScope, eligibility};
use crate::observe::unix_time;
use crate::route;
use crate::route::Target;
use crate::upstream::RequestKind;
use crate::wire::api::Operation;
use crate::wire::api::resources::StoredObject;
use crate::wire::inspect::multipart::Fields;
use crate::wire::inspect::{batch, multipart};

/// A response and the key that owns the object in it.
type OwnedResponse = (StartedResponse, KeyIndex);

/// Answers a request for a stored object.
pub(super) async fn answer(
    gateway: &Gateway,
    head: &Parts,
    stored: StoredObject<'_>,
    client: Option<&Client>,
    body: Bytes,
    record: &mut Record,
) -> Result<Response<CallerBody>, Refusal> {
    let (operation, part) = (stored.operation, stored.part);
    let request = ObjectRequest { gateway, client, stored, head, body, now: unix_time() };
    let (started, owner) = request.send(record).await?;
    // The stored content itself contains no ids of the provider.
    let is_content = matches!(part, "content" | "results" | "stream");
    let stream = started.passage.is_stream();
    let origin = || own_origin(head, gateway.tls.is_some());
    let id_signer = (!is_content)
        .then(|| ResponseIdSigner::new(record, owner, origin, operation, stream))
        .flatten();
    Ok(respond(started, record, id_signer, CallerBody::relay))
}

/// A request for a stored object.
struct ObjectRequest<'a> {
    gateway: &'a Gateway,
    client: Option<&'a Client>,
    stored: StoredObject<'a>,
    head: &'a Parts,
    body: Bytes,
    now: u64,
}

/// The provider of a new object, and the models that the object is for.
struct Destination {
    provider: usize,
    models: Vec<String>,
}

impl Destination {
    fn first_model(&self) -> &str {
        self.models.first().map_or("", |model| &**model)
    }
}

impl ObjectRequest<'_> {
    /// Sends the request to the key that owns the object, or to one for a new object.
    async fn send(mut self, record: &mut Record) -> Result<OwnedResponse, Refusal> {
        if let Some(id) = self.stored.id.take() {
            return self.send_to_owner(&id, record).await;
        }
        if self.head.method == Method::GET {
            let owner = self.list_key()?;
            return self.send_with(owner, &self.body, record).await;
        }
        let signed = remove_signatures(self.gateway, self.client, &self.body)?;
        if let Some((body, owner)) = signed {
            return self.send_with(owner, &body, record).await;
        }
        self.create(record).await
    }

    /// Sends a request for an existing object.
    async fn send_to_owner(
        mut self,
        id: &str,
        record: &mut Record,
    ) -> Result<OwnedResponse, Refusal> {
        let unknown = || Refusal::UnknownObject(id.to_owned());
        let StoredObject { operation, part, .. } = self.stored;
        let (owners, provider_id) = owners(self.gateway, self.client, operation, id);
        let provider_id = match (operation, part) {
            // The id is a URL. An unsigned one is refused: else a caller could have the key sent elsewhere.
            (Operation::StoredPredictions, "stream") if provider_id == id => return Err(unknown()),
            (Operation::StoredPredictions, "stream") => {
                stream_url(provider_id).ok_or_else(unknown)?
            }
            _ => provider_id.to_owned(),
        };
        self.stored.id = Some(Cow::Owned(provider_id));
        let mut result = Err(unknown());
        for owner in owners {
            result = self.send_with(owner, &self.body, record).await;
            let is_not_found =
                |(started, _): &OwnedResponse| started.response.status() == StatusCode::NOT_FOUND;
            if !result.as_ref().is_ok_and(is_not_found) {
                break;
            }
        }
        result
    }

    /// Sends the request with one key.
    async fn send_with(
        &self,
        owner: KeyIndex,
        body: &Bytes,
        record: &mut Record,
    ) -> Result<OwnedResponse, Refusal> {
        let target = Target { provider: owner.provider, model: "" };
        let result = attempt::with_key(&self.call(body, owner), target, owner.key, record).await;
        let started = result.or_else(FailedAttempt::into_response)?;
        Ok((started, owner))
    }

    /// Creates an object: tries key after key of its provider.
    async fn create(&self, record: &mut Record) -> Result<OwnedResponse, Refusal> {
        let destination = self.destination()?;
        let provider = destination.provider;
        let mut tried = Vec::new();
        let mut last_failure = None;
        while let Some(key) = self.choose_key(&destination, &tried) {
            tried.push(key);
            let key_config = &self.gateway.config.providers[provider].keys[key];
            let body = self.body_for(key_config, &destination)?;
            let owner = KeyIndex { provider, key };
            let target = Target { provider, model: destination.first_model() };
            match attempt::with_key(&self.call(&body, owner), target, key, record).await {
                Ok(started) => return Ok((started, owner)),
                Err(failed) => {
                    let is_last = !failed.another_key_may_help();
                    last_failure = Some((failed, owner));
                    if is_last {
                        break;
                    }
                }
            }
        }
        let (failed, owner) = last_failure.ok_or(Refusal::NoBatchKey)?;
        Ok((failed.into_response()?, owner))
    }

    /// Returns the key whose list this client may see. The key must be the client's alone, because a list contains
    /// the objects of all clients of the key.
    fn list_key(&self) -> Result<KeyIndex, Refusal> {
        let config = &self.gateway.config;
        let mut keys =
            config.providers.iter().enumerate().flat_map(|(provider, provider_config)| {
                provider_config.keys.iter().enumerate().filter_map(move |(key, key_config)| {
                    let can_serve = provider_config.kind.supports(self.stored.operation)
                        && self.may_use(key_config);
                    can_serve.then_some((KeyIndex { provider, key }, key_config))
                })
            });
        let (first, second) = (keys.next(), keys.next());
        let (owner, key) = first.ok_or(Refusal::NoBatchKey)?;
        let is_private = config.clients.len() <= 1
            || key.clients.as_ref().is_some_and(|clients| clients.len() == 1);
        if second.is_some() || !is_private { Err(Refusal::NoList) } else { Ok(owner) }
    }

    fn call<'c>(&'c self, body: &'c Bytes, owner: KeyIndex) -> Call<'c> {
        Call {
            gateway: self.gateway,
            client: self.client,
            what: RequestKind::StoredObject { object: &self.stored, method: &self.head.method },
            requested_model: "",
            body_format: None,
            decoded: DecodedRequest::default(),
            query: self.head.uri.query(),
            headers: &self.head.headers,
            body,
            pinned_key: Some(owner),
            now: self.now,
        }
    }

    /// Returns true if the key is for stored objects and for this client.
    fn may_use(&self, key: &Key) -> bool {
        let allows_client = key
            .clients
            .as_ref()
            .is_none_or(|clients| self.client.is_some_and(|client| clients.contains(&client.name)));
        key.enabled && key.use_for_batch_api && allows_client
    }

    /// Returns the provider of the models in a new object; else the only provider that stores such objects.
    fn destination(&self) -> Result<Destination, Refusal> {
        let mut destination: Option<Destination> = None;
        let mut add = |_: usize, model: &str| {
            let (provider, model) = self.resolve(model)?;
            let destination =
                destination.get_or_insert_with(|| Destination { provider, models: Vec::new() });
            if destination.provider != provider {
                return Err(
                    "Its model belongs to another provider than that of the first request."
                        .to_owned(),
                );
            }
            if !destination.models.iter().any(|known| known == model) {
                destination.models.push(model.to_owned());
            }
            Ok(None)
        };
        match self.stored.operation {
            Operation::Files => match self.batch_file()? {
                Some(lines) => {
                    batch::rename(&lines, true, &mut add).map_err(Refusal::Batch)?;
                }
                None => return self.only_provider(),
            },
            Operation::MessageBatches => {
                batch::rename(&self.body, false, &mut add).map_err(Refusal::Batch)?;
            }
            Operation::InvocationJobs => {
                let job: Value = serde_json::from_slice(&self.body).unwrap_or_default();
                let model = job["modelId"].as_str().unwrap_or_default();
                add(1, model).map_err(first_request_fault)?;
            }
            _ => return self.only_provider(),
        }
        destination.ok_or(Refusal::NoBatchKey)
    }

    /// Resolves a model of a batch to a provider and the provider's model.
    fn resolve<'m>(&self, name: &'m str) -> Result<(usize, &'m str), String> {
        let config = &self.gateway.config;
        let resolved = config.resolve_model(name).map_err(|tried| tried.to_string())?;
        if let Some(client) = self.client {
            route::authorize_model(client, config, name, &resolved)
                .map_err(|_| format!("This client may not use the model `{name}`."))?;
        }
        match resolved {
            ResolvedModel::Model { provider, model } => Ok((provider, model)),
            ResolvedModel::Route(_) => {
                Err(format!("`{name}` is a route; a batch needs a model of one provider."))
            }
        }
    }

    /// Returns the provider that stores such objects, if there is exactly one.
    fn only_provider(&self) -> Result<Destination, Refusal> {
        let config = &self.gateway.config;
        let mut found = config.providers.iter().enumerate().filter(|(_, provider)| {
            provider.kind.supports(self.stored.operation)
                && provider.keys.iter().any(|key| self.may_use(key))
        });
        match (found.next(), found.next()) {
            (Some((provider, _)), None) => Ok(Destination { provider, models: Vec::new() }),
            (None, _) => Err(Refusal::NoBatchKey),
            (Some((_, a)), Some((_, b))) => {
                Err(Refusal::AmbiguousProvider(a.name.to_string(), b.name.to_string()))
            }
        }
    }

    /// Chooses the next key by weight among those for stored objects, this client and all the models.
    fn choose_key(&self, destination: &Destination, tried: &[usize]) -> Option<usize> {
        let provider = &self.gateway.config.providers[destination.provider];
        if !provider.kind.supports(self.stored.operation) {
            return None;
        }
        let client = self.client.map(|client| &*client.name);
        let scope = |index: usize| {
            let key = &provider.keys[index];
            if tried.contains(&index) || !self.may_use(key) {
                return None;
            }
            let allows = |model: &String| eligibility(key, client, model).is_ok();
            let scope = if key.clients.is_some() {
                ClientScope::NamedClients
            } else {
                ClientScope::AllClients
            };
            destination.models.iter().all(allows).then_some(scope)
        };
        let keys = 0..provider.keys.len();
        let best = if keys.clone().any(|key| scope(key) == Some(ClientScope::NamedClients)) {
            ClientScope::NamedClients
        } else {
            ClientScope::AllClients
        };
        // A key that is cooling down comes last: there may be no other for this object.
        let pool = &self.gateway.providers[destination.provider].pool;
        let model = destination.first_model();
        let now = std::time::Instant::now();
        let is_cooling = |key: usize| !pool.keys()[key].state(model, 0, now).is_usable();
        let weights = keys.clone().map(|key| {
            let is_candidate = scope(key) == Some(best) && !is_cooling(key);
            if is_candidate { provider.keys[key].weight } else { 0.0 }
        });
        let is_candidate = |key: &usize| scope(*key) == Some(best);
        let standby = || keys.clone().find(|key| is_candidate(key) && !is_cooling(*key));
        let cooling_down = || keys.clone().find(is_candidate);
        self.gateway.turns.next().pick(weights).or_else(standby).or_else(cooling_down)
    }

    /// Returns the body for this key: with the models under the names of its provider.
    fn body_for(&self, key: &Key, destination: &Destination) -> Result<Bytes, Refusal> {
        let mut rename = |_: usize, name: &str| {
            let (_, model) = self.resolve(name)?;
            let (_, model) = key.region_and_model(model);
            let provider_name = key.deployment(model).unwrap_or(model);
            Ok((provider_name != name).then(|| provider_name.to_owned()))
        };
        match self.stored.operation {
            Operation::Files if !destination.models.is_empty() => {
                let Some(lines) = self.batch_file()? else { return Ok(self.body.clone()) };
                let renamed = batch::rename(&lines, true, &mut rename).map_err(Refusal::Batch)?;
                let start = lines.as_ptr().addr() - self.body.as_ptr().addr();
                let end = start + lines.len();
                Ok([&self.body[..start], &renamed, &self.body[end..]].concat().into())
            }
            Operation::MessageBatches => {
                batch::rename(&self.body, false, &mut rename).map_err(Refusal::Batch)
            }
            Operation::InvocationJobs => job_for(&self.body, key, &mut rename),
            _ => Ok(self.body.clone()),
        }
    }

    /// Returns the lines of a file that is uploaded for a batch; `None` for a file of another purpose.
    fn batch_file(&self) -> Result<Option<Bytes>, Refusal> {
        let content_type =
            self.head.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let Some(boundary) = content_type.and_then(multipart::boundary) else { return Ok(None) };
        let (mut file, mut is_batch) = (None, false);
        for field in Fields::new(&self.body, boundary) {
            let field = field.map_err(Refusal::Malformed)?;
            match field.name {
                Some("file") => file = Some(self.body.slice_ref(field.value)),
                Some("purpose") => is_batch = field.value == b"batch",
                _ => {}
            }
        }
        Ok(file.filter(|_| is_batch))
    }
}

/// An error of a batch that has one request.
fn first_request_fault(what: String) -> Refusal {
    Refusal::Batch(batch::Fault { request: 1, what })
}

/// Returns a Bedrock job with this key's name of the model, and with the key's bucket if the caller names none. If
/// `batch_s3_config` lists buckets, a job may use no others.
fn job_for(body: &Bytes, key: &Key, rename: &mut batch::Rename<'_>) -> Result<Bytes, Refusal> {
    let mut job: Value = serde_json::from_slice(body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| first_request_fault("The job is not a JSON object.".to_owned()))?;
    let model = job["modelId"].as_str().unwrap_or_default().to_owned();
    if let Some(model) = rename(1, &model).map_err(first_request_fault)? {
        job["modelId"] = Value::from(model);
    }
    let Cloud::Bedrock(bedrock) = &key.cloud else { return Ok(body.clone()) };
    let default =
        bedrock.buckets.iter().find(|bucket| bucket.is_default).or(bedrock.buckets.first());
    if let Some(bucket) = default {
        let uri = &job["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"];
        if uri.is_null() {
            let slash = if bucket.prefix.is_empty() { "" } else { "/" };
            let uri = format!("s3://{}/{}{slash}", bucket.name, bucket.prefix);
            job["outputDataConfig"]["s3OutputDataConfig"]["s3Uri"] = Value::from(uri);
        }
        for pointer in [
            "/inputDataConfig/s3InputDataConfig/s3Uri",
            "/outputDataConfig/s3OutputDataConfig/s3Uri",
        ] {
            let uri = job.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
            let is_allowed = bedrock.buckets.iter().any(|bucket| {
                let path =
                    uri.strip_prefix("s3://").and_then(|uri| uri.strip_prefix(&*bucket.name));
                path.is_some_and(|path| path.is_empty() || path.starts_with('/'))
            });
            if !is_allowed {
                let what = format!("`{pointer}` is not in a bucket of `batch_s3_config`.");
                return Err(first_request_fault(what));
            }
        }
    }
    Ok(job.to_string().into())
}
