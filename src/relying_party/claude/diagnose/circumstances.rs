//! What is around the token: what is registered at Claude and linked here, the environment, and what else
//! its agent fetched.

use std::collections::BTreeSet;

use super::super::checks::{Link, Registered, request, short};
use super::super::exchange::check_target;
use super::super::{CustomHeaders, Denial, WorkspaceId};
use super::{BURST_SECONDS, Cause, Evidence, Fetch, Issuance, Likelihood, certain, of};

/// Exchanges that come one after the other are farther apart: the shortest access token lives that long.
const FRESH_SECONDS: i64 = 60;

/// Whether what is registered at Claude can still be used.
pub(super) fn standing(evidence: &Evidence) -> Vec<Cause> {
    // Another organization's admin token would be told the same, so that it is not certain.
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
        // Not documented: whether the keys fetched before go on.
        causes.push(Cause {
            advice: "start the fetching again: `firman claude connect --agent AGENT --apply`".to_owned(),
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

/// Whether the rule as it is registered leads to where the request wanted: to what this environment names,
/// else to what is linked. The request itself is not seen from here.
pub(super) fn target(evidence: &Evidence) -> Option<Cause> {
    let (registered, link) = (evidence.registered.as_ref()?, evidence.link.as_ref()?);
    let Registered { rule, account, .. } = registered;
    let enabled = rule.enabled_workspaces();
    let is_member = |workspace: &&WorkspaceId| account.is_member_of(workspace);
    if !rule.applies_to_all_workspaces && !enabled.is_empty() && !enabled.iter().any(is_member) {
        let seen = format!(
            "the service account {} is member of no workspace in which the rule {} is enabled",
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
        "by this environment"
    } else {
        "by what is linked"
    };
    let asked = Link {
        service_account: by_account.unwrap_or_else(|| link.service_account.clone()),
        workspace: by_workspace.or_else(|| link.workspace.clone()),
        ..link.clone()
    };
    // An id that is not of its form is answered with 400, and not with the denial that is looked into.
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
            "ANTHROPIC_CUSTOM_HEADERS sets {names} in this environment; the SDKs send it instead of federating"
        ),
        advice: format!(
            "remove {names} from ANTHROPIC_CUSTOM_HEADERS, or run the workload with firman exec, which removes it"
        ),
    })
}

/// What the SDK on this machine would do instead.
pub(super) fn environment(evidence: &Evidence) -> Vec<Cause> {
    let mut causes = Vec::new();
    for name in ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN"] {
        if let Some(value) = evidence.environment.get(name) {
            let how = if value.is_empty() {
                "set, though empty"
            } else {
                "set"
            };
            causes.push(Cause {
                cause: "api_key_shadows_federation",
                likelihood: Likelihood::Likely,
                evidence: format!("{name} is {how} in this environment; the SDKs prefer it to federation without a word"),
                advice: format!("`unset {name}`"),
            });
        }
    }
    causes.extend(custom_headers(evidence));
    let Some(link) = &evidence.link else {
        return causes;
    };
    // What was read back says better than the link whether an account and a workspace do.
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
                advice: format!("`export {name}={linked}`"),
                ..of(
                    denial,
                    Likelihood::Likely,
                    format!("{name} is {set} in this environment; linked is {linked}"),
                )
            });
        }
    }
    causes
}

/// Whether it was used before: what users of this federation report most.
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
                "Claude takes the jti {} once, however often it is sent",
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
                "{told}; {} tokens went to {} addresses ({}) within {} minutes: several processes work as this agent, and a token that two of them hold is a replay",
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
                "{told}; {age} s later no other had been fetched, so whatever exchanged in between sent this one again"
            ),
        );
    }
    cause(
        Likelihood::Possible,
        format!(
            "{told}; {} fetched within {} minutes of it, {later} of them later",
            burst.len(),
            BURST_SECONDS / 60
        ),
    )
}

/// What cannot be seen from here.
pub(super) fn setup(evidence: &Evidence) -> Vec<Cause> {
    let Some(link) = &evidence.link else {
        return vec![Cause {
            advice: "`firman claude link AGENT --rule fdrl_… --organization UUID --service-account svac_…`".to_owned(),
            ..of(
                Denial::RuleUnknown,
                Likelihood::Possible,
                "no rule is linked with this agent, so that it cannot be compared".to_owned(),
            )
        }];
    };
    if evidence.registered.is_some() {
        return vec![of(
            Denial::RuleUnknown,
            Likelihood::Possible,
            format!(
                "{} is registered; whether the request named it, and the organization {}, is not seen from here",
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
                "no workspace is linked: that fails when {} is enabled in more than one",
                link.rule
            ),
        ));
    }
    causes.push(Cause {
        advice: if has_token {
            "read the rule back: repeat this when Claude's Admin API answers".to_owned()
        } else {
            "read the rule back: repeat this with ANTHROPIC_ADMIN_TOKEN set".to_owned()
        },
        ..of(
            Denial::RuleArchived,
            Likelihood::Possible,
            format!("{} may be archived, or be another organization's; an archived rule stops exchanges at once", link.rule),
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
