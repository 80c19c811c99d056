//! Keys of the clouds after loading, and clients that sign their requests.

use std::path::Path;

use keymux::config::{
    ApiVersion, AwsAuth, AzureAuth, Bedrock, Cloud, Config, Endpoint, EntraCredential, GoogleAuth,
    Key,
};
use keymux::secret::Secret;

use crate::world::{World, fixtures};

fn load(file: &str, variables: &[(&str, &str)]) -> Config {
    let mut world = World::new(&fixtures("good"));
    for (name, value) in variables {
        world.set(name, value);
    }
    let loaded = world.load(file);
    assert_eq!(loaded.problems, [], "{file}");
    loaded.config.unwrap()
}

fn key<'c>(config: &'c Config, name: &str) -> &'c Key {
    let mut keys = config.providers.iter().flat_map(|provider| &provider.keys);
    keys.find(|key| *key.name == *name).unwrap()
}

fn address(endpoint: &Endpoint) -> String {
    format!("{}://{}{}", endpoint.scheme, endpoint.authority, endpoint.prefix)
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

/// Returns the API version and the credentials of an azure key.
fn azure<'c>(config: &'c Config, name: &str) -> (&'c ApiVersion, &'c AzureAuth) {
    let key = key(config, name);
    assert!(key.value.is_none(), "{name}: the value is in `cloud`");
    let Cloud::Azure(azure) = &key.cloud else { panic!("{name}: {:?}", key.cloud) };
    (&azure.api_version, &azure.auth)
}

fn proof<'c>(config: &'c Config, name: &str) -> &'c EntraCredential {
    let (_, AzureAuth::Entra(entra)) = azure(config, name) else { panic!("{name}") };
    &entra.credential
}

#[test]
fn azure_keys_have_a_resource_and_its_key() {
    let config = load("azure.toml", &[]);
    let dated = |text: &str| ApiVersion::Dated(text.to_owned());
    for (name, place, version, value) in [
        ("key", "https://x.openai.azure.com", dated("2024-10-21"), "azure-key-of-the-test"),
        (
            "dated",
            "https://gate.internal/azure",
            dated("2025-04-01-preview"),
            "azure-key-of-the-test",
        ),
        ("json", "https://z.openai.azure.com", dated("2024-10-21"), "azure-key-in-json"),
        ("json-alone", "https://w.openai.azure.com", dated("2024-10-21"), "azure-key-alone"),
        ("json-and-table", "https://y.openai.azure.com", ApiVersion::V1, "azure-key-in-json"),
        ("a", "https://gate.internal/resource", dated("2024-10-21"), "azure-key-of-the-test"),
    ] {
        let (own, access) = azure(&config, name);
        assert_eq!(own, &version, "{name}");
        assert_eq!(address(&key(&config, name).endpoint), place, "{name}");
        assert!(
            matches!(access, AzureAuth::ApiKey(key) if *key == secret(value)),
            "{name}: {access:?}"
        );
    }
    assert_eq!(key(&config, "key").source, "env AZURE_KEY");
    assert_eq!(key(&config, "key").deployment("gpt-4o"), Some("prod-gpt4o"));
    assert_eq!(key(&config, "json").deployment("gpt-4o"), Some("table-gpt4o"));
    assert_eq!(key(&config, "json").deployment("o3"), Some("json-o3"));
    let off = key(&config, "off");
    assert!(matches!(off.cloud, Cloud::None) && off.source == "none");
}

