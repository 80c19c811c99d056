//! The feature that a piece of media is, and its type.

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

/// Writes the media type in lower case and by its registered name: providers refuse `image/jpg`.
pub(crate) fn normalize_type(media: &mut Media) {
    if let Source::Base64 { media_type, .. } | Source::Url { media_type: Some(media_type), .. } =
        &mut media.source
    {
        media_type.make_ascii_lowercase();
        if media_type == "image/jpg" {
            "image/jpeg".clone_into(media_type);
        }
    }
}
