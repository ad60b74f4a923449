//! The agent bundle: one JSON file with everything an agent needs to get a token. `firman agent add --bundle` and
//! `firman credential` write it; `firman token get`, `token exchange` and `firman exec` read it. It holds `issuer`, `client_id`, and either `jwk` (a private JWK) or `client_secret`.

use std::path::Path;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::{Zeroize as _, Zeroizing};

use super::error::CliError;
use super::keyfile;
use crate::jose::SigningKey;
use crate::ports::secret_file::Readers;

/// An agent's identity and credential.
pub(super) struct Bundle {
    /// The issuer's URL, exactly as it calls itself.
    pub(super) issuer: String,
    pub(super) client_id: String,
    pub(super) credential: BundledCredential,
}

/// The credential in a bundle.
pub(super) enum BundledCredential {
    Secret(SecretString),
    Key(Box<SigningKey>),
}

/// The file. Unknown members are ignored: a later version may write more.
#[derive(Deserialize)]
struct Document {
    issuer: String,
    client_id: String,
    jwk: Option<Value>,
    client_secret: Option<String>,
}

impl Bundle {
    /// Reads a bundle that no other user may read.
    pub(super) fn read(path: &Path) -> Result<Self, CliError> {
        let failed = |problem: &str| {
            CliError::failed(
                "bundle",
                format!("`{}` is not an agent bundle: {problem}", path.display()),
            )
        };
        if path == Path::new("-") {
            return Err(CliError::usage("an agent bundle must be a file"));
        }
        let text = keyfile::read_text(path, Readers::OwnerOnly)?;
        // The parser's own words may quote the file.
        let mut document: Document = serde_json::from_str(&text).map_err(|_| {
            failed(
                "expected a JSON object with `issuer`, `client_id`, and `jwk` or `client_secret`",
            )
        })?;
        let credential = match (document.jwk.take(), document.client_secret.take()) {
            (Some(jwk), None) => {
                let jwk = Zeroizing::new(jwk.to_string());
                let key = SigningKey::from_jwk(None, jwk.as_bytes());
                let key = key.map_err(|problem| failed(&format!("`jwk`: {problem}")))?;
                BundledCredential::Key(Box::new(key))
            }
            (None, Some(secret)) => {
                let secret = SecretString::from(secret);
                keyfile::check_secret(path, &secret)?;
                BundledCredential::Secret(secret)
            }
            (Some(_), Some(_)) => return Err(failed("it has both `jwk` and `client_secret`")),
            (None, None) => return Err(failed("it has neither `jwk` nor `client_secret`")),
        };
        Ok(Self {
            issuer: std::mem::take(&mut document.issuer),
            client_id: std::mem::take(&mut document.client_id),
            credential,
        })
    }
}

/// The content of a bundle with a private key.
pub(super) fn with_key(
    issuer: &str,
    client_id: &str,
    key: &SigningKey,
) -> Result<Zeroizing<String>, CliError> {
    let jwk = key.to_private_jwk();
    let jwk = jwk.map_err(|problem| CliError::failed("key", problem.to_string()))?;
    Ok(document(issuer, client_id, "jwk", &jwk))
}

/// The content of a bundle with a client secret.
pub(super) fn with_secret(issuer: &str, client_id: &str, secret: &str) -> Zeroizing<String> {
    let quoted = Zeroizing::new(json!(secret).to_string());
    document(issuer, client_id, "client_secret", &quoted)
}

/// `credential` is JSON already: it is copied once, into memory that is wiped.
fn document(issuer: &str, client_id: &str, kind: &str, credential: &str) -> Zeroizing<String> {
    let (issuer, client_id) = (json!(issuer), json!(client_id));
    Zeroizing::new(format!(
        "{{\n  \"issuer\": {issuer},\n  \"client_id\": {client_id},\n  \"{kind}\": {credential}\n}}\n"
    ))
}

impl Drop for Document {
    fn drop(&mut self) {
        self.client_secret.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::SigningAlgorithm;

    #[test]
    fn a_bundle_is_read_back_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle.json");
        let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let kid = key.kid().to_owned();
        let content = with_key("https://id.example.com", "mailer", &key).unwrap();
        keyfile::write_atomically(&path, content.as_bytes()).unwrap();
        let read = Bundle::read(&path).unwrap();
        assert_eq!(read.issuer, "https://id.example.com");
        assert_eq!(read.client_id, "mailer");
        let BundledCredential::Key(key) = &read.credential else {
            panic!("another kind of credential");
        };
        assert_eq!(key.kid(), kid);
    }

    #[test]
    fn what_is_not_a_bundle_is_told_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b");
        let shape =
            "expected a JSON object with `issuer`, `client_id`, and `jwk` or `client_secret`";
        for (content, problem) in [
            ("fmn_precious", shape),
            ("[]", shape),
            (r#"{"issuer":"a"}"#, shape),
            (r#"{"issuer":1,"client_id":"b"}"#, shape),
            (
                r#"{"issuer":"a","client_id":"b"}"#,
                "it has neither `jwk` nor `client_secret`",
            ),
            (
                r#"{"issuer":"a","client_id":"b","jwk":{},"client_secret":"fmn_precious"}"#,
                "it has both `jwk` and `client_secret`",
            ),
            (
                r#"{"issuer":"a","client_id":"b","jwk":{}}"#,
                "`jwk`: the JWK does not have the member `kty`",
            ),
        ] {
            keyfile::write_atomically(&path, content.as_bytes()).unwrap();
            let told = Bundle::read(&path).err().unwrap().text().unwrap();
            let path = path.display();
            assert_eq!(
                told,
                format!("error: `{path}` is not an agent bundle: {problem}")
            );
        }
        let cut = r#"{"issuer":"a","client_id":"b","client_secret":"fmn_precious"}"#;
        keyfile::write_atomically(&path, cut.as_bytes()).unwrap();
        let told = Bundle::read(&path).err().unwrap().text().unwrap();
        assert!(told.contains("has 12 characters") && !told.contains("precious"));
    }
}
