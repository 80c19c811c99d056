//! What providers keep for later: files, batches, stored responses, predictions. Their ids belong to the
//! key that made them.

use std::borrow::Cow;

use super::Api;
use super::address::decoded;

/// A kind of thing that a provider keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Object {
    /// `/v1/files` of OpenAI.
    File,
    /// `/v1/batches` of OpenAI.
    Batch,
    /// `/v1/responses/{id}` of OpenAI; made by asking for a response.
    Response,
    /// `/v1/messages/batches` of Anthropic.
    MessageBatch,
    /// `/v1/predictions/{id}` of Replicate; made by asking for a prediction.
    Prediction,
    /// `/model-invocation-job` of Bedrock.
    Job,
}

/// Something kept, or to be kept, as a path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<'p> {
    /// What it is.
    pub object: Object,
    /// Its id with the sign of its key; `None`: all of them, or a new one.
    pub id: Option<Cow<'p, str>>,
    /// What of it or with it: `content`, `cancel`; empty: the thing itself.
    pub part: &'p str,
}

/// Object, its API, its name in metrics and logs, where it stands, methods of the whole collection, methods
/// of one, and its parts with the method of each.
type Row = (
    Object,
    Api,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [(&'static str, &'static str)],
);

/// In the order of [`Object`].
static ROWS: [Row; 6] = [
    (
        Object::File,
        Api::OpenAi,
        "files",
        "/v1/files",
        "GET, POST",
        "GET, DELETE",
        &[("content", "GET")],
    ),
    (
        Object::Batch,
        Api::OpenAi,
        "batches",
        "/v1/batches",
        "GET, POST",
        "GET",
        &[("cancel", "POST")],
    ),
    (
        Object::Response,
        Api::OpenAi,
        "stored_responses",
        "/v1/responses",
        "",
        "GET, DELETE",
        &[("cancel", "POST"), ("input_items", "GET")],
    ),
    (
        Object::MessageBatch,
        Api::Anthropic,
        "message_batches",
        "/v1/messages/batches",
        "GET, POST",
        "GET, DELETE",
        &[("cancel", "POST"), ("results", "GET")],
    ),
    (
        Object::Prediction,
        Api::Replicate,
        "predictions",
        "/v1/predictions",
        "",
        "GET",
        &[("cancel", "POST"), ("stream", "GET")],
    ),
    (
        Object::Job,
        Api::Bedrock,
        "model_invocation_jobs",
        "/model-invocation-job",
        "POST",
        "GET",
        &[("stop", "POST")],
    ),
];

impl Object {
    /// All there are.
    pub fn all() -> impl Iterator<Item = Object> {
        ROWS.iter().map(|row| row.0)
    }

    /// Whose it is.
    pub fn api(self) -> Api {
        ROWS[self as usize].1
    }

    /// The name in metrics and logs.
    pub fn name(self) -> &'static str {
        ROWS[self as usize].2
    }

    /// Where all of them are.
    pub fn path(self) -> &'static str {
        ROWS[self as usize].3
    }
}

impl Stored<'_> {
    /// The methods that can be used on it, as the `allow` header lists them.
    pub fn methods(&self) -> &'static str {
        let (.., collection, one, parts) = ROWS[self.object as usize];
        match (&self.id, self.part) {
            (None, _) => collection,
            (Some(_), "") => one,
            (Some(_), part) => {
                parts.iter().find(|(name, _)| *name == part).map_or("", |(_, method)| method)
            }
        }
    }
}

/// What is kept at the path.
pub(super) fn find(path: &str) -> Option<Stored<'_>> {
    let azure = path.strip_prefix("/openai").map(|rest| rest.strip_prefix("/v1").unwrap_or(rest));
    ROWS.iter().find_map(|(object, _, _, place, ..)| {
        let behind = match azure {
            Some(rest) => rest.strip_prefix(place.strip_prefix("/v1")?)?,
            None => path.strip_prefix("/anthropic").unwrap_or(path).strip_prefix(place)?,
        };
        let stored = match behind.strip_prefix('/') {
            None if behind.is_empty() => Stored { object: *object, id: None, part: "" },
            None => return None,
            Some(rest) => {
                // The ARN of a job holds slashes, encoded or not.
                let (id, part) = match rest.rsplit_once('/') {
                    Some((id, "stop")) if *object == Object::Job => (id, "stop"),
                    Some((id, part)) if *object != Object::Job => (id, part),
                    _ => (rest, ""),
                };
                Stored { object: *object, id: Some(decoded(id)?), part }
            }
        };
        (!stored.methods().is_empty()).then_some(stored)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(path: &str, object: Object, id: Option<&str>, part: &str) {
        let id = id.map(Cow::Borrowed);
        assert_eq!(find(path), Some(Stored { object, id, part }), "{path}");
    }

    #[test]
    fn each_row_stands_at_its_objects_place() {
        for (place, row) in ROWS.iter().enumerate() {
            assert_eq!(row.0 as usize, place, "{}", row.2);
        }
    }

    #[test]
    fn things_kept_are_known_by_their_paths() {
        is("/v1/files", Object::File, None, "");
        is("/v1/files/file-1/content", Object::File, Some("file-1"), "content");
        is("/openai/files/file-1", Object::File, Some("file-1"), "");
        is("/openai/v1/batches/b/cancel", Object::Batch, Some("b"), "cancel");
        is(
            "/v1/messages/batches/msgbatch_1/results",
            Object::MessageBatch,
            Some("msgbatch_1"),
            "results",
        );
        is("/v1/responses/resp_1", Object::Response, Some("resp_1"), "");
        is("/v1/predictions/p/stream", Object::Prediction, Some("p"), "stream");
        let arn = "arn:aws:bedrock:us-east-1:1:model-invocation-job/x";
        is(&format!("/model-invocation-job/{arn}"), Object::Job, Some(arn), "");
        let encoded = arn.replace(':', "%3A").replace('/', "%2F");
        is(&format!("/model-invocation-job/{encoded}/stop"), Object::Job, Some(arn), "stop");
    }

    #[test]
    fn what_is_not_served_is_not_found() {
        for path in [
            "/v1/responses",
            "/v1/predictions",
            "/v1/files/a/b/c",
            "/v1/files/..",
            "/v1/filesx",
            "/v1/batches/b/results",
        ] {
            assert_eq!(find(path), None, "{path}");
        }
    }
}
