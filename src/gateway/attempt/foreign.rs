//! An attempt at a provider of another format than the caller's: the request is read once, written for
//! each such provider, and what comes back is written for the caller.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio::time::timeout_at;

use super::{Answered, Call, Fallen, Limits, Rest};
use crate::gateway::answer::Refusal;
use crate::gateway::record::Record;
use crate::provider::Conversion;
use crate::route::Target;
use crate::upstream::{Arriving, Broken};
use crate::wire::address::Address;
use crate::wire::counting::{self, Counter};
use crate::wire::failure::{Class, Failure};
use crate::wire::fields::Rejected;
use crate::wire::ir::{Echo, Event, Reply, Request};
use crate::wire::listen::Framing;
use crate::wire::peek::{Peek, peek};
use crate::wire::quirks::Quirks;
use crate::wire::translate::{
    Decoder, Encoded, Encoder, Forced, Shown, Translation, Wire, decode_request, decode_whole,
    encode_request, encode_whole,
};
use crate::wire::{Api, Operation, embeddings, errors};

/// The longest whole answer that is read to be written anew: one with a few images in it.
pub(super) const WHOLE: usize = 64 * 1024 * 1024;

const ANTHROPIC_VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"));
/// Replicate answers when the prediction is done, for up to a minute.
/// <https://replicate.com/docs/topics/predictions/create-a-prediction#sync-mode>
const PREFER_WAIT: (HeaderName, HeaderValue) =
    (HeaderName::from_static("prefer"), HeaderValue::from_static("wait"));

/// What of a caller's headers concerns any provider.
const FOR_ANYBODY: [HeaderName; 3] =
    [USER_AGENT, HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];

/// A request as it was understood, if it had to be.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Understood(OnceLock<Result<Request, Rejected>>);

/// A request as one provider is to get it.
#[derive(Debug)]
pub(super) struct Written {
    asks: Asks,
    /// What the caller asks for.
    caller: Operation,
    /// What the provider is asked for.
    operation: Operation,
    /// One, but for the embeddings of many texts.
    bodies: Vec<Bytes>,
    headers: HeaderMap,
    model: String,
    /// What was left out, in the caller's names.
    dropped: Vec<String>,
}

/// What is asked for, with what its answer is to be read and written by.
#[derive(Debug)]
pub(super) enum Asks {
    Conversation(Conversation),
    Embeddings {
        format: embeddings::Format,
        encoding: embeddings::Encoding,
        /// How many texts each request has.
        texts: Vec<usize>,
    },
    Count(Counter),
}

#[derive(Debug)]
pub(super) struct Conversation {
    wire: Wire,
    caller: Wire,
    quirks: &'static Quirks,
    forced: Option<String>,
    stream: bool,
    /// Whether a stream is to tell its usage.
    usage: bool,
    /// What the answer repeats of the request.
    echo: Option<Arc<Echo>>,
}

