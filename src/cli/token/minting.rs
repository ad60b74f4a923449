//! A token from the token endpoint: the request (RFC 6749 §4.4), the answer, and a source that requests tokens
//! repeatedly.

use std::path::PathBuf;

use secrecy::SecretString;
use serde_json::{Value, json};

use super::asking::Asking;
use super::identity::{ClientArgs, Proof};
use super::inspect;
use crate::cli::error::CliError;
use crate::cli::http::Reach;
use crate::cli::published::Discovered;
use crate::cli::words::{Words, scope_parameter};
use crate::ports::time::{Clock as _, SystemClock, UnixTime};

/// A request for a token: the issuer, the agent, and what the token is for.
#[derive(Debug)]
pub(in crate::cli) struct GetArgs {
    /// The issuer's URL, exactly as it calls itself.
    pub(in crate::cli) issuer: String,
    pub(in crate::cli) client: ClientArgs,
    /// What the token is for: a resource's identifier.
    pub(in crate::cli) resource: Option<String>,
    /// Scopes; empty for all that are granted.
    pub(in crate::cli) scope: Vec<Words>,
    /// Its lifetime in seconds.
    pub(in crate::cli) expires_in: Option<u64>,
    /// The file with the private key to bind the token to.
    pub(in crate::cli) dpop_key: Option<PathBuf>,
}

impl GetArgs {
    /// Everything that is granted at a resource.
    pub(in crate::cli) fn for_resource(issuer: &str, client: ClientArgs, resource: &str) -> Self {
        Self {
            issuer: issuer.to_owned(),
            client,
            resource: Some(resource.to_owned()),
            scope: Vec::new(),
            expires_in: None,
            dpop_key: None,
        }
    }
}

/// A token with a known expiry.
pub(super) struct Timed {
    pub(super) text: SecretString,
    pub(super) seconds: u64,
    pub(super) expires_at: UnixTime,
}

/// The answer of the token endpoint.
pub(super) struct Minted {
    pub(super) text: SecretString,
    /// Its lifetime in seconds from the request, when the answer or the token states it.
    pub(super) seconds: Option<u64>,
    asked_at: UnixTime,
    pub(super) answer: Value,
}

impl Minted {
    /// Parses an answer to a request at `now`.
    pub(super) fn read(answer: Value, now: UnixTime) -> Result<Self, CliError> {
        let failed = |problem: &str| CliError::failed("http", problem);
        let text = answer["access_token"].as_str().unwrap_or_default();
        if text.is_empty() {
            return Err(failed(
                "the token endpoint's answer does not contain `access_token`",
            ));
        }
        if !text.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(failed("the token contains invalid characters"));
        }
        // RFC 6749 §5.1 only recommends `expires_in`; a JWT states its expiry itself.
        let told = answer["expires_in"].as_i64();
        let claimed = || {
            let (_, claims) = inspect::decode(text).ok()?;
            Some(claims.get("exp")?.as_i64()?.saturating_sub(now.0))
        };
        let seconds = told
            .or_else(claimed)
            .and_then(|seconds| u64::try_from(seconds).ok());
        Ok(Self {
            text: text.to_owned().into(),
            seconds,
            asked_at: now,
            answer,
        })
    }

    /// The second in which it ends.
    pub(super) fn expires_at(&self) -> Option<UnixTime> {
        let seconds = i64::try_from(self.seconds?).ok()?;
        Some(self.asked_at.plus(seconds))
    }
}

/// Requests tokens repeatedly.
pub(in crate::cli) struct Source {
    args: GetArgs,
    /// A credential that can be read only once.
    from_stdin: Option<Proof>,
    reach: Reach,
}

impl Source {
    /// Reads the credential, which must be valid already. A file is read again for each token, so that the credential
    /// can be rotated.
    pub(in crate::cli) fn new(args: GetArgs, reach: Reach) -> Result<Self, CliError> {
        let proof = args.client.proof()?;
        Ok(Self {
            from_stdin: args.client.is_proof_on_stdin().then_some(proof),
            args,
            reach,
        })
    }

