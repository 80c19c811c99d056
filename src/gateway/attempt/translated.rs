//! Attempts at a provider of another format than the caller's. The request is decoded once and encoded for each such
//! provider; the response is encoded for the caller.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use super::call::Call;
use super::context::AttemptContext;
use super::failed::FailedAttempt;
use super::read::whole_body;
use crate::gateway::response::started::StartedResponse;
use crate::provider::Conversion;
use crate::route::Target;
use crate::wire::api::routes::Address;
use crate::wire::api::{Api, Format, Framing, Operation};
use crate::wire::failure::class::Failure;
use crate::wire::failure::convert;
use crate::wire::format::context::ResponseContext;
use crate::wire::format::quirks::Quirks;
use crate::wire::inspect::model::{Peek, peek};
use crate::wire::ir::{Echo, Event, Request, Response as ModelResponse};
use crate::wire::json::fields::Rejected;
use crate::wire::token_count::Counter;
use crate::wire::translate::{
    Decoder, Encoded, Encoder, Forced, Translation, decode_request, decode_whole, encode_request,
    encode_whole,
};
use crate::wire::{embeddings, token_count};

/// The largest whole response that is translated: one with a few images.
pub(super) const WHOLE_BODY: usize = 64 * 1024 * 1024;

const ANTHROPIC_VERSION: (HeaderName, HeaderValue) =
    (HeaderName::from_static("anthropic-version"), HeaderValue::from_static("2023-06-01"));
/// Replicate responds when the prediction is done, for up to a minute.
/// <https://replicate.com/docs/topics/predictions/create-a-prediction#sync-mode>
const PREFER_WAIT: (HeaderName, HeaderValue) =
    (HeaderName::from_static("prefer"), HeaderValue::from_static("wait"));

/// The caller's headers that apply to any provider.
const COMMON_HEADERS: [HeaderName; 3] =
    [USER_AGENT, HeaderName::from_static("traceparent"), HeaderName::from_static("tracestate")];

/// A request encoded for one provider.
#[derive(Debug)]
pub(super) struct TranslatedRequest {
    task: Task,
    /// The operation that the caller requests.
    caller_operation: Operation,
    /// The operation that the provider gets.
    operation: Operation,
    /// One body, except for the embeddings of many texts.
    bodies: Vec<Bytes>,
    headers: HeaderMap,
    model: String,
    /// The settings that the provider's format does not support, in the caller's names.
    dropped: Vec<String>,
}

/// The kind of a translated request, with what its response is decoded and encoded by.
#[derive(Debug)]
pub(super) enum Task {
    Conversation(Conversation),
    Embeddings {
        format: embeddings::EmbeddingsFormat,
        encoding: embeddings::Encoding,
        /// The number of texts in each body.
        texts: Vec<usize>,
    },
    Count(Counter),
}

#[derive(Debug)]
pub(super) struct Conversation {
    provider_format: Format,
    caller_format: Format,
    quirks: &'static Quirks,
    /// The tool that replaces a response schema.
    forced_tool: Option<String>,
    stream: bool,
    /// True if a stream reports its usage.
    stream_usage: bool,
    /// The settings of the request that the response repeats.
    echo: Option<Arc<Echo>>,
}

