//! Valid files, and the configurations that they give.

use std::time::Duration;

use keymux::config::{Config, Listen, ResolvedModel, ServerAuth, WatchMode};
use keymux::provider::Kind;

use crate::world::{World, fixtures};

fn load(file: &str) -> Config {
    let loaded = World::new(&fixtures("good")).load(file);
    assert_eq!(loaded.problems, [], "{file}");
    loaded.config.unwrap()
}

fn origin(config: &Config, path: &str) -> (String, String) {
    let setting = config.effective.iter().find(|setting| setting.path == path);
    let setting = setting.unwrap_or_else(|| panic!("no {path} in {:?}", config.effective));
    (setting.value.to_string(), setting.origin.clone())
}

#[test]
fn absent_settings_have_their_defaults() {
    let config = load("minimal.toml");
    assert_eq!(config.server.listen, Listen::Tcp("127.0.0.1:8787".parse().unwrap()));
    assert_eq!(config.server.max_body, 32 << 20);
    assert_eq!(config.server.drain_timeout, Duration::from_secs(120));
    assert_eq!(config.server.auth, ServerAuth::Clients);
    assert_eq!(config.admin.listen, Listen::Tcp("127.0.0.1:8788".parse().unwrap()));
    assert_eq!(config.reload.watch, WatchMode::Auto);
    assert_eq!(config.reload.settle, Duration::from_millis(250));
    let [provider] = &config.providers[..] else { panic!("one provider") };
    assert_eq!(provider.kind, Kind::OpenAi);
    assert_eq!(provider.timeouts.total, Duration::from_secs(600));
    let [key] = &provider.keys[..] else { panic!("one key") };
    assert_eq!((&*key.name, key.weight, key.enabled), ("OPENAI_KEY", 1.0, true));
    assert_eq!(key.source, "env OPENAI_KEY");
    assert!(key.models.is_none() && key.clients.is_none());
    assert_eq!((key.endpoint.authority.as_str(), &*key.endpoint.prefix), ("api.openai.com", "/v1"));
}

#[test]
fn values_are_resolved_from_every_kind_of_source() {
    let config = load("sources.toml");
    let keys = &config.providers[0].keys;
    let sources: Vec<(&str, &str)> = keys.iter().map(|key| (&*key.name, &*key.source)).collect();
    assert_eq!(
        sources,
        [
            ("literal", "literal"),
            ("value", "literal"),
            ("env", "env OPENAI_KEY"),
            ("env-in-force", "env GROQ_KEY"),
            ("value-in-force", "literal"),
            ("file", "file secrets/key"),
            ("credential", "credential openai"),
            ("off", "none"),
        ]
    );
    let same = keys[0].fingerprint;
    assert_ne!(same, keys[1].fingerprint);
    assert!(!keys[7].enabled && keys[7].value.is_none());
}

#[test]
fn included_files_are_joined_and_settings_have_an_origin() {
    let config = load("included/keymux.toml");
    let names: Vec<&str> = config.clients.iter().map(|client| &*client.name).collect();
    assert_eq!(names, ["main", "from-a", "from-b"]);
    let keys: Vec<&str> = config.providers[0].keys.iter().map(|key| &*key.name).collect();
    assert_eq!(keys, ["main", "from-b"]);
    assert_eq!(
        origin(&config, "reload.watch"),
        ("\"poll\"".into(), "included/conf.d/a.toml:1".into())
    );
    assert_eq!(origin(&config, "providers.groq.keys[1].name").1, "included/conf.d/b.toml:7");
    assert_eq!(origin(&config, "server.drain_timeout"), ("\"120s\"".into(), "default".into()));
}

#[test]
fn variables_override_files_and_flags_override_variables() {
    let loaded = World::new(&fixtures("good")).load("overridden.toml");
    assert!(loaded.problems.is_empty());
    let config = loaded.config.unwrap();
    assert_eq!(config.server.listen, Listen::Tcp("127.0.0.1:9003".parse().unwrap()));
    assert_eq!(origin(&config, "server.listen").1, "flag for server.listen");
    assert_eq!(config.server.max_body, 1 << 20);
    assert_eq!(
        origin(&config, "server.max_body").1,
        "environment variable KEYMUX_SERVER__MAX_BODY"
    );
    assert!((config.retry.budget - 0.5).abs() < 1e-9);
    assert_eq!(config.retry.max_waits, 7);
    assert_eq!(config.providers[0].keys[0].endpoint.authority.as_str(), "10.0.0.9:8000");
    assert_eq!(config.providers[0].timeouts.connect, Duration::from_secs(1));
    assert_eq!(config.routes[0].fallbacks.len(), 1);
    assert!(config.admin.token.is_some());
}