impl Call<'_> {
    /// How a hop's provider is asked.
    pub(super) fn way(&self, hop: Target<'_>) -> Conversion {
        let kind = self.gateway.config.providers[hop.provider].kind;
        kind.conversion(self.what.operation(), self.body_wire, self.names(hop))
    }

    /// The model as it is asked for, and as the provider knows it.
    fn names<'h>(&'h self, hop: Target<'h>) -> [&'h str; 2] {
        let keys = &self.gateway.config.providers[hop.provider].keys;
        let deployed = keys.iter().find_map(|key| key.deployment(hop.model));
        [hop.model, deployed.unwrap_or(hop.model)]
    }

    /// The request as the hop's provider is to get it; `None`: as it came.
    pub(super) fn written(&self, hop: Target<'_>) -> Result<Option<Written>, Rejected> {
        match self.way(hop) {
            Conversion::Verbatim | Conversion::Unsupported => Ok(None),
            Conversion::Translate(wire) => self.conversation(hop, wire),
            Conversion::Embeddings(format) => self.embeddings(hop, format),
            Conversion::CountTokens(counter) => self.count(hop, counter).map(Some),
        }
    }

    fn conversation(&self, hop: Target<'_>, wire: Wire) -> Result<Option<Written>, Rejected> {
        let Some(caller) = Wire::of(self.what.operation()) else { return Ok(None) };
        let stream = self.what.streams();
        let body_wire = self.body_wire.unwrap_or(caller);
        let model = self.names(hop)[1];
        let mut request = self.understood(body_wire, self.body, "", model)?;
        // A prediction's stream stands at another address, so it is asked for whole.
        if stream && wire == Wire::Replicate {
            request.to_mut().stream = false;
        }
        let kind = self.gateway.config.providers[hop.provider].kind;
        let wire = kind.translation_format(wire, &request, model);
        let quirks = kind.info().quirks;
        let Encoded { body, dropped, forced } = encode_request(wire, body_wire, &request, quirks)?;
        // A body of another format asks in the caller's own way, if it asks.
        let asks_for_usage = self.body_wire.is_none_or(|_| asks_for_usage(self.body));
        let (usage, echo) = (request.stream_usage && asks_for_usage, request.echo.clone());
        let asks = Conversation { wire, caller, quirks, forced, stream, usage, echo };
        let asks = Asks::Conversation(asks);
        let operations = [caller.operation(false), wire.operation(stream)];
        Ok(Some(self.asking(hop, asks, operations, vec![body], dropped)))
    }

    fn embeddings(
        &self,
        hop: Target<'_>,
        format: embeddings::Format,
    ) -> Result<Option<Written>, Rejected> {
        let request = embeddings::Request::decode(self.body)?;
        let format = match format {
            embeddings::Format::Cohere if request.fits_in_cohere_compatibility() => {
                return Ok(None);
            }
            // A text is to have the same vector however many others come with it.
            embeddings::Format::Cohere if request.dimensions.is_none() => {
                embeddings::Format::OpenAi
            }
            format => format,
        };
        let (bodies, texts) = format.bodies(&request, self.names(hop)[1]).into_iter().unzip();
        let asks = Asks::Embeddings { format, encoding: request.encoding, texts };
        let operations = [Operation::Embeddings, format.operation()];
        Ok(Some(self.asking(hop, asks, operations, bodies, request.dropped)))
    }

    fn count(&self, hop: Target<'_>, counter: Counter) -> Result<Written, Rejected> {
        let (caller, wire) = (self.what.operation(), counter.wire());
        let model = self.names(hop)[1];
        let (body, at) = counting::conversation(caller, self.body)?;
        let body_wire = counting::asked_in(caller).unwrap_or(wire);
        let request = self.understood(body_wire, &body, at, model)?;
        let quirks = self.gateway.config.providers[hop.provider].kind.info().quirks;
        let written = encode_request(wire, body_wire, &request, quirks);
        let Encoded { body, dropped, .. } = written.map_err(|rejected| within(at, rejected))?;
        let body = counter.body(&body, model).unwrap_or(body);
        let operations = [caller, counter.operation()];
        Ok(self.asking(hop, Asks::Count(counter), operations, vec![body], dropped))
    }

    /// The conversation in a body, read once for all providers. `at`: where it stands in the caller's.
    fn understood(
        &self,
        wire: Wire,
        body: &[u8],
        at: &str,
        model: &str,
    ) -> Result<Cow<'_, Request>, Rejected> {
        let read = || {
            decode_request(wire, body, model, self.what.streams())
                .map_err(|rejected| within(at, rejected))
        };
        let request = self.understood.0.get_or_init(read).as_ref().map_err(Clone::clone)?;
        if request.model == model {
            return Ok(Cow::Borrowed(request));
        }
        Ok(Cow::Owned(Request { model: model.to_owned(), ..request.clone() }))
    }

    fn asking(
        &self,
        hop: Target<'_>,
        asks: Asks,
        [caller, operation]: [Operation; 2],
        bodies: Vec<Vec<u8>>,
        dropped: Vec<String>,
    ) -> Written {
        let stream = matches!(&asks, Asks::Conversation(conversation) if conversation.stream);
        let headers = headers_for(operation, stream, self.headers);
        let bodies = bodies.into_iter().map(Bytes::from).collect();
        Written { asks, caller, operation, bodies, headers, model: hop.model.to_owned(), dropped }
    }
}

/// What is wrong in something that stands within the caller's body.
fn within(at: &str, rejected: Rejected) -> Rejected {
    Rejected::new(format!("{at}{}", rejected.at), rejected.why)
}

