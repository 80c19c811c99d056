//! Requests that ask for one thing each: every feature, as a caller's request reads.

use serde_json::{Number, Value, json};

use keymux::wire::api::Format;
use keymux::wire::feature::Feature;
use keymux::wire::ir::{
    Block, Cache, Choice, Content, Effort, Form, Logprobs, Media, MediaKind, Request, Role,
    Signature, Source, Thinking, Tier, Tool, ToolResult, Turn,
};

/// A question, and nothing else.
pub(crate) fn plain(model: &str) -> Request {
    let turns = vec![turn(Role::User, Content::text("one"), "/m/0")];
    Request { model: model.to_owned(), turns, ..Request::default() }
}

/// A question that asks for this as well. `provider`: who is asked; what is another provider's own is of
/// another format than that.
pub(crate) fn asking(feature: Feature, provider: Format, model: &str) -> Request {
    let mut request = plain(model);
    if !(of_turns(feature, provider, &mut request)
        || of_tools(feature, provider, &mut request)
        || of_settings(feature, &mut request))
    {
        request.asked.push((feature, "/asked".to_owned()));
    }
    request
}

/// Whether a request has a member of its own for it.
pub(crate) fn has_member(feature: Feature) -> bool {
    asking(feature, Format::OpenAiChat, "m").asked.is_empty()
}

fn turn(role: Role, content: Content, at: &str) -> Turn {
    Turn { role, name: None, blocks: vec![Block::new(content, at)] }
}

fn media(kind: MediaKind, source: Source) -> Content {
    Content::Media(Media { kind, source, name: None, detail: None })
}

fn base64(media_type: &str) -> Source {
    Source::Base64 { media_type: media_type.to_owned(), data: "b25l".to_owned() }
}

fn url(name: &str) -> Source {
    Source::Url { url: format!("https://example.com/{name}"), media_type: None }
}

/// A format that is not this one.
fn other(format: Format) -> Format {
    if format == Format::Anthropic { Format::OpenAiResponses } else { Format::Anthropic }
}

fn of_turns(feature: Feature, provider: Format, request: &mut Request) -> bool {
    let user = |content| turn(Role::User, content, "/m/1");
    let mut with = |content| {
        request.turns[0].blocks.push(Block::new(content, "/m/0/1"));
        true
    };
    match feature {
        Feature::ImageBytes => return with(media(MediaKind::Image, base64("image/png"))),
        Feature::ImageUrl => return with(media(MediaKind::Image, url("a.png"))),
        Feature::ImageDetail => {
            let (source, detail) = (base64("image/png"), Some("low".to_owned()));
            let kind = MediaKind::Image;
            return with(Content::Media(Media { kind, source, name: None, detail }));
        }
        Feature::DocumentBytes => {
            return with(media(MediaKind::Document, base64("application/pdf")));
        }
        Feature::DocumentUrl => return with(media(MediaKind::Document, url("a.pdf"))),
        Feature::DocumentText => {
            return with(media(MediaKind::Document, Source::Text("two".to_owned())));
        }
        Feature::Audio => return with(media(MediaKind::Audio, base64("audio/wav"))),
        Feature::Video => return with(media(MediaKind::Video, base64("video/mp4"))),
        Feature::FileId => {
            // An id of another provider's means nothing to one that keeps none by id.
            let format = if provider == Format::Gemini { other(provider) } else { provider };
            let source = Source::File { format, id: "file-1".to_owned() };
            return with(media(MediaKind::Document, source));
        }
        _ => {}
    }
    match feature {
        Feature::SystemTurn => {
            let system = turn(Role::System, Content::text("two"), "/m/1");
            request.turns.extend([system, user(Content::text("three"))]);
        }
        Feature::ParticipantName => request.turns[0].name = Some("anna".to_owned()),
        Feature::Prefill => request.turns.push(turn(Role::Assistant, Content::text("two"), "/m/1")),
        Feature::Reasoning | Feature::ForeignSignatures => {
            let mut thought =
                turn(Role::Assistant, Content::Reasoning { text: "two".to_owned() }, "/m/1");
            let format =
                if feature == Feature::ForeignSignatures { other(provider) } else { provider };
            let data = "c2VhbA==".to_owned();
            // Cohere signs none.
            if feature == Feature::ForeignSignatures || provider != Format::Cohere {
                thought.blocks[0].signature =
                    Some(Signature { format, data, id: Some("rs_1".to_owned()) });
            }
            thought.blocks.push(Block::new(Content::text("three"), "/m/1/1"));
            request.turns.extend([thought, turn(Role::User, Content::text("four"), "/m/2")]);
        }
        Feature::ServerToolBlock => {
            let json =
                json!({ "type": "server_tool_use", "id": "s1", "name": "web_search", "input": {} });
            let foreign = Content::Foreign { format: other(provider), json };
            let next = turn(Role::User, Content::text("two"), "/m/2");
            request.turns.extend([turn(Role::Assistant, foreign, "/m/1"), next]);
        }
        Feature::CachePoint => request.turns[0].blocks[0].cache = Some(Cache::default()),
        Feature::ToolResultError | Feature::ToolResultMedia => outcome(feature, request),
        _ => return false,
    }
    true
}

