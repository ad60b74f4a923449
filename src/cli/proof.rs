//! How an agent will authenticate: a client secret, a public key or a new key pair, from the options to the
//! file that stores it.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::bundle;
use super::client::{AdminClient, Answer};
use super::error::CliError;
use super::keyfile::{self, KeyFile, NewFile};
use super::print::shell_word;
use super::session::Session;
use crate::api::credential::NewCredential;
use crate::domain::remedy::Remedy;
use crate::jose::PublicJwk;

/// How the agent will authenticate.
#[derive(Debug, Args)]
#[group(id = "proof", multiple = false)]
pub(super) struct ProofArgs {
    /// Create a client secret; it is shown once
    #[arg(long)]
    pub(super) secret: bool,
    /// Register the public key in this file (JWK or PEM; `-` is stdin)
    #[arg(long, value_name = "FILE")]
    pub(super) public_key: Option<PathBuf>,
    /// Create an ES256 key: write the private half to this new file, register the public half
    #[arg(long, value_name = "FILE")]
    pub(super) generate_key: Option<PathBuf>,
}

/// Where a new secret or key goes, besides a key file of its own.
#[derive(Debug, Default, Args)]
pub(super) struct SinkArgs {
    /// Write the client secret to this new file (mode 0600) instead of showing it
    #[arg(long, value_name = "FILE", conflicts_with_all = ["public_key", "generate_key", "bundle"])]
    pub(super) secret_out: Option<PathBuf>,
    /// Write issuer, name and credential to this new file (mode 0600), for `firman token get --bundle`
    #[arg(long, value_name = "FILE", conflicts_with_all = ["public_key", "generate_key"])]
    pub(super) bundle: Option<PathBuf>,
}

/// A credential before it is registered.
pub(super) enum Proof {
    /// None was requested.
    None,
    /// The issuer makes a secret.
    Secret(SecretSink),
    /// A public key whose private half is elsewhere.
    Public(PublicJwk),
    /// A key pair made here, in a key file.
    Generated(KeyFile),
    /// A key pair made here, in an agent bundle.
    Bundled(KeyFile),
}

/// Where the issuer's secret goes.
pub(super) enum SecretSink {
    /// To the terminal.
    Shown,
    /// Into a file of its own.
    File(NewFile),
    /// Into an agent bundle, with the issuer's URL.
    Bundle(NewFile, String),
}

/// The members of an answer about a new credential: only those that the file of its secret needs, so that no
/// secret is lost to an answer that this version cannot parse.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Made {
    client_id: String,
    credential: MadeCredential,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MadeCredential {
    id: String,
}

impl SecretSink {
    /// Writes the secret of `answer` to the file, and replaces it by the file's path.
    fn keep(&mut self, answer: &mut Value) -> Result<(), CliError> {
        let (file, member, issuer) = match self {
            Self::Shown => return Ok(()),
            Self::File(file) => (file, "secret_out", None),
            Self::Bundle(file, issuer) => (file, "bundle", Some(issuer.as_str())),
        };
        let made = Made::deserialize(&*answer).unwrap_or_default();
        let secret = answer
            .as_object_mut()
            .and_then(|answer| answer.remove("client_secret"));
        let secret = match secret {
            Some(Value::String(secret)) => Zeroizing::new(secret),
            Some(_) | None => {
                return Err(CliError::failed(
                    "http",
                    "the server's answer does not contain a client secret",
                ));
            }
        };
        let (client_id, id) = (&made.client_id, &made.credential.id);
        let content = match issuer {
            Some(issuer) => bundle::with_secret(issuer, client_id, &secret),
            None => Zeroizing::new(format!("{}\n", *secret)),
        };
        file.write(&content).map_err(|error| {
            error
                .and(&format!("The secret of the new credential `{id}` is lost"))
                .with_remedy(&Remedy::command(format!(
                    "credential revoke {client_id} {id}"
                )))
        })?;
        file.keep();
        answer[member] = json!(file.path().display().to_string());
        Ok(())
    }
}

impl Proof {
    /// Reads or makes the key that the options name, for the agent `client_id`.
    pub(super) async fn prepare(
        args: &ProofArgs,
        sink: &SinkArgs,
        client_id: &str,
        admin: &AdminClient,
    ) -> Result<Self, CliError> {
        if let Some(path) = &sink.bundle {
            let issuer = admin.known_issuer_url().await?;
            if args.secret {
                let file = NewFile::create(path)?;
                return Ok(Self::Secret(SecretSink::Bundle(file, issuer)));
            }
            let made = KeyFile::with(path, |key| bundle::with_key(&issuer, client_id, key));
            return made.map(Self::Bundled);
        }
        if let Some(path) = &sink.secret_out {
            return NewFile::create(path).map(|file| Self::Secret(SecretSink::File(file)));
        }
        if args.secret {
            return Ok(Self::Secret(SecretSink::Shown));
        }
        Ok(match (&args.public_key, &args.generate_key) {
            (Some(path), _) => Self::Public(keyfile::read_public(path)?),
            (None, Some(path)) => Self::Generated(KeyFile::generate(path)?),
            (None, None) => Self::None,
        })
    }

