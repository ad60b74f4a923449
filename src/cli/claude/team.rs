//! A rule for a team: `--agent 'ops.*'` is every agent whose name begins with `ops.`, by the subject that the
//! issuer gives to names. An agent with a subject of its own is not of the team, whatever its name.

use serde_json::Value;

use crate::cli::client::{AdminClient, Extent, Query};
use crate::cli::error::CliError;
use crate::cli::parse::parse_name;
use crate::cli::print::text;
use crate::relying_party::claude::Warning;

/// What stands for the name in a subject template.
const NAME: &str = "{name}";

/// The agents of a team, by name, and what is to be known of those near it.
pub(super) struct Team {
    /// The rule's subject: a prefix and `*`.
    pub(super) subject: String,
    /// The agents that the rule lets in.
    pub(super) members: Vec<String>,
    pub(super) warnings: Vec<Warning>,
}

/// An agent's name, or `PREFIX.*` for all whose names begin with `PREFIX.`.
pub(super) fn parse_agents(given: &str) -> Result<String, String> {
    let Some(prefix) = given.strip_suffix('*') else {
        return parse_name(given);
    };
    // `ops*` would let in `opsec` too: a prefix is a boundary only with its separator.
    let Some(name) = prefix.strip_suffix('.') else {
        return Err(format!(
            "a team ends in a dot and a star, like 'ops.*': {prefix:?} is also the beginning of other names"
        ));
    };
    parse_name(name)?;
    Ok(given.to_owned())
}

/// One agent's name, for a command that looks at one.
pub(super) fn parse_one_agent(given: &str) -> Result<String, String> {
    if given.ends_with('*') {
        return Err("this command looks at one agent; name one of the team".to_owned());
    }
    parse_name(given)
}

/// Whether `agent` stands for a team.
pub(super) fn is_team(agent: &str) -> bool {
    agent.ends_with('*')
}

impl Team {
    /// Asks the admin API for the agents of `pattern`.
    ///
    /// # Errors
    /// When the issuer's subjects do not end in the name, so that no prefix of them is a team.
    pub(super) async fn gather(
        pattern: &str,
        issuer: &Value,
        admin: &AdminClient,
    ) -> Result<Self, CliError> {
        let template = text(issuer, "subject_template");
        let prefix = pattern.trim_end_matches('*');
        let start = template
            .strip_suffix(NAME)
            .filter(|start| !start.contains('{'));
        let Some(start) = start else {
            return Err(CliError::failed(
                "subject_template",
                format!(
                    "a rule for {pattern} needs subjects that end in the agent's name, and this issuer makes them as {template}; connect each agent by its name"
                ),
            ));
        };
        let subject_prefix = format!("{start}{prefix}");
        let mut agents = Vec::new();
        admin
            .each_page(&["agents"], &Query::default(), &Extent::default(), |page| {
                agents.extend(page);
                Ok(())
            })
            .await?;
        Ok(Self::of(prefix, &subject_prefix, &agents))
    }

    fn of(prefix: &str, subject_prefix: &str, agents: &[Value]) -> Self {
        let (mut members, mut others, mut strangers) = (Vec::new(), Vec::new(), Vec::new());
        for agent in agents {
            let (name, subject) = (text(agent, "name"), text(agent, "subject"));
            let is_named = name.starts_with(prefix);
            match (subject.starts_with(subject_prefix), is_named) {
                (true, _) => {
                    if !is_named {
                        strangers.push(format!("{name} ({subject})"));
                    }
                    members.push(name);
                }
                (false, true) => others.push(format!("{name} ({subject})")),
                (false, false) => {}
            }
        }
        let mut warnings = Vec::new();
        let mut warn = |code, text| warnings.push(Warning { code, text });
        if members.is_empty() {
            warn(
                "no_members",
                format!("no agent has a subject that begins with {subject_prefix} yet"),
            );
        }
        if !others.is_empty() {
            warn(
                "other_subject",
                format!(
                    "the rule does not let in agents with a subject of their own: {}. Connect each by its name",
                    others.join(", ")
                ),
            );
        }
        if !strangers.is_empty() {
            warn(
                "stranger",
                format!(
                    "the rule also lets in agents of another name, by their subject: {}",
                    strangers.join(", ")
                ),
            );
        }
        Self {
            subject: format!("{subject_prefix}*"),
            members,
            warnings,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_team_ends_at_a_dot() {
        for given in ["ops*", "*", ".*", "ops-*", "o ps.*", "ops.*.*"] {
            assert!(parse_agents(given).is_err(), "{given}");
        }
        assert_eq!(parse_agents("ops.*").as_deref(), Ok("ops.*"));
        assert_eq!(parse_agents("mailer").as_deref(), Ok("mailer"));
        assert!(parse_one_agent("ops.*").is_err());
    }

    #[test]
    fn who_is_of_the_team_goes_by_the_subject() {
        let agents = [
            json!({ "name": "ops.mailer", "subject": "agent:ops.mailer" }),
            json!({ "name": "ops.old", "subject": "svc-7" }),
            json!({ "name": "opsec", "subject": "agent:opsec" }),
            json!({ "name": "moved", "subject": "agent:ops.moved" }),
        ];
        let team = Team::of("ops.", "agent:ops.", &agents);
        assert_eq!(team.subject, "agent:ops.*");
        assert_eq!(team.members, ["ops.mailer", "moved"]);
        let warnings: Vec<String> = team.warnings.into_iter().map(|found| found.text).collect();
        insta::assert_snapshot!(warnings.join("\n"), @r"
        the rule does not let in agents with a subject of their own: ops.old (svc-7). Connect each by its name
        the rule also lets in agents of another name, by their subject: moved (agent:ops.moved)
        ");
        assert_eq!(
            Team::of("ops.", "agent:ops.", &[]).warnings[0].code,
            "no_members"
        );
    }
}
