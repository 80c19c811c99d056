//! Classifies errors of AWS by the exception's name in `x-amzn-errortype`, `__type` or a message's header.
//! <https://docs.aws.amazon.com/bedrock/latest/userguide/troubleshooting-api-error-codes.html>

use super::class::Class;
use super::error_body::ErrorBody;

/// Phrases for a prompt that is too long, of Claude, Nova, Llama and Titan.
const TOO_LONG: [&str; 5] = [
    "input is too long",
    "input tokens exceeded",
    "too many input tokens",
    "maximum context length",
    "exceeds the maximum number of tokens",
];

/// Phrases for a model that does not exist, or not for this account. Bedrock sends a `ValidationException`
/// for each.
const NO_MODEL: [&str; 6] = [
    "model identifier is invalid",
    "on-demand throughput isn",
    "operation not allowed",
    "end of its life",
    "model is not supported in this region",
    "access denied. this model is marked",
];

/// Returns the class; `None` if the name is unknown, so that the status decides.
pub(crate) fn class(name: &str, body: &ErrorBody) -> Option<Class> {
    // `ValidationException:http://internal.amazon.com/coral/com.amazon.bedrock/` in a header,
    // `com.amazon.coral.service#UnrecognizedClientException` in a body.
    let name = name.split(':').next().unwrap_or_default();
    let name = name.rsplit('#').next().unwrap_or_default();
    let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
    let any = |wanted: &[&str]| wanted.iter().any(|wanted| is(wanted));
    if any(&["ThrottlingException", "TooManyRequestsException"]) {
        // "Too many tokens per day, please wait before trying again."
        let day = body.message_contains(&["per day"]);
        return Some(if day { Class::NoCredit } else { Class::Throttled });
    }
    if body.message_contains(&TOO_LONG) || body.reports_too_long() {
        return Some(Class::ContextTooLong);
    }
    if body.message_contains(&NO_MODEL) {
        return Some(Class::NoAccess);
    }
    if is("AccessDeniedException") {
        return Some(denied(body));
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

/// Classifies an `AccessDeniedException`: the fault of the credential, the account or the model.
fn denied(body: &ErrorBody) -> Class {
    if body.message_contains(&["payment"]) {
        Class::NoCredit
    } else if body.message_contains(&[
        "api key",
        "bearer token",
        "security token",
        "authentication failed",
    ]) {
        Class::BadCredential
    } else {
        // "You don't have access to the model with the specified model ID.", or a policy that names the model
        // as its resource.
        Class::NoAccess
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class_of(name: &str, message: &str) -> Option<Class> {
        let body = serde_json::json!({ "message": message }).to_string();
        class(name, &ErrorBody::parse(body.as_bytes()))
    }

    #[test]
    fn every_spelling_of_a_name_is_recognized() {
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
    fn the_message_decides_where_a_name_is_ambiguous() {
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
