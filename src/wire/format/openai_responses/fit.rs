//! What the Responses API and its models refuse.

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::call_ids::{self, IdRule};
use crate::wire::fit::{Fitting, effort, openai, roles, signatures, tool_names};
use crate::wire::ir::{
    Block, Content, Media, MediaKind, Request, Role, Source, Tier, Tool, ToolResult,
};
use crate::wire::json::fields::Rejected;

/// The least that the API accepts for `max_output_tokens`.
const MIN_TOKENS: u64 = 16;

/// `call_id` of a function's output (`FunctionCallOutputItemParam` of the specification).
const CALL_IDS: IdRule = IdRule { max_len: 64, accepts: |_| true };

/// Names of functions:
/// <https://platform.openai.com/docs/api-reference/responses/create#responses-create-tools>
const MAX_NAME_LEN: usize = 128;
const NAME_BYTES: &[u8] = b"_-";

/// Metadata: the most members, and the most characters of a name and of a value.
/// <https://platform.openai.com/docs/api-reference/responses/create#responses-create-metadata>
const MAX_METADATA: (usize, usize, usize) = (16, 64, 512);

/// Fits a request to the API and to its model.
///
/// # Errors
///
/// When the request contains what the API does not support and what may not be left out.
pub(crate) fn fit(request: &mut Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    if let Some(Block { content: Content::Text { .. }, at, .. }) = roles::prefill(request) {
        fitting.keep(Feature::Prefill, at)?;
    }
    tool_names::check(request, MAX_NAME_LEN, NAME_BYTES)?;
    fit_tools(request, fitting)?;
    signatures::remove_unsigned_reasoning(request, fitting);
    fit_blocks(&mut request.system, fitting)?;
    for turn in &mut request.turns {
        if turn.name.take().is_some() {
            fitting.keep(Feature::ParticipantName, "")?;
        }
        if turn.role == Role::System {
            fitting.keep(Feature::SystemTurn, turn.blocks.first().map_or("", |block| &block.at))?;
        }
        fit_blocks(&mut turn.blocks, fitting)?;
    }
    call_ids::rewrite(request, CALL_IDS);
    openai::fit(request, fitting);
    if let Some(thinking) = &mut request.thinking {
        thinking.effort = effort::requested(thinking);
    }
    if request.max_tokens.is_some_and(|tokens| tokens < MIN_TOKENS) {
        fitting.omit(Feature::MaxTokens, "");
        request.max_tokens = Some(MIN_TOKENS);
    }
    if !has_valid_metadata(request) {
        fitting.omit_set(Feature::Metadata, &mut request.metadata);
    }
    if matches!(&request.tier, Some(Tier::Other(word)) if word != "scale") {
        fitting.omit_set(Feature::ServiceTier, &mut request.tier);
    }
    Ok(())
}

fn fit_tools(request: &mut Request, fitting: &mut Fitting) -> Result<(), Rejected> {
    for tool in &mut request.tools {
        match tool {
            Tool::Function { cache, .. } => {
                if cache.take().is_some() {
                    fitting.keep(Feature::CachePoint, "")?;
                }
            }
            Tool::Foreign { format: Format::OpenAiResponses, .. } => {}
            Tool::Foreign { at, .. } => return Err(fitting.refuse(Feature::ServerTool, at)),
        }
    }
    // The API refuses both without tools.
    if request.tools.is_empty() {
        request.choice = None;
        request.parallel = None;
    }
    Ok(())
}