#[test]
fn entra_id_credentials_come_from_the_table_or_the_environment() {
    let config = load("azure.toml", &[]);
    let (_, AzureAuth::Entra(entra)) = azure(&config, "secret") else { panic!() };
    assert_eq!(entra.scopes, ["https://ai.azure.com/.default"]);
    let EntraCredential::ClientSecret { authority, tenant, client, secret: own } =
        &entra.credential
    else {
        panic!()
    };
    assert_eq!(address(authority), "https://login.microsoftonline.us");
    assert_eq!((&**tenant, &**client), ("tenant", "client"));
    assert_eq!(own, &secret("azure-secret-of-the-test"));
    assert_eq!(key(&config, "secret").source, "Entra ID client secret from env AZURE_SECRET");

    let (_, AzureAuth::Entra(entra)) = azure(&config, "identity") else { panic!() };
    assert_eq!(entra.scopes, ["https://cognitiveservices.azure.com/.default"]);
    let EntraCredential::MachineIdentity { address: own, client } = &entra.credential else {
        panic!("{entra:?}")
    };
    assert_eq!((&*address(own), client), ("http://169.254.169.254", &None));
    assert_eq!(key(&config, "identity").source, "managed identity of the machine");

    let host = [("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:4000/")];
    let config = load("azure.toml", &host);
    let EntraCredential::MachineIdentity { address: own, client } =
        proof(&config, "identity-of-another")
    else {
        panic!()
    };
    assert_eq!((&*address(own), client.as_deref()), ("http://127.0.0.1:4000", Some("client")));

    let service =
        [("IDENTITY_ENDPOINT", "http://127.0.0.1:41741/msi/token"), ("IDENTITY_HEADER", "h")];
    let config = load("azure.toml", &service);
    let EntraCredential::AppServiceIdentity { address: own, header, client } =
        proof(&config, "identity")
    else {
        panic!()
    };
    assert_eq!((&*address(own), client), ("http://127.0.0.1:41741/msi/token", &None));
    assert_eq!(header, &secret("h"));

    let workload = [
        ("AZURE_FEDERATED_TOKEN_FILE", "/var/run/secrets/token"),
        ("AZURE_TENANT_ID", "tenant-of-the-pod"),
        ("AZURE_CLIENT_ID", "client-of-the-pod"),
        ("AZURE_AUTHORITY_HOST", "https://login.partner.microsoftonline.cn/"),
        ("IDENTITY_ENDPOINT", "http://127.0.0.1:41741/msi/token"),
        ("IDENTITY_HEADER", "h"),
    ];
    let config = load("azure.toml", &workload);
    for (name, own) in [("identity", "client-of-the-pod"), ("identity-of-another", "client")] {
        let EntraCredential::WorkloadIdentity { authority, tenant, client, file } =
            proof(&config, name)
        else {
            panic!("{name}")
        };
        assert_eq!(address(authority), "https://login.partner.microsoftonline.cn");
        assert_eq!((&**tenant, &**client), ("tenant-of-the-pod", own));
        assert_eq!(file, Path::new("/var/run/secrets/token"));
    }
    assert!(
        matches!(proof(&config, "secret"), EntraCredential::ClientSecret { .. }),
        "the table's own wins"
    );
}

#[test]
fn vertex_keys_have_project_region_and_credentials() {
    let config = load("vertex.toml", &[]);
    for (name, place, project, number, source) in [
        (
            "service-account",
            "https://us-central1-aiplatform.googleapis.com",
            "of-the-file",
            None,
            "service account from file clouds/service_account.json",
        ),
        (
            "project-of-the-table",
            "https://aiplatform.googleapis.com",
            "example.com:mine",
            Some("123456789012"),
            "service account from file clouds/service_account.json",
        ),
        (
            "value",
            "https://aiplatform.eu.rep.googleapis.com",
            "123456789012",
            Some("123456789012"),
            "workload identity from file clouds/external.json",
        ),
        (
            "impersonated",
            "https://aiplatform.us.rep.googleapis.com",
            "mine",
            None,
            "impersonated service account from file clouds/impersonated.json",
        ),
        (
            "default",
            "https://europe-west4-aiplatform.googleapis.com",
            "mine",
            None,
            "metadata server",
        ),
        ("a", "https://gate.internal/google", "mine", None, "metadata server"),
    ] {
        let key = key(&config, name);
        let Cloud::Vertex(vertex) = &key.cloud else { panic!("{name}") };
        assert_eq!(address(&key.endpoint), place, "{name}");
        assert_eq!((&*vertex.project, vertex.number.as_deref()), (project, number), "{name}");
        assert_eq!(key.source, source, "{name}");
        assert!(key.value.is_none(), "{name}");
        assert_eq!(
            matches!(vertex.auth, GoogleAuth::MetadataServer(_)),
            source == "metadata server",
            "{name}"
        );
    }
}

#[test]
fn vertex_keys_without_credentials_use_those_of_the_environment() {
    let found = |variables: &[(&str, &str)]| {
        let config = load("vertex.toml", variables);
        let key = key(&config, "default");
        let Cloud::Vertex(vertex) = &key.cloud else { panic!() };
        let metadata = match &vertex.auth {
            GoogleAuth::MetadataServer(endpoint) => Some(address(endpoint)),
            GoogleAuth::Credentials(_) => None,
        };
        (key.source.clone(), metadata)
    };
    let metadata = "metadata server".to_owned();
    let usual = Some("http://metadata.google.internal".to_owned());
    assert_eq!(found(&[]), (metadata.clone(), usual));
    let own = Some("http://127.0.0.1:8080".to_owned());
    assert_eq!(found(&[("GCE_METADATA_HOST", "127.0.0.1:8080")]), (metadata, own));
    let of_gcloud =
        "user credentials from file /clouds/gcloud/application_default_credentials.json";
    assert_eq!(found(&[("CLOUDSDK_CONFIG", "/clouds/gcloud")]), (of_gcloud.to_owned(), None));
    let named = [
        ("CLOUDSDK_CONFIG", "/clouds/gcloud"),
        ("GOOGLE_APPLICATION_CREDENTIALS", "/clouds/service_account.json"),
    ];
    let of_file = "service account from file /clouds/service_account.json";
    assert_eq!(found(&named), (of_file.to_owned(), None));
}