    /// Requests one.
    pub(super) async fn mint(&self) -> Result<Timed, CliError> {
        let from_file;
        let proof = match &self.from_stdin {
            Some(proof) => proof,
            None => {
                from_file = self.args.client.proof()?;
                &from_file
            }
        };
        let minted = mint(&self.args, proof, &self.reach).await?;
        let times = minted.seconds.zip(minted.expires_at());
        let Some((seconds, expires_at)) = times.filter(|(seconds, _)| *seconds > 0) else {
            return Err(CliError::failed(
                "token",
                "the issuer did not state the lifetime of its token, so the token cannot be replaced in time",
            ));
        };
        Ok(Timed {
            text: minted.text,
            seconds,
            expires_at,
        })
    }
}

/// Requests a token, from discovery on.
pub(super) async fn mint(args: &GetArgs, proof: &Proof, reach: &Reach) -> Result<Minted, CliError> {
    let issuer = Discovered::at(&args.issuer, reach).await?;
    let now = SystemClock.now();
    Minted::read(request(args, proof, &issuer, now).await?, now)
}

/// Sends the request to the token endpoint.
pub(in crate::cli) async fn request(
    args: &GetArgs,
    proof: &Proof,
    issuer: &Discovered,
    now: UnixTime,
) -> Result<Value, CliError> {
    let expires_in = args.expires_in.map(|seconds| seconds.to_string());
    let scope = scope_parameter(&args.scope);
    let mut form = vec![("grant_type", "client_credentials")];
    form.extend(given("resource", args.resource.as_deref()));
    form.extend(given("scope", scope.as_deref()));
    form.extend(given("expires_in", expires_in.as_deref()));
    let asking = Asking {
        proof,
        form,
        dpop_key: args.dpop_key.as_deref(),
        now,
    };
    asking.send(issuer).await
}

/// A parameter with its value, unless it is absent.
pub(super) fn given<'a>(
    name: &'static str,
    value: Option<&'a str>,
) -> Option<(&'static str, &'a str)> {
    value.map(|value| (name, value))
}

/// The facts of a token for programs, without the token.
pub(super) fn facts(minted: &Minted) -> Value {
    let mut facts = json!({
        "token_type": minted.answer["token_type"],
        "expires_in": minted.seconds,
        "expires_at": minted.expires_at().map(|time| time.0),
        "scope": minted.answer["scope"],
    });
    // RFC 8693 §2.2.1: for an exchanged token.
    if let Some(issued) = minted.answer["issued_token_type"].as_str() {
        facts["issued_token_type"] = json!(issued);
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime(1_795_253_400);

    #[test]
    fn an_answer_without_a_token_is_refused() {
        for (answer, problem) in [
            (
                json!({"expires_in": 600}),
                "error: the token endpoint's answer does not contain `access_token`",
            ),
            (
                json!({"access_token": "a b", "expires_in": 600}),
                "error: the token contains invalid characters",
            ),
        ] {
            let error = Minted::read(answer, NOW).err().unwrap();
            assert_eq!(error.text().unwrap(), problem);
        }
    }

    #[test]
    fn the_life_is_what_the_answer_says_or_else_the_token() {
        // {"alg":"none"}.{"exp":1795253700}
        let jwt = "eyJhbGciOiJub25lIn0.eyJleHAiOjE3OTUyNTM3MDB9.";
        for (answer, seconds) in [
            (
                json!({"access_token": "opaque", "expires_in": 600}),
                Some(600),
            ),
            (json!({"access_token": jwt, "expires_in": 600}), Some(600)),
            (json!({"access_token": jwt}), Some(300)),
            (json!({"access_token": "opaque"}), None),
            (json!({"access_token": "opaque", "expires_in": -1}), None),
        ] {
            let minted = Minted::read(answer.clone(), NOW).unwrap();
            assert_eq!(minted.seconds, seconds, "{answer}");
            let end = seconds.and_then(|seconds| i64::try_from(seconds).ok());
            assert_eq!(minted.expires_at(), end.map(|end| NOW.plus(end)));
        }
    }
}
