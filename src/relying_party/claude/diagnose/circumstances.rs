//! What surrounds the token: what is registered at Claude and linked here, the environment, and the agent's
//! other tokens.

use std::collections::BTreeSet;

use super::super::checks::{Link, Registered, request, short};
use super::super::exchange::check_target;
use super::super::{CustomHeaders, Denial, WorkspaceId};
use super::{BURST_SECONDS, Cause, Evidence, Fetch, Issuance, Likelihood, certain, of};
use crate::domain::remedy::Remedy;

/// Consecutive exchanges are farther apart: the shortest access token lives this long.
const FRESH_SECONDS: i64 = 60;

/// Whether what is registered at Claude is still usable.
pub(super) fn standing(evidence: &Evidence) -> Vec<Cause> {
    // Another organization's admin token gets the same answer, so this is not certain.
    if let Some(answer) = &evidence.missing {
        let seen = format!("with the admin token of this environment: {answer}");
        return vec![of(Denial::RuleUnknown, Likelihood::Likely, seen)];
    }
    let Some(Registered { rule, issuer, .. }) = &evidence.registered else {
        return Vec::new();
    };
    let mut causes = Vec::new();
    let failures = issuer
        .poll_status
        .as_ref()
        .map_or(0, |status| status.consecutive_failures);
    if let Some(at) = &rule.archived_at {
        let seen = format!("the rule {} was archived at {at}", rule.id);
        causes.push(certain(Denial::RuleArchived, seen));
    }
    if let Some(at) = &issuer.jwks_polling_disabled_at {
        // Not documented: whether Claude still uses the keys it fetched before.
        causes.push(Cause {
            hint: Remedy::command("claude connect --agent AGENT --apply"),
            ..of(
                Denial::JwksUnavailable,
                Likelihood::Likely,
                format!(
                    "Claude stopped fetching the keys of the issuer {} at {at}, after repeated failures",
                    issuer.id
                ),
            )
        });
    } else if failures > 0 {
        causes.push(of(
            Denial::JwksUnavailable,
            Likelihood::Likely,
            format!(
                "Claude could not fetch the keys of the issuer {}; failures in a row: {failures}",
                issuer.id
            ),
        ));
    }
    causes
}

/// Whether the registered rule has the target and workspace that the request names: those of this environment,
/// else those of the link. The request itself is not known here.
pub(super) fn target(evidence: &Evidence) -> Option<Cause> {
    let (registered, link) = (evidence.registered.as_ref()?, evidence.link.as_ref()?);
    let Registered { rule, account, .. } = registered;
    let enabled = rule.enabled_workspaces();
    let is_member = |workspace: &&WorkspaceId| account.is_member_of(workspace);
    if !rule.applies_to_all_workspaces && !enabled.is_empty() && !enabled.iter().any(is_member) {
        let seen = format!(
            "the service account {} is not a member of any workspace in which the rule {} is enabled",
            account.id, rule.id
        );
        return Some(certain(Denial::WorkspaceNotAllowed, seen));
    }
    let set = |name: &str| {
        let value = evidence.environment.get(name);
        value.filter(|value| !value.is_empty()).cloned()
    };
    let (by_account, by_workspace) = (
        set("ANTHROPIC_SERVICE_ACCOUNT_ID"),
        set("ANTHROPIC_WORKSPACE_ID"),
    );
    let by = if by_account.is_some() || by_workspace.is_some() {
        "according to this environment"
    } else {
        "according to the link"
    };
    let asked = Link {
        service_account: by_account.unwrap_or_else(|| link.service_account.clone()),
        workspace: by_workspace.or_else(|| link.workspace.clone()),
        ..link.clone()
    };
    // Claude answers a malformed id with 400, not with the denial in question.
    let request = request(&asked).ok()?;
    let denied = check_target(rule, Some(account), &request).err()?;
    let seen = format!("{by}, {}", denied.detail);
    Some(of(denied.denial, Likelihood::Likely, seen))
}

/// A credential among the headers that the SDKs add to each request.
fn custom_headers(evidence: &Evidence) -> Option<Cause> {
    let value = evidence.environment.get("ANTHROPIC_CUSTOM_HEADERS")?;
    let names = CustomHeaders::parse(value).credentials;
    let names = (!names.is_empty()).then(|| names.join(" and "))?;
    Some(Cause {
        cause: "api_key_shadows_federation",
        likelihood: Likelihood::Likely,
        evidence: format!(
            "`ANTHROPIC_CUSTOM_HEADERS` sets {names} in this environment; the SDKs send it instead of federating"
        ),
        hint: Remedy::action(format!("remove {names} from `ANTHROPIC_CUSTOM_HEADERS`")),
    })
}

