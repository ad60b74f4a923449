//! The subject that an agent may act for, and why a pattern matches no subject.

use crate::api::delegation::NewDelegation;
use crate::api::warning::Warning;
use crate::domain::Invalid;
use crate::domain::agent::{Agent, AgentStatus};
use crate::domain::delegation::{SubjectKind, SubjectPattern};
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;
use crate::domain::subject::{split_user, user_subject, users_of};
use crate::domain::trusted_issuer::TrustedIssuer;
use crate::issuer::Issuer;
use crate::store::{StoreError, Tx};

impl Issuer {
    /// Why no subject token can match a pattern now, as far as the registry shows it.
    pub(super) async fn why_no_subject(
        &self,
        tx: &mut Tx,
        pattern: &SubjectPattern,
        trusted: Option<TrustedIssuer>,
    ) -> Result<Option<Warning>, StoreError> {
        let subject = &pattern.subject;
        if let Some((issuer, user)) = split_user(subject)
            && let Ok(issuer) = Name::parse(issuer)
        {
            let trusted = match trusted {
                Some(trusted) => Some(trusted),
                None => tx.trusted_issuer_by_name(&self.id, issuer.as_str()).await?,
            };
            return Ok(why_no_user(trusted.as_ref(), &issuer, user));
        }
        if pattern.kind == SubjectKind::Prefix || !subject.starts_with("agent:") {
            return Ok(None);
        }
        let Some(name) = tx.agent_name_by_subject(&self.id, subject).await? else {
            let warning = Warning::new(format!("no agent has the subject `{subject}` yet"));
            return Ok(Some(warning.with_remedy(&Remedy::command("agent list"))));
        };
        let status = tx.agent_by_name(&self.id, &name).await?;
        Ok(match status.map(|agent| agent.status) {
            Some(AgentStatus::Removed { .. }) => Some(Warning::new(format!(
                "the agent with the subject `{subject}` was removed, and its subject is never reused"
            ))),
            Some(AgentStatus::Active | AgentStatus::Suspended { .. }) | None => None,
        })
    }
}

pub(super) fn parse_subject(
    new: &NewDelegation,
    actor: &Agent,
    trusted: Option<&TrustedIssuer>,
) -> Result<SubjectPattern, Invalid> {
    let pattern = SubjectPattern::parse(
        &new.subject,
        trusted.map(|trusted| trusted.id.clone()),
        new.subject_claims.clone().unwrap_or_default(),
    )?;
    if pattern.kind == SubjectKind::Exact && pattern.subject == actor.subject.as_str() {
        return Err(Invalid::new(
            "subject",
            "is the actor's own: to act for itself an agent uses `client_credentials` and needs no delegation",
        ));
    }
    if let Some(trusted) = trusted {
        let beginning = users_of(&trusted.name);
        let is_possible = match pattern.kind {
            SubjectKind::Exact => pattern.subject.starts_with(&beginning),
            SubjectKind::Prefix => {
                pattern.subject.starts_with(&beginning) || beginning.starts_with(&pattern.subject)
            }
        };
        if !is_possible {
            return Err(Invalid::new(
                "subject",
                format!(
                    "matches no user of the trusted issuer `{}`, whose subjects all begin with `{beginning}`",
                    trusted.name
                ),
            ));
        }
    }
    Ok(pattern)
}

fn why_no_user(trusted: Option<&TrustedIssuer>, issuer: &Name, user: &str) -> Option<Warning> {
    let Some(trusted) = trusted else {
        let warning = Warning::new(format!(
            "no trusted issuer is named `{issuer}` yet, so no user has this subject"
        ));
        return Some(warning.with_remedy(&Remedy::command("trusted-issuer list")));
    };
    if !trusted.definition.subject {
        let warning = Warning::new(format!(
            "the trusted issuer `{issuer}` is not trusted for subjects, so every exchange of its tokens is rejected"
        ));
        let remedy = Remedy::command(format!("trusted-issuer edit {issuer} --trust subject"));
        return Some(warning.with_remedy(&remedy));
    }
    let is_encoded = |b: u8| b.is_ascii_alphanumeric() || b"-._~%".contains(&b);
    if user.bytes().all(is_encoded) {
        return None;
    }
    let written = user_subject(issuer, user).ok()?;
    Some(Warning::new(format!(
        "the delegation matches no user: the part after the second `:` must be percent-encoded, as in `{written}`"
    )))
}
