//! Errors of Google's APIs. <https://cloud.google.com/apis/design/errors#error_model>

use std::time::Duration;

use serde::Deserialize;

use super::class::Class;
use super::retry_after;

/// An error in Google's form, whatever the API.
#[derive(Debug)]
pub(crate) struct GoogleError {
    /// The name of its code, such as `RESOURCE_EXHAUSTED`.
    status: String,
    message: String,
    /// Of its `ErrorInfo`s, such as `API_KEY_INVALID`.
    reasons: Vec<String>,
    /// The limits that were hit, such as `GenerateRequestsPerDayPerProjectPerModel-FreeTier`.
    quotas: Vec<String>,
    /// Of its `RetryInfo`.
    pub(crate) retry_after: Option<Duration>,
}

#[derive(Deserialize)]
struct Written {
    error: Error,
}

#[derive(Deserialize)]
struct Error {
    /// Others have a `status` too, but a text for a code.
    #[serde(rename = "code")]
    _code: u16,
    status: String,
    #[serde(default)]
    message: String,
    #[serde(default)]
    details: Vec<Detail>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Detail {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    violations: Vec<Violation>,
    #[serde(default)]
    retry_delay: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Violation {
    #[serde(default)]
    quota_id: String,
}

impl GoogleError {
    /// Reads `{"error":{…}}`, also as the only element of an array: what is asked for a stream without
    /// `alt=sse` answers so.
    pub(crate) fn read(body: &[u8]) -> Option<GoogleError> {
        let error = match serde_json::from_slice::<Written>(body) {
            Ok(written) => written.error,
            Err(_) => serde_json::from_slice::<[Written; 1]>(body).ok().map(|[one]| one.error)?,
        };
        let seconds = |delay: &str| delay.strip_suffix('s')?.parse().ok();
        let retry_after = error
            .details
            .iter()
            .find_map(|detail| seconds(&detail.retry_delay))
            .and_then(retry_after::wait);
        let (mut reasons, mut quotas) = (Vec::new(), Vec::new());
        for detail in error.details {
            reasons.push(detail.reason);
            quotas.extend(detail.violations.into_iter().map(|violation| violation.quota_id));
        }
        let message = error.message.to_lowercase();
        Some(GoogleError { status: error.status, message, reasons, quotas, retry_after })
    }

    /// Its class; `None`: the status says as much.
    #[expect(clippy::match_same_arms, reason = "the rows are asked in order, name by name")]
    pub(crate) fn class(&self, status: u16) -> Option<Class> {
        match &*self.status {
            _ if self.is_reason(&["BILLING_DISABLED"]) => Some(Class::NoCredit),
            "INVALID_ARGUMENT" if self.is_bad_key() => Some(Class::BadCredential),
            "INVALID_ARGUMENT" if self.is_too_long() => Some(Class::ContextTooLong),
            "INVALID_ARGUMENT" | "OUT_OF_RANGE" => Some(Class::Caller),
            // <https://ai.google.dev/gemini-api/docs/troubleshooting>: a free key where none is free, or
            // a place from which nothing is served.
            "FAILED_PRECONDITION" if self.says("billing") => Some(Class::NoCredit),
            "FAILED_PRECONDITION" if self.says("location") => Some(Class::NoAccess),
            "FAILED_PRECONDITION" => Some(Class::Caller),
            "UNAUTHENTICATED" => Some(Class::BadCredential),
            // Vertex: "Permission … denied on resource … (or it may not exist)".
            "PERMISSION_DENIED"
                if self.says("may not exist") || self.says("access to the model") =>
            {
                Some(Class::NoAccess)
            }
            "PERMISSION_DENIED" => Some(Class::BadCredential),
            "NOT_FOUND" => Some(Class::NoAccess),
            // A limit of zero: a model that this key does not get.
            "RESOURCE_EXHAUSTED" if self.says("limit: 0,") => Some(Class::NoAccess),
            "RESOURCE_EXHAUSTED" if self.quotas.iter().any(|id| id.contains("PerDay")) => {
                Some(Class::NoCredit)
            }
            "RESOURCE_EXHAUSTED" if self.says("prepayment credits are depleted") => {
                Some(Class::NoCredit)
            }
            "RESOURCE_EXHAUSTED" => Some(Class::Throttled),
            "UNAVAILABLE" | "INTERNAL" | "DEADLINE_EXCEEDED" | "ABORTED" | "CANCELLED"
            | "UNKNOWN" => {
                // A prompt that is far too long has been answered with 500.
                Some(if status == 500 && self.is_too_long() {
                    Class::ContextTooLong
                } else {
                    Class::Trouble
                })
            }
            _ => None,
        }
    }

    fn is_bad_key(&self) -> bool {
        let reasons = ["API_KEY_INVALID", "API_KEY_EXPIRED"];
        self.is_reason(&reasons) || self.says("api key not valid") || self.says("api key expired")
    }

    fn is_too_long(&self) -> bool {
        self.says("input token count")
            || self.says("exceeds the maximum number of tokens")
            || self.says("input context is too long")
    }

    fn is_reason(&self, reasons: &[&str]) -> bool {
        self.reasons.iter().any(|own| reasons.contains(&own.as_str()))
    }

    fn says(&self, phrase: &str) -> bool {
        self.message.contains(phrase)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class(body: &str) -> Option<Class> {
        GoogleError::read(body.as_bytes())?.class(400)
    }

    fn error(code: u16, status: &str, message: &str, details: &str) -> String {
        format!(
            r#"{{"error":{{"code":{code},"status":"{status}","message":"{message}","details":[{details}]}}}}"#
        )
    }

    #[test]
    fn a_limit_of_the_day_is_no_limit_of_the_minute() {
        let violation = |id: &str| format!(r#"{{"violations":[{{"quotaId":"{id}"}}]}}"#);
        let day = violation("GenerateRequestsPerDayPerProjectPerModel-FreeTier");
        let minute = violation("GenerateRequestsPerMinutePerProjectPerModel");
        let exhausted = |details: &str| error(429, "RESOURCE_EXHAUSTED", "quota", details);
        assert_eq!(class(&exhausted(&day)), Some(Class::NoCredit));
        assert_eq!(class(&exhausted(&minute)), Some(Class::Throttled));
        let none = error(429, "RESOURCE_EXHAUSTED", "Quota exceeded, limit: 0, model: x", &minute);
        assert_eq!(class(&none), Some(Class::NoAccess));
    }

    #[test]
    fn the_wait_is_read_and_bounded() {
        let wait = |delay: &str| {
            let detail = format!(r#"{{"retryDelay":"{delay}"}}"#);
            let body = error(429, "RESOURCE_EXHAUSTED", "", &detail);
            GoogleError::read(body.as_bytes()).unwrap().retry_after.map(|wait| wait.as_secs_f64())
        };
        assert_eq!(wait("34.5s"), Some(34.5));
        assert_eq!(wait("86400s"), Some(3600.0));
        for bad in ["", "s", "0s", "-1s", "NaNs", "36"] {
            assert_eq!(wait(bad), None, "{bad}");
        }
    }

    #[test]
    fn keys_places_and_models_are_told_apart() {
        let expired =
            error(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key.", "");
        assert_eq!(class(&expired), Some(Class::BadCredential));
        let place = error(
            400,
            "FAILED_PRECONDITION",
            "User location is not supported for the API use.",
            "",
        );
        assert_eq!(class(&place), Some(Class::NoAccess));
        let billing = error(403, "PERMISSION_DENIED", "", r#"{"reason":"BILLING_DISABLED"}"#);
        assert_eq!(class(&billing), Some(Class::NoCredit));
        let leaked = error(403, "PERMISSION_DENIED", "Your API key was reported as leaked.", "");
        assert_eq!(class(&format!("[{leaked}]")), Some(Class::BadCredential));
        let resource = "Permission denied on resource //x/models/y (or it may not exist).";
        assert_eq!(class(&error(403, "PERMISSION_DENIED", resource, "")), Some(Class::NoAccess));
    }

    #[test]
    fn other_errors_are_not_googles() {
        for other in [r#"{"error":{"code":"429","status":"x"}}"#, r#"{"error":"x"}"#, "[]", "x"] {
            assert!(GoogleError::read(other.as_bytes()).is_none(), "{other}");
        }
    }
}
