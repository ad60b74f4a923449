//! The ids of Claude's objects on a command line: one set of options and one parser for each kind.

use clap::Args;

use crate::domain::Invalid;
use crate::relying_party::claude::{
    IssuerObjectId, OrganizationId, RuleId, ServiceAccountId, WorkspaceId,
};

/// In which organization and workspace.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct PlaceArgs {
    /// The organization at Claude, a bare UUID
    #[arg(long, value_name = "UUID", value_parser = parse_organization)]
    pub(super) organization: Option<OrganizationId>,
    /// The workspace at Claude: `wrkspc_…` or `default`; required when the rule is enabled in several
    #[arg(long, value_name = "ID", value_parser = parse_workspace)]
    pub(super) workspace: Option<WorkspaceId>,
}

/// Everything that an exchange names.
#[derive(Clone, Debug, Default, Args)]
pub(super) struct IdArgs {
    /// The federation rule, `fdrl_…`
    #[arg(long, value_name = "ID", value_parser = parse_rule)]
    pub(super) rule: Option<RuleId>,
    /// The service account, `svac_…`
    #[arg(long, value_name = "ID", value_parser = parse_service_account)]
    pub(super) service_account: Option<ServiceAccountId>,
    #[command(flatten)]
    pub(super) place: PlaceArgs,
}

pub(super) fn parse_organization(text: &str) -> Result<OrganizationId, String> {
    OrganizationId::parse(text).map_err(problem)
}

pub(super) fn parse_workspace(text: &str) -> Result<WorkspaceId, String> {
    WorkspaceId::parse(text).map_err(problem)
}

pub(super) fn parse_rule(text: &str) -> Result<RuleId, String> {
    RuleId::parse(text).map_err(problem)
}

pub(super) fn parse_service_account(text: &str) -> Result<ServiceAccountId, String> {
    ServiceAccountId::parse(text).map_err(problem)
}

pub(super) fn parse_issuer_object(text: &str) -> Result<IssuerObjectId, String> {
    IssuerObjectId::parse(text).map_err(problem)
}

fn problem(invalid: Invalid) -> String {
    invalid.problem
}
