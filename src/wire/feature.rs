//! What a request can ask for beyond plain text, one by one: a table. Each format says where a caller
//! writes it and what becomes of it at a provider; encoders act by the same tables that the README shows.

/// What becomes of something that a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The provider's format says it.
    Said,
    /// It is left out, and named in `x-keymux-dropped`: the answer means the same without it.
    Dropped,
    /// The request is refused: without it the answer would mean something else.
    Refused,
}

macro_rules! features {
    ($($(#[$about:meta])* $name:ident = $shown:literal,)*) => {
        /// Something that a request can ask for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[expect(missing_docs, reason = "each has its words in the table")]
        pub enum Feature { $($(#[$about])* $name,)* }

        /// In the order of the table.
        const ALL: &[(Feature, &str)] = &[$((Feature::$name, $shown),)*];
    };
}

features! {
    // Blocks.
    LateSystem = "system text in mid-conversation",
    SpeakerName = "speakers' names",
    Prefill = "the answer's beginning (a last turn of the model's)",
    ImageBytes = "images in base64",
    ImageUrl = "images by URL",
    ImageDetail = "image detail",
    DocumentBytes = "PDF documents in base64",
    DocumentUrl = "documents by URL",
    DocumentText = "plain-text documents",
    Audio = "audio",
    Video = "video",
    FileId = "files by a provider's id",
    Thoughts = "earlier thoughts",
    Seals = "signatures of other providers' thoughts",
    ForeignBlock = "blocks of server tools",
    CacheMark = "prompt-cache marks",
    CitationsWanted = "documents to be cited",
    // Tools.
    Tools = "tools",
    StrictTools = "strict tools",
    ServerTool = "server tools",
    ChoiceAny = "tool choice: any",
    ChoiceTool = "tool choice: one by name",
    ChoiceNone = "tool choice: none",
    ChoiceAnyOf = "tool choice: any of some",
    OneCall = "no parallel calls",
    OutcomeError = "failed tool results",
    OutcomeMedia = "images in tool results",
    // The answer.
    MaxTokens = "max tokens",
    StopSequences = "stop sequences",
    Json = "JSON answers",
    Schema = "JSON answers by schema",
    Candidates = "several answers",
    Logprobs = "log probabilities",
    Verbosity = "verbosity",
    AudioOut = "audio in the answer",
    ImageOut = "images in the answer",
    // Sampling.
    Temperature = "temperature",
    TopP = "top p",
    TopK = "top k",
    FrequencyPenalty = "frequency penalty",
    PresencePenalty = "presence penalty",
    Seed = "seed",
    LogitBias = "logit bias",
    // Thinking.
    Effort = "reasoning effort",
    Budget = "thinking budget",
    // About the request.
    User = "end user",
    Metadata = "metadata",
    Tier = "service tier",
    CacheKey = "prompt cache key",
    CacheRetention = "prompt cache retention",
    SafetySettings = "safety settings",
    Guardrail = "guardrails",
    CachedContent = "cached content by id",
    Store = "to store the answer",
    StoredConversation = "a stored conversation",
    PromptTemplate = "a stored prompt",
    Background = "answering in the background",
    Truncation = "truncation",
    Include = "more in the answer (`include`)",
    WebSearch = "web search",
    Prediction = "predicted output",
    Container = "a container or remote tools",
    ContextEdits = "context management",
    ProviderFields = "fields of one provider's own",
}

impl Feature {
    /// All there are, in the order of the table.
    pub fn all() -> impl Iterator<Item = Feature> {
        ALL.iter().map(|row| row.0)
    }

    /// In words.
    pub fn name(self) -> &'static str {
        ALL[self as usize].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_stands_at_its_features_place() {
        for (place, feature) in Feature::all().enumerate() {
            assert_eq!(feature as usize, place);
        }
    }
}