impl Call<'_> {
    /// Encodes the request for a target's provider. Returns `None` if the provider gets it as it is.
    ///
    /// # Errors
    ///
    /// When the request is invalid, or when the provider's format cannot express it.
    pub(super) fn translate_for(
        &self,
        target: Target<'_>,
    ) -> Result<Option<TranslatedRequest>, Rejected> {
        match self.conversion(target) {
            Conversion::Verbatim | Conversion::Unsupported => Ok(None),
            Conversion::Translate(format) => self.translate_conversation(target, format),
            Conversion::Embeddings(format) => self.translate_embeddings(target, format),
            Conversion::CountTokens(counter) => self.translate_count(target, counter).map(Some),
        }
    }

    fn translate_conversation(
        &self,
        target: Target<'_>,
        format: Format,
    ) -> Result<Option<TranslatedRequest>, Rejected> {
        let Some(caller_format) = Format::of(self.what.operation()) else { return Ok(None) };
        let stream = self.what.streams();
        let body_format = self.body_format.unwrap_or(caller_format);
        let model = self.model_names(target)[1];
        let mut request = self.decode_once(body_format, self.body, "", model)?;
        // The stream of a prediction has its own URL, so the prediction is requested whole.
        if stream && format == Format::Replicate {
            request.to_mut().stream = false;
        }
        let kind = self.gateway.config.providers[target.provider].kind;
        let provider_format = kind.translation_format(format, &request, model);
        let quirks = kind.info().quirks;
        let Encoded { body, dropped, forced: forced_tool } =
            encode_request(provider_format, body_format, &request, quirks)?;
        // A body of another format requests usage in the way of the caller's API, if at all.
        let requests_usage = self.body_format.is_none_or(|_| requests_stream_usage(self.body));
        let conversation = Conversation {
            provider_format,
            caller_format,
            quirks,
            forced_tool,
            stream,
            stream_usage: request.stream_usage && requests_usage,
            echo: request.echo.clone(),
        };
        let task = Task::Conversation(conversation);
        let operations = [caller_format.operation(false), provider_format.operation(stream)];
        Ok(Some(self.translated(target, task, operations, vec![body], dropped)))
    }

    fn translate_embeddings(
        &self,
        target: Target<'_>,
        format: embeddings::EmbeddingsFormat,
    ) -> Result<Option<TranslatedRequest>, Rejected> {
        let request = embeddings::Request::decode(self.body)?;
        let format = match format {
            embeddings::EmbeddingsFormat::Cohere if request.fits_in_cohere_compatibility() => {
                return Ok(None);
            }
            // A text must get the same vector whatever other texts are in the request.
            embeddings::EmbeddingsFormat::Cohere if request.dimensions.is_none() => {
                embeddings::EmbeddingsFormat::OpenAi
            }
            format => format,
        };
        let (bodies, texts) =
            format.encode_requests(&request, self.model_names(target)[1]).into_iter().unzip();
        let task = Task::Embeddings { format, encoding: request.encoding, texts };
        let operations = [Operation::Embeddings, format.operation()];
        Ok(Some(self.translated(target, task, operations, bodies, request.dropped)))
    }

    fn translate_count(
        &self,
        target: Target<'_>,
        counter: Counter,
    ) -> Result<TranslatedRequest, Rejected> {
        let (caller, format) = (self.what.operation(), counter.format());
        let model = self.model_names(target)[1];
        let (body, pointer) = token_count::find_conversation(caller, self.body)?;
        let body_format = token_count::conversation_format(caller).unwrap_or(format);
        let request = self.decode_once(body_format, &body, pointer, model)?;
        let quirks = self.gateway.config.providers[target.provider].kind.info().quirks;
        let encoded = encode_request(format, body_format, &request, quirks);
        let Encoded { body, dropped, .. } =
            encoded.map_err(|rejected| prefix_pointer(pointer, rejected))?;
        let body = counter.encode_request(&body, model).unwrap_or(body);
        let operations = [caller, counter.operation()];
        Ok(self.translated(target, Task::Count(counter), operations, vec![body], dropped))
    }

    /// Decodes the conversation in a body, once for all providers. `pointer` is its place in the caller's body.
    fn decode_once(
        &self,
        format: Format,
        body: &[u8],
        pointer: &str,
        model: &str,
    ) -> Result<Cow<'_, Request>, Rejected> {
        let decode = || {
            decode_request(format, body, model, self.what.streams())
                .map_err(|rejected| prefix_pointer(pointer, rejected))
        };
        let request = self.decoded.0.get_or_init(decode).as_ref().map_err(Clone::clone)?;
        if request.model == model {
            return Ok(Cow::Borrowed(request));
        }
        Ok(Cow::Owned(Request { model: model.to_owned(), ..request.clone() }))
    }

    fn translated(
        &self,
        target: Target<'_>,
        task: Task,
        [caller_operation, operation]: [Operation; 2],
        bodies: Vec<Vec<u8>>,
        dropped: Vec<String>,
    ) -> TranslatedRequest {
        let stream = matches!(&task, Task::Conversation(conversation) if conversation.stream);
        let headers = headers_for(operation, stream, self.headers);
        let bodies = bodies.into_iter().map(Bytes::from).collect();
        let model = target.model.to_owned();
        TranslatedRequest { task, caller_operation, operation, bodies, headers, model, dropped }
    }
}

/// Puts the place of a nested conversation in front of the place of its error.
fn prefix_pointer(pointer: &str, rejected: Rejected) -> Rejected {
    Rejected::new(format!("{pointer}{}", rejected.at), rejected.why)
}

/// Returns the headers of a translated request. Headers of the caller's format do not apply to this provider.
fn headers_for(operation: Operation, stream: bool, from_caller: &HeaderMap) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(8);
    for name in COMMON_HEADERS {
        if let Some(value) = from_caller.get(&name) {
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

impl TranslatedRequest {
    /// The operation that the provider gets.
    pub(super) fn operation(&self) -> Operation {
        self.operation
    }

    /// The operation that the caller requests, without its stream.
    pub(super) fn caller_operation(&self) -> Operation {
        self.caller_operation
    }

    pub(super) fn task(&self) -> &Task {
        &self.task
    }

    pub(super) fn bodies(&self) -> &[Bytes] {
        &self.bodies
    }

    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn dropped(&self) -> &[String] {
        &self.dropped
    }

    /// Returns the query. It requests events of Gemini rather than an array.
    pub(super) fn query(&self) -> Option<&'static str> {
        (self.operation == Operation::StreamGenerateContent).then_some("alt=sse")
    }

    /// Returns the address, which contains the model where it is part of the path.
    pub(super) fn address(&self) -> Address<'_> {
        let model = Some(Cow::Borrowed(&*self.model));
        let (form, model) = match self.operation.api() {
            Api::Gemini => ("v1beta", model),
            Api::Bedrock => ("v1", model),
            Api::Replicate if self.model.contains('/') => ("models", model),
            // The model is the id of a version.
            Api::Replicate => ("predictions", model),
            Api::OpenAi | Api::Anthropic | Api::Cohere => ("v1", None),
        };
        Address { operation: self.operation, form, model }
    }

    /// Peeks into a body of this request.
    pub(super) fn peek<'b>(&self, body: &'b [u8]) -> Peek<'b> {
        let unread = || Peek::unread(self.operation.streams());
        match self.operation.api() {
            Api::Gemini | Api::Bedrock | Api::Replicate => unread(),
            // An encoder writes one JSON object.
            Api::OpenAi | Api::Anthropic | Api::Cohere => peek(body).unwrap_or_else(|_| unread()),
        }
    }

    /// Returns the failed attempt with the provider's error in the caller's format. `status` is the provider's,
    /// if it sent one.
    pub(super) fn failed(
        &self,
        attempt: AttemptContext<'_>,
        started: StartedResponse,
        status: Option<StatusCode>,
        body: &[u8],
        failure: Failure,
    ) -> FailedAttempt {
        let error = convert::read(status.map(|status| status.as_u16()), body, failure);
        let error = convert::write(self.caller_operation.api(), &error, attempt.request_id);
        FailedAttempt::with_response(failure, started.with_error(self.caller_operation, error))
    }
}

