//! The options of `firman claude connect`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::duration::parse_duration;
use super::super::error::CliError;
use super::super::parse::parse_name;
use super::base_url::BaseUrlArgs;
use super::ids::PlaceArgs;
use super::team;
use crate::relying_party::claude::{
    OAUTH_SCOPES, ServiceAccountId, check_name, check_token_lifetime,
};

/// The name of the resource for Claude in the documentation.
const USUAL_RESOURCE: &str = "claude";

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  firman claude connect --agent mailer
  firman claude connect --agent mailer --organization 6b0c4f0e-3a0a-4c55-9d5e-1f1d3c0a7b21 --apply
  firman claude connect --agent mailer --format env")]
pub(in crate::cli) struct ConnectArgs {
    /// The agent, or a team: `ops.*` is every agent whose name begins with `ops.`
    #[arg(long, value_name = "NAME", value_parser = team::parse_agents)]
    pub(super) agent: String,
    /// The resource for Claude
    #[arg(long, value_name = "NAME", default_value = USUAL_RESOURCE, value_parser = parse_name)]
    pub(super) resource: String,
    /// Connect tokens in which the agent acts for this subject, not for itself
    #[arg(long, value_name = "SUBJECT", value_parser = parse_subject)]
    pub(super) act_for: Option<String>,
    /// The scope of Claude's tokens [default: workspace:developer]
    #[arg(long, value_name = "SCOPE", value_parser = OAUTH_SCOPES)]
    pub(super) scope: Option<String>,
    /// The lifetime of Claude's tokens [default: 10m]
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(super) token_lifetime: Option<u64>,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
    /// The service account at Claude: an existing id, or a name [default: one for this agent]
    #[arg(long, value_name = "ID_OR_NAME", value_parser = parse_account)]
    pub(super) service_account: Option<String>,
    /// Register the keys inline; the default for an issuer that Claude cannot reach
    #[arg(long, conflicts_with = "discovery_base")]
    pub(super) inline_keys: bool,
    /// The URL of a copy made by `firman publish-static`
    #[arg(long, value_name = "URL")]
    pub(super) discovery_base: Option<String>,
    /// Private CA certificates (PEM) that Claude trusts when it fetches keys
    #[arg(long, value_name = "FILE", conflicts_with = "inline_keys")]
    pub(super) ca_cert: Option<PathBuf>,
    /// Where the issuer answers, if not at its own URL
    #[arg(long, value_name = "URL")]
    pub(super) from: Option<String>,
    /// The key consumer that stands for inline keys [default: claude-<issuer>]
    #[arg(long, value_name = "NAME", value_parser = parse_name)]
    pub(super) key_consumer: Option<String>,
    /// The agent's identity token file
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<String>,
    /// What to print
    #[arg(long, value_enum, default_value = "text")]
    pub(super) format: Content,
    /// Make the setup through Claude's Admin API, with an org:admin token in ANTHROPIC_ADMIN_TOKEN or ANTHROPIC_ADMIN_TOKEN_FILE
    #[arg(long)]
    pub(super) apply: bool,
    #[command(flatten)]
    pub(super) base_url: BaseUrlArgs,
    /// Apply changes without confirmation
    #[arg(long, requires = "apply")]
    pub(super) yes: bool,
}

/// What is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Content {
    /// An overview; with `--output json` everything as one object
    Text,
    /// The fields of Claude's Console
    Console,
    /// The requests of Claude's Admin API that `--apply` sends
    Api,
    /// The values as a .tfvars file
    TerraformVars,
    /// The agent's environment variables
    Env,
    /// A profile file of Claude's SDKs, for several processes
    Profile,
    /// systemd units that keep the token file fresh
    Systemd,
    /// Part of a pod: a sidecar that keeps the token file fresh
    Kubernetes,
    /// Steps of a GitHub Actions job
    Github,
}

impl Content {
    /// Whether it is for the place where one agent runs, so it contains no keys to register at Claude.
    pub(super) fn is_of_agent(self) -> bool {
        match self {
            Self::Env | Self::Profile | Self::Systemd | Self::Kubernetes | Self::Github => true,
            Self::Text | Self::Console | Self::Api | Self::TerraformVars => false,
        }
    }
}

impl ConnectArgs {
    /// ` --resource NAME` for a following command; empty for the default one.
    pub(super) fn resource_option(&self) -> String {
        match self.resource.as_str() {
            USUAL_RESOURCE => String::new(),
            other => format!(" --resource {other}"),
        }
    }

    /// Refuses options that apply to one agent only.
    pub(super) fn check_team(&self) -> Result<(), CliError> {
        if !team::is_team(&self.agent) {
            return Ok(());
        }
        if self.act_for.is_some() {
            return Err(CliError::usage(
                "`--act-for` requires one agent, not a team",
            ));
        }
        if self.format.is_of_agent() || self.format == Content::TerraformVars {
            return Err(CliError::usage(
                "this `--format` requires one agent, not a team",
            ));
        }
        Ok(())
    }
}

/// `--token-lifetime` as a rule accepts it.
pub(super) fn token_lifetime(seconds: u64) -> Result<i64, CliError> {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    match check_token_lifetime(seconds) {
        Ok(()) => Ok(seconds),
        Err(invalid) => Err(CliError::usage(format!(
            "`--token-lifetime` {} seconds",
            invalid.problem
        ))),
    }
}

/// A subject that a rule can pin: one that ends in `*` would be a prefix.
fn parse_subject(text: &str) -> Result<String, String> {
    if text.is_empty() || text.chars().any(char::is_control) {
        return Err("is not one line of text".to_owned());
    }
    if text.ends_with('*') {
        return Err("ends in `*`, which a rule treats as a prefix".to_owned());
    }
    Ok(text.to_owned())
}

fn parse_account(text: &str) -> Result<String, String> {
    let is_good = ServiceAccountId::parse(text).is_ok() || check_name(text).is_ok();
    if is_good {
        Ok(text.to_owned())
    } else {
        Err("is neither `svac_…` nor a name of a-z, 0-9 and `-`".to_owned())
    }
}
