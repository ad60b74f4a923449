//! Which tokens of a trusted issuer authenticate an agent.

use clap::Args;

use crate::api::credential::{Credential, TokenMatch};
use crate::cli::error::CliError;
use crate::cli::parse::{parse_name, parse_pair, unique};
use crate::cli::platform::{Workload, WorkloadArgs};
use crate::domain::remedy::Remedy;

/// Which tokens of a trusted issuer authenticate the agent: those for which everything named here holds.
#[derive(Debug, Args)]
#[command(next_help_heading = "Tokens of a trusted issuer")]
pub(super) struct FederationArgs {
    /// Accept tokens of this trusted issuer
    #[arg(long, value_name = "TRUSTED-ISSUER", value_parser = parse_name, conflicts_with_all = ["proof", "secret_out", "bundle"])]
    pub(super) federated: Option<String>,
    /// Only with exactly this subject
    #[arg(
        long,
        value_name = "SUBJECT",
        requires = "federated",
        conflicts_with = "subject_prefix"
    )]
    subject: Option<String>,
    /// Only with subjects that begin with this
    #[arg(long, value_name = "PREFIX", requires = "federated")]
    subject_prefix: Option<String>,
    /// Only with this claim; may be repeated
    #[arg(long = "claim", value_name = "CLAIM=VALUE", value_parser = parse_pair, requires = "federated")]
    claims: Vec<(String, String)>,
    /// Only if this CEL condition over `claims` holds
    #[arg(long, value_name = "CEL", requires = "federated")]
    condition: Option<String>,
    #[command(flatten)]
    pub(super) workload: WorkloadArgs,
}

impl FederationArgs {
    /// The match of a new credential, for `workload` if the options name one.
    pub(super) fn matching(&self, workload: Option<&Workload>) -> Result<TokenMatch, CliError> {
        let mut matching = workload.map(Workload::matching).unwrap_or_default();
        if matching.subject.is_some() && (self.subject.is_some() || self.subject_prefix.is_some()) {
            let error = CliError::usage("the workload already determines the subject");
            return Err(
                error.with_remedy(&Remedy::action("drop `--subject` and `--subject-prefix`"))
            );
        }
        let mut claims = self.claims.clone();
        claims.extend(std::mem::take(&mut matching.claims));
        let matching = TokenMatch {
            subject: matching.subject.or_else(|| self.subject.clone()),
            subject_prefix: self.subject_prefix.clone(),
            claims: unique("the claim", &claims)?.unwrap_or_default(),
            condition: self.condition.clone(),
        };
        let is_empty = matching.subject.is_none()
            && matching.subject_prefix.is_none()
            && matching.claims.is_empty()
            && matching.condition.is_none();
        if is_empty {
            let error = CliError::usage(
                "`--federated` alone would accept every token of the trusted issuer",
            );
            return Err(error.with_remedy(&Remedy::action(
                "name the workload (`--repo`, `--namespace`, …; see `--help`), or add `--subject`, `--claim` or `--condition`",
            )));
        }
        Ok(matching)
    }
}

/// The match of a federated credential on one line.
pub(super) fn matched(credential: &Credential) -> String {
    let Some(matching) = &credential.matching else {
        return String::new();
    };
    let texts = [
        ("sub", &matching.subject),
        ("sub starts with", &matching.subject_prefix),
        ("condition", &matching.condition),
    ];
    let texts = texts
        .into_iter()
        .filter_map(|(label, text)| Some(format!("{label} {}", text.as_ref()?)));
    let claims = matching.claims.iter();
    let claims = claims.map(|(name, value)| format!("{name} {value}"));
    texts.chain(claims).collect::<Vec<_>>().join(", ")
}
