//! Errors of AWS, by the name that stands in `x-amzn-errortype`, `__type` or a message's header.
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html>

use super::class::Class;
use super::error_body::Words;

/// What a request says that does not fit the model. Claude's, Nova's, Llama's and Titan's words.
const TOO_LONG: [&str; 5] = [
    "input is too long",
    "input tokens exceeded",
    "too many input tokens",
    "maximum context length",
    "exceeds the maximum number of tokens",
];

/// A model that is not there, or not on this account. Bedrock has a `ValidationException` for each.
const NO_MODEL: [&str; 6] = [
    "model identifier is invalid",
    "on-demand throughput isn",
    "operation not allowed",
    "end of its life",
    "model is not supported in this region",
    "access denied. this model is marked",
];

/// Its class; `None`: the name says nothing, and the status says as much.
pub(crate) fn class(name: &str, words: &Words) -> Option<Class> {
    // `ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/` in a header,
    // `com.amazon.coral.service#UnrecognizedClientException` in a body.
    let name = name.split(':').next().unwrap_or_default();
    let name = name.rsplit('#').next().unwrap_or_default();
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    let any = |wanted: &[&str]| wanted.iter().any(|wanted| is(wanted));
    if any(&["ThrottlingException", "TooManyRequestsException"]) {
        // "Too many tokens per day, please wait before trying again."
        let day = words.said(&["per day"]);
        return Some(if day { Class::NoCredit } else { Class::Throttled });
    }
    if words.said(&TOO_LONG) || words.too_long() {
        return Some(Class::ContextTooLong);
    }
    if words.said(&NO_MODEL) {
        return Some(Class::NoAccess);
    }
    if is("AccessDeniedException") {
        return Some(denied(words));
    }
    if any(&["ResourceNotFoundException", "OptInRequired", "SubscriptionRequiredException"]) {
        return Some(Class::NoAccess);
    }
    if is("ServiceQuotaExceededException") {
        return Some(Class::NoCredit);
    }
    if any(&[
        "UnrecognizedClientException",
        "InvalidSignatureException",
        "SignatureDoesNotMatch",
        "ExpiredTokenException",
        "ExpiredToken",
        "RequestExpired",
        "InvalidClientTokenId",
        "IncompleteSignature",
        "MissingAuthenticationToken",
        "MissingAuthenticationTokenException",
        "NotAuthorized",
    ]) {
        return Some(Class::BadCredential);
    }
    if any(&[
        "ModelNotReadyException",
        "ModelErrorException",
        "ModelStreamErrorException",
        "ModelTimeoutException",
        "InternalServerException",
        "InternalFailure",
        "ServiceUnavailableException",
        "ServiceUnavailable",
        "ConflictException",
    ]) {
        return Some(Class::Trouble);
    }
    any(&["ValidationException", "ValidationError"]).then_some(Class::Caller)
}

/// Credential, account or model: all three are an `AccessDeniedException`.
fn denied(words: &Words) -> Class {
    if words.said(&["payment"]) {
        Class::NoCredit
    } else if words.said(&["api key", "bearer token", "security token", "authentication failed"]) {
        Class::BadCredential
    } else {
        // "You don't have access to the model with the specified model ID.", or a policy that speaks of
        // the model as its resource.
        Class::NoAccess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(name: &str, message: &str) -> Option<Class> {
        let body = serde_json::json!({ "message": message }).to_string();
        class(name, &Words::of_body(body.as_bytes()))
    }

    #[test]
    fn names_are_read_in_each_way_of_writing() {
        for name in [
            "ThrottlingException",
            "throttlingException",
            "ThrottlingException:http://internal.amazon.com/coral/com.amazon.bedrock/",
            "com.amazon.coral.availability#ThrottlingException",
        ] {
            assert_eq!(class_of(name, "Too many requests"), Some(Class::Throttled), "{name}");
        }
        assert_eq!(class_of("", "whatever"), None);
        assert_eq!(class_of("NovelException", "whatever"), None);
    }

    #[test]
    fn one_name_has_several_meanings() {
        let denied = |message| class_of("AccessDeniedException", message);
        let model = "You don't have access to the model with the specified model ID.";
        assert_eq!(denied(model), Some(Class::NoAccess));
        let key = "Authentication failed: Please make sure your API Key is valid.";
        assert_eq!(denied(key), Some(Class::BadCredential));
        let payment = "Model access is denied due to INVALID_PAYMENT_INSTRUMENT: a valid payment instrument must be provided.";
        assert_eq!(denied(payment), Some(Class::NoCredit));

        let invalid = |message| class_of("ValidationException", message);
        assert_eq!(invalid("Input is too long for requested model."), Some(Class::ContextTooLong));
        let profile = "Invocation of model ID x with on-demand throughput isn\u{2019}t supported.";
        assert_eq!(invalid(profile), Some(Class::NoAccess));
        assert_eq!(invalid("messages: at least one message is required"), Some(Class::Caller));

        let day = "Too many tokens per day, please wait before trying again.";
        assert_eq!(class_of("ThrottlingException", day), Some(Class::NoCredit));
        let token = "The security token included in the request is expired";
        assert_eq!(class_of("ExpiredTokenException", token), Some(Class::BadCredential));
        assert_eq!(class_of("ModelStreamErrorException", ""), Some(Class::Trouble));
    }
}
