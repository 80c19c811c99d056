//! Which feature of the matrix a piece of media is.

use crate::wire::feature::Feature;
use crate::wire::ir::{Media, MediaKind, Source};

/// Returns the feature that a target must support to take this piece of media.
pub(crate) fn feature(media: &Media) -> Feature {
    match (&media.source, media.kind) {
        (_, MediaKind::Audio) => Feature::Audio,
        (_, MediaKind::Video) => Feature::Video,
        (Source::File { .. }, _) => Feature::FileId,
        (Source::Text(_), _) => Feature::DocumentText,
        (Source::Url { .. }, MediaKind::Image) => Feature::ImageUrl,
        (Source::Url { .. }, MediaKind::Document) => Feature::DocumentUrl,
        (Source::Base64 { .. }, MediaKind::Image) => Feature::ImageBytes,
        (Source::Base64 { .. }, MediaKind::Document) => Feature::DocumentBytes,
    }
}