#[test]
fn effective_settings_contain_no_secret() {
    let config = load("secrets.toml");
    let text = format!("{:?} {config:?}", config.effective);
    for secret in [
        "sk-openai-key-of-the-test",
        "client-key-of-the-test",
        "sk-literal",
        "h-secret",
        "proxy-password",
        "adm-token",
    ] {
        assert!(!text.contains(secret), "{secret}");
    }
    let (value, at) = origin(&config, "providers.openai.keys[0].value");
    assert!(value.starts_with("\"fingerprint:"), "{value}");
    assert_eq!(at, "secrets.toml:14");
    assert!(
        origin(&config, "providers.openai.proxy")
            .0
            .starts_with("\"http://proxy.internal:3128 (fingerprint:")
    );
}

#[test]
fn each_kind_builds_its_endpoint() {
    let config = load("endpoints.toml");
    let shown: Vec<String> = config
        .providers
        .iter()
        .flat_map(|provider| &provider.keys)
        .map(|key| {
            format!(
                "{}/{} {}://{}{}",
                key.provider,
                key.name,
                key.endpoint.scheme,
                key.endpoint.authority,
                key.endpoint.prefix
            )
        })
        .collect();
    assert_eq!(
        shown,
        [
            "cohere/a https://api.cohere.ai/compatibility/v1",
            "cohere-proxied/a https://gate.internal/cohere/compatibility/v1",
            "echo/default http://localhost",
            "exact/a https://example.com/openai/deployments/x",
            "gpu/one http://10.0.0.5:8000/v1",
            "gpu/two http://10.0.0.6:8000/prefix/v1",
            "ollama/default http://127.0.0.1:11434/v1",
            "zai/a https://api.z.ai/api/paas/v4",
        ]
    );
    let gpu = &config.providers[4].keys;
    assert_eq!(gpu[0].models.as_ref().unwrap()[0].to_string(), "llama-3.3-70b");
    assert!(gpu[1].models.is_none());
}

#[test]
fn models_are_resolved_by_the_rules() {
    let config = load("lookup.toml");
    let index_of =
        |name: &str| config.providers.iter().position(|provider| &*provider.name == name).unwrap();
    let found = |asked: &str| match config.resolve_model(asked) {
        Ok(ResolvedModel::Route(route)) => format!("route {}", route.name),
        Ok(ResolvedModel::Model { provider, model }) => {
            format!("{} {model}", config.providers[provider].name)
        }
        Err(not_found) => not_found.to_string(),
    };
    assert_eq!(found("fast"), "route fast");
    assert_eq!(found("groq/whatever/it:is"), "groq whatever/it:is");
    assert_eq!(found("gpt-4o-mini"), "openai gpt-4o-mini");
    assert_eq!(found("GPT-4O-MINI"), "openai GPT-4O-MINI");
    assert_eq!(found("org/model"), "groq org/model");
    assert_eq!(found("gpt-4o-realtime"), "together gpt-4o-realtime");
    assert_eq!(found("only-disabled"), "together only-disabled");
    assert_eq!(found("anything"), "together anything");
    assert_eq!(
        found("both"),
        "`both` is listed by groq and openai: request provider/model, such as groq/both"
    );
    assert_eq!(found(""), "the model name is empty");
    assert_eq!(found("openai/"), "the model name is empty");
    assert_eq!(config.routes[0].targets[0].provider, index_of("groq"));
    assert_eq!(&*config.routes[0].targets[0].model, "llama");
    assert_eq!(&*config.routes[0].fallbacks[0].model, "gpt-4o");

    let config = load("lookup_closed.toml");
    let found = |asked: &str| config.resolve_model(asked).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        found("nope"),
        "`nope` is not a route, no key lists the model, and no provider accepts any model"
    );
    assert_eq!(
        found("nope/x"),
        "`nope/x` is not a route, `nope` is not a provider, no key lists the model, and no provider accepts any model"
    );
    let config = load("lookup_two_open.toml");
    let found = |asked: &str| config.resolve_model(asked).map(|_| ()).unwrap_err().to_string();
    assert_eq!(
        found("x"),
        "no key lists `x`, and groq and openai accept any model: request provider/model, such as groq/x"
    );
}

