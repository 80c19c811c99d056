//! `keymux schema`: the JSON Schema of the file, for editors.

use crate::config::schema;

/// The schema's text.
pub(super) fn schema() -> String {
    schema::json_schema()
}