fn fit_blocks(blocks: &mut [Block], fitting: &mut Fitting) -> Result<(), Rejected> {
    for Block { content, cache, at, .. } in blocks {
        if cache.take().is_some() {
            fitting.keep(Feature::CachePoint, "")?;
        }
        match content {
            Content::Text { .. }
            | Content::Refusal(_)
            | Content::Reasoning { .. }
            | Content::Foreign { format: Format::OpenAiResponses, .. } => {}
            Content::Media(media) => check_media(media, at, fitting)?,
            Content::ToolCall { name, arguments, .. } => {
                tool_names::check_name(name, at, MAX_NAME_LEN, NAME_BYTES)?;
                if arguments.is_empty() {
                    "{}".clone_into(arguments);
                }
            }
            Content::ToolResult(result) => fit_result(result, fitting)?,
            Content::Foreign { .. } => return Err(fitting.refuse(Feature::ServerToolBlock, at)),
        }
    }
    Ok(())
}

fn fit_result(result: &mut ToolResult, fitting: &mut Fitting) -> Result<(), Rejected> {
    if result.is_error {
        fitting.keep(Feature::ToolResultError, "")?;
    }
    for Block { content, at, .. } in &result.content {
        match content {
            Content::Text { .. } => {}
            Content::Media(media) => {
                fitting.keep(Feature::ToolResultMedia, at)?;
                check_media(media, at, fitting)?;
            }
            _ => return Err(fitting.refuse(Feature::ServerToolBlock, at)),
        }
    }
    Ok(())
}

fn check_media(media: &Media, at: &str, fitting: &Fitting) -> Result<(), Rejected> {
    let unsupported = match (media.kind, &media.source) {
        (MediaKind::Audio, _) => Feature::Audio,
        (MediaKind::Video, _) => Feature::Video,
        (MediaKind::Image, Source::Text(_)) => Feature::DocumentText,
        // The API fetches from the web, and not from the stores of other clouds.
        (kind, Source::Url { url, .. })
            if !url.starts_with("https:") && !url.starts_with("http:") =>
        {
            if kind == MediaKind::Image { Feature::ImageUrl } else { Feature::DocumentUrl }
        }
        // OpenAI's files are the same in both of its formats.
        (_, Source::File { format, .. })
            if !matches!(format, Format::OpenAiResponses | Format::OpenAiChat) =>
        {
            Feature::FileId
        }
        _ => return Ok(()),
    };
    Err(fitting.refuse(unsupported, at))
}