impl Conversation {
    /// Translates a provider's response for the caller. The first event of a stream has arrived.
    pub(super) async fn translate_response(
        &self,
        attempt: AttemptContext<'_>,
        mut started: StartedResponse,
    ) -> Result<StartedResponse, FailedAttempt> {
        let framing = started.passage.provider_framing();
        let context = self.encoder_context(attempt);
        if !framing.is_stream() {
            return self.translate_whole(attempt, started, context).await;
        }
        started.set_content_type(context.framing);
        let decoder = Decoder::new(self.provider_format, self.quirks);
        let forced = self.forced_tool.clone().map(Forced::new);
        let caller_framing = context.framing;
        let encoder = Encoder::new(self.caller_format, context);
        started.passage.translate(encoder.and_then(|encoder| {
            Translation::new(framing, caller_framing, decoder, encoder, forced)
        }));
        Ok(started)
    }

    /// Translates a whole response. It becomes a stream if the caller requested one that the provider lacks.
    async fn translate_whole(
        &self,
        attempt: AttemptContext<'_>,
        mut started: StartedResponse,
        context: ResponseContext,
    ) -> Result<StartedResponse, FailedAttempt> {
        let body = whole_body(started.response.body_mut(), attempt.deadlines, WHOLE_BODY).await;
        let body = body.map_err(|error| FailedAttempt::no_response(attempt, error))?;
        started.passage.observe(&body);
        let mut events = decode_whole(self.provider_format, &body, self.quirks);
        if let Some(tool) = &self.forced_tool {
            let mut forced = Forced::new(tool.clone());
            for event in &mut events {
                forced.undo(event);
            }
        }
        let failed = events.iter().find_map(|event| match event {
            Event::Fail(error) => Some(error),
            _ => None,
        });
        if let Some(error) = failed {
            // The response is an error in spite of its status.
            let failure = error.failure;
            let mut error = convert::write(self.caller_format.api(), error, &context.id);
            error.body = attempt.redact(error.body.into()).into();
            let started = started.with_error(self.caller_format.operation(false), error);
            return Err(FailedAttempt::with_response(failure, started));
        }
        if !events.contains(&Event::End) {
            return Err(FailedAttempt::unparsable(attempt));
        }
        let framing = context.framing;
        started.set_content_type(framing);
        let body = if framing.is_stream() {
            let mut out = Vec::new();
            if let Some(mut encoder) = Encoder::new(self.caller_format, context) {
                for event in &events {
                    encoder.event(event, &mut out);
                }
            }
            out
        } else {
            encode_whole(self.caller_format, &ModelResponse::fold(&events), &context)
                .unwrap_or_default()
        };
        let operation = self.caller_format.operation(framing.is_stream());
        Ok(started.with_body(operation, framing, body.into()))
    }

    fn encoder_context(&self, attempt: AttemptContext<'_>) -> ResponseContext {
        let call = attempt.call;
        let framing = match (self.stream, self.caller_format) {
            (false, _) => Framing::Whole,
            (true, Format::Bedrock) => Framing::Aws,
            (true, Format::Gemini) if !requests_events(call.query) => Framing::Array,
            (true, _) => Framing::Events,
        };
        ResponseContext {
            id: attempt.request_id.to_owned(),
            created: call.now,
            model: call.requested_model.to_owned(),
            usage: self.stream_usage,
            framing,
            echo: self.echo.clone(),
        }
    }
}

/// Returns true if a chat body requests the usage of its stream.
fn requests_stream_usage(body: &[u8]) -> bool {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    body["stream_options"]["include_usage"] == true
}

/// Returns true if a query requests server-sent events.
/// <https://cloud.google.com/apis/docs/system-parameters>
fn requests_events(query: Option<&str>) -> bool {
    let mut parts = query.unwrap_or_default().split('&');
    parts.any(|part| matches!(part, "alt=sse" | "$alt=sse" | "%24alt=sse"))
}
