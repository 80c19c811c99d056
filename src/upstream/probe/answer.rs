//! What the answer to a free call says of the key.

use bytes::Bytes;
use http::Response;
use serde_json::Value;

use super::Finding;
use crate::upstream::auth::Credential;
use crate::wire::api::Api;
use crate::wire::failure::class::Class;
use crate::wire::failure::classify::classify;

/// A finding and a few words about it.
pub(super) type Said = (Finding, Option<String>);

/// All is well.
pub(super) const OK: Said = (Finding::Ok, None);

/// Longest error code that is shown; the longest known has 40 characters.
const CODE: usize = 64;

/// What an error answer says. It shows the status and the provider's error code, none of its free text.
pub(super) fn error(
    api: Api,
    minted: bool,
    origin: &str,
    response: &Response<Bytes>,
    credential: &Credential,
) -> Said {
    let status = response.status().as_u16();
    let code = code(response);
    let finding = finding(api, minted, response, code.as_deref());
    let mut words = status.to_string();
    if let Some(code) = code.filter(|code| holds_no_secret(code, credential)) {
        words = format!("{words} {code}");
    }
    match status {
        300..=399 => words = format!("{origin} answered {words}: redirects are not followed"),
        404 | 405 if finding == Finding::Unreachable => {
            words = format!("{origin} answered {words}: the API is not at this address");
        }
        _ if finding == Finding::Unreachable => words = format!("{origin} answered {words}"),
        _ => {}
    }
    (finding, Some(words))
}

/// A web page where an API should be: a proxy's, or that of a wrong address.
pub(super) fn is_a_page(body: &[u8]) -> bool {
    body.trim_ascii_start().starts_with(b"<")
}

pub(super) fn page(origin: &str) -> Said {
    (Finding::Unreachable, Some(format!("{origin} answered with a web page")))
}

fn finding(api: Api, minted: bool, response: &Response<Bytes>, code: Option<&str>) -> Finding {
    let status = response.status().as_u16();
    let header = |name: &str| {
        // STS has the code in the body, where Bedrock has it in a header.
        let own = if name == "x-amzn-errortype" && api == Api::Bedrock { code } else { None };
        own.or_else(|| response.headers().get(name)?.to_str().ok())
    };
    let class_of = |status| classify(api, status, response.body(), &header).class;
    match (status, code) {
        (300..=399, _) => return Finding::Unreachable,
        // <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
        (_, Some("Throttling")) if api == Api::Bedrock => return Finding::Throttled,
        // Entra ID has given the token, and Azure's resource does not know the role of its owner:
        // "Principal does not have access to API/Operation."
        (401, Some("PermissionDenied")) if minted => return Finding::NoAccess,
        (403, _) if minted && class_of(403) == Class::BadCredential => return Finding::NoAccess,
        _ => {}
    }
    match class_of(status) {
        // The table takes a 403 without a word for a bad key, so that another is tried. With no prompt
        // and no model in the request, it is a key that is known.
        Class::BadCredential if status == 403 && class_of(400) == Class::Caller => {
            Finding::NoAccess
        }
        Class::BadCredential => Finding::BadCredential,
        Class::NoCredit => Finding::NoCredit,
        Class::Throttled => Finding::Throttled,
        // A list of models that is not there says nothing of the key.
        Class::NoAccess if status == 404 && !minted => Finding::Unreachable,
        Class::NoAccess => Finding::NoAccess,
        Class::Caller | Class::ContextTooLong | Class::Trouble => Finding::Unreachable,
    }
}

/// The error code, where the provider has one and it looks like one.
fn code(response: &Response<Bytes>) -> Option<String> {
    let named = response.headers().get("x-amzn-errortype").and_then(|name| name.to_str().ok());
    let found = match named {
        Some(name) => Some(name.split(':').next().unwrap_or_default().to_owned()),
        None => match serde_json::from_slice(response.body()) {
            Ok(value) => in_json(&value),
            Err(_) => in_xml(response.body()),
        },
    };
    let code = found?.rsplit('#').next().unwrap_or_default().to_owned();
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    (!code.is_empty() && code.len() <= CODE && code.bytes().all(good)).then_some(code)
}

