//! What is told of a request when it is over: one access line, its counters. Written when the record
//! is dropped, so in one place for every way a request can end.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::{Gateway, Live};
use crate::keys::KeyReservation;
use crate::keys::concurrency::Permit;
use crate::observe::access::{AccessLine, End};
use crate::wire::api::Operation;
use crate::wire::inspect::usage::Usage;

/// Longest model name that a log line repeats.
const MODEL_SHOWN: usize = 128;

/// A request on its way, as it will be told of.
#[derive(Debug)]
pub(super) struct Record {
    live: Arc<Live>,
    gateway: Arc<Gateway>,
    began: Instant,
    pub(super) id: String,
    pub(super) client: Option<usize>,
    pub(super) operation: Option<Operation>,
    /// The list of models and other small answers of our own.
    pub(super) page: Option<&'static str>,
    pub(super) model: Option<String>,
    /// Provider and key, by place.
    pub(super) tried: Option<(usize, usize)>,
    pub(super) attempts: u32,
    /// Broken streams that another attempt has taken over.
    pub(super) rescued: u32,
    pub(super) status: u16,
    pub(super) end: End,
    pub(super) stream: bool,
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    pub(super) first_byte: Option<Duration>,
    pub(super) usage: Usage,
    pub(super) upstream_id: Option<String>,
    /// What of the request was left out for a provider of another format, in the caller's names.
    pub(super) dropped: Vec<String>,
    /// What the attempt that is being answered takes up.
    pub(super) held: Option<KeyReservation>,
    /// The client's place.
    pub(super) place: Option<Permit>,
}

impl Record {
    pub(super) fn new(live: Arc<Live>, gateway: Arc<Gateway>) -> Box<Self> {
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
            tried: None,
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
            place: None,
        })
    }

    /// The program that serves it.
    pub(super) fn live(&self) -> &Live {
        &self.live
    }

    /// The same, to hold on to.
    pub(super) fn live_handle(&self) -> Arc<Live> {
        self.live.clone()
    }

    /// The gateway that it began with.
    pub(super) fn gateway(&self) -> &Arc<Gateway> {
        &self.gateway
    }

    /// Remembers the model asked for, cut to what a log line can carry.
    pub(super) fn asked(&mut self, model: &str) {
        let shown = model.char_indices().nth(MODEL_SHOWN).map_or(model, |(end, _)| &model[..end]);
        self.model = Some(shown.to_owned());
    }

    /// The first byte of an answer has come.
    pub(super) fn first_byte(&mut self) {
        if self.first_byte.is_none() {
            self.first_byte = Some(self.began.elapsed());
        }
    }

    /// Gives back what the attempt that was being answered took up, now that its answer is over.
    pub(super) fn release(&mut self, usage: Usage) {
        if let (Some(mut held), Some(tokens)) = (self.held.take(), total_of(usage)) {
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
        if let Some((provider, key)) = self.tried {
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

/// All tokens, as far as the provider has counted them.
fn total_of(usage: Usage) -> Option<u64> {
    let Usage { input, output, .. } = usage;
    input.or(output).map(|_| input.unwrap_or(0).saturating_add(output.unwrap_or(0)))
}

/// An id that no other request has: `req_`, a random number of this process, and a count.
fn request_id() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    static PROCESS: OnceLock<u64> = OnceLock::new();
    let process = PROCESS.get_or_init(|| RandomState::new().hash_one(std::process::id()));
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let mut id = String::with_capacity(28);
    id.push_str("req_");
    // Two neighbours differ in more than their last digit, and all are different: a multiplication
    // with an odd number is one to one.
    hex(&mut id, process ^ count.wrapping_mul(0x9E37_79B9_7F4A_7C15), 16);
    hex(&mut id, count, 8);
    id
}

/// The last `digits` hex digits of a number. `format!` takes ten times as long.
fn hex(out: &mut String, number: u64, digits: u32) {
    for place in (0..digits).rev() {
        let digit = u32::try_from(number >> (4 * place) & 0xF).unwrap_or_default();
        out.push(char::from_digit(digit, 16).unwrap_or('0'));
    }
}