fn outcome(feature: Feature, request: &mut Request) {
    request.tools = vec![function("f", None)];
    let call = Content::ToolCall {
        id: Some("call_1".to_owned()),
        name: "f".to_owned(),
        arguments: "{}".to_owned(),
    };
    let mut content = vec![Block::new(Content::text("two"), "/m/2/0")];
    if feature == Feature::ToolResultMedia {
        let image = media(MediaKind::Image, base64("image/png"));
        content.push(Block::new(image, "/m/2/1"));
    }
    let is_error = feature == Feature::ToolResultError;
    let name = Some("f".to_owned());
    let outcome =
        Content::ToolResult(ToolResult { id: "call_1".to_owned(), name, content, is_error });
    request.turns.extend([turn(Role::Assistant, call, "/m/1"), turn(Role::User, outcome, "/m/2")]);
}

fn function(name: &str, strict: Option<bool>) -> Tool {
    Tool::Function {
        name: name.to_owned(),
        description: Some("does".to_owned()),
        parameters: Some(schema()),
        strict,
        cache: None,
        at: "/tools/0".to_owned(),
    }
}

fn schema() -> Value {
    json!({
        "type": "object",
        "properties": { "a": { "type": "string" } },
        "required": ["a"],
        "additionalProperties": false,
    })
}

fn of_tools(feature: Feature, provider: Format, request: &mut Request) -> bool {
    let strict = (feature == Feature::StrictTools).then_some(true);
    request.tools = vec![function("f", strict), function("g", strict)];
    match feature {
        Feature::Tools | Feature::StrictTools => {}
        Feature::ServerTool => {
            let json = json!({ "type": "web_search_20250305", "name": "web_search" });
            let at = "/tools/0".to_owned();
            request.tools = vec![Tool::Foreign { format: other(provider), json, at }];
        }
        Feature::ToolChoiceAny => request.choice = Some(Choice::Any),
        Feature::ToolChoiceNamed => request.choice = Some(Choice::Tool("f".to_owned())),
        Feature::ToolChoiceNone => request.choice = Some(Choice::None),
        Feature::ToolChoiceAnyOf => request.choice = Some(Choice::AnyOf(vec!["g".to_owned()])),
        Feature::SingleToolCall => request.parallel = Some(false),
        _ => {
            request.tools.clear();
            return false;
        }
    }
    true
}

fn of_settings(feature: Feature, request: &mut Request) -> bool {
    let half = || Number::from_f64(0.5);
    match feature {
        Feature::MaxTokens => request.max_tokens = Some(77),
        Feature::StopSequences => request.stop = vec!["END".to_owned()],
        Feature::JsonObject => request.form = Some(Form::Json),
        Feature::JsonSchema => {
            let name = Some("answer".to_owned());
            let (description, strict) = (None, Some(true));
            request.form = Some(Form::Schema { name, description, schema: schema(), strict });
        }
        Feature::Candidates => request.candidates = Some(2),
        Feature::Logprobs => request.logprobs = Some(Logprobs { top: None }),
        Feature::Temperature => request.sampling.temperature = half(),
        Feature::TopP => request.sampling.top_p = half(),
        Feature::TopK => request.sampling.top_k = Some(Number::from(5)),
        Feature::FrequencyPenalty => request.sampling.frequency_penalty = half(),
        Feature::PresencePenalty => request.sampling.presence_penalty = half(),
        Feature::Seed => request.sampling.seed = Some(Number::from(5)),
        Feature::ReasoningEffort => {
            let effort = Some(Effort::Low);
            request.thinking = Some(Thinking { effort, budget: None, shown: None });
        }
        Feature::ReasoningBudget => {
            let budget = Some(2048);
            request.thinking = Some(Thinking { effort: None, budget, shown: None });
        }
        Feature::EndUser => request.user = Some("u1".to_owned()),
        Feature::Metadata => {
            request.metadata = json!({ "a": "b" }).as_object().cloned();
        }
        Feature::ServiceTier => request.tier = Some(Tier::Standard),
        Feature::PromptCacheKey => request.cache_key = Some("k1".to_owned()),
        _ => return false,
    }
    true
}
