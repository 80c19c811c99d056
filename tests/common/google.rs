//! A service account of Google's, made for the test.

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

/// The text of an account's file that asks for its tokens at this origin, and its private key in base64.
pub fn service_account(issuer: &str) -> (Value, String) {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
    let private = BASE64_STANDARD.encode(der.as_ref());
    let account = json!({
        "type": "service_account",
        "project_id": "a-project",
        "private_key": format!("-----BEGIN PRIVATE KEY-----\n{private}\n-----END PRIVATE KEY-----\n"),
        "client_email": "robot@a-project.iam.gserviceaccount.com",
        "token_uri": format!("{issuer}/token"),
    });
    (account, private)
}
