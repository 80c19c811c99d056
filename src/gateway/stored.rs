//! What providers keep: files, batches, stored responses, predictions. What is there goes to the key that
//! made it; what is new goes to a key with `use_for_batch_api`.

use std::borrow::Cow;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{Method, StatusCode};
use serde_json::Value;

use super::answer::Refusal;
use super::attempt::{Answered, Call, Understood};
use super::ids::{self, Owner};
use super::record::Record;
use super::{Gateway, attempt};
use crate::config::{Client, Cloud, Key, ResolvedModel};
use crate::keys::{Scope, verdict};
use crate::route::{self, Target};
use crate::upstream::What;
use crate::wire::multipart::{self, Fields};
use crate::wire::stored::Stored;
use crate::wire::{Operation, batch};

/// A request for something kept.
pub(super) struct Errand<'a> {
    pub(super) gateway: &'a Gateway,
    pub(super) client: Option<&'a Client>,
    pub(super) stored: Stored<'a>,
    pub(super) head: &'a http::request::Parts,
    pub(super) body: Bytes,
    pub(super) now: u64,
}

/// The provider that something new goes to, and the models that it is for.
struct New {
    provider: usize,
    models: Vec<String>,
}

/// Serves it; also says whose the answer is.
pub(super) async fn serve(
    mut errand: Errand<'_>,
    record: &mut Record,
) -> Result<(Answered, Owner), Refusal> {
    if let Some(id) = errand.stored.id.take() {
        return there_is(errand, &id, record).await;
    }
    if errand.head.method == Method::GET {
        let owner = only_key(&errand)?;
        return asked_of(&errand, owner, "", &errand.body, record).await;
    }
    if let Some((body, owner)) = ids::unsealed(errand.gateway, errand.client, &errand.body)? {
        return asked_of(&errand, owner, "", &body, record).await;
    }
    let new = errand.destination()?;
    let mut tried = Vec::new();
    let mut last = None;
    while let Some(key) = errand.key(&new, &tried) {
        tried.push(key);
        let body =
            errand.body_for(&errand.gateway.config.providers[new.provider].keys[key], &new)?;
        let owner = Owner { provider: new.provider, key };
        let model = new.models.first().map_or("", |model| &**model);
        match attempt::with_key(&errand.call(&body, owner), hop(owner, model), key, record).await {
            Ok(answered) => return Ok((answered, owner)),
            Err(fallen) if fallen.another_key_may_help() => last = Some((fallen, owner)),
            Err(fallen) => return fallen.into_answer().map(|answered| (answered, owner)),
        }
    }
    match last {
        Some((fallen, owner)) => fallen.into_answer().map(|answered| (answered, owner)),
        None => Err(Refusal::NoBatchKey),
    }
}

/// Something that is there already.
async fn there_is(
    mut errand: Errand<'_>,
    id: &str,
    record: &mut Record,
) -> Result<(Answered, Owner), Refusal> {
    let not_kept = || Refusal::NotKept(id.to_owned());
    let Stored { operation, part, .. } = errand.stored;
    let (owners, raw) = ids::owners(errand.gateway, errand.client, operation, id);
    let raw = match (operation, part) {
        // An address is good only with a sign: nobody is to have the key carried elsewhere.
        (Operation::StoredPredictions, "stream") if raw == id => return Err(not_kept()),
        (Operation::StoredPredictions, "stream") => {
            ids::stream_address(raw).ok_or_else(not_kept)?
        }
        _ => raw.to_owned(),
    };
    errand.stored.id = Some(Cow::Owned(raw));
    let mut answer = Err(not_kept());
    for owner in owners {
        answer = asked_of(&errand, owner, "", &errand.body, record).await;
        let unknown =
            |(answered, _): &(Answered, Owner)| answered.response.status() == StatusCode::NOT_FOUND;
        if !answer.as_ref().is_ok_and(unknown) {
            break;
        }
    }
    answer
}

async fn asked_of(
    errand: &Errand<'_>,
    owner: Owner,
    model: &str,
    body: &Bytes,
    record: &mut Record,
) -> Result<(Answered, Owner), Refusal> {
    let call = errand.call(body, owner);
    let answered = attempt::with_key(&call, hop(owner, model), owner.key, record).await;
    answered.or_else(attempt::Fallen::into_answer).map(|answered| (answered, owner))
}

