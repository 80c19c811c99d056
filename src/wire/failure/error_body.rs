//! What an error body says in words: its code, its type, its message.

use serde_json::Value;

/// The words of an error, lower case.
#[derive(Debug, Default)]
pub(crate) struct Words {
    /// The values of `code`, `type` and `error_type`.
    codes: Vec<String>,
    message: String,
    param: Option<String>,
    /// `__type`, as AWS writes it.
    aws_type: Option<String>,
}

/// No credit, no quota. The codes are OpenAI's, Moonshot's, Together's and Anthropic's.
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

/// Phrases of OpenAI, DeepSeek and Z.ai, Anthropic, xAI, OpenRouter.
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

/// The codes are OpenAI's, Cohere's and llama.cpp's.
const TOO_LONG_CODES: [&str; 3] =
    ["context_length_exceeded", "too_many_tokens", "exceed_context_size_error"];

/// Phrases of OpenAI, DeepSeek and vLLM; Groq; Mistral; xAI; llama.cpp; Anthropic; SGLang.
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

/// Phrases of OpenAI and xAI, Mistral, Google, DeepSeek.
const BAD_CREDENTIAL_PHRASES: [&str; 6] = [
    "incorrect api key",
    "invalid api key",
    "api key not valid",
    "api key is invalid",
    "authentication fails",
    "invalid authentication",
];

/// The codes are OpenAI's, Mistral's, Groq's, Azure's and Together's.
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

/// How a message goes on that has `model` in it, when the model is what is missing.
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

/// Codes of OpenAI and Azure, phrases of xAI and OpenRouter.
const POLICY_WORDS: [&str; 6] = [
    "content_policy",
    "content_filter",
    "moderation_blocked",
    "usage guidelines",
    "requires moderation",
    "was flagged",
];

impl Words {
    /// Reads the shapes in use: `{"error":{…}}`, `{"error":"…"}`, the error's members at the top, and
    /// `{"detail":"…"}`. A body that is no JSON is all message.
    pub(crate) fn of_body(body: &[u8]) -> Words {
        let Ok(value) = serde_json::from_slice::<Value>(body) else {
            let message = String::from_utf8_lossy(body).to_lowercase();
            return Words { message, ..Words::default() };
        };
        let mut words = Words::default();
        words.add(&value);
        if let Some(error) = value.get("error") {
            words.add(error);
        }
        words
    }

    fn add(&mut self, value: &Value) {
        if let Value::String(text) = value {
            self.say(text);
        }
        for name in ["code", "type", "error_type", "status_code"] {
            match value.get(name) {
                Some(Value::String(code)) => self.codes.push(code.to_lowercase()),
                Some(Value::Number(code)) => self.codes.push(code.to_string()),
                _ => {}
            }
        }
        // `Message` is AWS's, of its signature check.
        for name in ["message", "detail", "Message"] {
            if let Some(Value::String(text)) = value.get(name) {
                self.say(text);
            }
        }
        if let Some(Value::String(name)) = value.get("__type") {
            self.aws_type = Some(name.clone());
        }
        if let Some(Value::String(param)) = value.get("param") {
            self.param = Some(param.to_lowercase());
        }
    }

    fn say(&mut self, text: &str) {
        self.message.push_str(&text.to_lowercase());
        self.message.push('\n');
    }

    /// The status that an error within a stream would have had: told as a number by some, else what
    /// its code stands for.
    pub(crate) fn status(&self) -> u16 {
        let told = self.codes.iter().find_map(|code| code.parse().ok());
        if let Some(status @ 400..=599) = told {
            return status;
        }
        let is = |code: &str| self.codes.iter().any(|own| own == code);
        if is("rate_limit_exceeded") || is("rate_limit_error") || is("insufficient_quota") {
            429
        } else if is("authentication_error") || is("invalid_api_key") {
            401
        } else if is("permission_error") {
            403
        } else if is("not_found_error") {
            404
        } else if is("request_too_large") {
            413
        } else if is("invalid_request_error") || is("invalid_prompt") || self.too_long() {
            400
        } else {
            500
        }
    }

    pub(crate) fn aws_type(&self) -> Option<&str> {
        self.aws_type.as_deref()
    }

    pub(crate) fn no_credit(&self) -> bool {
        self.coded(&NO_CREDIT_CODES) || self.said(&NO_CREDIT_PHRASES)
    }

    pub(crate) fn too_long(&self) -> bool {
        self.coded(&TOO_LONG_CODES) || (!self.rate_limit() && self.said(&TOO_LONG_PHRASES))
    }

    pub(crate) fn bad_credential(&self) -> bool {
        self.coded(&BAD_CREDENTIAL_CODES) || self.said(&BAD_CREDENTIAL_PHRASES)
    }

    pub(crate) fn rate_limit(&self) -> bool {
        self.coded(&["rate_limit_exceeded", "rate_limit_error"])
    }

    pub(crate) fn content_policy(&self) -> bool {
        self.coded(&POLICY_WORDS) || self.said(&POLICY_WORDS)
    }

    /// Whether the model is what the answer complains of. A 403 or 404 may say so in any words; a 400
    /// must have a code for it, since "not supported by this model" is said of parameters too.
    pub(crate) fn no_such_model(&self, status: u16) -> bool {
        if self.coded(&NO_MODEL_CODES) {
            return true;
        }
        let of_model = self.param.as_deref() == Some("model")
            || self
                .message
                .split(|c: char| !c.is_alphanumeric())
                .any(|word| matches!(word, "model" | "deployment"));
        // Anthropic says no more than `model: NAME`. Azure says of a deployment that has not the operation,
        // or of a wrong version of its API, "Resource not found": another key's endpoint may have it.
        let missing = self.said(&MISSING_PHRASES) || self.coded(&["not_found_error"]);
        let azure = status == 404 && self.coded(&["404"]) && self.said(&["resource not found"]);
        azure || (matches!(status, 403 | 404 | 410) && of_model && missing)
    }

    fn coded(&self, codes: &[&str]) -> bool {
        self.codes.iter().any(|own| codes.contains(&own.as_str()))
    }

    pub(crate) fn said(&self, phrases: &[&str]) -> bool {
        phrases.iter().any(|phrase| self.message.contains(phrase))
    }
}