    /// The requested `kid`, which only a public key has.
    pub(super) fn kid(&self, kid: Option<String>) -> Result<Option<String>, CliError> {
        match (self, kid) {
            (_, None) => Ok(None),
            (Self::None | Self::Secret(_), Some(_)) => {
                let error = CliError::usage("`--kid` is only for a public key");
                Err(error.with_remedy(&Remedy::action(
                    "add --public-key FILE or --generate-key FILE",
                )))
            }
            (Self::Public(_) | Self::Generated(_) | Self::Bundled(_), kid) => Ok(kid),
        }
    }

    /// The credential for the API to create; `None` without one.
    pub(super) fn to_new(&self, kid: Option<String>) -> Result<Option<NewCredential>, CliError> {
        let kid = self.kid(kid)?;
        let kind = match self {
            Self::None => return Ok(None),
            Self::Secret(_) => "client_secret",
            Self::Public(_) | Self::Generated(_) | Self::Bundled(_) => "public_key",
        };
        Ok(Some(NewCredential {
            kind: kind.to_owned(),
            jwk: self.public_jwk(),
            pem: None,
            kid,
            trusted_issuer: None,
            matching: None,
            expires_in: None,
        }))
    }

    pub(super) fn public_jwk(&self) -> Option<Value> {
        match self {
            Self::None | Self::Secret(_) => None,
            Self::Public(key) => Some(key.to_value()),
            Self::Generated(file) | Self::Bundled(file) => Some(file.public().to_value()),
        }
    }

    /// Sends the registration. The file of a generated key stays when the issuer has the public half,
    /// and when that is not known because the answer was lost.
    pub(super) async fn register<T: DeserializeOwned>(
        &mut self,
        admin: &AdminClient,
        path: &[&str],
        body: &impl Serialize,
    ) -> Result<Answer<T>, CliError> {
        let outcome = admin.post::<Value>(path, body).await;
        let (file, is_bundle) = match self {
            Self::Secret(sink) => {
                let mut answer = outcome?;
                sink.keep(&mut answer)?;
                return Ok(Answer::of(answer));
            }
            Self::None | Self::Public(_) => return outcome.map(Answer::of),
            Self::Generated(file) => (file, false),
            Self::Bundled(file) => (file, true),
        };
        match outcome {
            Err(error) if error.is_certain() => Err(error),
            Err(error) => {
                file.keep();
                let path = file.path().display();
                Err(error.and(&format!(
                    "The key may have been registered. Its private half stays in `{path}`"
                )))
            }
            Ok(mut answer) => {
                file.keep();
                if is_bundle {
                    answer["bundle"] = json!(file.path().display().to_string());
                }
                Ok(Answer::of(answer))
            }
        }
    }

    /// The options of `firman token get` that use this credential of `client_id` at `issuer`.
    fn token_options(&self, issuer: &str, client_id: &str) -> String {
        let word = |path: &Path| shell_word(&path.display().to_string());
        let option = match self {
            Self::Bundled(file) => return format!("--bundle {}", word(file.path())),
            Self::Secret(SecretSink::Bundle(file, _)) => {
                return format!("--bundle {}", word(file.path()));
            }
            Self::None => String::new(),
            Self::Secret(SecretSink::Shown) => "--secret-file FILE".to_owned(),
            Self::Secret(SecretSink::File(file)) => format!("--secret-file {}", word(file.path())),
            Self::Public(_) => "--key FILE".to_owned(),
            Self::Generated(file) => format!("--key {}", word(file.path())),
        };
        format!(
            "--issuer {} --client-id {client_id} {option}",
            shell_word(issuer)
        )
    }

    /// What to do with the new credential.
    fn advice(&self) -> Option<String> {
        let alone = "and nowhere else. Let only the agent read it.";
        match self {
            Self::None | Self::Public(_) => None,
            Self::Secret(SecretSink::Shown) => Some(
                "The client secret is shown once. Store it now, where only the agent can read it."
                    .to_owned(),
            ),
            Self::Secret(SecretSink::File(file)) => Some(format!(
                "The client secret is in `{}` {alone}",
                file.path().display()
            )),
            Self::Secret(SecretSink::Bundle(file, _)) => Some(format!(
                "The agent bundle with its client secret is in `{}` {alone}",
                file.path().display()
            )),
            Self::Generated(file) => Some(format!(
                "The private key is in `{}` {alone}",
                file.path().display()
            )),
            Self::Bundled(file) => Some(format!(
                "The agent bundle with its private key is in `{}` {alone}",
                file.path().display()
            )),
        }
    }
}

/// Rejects a place for a secret when no secret is made.
pub(super) fn check_sink(proof: &ProofArgs, sink: &SinkArgs) -> Result<(), CliError> {
    if sink.secret_out.is_some() && !proof.secret {
        return Err(
            CliError::usage("`--secret-out` is only for a client secret")
                .with_remedy(&Remedy::action("add `--secret`")),
        );
    }
    Ok(())
}

/// Prints what to do with a new credential.
pub(super) async fn hints(
    client_id: &str,
    proof: &Proof,
    admin: &AdminClient,
    session: &mut Session<'_>,
) {
    if let Proof::None = proof {
        session.printer.next(&format!(
            "firman credential add {client_id} --generate-key {client_id}.pem"
        ));
        return;
    }
    if let Some(advice) = proof.advice() {
        session.printer.hint(&advice);
    }
    let insecure = if admin.is_insecure_http() {
        " --insecure-http"
    } else {
        ""
    };
    let options = proof.token_options(&admin.issuer_url().await, client_id);
    session
        .printer
        .next(&format!("firman token get {options}{insecure}"));
}
