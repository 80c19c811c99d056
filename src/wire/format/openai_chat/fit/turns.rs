//! Fits the instructions and the turns.

use std::mem::take;

use crate::wire::api::Format;
use crate::wire::feature::Feature;
use crate::wire::fit::Fitting;
use crate::wire::fit::call_ids::{self, IdRule};
use crate::wire::format::openai_chat::media::audio_format;
use crate::wire::format::quirks::{CallIds, Documents, Quirks, ReasoningHistory};
use crate::wire::ir::{Block, Content, Media, MediaKind, Request, Role, Source, Turn};
use crate::wire::json::digest::Digest;
use crate::wire::json::fields::Rejected;

pub(super) fn fit(
    request: &mut Request,
    quirks: &Quirks,
    fitting: &mut Fitting,
) -> Result<(), Rejected> {
    fit_call_ids(request, quirks.call_ids);
    let mut fitter = Fitter { quirks, fitting };
    for block in &mut request.system {
        fitter.part(block)?;
    }
    for turn in &mut request.turns {
        if !quirks.participant_names {
            fitter.fitting.omit_set(Feature::ParticipantName, &mut turn.name);
        }
        let blocks = take(&mut turn.blocks);
        turn.blocks.reserve(blocks.len());
        for mut block in blocks {
            let stays = match turn.role {
                Role::Assistant => fitter.assistant_block(&mut block)?,
                Role::User => fitter.user_block(&mut block).map(|()| true)?,
                Role::System => fitter.part(&mut block).map(|()| true)?,
            };
            if stays {
                turn.blocks.push(block);
            }
        }
    }
    move_media_out_of_results(&mut request.turns);
    if let Some(last) = request.turns.last().filter(|turn| turn.role == Role::Assistant)
        && !quirks.prefix
    {
        let at = last.blocks.first().map_or("", |block| &block.at);
        fitting.keep(Feature::Prefill, at)?;
    }
    Ok(())
}

fn fit_call_ids(request: &mut Request, ids: CallIds) {
    let max_len = if ids == CallIds::AtMost40 { 40 } else { usize::MAX };
    call_ids::rewrite(request, IdRule { max_len, accepts: |_| true });
    if ids != CallIds::NineAlphanumerics {
        return;
    }
    for block in request.turns.iter_mut().flat_map(|turn| &mut turn.blocks) {
        match &mut block.content {
            Content::ToolCall { id: Some(id), .. } => *id = nine_alphanumerics(id),
            Content::ToolResult(result) => result.id = nine_alphanumerics(&result.id),
            _ => {}
        }
    }
}

/// Returns the id if it is of nine letters and digits, or else one that depends on it alone, so that a call and
/// its result keep the same.
fn nine_alphanumerics(id: &str) -> String {
    const LETTERS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    if id.len() == 9 && id.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return id.to_owned();
    }
    // Nine characters contain 53 bits of the digest, so two ids of one conversation do not collide.
    let mut rest = Digest::default().text(id.as_bytes()).finish();
    let mut letter = || {
        let letter = LETTERS[(rest % 62) as usize];
        rest /= 62;
        char::from(letter)
    };
    (0..9).map(|_| letter()).collect()
}

struct Fitter<'f> {
    quirks: &'f Quirks,
    fitting: &'f mut Fitting,
}