#[test]
fn the_hash_changes_with_the_contents() {
    use keymux::config::{LoadOptions, load};
    use std::fs;

    struct Real;
    impl keymux::config::Environment for Real {
        fn variable(&self, _: &str) -> Option<std::ffi::OsString> {
            None
        }
        fn keymux_variables(&self) -> Vec<(String, String)> {
            Vec::new()
        }
        fn read(&self, path: &std::path::Path) -> std::io::Result<Vec<u8>> {
            keymux::config::SystemEnvironment.read(path)
        }
        fn list(&self, dir: &std::path::Path) -> std::io::Result<Vec<std::path::PathBuf>> {
            keymux::config::SystemEnvironment.list(dir)
        }
    }

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("keymux.toml");
    let key = dir.path().join("key");
    fs::create_dir(dir.path().join("conf.d")).unwrap();
    fs::write(&key, "sk-one").unwrap();
    fs::write(&file, "include = [\"conf.d/*.toml\"]\n[[providers.openai.keys]]\nname = \"a\"\nvalue = { file = \"key\" }\n").unwrap();
    let options = LoadOptions { file, overrides: Vec::new() };
    let first = load(&options, &Real);
    assert_eq!(first.problems, []);
    let inputs = first.inputs;
    assert_eq!(inputs.hash_now(&Real), inputs.hash, "nothing changed");
    assert!(
        inputs.set.files.contains(&key)
            && inputs.set.patterns == [dir.path().join("conf.d/*.toml")]
    );

    fs::write(&key, "sk-two").unwrap();
    assert_ne!(inputs.hash_now(&Real), inputs.hash, "a secret changed");
    fs::remove_file(&key).unwrap();
    assert_ne!(inputs.hash_now(&Real), inputs.hash, "a secret is gone");
    fs::write(&key, "sk-one").unwrap();
    assert_eq!(inputs.hash_now(&Real), inputs.hash, "as it was");
    fs::write(dir.path().join("conf.d/.hidden.toml"), "").unwrap();
    assert_eq!(inputs.hash_now(&Real), inputs.hash, "a hidden file is no include");
    fs::write(dir.path().join("conf.d/a.toml"), "").unwrap();
    assert_ne!(inputs.hash_now(&Real), inputs.hash, "an include appeared");
    assert_eq!(load(&options, &Real).inputs.set.files.len(), 3);
}

#[test]
fn byte_order_marks_and_windows_lines_are_accepted() {
    let config = load("byte_order_mark.toml");
    assert_eq!(config.providers[0].keys.len(), 1);
    let config = load("windows_lines.toml");
    assert_eq!(config.providers[0].keys[0].description.as_deref(), Some("two\nlines"));
}

#[test]
fn certificates_must_match_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    write("own.crt", own.cert.pem());
    write("own.key", own.signing_key.serialize_pem());
    write("other.key", other.signing_key.serialize_pem());
    let load = |key: &str| {
        let text = format!(
            "[server]\ntls = {{ cert = \"own.crt\", key = {key}, client_ca = \"own.crt\" }}\n[providers.echo]\nkind = \"echo\"\nca_file = \"own.crt\"\n"
        );
        std::fs::write(dir.path().join("keymux.toml"), text).unwrap();
        World::new(dir.path()).load("keymux.toml")
    };
    for key in ["\"own.key\"", "{ file = \"own.key\" }"] {
        let loaded = load(key);
        assert_eq!(loaded.problems, [], "{key}");
        let config = loaded.config.unwrap();
        let tls = config.server.tls.unwrap();
        assert_eq!((tls.cert.len(), tls.client_ca.unwrap().len()), (1, 1));
        assert_eq!(config.providers[0].transport.ca.as_ref().unwrap().len(), 1);
    }
    let loaded = load("\"other.key\"");
    assert_eq!(loaded.problems[0].message, "this key does not belong to the certificate");
    assert!(loaded.config.is_none());
}

#[test]
fn a_large_file_loads_quickly() {
    let dir = tempfile::tempdir().unwrap();
    let keys = (0..300).map(|number| {
        format!("[[providers.openai.keys]]\nname = \"k{number}\"\nvalue = \"sk-{number}\"\nmodels = [\"gpt-4o*\"]\n")
    });
    std::fs::write(dir.path().join("keymux.toml"), keys.collect::<String>()).unwrap();
    let started = std::time::Instant::now();
    let loaded = World::new(dir.path()).load("keymux.toml");
    assert_eq!(loaded.problems, []);
    println!("{:?}", started.elapsed());
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