/// The headers of a request that is written anew: nothing in the caller's own format concerns this
/// provider.
fn headers_for(operation: Operation, stream: bool, of_caller: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    for name in FOR_ANYBODY {
        if let Some(value) = of_caller.get(&name) {
            headers.insert(name, value.clone());
        }
    }
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    let accept = match (operation.api(), stream) {
        (Api::Bedrock, true) => "application/vnd.amazon.eventstream",
        (_, true) => "text/event-stream",
        (_, false) => "application/json",
    };
    headers.insert(ACCEPT, HeaderValue::from_static(accept));
    match operation.api() {
        Api::Anthropic => headers.extend([ANTHROPIC_VERSION]),
        Api::Replicate => headers.extend([PREFER_WAIT]),
        Api::OpenAi | Api::Gemini | Api::Bedrock | Api::Cohere => {}
    }
    headers
}

impl Written {
    /// What the provider is asked for.
    pub(super) fn operation(&self) -> Operation {
        self.operation
    }

    /// What the caller asks for, whole.
    pub(super) fn caller(&self) -> Operation {
        self.caller
    }

    pub(super) fn asks(&self) -> &Asks {
        &self.asks
    }

    pub(super) fn is_conversation(&self) -> bool {
        matches!(self.asks, Asks::Conversation(_))
    }

    /// In how many requests it is sent.
    pub(super) fn parts(&self) -> usize {
        self.bodies.len()
    }

    pub(super) fn body(&self, part: usize) -> &Bytes {
        &self.bodies[part]
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// The query: of Gemini events are asked for rather than an array.
    pub(super) fn query(&self) -> Option<&'static str> {
        (self.operation == Operation::StreamGenerateContent).then_some("alt=sse")
    }

    /// Where the model stands: in the path or in the body.
    pub(super) fn address(&self) -> Address<'_> {
        let model = Some(Cow::Borrowed(&*self.model));
        let (form, model) = match self.operation.api() {
            Api::Gemini => ("v1beta", model),
            Api::Bedrock => ("v1", model),
            Api::Replicate if self.model.contains('/') => ("models", model),
            // A version.
            Api::Replicate => ("predictions", model),
            Api::OpenAi | Api::Anthropic | Api::Cohere => ("v1", None),
        };
        Address { operation: self.operation, form, model }
    }

    /// What was found in a body.
    pub(super) fn peek<'b>(&self, body: &'b [u8]) -> Peek<'b> {
        let unread = || Peek::unread(self.operation.streams());
        match self.operation.api() {
            Api::Gemini | Api::Bedrock | Api::Replicate => unread(),
            // An encoder writes one JSON object.
            Api::OpenAi | Api::Anthropic | Api::Cohere => peek(body).unwrap_or_else(|_| unread()),
        }
    }

    /// Notes what the answer is to tell of the request.
    pub(super) fn note(&self, record: &mut Record) {
        record.dropped.clone_from(&self.dropped);
    }

    /// A provider's answer as the caller is to get it. Of a stream the first event has come. `redact` cuts
    /// the key out of an error.
    pub(super) async fn answer(
        &self,
        call: &Call<'_>,
        answered: Answered,
        provider: &str,
        redact: &(dyn Fn(Bytes) -> Bytes + Sync),
        limits: Limits,
        id: &str,
    ) -> Result<Answered, Fallen> {
        match &self.asks {
            Asks::Conversation(conversation) => {
                conversation.answer(call, answered, provider, redact, limits, id).await
            }
            Asks::Embeddings { .. } | Asks::Count(_) => Err(unreadable(provider)),
        }
    }

    /// A provider's error, in the caller's form. `status`: the provider's, if it gave one.
    pub(super) fn error(
        &self,
        answered: Answered,
        status: Option<StatusCode>,
        body: &[u8],
        failure: Failure,
        id: &str,
    ) -> Rest {
        let told = errors::read(status.map(|status| status.as_u16()), body, failure);
        let error = errors::write(self.caller.api(), &told, id);
        answered.error(self.caller, error)
    }
}

impl Conversation {
    async fn answer(
        &self,
        call: &Call<'_>,
        mut answered: Answered,
        provider: &str,
        redact: &(dyn Fn(Bytes) -> Bytes + Sync),
        limits: Limits,
        id: &str,
    ) -> Result<Answered, Fallen> {
        let framing = answered.listener.framing();
        let shown = self.shown(call, id);
        if !framing.is_stream() {
            return self.whole(answered, shown, provider, redact, limits).await;
        }
        content_type(&mut answered.response, shown.framing);
        let decoder = Decoder::new(self.wire, self.quirks);
        let forced = self.forced.clone().map(Forced::new);
        let to = shown.framing;
        let encoder = Encoder::new(self.caller, shown);
        answered.translation = encoder
            .and_then(|encoder| Translation::new(framing, to, decoder, encoder, forced))
            .map(Box::new);
        Ok(answered)
    }

