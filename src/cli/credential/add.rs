//! `firman credential add`.

use clap::{ArgGroup, Args};

use super::federation::FederationArgs;
use super::{print_added, print_new};
use crate::api::credential::{AddedCredential, NewCredential};
use crate::api::trusted_issuer::TrustedIssuer;
use crate::cli::client::{Answer, Query};
use crate::cli::duration::parse_duration;
use crate::cli::error::CliError;
use crate::cli::parse::{parse_name, seconds};
use crate::cli::proof::{Proof, ProofArgs, SinkArgs, check_sink};
use crate::cli::session::Session;
use crate::cli::snippet::{Here, snippet};
use crate::domain::remedy::Remedy;

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("how").args(["secret", "public_key", "generate_key", "bundle", "federated"]).required(true).multiple(true))]
pub(in crate::cli) struct AddArgs {
    /// The agent's name
    #[arg(value_name = "AGENT", value_parser = parse_name)]
    agent: String,
    #[command(flatten)]
    proof: ProofArgs,
    /// The `kid` that the client writes into its assertions [default: the key's RFC 7638 thumbprint]
    #[arg(long, value_name = "KID")]
    kid: Option<String>,
    #[command(flatten)]
    sink: SinkArgs,
    #[command(flatten)]
    federation: FederationArgs,
    /// How long it is valid (90s, 15m, 24h, 7d) [default: no limit]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    expires_in: Option<u64>,
}

pub(super) async fn run(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    if args.federation.federated.is_some() {
        Proof::None.kid(args.kid.clone())?;
        return add_federated(args, session).await;
    }
    if args.federation.workload.workload() != Ok(None) {
        let error = CliError::usage("a workload authenticates with tokens of a trusted issuer");
        return Err(error.with_remedy(&Remedy::action("add `--federated TRUSTED_ISSUER`")));
    }
    let admin = session.admin()?;
    check_sink(&args.proof, &args.sink)?;
    let mut proof = Proof::prepare(&args.proof, &args.sink, &args.agent, &admin).await?;
    let new = proof.to_new(args.kid)?.map(|new| NewCredential {
        expires_in: seconds(args.expires_in),
        ..new
    });
    let path = ["agents", &args.agent, "credentials"];
    let answer = proof.register(&admin, &path, &new).await?;
    print_new(&answer, &proof, &admin, session)
        .await
        .map(|_| ())
}

async fn add_federated(args: AddArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let workload = args.federation.workload.workload();
    let workload = workload.map_err(CliError::usage)?;
    let matching = args.federation.matching(workload.as_ref())?;
    let new = NewCredential {
        kind: "federated".to_owned(),
        jwk: None,
        pem: None,
        kid: None,
        trusted_issuer: args.federation.federated,
        matching: Some(matching),
        expires_in: seconds(args.expires_in),
    };
    let admin = session.admin()?;
    let path = ["agents", &args.agent, "credentials"];
    let answer: Answer<AddedCredential> = admin.post(&path, &new).await?;
    if print_added(&answer, session)?.is_none() {
        return Ok(());
    }
    if let Some(caution) = workload.as_ref().and_then(|workload| workload.caution) {
        session.printer.hint(caution);
    }
    let trusted = new.trusted_issuer.as_deref().unwrap_or_default();
    let known = admin
        .get::<TrustedIssuer>(&["trusted-issuers", trusted], &Query::default())
        .await;
    let here = Here {
        issuer: &admin.issuer_url().await,
        audience: &known.map(|known| known.audience).unwrap_or_default(),
        client_id: &args.agent,
    };
    let platform = workload.map(|workload| workload.platform);
    session.printer.hint("No secret is stored.");
    session.printer.hint(&snippet(platform, &here));
    Ok(())
}
