//! The client of a token request, and how it authenticates: `client_secret_basic` (RFC 6749 §2.3.1),
//! `private_key_jwt` (RFC 7523), or the token of its platform in its place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use secrecy::SecretString;
use serde_json::Value;

use super::{expose, inspect};
use crate::cli::bundle::{Bundle, BundledCredential};
use crate::cli::error::CliError;
use crate::cli::keyfile;
use crate::cli::parse::parse_name;
use crate::config;
use crate::domain::remedy::Remedy;
use crate::jose::SigningKey;

pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
/// For JWT-SVIDs (draft-ietf-oauth-spiffe-client-auth §3.1).
const JWT_SPIFFE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-spiffe";

/// The client and its credential. The environment supplies what the command line omits.
#[derive(Debug, Default, Args)]
#[command(group = ArgGroup::new("proof").args(["secret_file", "key", "assertion_file", "bundle"]))]
pub(in crate::cli) struct ClientArgs {
    /// The agent's name; optional with --assertion-file when the token proves a single agent [env: FIRMAN_AGENT_CLIENT_ID]
    #[arg(long, visible_alias = "agent", value_name = "AGENT", value_parser = parse_name, conflicts_with = "bundle")]
    pub(in crate::cli) client_id: Option<String>,
    /// A file with the client secret (`-` is stdin) [env: FIRMAN_AGENT_SECRET_FILE]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) secret_file: Option<PathBuf>,
    /// A file with the private key, PEM or JWK (`-` is stdin) [env: FIRMAN_AGENT_KEY_FILE]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) key: Option<PathBuf>,
    /// The id under which the key is registered [default: its thumbprint]
    #[arg(long, value_name = "KID", conflicts_with_all = ["secret_file", "assertion_file", "bundle"], allow_hyphen_values = true)]
    pub(in crate::cli) kid: Option<String>,
    /// A file with the token from the agent's platform (`-` is stdin), read again for each request [env: FIRMAN_AGENT_ASSERTION_FILE]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) assertion_file: Option<PathBuf>,
    /// A bundle from `firman agent add --bundle`: issuer, name and credential in one file [env: FIRMAN_AGENT_BUNDLE]
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) bundle: Option<PathBuf>,
}

/// How the agent authenticates.
pub(in crate::cli) enum Proof {
    Secret {
        client_id: String,
        secret: SecretString,
    },
    Key {
        client_id: String,
        key: Box<SigningKey>,
        /// The id under which it is registered, when it is not the thumbprint.
        kid: Option<String>,
    },
    Platform {
        client_id: Option<String>,
        token: SecretString,
        assertion_type: &'static str,
    },
}

impl ClientArgs {
    /// Completes it from the environment: the issuer, if anything names one, and the agent. The command line wins; a
    /// bundle names both.
    ///
    /// # Errors
    /// When nothing or several variables name a credential, a variable is misspelt, or the bundle cannot be
    /// read.
    pub(in crate::cli) fn settle(
        mut self,
        issuer: Option<String>,
        environment: &BTreeMap<String, String>,
    ) -> Result<(Self, Option<String>), CliError> {
        config::check_variables(environment)?;
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let is_named = |args: &Self| {
            [
                &args.secret_file,
                &args.key,
                &args.assertion_file,
                &args.bundle,
            ]
            .into_iter()
            .any(Option::is_some)
        };
        if !is_named(&self) {
            self.name_credential(environment)?;
        }
        if let Some(path) = &self.bundle {
            let bundle = Bundle::read(path)?;
            self.client_id.get_or_insert(bundle.client_id);
            return Ok((self, issuer.or(Some(bundle.issuer))));
        }
        if !is_named(&self) {
            return Err(CliError::usage("the agent's credential is missing").with_remedy(
                &Remedy::action(
                    "name `--bundle`, `--key`, `--secret-file` or `--assertion-file`, or set `FIRMAN_AGENT_BUNDLE`, `FIRMAN_AGENT_KEY_FILE`, `FIRMAN_AGENT_SECRET_FILE` or `FIRMAN_AGENT_ASSERTION_FILE`",
                ),
            ));
        }
        if self.client_id.is_none()
            && let Some(name) = set(config::AGENT_CLIENT_ID)
        {
            let name = parse_name(name).map_err(|problem| {
                CliError::usage(format!("{}: {problem}", config::AGENT_CLIENT_ID))
            })?;
            self.client_id = Some(name);
        }
        if self.client_id.is_none() && self.assertion_file.is_none() {
            return Err(CliError::usage("the agent's name is missing").with_remedy(
                &Remedy::action("name `--client-id AGENT`, or set `FIRMAN_AGENT_CLIENT_ID`"),
            ));
        }
        let issuer = issuer.or_else(|| set(config::AGENT_ISSUER).cloned());
        Ok((self, issuer))
    }

