//! Objects that providers store: files, batches, responses, predictions. An object belongs to the key that
//! created it.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

use super::Operation;

/// A stored object, or a collection of them, as a path names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredObject<'p> {
    /// The kind of object.
    pub operation: Operation,
    /// The id, signed with its key's name; `None` for the whole collection, or for creating an object.
    pub id: Option<Cow<'p, str>>,
    /// A part or an action, such as `content` or `cancel`; empty for the object itself.
    pub part: &'p str,
}

/// Operation, path of the collection, methods of the collection, methods of an object, and an object's parts
/// with the method of each.
type Row =
    (Operation, &'static str, &'static str, &'static str, &'static [(&'static str, &'static str)]);

/// Responses and predictions have no method to create one here: a request to a model creates them.
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

/// Returns the path of the operation's collection; `None` if it does not store objects.
pub fn path(operation: Operation) -> Option<&'static str> {
    ROWS.iter().find(|row| row.0 == operation).map(|row| row.1)
}

impl StoredObject<'_> {
    /// Returns the allowed methods, in the form of the `allow` header.
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

/// Parses the path of a stored object or a collection.
pub(crate) fn find(path: &str) -> Option<StoredObject<'_>> {
    let azure = path.strip_prefix("/openai").map(|rest| rest.strip_prefix("/v1").unwrap_or(rest));
    ROWS.iter().find_map(|(operation, collection, ..)| {
        let rest = match azure {
            Some(rest) => rest.strip_prefix(collection.strip_prefix("/v1")?)?,
            None => path.strip_prefix("/anthropic").unwrap_or(path).strip_prefix(collection)?,
        };
        let object = match rest.strip_prefix('/') {
            None if rest.is_empty() => StoredObject { operation: *operation, id: None, part: "" },
            None => return None,
            Some(rest) => {
                // The ARN of a job contains slashes, percent-encoded or not.
                let (id, part) = match rest.rsplit_once('/') {
                    Some((id, "stop")) if *operation == Operation::InvocationJobs => (id, "stop"),
                    Some((id, part)) if *operation != Operation::InvocationJobs => (id, part),
                    _ => (rest, ""),
                };
                StoredObject { operation: *operation, id: Some(decode_segment(id)?), part }
            }
        };
        (!object.methods().is_empty()).then_some(object)
    })
}

/// Decodes the percent-encoding of a model or an id in a path. `None` if it is empty, not UTF-8, or contains
/// control characters or the path segments `.` and `..`.
pub(crate) fn decode_segment(model: &str) -> Option<Cow<'_, str>> {
    let model = percent_decode_str(model).decode_utf8().ok()?;
    let invalid = model.is_empty()
        || model.chars().any(char::is_control)
        || model.split('/').any(|part| matches!(part, "" | "." | ".."));
    (!invalid).then_some(model)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is(path: &str, operation: Operation, id: Option<&str>, part: &str) {
        let id = id.map(Cow::Borrowed);
        assert_eq!(find(path), Some(StoredObject { operation, id, part }), "{path}");
    }

    #[test]
    fn stored_objects_are_recognized_by_their_paths() {
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
    fn unsupported_paths_are_not_found() {
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
