//! What the answer to a free call means for the key.

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use super::ProbeResult;
use crate::upstream::auth::Credential;
use crate::wire::api::Api;
use crate::wire::failure::class::Class;
use crate::wire::failure::classify::classify;

/// A result and a detail about it.
pub(super) type Support = (ProbeResult, Option<String>);

/// The key works.
pub(super) const OK: Support = (ProbeResult::Ok, None);

/// Longest error code that is reported; the longest known one has 40 characters.
const MAX_CODE: usize = 64;

/// Returns the result for an error answer. The detail contains the status and the provider's error code,
/// but none of its free text.
pub(super) fn error(
    api: Api,
    has_new_token: bool,
    origin: &str,
    response: &Response<Bytes>,
    credential: &Credential,
) -> Support {
    let status = response.status().as_u16();
    let code = code(response);
    let result = result_of(api, has_new_token, response, code.as_deref());
    let mut detail = status.to_string();
    if let Some(code) = code.filter(|code| contains_no_secret(code, credential)) {
        detail = format!("{detail} {code}");
    }
    match status {
        300..=399 => {
            detail = format!("{origin} returned status {detail}: redirects are not followed");
        }
        404 | 405 if result == ProbeResult::Unreachable => {
            detail = format!("{origin} returned status {detail}: the API is not at this address");
        }
        _ if result == ProbeResult::Unreachable => {
            detail = format!("{origin} returned status {detail}");
        }
        _ => {}
    }
    (result, Some(detail))
}

/// Returns true for a web page in place of an API: from a proxy, or from a wrong address.
pub(super) fn is_web_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

pub(super) fn web_page(origin: &str) -> Support {
    (ProbeResult::Unreachable, Some(format!("{origin} returned a web page")))
}

fn result_of(
    api: Api,
    has_new_token: bool,
    response: &Response<Bytes>,
    code: Option<&str>,
) -> ProbeResult {
    let status = response.status().as_u16();
    let header = |name: &str| {
        // STS sends the code in the body, Bedrock in a header.
        let own = if name == "x-amzn-errortype" && api == Api::Bedrock { code } else { None };
        own.or_else(|| response.headers().get(name)?.to_str().ok())
    };
    let class_of = |status| classify(api, status, response.body(), &header).class;
    match (status, code) {
        (300..=399, _) => return ProbeResult::Unreachable,
        // <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
        (_, Some("Throttling")) if api == Api::Bedrock => return ProbeResult::Throttled,
        // Entra ID returned the token, but its owner has no role for the Azure resource: "Principal does
        // not have access to API/Operation."
        (401, Some("PermissionDenied")) if has_new_token => return ProbeResult::NoAccess,
        (403, _) if has_new_token && class_of(403) == Class::BadCredential => {
            return ProbeResult::NoAccess;
        }
        _ => {}
    }
    match class_of(status) {
        // `classify` treats a 403 without details as a bad key, so that another key is tried. This request
        // has no prompt and no model, so here the key is valid.
        Class::BadCredential if status == 403 && class_of(400) == Class::Caller => {
            ProbeResult::NoAccess
        }
        Class::BadCredential => ProbeResult::BadCredential,
        Class::NoCredit => ProbeResult::NoCredit,
        Class::Throttled => ProbeResult::Throttled,
        // A missing list of models does not mean that the key is bad.
        Class::NoAccess if status == 404 && !has_new_token => ProbeResult::Unreachable,
        Class::NoAccess => ProbeResult::NoAccess,
        Class::Caller | Class::ContextTooLong | Class::Trouble => ProbeResult::Unreachable,
    }
}

/// Returns the error code, if the answer contains one that looks like a code.
fn code(response: &Response<Bytes>) -> Option<String> {
    let named = response.headers().get("x-amzn-errortype").and_then(|name| name.to_str().ok());
    let found = match named {
        Some(name) => Some(name.split(':').next().unwrap_or_default().to_owned()),
        None => match serde_json::from_slice(response.body()) {
            Ok(value) => code_in_json(&value),
            Err(_) => code_in_xml(response.body()),
        },
    };
    let code = found?.rsplit('#').next().unwrap_or_default().to_owned();
    let is_code = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (!code.is_empty() && code.len() <= MAX_CODE && code.bytes().all(is_code)).then_some(code)
}

/// Reads `{"error":{"code":…}}` and similar forms. Google sends a number there and the name in `status`;
/// Anthropic sends it in `type`; AWS in `__type`, or in `Error.Code`.
fn code_in_json(value: &Value) -> Option<String> {
    let error = value.get("error").or_else(|| value.get("Error")).unwrap_or(value);
    let names = ["code", "status", "type", "Code", "__type"];
    names.iter().find_map(|name| error.get(name)?.as_str()).map(str::to_owned)
}