#[test]
fn a_missing_file_of_gcloud_is_watched() {
    let mut world = World::new(&fixtures("good"));
    world.set("HOME", "/nobody");
    let inputs = world.load("vertex.toml").inputs;
    let file = Path::new("/nobody/.config/gcloud/application_default_credentials.json");
    assert!(inputs.set.files.contains(file), "{:?}", inputs.set.files);
}

fn bedrock<'c>(config: &'c Config, name: &str) -> &'c Bedrock {
    let Cloud::Bedrock(bedrock) = &key(config, name).cloud else { panic!("{name}") };
    bedrock
}

/// Returns the regions of a key with their credentials.
fn regions(bedrock: &Bedrock) -> Vec<(&str, String)> {
    let known = ["AKIDEXAMPLE", "AKIDGLOBAL", "AKIDEU", "AKIDCN"];
    let name = |own: &Secret| known.iter().find(|known| *own == secret(known)).copied().unwrap();
    let access = |access: &AwsAuth| match access {
        AwsAuth::Bearer(_) => "bearer".to_owned(),
        AwsAuth::Pair(pair) => name(&pair.access_key).to_owned(),
        AwsAuth::Chain => "chain".to_owned(),
        AwsAuth::Role { arn, from } => {
            let from = from.as_ref().map_or("chain", |pair| name(&pair.access_key));
            format!("{arn} by {from}")
        }
    };
    bedrock.regions.iter().map(|region| (&*region.name, access(&region.auth))).collect()
}

#[test]
fn bedrock_keys_have_their_default_region_first() {
    let config = load("bedrock.toml", &[]);
    let pairs = |name: &str| {
        let regions = regions(bedrock(&config, name));
        regions.iter().map(|(name, access)| format!("{name} {access}")).collect::<Vec<_>>()
    };
    assert_eq!(pairs("api-key"), ["us-east-1 bearer"]);
    assert_eq!(pairs("pair"), ["us-east-1 AKIDEXAMPLE"]);
    assert_eq!(pairs("map"), ["us-west-2 AKIDGLOBAL", "cn-north-1 AKIDCN", "eu-west-1 AKIDEU"]);
    assert_eq!(pairs("map-alone"), ["cn-north-1 AKIDCN", "eu-west-1 AKIDEU"]);
    assert_eq!(pairs("regions"), ["us-east-1 AKIDEXAMPLE", "eu-west-1 AKIDEU"]);
    assert_eq!(pairs("chain"), ["ap-south-1 chain"]);
    let role = "us-east-1 arn:aws:iam::123456789012:role/keymux by chain";
    assert_eq!(pairs("role-by-chain"), [role]);
    let role = "us-gov-west-1 arn:aws-us-gov:iam::123456789012:role/path/keymux by AKIDEXAMPLE";
    assert_eq!(pairs("role-by-pair"), [role]);

    let map = bedrock(&config, "map");
    assert_eq!(
        map.regions.iter().map(|region| address(&region.endpoint)).collect::<Vec<_>>(),
        [
            "https://bedrock-runtime.us-west-2.amazonaws.com",
            "https://bedrock-runtime.cn-north-1.amazonaws.com.cn",
            "https://bedrock-runtime.eu-west-1.amazonaws.com",
        ]
    );
    let AwsAuth::Pair(eu) = &map.regions[2].auth else { panic!() };
    assert_eq!(eu.secret_key, secret("eu-secret"));
    assert_eq!(eu.session_token, Some(secret("eu-token")));
    let proxied = &bedrock(&config, "a").regions[0];
    assert_eq!(address(&proxied.endpoint), "https://gate.internal/aws");

    let region = [("AWS_REGION", "sa-east-1")];
    assert_eq!(regions(bedrock(&load("bedrock.toml", &region), "chain"))[0].0, "sa-east-1");
}

