//! The examples in TOML and shell, and the settings and variables that the pages name.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use keymux::config::{Environment, LoadOptions, Loaded, load, schema};
use serde_json::Value as Json;

use crate::common::keymux::run;
use crate::page::{blocks, code, for_users, read, without_blocks};

/// An environment that has every variable and every file. Certificates and their keys are real.
struct Everything {
    text: String,
    certificate: (String, String),
}

impl Environment for Everything {
    fn variable(&self, name: &str) -> Option<OsString> {
        Some(format!("sk-of-{name}").into())
    }

    fn keymux_variables(&self) -> Vec<(String, String)> {
        Vec::new()
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let text = match path.extension().and_then(|extension| extension.to_str()) {
            Some("toml") => self.text.clone(),
            Some("crt" | "pem") => self.certificate.0.clone(),
            Some("key") => self.certificate.1.clone(),
            _ => format!("sk-in-{}\n", path.display()),
        };
        Ok(text.into())
    }

    fn list(&self, _: &Path) -> io::Result<Vec<PathBuf>> {
        Ok(Vec::new())
    }
}

pub(crate) fn load_text(text: &str, overrides: &[(String, String)]) -> Loaded {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = (own.cert.pem(), own.signing_key.serialize_pem());
    let options = LoadOptions { file: "keymux.toml".into(), overrides: overrides.to_vec() };
    load(&options, &Everything { text: text.to_owned(), certificate })
}

#[test]
fn every_configuration_loads() {
    let mut seen = 0;
    for page in for_users() {
        for text in blocks(&page, "toml") {
            // A fragment that is not about providers has none.
            let more = if text.contains("[providers") { "" } else { "\n[providers.echo]\n" };
            let problems = load_text(&format!("{text}{more}"), &[]).problems;
            assert_eq!(problems, [], "{page}:\n{text}");
            seen += 1;
        }
    }
    assert!(seen >= 12, "{seen}");
}

#[test]
fn the_steps_of_the_first_page_load_together() {
    let blocks = blocks("README.md", "toml");
    let steps: Vec<_> = blocks.iter().filter(|block| block.contains("providers.openai")).collect();
    let (first, second) = (steps[0], steps[1]);
    assert_eq!(load_text(&format!("{first}{second}"), &[]).problems, []);
}

#[test]
fn the_settings_that_are_named_exist() {
    let schema: Json = serde_json::from_str(&schema::json_schema()).unwrap();
    let is_known = |section: &str, name: &str| {
        let section = &schema["properties"][section];
        let reference = section["$ref"].as_str().unwrap().trim_start_matches('#');
        schema.pointer(reference).unwrap()["properties"].get(name).is_some()
    };
    let mut seen = 0;
    for page in for_users() {
        let text = without_blocks(&read(&page));
        for token in code(&text) {
            let Some((section, rest)) = token.split_once('.') else { continue };
            let name = rest.split([' ', '.', '=']).next().unwrap();
            if ["server", "admin", "reload", "retry"].contains(&section) {
                assert!(is_known(section, name), "{page}: {token}");
                seen += 1;
            }
        }
    }
    assert!(seen >= 20, "{seen}");
}

#[test]
fn the_override_by_flag_and_by_variable_is_one_setting() {
    let text = read("docs/configuration.md");
    let flag = code(&text).into_iter().find_map(|token| token.strip_prefix("--set ")).unwrap();
    let (setting, value) = flag.split_once('=').unwrap();
    let loaded = load_text("[providers.echo]\n", &[(setting.to_owned(), value.to_owned())]);
    let effective = loaded.config.unwrap().effective;
    let set = effective.iter().find(|known| known.path == setting).unwrap();
    assert_eq!(set.value, Json::from(value));
    let variable = format!("KEYMUX_{}", setting.to_uppercase().replace('.', "__"));
    assert!(code(&text).contains(&&*variable), "{variable}");
}

#[test]
fn every_command_line_is_one_of_the_program() {
    let mut seen = 0;
    for page in for_users() {
        for line in blocks(&page, "sh").concat().lines() {
            let Some(rest) = line.trim_start().strip_prefix("keymux ") else { continue };
            let rest = rest.split(['#', '|', '>', '&']).next().unwrap();
            let command = rest.split(' ').next().unwrap();
            let help = run(Path::new("."), &[command, "--help"], &[]);
            assert!(help.status.success(), "{page}: {line}");
            let help = String::from_utf8(help.stdout).unwrap();
            for flag in rest.split(' ').filter(|word| word.starts_with("--")) {
                assert!(help.contains(flag), "{page}: {line}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 5, "{seen}");
}

#[test]
fn the_manifest_fits_the_image_and_its_configuration_loads() {
    let manifest = blocks("docs/install.md", "yaml").concat();
    assert!(read("Dockerfile").contains("USER 65532:65532") && manifest.contains("65532"));
    for path in ["/livez", "/readyz"] {
        assert!(manifest.contains(&format!("path: {path}")), "{path}");
    }
    let (_, configuration) = manifest.split_once("keymux.toml: |\n").unwrap();
    let (configuration, _) = configuration.split_once("\n---").unwrap();
    assert_eq!(load_text(&configuration.replace("\n    ", "\n"), &[]).problems, []);
}
