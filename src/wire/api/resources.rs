//! What providers keep for later: files, batches, stored responses, predictions. Their ids belong to the
//! key that made them.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::Operation;

/// Something kept, or to be kept, as a path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored<'p> {
    /// What is asked for.
    pub operation: Operation,
    /// Its id with the sign of its key; `None`: all of them, or a new one.
    pub id: Option<Cow<'p, str>>,
    /// What of it or with it: `content`, `cancel`; empty: the thing itself.
    pub part: &'p str,
}

/// Operation, where it stands, methods of the whole collection, methods of one, and the parts of one with
/// the method of each.
type Row =
    (Operation, &'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Responses and predictions are made by asking for one.
static ROWS: [Row; 6] = [
    (Operation::Files, "/v1/files", "GET, POST", "GET, DELETE", &[("content", "GET")]),
    (Operation::Batches, "/v1/batches", "GET, POST", "GET", &[("cancel", "POST")]),
    (
        Operation::StoredResponses,
        "/v1/responses",
        "",
        "GET, DELETE",
        &[("cancel", "POST"), ("input_items", "GET")],
    ),
    (
        Operation::MessageBatches,
        "/v1/messages/batches",
        "GET, POST",
        "GET, DELETE",
        &[("cancel", "POST"), ("results", "GET")],
    ),
    (
        Operation::StoredPredictions,
        "/v1/predictions",
        "",
        "GET",
        &[("cancel", "POST"), ("stream", "GET")],
    ),
    (Operation::InvocationJobs, "/model-invocation-job", "POST", "GET", &[("stop", "POST")]),
];

/// Where all of what the operation keeps is.
pub fn path(operation: Operation) -> Option<&'static str> {
    ROWS.iter().find(|row| row.0 == operation).map(|row| row.1)
}

impl Stored<'_> {
    /// The methods that can be used on it, as the `allow` header lists them.
    pub fn methods(&self) -> &'static str {
        let row = ROWS.iter().find(|row| row.0 == self.operation);
        let Some((.., collection, one, parts)) = row else { return "" };
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
pub(crate) fn find(path: &str) -> Option<Stored<'_>> {
    let azure = path.strip_prefix("/openai").map(|rest| rest.strip_prefix("/v1").unwrap_or(rest));
    ROWS.iter().find_map(|(operation, place, ..)| {
        let behind = match azure {
            Some(rest) => rest.strip_prefix(place.strip_prefix("/v1")?)?,
            None => path.strip_prefix("/anthropic").unwrap_or(path).strip_prefix(place)?,
        };
        let stored = match behind.strip_prefix('/') {
            None if behind.is_empty() => Stored { operation: *operation, id: None, part: "" },
            None => return None,
            Some(rest) => {
                // The ARN of a job holds slashes, encoded or not.
                let (id, part) = match rest.rsplit_once('/') {
                    Some((id, "stop")) if *operation == Operation::InvocationJobs => (id, "stop"),
                    Some((id, part)) if *operation != Operation::InvocationJobs => (id, part),
                    _ => (rest, ""),
                };
                Stored { operation: *operation, id: Some(decoded(id)?), part }
            }
        };
        (!stored.methods().is_empty()).then_some(stored)
    })
}

/// A model as the path has it, without its percent-encoding. `None` for what is no name: empty, no
/// UTF-8, control characters, or steps of a path.
pub(crate) fn decoded(model: &str) -> Option<Cow<'_, str>> {
    let model = percent_decode_str(model).decode_utf8().ok()?;
    let bad = model.is_empty()
        || model.chars().any(char::is_control)
        || model.split('/').any(|part| matches!(part, "" | "." | ".."));
    (!bad).then_some(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(path: &str, operation: Operation, id: Option<&str>, part: &str) {
        let id = id.map(Cow::Borrowed);
        assert_eq!(find(path), Some(Stored { operation, id, part }), "{path}");
    }

    #[test]
    fn things_kept_are_known_by_their_paths() {
        is("/v1/files", Operation::Files, None, "");
        is("/v1/files/file-1/content", Operation::Files, Some("file-1"), "content");
        is("/openai/files/file-1", Operation::Files, Some("file-1"), "");
        is("/openai/v1/batches/b/cancel", Operation::Batches, Some("b"), "cancel");
        is(
            "/v1/messages/batches/msgbatch_1/results",
            Operation::MessageBatches,
            Some("msgbatch_1"),
            "results",
        );
        is("/v1/responses/resp_1", Operation::StoredResponses, Some("resp_1"), "");
        is("/v1/predictions/p/stream", Operation::StoredPredictions, Some("p"), "stream");
        let arn = "arn:aws:bedrock:us-east-1:1:model-invocation-job/x";
        is(&format!("/model-invocation-job/{arn}"), Operation::InvocationJobs, Some(arn), "");
        let encoded = arn.replace(':', "%3A").replace('/', "%2F");
        is(
            &format!("/model-invocation-job/{encoded}/stop"),
            Operation::InvocationJobs,
            Some(arn),
            "stop",
        );
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