#[test]
fn bedrock_keys_have_profiles_and_buckets() {
    let config = load("bedrock.toml", &[]);
    let own = bedrock(&config, "pair");
    let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile";
    assert_eq!(own.arn.as_deref(), Some(arn));
    assert_eq!(bedrock(&config, "role-by-pair").arn, None);
    let buckets: Vec<_> =
        own.buckets.iter().map(|b| (&*b.name, &*b.prefix, b.is_default)).collect();
    assert_eq!(buckets, [("a", "in/out", false), ("b", "", true)]);
    for (name, source) in [
        ("api-key", "API key from literal"),
        ("pair", "access key from env AWS_ID"),
        ("map", "access keys from env AWS_MAP"),
        ("chain", "default chain"),
        ("role-by-chain", "role assumed with default chain"),
        ("off", "none"),
    ] {
        assert_eq!(key(&config, name).source, source, "{name}");
    }
}

#[test]
fn signing_clients_have_an_access_key() {
    let config = load("clients_of_aws.toml", &[]);
    let [signs, both, off] = &config.clients[..] else { panic!() };
    let caller = signs.aws.as_ref().unwrap();
    assert_eq!(caller.access_key, "AKIDEXAMPLE");
    assert_eq!(caller.secret_key, secret("caller-secret-of-the-test"));
    assert_eq!(signs.key_sha256, [0; 32], "no key hashes to it");
    assert!(both.aws.is_some() && both.key_sha256 != [0; 32]);
    assert!(off.aws.is_none());
}

/// Replaces each setting in turn; the fingerprint of the key must change each time.
#[test]
fn every_setting_that_changes_requests_changes_the_fingerprint() {
    let fingerprint = |text: &str, variables: &[(&str, &str)]| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("keymux.toml"), text).unwrap();
        let mut world = World::new(dir.path());
        for (name, value) in variables {
            world.set(name, value);
        }
        let loaded = world.load("keymux.toml");
        assert_eq!(loaded.problems, [], "{text}");
        loaded.config.unwrap().providers[0].keys[0].fingerprint
    };
    let azure = "[[providers.azure.keys]]\nname = \"a\"\n[providers.azure.keys.azure_key_config]\nendpoint = \"https://x\"\napi_version = \"v1\"\ntenant_id = \"t\"\nclient_id = \"c\"\nclient_secret = \"s\"\nscopes = [\"q\"]\nauthority_host = \"https://l\"\n";
    let vertex = "[[providers.vertex.keys]]\nname = \"a\"\n[providers.vertex.keys.vertex_key_config]\nregion = \"us-east5\"\nproject_id = \"p\"\nproject_number = \"1\"\n";
    let bedrock = "[[providers.bedrock.keys]]\nname = \"a\"\n[providers.bedrock.keys.bedrock_key_config]\nregion = \"us-east-1\"\naccess_key = \"i\"\nsecret_key = \"s\"\nsession_token = \"t\"\narn = \"arn:aws:iam::1:role/a\"\nbatch_s3_config = { buckets = [{ bucket_name = \"a\" }] }\nregions.eu-west-1 = { access_key = \"j\", secret_key = \"u\" }\n";
    for (text, changes) in [
        (
            azure,
            &[
                ("https://x", "https://y"),
                ("\"v1\"", "\"2024-10-21\""),
                ("\"t\"", "\"t2\""),
                ("\"c\"", "\"c2\""),
                ("\"s\"", "\"s2\""),
                ("\"q\"", "\"q2\""),
                ("https://l", "https://m"),
            ][..],
        ),
        (vertex, &[("us-east5", "global"), ("\"p\"", "\"p2\""), ("\"1\"", "\"2\"")]),
        (
            bedrock,
            &[
                ("us-east-1", "us-east-2"),
                ("\"i\"", "\"i2\""),
                ("\"s\"", "\"s2\""),
                ("\"t\"", "\"t2\""),
                ("role/a", "role/b"),
                ("\"j\"", "\"j2\""),
                ("\"u\"", "\"u2\""),
                ("eu-west-1", "eu-west-2"),
                ("bucket_name = \"a\"", "bucket_name = \"b\""),
            ],
        ),
    ] {
        let first = fingerprint(text, &[]);
        assert_eq!(fingerprint(text, &[]), first, "nothing changed");
        for (from, to) in changes {
            let changed = text.replacen(from, to, 1);
            assert_ne!(changed, text, "{from}");
            assert_ne!(fingerprint(&changed, &[]), first, "{from} -> {to}");
        }
    }
    let host = [("GCE_METADATA_HOST", "127.0.0.1")];
    assert_ne!(fingerprint(vertex, &host), fingerprint(vertex, &[]), "another metadata server");
}
