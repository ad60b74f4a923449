//! `firman credential rotate`.

use std::path::PathBuf;

use clap::Args;

use super::{held_by, print_new};
use crate::api::credential::{AddedCredential, Credential, CredentialRotation};
use crate::cli::client::{AdminClient, Answer};
use crate::cli::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::parse::{parse_id, parse_name, seconds};
use crate::cli::print::time;
use crate::cli::proof::{Proof, ProofArgs, SinkArgs};
use crate::cli::session::Session;
use crate::domain::remedy::Remedy;
use crate::ports::time::UnixTime;

#[derive(Debug, Args)]
pub(in crate::cli) struct RotateArgs {
    /// The agent's name
    #[arg(value_name = "AGENT", value_parser = parse_name)]
    agent: String,
    /// The id of the credential to replace; may be omitted if only one is live
    #[arg(value_name = "ID", value_parser = parse_id)]
    id: Option<String>,
    /// How long the old one stays valid; 0 ends it at once
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, default_value = "24h")]
    overlap: u64,
    /// The new public key, for a public-key credential (JWK or PEM; `-` is stdin)
    #[arg(long, value_name = "FILE")]
    public_key: Option<PathBuf>,
    /// Create the new ES256 key in this new file, for a public-key credential
    #[arg(long, value_name = "FILE", conflicts_with = "public_key")]
    generate_key: Option<PathBuf>,
    /// The `kid` of the new key; it must differ from the old one's
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    #[command(flatten)]
    sink: SinkArgs,
    /// How long the new one is valid (24h, 90d) [default: no limit, whatever the old one had]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<u64>,
}

impl RotateArgs {
    fn has_key(&self) -> bool {
        self.public_key.is_some() || self.generate_key.is_some()
    }

    /// Whether the options can replace a credential of this kind.
    fn is_for(&self, kind: &str) -> bool {
        match (self.has_key(), self.sink.secret_out.is_some()) {
            (true, _) => kind == "public_key",
            (false, true) => kind == "client_secret",
            (false, false) => kind == "public_key" || kind == "client_secret",
        }
    }
}

pub(super) async fn run(args: RotateArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let admin = session.admin()?;
    let (id, kind) = to_rotate(&args, &admin, session.now()).await?;
    check(&args, &id, &kind)?;
    let new = ProofArgs {
        secret: kind == "client_secret" && !args.has_key(),
        public_key: args.public_key,
        generate_key: args.generate_key,
    };
    let mut proof = Proof::prepare(&new, &args.sink, &args.agent, &admin).await?;
    let rotation = CredentialRotation {
        overlap: seconds(Some(args.overlap)),
        jwk: proof.public_jwk(),
        pem: None,
        kid: proof.kid(args.kid)?,
        expires_in: seconds(args.expires_in),
    };
    let path = ["agents", &args.agent, "credentials", &id, "rotate"];
    let answer: Answer<AddedCredential> = proof.register(&admin, &path, &rotation).await?;
    let Some(added) = print_new(&answer, &proof, &admin, session).await? else {
        return Ok(());
    };
    let until = added.replaced.and_then(|old| old.expires_at);
    session.printer.hint(&if args.overlap == 0 {
        format!("The old credential `{id}` has ended.")
    } else {
        format!("The old credential `{id}` is valid until {}.", time(until))
    });
    Ok(())
}

/// Rejects options that do not fit the kind of the credential to replace.
fn check(args: &RotateArgs, id: &str, kind: &str) -> Result<(), CliError> {
    let has_sink = args.sink.secret_out.is_some() || args.sink.bundle.is_some();
    if kind == "public_key" && !args.has_key() && !has_sink {
        let agent = &args.agent;
        let named = args.id.as_ref().map(|id| format!(" {id}"));
        let error = CliError::usage(format!("`{agent}` has a public key; a new key is required"));
        return Err(error.with_remedy(&Remedy::command(format!(
            "credential rotate {agent}{} --generate-key FILE",
            named.unwrap_or_default()
        ))));
    }
    if args.sink.secret_out.is_some() && kind != "client_secret" {
        return Err(CliError::usage(format!(
            "`--secret-out` is only for a client secret, and the credential `{id}` is not one"
        )));
    }
    Ok(())
}

/// Id and kind of the credential to replace: the named one, or the only live one of a kind that fits the options.
/// Of several, the only one that outlives the overlap: the others were rotated before.
async fn to_rotate(
    args: &RotateArgs,
    admin: &AdminClient,
    now: UnixTime,
) -> Result<(String, String), CliError> {
    let all = held_by(&args.agent, admin).await?.read()?.items;
    if let Some(id) = &args.id {
        let named = all.into_iter().find(|credential| credential.id == *id);
        let kind = named.map(|credential| credential.kind);
        return Ok((id.clone(), kind.unwrap_or_default()));
    }
    let fits =
        |credential: &Credential| credential.status == "live" && args.is_for(&credential.kind);
    let live: Vec<Credential> = all.into_iter().filter(fits).collect();
    let until = UnixTime(now.0.saturating_add_unsigned(args.overlap));
    let stays = |credential: &&Credential| {
        let expires = credential.expires_at;
        expires.is_none_or(|expires| expires > until.0)
    };
    let mut staying = live.iter().filter(stays);
    let one = match (live.as_slice(), staying.next(), staying.next()) {
        ([], ..) => return Err(none_fits(args)),
        ([one], ..) | (_, Some(one), None) => one,
        (several, ..) => return Err(ambiguous(&args.agent, several)),
    };
    Ok((one.id.clone(), one.kind.clone()))
}

fn none_fits(args: &RotateArgs) -> CliError {
    let lacks = match (args.has_key(), args.sink.secret_out.is_some()) {
        (true, _) => "public key",
        (false, true) => "client secret",
        (false, false) => "credential that can be rotated",
    };
    let agent = &args.agent;
    CliError::failed("not_found", format!("`{agent}` has no live {lacks}"))
        .with_remedy(&Remedy::command(format!("credential list {agent}")))
}

fn ambiguous(agent: &str, several: &[Credential]) -> CliError {
    let mut detail = format!(
        "`{agent}` has {} live credentials that can be rotated:",
        several.len()
    );
    for credential in several {
        let kid = credential.kid.as_ref().map(|kid| format!(" {kid}"));
        let expires = credential
            .expires_at
            .map(|expires| format!(", expires {}", time(expires)));
        detail.push_str(&format!(
            "\n  {}  {}{}  created {}{}",
            credential.id,
            credential.kind,
            kid.unwrap_or_default(),
            time(credential.created_at),
            expires.unwrap_or_default(),
        ));
    }
    CliError::failed("ambiguous", detail)
        .with_remedy(&Remedy::command(format!("credential rotate {agent} ID")))
}
