//! Error messages and exit codes if the gateway cannot start.

#![allow(clippy::unwrap_used, clippy::panic, reason = "so a test fails")]

mod common;

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use common::keymux::{free_ports, run};

/// Exit code, standard output, standard error.
fn run_in(folder: &Path, arguments: &[&str], env: &[(&str, &str)]) -> (i32, String, String) {
    let output = run(folder, arguments, env);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

fn folder(config: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("keymux.toml"), config).unwrap();
    folder
}

/// Returns a configuration whose first listener has a port that is in use.
fn port_in_use() -> (TcpListener, u16, tempfile::TempDir) {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = held.local_addr().unwrap().port();
    let [admin, _] = free_ports();
    let text = format!(
        "[server]\nlisten = \"127.0.0.1:{port}\"\n[admin]\nlisten = \"127.0.0.1:{admin}\"\n[providers.echo]\n"
    );
    (held, port, folder(&text))
}

#[test]
fn without_a_file_the_tried_paths_are_reported() {
    if Path::new("/etc/keymux/keymux.toml").exists() {
        println!("skipped: this machine has a configuration in /etc");
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let expected = "error: the file cannot be read: there is no such file\n\
        --> keymux.toml\n |\n = help: /etc/keymux/keymux.toml does not exist either; set the file with --config, \
        or create one that contains [providers.echo]\n\n1 error\n";
    for arguments in [&["run"][..], &[]] {
        let (code, out, err) = run_in(empty.path(), arguments, &[]);
        assert_eq!((code, &*out, &*err), (78, "", expected));
    }
    let (code, out, err) = run_in(empty.path(), &["check"], &[]);
    assert_eq!((code, &*out, &*err), (1, expected, ""));
    let (code, out, err) = run_in(empty.path(), &["keys"], &[]);
    assert_eq!((code, &*out, &*err), (1, "", expected));

    let (code, _, err) = run_in(empty.path(), &["run", "--config", "other.toml"], &[]);
    assert_eq!(code, 78);
    assert!(err.contains("--> other.toml\n") && !err.contains("/etc/keymux"), "{err}");
}

#[test]
fn the_proposed_minimal_file_is_valid() {
    let folder = folder("[providers.echo]\n");
    let (code, out, err) = run_in(folder.path(), &["check"], &[]);
    assert_eq!((code, &*out, &*err), (0, "keymux.toml: ok\n", ""));
}

#[test]
fn an_invalid_file_ends_with_78_and_problems_on_stderr() {
    let folder = folder("[providers.opnai]\n\n[[providers.groq.keys]]\nname = \"a\"\n");
    let (_, expected, _) = run_in(folder.path(), &["check"], &[]);
    let (code, out, err) = run_in(folder.path(), &["run"], &[]);
    assert_eq!((code, &*out, &*err), (78, "", &*expected));
    assert!(err.contains("did you mean [providers.openai]?") && err.ends_with("\n2 errors\n"));
}

#[test]
fn a_port_in_use_is_reported_with_its_setting() {
    let (_held, port, folder) = port_in_use();
    let (code, out, err) = run_in(folder.path(), &["run"], &[]);
    let expected = format!(
        "keymux: cannot listen on 127.0.0.1:{port} (server.listen): the address is in use, perhaps by another keymux\n"
    );
    assert_eq!((code, &*out, &*err), (1, "", &*expected));
}

#[test]
fn a_socket_in_a_missing_directory_is_reported() {
    let folder = folder("[server]\nlisten = \"unix:/nonexistent/keymux.sock\"\n[providers.echo]\n");
    let (code, _, err) = run_in(folder.path(), &["run"], &[]);
    let expected = "keymux: cannot listen on unix:/nonexistent/keymux.sock (server.listen): there is no such directory\n";
    assert_eq!((code, &*err), (1, expected));
}

#[test]
fn an_invalid_log_filter_is_reported_with_its_variable() {
    let folder = folder("[providers.echo]\n");
    for name in ["KEYMUX_LOG", "RUST_LOG"] {
        let (code, _, err) = run_in(folder.path(), &["run"], &[(name, "info,,,=x")]);
        assert_eq!(code, 78);
        assert!(err.starts_with(&format!("keymux: {name}: invalid log filter: ")), "{err}");
    }
}

#[test]
fn a_health_check_reports_the_address_without_response() {
    let (_held, _, folder) = port_in_use();
    let (code, out, err) = run_in(folder.path(), &["healthcheck"], &[]);
    assert_eq!((code, &*out), (1, ""));
    assert!(err.contains("no response from 127.0.0.1:") && err.contains("(admin.listen)"), "{err}");
}

#[test]
fn warnings_are_logged_at_the_start() {
    let (_held, _, folder) = port_in_use();
    let file = folder.path().join("keymux.toml");
    let text = fs::read_to_string(&file).unwrap() + "base_url = \"https://llm.internal/v1\"\n";
    fs::write(&file, text).unwrap();
    let (_, out, _) = run_in(folder.path(), &["run"], &[]);
    assert!(out.contains("WARN") && out.contains("`base_url` has no effect"), "{out}");
}
