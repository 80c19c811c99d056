//! Parses an error body: its codes, its type, its message.

use serde_json::Value;

/// The content of an error body, in lower case.
#[derive(Debug, Default)]
pub(crate) struct ErrorBody {
    /// The values of `code`, `type`, `error_type` and `status_code`.
    codes: Vec<String>,
    message: String,
    param: Option<String>,
    /// The value of `__type`, which AWS sends, in its own case.
    aws_type: Option<String>,
}

/// Codes for no credit and no quota, of OpenAI, Moonshot, Together and Anthropic.
const NO_CREDIT_CODES: [&str; 9] = [
    "insufficient_quota",
    "billing_hard_limit_reached",
    "billing_not_active",
    "exceeded_current_quota_error",
    "insufficient_balance",
    "insufficient_credits",
    "credit_limit",
    "payment_required",
    "billing_error",
];

/// Phrases for no credit, of OpenAI, DeepSeek and Z.ai, Anthropic, xAI, OpenRouter.
const NO_CREDIT_PHRASES: [&str; 9] = [
    "exceeded your current quota",
    "insufficient balance",
    "insufficient credits",
    "insufficient quota",
    "credit balance is too low",
    "reached your specified api usage limits",
    "doesn't have any credits",
    "no credits",
    "run out of credits",
];

/// Codes for a prompt that is too long, of OpenAI, Cohere and llama.cpp.
const TOO_LONG_CODES: [&str; 3] =
    ["context_length_exceeded", "too_many_tokens", "exceed_context_size_error"];

/// Phrases for a prompt that is too long, of OpenAI, DeepSeek and vLLM; Groq; Mistral; xAI; llama.cpp;
/// Anthropic; SGLang.
const TOO_LONG_PHRASES: [&str; 11] = [
    "maximum context length",
    "context length exceeded",
    "context_length_exceeded",
    "reduce the length of the messages",
    "maximum prompt length",
    "available context size",
    "prompt is too long",
    "exceed context limit",
    "context window",
    "is longer than the model's context length",
    "too many tokens",
];

const BAD_CREDENTIAL_CODES: [&str; 4] =
    ["invalid_api_key", "authentication_error", "invalid_authentication", "api_key_invalid"];

/// Phrases for a rejected key, of OpenAI and xAI, Mistral, Google, DeepSeek.
const BAD_CREDENTIAL_PHRASES: [&str; 6] = [
    "incorrect api key",
    "invalid api key",
    "api key not valid",
    "api key is invalid",
    "authentication fails",
    "invalid authentication",
];

/// Codes for a model that is not available, of OpenAI, Mistral, Groq, Azure and Together.
const NO_MODEL_CODES: [&str; 8] = [
    "model_not_found",
    "invalid_model",
    "model_not_available",
    "model_decommissioned",
    "model_not_active",
    "model_terms_required",
    "deploymentnotfound",
    "model_permission_blocked_org",
];

/// Phrases for a missing model, in a message that also contains `model`.
const MISSING_PHRASES: [&str; 10] = [
    "not exist",
    "not found",
    "no access",
    "not have access",
    "not available",
    "not supported",
    "not a valid model",
    "unknown model",
    "decommissioned",
    "deprecated",
];

/// Codes (OpenAI, Azure) and phrases (xAI, OpenRouter) for a request that violates a content policy.
const POLICY_WORDS: [&str; 6] = [
    "content_policy",
    "content_filter",
    "moderation_blocked",
    "usage guidelines",
    "requires moderation",
    "was flagged",
];