fn has_valid_metadata(request: &Request) -> bool {
    let (max_members, max_name, max_value) = MAX_METADATA;
    request.metadata.as_ref().is_none_or(|metadata| {
        metadata.len() <= max_members
            && metadata.iter().all(|(name, value)| {
                name.chars().count() <= max_name
                    && value.as_str().is_some_and(|value| value.chars().count() <= max_value)
            })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::wire::ir::{Choice, Effort, Signature, Thinking, Turn};

    fn fitted(request: &Request) -> Result<(Request, Vec<String>), Rejected> {
        let mut fitting = Fitting::new(Format::OpenAiResponses, Format::OpenAiResponses);
        let mut request = request.clone();
        fit(&mut request, &mut fitting)?;
        Ok((request, fitting.finish().0))
    }

    fn refused(request: &Request) -> String {
        fitted(request).unwrap_err().to_string()
    }

    fn turn(role: Role, contents: Vec<Content>) -> Turn {
        let blocks = contents.into_iter().map(|content| Block::new(content, "/x")).collect();
        Turn { role, name: None, blocks }
    }

    fn function(name: &str) -> Tool {
        Tool::Function {
            name: name.to_owned(),
            description: None,
            parameters: None,
            strict: None,
            cache: None,
            at: "/tools/0".to_owned(),
        }
    }

    #[test]
    fn a_budget_becomes_an_effort() {
        let effort = |budget| {
            let thinking = Thinking { effort: None, budget: Some(budget), shown: Some(true) };
            let request = Request { thinking: Some(thinking), ..Request::default() };
            fitted(&request).unwrap().0.thinking.unwrap().effort
        };
        assert_eq!(effort(0), Some(Effort::None));
        assert_eq!(effort(1024), Some(Effort::Low));
        assert_eq!(effort(2000), Some(Effort::Medium));
        assert_eq!(effort(32_000), Some(Effort::High));
    }

    #[test]
    fn reasoning_settings_are_left_out_for_models_without_reasoning() {
        let thinking = Thinking { effort: Some(Effort::High), budget: None, shown: None };
        let model = "gpt-4o".to_owned();
        let request = Request { model, thinking: Some(thinking), ..Request::default() };
        let (request, dropped) = fitted(&request).unwrap();
        assert_eq!((request.thinking, dropped), (None, vec!["/reasoning/effort".to_owned()]));
    }

    #[test]
    fn only_reasoning_with_a_signature_of_this_format_remains() {
        let reasoning = |format| {
            let mut block = Block::new(Content::Reasoning { text: "Hm".to_owned() }, "/x");
            block.signature = Some(Signature { format, data: "S".to_owned(), id: None });
            block
        };
        let blocks = vec![reasoning(Format::OpenAiResponses), reasoning(Format::Anthropic)];
        let turns = vec![Turn { role: Role::Assistant, name: None, blocks }];
        let (request, dropped) = fitted(&Request { turns, ..Request::default() }).unwrap();
        assert_eq!(request.turns[0].blocks, [reasoning(Format::OpenAiResponses)]);
        assert_eq!(dropped, ["/x"]);
    }

    #[test]
    fn names_of_functions_are_checked_in_tools_and_in_calls() {
        let tools = Request { tools: vec![function("a.b")], ..Request::default() };
        assert!(refused(&tools).starts_with("`/tools/0` must have a name of 1 to 128 letters"));
        let (name, arguments) = ("a.b".to_owned(), String::new());
        let call = Content::ToolCall { id: None, name, arguments };
        let turns = vec![turn(Role::Assistant, vec![call])];
        assert!(
            refused(&Request { turns, ..Request::default() }).starts_with("`/x` must have a name")
        );
    }

    #[test]
    fn a_choice_without_tools_is_left_out() {
        let request =
            Request { choice: Some(Choice::Auto), parallel: Some(true), ..Request::default() };
        let (request, dropped) = fitted(&request).unwrap();
        assert_eq!((request.choice, request.parallel, dropped), (None, None, Vec::new()));
    }

    #[test]
    fn media_that_the_api_cannot_read_are_refused() {
        let refused = |kind, source| {
            let content = Content::Media(Media { kind, source, name: None, detail: None });
            let turns = vec![turn(Role::User, vec![content])];
            refused(&Request { turns, ..Request::default() })
        };
        let url = || Source::Url { url: "s3://a/b".to_owned(), media_type: None };
        assert!(refused(MediaKind::Image, url()).contains("images by URL"));
        assert!(refused(MediaKind::Document, url()).contains("documents by URL"));
        assert!(refused(MediaKind::Audio, url()).contains("audio"));
        let file = Source::File { format: Format::Anthropic, id: "f".to_owned() };
        assert!(refused(MediaKind::Document, file).contains("files by provider file id"));
    }

    #[test]
    fn prefill_is_refused_and_limits_of_the_api_hold() {
        let prefill = Request {
            turns: vec![turn(Role::Assistant, vec![Content::text("{")])],
            ..Request::default()
        };
        assert!(refused(&prefill).starts_with("`/x` "));
        let metadata: Map<String, Value> = [("a".to_owned(), json!(1))].into_iter().collect();
        let request = Request {
            max_tokens: Some(1),
            user: Some("u".repeat(65)),
            metadata: Some(metadata),
            tier: Some(Tier::Other("batch".to_owned())),
            ..Request::default()
        };
        let (request, dropped) = fitted(&request).unwrap();
        assert_eq!((request.max_tokens, request.user), (Some(16), None));
        assert_eq!((request.metadata, request.tier), (None, None));
        let places = ["/safety_identifier", "/max_output_tokens", "/metadata", "/service_tier"];
        assert_eq!(dropped, places);
    }
}