/// Reads `<ErrorResponse><Error><Code>…</Code>`, from STS.
fn code_in_xml(body: &[u8]) -> Option<String> {
    let text = str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    Some(rest.split_once("</Code>")?.0.to_owned())
}

/// Returns true if the code contains no part of the key: some providers echo keys in unexpected places.
fn contains_no_secret(code: &str, credential: &Credential) -> bool {
    credential.redact(Bytes::copy_from_slice(code.as_bytes())) == code.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Response<Bytes> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Response::builder().status(status).body(body).unwrap()
    }

    fn result(api: Api, has_new_token: bool, status: u16, body: &str) -> ProbeResult {
        let response = answer(status, body);
        result_of(api, has_new_token, &response, code(&response).as_deref())
    }

    #[test]
    fn a_403_means_no_access_unless_its_text_reports_a_bad_key() {
        let scopes = r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.model.read","type":"invalid_request_error"}}"#;
        assert_eq!(result(Api::OpenAi, false, 403, scopes), ProbeResult::NoAccess);
        let key = r#"{"error":{"message":"Incorrect API key provided"}}"#;
        assert_eq!(result(Api::OpenAi, false, 403, key), ProbeResult::BadCredential);
        let leaked = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"Your API key was reported as leaked."}}"#;
        assert_eq!(result(Api::Gemini, false, 403, leaked), ProbeResult::BadCredential);
    }

    #[test]
    fn with_a_new_token_a_rejection_means_no_access() {
        let disabled = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"Vertex AI API has not been used in project x before or it is disabled.","details":[{"reason":"SERVICE_DISABLED"}]}}"#;
        assert_eq!(result(Api::Gemini, true, 403, disabled), ProbeResult::NoAccess);
        let role = r#"{"error":{"code":"PermissionDenied","message":"The principal lacks the required data action."}}"#;
        assert_eq!(result(Api::OpenAi, true, 401, role), ProbeResult::NoAccess);
        assert_eq!(result(Api::OpenAi, false, 401, role), ProbeResult::BadCredential);
        let billing = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","details":[{"reason":"BILLING_DISABLED"}]}}"#;
        assert_eq!(result(Api::Gemini, true, 403, billing), ProbeResult::NoCredit);
    }

    #[test]
    fn a_missing_list_of_models_means_unreachable() {
        for status in [301, 404, 405, 500, 503] {
            assert_eq!(
                result(Api::OpenAi, false, status, "{}"),
                ProbeResult::Unreachable,
                "{status}"
            );
        }
        let azure = r#"{"error":{"code":"404","message":"Resource not found"}}"#;
        assert_eq!(result(Api::OpenAi, false, 404, azure), ProbeResult::Unreachable);
    }

    #[test]
    fn sts_error_codes_are_read_from_xml_and_json() {
        for code in ["SignatureDoesNotMatch", "InvalidClientTokenId", "ExpiredToken"] {
            let xml = format!(
                "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>"
            );
            assert_eq!(
                result(Api::Bedrock, false, 403, &xml),
                ProbeResult::BadCredential,
                "{code}"
            );
            let json =
                format!(r#"{{"Error":{{"Code":"{code}","Type":"Sender"}},"RequestId":"r"}}"#);
            assert_eq!(
                result(Api::Bedrock, false, 403, &json),
                ProbeResult::BadCredential,
                "{code}"
            );
        }
        let busy = r#"{"Error":{"Code":"Throttling","Message":"Rate exceeded"}}"#;
        assert_eq!(result(Api::Bedrock, false, 400, busy), ProbeResult::Throttled);
    }

    #[test]
    fn only_an_error_code_is_reported() {
        let of = |body: &str| code(&answer(400, body));
        assert_eq!(
            of(r#"{"error":{"code":"invalid_api_key"}}"#).as_deref(),
            Some("invalid_api_key")
        );
        assert_eq!(
            of(r#"{"error":{"code":401,"status":"UNAUTHENTICATED"}}"#).as_deref(),
            Some("UNAUTHENTICATED")
        );
        assert_eq!(
            of(r#"{"type":"error","error":{"type":"authentication_error"}}"#).as_deref(),
            Some("authentication_error")
        );
        assert_eq!(
            of(r#"{"__type":"com.amazon.coral.service#AccessDeniedException"}"#).as_deref(),
            Some("AccessDeniedException")
        );
        assert_eq!(of(r#"{"error":{"code":"your key sk-1 is wrong"}}"#), None);
        assert_eq!(of(&format!(r#"{{"code":"{}"}}"#, "x".repeat(65))), None);
        assert_eq!(of("no JSON"), None);
    }
}
