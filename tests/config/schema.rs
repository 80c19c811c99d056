//! `keymux.schema.json` matches the types.

use std::path::Path;
use std::{env, fs};

#[test]
fn the_schema_file_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("keymux.schema.json");
    let text = keymux::config::schema::json_schema();
    if env::var_os("KEYMUX_BLESS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let stored = fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == text, "stale: run `cargo run -- schema > keymux.schema.json`");
}

#[test]
fn every_setting_has_a_description() {
    fn check_descriptions(schema: &serde_json::Value, at: &str) {
        let Some(map) = schema.as_object() else { return };
        for (name, property) in
            map.get("properties").and_then(|all| all.as_object()).into_iter().flatten()
        {
            assert!(property.get("description").is_some(), "{at}/{name} has no description");
        }
        for (name, part) in map {
            check_descriptions(part, &format!("{at}/{name}"));
        }
    }
    let schema: serde_json::Value =
        serde_json::from_str(&keymux::config::schema::json_schema()).unwrap();
    check_descriptions(&schema, "");
}
