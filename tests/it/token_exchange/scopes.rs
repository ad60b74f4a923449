//! TX-013, TX-014: what subject, actor and delegation all allow, and nothing else.

use std::collections::BTreeSet;

use firman::api::role::{GrantedScopes, NewGrant, RoleEdit};
use firman::issuer::Caller;
use insta::assert_snapshot;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;

use super::support::*;
use super::*;
use crate::oauth2::{Answers, audited, granted, mail_issuer, refusal};

/// `subject` has reading of mail, `actor` sending, `both` the two of them; `actor` and `both` may act for
/// all agents.
async fn divided() -> (TestIssuer, [TestAgent; 3]) {
    let issuer = mail_issuer().await;
    issuer.role("reader", "mail", &["read"]).await;
    issuer.role("sender", "mail", &["send"]).await;
    let subject = issuer.agent("subject").role("reader").with_secret().await;
    let actor = issuer.agent("actor").role("sender").with_secret().await;
    let both = issuer.agent("both").role("mailer").with_secret().await;
    delegate("actor", "agent:*", "mail").add(&issuer).await;
    delegate("both", "agent:*", "mail").add(&issuer).await;
    (issuer, [subject, actor, both])
}

#[tokio::test]
async fn tx_013_an_explicit_scope_that_one_of_the_three_does_not_allow_is_refused() {
    let (issuer, [subject, actor, both]) = divided().await;
    let subject_token = identity_token(&issuer, &subject).await;
    let both_token = identity_token(&issuer, &both).await;
    let mut answers = Answers::default();
    for scope in [
        "send",
        "read send",
        "admin",
        "openid",
        "openid read",
        "*",
        "READ",
    ] {
        let answer = exchange(&issuer, &both, &subject_token, &[("scope", scope)]).await;
        answers.add(
            &format!("subject reads: {scope}"),
            &issuer,
            &refusal(&answer),
        );
    }
    for scope in ["read", "read send"] {
        let answer = exchange(&issuer, &actor, &both_token, &[("scope", scope)]).await;
        answers.add(&format!("actor sends: {scope}"), &issuer, &refusal(&answer));
    }
    let third = issuer.agent("third").role("mailer").with_secret().await;
    set_scopes(&issuer, "mail", &["read", "send", "archive"]).await;
    delegate("third", "agent:*", "mail")
        .scopes(&["send", "archive"])
        .add(&issuer)
        .await;
    set_scopes(&issuer, "mail", &["read", "send"]).await;
    for scope in ["read", "read send", "archive"] {
        let answer = exchange(&issuer, &third, &both_token, &[("scope", scope)]).await;
        answers.add(
            &format!("delegation sends: {scope}"),
            &issuer,
            &refusal(&answer),
        );
    }
    assert_eq!(audited(&issuer, "token.issued").await.len(), 2);
    let answer = exchange(&issuer, &both, &subject_token, &[("scope", "read")]).await;
    answers.add("what all allow", &issuer, &granted(&answer));
    assert_snapshot!(answers, @r#"
    subject reads: send: 400 {"error":"invalid_scope","error_description":"not available for agent:subject at https://mail.example: send; subject, agent and delegation all allow: read"}
    subject reads: read send: 400 {"error":"invalid_scope","error_description":"not available for agent:subject at https://mail.example: send; subject, agent and delegation all allow: read"}
    subject reads: admin: 400 {"error":"invalid_scope","error_description":"not available for agent:subject at https://mail.example: admin; subject, agent and delegation all allow: read"}
    subject reads: openid: 400 {"error":"invalid_scope","error_description":"not available for agent:subject at https://mail.example: openid; subject, agent and delegation all allow: read"}
    subject reads: openid read: 400 {"error":"invalid_scope","error_description":"not available for agent:subject at https://mail.example: openid; subject, agent and delegation all allow: read"}
    subject reads: *: 400 {"error":"invalid_scope","error_description":"scope: is `*`, which stands for all scopes in role grants"}
    subject reads: READ: 400 {"error":"invalid_scope","error_description":"not available for agent:subject at https://mail.example: READ; subject, agent and delegation all allow: read"}
    actor sends: read: 400 {"error":"invalid_scope","error_description":"not available for agent:both at https://mail.example: read; subject, agent and delegation all allow: send"}
    actor sends: read send: 400 {"error":"invalid_scope","error_description":"not available for agent:both at https://mail.example: read; subject, agent and delegation all allow: send"}
    delegation sends: read: 400 {"error":"invalid_scope","error_description":"not available for agent:both at https://mail.example: read; subject, agent and delegation all allow: send"}
    delegation sends: read send: 400 {"error":"invalid_scope","error_description":"not available for agent:both at https://mail.example: read; subject, agent and delegation all allow: send"}
    delegation sends: archive: 400 {"error":"invalid_scope","error_description":"not available for agent:both at https://mail.example: archive; subject, agent and delegation all allow: send"}
    what all allow: 200 {"access_token":"[token]","expires_in":900,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read","token_type":"Bearer"}
    "#);
}

#[tokio::test]
async fn tx_014_without_scope_there_is_the_intersection_and_never_the_union() {
    let (issuer, [subject, actor, both]) = divided().await;
    let subject_token = identity_token(&issuer, &subject).await;
    let both_token = identity_token(&issuer, &both).await;
    let mut answers = Answers::default();
    let answer = exchange(&issuer, &both, &subject_token, &[]).await;
    answers.add("the actor has more", &issuer, &granted(&answer));
    assert_eq!(answer.claims()["scope"], "read");
    let answer = exchange(&issuer, &actor, &both_token, &[("scope", "")]).await;
    answers.add("the subject has more", &issuer, &granted(&answer));
    assert_eq!(answer.claims()["scope"], "send");
    let answer = exchange(&issuer, &actor, &subject_token, &[]).await;
    answers.add("nothing in common", &issuer, &refusal(&answer));
    let bare = issuer.agent("bare").with_secret().await;
    let bare_token = identity_token(&issuer, &bare).await;
    for further in [&[][..], &[("scope", "read")], &[("resource", MAIL)]] {
        let answer = exchange(&issuer, &both, &bare_token, further).await;
        answers.add("the subject has nothing there", &issuer, &refusal(&answer));
    }
    assert_snapshot!(answers, @r#"
    the actor has more: 200 {"access_token":"[token]","expires_in":900,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read","token_type":"Bearer"}
    the subject has more: 200 {"access_token":"[token]","expires_in":900,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"send","token_type":"Bearer"}
    nothing in common: 400 {"error":"invalid_scope","error_description":"no scope of https://mail.example is allowed by subject, agent and delegation together"}
    the subject has nothing there: 400 {"error":"invalid_target","error_description":"https://mail.example is not granted to agent:bare, so no agent can request it for that subject"}
    the subject has nothing there: 400 {"error":"invalid_target","error_description":"https://mail.example is not granted to agent:bare, so no agent can request it for that subject"}
    the subject has nothing there: 400 {"error":"invalid_target","error_description":"https://mail.example is not granted to agent:bare, so no agent can request it for that subject"}
    "#);
}

#[tokio::test]
async fn a_token_for_the_resource_itself_passes_on_no_more_than_its_own_scope() {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    delegate("mailer", "agent:*", "mail").add(issuer).await;
    delegate("mailer", "user:*", "mail").add(issuer).await;
    delegate("planner", "user:*", "mail").add(issuer).await;
    let narrow = [("resource", MAIL), ("scope", "read")];
    let of_agent = own_token(issuer, &scene.planner, &narrow).await;
    let of_user = scene
        .planner_for_alice(&[("scope", "read")])
        .await
        .assert_issued();
    let mut answers = Answers::default();
    for (case, token) in [("an agent", &of_agent), ("a user", &of_user)] {
        let answer = exchange(issuer, &scene.mailer, token, &[("scope", "read send")]).await;
        answers.add(case, issuer, &refusal(&answer));
        let answer = exchange(issuer, &scene.mailer, token, &[]).await;
        answers.add(case, issuer, &granted(&answer));
    }
    // A scope that the subject has lost since is not in its token.
    let changes = RoleEdit {
        grants: Some(vec![NewGrant {
            resource: "mail".to_owned(),
            scopes: Some(GrantedScopes::Only(vec!["send".to_owned()])),
        }]),
        ..RoleEdit::default()
    };
    issuer
        .issuer()
        .edit_role(&Caller::system(), "mailer", changes, None)
        .await
        .unwrap();
    for (case, token) in [("an agent, later", &of_agent), ("a user, later", &of_user)] {
        let answer = exchange(issuer, &scene.mailer, token, &[]).await;
        answers.add(case, issuer, &refusal(&answer));
    }
    assert_snapshot!(answers, @r#"
    an agent: 400 {"error":"invalid_scope","error_description":"not available for agent:planner at https://mail.example: send; subject, agent and delegation all allow: read"}
    an agent: 200 {"access_token":"[token]","expires_in":900,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read","token_type":"Bearer"}
    a user: 400 {"error":"invalid_scope","error_description":"not available for user:partner:alice at https://mail.example: send; subject, agent and delegation all allow: read"}
    a user: 200 {"access_token":"[token]","expires_in":600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token","scope":"read","token_type":"Bearer"}
    an agent, later: 400 {"error":"invalid_scope","error_description":"no scope of https://mail.example is allowed by subject, agent and delegation together"}
    a user, later: 400 {"error":"invalid_scope","error_description":"no scope of https://mail.example is allowed by subject, agent and delegation together"}
    "#);
}

#[tokio::test]
async fn scopes_that_one_delegated_resource_alone_allows_mean_that_resource() {
    let scene = Scene::bare().await;
    let issuer = &scene.issuer;
    delegate("planner", "user:*", "mail").add(issuer).await;
    delegate("planner", "user:*", "files")
        .scopes(&["read"])
        .add(issuer)
        .await;
    let mut answers = Answers::default();
    // The agent itself may write to files; the delegation does not say so.
    for scope in ["read", "write", "send write", "openid"] {
        let answer = scene.planner_for_alice(&[("scope", scope)]).await;
        answers.add(scope, issuer, &refusal(&answer));
    }
    assert_snapshot!(answers, @r#"
    read: 400 {"error":"invalid_target","error_description":"several resources are delegated; name one with the parameter `resource`: https://files.example https://mail.example"}
    write: 400 {"error":"invalid_target","error_description":"several resources are delegated; name one with the parameter `resource`: https://files.example https://mail.example"}
    send write: 400 {"error":"invalid_target","error_description":"several resources are delegated; name one with the parameter `resource`: https://files.example https://mail.example"}
    openid: 400 {"error":"invalid_target","error_description":"several resources are delegated; name one with the parameter `resource`: https://files.example https://mail.example"}
    "#);
    for scope in ["send", "read send"] {
        let claims = scene.planner_for_alice(&[("scope", scope)]).await.claims();
        assert_eq!(
            (&claims["aud"], &claims["scope"]),
            (&json!(MAIL), &json!(scope))
        );
    }
    // A resource that does not accept delegated tokens is not meant.
    allow_delegation(issuer, "mail", false).await;
    let claims = scene.planner_for_alice(&[("scope", "read")]).await.claims();
    assert_eq!(
        (&claims["aud"], &claims["scope"]),
        (&json!(FILES), &json!("read"))
    );
}

const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Sets of scopes: what subject, actor and delegation have and what is asked for, and whether the subject
/// token is one for the resource, with which scope.
type Sets = [BTreeSet<&'static str>; 5];

fn sets() -> impl Strategy<Value = Sets> {
    let set = || proptest::sample::subsequence(NAMES.to_vec(), 0..=NAMES.len());
    [set(), set(), set(), set(), set()].prop_map(|sets| sets.map(|set| set.into_iter().collect()))
}

fn joined(set: &BTreeSet<&str>) -> String {
    set.iter().copied().collect::<Vec<_>>().join(" ")
}

/// An issuer with a role for every set of scopes, by the name of the set.
async fn every_set() -> TestIssuer {
    let issuer = TestIssuer::start().await;
    issuer.resource("api", &NAMES).await;
    for bits in 1_usize..16 {
        let names: Vec<&str> = (0..4)
            .filter(|bit| bits & (1 << bit) != 0)
            .map(|bit| NAMES[bit])
            .collect();
        issuer.role(&names.concat(), "api", &names).await;
    }
    issuer
}

async fn agent_with(issuer: &TestIssuer, name: &str, set: &BTreeSet<&str>) -> TestAgent {
    let agent = issuer.agent(name);
    let role: String = set.iter().copied().collect();
    if role.is_empty() {
        agent.with_secret().await
    } else {
        agent.role(&role).with_secret().await
    }
}

#[tokio::test]
async fn whatever_the_three_have_the_result_is_in_each_and_no_wider_than_was_asked() {
    let issuer = every_set().await;
    let mut runner = TestRunner::deterministic();
    let (mut issued, mut refused) = (0, 0);
    for case in 0..40 {
        let [of_subject, of_actor, of_delegation, asked, of_token] =
            sets().new_tree(&mut runner).unwrap().current();
        let (subject_name, actor_name) = (format!("subject-{case}"), format!("actor-{case}"));
        let subject = agent_with(&issuer, &subject_name, &of_subject).await;
        let actor = agent_with(&issuer, &actor_name, &of_actor).await;
        serve(&issuer, "api", &actor_name).await;
        let pattern = format!("agent:{subject_name}");
        let scopes: Vec<&str> = of_delegation.iter().copied().collect();
        if scopes.is_empty() {
            continue;
        }
        delegate(&actor_name, &pattern, "api")
            .scopes(&scopes)
            .add(&issuer)
            .await;
        // A narrowed token for the resource where there can be one, else one for the issuer.
        let narrowed: BTreeSet<&str> = of_token.intersection(&of_subject).copied().collect();
        let (token, ceiling) = if narrowed.is_empty() {
            (identity_token(&issuer, &subject).await, of_subject.clone())
        } else {
            let scope = joined(&narrowed);
            (
                own_token(&issuer, &subject, &[("scope", &scope)]).await,
                narrowed,
            )
        };
        let scope = joined(&asked);
        let answer = exchange(&issuer, &actor, &token, &[("scope", &scope)]).await;
        let all: BTreeSet<&str> = ceiling
            .intersection(&of_actor)
            .copied()
            .collect::<BTreeSet<_>>()
            .intersection(&of_delegation)
            .copied()
            .collect();
        let expected = if asked.is_empty() { &all } else { &asked };
        if !expected.is_empty() && expected.is_subset(&all) {
            assert_eq!(answer.claims()["scope"], joined(expected), "case {case}");
            issued += 1;
        } else {
            let _ = refusal(&answer);
            refused += 1;
        }
    }
    assert!(
        issued > 2 && refused > 10,
        "{issued} issued, {refused} refused"
    );
}
