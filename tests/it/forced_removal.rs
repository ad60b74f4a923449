//! What a forced removal changes: what is live and depends on the removed thing, up to a bound.

use std::collections::BTreeMap;

use firman::domain::agent::Agent;
use firman::domain::credential::{Credential, CredentialKind};
use firman::domain::delegation::{Delegation, DelegationStatus, SubjectPattern};
use firman::domain::group::Group;
use firman::domain::id::{
    AgentId, CredentialId, DelegationId, GroupId, ResourceId, RoleId, TrustedIssuerId,
};
use firman::domain::name::Name;
use firman::domain::role::{GrantedScopes, Role};
use firman::domain::subject::Subject;
use firman::domain::trusted_issuer::TokenMatch;
use firman::issuer::named::FORCED_REMOVAL_MAX;
use firman::ports::time::UnixTime;
use firman::testing::{START, TestIssuer};
use insta::assert_snapshot;
use reqwest::Method;
use serde_json::json;

use crate::delegations::write;
use crate::federated::github_issuer;
use crate::oauth2::audited;

const MAX: usize = FORCED_REMOVAL_MAX as usize;
const NEVER: i64 = START + 86_400;

/// What the delegations and credentials of these tests name.
struct Parties {
    actor: AgentId,
    resource: ResourceId,
    trusted: TrustedIssuerId,
}

async fn parties(issuer: &TestIssuer) -> Parties {
    let (mut tx, id) = write(issuer).await;
    let actor = tx.agent_by_name(&id, "deployer").await.expect("a store");
    let trusted = tx
        .trusted_issuer_by_name(&id, "github")
        .await
        .expect("a store");
    let resources = tx.resources(&id).await.expect("a store");
    Parties {
        actor: actor.expect("an agent").id,
        resource: resources[0].id.clone(),
        trusted: trusted.expect("a trusted issuer").id,
    }
}

/// Puts delegations that end at `expires_at` into the database: more than one agent may have.
async fn delegations(issuer: &TestIssuer, name: &str, count: usize, expires_at: i64) {
    let parties = parties(issuer).await;
    let (mut tx, id) = write(issuer).await;
    for number in 0..count {
        let delegation = Delegation {
            id: DelegationId::from_text(format!("{name}-{number}")),
            actor: parties.actor.clone(),
            subject: SubjectPattern::parse(
                "user:github:alice",
                Some(parties.trusted.clone()),
                BTreeMap::new(),
            )
            .expect("a subject"),
            resource: parties.resource.clone(),
            scopes: GrantedScopes::All,
            max_depth: 1,
            status: DelegationStatus::Active,
            expires_at: UnixTime(expires_at),
            version: 1,
            created_at: UnixTime(START),
            updated_at: UnixTime(START),
        };
        let inserted = tx.insert_delegation(&id, &delegation).await;
        assert!(inserted.expect("a store"));
    }
    tx.commit().await.expect("a store");
}

/// Puts federated credentials that expire at `expires_at` into the database.
async fn credentials(issuer: &TestIssuer, name: &str, count: usize, expires_at: Option<i64>) {
    let parties = parties(issuer).await;
    let (mut tx, id) = write(issuer).await;
    for number in 0..count {
        let credential = Credential {
            id: CredentialId::from_text(format!("{name}-{number}")),
            agent: parties.actor.clone(),
            kind: CredentialKind::Federated {
                trusted_issuer: parties.trusted.clone(),
                matching: Box::new(TokenMatch {
                    subject: Some("repo:x".to_owned()),
                    ..TokenMatch::default()
                }),
            },
            not_before: UnixTime(START),
            expires_at: expires_at.map(UnixTime),
            revoked_at: None,
            created_at: UnixTime(START),
        };
        let inserted = tx.insert_credential(&id, &credential).await;
        assert!(inserted.expect("a store"));
    }
    tx.commit().await.expect("a store");
}

async fn remove(issuer: &TestIssuer, force: bool) -> String {
    removed(issuer, "/trusted-issuers/github", force).await
}

async fn removed(issuer: &TestIssuer, path: &str, force: bool) -> String {
    let path = format!("{path}?force={force}");
    let answer = issuer.admin(Method::DELETE, &path, None).await;
    let body = if answer.status == 204 {
        String::new()
    } else {
        let body = answer.json();
        format!(" {} {}", body["detail"], body["hint"])
    };
    format!("{}{body}", answer.status)
}

