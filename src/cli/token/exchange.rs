//! `firman token exchange`: exchanges a subject's token for one in which this agent acts (RFC 8693).

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::asking::Asking;
use super::expose;
use super::get::hand_over;
use super::identity::ClientArgs;
use super::minting::{Minted, given};
use crate::cli::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::keyfile;
use crate::cli::published::Discovered;
use crate::cli::session::Session;
use crate::cli::words::{Words, parse_words, scope_parameter};
use crate::domain::remedy::Remedy;
use crate::ports::time::{Clock as _, SystemClock};

const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";

#[derive(Debug, Args)]
pub(in crate::cli) struct ExchangeCommand {
    /// The issuer's URL, exactly as it calls itself [env: FIRMAN_AGENT_ISSUER]
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
    /// A file with the token of the subject to act for (`-` is stdin)
    #[arg(long, value_name = "FILE")]
    subject_token: PathBuf,
    /// Its type: access_token or id_token of this issuer, or jwt of a trusted issuer
    #[arg(long, value_name = "TYPE", value_enum, default_value = "access_token")]
    subject_token_type: TokenType,
    /// The resource that the new token is for, by its identifier
    #[arg(long, value_name = "RESOURCE")]
    resource: Option<String>,
    /// Scopes (`a,b`, `"a b"`, or repeat the option) [default: all that subject, agent and delegation allow]
    #[arg(long, value_name = "SCOPES", value_parser = parse_words)]
    scope: Vec<Words>,
    /// Lifetime of the new token (90s, 15m), at most that of the subject token
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<u64>,
    /// The type of the new token [default: access_token]
    #[arg(long, value_name = "TYPE", value_enum)]
    requested_token_type: Option<TokenType>,
    /// Bind the token to this private key, PEM or JWK (RFC 9449); without the key it is useless
    #[arg(long, value_name = "FILE")]
    dpop_key: Option<PathBuf>,
    /// Write the token to this file (mode 0600, replaced atomically) instead of printing it
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// A token type (RFC 8693 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
enum TokenType {
    AccessToken,
    IdToken,
    Jwt,
}

impl TokenType {
    fn as_str(self) -> &'static str {
        match self {
            Self::AccessToken => "urn:ietf:params:oauth:token-type:access_token",
            Self::IdToken => "urn:ietf:params:oauth:token-type:id_token",
            Self::Jwt => "urn:ietf:params:oauth:token-type:jwt",
        }
    }
}

pub(super) async fn run(
    mut command: ExchangeCommand,
    session: &mut Session<'_>,
) -> Result<(), CliError> {
    let client = std::mem::take(&mut command.client);
    let settled = client.settle_with_issuer(command.issuer.take(), session.environment);
    let (client, issuer_url) = settled?;
    if client.is_proof_on_stdin() && command.subject_token == Path::new("-") {
        return Err(CliError::usage(
            "the credential and `--subject-token` cannot both come from stdin",
        )
        .with_remedy(&Remedy::action("name a file for one of them")));
    }
    if command.requested_token_type == Some(TokenType::IdToken) && command.dpop_key.is_some() {
        return Err(CliError::usage("an ID token cannot be bound to a key")
            .with_remedy(&Remedy::action("drop `--dpop-key`")));
    }
    let proof = client.proof()?;
    let subject_token = keyfile::read_line(&command.subject_token, "token")?;
    let expires_in = command.expires_in.map(|seconds| seconds.to_string());
    let scope = scope_parameter(&command.scope);
    let mut form = vec![
        ("grant_type", TOKEN_EXCHANGE),
        ("subject_token", expose(&subject_token)),
        ("subject_token_type", command.subject_token_type.as_str()),
    ];
    let requested = command.requested_token_type.map(TokenType::as_str);
    form.extend(given("resource", command.resource.as_deref()));
    form.extend(given("scope", scope.as_deref()));
    form.extend(given("expires_in", expires_in.as_deref()));
    form.extend(given("requested_token_type", requested));
    let issuer = Discovered::at(&issuer_url, &session.reach()?).await?;
    let now = SystemClock.now();
    let asking = Asking {
        proof: &proof,
        form,
        dpop_key: command.dpop_key.as_deref(),
        now,
    };
    let minted = Minted::read(asking.send(&issuer).await?, now)?;
    hand_over(&minted, command.out.as_deref(), session)
}