/// `{"error":{"code":…}}` and its like. Google has a number there and the name in `status`; Anthropic
/// has it in `type`; AWS in `__type`, or in `Error.Code`.
fn in_json(value: &Value) -> Option<String> {
    let error = value.get("error").or_else(|| value.get("Error")).unwrap_or(value);
    let names = ["code", "status", "type", "Code", "__type"];
    names.iter().find_map(|name| error.get(name)?.as_str()).map(str::to_owned)
}

/// `<ErrorResponse><Error><Code>…</Code>`, as STS answers.
fn in_xml(body: &[u8]) -> Option<String> {
    let text = str::from_utf8(body).ok()?;
    let (_, rest) = text.split_once("<Code>")?;
    Some(rest.split_once("</Code>")?.0.to_owned())
}

/// Whether nothing of the key is in it: some providers repeat keys in places that one would not think of.
fn holds_no_secret(code: &str, credential: &Credential) -> bool {
    credential.redact(Bytes::copy_from_slice(code.as_bytes())) == code.as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Response<Bytes> {
        let body = Bytes::copy_from_slice(body.as_bytes());
        Response::builder().status(status).body(body).unwrap()
    }

    fn found(api: Api, minted: bool, status: u16, body: &str) -> Finding {
        let response = answer(status, body);
        finding(api, minted, &response, code(&response).as_deref())
    }

    #[test]
    fn a_403_is_of_a_known_key_unless_its_words_say_that_it_is_not() {
        let scopes = r#"{"error":{"message":"You have insufficient permissions for this operation. Missing scopes: api.model.read","type":"invalid_request_error"}}"#;
        assert_eq!(found(Api::OpenAi, false, 403, scopes), Finding::NoAccess);
        let key = r#"{"error":{"message":"Incorrect API key provided"}}"#;
        assert_eq!(found(Api::OpenAi, false, 403, key), Finding::BadCredential);
        let leaked = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"Your API key was reported as leaked."}}"#;
        assert_eq!(found(Api::Gemini, false, 403, leaked), Finding::BadCredential);
    }

    #[test]
    fn behind_a_token_that_was_just_given_a_refusal_is_of_access() {
        let disabled = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","message":"Vertex AI API has not been used in project x before or it is disabled.","details":[{"reason":"SERVICE_DISABLED"}]}}"#;
        assert_eq!(found(Api::Gemini, true, 403, disabled), Finding::NoAccess);
        let role = r#"{"error":{"code":"PermissionDenied","message":"The principal lacks the required data action."}}"#;
        assert_eq!(found(Api::OpenAi, true, 401, role), Finding::NoAccess);
        assert_eq!(found(Api::OpenAi, false, 401, role), Finding::BadCredential);
        let billing = r#"{"error":{"code":403,"status":"PERMISSION_DENIED","details":[{"reason":"BILLING_DISABLED"}]}}"#;
        assert_eq!(found(Api::Gemini, true, 403, billing), Finding::NoCredit);
    }

    #[test]
    fn an_address_without_the_list_says_nothing_of_the_key() {
        for status in [301, 404, 405, 500, 503] {
            assert_eq!(found(Api::OpenAi, false, status, "{}"), Finding::Unreachable, "{status}");
        }
        let azure = r#"{"error":{"code":"404","message":"Resource not found"}}"#;
        assert_eq!(found(Api::OpenAi, false, 404, azure), Finding::Unreachable);
    }

    #[test]
    fn the_codes_of_sts_are_read_in_xml_and_in_json() {
        for code in ["SignatureDoesNotMatch", "InvalidClientTokenId", "ExpiredToken"] {
            let xml = format!(
                "<ErrorResponse xmlns=\"x\"><Error><Type>Sender</Type><Code>{code}</Code><Message>m</Message></Error></ErrorResponse>"
            );
            assert_eq!(found(Api::Bedrock, false, 403, &xml), Finding::BadCredential, "{code}");
            let json =
                format!(r#"{{"Error":{{"Code":"{code}","Type":"Sender"}},"RequestId":"r"}}"#);
            assert_eq!(found(Api::Bedrock, false, 403, &json), Finding::BadCredential, "{code}");
        }
        let busy = r#"{"Error":{"Code":"Throttling","Message":"Rate exceeded"}}"#;
        assert_eq!(found(Api::Bedrock, false, 400, busy), Finding::Throttled);
    }

    #[test]
    fn a_code_is_a_word() {
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