/// Settings of this machine that make the SDKs do something else.
pub(super) fn environment(evidence: &Evidence) -> Vec<Cause> {
    let mut causes = Vec::new();
    for name in ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"] {
        if let Some(value) = evidence.environment.get(name) {
            let how = if value.is_empty() {
                "set, although empty,"
            } else {
                "set"
            };
            causes.push(Cause {
                cause: "api_key_shadows_federation",
                likelihood: Likelihood::Likely,
                evidence: format!("`{name}` is {how} in this environment; the SDKs silently prefer it to federation"),
                hint: Remedy::action(format!("unset `{name}`")),
            });
        }
    }
    causes.extend(custom_headers(evidence));
    let Some(link) = &evidence.link else {
        return causes;
    };
    // What was read back decides account and workspace better than the link.
    let unread = evidence.registered.is_none();
    for (name, linked, denial) in [
        (
            "ANTHROPIC_FEDERATION_RULE_ID",
            Some(&link.rule),
            Denial::RuleUnknown,
        ),
        (
            "ANTHROPIC_ORGANIZATION_ID",
            Some(&link.organization),
            Denial::RuleUnknown,
        ),
        (
            "ANTHROPIC_SERVICE_ACCOUNT_ID",
            Some(&link.service_account).filter(|_| unread),
            Denial::ServiceAccountMismatch,
        ),
        (
            "ANTHROPIC_WORKSPACE_ID",
            link.workspace.as_ref().filter(|_| unread),
            Denial::WorkspaceNotAllowed,
        ),
    ] {
        let (Some(linked), Some(set)) = (linked, evidence.environment.get(name)) else {
            continue;
        };
        if set != linked {
            causes.push(Cause {
                hint: Remedy::action(format!("set `{name}={linked}`")),
                ..of(
                    denial,
                    Likelihood::Likely,
                    format!("`{name}` is {set} in this environment; the link says `{linked}`"),
                )
            });
        }
    }
    causes
}

/// Whether it was used before: the failure that users of this federation report most.
pub(super) fn replay(evidence: &Evidence) -> Option<Cause> {
    let jti = evidence.token.text("jti")?;
    let registered = evidence.registered.as_ref();
    if registered.is_some_and(|registered| !registered.issuer.check_jti) {
        return None;
    }
    let at = evidence.refused_at.unwrap_or(evidence.now);
    let cause = |likelihood, evidence| Some(of(Denial::JtiReused, likelihood, evidence));
    let Issuance::Issued(fetch) = &evidence.issuance else {
        return cause(
            Likelihood::Possible,
            format!(
                "Claude accepts each token once, by its `jti` {}",
                short(jti)
            ),
        );
    };
    let told = format!(
        "issued once, to {} at {} for {}",
        fetch.agent,
        fetch.at,
        or_unknown(&fetch.address)
    );
    let burst: Vec<&Fetch> = evidence
        .fetches
        .iter()
        .filter(|other| other.at.since(fetch.at).abs() <= BURST_SECONDS)
        .collect();
    let addresses: BTreeSet<&str> = burst.iter().map(|other| other.address.as_str()).collect();
    if addresses.len() > 1 {
        return cause(
            Likelihood::Likely,
            format!(
                "{told}; {} tokens were issued to {} addresses ({}) within {} minutes: several processes run as this agent and may share a token",
                burst.len(),
                addresses.len(),
                list(&addresses),
                BURST_SECONDS / 60
            ),
        );
    }
    let later = evidence
        .fetches
        .iter()
        .filter(|other| other.at > fetch.at && other.at <= at && other.jti != fetch.jti)
        .count();
    let age = at.since(fetch.at);
    if later == 0 && age > FRESH_SECONDS {
        return cause(
            Likelihood::Likely,
            format!(
                "{told}; no other token was issued in the next {age} s, so every exchange in that time used this one"
            ),
        );
    }
    cause(
        Likelihood::Possible,
        format!(
            "{told}; {} tokens issued within {} minutes of it, {later} of them later",
            burst.len(),
            BURST_SECONDS / 60
        ),
    )
}

/// What is not known here.
pub(super) fn setup(evidence: &Evidence) -> Vec<Cause> {
    let Some(link) = &evidence.link else {
        return vec![Cause {
            hint: Remedy::command(
                "claude link AGENT --rule fdrl_… --organization UUID --service-account svac_…",
            ),
            ..of(
                Denial::RuleUnknown,
                Likelihood::Possible,
                "the agent has no link, so its rule is unknown".to_owned(),
            )
        }];
    };
    if evidence.registered.is_some() {
        return vec![of(
            Denial::RuleUnknown,
            Likelihood::Possible,
            format!(
                "{} is registered; whether the request named it and the organization {} is not known here",
                link.rule, link.organization
            ),
        )];
    }
    if evidence.missing.is_some() {
        return Vec::new();
    }
    let mut causes = Vec::new();
    let has_token = ["ANTHROPIC_ADMIN_TOKEN", "ANTHROPIC_ADMIN_TOKEN_FILE"]
        .iter()
        .any(|variable| evidence.environment.contains_key(*variable));
    let named = evidence.environment.contains_key("ANTHROPIC_WORKSPACE_ID");
    if link.workspace.is_none() && !named {
        causes.push(of(
            Denial::WorkspaceIdRequired,
            Likelihood::Possible,
            format!(
                "the link has no workspace, which fails when {} is enabled in more than one",
                link.rule
            ),
        ));
    }
    causes.push(Cause {
        hint: Remedy::action(if has_token {
            "repeat this when Claude's Admin API answers, to read the rule back"
        } else {
            "repeat this with `ANTHROPIC_ADMIN_TOKEN` set, to read the rule back"
        }),
        ..of(
            Denial::RuleArchived,
            Likelihood::Possible,
            format!(
                "{} may be archived or belong to another organization",
                link.rule
            ),
        )
    });
    causes
}

fn or_unknown(address: &str) -> &str {
    if address.is_empty() {
        "an unknown address"
    } else {
        address
    }
}

fn list(names: &BTreeSet<&str>) -> String {
    names
        .iter()
        .map(|name| or_unknown(name))
        .collect::<Vec<_>>()
        .join(", ")
}