impl Fitter<'_> {
    fn user_block(&mut self, block: &mut Block) -> Result<(), Rejected> {
        let Content::ToolResult(result) = &mut block.content else { return self.part(block) };
        if take(&mut result.is_error) {
            self.fitting.keep(Feature::ToolResultError, "")?;
        }
        for part in &mut result.content {
            self.part(part)?;
            if matches!(part.content, Content::Media(_)) {
                self.fitting.keep(Feature::ToolResultMedia, &part.at)?;
            }
        }
        self.cache_point(block)
    }

    /// Fits a block that becomes a part of a message's content.
    fn part(&mut self, block: &mut Block) -> Result<(), Rejected> {
        self.cache_point(block)?;
        match &mut block.content {
            Content::Text { .. } => {}
            Content::Refusal(text)
            | Content::Reasoning { text }
            | Content::Media(Media { source: Source::Text(text), .. }) => {
                block.content = Content::text(take(text));
            }
            Content::Media(media) => {
                if let Some(feature) = unsupported(media, self.quirks) {
                    return Err(self.fitting.refuse(feature, &block.at));
                }
            }
            Content::ToolCall { .. } | Content::ToolResult(_) | Content::Foreign { .. } => {
                return Err(self.fitting.refuse(Feature::ServerToolBlock, &block.at));
            }
        }
        Ok(())
    }

    /// Returns false if the block is left out.
    fn assistant_block(&mut self, block: &mut Block) -> Result<bool, Rejected> {
        self.cache_point(block)?;
        match &mut block.content {
            Content::Text { text, .. } => return Ok(!text.is_empty()),
            Content::Reasoning { .. } => return self.reasoning(block),
            Content::Refusal(text) if !self.quirks.refusal => {
                block.content = Content::text(take(text));
            }
            Content::Refusal(_) | Content::Foreign { format: Format::OpenAiChat, .. } => {}
            Content::ToolCall { arguments, .. } => {
                if arguments.trim().is_empty() {
                    "{}".clone_into(arguments);
                }
                let takes_google = self.quirks.google_signatures;
                self.signature(block, takes_google.then_some(Format::Gemini))?;
            }
            Content::Foreign { .. } | Content::ToolResult(_) => {
                return Err(self.fitting.refuse(Feature::ServerToolBlock, &block.at));
            }
            // The format has media in answers, and not in the history.
            Content::Media(media) => {
                return Err(self.fitting.refuse(feature_of(media.kind), &block.at));
            }
        }
        Ok(true)
    }

    fn reasoning(&mut self, block: &mut Block) -> Result<bool, Rejected> {
        if self.quirks.reasoning == ReasoningHistory::Dropped {
            self.fitting.omit(Feature::Reasoning, &block.at);
            return Ok(false);
        }
        self.signature(block, Some(Format::OpenAiChat))?;
        let is_empty = matches!(&block.content, Content::Reasoning { text } if text.is_empty());
        Ok(!is_empty || block.signature.is_some())
    }

    /// Removes a signature that is not of the format that the vendor takes back.
    fn signature(&mut self, block: &mut Block, taken: Option<Format>) -> Result<(), Rejected> {
        if block.signature.as_ref().is_some_and(|signature| Some(signature.format) != taken) {
            block.signature = None;
            self.fitting.keep(Feature::ForeignSignatures, &block.at)?;
        }
        Ok(())
    }

    fn cache_point(&mut self, block: &mut Block) -> Result<(), Rejected> {
        if block.cache.take().is_some() {
            self.fitting.keep(Feature::CachePoint, &format!("{}/cache_control", block.at))?;
        }
        Ok(())
    }
}

/// Returns the feature that the media need and the vendor lacks.
fn unsupported(media: &Media, quirks: &Quirks) -> Option<Feature> {
    match (media.kind, &media.source) {
        (MediaKind::Image, Source::Url { url, .. }) => (!is_web(url)).then_some(Feature::ImageUrl),
        (MediaKind::Audio, Source::Base64 { media_type, .. }) => {
            audio_format(media_type).is_none().then_some(Feature::Audio)
        }
        (MediaKind::Document, Source::Base64 { .. }) => {
            (quirks.documents == Documents::Unsupported).then_some(Feature::DocumentBytes)
        }
        (MediaKind::Document, Source::Url { .. }) => {
            (quirks.documents != Documents::Urls).then_some(Feature::DocumentUrl)
        }
        // OpenAI keeps files for both of its APIs.
        (MediaKind::Image, Source::Base64 { .. })
        | (
            MediaKind::Document,
            Source::File { format: Format::OpenAiChat | Format::OpenAiResponses, .. },
        ) => None,
        (_, Source::File { .. }) => Some(Feature::FileId),
        (kind, _) => Some(feature_of(kind)),
    }
}

fn is_web(url: &str) -> bool {
    ["https:", "http:"].iter().any(|scheme| {
        url.get(..scheme.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
    })
}

fn feature_of(kind: MediaKind) -> Feature {
    match kind {
        MediaKind::Image => Feature::ImageOutput,
        MediaKind::Document => Feature::DocumentUrl,
        MediaKind::Audio => Feature::Audio,
        MediaKind::Video => Feature::Video,
    }
}

/// Puts the results of a turn first, because they must directly follow their calls, and moves their media after
/// them to the user's own parts, because a tool message holds text only.
fn move_media_out_of_results(turns: &mut [Turn]) {
    let mut media: Vec<Block> = Vec::new();
    for index in 0..turns.len() {
        let turn = &mut turns[index];
        if turn.role != Role::User {
            // No part of the user's came between.
            if let Some(before) = index.checked_sub(1) {
                turns[before].blocks.append(&mut media);
            }
            continue;
        }
        turn.blocks.sort_by_key(|block| !matches!(block.content, Content::ToolResult(_)));
        let mut results = 0;
        for block in &mut turn.blocks {
            let Content::ToolResult(result) = &mut block.content else { break };
            let is_media = |part: &mut Block| matches!(part.content, Content::Media(_));
            media.extend(result.content.extract_if(.., is_media));
            results += 1;
        }
        if results < turn.blocks.len() {
            turn.blocks.splice(results..results, media.drain(..));
        }
    }
    if let Some(last) = turns.last_mut() {
        last.blocks.append(&mut media);
    }
}