impl ErrorBody {
    /// Parses the forms in use: `{"error":{…}}`, `{"error":"…"}`, the error's members at the top level, and
    /// `{"detail":"…"}`. A body that is not JSON is taken as the message.
    pub(crate) fn parse(body: &[u8]) -> ErrorBody {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            let message = String::from_utf8_lossy(body).to_lowercase();
            return ErrorBody { message, ..ErrorBody::default() };
        };
        let mut parsed = ErrorBody::default();
        parsed.add(&value);
        if let Some(error) = value.get("error") {
            parsed.add(error);
        }
        parsed
    }

    fn add(&mut self, value: &Value) {
        if let Value::String(text) = value {
            self.add_message(text);
        }
        for name in ["code", "type", "error_type", "status_code"] {
            match value.get(name) {
                Some(Value::String(code)) => self.codes.push(code.to_lowercase()),
                Some(Value::Number(code)) => self.codes.push(code.to_string()),
                _ => {}
            }
        }
        // AWS sends `Message` when its signature check fails.
        for name in ["message", "detail", "Message"] {
            if let Some(Value::String(text)) = value.get(name) {
                self.add_message(text);
            }
        }
        if let Some(Value::String(name)) = value.get("__type") {
            self.aws_type = Some(name.clone());
        }
        if let Some(Value::String(param)) = value.get("param") {
            self.param = Some(param.to_lowercase());
        }
    }

    fn add_message(&mut self, text: &str) {
        self.message.push_str(&text.to_lowercase());
        self.message.push('\n');
    }

    /// Returns the HTTP status that an error inside a stream would have had: a number among its codes, else
    /// the status that its code implies.
    pub(crate) fn implied_status(&self) -> u16 {
        let number = self.codes.iter().find_map(|code| code.parse().ok());
        if let Some(status @ 400..=599) = number {
            return status;
        }
        let is = |code: &str| self.has_code(&[code]);
        if self.reports_rate_limit() || is("insufficient_quota") {
            429
        } else if is("authentication_error") || is("invalid_api_key") {
            401
        } else if is("permission_error") {
            403
        } else if is("not_found_error") {
            404
        } else if is("request_too_large") {
            413
        } else if is("invalid_request_error") || is("invalid_prompt") || self.reports_too_long() {
            400
        } else {
            500
        }
    }

    pub(crate) fn aws_type(&self) -> Option<&str> {
        self.aws_type.as_deref()
    }

    pub(crate) fn reports_no_credit(&self) -> bool {
        self.has_code(&NO_CREDIT_CODES) || self.message_contains(&NO_CREDIT_PHRASES)
    }

    pub(crate) fn reports_too_long(&self) -> bool {
        self.has_code(&TOO_LONG_CODES)
            || (!self.reports_rate_limit() && self.message_contains(&TOO_LONG_PHRASES))
    }

    pub(crate) fn reports_bad_credential(&self) -> bool {
        self.has_code(&BAD_CREDENTIAL_CODES) || self.message_contains(&BAD_CREDENTIAL_PHRASES)
    }

    pub(crate) fn reports_rate_limit(&self) -> bool {
        self.has_code(&["rate_limit_exceeded", "rate_limit_error"])
    }

    pub(crate) fn reports_policy_violation(&self) -> bool {
        self.has_code(&POLICY_WORDS) || self.message_contains(&POLICY_WORDS)
    }

    /// Returns whether the model is missing. For a 403, 404 or 410 phrases suffice; a 400 must have a code
    /// for it, since "not supported by this model" also occurs in messages about parameters.
    pub(crate) fn reports_missing_model(&self, status: u16) -> bool {
        if self.has_code(&NO_MODEL_CODES) {
            return true;
        }
        let is_about_model = self.param.as_deref() == Some("model")
            || self
                .message
                .split(|c: char| !c.is_alphanumeric())
                .any(|word| matches!(word, "model" | "deployment"));
        // Anthropic's whole message is `model: NAME`. Azure sends "Resource not found" if the deployment does
        // not support the operation or the API version is wrong: another key's endpoint may support it.
        let missing =
            self.message_contains(&MISSING_PHRASES) || self.has_code(&["not_found_error"]);
        let azure = status == 404
            && self.has_code(&["404"])
            && self.message_contains(&["resource not found"]);
        azure || (matches!(status, 403 | 404 | 410) && is_about_model && missing)
    }

    fn has_code(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|code| codes.contains(&code.as_str()))
    }

    pub(crate) fn message_contains(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.message.contains(phrase))
    }
}
