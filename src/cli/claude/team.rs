//! A rule for a team: `--agent 'ops.*'` is every agent whose name begins with `ops.`, matched by the issuer's
//! subject template. An agent with a custom subject is not in the team, whatever its name.

use serde_json::Value;

use crate::cli::client::{AdminClient, Extent, Query};
use crate::cli::error::CliError;
use crate::cli::parse::parse_name;
use crate::cli::print::text;
use crate::domain::remedy::Remedy;
use crate::relying_party::claude::Warning;

/// The placeholder for the name in a subject template.
const NAME: &str = "{name}";

/// The agents of a team.
pub(super) struct Team {
    /// The rule's subject: a prefix and `*`.
    pub(super) subject: String,
    /// The agents that the rule accepts.
    pub(super) members: Vec<String>,
    pub(super) warnings: Vec<Warning>,
}

/// An agent's name, or `PREFIX.*` for all whose names begin with `PREFIX.`.
pub(super) fn parse_agents(given: &str) -> Result<String, String> {
    let Some(prefix) = given.strip_suffix('*') else {
        return parse_name(given);
    };
    // `ops*` would accept `opsec` too: only the separator makes the prefix a boundary.
    let Some(name) = prefix.strip_suffix('.') else {
        return Err(format!(
            "a team ends in `.*`, like `ops.*`; other names also begin with `{prefix}`"
        ));
    };
    parse_name(name)?;
    Ok(given.to_owned())
}

/// One agent's name, for a command about one agent.
pub(super) fn parse_one_agent(given: &str) -> Result<String, String> {
    if given.ends_with('*') {
        return Err("is a team; name one of its agents".to_owned());
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
                    "a rule for `{pattern}` requires subjects that end in the agent's name; this issuer's template is `{template}`"
                ),
            )
            .with_remedy(&Remedy::command("claude connect --agent NAME")));
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
        let mut warn = |code, text, hint| warnings.push(Warning { code, text, hint });
        if members.is_empty() {
            warn(
                "no_members",
                format!("no agent has a subject that begins with `{subject_prefix}` yet"),
                Some(Remedy::command(format!(
                    "agent add {prefix}NAME --role ROLE"
                ))),
            );
        }
        if !others.is_empty() {
            warn(
                "other_subject",
                format!(
                    "the rule does not accept agents with a custom subject: {}",
                    others.join(", ")
                ),
                Some(Remedy::command("claude connect --agent NAME")),
            );
        }
        if !strangers.is_empty() {
            warn(
                "stranger",
                format!(
                    "the rule also accepts agents with another name, by their subject: {}",
                    strangers.join(", ")
                ),
                None,
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
    fn the_subject_decides_who_is_in_the_team() {
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
        the rule does not accept agents with a custom subject: ops.old (svc-7)
        the rule also accepts agents with another name, by their subject: moved (agent:ops.moved)
        ");
        assert_eq!(
            Team::of("ops.", "agent:ops.", &[]).warnings[0].code,
            "no_members"
        );
    }
}