    /// Uses the credential that a variable names.
    fn name_credential(&mut self, environment: &BTreeMap<String, String>) -> Result<(), CliError> {
        let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
        let places = [
            (config::AGENT_SECRET_FILE, &mut self.secret_file),
            (config::AGENT_KEY_FILE, &mut self.key),
            (config::AGENT_ASSERTION_FILE, &mut self.assertion_file),
            (config::AGENT_BUNDLE, &mut self.bundle),
        ];
        let mut found: Option<&str> = None;
        for (name, place) in places {
            let Some(path) = set(name) else { continue };
            if let Some(other) = found {
                return Err(CliError::usage(format!(
                    "`{other}` and `{name}` both name a credential"
                ))
                .with_remedy(&Remedy::action("unset one of them")));
            }
            found = Some(name);
            *place = Some(PathBuf::from(path));
        }
        let identity = [
            (config::AGENT_CLIENT_ID, "an agent"),
            (config::AGENT_ISSUER, "an issuer"),
        ];
        let second = identity.into_iter().find(|(name, _)| set(name).is_some());
        match (&self.bundle, second) {
            (Some(_), Some((name, what))) => {
                let fault = format!("`{}` and `{name}` both name {what}", config::AGENT_BUNDLE);
                Err(CliError::usage(fault).with_remedy(&Remedy::action("unset one of them")))
            }
            _ => Ok(()),
        }
    }

    /// The same with a required issuer.
    pub(in crate::cli) fn settle_with_issuer(
        self,
        issuer: Option<String>,
        environment: &BTreeMap<String, String>,
    ) -> Result<(Self, String), CliError> {
        let (client, issuer) = self.settle(issuer, environment)?;
        let issuer = issuer.ok_or_else(|| {
            CliError::usage("the issuer is missing").with_remedy(&Remedy::action(
                "name `--issuer URL` or `--bundle FILE`, or set `FIRMAN_AGENT_ISSUER`",
            ))
        })?;
        Ok((client, issuer))
    }

    /// Reads the credential from its file.
    pub(in crate::cli) fn proof(&self) -> Result<Proof, CliError> {
        if let Some(path) = &self.assertion_file {
            let token = keyfile::read_line(path, "token of a platform")?;
            return Ok(Proof::Platform {
                client_id: self.client_id.clone(),
                assertion_type: assertion_type(&token, path)?,
                token,
            });
        }
        if let Some(path) = &self.bundle {
            return Ok(self.bundled(Bundle::read(path)?));
        }
        let client_id = self
            .client_id
            .clone()
            .ok_or_else(|| CliError::usage("the agent's name is missing"))?;
        match (&self.secret_file, &self.key) {
            (Some(path), _) => Ok(Proof::Secret {
                client_id,
                secret: keyfile::read_secret(path)?,
            }),
            (None, Some(path)) => Ok(Proof::Key {
                client_id,
                key: Box::new(keyfile::read_private(path)?),
                kid: self.kid.clone(),
            }),
            (None, None) => Err(CliError::usage("the agent's credential is missing")),
        }
    }

    fn bundled(&self, bundle: Bundle) -> Proof {
        let client_id = self.client_id.clone().unwrap_or(bundle.client_id);
        match bundle.credential {
            BundledCredential::Secret(secret) => Proof::Secret { client_id, secret },
            BundledCredential::Key(key) => Proof::Key {
                client_id,
                key,
                kid: None,
            },
        }
    }

    /// Whether the credential comes from stdin, which can be read only once.
    pub(in crate::cli) fn is_proof_on_stdin(&self) -> bool {
        [&self.secret_file, &self.key, &self.assertion_file]
            .into_iter()
            .flatten()
            .any(|path| path == Path::new("-"))
    }
}

/// The assertion type of a platform's token: SPIFFE's tokens have their own.
fn assertion_type(token: &SecretString, path: &Path) -> Result<&'static str, CliError> {
    let (_, unverified_claims) =
        inspect::decode(expose(token)).map_err(|error| error.about(&path.display().to_string()))?;
    let unverified_sub = unverified_claims.get("sub").and_then(Value::as_str);
    let is_svid = unverified_sub.is_some_and(|sub| sub.starts_with("spiffe://"));
    Ok(if is_svid { JWT_SPIFFE } else { JWT_BEARER })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_platforms_token_is_sent_as_what_its_subject_says_it_is() {
        // {"alg":"RS256"} with {"sub":"spiffe://example.org/mailer"}, {"sub":"repo:a/b:ref:x"} and {}
        let svid = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJzcGlmZmU6Ly9leGFtcGxlLm9yZy9tYWlsZXIifQ.AA";
        let run = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZXBvOmEvYjpyZWY6eCJ9.AA";
        let nameless = "eyJhbGciOiJSUzI1NiJ9.e30.AA";
        for (token, expected) in [
            (svid, JWT_SPIFFE),
            (run, JWT_BEARER),
            (nameless, JWT_BEARER),
        ] {
            let token = SecretString::from(token);
            assert_eq!(assertion_type(&token, Path::new("f")).unwrap(), expected);
        }
        let error = assertion_type(&SecretString::from("hello"), Path::new("f")).unwrap_err();
        insta::assert_snapshot!(error.text().unwrap(), @"error: f: this is not a JWT: a JWT has three parts joined by dots");
    }
}
