//! Every file under `tests/fixtures/config/bad`, with the exact text that `check` prints for it.
//!
//! `KEYMUX_BLESS=1 cargo test --test config` rewrites the expectations; then review the changes.

use std::path::{Path, PathBuf};
use std::{env, fs};

use keymux::config::problem;

use crate::world::{World, fixtures};

/// A secret that many fixtures contain in unusual places. No output may contain six consecutive characters of
/// it.
const CANARY: &str = "sk-CANARY7f3a9b2c";

/// A fixture: its name, its directory, and the file in it.
struct Case {
    name: String,
    dir: PathBuf,
    file: String,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(fixtures("bad")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            cases.push(Case { name, dir: path, file: "keymux.toml".to_owned() });
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            let file = path.file_name().unwrap().to_str().unwrap().to_owned();
            cases.push(Case { name, dir: fixtures("bad"), file });
        }
    }
    cases.sort_by(|a, b| a.name.cmp(&b.name));
    cases
}

fn output(case: &Case) -> String {
    let loaded = World::new(&case.dir).load(&case.file);
    let text = problem::render(&loaded.problems, false);
    let end = problem::summary(&loaded.problems).unwrap_or_default();
    format!("{text}{end}\n")
}

#[test]
fn each_bad_file_gives_the_expected_problems() {
    let bless = env::var_os("KEYMUX_BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let expected: PathBuf = fixtures("bad").join(format!("{}.txt", case.name));
        let output = output(&case);
        if bless {
            fs::write(&expected, &output).unwrap();
        } else if fs::read_to_string(&expected).unwrap_or_default() != output {
            wrong.push(format!("{}:\n{output}", case.name));
        }
    }
    assert!(wrong.is_empty(), "{} differ from their .txt:\n\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn each_bad_file_has_a_problem() {
    let cases = cases();
    assert!(cases.len() >= 60, "only {}", cases.len());
    for case in &cases {
        let loaded = World::new(&case.dir).load(&case.file);
        assert!(!loaded.problems.is_empty(), "{}", case.name);
    }
}

#[test]
fn no_output_contains_six_characters_of_a_secret() {
    let mut seen = 0;
    for case in cases() {
        let Ok(text) = fs::read(case.dir.join(&case.file)) else { continue };
        seen += usize::from(String::from_utf8_lossy(&text).contains(CANARY));
        let loaded = World::new(&case.dir).load(&case.file);
        let plain = problem::render(&loaded.problems, false);
        let styled = problem::render(&loaded.problems, true);
        let json = serde_json::to_string(&loaded.problems).unwrap();
        let log: String = loaded.problems.iter().map(ToString::to_string).collect();
        let effective = loaded.config.map(|config| format!("{:?}", config.effective));
        for output in [plain, styled, json, log, effective.unwrap_or_default()] {
            for start in 0..=CANARY.len() - 6 {
                let part = &CANARY[start..start + 6];
                assert!(!output.contains(part), "{} shows {part}:\n{output}", case.name);
            }
        }
    }
    assert!(seen >= 20, "the secret stands in {seen} fixtures only");
}

#[test]
fn each_expectation_has_its_file() {
    let names: Vec<String> = cases().into_iter().map(|case| case.name).collect();
    for entry in fs::read_dir(fixtures("bad")).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "txt") {
            let name = Path::new(&path).file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(names.contains(&name), "{name}.txt");
        }
    }
}
