//! One attempt with one key, and what its result means for the key.

use tokio::time::Instant;

use super::batch::send_parts;
use super::call::Call;
use super::context::{AttemptContext, Deadlines};
use super::failed::FailedAttempt;
use super::queue;
use super::send::{Part, send};
use super::translated::{Task, TranslatedRequest};
use crate::gateway::KeyIndex;
use crate::gateway::record::Record;
use crate::gateway::response::started::StartedResponse;
use crate::keys::{Admission, ChosenKey};
use crate::route::Target;

/// An attempt whose key is chosen.
pub(super) struct PlannedAttempt<'t> {
    pub(super) target: Target<'t>,
    pub(super) chosen: ChosenKey,
    pub(super) deadlines: Deadlines,
    /// The request in the provider's format, if it is another than the caller's.
    pub(super) translated: Option<&'t TranslatedRequest>,
}

/// Makes one attempt with this key and no other, also while it is cooling down: only this key has the object that
/// is requested. The configured limits of the key apply, after a wait of at most `server.queue_timeout`.
pub(crate) async fn with_key(
    call: &Call<'_>,
    target: Target<'_>,
    key: usize,
    record: &mut Record,
) -> Result<StartedResponse, FailedAttempt> {
    let began = Instant::now();
    let timeouts = call.gateway.config.providers[target.provider].timeouts;
    let total = began + timeouts.total;
    let first_byte = (began + timeouts.first_byte).min(total);
    let deadlines =
        Deadlines { began, connect: timeouts.connect, first_byte, idle: timeouts.idle, total };
    let held = match queue::reserve(call, target, key).await {
        Ok(held) => held,
        Err(state) => return Err(FailedAttempt::over_limit(call, target, key, state)),
    };
    let chosen = ChosenKey { index: key, admission: Admission::default(), reservation: held };
    let planned = PlannedAttempt { target, chosen, deadlines, translated: None };
    attempt_and_record(call, planned, record).await
}

/// Makes one attempt, and records its result in the key's state, the metrics and the record.
pub(super) async fn attempt_and_record(
    call: &Call<'_>,
    planned: PlannedAttempt<'_>,
    record: &mut Record,
) -> Result<StartedResponse, FailedAttempt> {
    let PlannedAttempt { target, chosen, deadlines, translated } = planned;
    let ChosenKey { index: key, admission, reservation: mut held } = chosen;
    record.attempts += 1;
    record.dropped.clear();
    if let Some(translated) = translated {
        record.dropped.extend_from_slice(translated.dropped());
    }
    record.last_key = Some(KeyIndex { provider: target.provider, key });
    let context = AttemptContext { call, target, key, deadlines, request_id: &record.id };
    let result = attempt(context, translated).await;
    let provider = &call.gateway.providers[target.provider];
    let is_probe = admission.is_probe();
    match &result {
        Ok(_) => {
            provider.pool.record_success(key, target.model, admission, call.now);
            provider.keys[key].record_success();
            record.held = Some(held);
        }
        Err(FailedAttempt { failure, .. }) => {
            provider.keys[key].record_failure(failure.class.name());
            let now = Instant::now().into_std();
            provider.pool.record_failure(key, target.model, *failure, admission, call.now, now);
            held.correct_tokens(0);
        }
    }
    if is_probe {
        call.gateway.retries.notify_probe_ended();
    }
    result
}

/// Makes one attempt, in the caller's format or in the provider's.
async fn attempt(
    context: AttemptContext<'_>,
    translated: Option<&TranslatedRequest>,
) -> Result<StartedResponse, FailedAttempt> {
    let Some(request) = translated else { return send(context, None).await };
    match request.task() {
        Task::Conversation(conversation) => {
            let started = send(context, Some(Part { request, index: 0 })).await?;
            conversation.translate_response(context, started).await
        }
        Task::Embeddings { .. } | Task::Count(_) => send_parts(context, request).await,
    }
}
