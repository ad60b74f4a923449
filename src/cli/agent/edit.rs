//! `firman agent edit`.

use std::collections::BTreeMap;

use clap::Args;

use crate::api::agent::{Agent, AgentEdit};
use crate::cli::duration::{DurationOr, parse_duration_or_never};
use crate::cli::error::CliError;
use crate::cli::issuer::{ASSERTION_AUDIENCES, warn_of_audience};
use crate::cli::noun::NameArgs;
use crate::cli::parse::{nothing_to_change, parse_pair, unique};
use crate::cli::session::Session;
use crate::cli::words::{Words, all_of, edited_list, not_there, parse_names, parse_words};

#[derive(Debug, Args)]
pub(in crate::cli) struct EditArgs {
    #[command(flatten)]
    agent: NameArgs,
    #[command(flatten)]
    changes: Changes,
}

#[derive(Debug, Default, PartialEq, Args)]
struct Changes {
    /// The accountable person or team
    #[arg(long)]
    owner: Option<String>,
    /// What it does
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// Add it to groups (`a,b`, `"a b"`, or repeat the option)
    #[arg(long, value_name = "GROUPS", value_parser = parse_names)]
    add_group: Vec<Words>,
    /// Remove it from groups
    #[arg(long, value_name = "GROUPS", value_parser = parse_names)]
    remove_group: Vec<Words>,
    /// Assign roles to it
    #[arg(long, value_name = "ROLES", value_parser = parse_names)]
    add_role: Vec<Words>,
    /// Withdraw roles from it
    #[arg(long, value_name = "ROLES", value_parser = parse_names)]
    remove_role: Vec<Words>,
    /// Set a claim of its tokens; may be repeated
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_pair)]
    set_attribute: Vec<(String, String)>,
    /// Remove claims from its tokens
    #[arg(long, value_name = "NAMES", value_parser = parse_words)]
    unset_attribute: Vec<Words>,
    /// How long from now it can get tokens, or `never` to remove the limit
    #[arg(long, value_name = "DURATION", value_parser = parse_duration_or_never)]
    expires_in: Option<DurationOr>,
    /// Issue only tokens that are bound to a key of its own (DPoP, RFC 9449)
    #[arg(long, conflicts_with = "no_dpop_required")]
    dpop_required: bool,
    /// Issue bearer tokens too, which are not bound to a key
    #[arg(long)]
    no_dpop_required: bool,
    /// What `aud` of its assertions must be; `inherit`: by the issuer's policy
    #[arg(long, value_name = "POLICY", value_parser = AGENT_AUDIENCES)]
    assertion_audience: Option<String>,
}

/// The value that restores the issuer's policy.
const INHERIT: &str = "inherit";
const AGENT_AUDIENCES: [&str; 4] = [
    ASSERTION_AUDIENCES[0],
    ASSERTION_AUDIENCES[1],
    ASSERTION_AUDIENCES[2],
    INHERIT,
];

pub(super) async fn run(args: EditArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let EditArgs { agent, changes } = args;
    if changes == Changes::default() {
        return Err(nothing_to_change("agent edit"));
    }
    let set = unique("the attribute", &changes.set_attribute)?.unwrap_or_default();
    let edit = |agent: &Agent| changes.of(agent, &set);
    let path = ["agents", &agent.name];
    let agent = session.admin()?.edit(&path, edit).await?;
    super::print(&agent, session)?;
    warn_of_audience(changes.assertion_audience.as_deref(), session);
    Ok(())
}

impl Changes {
    fn of(&self, agent: &Agent, set: &BTreeMap<String, String>) -> Result<AgentEdit, CliError> {
        let unset = all_of(&self.unset_attribute);
        let attributes = if set.is_empty() && unset.is_empty() {
            None
        } else {
            Some(edited_attributes(&agent.attributes, set, &unset)?)
        };
        let policy = self.assertion_audience.clone();
        let dpop = self.dpop_required || self.no_dpop_required;
        Ok(AgentEdit {
            owner: self.owner.clone(),
            description: self.description.clone(),
            attributes,
            groups: edited_list("group", &agent.groups, &self.add_group, &self.remove_group)?,
            roles: edited_list("role", &agent.roles, &self.add_role, &self.remove_role)?,
            expires_in: self.expires_in.map(DurationOr::to_seconds),
            dpop_required: dpop.then_some(self.dpop_required),
            assertion_audience: policy.map(|policy| Some(policy).filter(|name| name != INHERIT)),
        })
    }
}

fn edited_attributes(
    current: &BTreeMap<String, String>,
    set: &BTreeMap<String, String>,
    unset: &[String],
) -> Result<BTreeMap<String, String>, CliError> {
    let mut attributes = current.clone();
    for name in unset {
        if attributes.remove(name).is_none() {
            let known: Vec<&String> = attributes.keys().collect();
            return Err(not_there("attribute", name, &known));
        }
    }
    attributes.extend(set.clone());
    Ok(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn unsetting_an_attribute_that_is_not_set_says_which_are() {
        let current = map(&[("team", "billing")]);
        let error = edited_attributes(&current, &map(&[]), &["taem".to_owned()]).unwrap_err();
        insta::assert_snapshot!(error.text().unwrap(), @"error: no attribute `taem` to remove; current: team");
    }

    #[test]
    fn attributes_are_replaced_one_by_one() {
        let current = map(&[("team", "billing"), ("environment", "test")]);
        let set = map(&[("team", "mail")]);
        let edited = edited_attributes(&current, &set, &["environment".to_owned()]).unwrap();
        assert_eq!(edited, map(&[("team", "mail")]));
    }
}
