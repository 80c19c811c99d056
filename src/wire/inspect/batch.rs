//! Reads and replaces the model names in a batch of requests.

use bytes::Bytes;
use serde_json::value::RawValue;

use super::model::{PeekError, peek};
use crate::wire::json::splice::{Splice, range_of};
use crate::wire::json::walk::members;

/// The reason why a batch cannot be routed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The number of the faulty request in the batch, from 1.
    pub request: usize,
    /// The fault, as a sentence.
    pub what: String,
}

/// Receives the number of a request, counted from 1, and its model. Returns the replacement name, if any,
/// or a sentence with the reason for a rejection.
pub type Rename<'r> = dyn FnMut(usize, &str) -> Result<Option<String>, String> + 'r;

/// Replaces the models in a batch. Calls `rename` for each request with its number, counted from 1, and its
/// model; `Ok(None)` keeps the model. All other bytes stay unchanged.
///
/// With `lines`, each line is a request whose body is under `body` (OpenAI). Otherwise the batch is one
/// document with `requests`, each with its body under `params` (Anthropic).
///
/// # Errors
///
/// Returns an error if a request is not a JSON object, names no model, or `rename` returns an error.
pub fn rename(batch: &Bytes, lines: bool, rename: &mut Rename<'_>) -> Result<Bytes, Fault> {
    let mut splice = Splice::new(batch, 256);
    for (place, request) in requests(batch, lines)?.into_iter().enumerate() {
        let fault = |what: String| Fault { request: place + 1, what };
        let member = if lines { "body" } else { "params" };
        let body = members(request, [member])[0];
        let body = body.ok_or_else(|| fault(format!("The request has no `{member}`.")))?;
        let body = batch.slice_ref(body);
        let peeked = peek(&body).map_err(|error: PeekError| fault(error.to_string()))?;
        let model = peeked.model.as_deref();
        let model = model.ok_or_else(|| fault(format!("Its `{member}` names no `model`.")))?;
        if let Some(name) = rename(place + 1, model).map_err(fault)? {
            let [before, value, after] = peeked.replace_model(&body, &name);
            splice.replace(range_of(batch, &before).end..range_of(batch, &after).start, &value);
        }
    }
    if splice.is_unchanged() {
        return Ok(batch.clone());
    }
    Ok(splice.finish().into())
}

fn requests(batch: &Bytes, lines: bool) -> Result<Vec<&[u8]>, Fault> {
    let broken = |what: &str| Fault { request: 1, what: what.to_owned() };
    let requests: Vec<&[u8]> = if lines {
        let lines = batch.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
        lines.filter(|line| !line.is_empty()).collect()
    } else {
        let list =
            members(batch, ["requests"])[0].ok_or_else(|| broken("There are no `requests`."))?;
        let list: Vec<&RawValue> =
            serde_json::from_slice(list).map_err(|_| broken("`requests` is no list."))?;
        list.into_iter().map(|request| request.get().as_bytes()).collect()
    };
    if requests.is_empty() {
        return Err(broken("There are no requests in the batch."));
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upper(_: usize, model: &str) -> Result<Option<String>, String> {
        match model {
            "same" => Ok(None),
            "no" => Err("Not this one.".to_owned()),
            model => Ok(Some(model.to_uppercase())),
        }
    }

    #[test]
    fn models_change_line_by_line_and_nothing_else() {
        let batch = Bytes::from_static(
            b"{\"custom_id\":\"1\", \"body\":{\"model\": \"a\",\"x\":1.0}}\r\n\n {\"body\":{\"x\":[],\"model\":\"same\"}}\n{\"body\":{\"model\":\"b\"}}",
        );
        let renamed = rename(&batch, true, &mut upper).unwrap();
        let expected = String::from_utf8(batch.to_vec()).unwrap();
        let expected = expected.replace("\"a\"", "\"A\"").replace("\"b\"", "\"B\"");
        assert_eq!(renamed, expected.as_bytes());
        let same = Bytes::from_static(b"{\"body\":{\"model\":\"same\"}}\n");
        assert_eq!(rename(&same, true, &mut upper).unwrap().as_ptr(), same.as_ptr());
    }

    #[test]
    fn models_change_in_a_list_of_requests() {
        let batch = Bytes::from_static(
            br#"{ "requests" : [{"custom_id":"1","params":{"model":"a","n":1}}, {"params":{"model":"b"}}] }"#,
        );
        let renamed = rename(&batch, false, &mut upper).unwrap();
        assert_eq!(
            &renamed[..],
            br#"{ "requests" : [{"custom_id":"1","params":{"model":"A","n":1}}, {"params":{"model":"B"}}] }"#
        );
    }

    #[test]
    fn the_request_at_fault_is_named() {
        let fault = |batch: &'static str| {
            let fault = rename(&Bytes::from(batch), true, &mut upper).unwrap_err();
            format!("{}: {}", fault.request, fault.what)
        };
        let good = r#"{"body":{"model":"a"}}"#;
        assert_eq!(fault(""), "1: There are no requests in the batch.");
        assert_eq!(fault("{}"), "1: The request has no `body`.");
        assert_eq!(fault(r#"{"body":{}}"#), "1: Its `body` names no `model`.");
        assert_eq!(fault(r#"{"body":{"model":"no"}}"#), "1: Not this one.");
        assert_eq!(fault(r#"{"body":{"model":1}}"#), "1: 'model' must be a string.");
        let second = Box::leak(format!("{good}\n{{\"body\":{{\"model\":\"\"}}}}").into_boxed_str());
        assert_eq!(fault(second), "2: 'model' must not be empty.");
    }
}
