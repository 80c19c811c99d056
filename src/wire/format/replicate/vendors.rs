//! How the official language models of each vendor name the members of their `input`. Each row is as the
//! pages of its models have it (`https://replicate.com/OWNER/NAME/api/schema`).

/// One vendor's models.
#[derive(Debug)]
pub(crate) struct Vendor {
    /// What the model's name begins with.
    prefix: &'static str,
    /// A conversation, in `messages`.
    pub messages: bool,
    pub system: Option<&'static str>,
    pub images: Images,
    pub max_tokens: &'static str,
    pub temperature: bool,
    pub top_p: bool,
    pub top_k: bool,
    pub penalties: bool,
    /// `stop_sequences`, one string with commas in it.
    pub stop: bool,
    pub effort: bool,
    pub budget: bool,
}

/// Images that go with a prompt.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Images {
    None,
    One(&'static str),
    Many(&'static str),
}

/// What language models have in common.
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

/// Its models that reason take no word on sampling.
const REASONING: Vendor =
    Vendor { temperature: false, top_p: false, penalties: false, effort: true, ..OPENAI };

/// The first row that fits is the model's.
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

/// Those that this model is of.
pub(crate) fn of(model: &str) -> &'static Vendor {
    static ANY: Vendor = PLAIN;
    VENDORS.iter().find(|vendor| model.starts_with(vendor.prefix)).unwrap_or(&ANY)
}
