//! Writes the access line and the counters when a request ends. This happens when the record is dropped, so it is
//! in one place for every way in which a request can end.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::{Gateway, KeyIndex, Live};
use crate::keys::KeyReservation;
use crate::keys::concurrency::Permit;
use crate::observe::access::{AccessLine, End};
use crate::wire::api::Operation;
use crate::wire::inspect::usage::Usage;

/// The longest model name in a log line, in characters.
const MODEL_LENGTH: usize = 128;

/// RequestKind the access line and the counters need of a request.
#[derive(Debug)]
pub(crate) struct Record {
    live: Arc<Live>,
    gateway: Arc<Gateway>,
    began: Instant,
    pub(crate) id: String,
    /// The index of the client.
    pub(crate) client: Option<usize>,
    pub(crate) operation: Option<Operation>,
    /// The name of a response of our own, such as the models list.
    pub(crate) page: Option<&'static str>,
    pub(crate) model: Option<String>,
    /// The key of the latest attempt.
    pub(super) last_key: Option<KeyIndex>,
    pub(crate) attempts: u32,
    /// The number of broken streams that another attempt replaced.
    pub(crate) rescued: u32,
    pub(crate) status: u16,
    pub(crate) end: End,
    pub(crate) stream: bool,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) first_byte: Option<Duration>,
    pub(crate) usage: Usage,
    /// The provider's own id of the request.
    pub(crate) upstream_id: Option<String>,
    /// The settings that the provider's format does not support, in the caller's names.
    pub(crate) dropped: Vec<String>,
    /// RequestKind the running attempt reserves of its key's limits.
    pub(crate) held: Option<KeyReservation>,
    /// The permit of the client's `max_concurrent`.
    pub(crate) client_permit: Option<Permit>,
}

impl Record {
    pub(crate) fn new(live: Arc<Live>, gateway: Arc<Gateway>) -> Box<Self> {
        live.metrics.in_flight.inc();
        Box::new(Self {
            live,
            gateway,
            began: Instant::now(),
            id: request_id(),
            client: None,
            operation: None,
            page: None,
            model: None,
            last_key: None,
            attempts: 0,
            rescued: 0,
            status: 0,
            end: End::CallerGone,
            stream: false,
            bytes_in: 0,
            bytes_out: 0,
            first_byte: None,
            usage: Usage::default(),
            upstream_id: None,
            dropped: Vec::new(),
            held: None,
            client_permit: None,
        })
    }

    pub(crate) fn live(&self) -> &Live {
        &self.live
    }

    pub(crate) fn live_handle(&self) -> Arc<Live> {
        self.live.clone()
    }

    /// Returns the gateway that the request began with.
    pub(crate) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Records the requested model, cut to the length of a log line.
    pub(crate) fn set_model(&mut self, model: &str) {
        let cut = model.char_indices().nth(MODEL_LENGTH).map_or(model, |(end, _)| &model[..end]);
        self.model = Some(cut.to_owned());
    }

    /// Records the time of the first byte of a response, once.
    pub(crate) fn set_first_byte(&mut self) {
        if self.first_byte.is_none() {
            self.first_byte = Some(self.began.elapsed());
        }
    }

    /// Releases what the attempt reserved of its key's limits, when its response has ended.
    pub(crate) fn release(&mut self, usage: Usage) {
        if let (Some(mut held), Some(tokens)) = (self.held.take(), total_tokens(usage)) {
            held.correct_tokens(tokens);
        }
    }

    fn operation_name(&self) -> &'static str {
        self.operation.map(Operation::name).or(self.page).unwrap_or("none")
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.release(self.usage);
        let config = &self.gateway.config;
        let total = self.began.elapsed();
        let client = self.client.map(|at| &config.clients[at].name);
        let mut provider_and_key = None;
        if let Some(KeyIndex { provider, key }) = self.last_key {
            let live = &self.gateway.providers[provider];
            live.meter.duration.observe(total.as_secs_f64());
            if let Some(first_byte) = self.first_byte {
                live.meter.first_byte.observe(first_byte.as_secs_f64());
            }
            let usage = self.usage;
            live.keys[key].add_tokens(usage.input, usage.cached_input, usage.output);
            let provider = &config.providers[provider];
            provider_and_key = Some((&*provider.name, &*provider.keys[key].name));
        }
        self.live.metrics.in_flight.dec();
        self.gateway.client_meter(self.client).record_request(self.operation_name(), self.status);
        let line = AccessLine {
            id: &self.id,
            client: client.map(|name| &**name),
            operation: self.operation_name(),
            model: self.model.as_deref(),
            provider: provider_and_key.map(|(provider, _)| provider),
            key: provider_and_key.map(|(_, key)| key),
            attempts: self.attempts,
            rescued: self.rescued,
            status: self.status,
            end: self.end,
            stream: self.stream,
            bytes_in: self.bytes_in,
            bytes_out: self.bytes_out,
            first_byte: self.first_byte,
            total,
            tokens_in: self.usage.input,
            tokens_cached: self.usage.cached_input,
            tokens_out: self.usage.output,
            upstream_id: self.upstream_id.as_deref(),
        };
        line.write(&self.live.log);
    }
}

/// Returns the sum of all tokens, as far as the provider has counted them.
fn total_tokens(usage: Usage) -> Option<u64> {
    let Usage { input, output, .. } = usage;
    input.or(output).map(|_| input.unwrap_or(0).saturating_add(output.unwrap_or(0)))
}

/// Returns a unique id: `req_`, a random number of this process mixed with a counter, and the counter.
fn request_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static PROCESS: OnceLock<u64> = OnceLock::new();
    let process = PROCESS.get_or_init(|| RandomState::new().hash_one(std::process::id()));
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut id = String::with_capacity(28);
    id.push_str("req_");
    // Multiplication with an odd number is one to one, so all are different, and two successive ids differ in
    // more than their last digit.
    push_hex(&mut id, process ^ count.wrapping_mul(0x9E37_79B9_7F4A_7C15), 16);
    push_hex(&mut id, count, 8);
    id
}

/// Appends the last `digits` hex digits of a number. `format!` takes ten times as long.
fn push_hex(out: &mut String, number: u64, digits: u32) {
    for place in (0..digits).rev() {
        let digit = u32::try_from(number >> (4 * place) & 0xF).unwrap_or_default();
        out.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
}