#[tokio::test]
async fn a_trusted_issuer_with_more_live_delegations_than_one_step_revokes_is_not_removed() {
    let issuer = github_issuer().await;
    delegations(&issuer, "live", MAX + 1, NEVER).await;
    assert_snapshot!(remove(&issuer, true).await, @r#"409 "more than 500 delegations depend on the trusted issuer `github`, too many for one step" "revoke some of them first""#);
    assert_snapshot!(remove(&issuer, false).await, @r#"409 "more than 500 delegations depend on the trusted issuer `github`, too many for one step" "revoke some of them first""#);
    assert_eq!(audited(&issuer, "delegation.revoked").await.len(), 0);
}

#[tokio::test]
async fn a_trusted_issuer_with_more_live_credentials_than_one_step_revokes_is_not_removed() {
    let issuer = github_issuer().await;
    credentials(&issuer, "live", MAX, Some(NEVER)).await;
    assert_snapshot!(remove(&issuer, true).await, @r#"409 "more than 500 live federated credentials depend on the trusted issuer `github`, too many for one step" "revoke some of them first""#);
    assert_snapshot!(remove(&issuer, false).await, @r#"409 "more than 500 live federated credentials depend on the trusted issuer `github`, too many for one step" "revoke some of them first""#);
    assert_eq!(audited(&issuer, "credential.revoked").await.len(), 0);
}

#[tokio::test]
async fn a_resource_that_more_delegations_name_than_one_step_revokes_is_not_removed() {
    let issuer = github_issuer().await;
    delegations(&issuer, "live", MAX + 1, NEVER).await;
    let refused = removed(&issuer, "/resources/mail", true).await;
    assert_snapshot!(refused, @r#"409 "more than 500 delegations name the resource `mail`, too many for one step" "revoke some of them first""#);
    assert_eq!(removed(&issuer, "/resources/mail", false).await, refused);
    assert_eq!(audited(&issuer, "delegation.revoked").await.len(), 0);
    let revoked = issuer
        .admin(Method::POST, "/delegations/live-0/revoke", None)
        .await;
    assert_eq!(revoked.status, 200, "{revoked}");
    assert_snapshot!(removed(&issuer, "/resources/mail", true).await, @"204");
    assert_eq!(audited(&issuer, "delegation.revoked").await.len(), MAX + 1);
}

#[tokio::test]
async fn a_resource_that_more_roles_grant_than_one_step_changes_is_not_removed() {
    let issuer = github_issuer().await;
    let (mut tx, id) = write(&issuer).await;
    let role = tx.role_by_name(&id, "mailer").await.expect("a store");
    let role = role.expect("a role");
    for number in 0..MAX {
        let another = Role {
            id: RoleId::from_text(format!("role-{number}")),
            name: Name::parse(&format!("role-{number}")).expect("a name"),
            ..role.clone()
        };
        assert!(tx.insert_role(&id, &another).await.expect("a store"));
    }
    tx.commit().await.expect("a store");
    let refused = removed(&issuer, "/resources/mail", true).await;
    assert_snapshot!(refused, @r#"409 "more than 500 roles grant the resource `mail`, too many for one step" "edit some of the roles first""#);
    assert_eq!(removed(&issuer, "/resources/mail", false).await, refused);
    assert_eq!(audited(&issuer, "role.changed").await.len(), 0);
}

#[tokio::test]
async fn delegations_that_expired_do_not_keep_a_resource() {
    let issuer = github_issuer().await;
    delegations(&issuer, "expired", MAX + 1, START + 10).await;
    issuer.clock.advance(10);
    assert_snapshot!(removed(&issuer, "/resources/mail", true).await, @"204");
    assert_eq!(audited(&issuer, "delegation.revoked").await.len(), 0);
}

#[tokio::test]
async fn delegations_that_expired_do_not_keep_a_trusted_issuer() {
    let issuer = github_issuer().await;
    delegations(&issuer, "expired", MAX + 1, START + 10).await;
    delegations(&issuer, "live", 2, NEVER).await;
    issuer.clock.advance(10);
    assert_snapshot!(remove(&issuer, true).await, @"204");
    assert_eq!(audited(&issuer, "delegation.revoked").await.len(), 2);
    let removed = audited(&issuer, "trusted_issuer.removed").await;
    assert_snapshot!(removed[0].draft.detail, @r#"{"credentials_revoked":1,"delegations_revoked":2,"url":"https://token.actions.githubusercontent.com"}"#);
    let expired = issuer
        .admin(Method::GET, "/delegations/expired-0", None)
        .await;
    assert_eq!(expired.json()["status"], "expired");
}

#[tokio::test]
async fn credentials_that_expired_do_not_keep_a_trusted_issuer() {
    let issuer = github_issuer().await;
    credentials(&issuer, "expired", MAX + 1, Some(START + 10)).await;
    credentials(&issuer, "live", 2, None).await;
    issuer.clock.advance(10);
    assert_snapshot!(remove(&issuer, true).await, @"204");
    assert_eq!(audited(&issuer, "credential.revoked").await.len(), 3);
    let removed = audited(&issuer, "trusted_issuer.removed").await;
    assert_snapshot!(removed[0].draft.detail, @r#"{"credentials_revoked":3,"delegations_revoked":0,"url":"https://token.actions.githubusercontent.com"}"#);
}

#[tokio::test]
async fn delegations_that_expired_are_not_revoked_with_their_actor() {
    let issuer = github_issuer().await;
    delegations(&issuer, "expired", 3, START + 10).await;
    delegations(&issuer, "live", 2, NEVER).await;
    issuer.clock.advance(10);
    let removed = issuer.admin(Method::DELETE, "/agents/deployer", None).await;
    assert_eq!(removed.status, 204, "{removed}");
    assert_eq!(audited(&issuer, "delegation.revoked").await.len(), 2);
    for (id, status) in [("expired-0", "expired"), ("live-0", "revoked")] {
        let path = format!("/delegations/{id}");
        let shown = issuer.admin(Method::GET, &path, None).await;
        assert_eq!(shown.json()["status"], status, "{id}");
    }
}

#[tokio::test]
async fn what_expired_is_shown_for_ninety_days_and_then_deleted() {
    const DAYS: i64 = 90 * 86_400;
    let issuer = github_issuer().await;
    delegations(&issuer, "short", 1, START + 10).await;
    delegations(&issuer, "long", 1, START + 20).await;
    credentials(&issuer, "short", 1, Some(START + 10)).await;
    credentials(&issuer, "long", 1, Some(START + 20)).await;
    let client = issuer.agent("clock").with_secret().await;
    let shown = async || {
        // A token confirms the time.
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", "clock"),
            ("client_secret", client.secret()),
            ("scope", "openid"),
            ("resource", issuer.url.as_str()),
        ];
        let _ = issuer.token(&form).await.assert_issued();
        issuer.host().maintain().await;
        let mut ids = Vec::new();
        for path in ["/delegations", "/agents/deployer/credentials"] {
            let list = issuer.admin(Method::GET, path, None).await.json();
            let items = list["items"].as_array().cloned().unwrap_or_default();
            ids.extend(items.iter().filter_map(|item| {
                let id = item["id"].as_str()?.to_owned();
                id.ends_with("-0").then_some(id)
            }));
        }
        ids.join(" ")
    };
    issuer.clock.advance(DAYS + 10);
    assert_eq!(shown().await, "long-0 short-0 long-0 short-0");
    issuer.clock.advance(1);
    assert_eq!(shown().await, "long-0 long-0");
    issuer.clock.advance(10);
    assert_eq!(shown().await, "");
}

/// Puts agents that are in the group `ops` and hold the role `writer` into the database, and the group and the role.
async fn members(issuer: &TestIssuer, count: usize) {
    let role = json!({ "name": "writer", "grants": [] });
    let group = json!({ "name": "ops", "roles": ["writer"] });
    for (path, body) in [("/roles", role), ("/groups", group)] {
        let made = issuer.admin(Method::POST, path, Some(&body)).await;
        assert_eq!(made.status, 201, "{made}");
    }
    let (mut tx, id) = write(issuer).await;
    let agent = tx.agent_by_name(&id, "deployer").await.expect("a store");
    let role = tx.role_by_name(&id, "writer").await.expect("a store");
    let group = tx.group_by_name(&id, "ops").await.expect("a store");
    let agent = agent.expect("an agent");
    let (role, group) = (role.expect("a role").id, group.expect("a group").id);
    for number in 0..count {
        let member = Agent {
            id: AgentId::from_text(format!("member-{number}")),
            name: Name::parse(&format!("member-{number}")).expect("a name"),
            subject: Subject::from_stored(format!("agent:member-{number}")),
            groups: vec![group.clone()],
            roles: vec![role.clone()],
            ..agent.clone()
        };
        assert!(tx.insert_agent(&id, &member).await.expect("a store"));
    }
    tx.commit().await.expect("a store");
}

#[tokio::test]
async fn a_group_with_more_agents_than_one_step_changes_is_not_removed() {
    let issuer = github_issuer().await;
    members(&issuer, MAX + 1).await;
    let refused = removed(&issuer, "/groups/ops", true).await;
    assert_snapshot!(refused, @r#"409 "more than 500 agents are in the group `ops`, too many for one step" "edit some of the agents first""#);
    assert_eq!(removed(&issuer, "/groups/ops", false).await, refused);
    assert_eq!(audited(&issuer, "agent.changed").await.len(), 0);
    let shown = issuer.admin(Method::GET, "/groups/ops", None).await;
    assert_eq!(shown.json()["members"], MAX + 1);

    let removal = issuer.admin(Method::DELETE, "/agents/member-0", None).await;
    assert_eq!(removal.status, 204, "{removal}");
    assert_snapshot!(removed(&issuer, "/groups/ops", false).await, @r#"409 "the group `ops` has 500 agents; a forced removal removes each from it" "firman group remove ops --force""#);
    assert_snapshot!(removed(&issuer, "/groups/ops", true).await, @"204");
    let entries = audited(&issuer, "group.removed").await;
    assert_snapshot!(entries[0].draft.detail, @r#"{"members_taken_out":500,"roles":["writer"]}"#);
}

#[tokio::test]
async fn a_role_that_more_agents_hold_than_one_step_changes_is_not_removed() {
    let issuer = github_issuer().await;
    members(&issuer, MAX + 1).await;
    let refused = removed(&issuer, "/roles/writer", true).await;
    assert_snapshot!(refused, @r#"409 "more than 500 agents hold the role `writer`, too many for one step" "edit some of the agents first""#);
    assert_eq!(removed(&issuer, "/roles/writer", false).await, refused);
    let removal = issuer.admin(Method::DELETE, "/agents/member-0", None).await;
    assert_eq!(removal.status, 204, "{removal}");
    assert_snapshot!(removed(&issuer, "/roles/writer", false).await, @r#"409 "501 agents and groups hold the role `writer`; a forced removal removes the role from each" "firman role remove writer --force""#);
    assert_snapshot!(removed(&issuer, "/roles/writer", true).await, @"204");
    let entries = audited(&issuer, "role.removed").await;
    assert_snapshot!(entries[0].draft.detail, @r#"{"grants":{},"holders_taken_from":501}"#);
}

#[tokio::test]
async fn a_role_that_more_groups_hold_than_one_step_changes_is_not_removed() {
    let issuer = github_issuer().await;
    members(&issuer, 0).await;
    let (mut tx, id) = write(&issuer).await;
    let group = tx.group_by_name(&id, "ops").await.expect("a store");
    let group = group.expect("a group");
    for number in 0..MAX {
        let another = Group {
            id: GroupId::from_text(format!("group-{number}")),
            name: Name::parse(&format!("group-{number}")).expect("a name"),
            ..group.clone()
        };
        assert!(tx.insert_group(&id, &another).await.expect("a store"));
    }
    tx.commit().await.expect("a store");
    let refused = removed(&issuer, "/roles/writer", true).await;
    assert_snapshot!(refused, @r#"409 "more than 500 groups hold the role `writer`, too many for one step" "edit some of the groups first""#);
    assert_eq!(removed(&issuer, "/roles/writer", false).await, refused);
    assert_eq!(audited(&issuer, "group.changed").await.len(), 0);
}