    /// A whole answer, written anew; as a stream where the provider has none.
    async fn whole(
        &self,
        mut answered: Answered,
        shown: Shown,
        provider: &str,
        redact: &(dyn Fn(Bytes) -> Bytes + Sync),
        limits: Limits,
    ) -> Result<Answered, Fallen> {
        let body = match read(answered.response.body_mut(), limits, WHOLE).await {
            Ok(body) => body,
            Err(broken) => return Err(Fallen::unanswered(provider.to_owned(), broken, limits)),
        };
        answered.listener.hear(&body);
        let mut events = decode_whole(self.wire, &body, self.quirks);
        if let Some(tool) = &self.forced {
            let mut forced = Forced::new(tool.clone());
            for event in &mut events {
                forced.undo(event);
            }
        }
        let failed = events.iter().find_map(|event| match event {
            Event::Fail(told) => Some(told),
            _ => None,
        });
        if let Some(told) = failed {
            // A failure in an answer that said it was none.
            let failure = told.failure;
            let mut error = errors::write(self.caller.api(), told, &shown.id);
            error.body = redact(error.body.into()).into();
            let rest = answered.error(self.caller.operation(false), error);
            return Err(Fallen { failure, rest, silent: false });
        }
        if !events.contains(&Event::End) {
            return Err(unreadable(provider));
        }
        content_type(&mut answered.response, shown.framing);
        let framing = shown.framing;
        let body = if framing.is_stream() {
            let mut out = Vec::new();
            if let Some(mut encoder) = Encoder::new(self.caller, shown) {
                for event in &events {
                    encoder.event(event, &mut out);
                }
            }
            out
        } else {
            encode_whole(self.caller, &Reply::fold(&events), &shown).unwrap_or_default()
        };
        let operation = self.caller.operation(framing.is_stream());
        Ok(answered.rewritten(operation, framing, body.into()))
    }

    fn shown(&self, call: &Call<'_>, id: &str) -> Shown {
        let framing = match (self.stream, self.caller) {
            (false, _) => Framing::Whole,
            (true, Wire::Bedrock) => Framing::Aws,
            (true, Wire::Gemini) if !asks_for_events(call.query) => Framing::Array,
            (true, _) => Framing::Events,
        };
        Shown {
            id: id.to_owned(),
            created: call.now,
            model: call.asked_for.to_owned(),
            usage: self.usage,
            framing,
            echo: self.echo.clone(),
        }
    }
}

/// Whether a body of chat asks a stream for its usage.
fn asks_for_usage(body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["stream_options"]["include_usage"] == true
}

/// Whether a query asks for server-sent events.
/// <https://cloud.google.com/apis/docs/system-parameters>
fn asks_for_events(query: Option<&str>) -> bool {
    let mut parts = query.unwrap_or_default().split('&');
    parts.any(|part| matches!(part, "alt=sse" | "$alt=sse" | "%24alt=sse"))
}

/// An answer that is none.
pub(super) fn unreadable(provider: &str) -> Fallen {
    let failure = Failure { class: Class::Trouble, retry_after: None };
    let provider = provider.to_owned();
    let refusal = Refusal::Failed { provider, class: Class::Trouble, retry_after: None };
    Fallen { failure, rest: Rest::Refusal(refusal), silent: false }
}

pub(super) fn content_type<B>(response: &mut Response<B>, framing: Framing) {
    let media = match framing {
        Framing::Whole | Framing::Array => "application/json",
        Framing::Events => "text/event-stream; charset=utf-8",
        Framing::Aws => "application/vnd.amazon.eventstream",
    };
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media));
    response.headers_mut().remove(CONTENT_LENGTH);
}

/// A body to its end, of that many bytes at most.
pub(super) async fn read(
    body: &mut Arriving,
    limits: Limits,
    most: usize,
) -> Result<Bytes, Broken> {
    let mut whole = BytesMut::new();
    loop {
        let by = (tokio::time::Instant::now() + limits.idle).min(limits.total);
        match timeout_at(by, body.frame()).await {
            Err(_) | Ok(Some(Err(_))) => return Err(Broken::Lost),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(Ok(frame))) => {
                let bytes = frame.into_data().unwrap_or_default();
                if whole.len() + bytes.len() > most {
                    return Err(Broken::Lost);
                }
                whole.extend_from_slice(&bytes);
            }
        }
    }
}