fn hop(owner: Owner, model: &str) -> Target<'_> {
    Target { provider: owner.provider, model }
}

/// The key whose list this client may see: it must be the client's alone, for a list tells of all that was
/// left with the key, whoever left it.
fn only_key(errand: &Errand<'_>) -> Result<Owner, Refusal> {
    let config = &errand.gateway.config;
    let mut open = config.providers.iter().enumerate().flat_map(|(provider, own)| {
        own.keys.iter().enumerate().filter_map(move |(key, named)| {
            let serves = own.kind.supports(errand.stored.operation)
                && named.enabled
                && named.use_for_batch_api
                && errand.is_open(named);
            serves.then_some((Owner { provider, key }, named))
        })
    });
    let (first, second) = (open.next(), open.next());
    let (owner, key) = first.ok_or(Refusal::NoBatchKey)?;
    let alone = config.clients.len() <= 1 || key.clients.as_ref().is_some_and(|own| own.len() == 1);
    if second.is_some() || !alone { Err(Refusal::NoList) } else { Ok(owner) }
}

impl Errand<'_> {
    fn call<'c>(&'c self, body: &'c Bytes, owner: Owner) -> Call<'c> {
        Call {
            gateway: self.gateway,
            client: self.client,
            what: What::Stored { stored: &self.stored, method: &self.head.method },
            asked_for: "",
            body_wire: None,
            understood: Understood::default(),
            query: self.head.uri.query(),
            headers: &self.head.headers,
            body,
            pin: Some(owner),
            now: self.now,
        }
    }

    fn is_open(&self, key: &Key) -> bool {
        key.clients
            .as_ref()
            .is_none_or(|clients| self.client.is_some_and(|client| clients.contains(&client.name)))
    }

    /// Where something new goes: the provider of the models in it; else the only one that keeps such things.
    fn destination(&self) -> Result<New, Refusal> {
        let mut new: Option<New> = None;
        let mut add = |request: usize, model: &str| {
            let (provider, model) = self.provider_of(request, model)?;
            let new = new.get_or_insert_with(|| New { provider, models: Vec::new() });
            if new.provider != provider {
                return Err(
                    "Its model is another provider's than that of the first request.".to_owned()
                );
            }
            if !new.models.iter().any(|known| known == model) {
                new.models.push(model.to_owned());
            }
            Ok(None)
        };
        match self.stored.operation {
            Operation::Files => match self.requests_in_form()? {
                Some(lines) => {
                    batch::rename(&lines, true, &mut add).map_err(Refusal::Batch)?;
                }
                None => return self.only_provider(),
            },
            Operation::MessageBatches => {
                batch::rename(&self.body, false, &mut add).map_err(Refusal::Batch)?;
            }
            Operation::InvocationJobs => {
                let fault = |what| Refusal::Batch(batch::Fault { request: 1, what });
                let job: Value = serde_json::from_slice(&self.body).unwrap_or_default();
                let model = job["modelId"].as_str().unwrap_or_default();
                add(1, model).map_err(fault)?;
            }
            _ => return self.only_provider(),
        }
        new.ok_or(Refusal::NoBatchKey)
    }

    fn provider_of<'m>(&self, _: usize, asked: &'m str) -> Result<(usize, &'m str), String> {
        let config = &self.gateway.config;
        let found = config.resolve_model(asked).map_err(|tried| tried.to_string())?;
        if let Some(client) = self.client {
            route::authorize_model(client, config, asked, &found)
                .map_err(|_| format!("This client may not ask for the model `{asked}`."))?;
        }
        match found {
            ResolvedModel::Model { provider, model } => Ok((provider, model)),
            ResolvedModel::Route(_) => {
                Err(format!("`{asked}` is a route; a batch needs a model of one provider."))
            }
        }
    }

    /// The provider of all that keep such things, when there is only one.
    fn only_provider(&self) -> Result<New, Refusal> {
        let config = &self.gateway.config;
        let mut found = config.providers.iter().enumerate().filter(|(_, own)| {
            own.kind.supports(self.stored.operation)
                && own
                    .keys
                    .iter()
                    .any(|key| key.enabled && key.use_for_batch_api && self.is_open(key))
        });
        match (found.next(), found.next()) {
            (Some((provider, _)), None) => Ok(New { provider, models: Vec::new() }),
            (None, _) => Err(Refusal::NoBatchKey),
            (Some((_, a)), Some((_, b))) => {
                Err(Refusal::Unclear(a.name.to_string(), b.name.to_string()))
            }
        }
    }

    /// The next key: for batches, for this client, for all the models; by weight.
    fn key(&self, new: &New, tried: &[usize]) -> Option<usize> {
        let provider = &self.gateway.config.providers[new.provider];
        if !provider.kind.supports(self.stored.operation) {
            return None;
        }
        let client = self.client.map(|client| &*client.name);
        let scope = |place: usize| {
            let key = &provider.keys[place];
            let open = key.enabled && key.use_for_batch_api && !tried.contains(&place);
            if !open || !self.is_open(key) {
                return None;
            }
            let all = new.models.iter().all(|model| verdict(key, client, model).is_ok());
            let named = key.clients.is_some();
            all.then_some(if named { Scope::Named } else { Scope::Everyone })
        };
        let places = 0..provider.keys.len();
        let best = if places.clone().any(|place| scope(place) == Some(Scope::Named)) {
            Scope::Named
        } else {
            Scope::Everyone
        };
        // One that is left alone comes last: there may be no other for what is kept.
        let pool = &self.gateway.providers[new.provider].pool;
        let model = new.models.first().map_or("", |model| &**model);
        let now = std::time::Instant::now();
        let rests = |place: usize| !pool.members()[place].standing(model, 0, now).is_open();
        let weights = places.clone().map(|place| {
            let serves = scope(place) == Some(best) && !rests(place);
            if serves { provider.keys[place].weight } else { 0.0 }
        });
        let serves = |place: &usize| scope(*place) == Some(best);
        let standby = || places.clone().find(|place| serves(place) && !rests(*place));
        let resting = || places.clone().find(serves);
        self.gateway.turns.next().pick(weights).or_else(standby).or_else(resting)
    }

    /// The body as this key is to get it: the models under the names that its provider knows.
    fn body_for(&self, key: &Key, new: &New) -> Result<Bytes, Refusal> {
        let mut rename = |request: usize, asked: &str| {
            let (_, model) = self.provider_of(request, asked)?;
            let (_, model) = key.region_and_model(model);
            let named = key.deployment(model).unwrap_or(model);
            Ok((named != asked).then(|| named.to_owned()))
        };
        match self.stored.operation {
            Operation::Files if !new.models.is_empty() => {
                let Some(lines) = self.requests_in_form()? else { return Ok(self.body.clone()) };
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

    /// The lines of a file that is uploaded as a batch; `None` for a file of another purpose.
    fn requests_in_form(&self) -> Result<Option<Bytes>, Refusal> {
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

/// A job of Bedrock with this key's model, and with its own bucket where the caller names none. Jobs read
/// and write no other buckets than those of `batch_s3_config`, where it names any.
fn job_for(body: &Bytes, key: &Key, rename: &mut batch::Rename<'_>) -> Result<Bytes, Refusal> {
    let fault = |what: String| Refusal::Batch(batch::Fault { request: 1, what });
    let mut job: Value = serde_json::from_slice(body)
        .ok()
        .filter(Value::is_object)
        .ok_or_else(|| fault("The job is no JSON object.".to_owned()))?;
    let asked = job["modelId"].as_str().unwrap_or_default().to_owned();
    if let Some(model) = rename(1, &asked).map_err(fault)? {
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
        for place in [
            "/inputDataConfig/s3InputDataConfig/s3Uri",
            "/outputDataConfig/s3OutputDataConfig/s3Uri",
        ] {
            let uri = job.pointer(place).and_then(Value::as_str).unwrap_or_default();
            let within = bedrock.buckets.iter().any(|bucket| {
                let behind =
                    uri.strip_prefix("s3://").and_then(|uri| uri.strip_prefix(&*bucket.name));
                behind.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            if !within {
                return Err(fault(format!("`{place}` is in none of the buckets of this gateway.")));
            }
        }
    }
    Ok(job.to_string().into())
}
