//! The members of `input` that the official language models of each vendor accept. Source of each row: the
//! schemas of its models (`https://replicate.com/OWNER/NAME/api/schema`).

/// The models of one vendor. A field that holds a name contains the member's name in `input`.
#[derive(Debug)]
pub(super) struct Vendor {
    /// The beginning of the model's name.
    prefix: &'static str,
    /// True if `messages` accepts a conversation.
    pub(super) messages: bool,
    pub(super) system: Option<&'static str>,
    pub(super) images: Images,
    pub(super) max_tokens: &'static str,
    pub(super) temperature: bool,
    pub(super) top_p: bool,
    pub(super) top_k: bool,
    pub(super) penalties: bool,
    /// True if `stop_sequences` is accepted: one string, separated by commas.
    pub(super) stop: bool,
    /// True if `reasoning_effort` is accepted.
    pub(super) effort: bool,
    /// True if `thinking_budget` is accepted.
    pub(super) budget: bool,
}

/// The images that a model accepts beside a prompt.
#[derive(Clone, Copy, Debug)]
pub(super) enum Images {
    None,
    One(&'static str),
    Many(&'static str),
}

/// The members that most language models accept.
const PLAIN: Vendor = Vendor {
    prefix: "",
    messages: false,
    system: Some("system_prompt"),
    images: Images::None,
    max_tokens: "max_tokens",
    temperature: true,
    top_p: true,
    top_k: false,
    penalties: false,
    stop: false,
    effort: false,
    budget: false,
};

const OPENAI: Vendor = Vendor {
    prefix: "openai/",
    messages: true,
    images: Images::Many("image_input"),
    max_tokens: "max_completion_tokens",
    penalties: true,
    ..PLAIN
};

/// Reasoning models accept no sampling settings.
const REASONING: Vendor =
    Vendor { temperature: false, top_p: false, penalties: false, effort: true, ..OPENAI };

/// The first row whose prefix matches applies.
static VENDORS: [Vendor; 9] = [
    Vendor { prefix: "openai/gpt-oss", messages: false, images: Images::None, ..PLAIN },
    Vendor { prefix: "openai/gpt-5", ..REASONING },
    Vendor { prefix: "openai/o", ..REASONING },
    OPENAI,
    Vendor {
        prefix: "anthropic/",
        images: Images::One("image"),
        temperature: false,
        top_p: false,
        ..PLAIN
    },
    Vendor { prefix: "meta/", top_k: true, penalties: true, stop: true, ..PLAIN },
    Vendor {
        prefix: "google/gemini-2.5",
        system: Some("system_instruction"),
        images: Images::Many("images"),
        max_tokens: "max_output_tokens",
        budget: true,
        ..PLAIN
    },
    Vendor {
        prefix: "google/gemini",
        system: Some("system_instruction"),
        images: Images::Many("images"),
        max_tokens: "max_output_tokens",
        ..PLAIN
    },
    Vendor { prefix: "deepseek-ai/", system: None, penalties: true, ..PLAIN },
];

impl Vendor {
    /// Returns the row for a model.
    pub(super) fn of_model(model: &str) -> &'static Vendor {
        static OTHER: Vendor = PLAIN;
        VENDORS.iter().find(|vendor| model.starts_with(vendor.prefix)).unwrap_or(&OTHER)
    }
}
