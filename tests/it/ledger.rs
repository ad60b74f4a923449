//! The ledger: no token without its audit entry, none on a decision that has gone stale, and nothing in
//! the audit that opens anything.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

use std::sync::Arc;
use std::time::Duration;

use firman::api::agent::AgentEdit;
use firman::api::role::Role as RoleView;
use firman::api::role::{NewGrant, RoleEdit};
use firman::domain::audit::AuditEntry;
use firman::issuer::agents::AgentDetail;
use firman::issuer::audit_log::AuditQuery;
use firman::issuer::authenticate::PresentedCredential;
use firman::issuer::authorize::client_credentials::{self, ClientCredentialsRequest};
use firman::issuer::keys::KeyView;
use firman::issuer::ledger::Outcome;
use firman::issuer::mint::Minted;
use firman::issuer::{Caller, Issuer, IssuerError};
use firman::jose::SigningAlgorithm;
use firman::ports::time::Clock as _;
use firman::testing::{START, TestAgent, TestIssuer, TestKey};
use insta::assert_snapshot;
use reqwest::Method;
use serde_json::json;
use sqlx::Connection as _;

use crate::oauth2::{
    REFUSED, assert_tokens_issued, audited, audited_in_time, by_basic, by_post, mail_issuer,
    mail_issuer_on_postgres, refusal,
};

/// A token that is authorized and signed, and not recorded.
async fn minted(issuer: &TestIssuer, agent: &TestAgent) -> Minted {
    let presented = PresentedCredential::Assertion {
        unverified_client_id: None,
        unverified_assertion: agent.assertion().build().into(),
    };
    let handle = issuer.issuer();
    let client = handle
        .authenticate(&presented, issuer.clock.now())
        .await
        .unwrap();
    let request = ClientCredentialsRequest::default();
    let authorization = client_credentials::authorize(
        &client,
        &request,
        None,
        &handle.policy(),
        issuer.clock.now(),
    )
    .unwrap();
    handle
        .mint(authorization, &Caller::system(), issuer.clock.now_millis())
        .unwrap()
}

async fn agents(issuer: &TestIssuer) -> (TestAgent, TestAgent) {
    (
        issuer
            .agent("mailer")
            .role("mailer")
            .with_public_key(TestKey::Es256)
            .await,
        issuer
            .agent("bystander")
            .role("mailer")
            .with_public_key(TestKey::Es256Second)
            .await,
    )
}

/// A token under way at `issuer`, and changes made at `elsewhere` meanwhile.
struct Race<'i> {
    issuer: &'i TestIssuer,
    elsewhere: &'i Arc<Issuer>,
    agent: TestAgent,
}

impl Race<'_> {
    /// What becomes of a token when `change` comes between its authorization and its commit.
    async fn against<T>(&self, change: impl Future<Output = Result<T, IssuerError>>) -> Outcome {
        let minted = minted(self.issuer, &self.agent).await;
        change.await.unwrap();
        let outcome = self.issuer.issuer().record(minted).await;
        self.issuer.issuer().catch_up().await.unwrap();
        outcome
    }

    async fn give(&self, roles: &[&str]) -> Result<AgentDetail, IssuerError> {
        let changes = AgentEdit {
            roles: Some(roles.iter().map(|&role| role.to_owned()).collect()),
            ..AgentEdit::default()
        };
        let system = Caller::system();
        self.elsewhere
            .edit_agent(&system, "mailer", changes, None)
            .await
    }

    /// Makes the role grant all of these resources.
    async fn grant(&self, resources: &[&str]) -> Result<RoleView, IssuerError> {
        let grant = |resource: &&str| NewGrant {
            resource: (*resource).to_owned(),
            scopes: None,
        };
        let changes = RoleEdit {
            grants: Some(resources.iter().map(grant).collect()),
            ..RoleEdit::default()
        };
        let system = Caller::system();
        self.elsewhere
            .edit_role(&system, "mailer", changes, None)
            .await
    }
}

/// Everything that may happen between authorization and commit.
async fn races(issuer: &TestIssuer, elsewhere: &TestIssuer) {
    let system = Caller::system();
    let (agent, bystander) = agents(issuer).await;
    let race = Race {
        issuer,
        elsewhere: elsewhere.issuer(),
        agent,
    };
    let change = elsewhere.issuer();
    assert_recorded(race.against(async { Ok(()) }).await);
    assert_tokens_issued(issuer, 1).await;

    let suspension = change.suspend_agent(&system, "mailer", None);
    assert_stale(race.against(suspension).await);
    change.resume_agent(&system, "mailer", None).await.unwrap();
    issuer.issuer().catch_up().await.unwrap();

    assert_stale(race.against(race.give(&[])).await);
    race.give(&["mailer"]).await.unwrap();
    issuer.issuer().catch_up().await.unwrap();

    assert_stale(race.against(race.grant(&[])).await);
    race.grant(&["mail"]).await.unwrap();
    issuer.issuer().catch_up().await.unwrap();

    let keys = issuer.issuer().keys().await.unwrap();
    let is_es256 = |key: &&KeyView| key.record.algorithm == SigningAlgorithm::Es256;
    let kid = &keys.iter().find(is_es256).unwrap().record.kid;
    assert_stale(
        race.against(change.revoke_key(&system, kid, "leaked"))
            .await,
    );
    assert_tokens_issued(issuer, 1).await;

    // What concerns neither the agent nor the policy does not disturb it.
    let other = change.suspend_agent(&system, "bystander", None);
    assert_recorded(race.against(other).await);
    assert_tokens_issued(issuer, 2).await;
    let answer = issuer.token_with(&bystander.assertion().build()).await;
    assert_eq!(refusal(&answer), REFUSED);

    let removal = change.remove_agent(&system, "mailer", None);
    assert_stale(race.against(removal).await);
    assert_tokens_issued(issuer, 2).await;
    assert_sound(issuer).await;
}

#[track_caller]
fn assert_recorded(outcome: Outcome) {
    assert!(matches!(outcome, Outcome::Recorded(_)), "{outcome:?}");
}

#[track_caller]
fn assert_stale(outcome: Outcome) {
    assert!(matches!(outcome, Outcome::Stale), "{outcome:?}");
}

async fn assert_sound(issuer: &TestIssuer) {
    let verdict = issuer.issuer().verify_audit().await.unwrap();
    assert_eq!(verdict.first_bad, None);
    assert_eq!(verdict.entries, all_entries(issuer).await.len() as i64);
}

async fn all_entries(issuer: &TestIssuer) -> Vec<AuditEntry> {
    let (mut all, mut before) = (Vec::new(), None);
    loop {
        let page = issuer
            .issuer()
            .audit(&AuditQuery::default(), before, 100)
            .await
            .unwrap();
        before = page.next_before;
        all.extend(page.entries);
        if before.is_none() {
            return all;
        }
    }
}

#[tokio::test]
async fn a_suspension_between_authorization_and_commit_lets_no_token_out_on_sqlite() {
    let issuer = mail_issuer().await;
    races(&issuer, &issuer).await;
}

#[tokio::test]
async fn a_suspension_between_authorization_and_commit_lets_no_token_out_on_postgresql() {
    let issuer = mail_issuer_on_postgres().await;
    races(&issuer, &issuer).await;
}

#[tokio::test]
async fn a_suspension_between_authorization_and_commit_by_another_replica_lets_no_token_out() {
    let issuer = mail_issuer_on_postgres().await;
    let elsewhere = issuer.replica().await.unwrap();
    races(&issuer, &elsewhere).await;
    assert_sound(&elsewhere).await;
}

#[tokio::test]
async fn sqlite_accepts_no_second_process_on_one_file() {
    let issuer = mail_issuer().await;
    let refused = issuer.replica().await.unwrap_err().to_string();
    let refused = refused.replace(&issuer.folder().display().to_string(), "FOLDER");
    assert_snapshot!(refused, @"another firman process uses the database file `FOLDER/firman.db`");
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_raced_with_suspensions_stop_at_the_suspension_in_the_audits_own_order() {
    let issuer = Arc::new(mail_issuer().await);
    let (agent, _) = agents(&issuer).await;
    let mut requests = tokio::task::JoinSet::new();
    for _ in 0..60 {
        let (issuer, assertion) = (Arc::clone(&issuer), agent.assertion().build());
        requests.spawn(async move { issuer.token_with(&assertion).await });
    }
    issuer
        .issuer()
        .suspend_agent(&Caller::system(), "mailer", None)
        .await
        .unwrap();
    for answer in requests.join_all().await {
        match answer.status {
            200 => {}
            429 => assert_eq!(answer.header("retry-after"), "1"),
            _ => assert_eq!(refusal(&answer), REFUSED),
        }
    }
    let entries = all_entries(&issuer).await;
    let suspended = entries
        .iter()
        .find(|entry| entry.draft.event.as_str() == "agent.suspended")
        .unwrap()
        .seq;
    let late: Vec<_> = entries
        .iter()
        .filter(|entry| entry.draft.event.as_str() == "token.issued" && entry.seq > suspended)
        .collect();
    assert!(late.is_empty(), "{late:#?}");
    assert_sound(&issuer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_two_replicas_no_token_comes_after_the_suspension_and_none_is_signed_by_a_revoked_key() {
    let a = mail_issuer_on_postgres().await;
    let b = a.replica().await.unwrap();
    let (agent, bystander) = agents(&a).await;
    let keys = a.issuer().keys().await.unwrap();
    let is_es256 = |key: &&KeyView| key.record.algorithm == SigningAlgorithm::Es256;
    let kid = keys.iter().find(is_es256).unwrap().record.kid.clone();
    let replicas = [Arc::new(a), Arc::new(b)];
    let mut requests = tokio::task::JoinSet::new();
    for number in 0..120 {
        let issuer = Arc::clone(&replicas[number % 2]);
        let assertion = [&agent, &bystander][number % 3 / 2].assertion().build();
        requests.spawn(async move { issuer.token_with(&assertion).await.status });
    }
    let (system, issuer) = (Caller::system(), replicas[0].issuer());
    issuer.revoke_key(&system, &kid, "leaked").await.unwrap();
    issuer.suspend_agent(&system, "mailer", None).await.unwrap();
    let statuses = requests.join_all().await;
    assert!(
        statuses
            .iter()
            .all(|status| matches!(status, 200 | 401 | 429 | 503)),
        "{statuses:?}"
    );

    let entries = all_entries(&replicas[1]).await;
    let seq_of = |event: &str| {
        let entry = entries
            .iter()
            .find(|entry| entry.draft.event.as_str() == event);
        entry.unwrap().seq
    };
    let (suspended, revoked) = (seq_of("agent.suspended"), seq_of("key.revoked"));
    let issued: Vec<_> = entries
        .iter()
        .filter(|entry| entry.draft.event.as_str() == "token.issued")
        .collect();
    assert_eq!(
        issued.len(),
        statuses.iter().filter(|&&status| status == 200).count()
    );
    for entry in issued {
        let late = entry.seq > suspended && entry.draft.actor == "agent:mailer";
        let leaked = entry.seq > revoked && entry.draft.detail.contains(&kid);
        assert!(!late && !leaked, "{entry:#?}");
    }
    assert_sound(&replicas[1]).await;
}

#[tokio::test]
async fn an_issued_token_is_in_the_audit_with_its_number_and_its_circumstances() {
    let issuer = mail_issuer().await;
    let (agent, _) = agents(&issuer).await;
    let answer = issuer
        .token(&[
            ("grant_type", "client_credentials"),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", &agent.assertion().build()),
            ("scope", "openid read"),
        ])
        .await;
    let claims = answer.claims();
    let access = audited(&issuer, "token.issued").await.remove(0);
    let id = audited(&issuer, "id_token.issued").await.remove(0);
    assert_eq!(access.draft.token_id.as_deref(), claims["jti"].as_str());
    assert_ne!(id.draft.token_id, access.draft.token_id);
    assert_eq!(access.draft.request_id, answer.header("x-request-id"));
    let kid = firman::testing::decoded_part(&answer.assert_issued(), 0)["kid"]
        .as_str()
        .unwrap()
        .to_owned();
    let credential = issuer
        .issuer()
        .credentials("mailer")
        .await
        .unwrap()
        .remove(0)
        .id
        .to_string();
    let mut shown = String::new();
    for entry in [&access, &id] {
        let draft = &entry.draft;
        let line = format!(
            "{} {} {} {} {} {}\n",
            draft.at,
            draft.event.as_str(),
            draft.actor,
            draft.target,
            draft.address,
            draft.detail
        );
        shown.push_str(&line.replace(&kid, "KID").replace(&credential, "CREDENTIAL"));
    }
    assert_snapshot!(shown.trim_end(), @r#"
2027-01-15T08:00:00.000Z token.issued agent:mailer agent:mailer 127.0.0.1 {"aud":"https://mail.example","credential":"CREDENTIAL","exp":1800000900,"grant_type":"client_credentials","kid":"KID","method":"private_key_jwt","scope":"openid read"}
2027-01-15T08:00:00.000Z id_token.issued agent:mailer agent:mailer 127.0.0.1 {"aud":"mailer","credential":"CREDENTIAL","exp":1800000900,"grant_type":"client_credentials","kid":"KID","method":"private_key_jwt","scope":""}
"#);
    assert_eq!(id.seq, access.seq + 1);
}

#[tokio::test]
async fn refusals_of_a_proven_agent_are_audited_as_they_come() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    for further in [
        ("scope", "admin"),
        ("resource", "urn:x"),
        ("expires_in", "0"),
    ] {
        by_basic(&issuer, "mailer", agent.secret(), &[further]).await;
    }
    let signer = issuer
        .agent("signer")
        .role("mailer")
        .with_public_key(TestKey::Es256)
        .await;
    issuer
        .token_with(&signer.assertion().claim("exp", START - 100).build())
        .await;
    let entries = audited_in_time(&issuer, "token.refused", 4).await;
    let shown: Vec<String> = entries
        .iter()
        .map(|entry| {
            format!(
                "{} {} {} {}",
                entry.draft.actor, entry.draft.target, entry.draft.address, entry.draft.detail
            )
        })
        .collect();
    assert_snapshot!(shown.join("\n"), @r#"
agent:mailer agent:mailer 127.0.0.1 {"error":"invalid_scope","reason":"not granted for https://mail.example: admin; granted: read send"}
agent:mailer agent:mailer 127.0.0.1 {"error":"invalid_target","reason":"urn:x is not granted to this agent; granted: https://mail.example"}
agent:mailer agent:mailer 127.0.0.1 {"error":"invalid_request","reason":"`expires_in` must be 60 to 3600 seconds here"}
agent:signer agent:signer 127.0.0.1 {"error":"invalid_client","reason":"the token has expired (`exp`); make a new one, and check the clock of the machine that makes it"}
"#);
    assert!(
        entries
            .iter()
            .all(|entry| !entry.draft.request_id.is_empty())
    );
    assert_sound(&issuer).await;
}

#[tokio::test]
async fn refusals_of_unproven_callers_are_counted_per_kind_and_become_entries_at_the_interval() {
    let issuer = mail_issuer().await;
    issuer.agent("mailer").role("mailer").with_secret().await;
    for _ in 0..7 {
        by_basic(&issuer, "mailer", "wrong", &[]).await;
    }
    for _ in 0..3 {
        by_basic(&issuer, "nobody", "wrong", &[]).await;
    }
    issuer.token_with("a.b.c").await;
    assert_eq!(audited(&issuer, "client.refused").await.len(), 0);
    issuer.issuer().flush_refusals();
    let entries = audited_in_time(&issuer, "client.refused", 3).await;
    let shown: Vec<String> = entries
        .iter()
        .map(|entry| {
            format!(
                "{} {:?} {} {}",
                entry.draft.actor, entry.draft.target, entry.draft.address, entry.draft.detail
            )
        })
        .collect();
    assert_snapshot!(shown.join("\n"), @r#"
    unknown "nobody" 127.0.0.1 {"count":3,"reason":"no such client"}
    unknown "mailer" 127.0.0.1 {"count":7,"reason":"not a client secret of this issuer: it does not begin with `fmn_`"}
    unknown "" 127.0.0.1 {"count":1,"reason":"the header of the token is not base64url: the text is cut short"}
    "#);
    // Nothing new, nothing written.
    issuer.issuer().flush_refusals();
    by_basic(&issuer, "mailer", "wrong", &[]).await;
    issuer.issuer().flush_refusals();
    audited_in_time(&issuer, "client.refused", 4).await;
}

#[tokio::test]
async fn a_flood_of_invented_clients_is_a_bounded_number_of_entries() {
    let issuer = mail_issuer().await;
    let caller = Caller {
        actor: String::new(),
        request_id: String::new(),
        address: "192.0.2.1".to_owned(),
        authority: None,
    };
    for number in 0..3000 {
        issuer
            .issuer()
            .note_unproven("no such client", &format!("invented-{number}"), &caller);
    }
    issuer.issuer().flush_refusals();
    let entries = audited_in_time(&issuer, "client.refused", 129).await;
    let others: Vec<_> = entries
        .iter()
        .filter(|entry| entry.draft.target.is_empty())
        .map(|entry| entry.draft.detail.clone())
        .collect();
    assert_snapshot!(others.join("\n"), @r#"{"count":2872,"reason":"further callers"}"#);
}

#[tokio::test]
async fn the_chain_is_verified_over_the_admin_api_and_a_changed_or_missing_entry_is_found() {
    let mut issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    for _ in 0..5 {
        let _ = by_basic(&issuer, "mailer", agent.secret(), &[])
            .await
            .assert_issued();
    }
    let sound = verified_over_http(&issuer).await;
    assert_snapshot!(sound, @r#"200 {"entries":13,"first_bad":null,"head_hash":"[hash]","ok":true}"#);
    assert_sound(&issuer).await;

    for (what, statement) in [
        (
            "removed",
            "DELETE FROM audit WHERE seq = (SELECT MAX(seq) FROM audit)",
        ),
        (
            "changed",
            "UPDATE audit SET actor = 'agent:other' WHERE seq = (SELECT MAX(seq) - 2 FROM audit)",
        ),
    ] {
        issuer.shut_down().await;
        let file = format!("sqlite:{}", issuer.folder().join("firman.db").display());
        let mut database = sqlx::SqliteConnection::connect(&file).await.unwrap();
        let done = sqlx::query(statement).execute(&mut database).await.unwrap();
        assert_eq!(done.rows_affected(), 1, "{what}");
        database.close().await.unwrap();
        issuer = issuer.restart().await;
        let found = verified_over_http(&issuer).await;
        if what == "changed" {
            assert_snapshot!(found, @r#"200 {"entries":9,"first_bad":{"problem":"its content or the entry before it was changed after it was written","seq":10},"head_hash":"[hash]","ok":false}"#);
        } else {
            assert_snapshot!(found, @r#"200 {"entries":12,"first_bad":{"problem":"the entries from here to the head are missing","seq":13},"head_hash":"[hash]","ok":false}"#);
        }
    }
}

/// The answer to a check of the chain, what differs from run to run replaced.
async fn verified_over_http(issuer: &TestIssuer) -> String {
    let verdict = issuer.admin(Method::GET, "/audit/verify", None).await;
    let mut body = verdict.json();
    assert_eq!(body["head_hash"].as_str().unwrap().len(), 64);
    body["head_hash"] = json!("[hash]");
    format!("{} {body}", verdict.status)
}

/// Requests of every kind; returns everything in them and in their answers that opens something.
async fn traffic(issuer: &TestIssuer) -> Vec<String> {
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let signer = issuer.agent("signer").role("mailer");
    let signer = signer.with_public_key(TestKey::Es256).await;
    let wrong = "fmn_wrong-secret-wrong-secret-wrong-secret-wrong-secr";
    let mut opening = vec![
        agent.secret().to_owned(),
        wrong.to_owned(),
        issuer.admin_token(),
    ];
    let good = signer.assertion().build();
    let bad = signer.assertion().claim("aud", "x").build();
    let mut answers = Vec::new();
    for assertion in [&good, &bad, &good] {
        answers.push(issuer.token_with(assertion).await);
    }
    for (secret, scope) in [
        (agent.secret(), "openid"),
        (agent.secret(), "admin"),
        (wrong, "read"),
    ] {
        let further = [("scope", scope), ("client_id", "mailer")];
        answers.push(by_basic(issuer, "mailer", secret, &further).await);
    }
    // A secret sent as the client id is a mistake that people make.
    answers.push(by_post(issuer, agent.secret(), wrong).await);
    for answer in answers {
        for token in ["access_token", "id_token"] {
            opening.extend(answer.json()[token].as_str().map(str::to_owned));
        }
    }
    opening.extend([good, bad]);
    assert_eq!(opening.len(), 3 + 3 + 2);
    // Of a token or an assertion not even the signature alone.
    let signatures: Vec<String> = opening
        .iter()
        .filter_map(|text| text.rsplit_once('.'))
        .map(|(_, signature)| signature.to_owned())
        .collect();
    assert_eq!(signatures.len(), 3 + 2);
    opening.extend(signatures);
    opening
}

#[tokio::test]
async fn no_secret_assertion_or_token_is_in_the_audit_or_anywhere_in_the_database() {
    let mut issuer = mail_issuer().await;
    let forbidden = traffic(&issuer).await;

    issuer.issuer().flush_refusals();
    audited_in_time(&issuer, "token.refused", 3).await;
    let entries = all_entries(&issuer).await;
    assert!(entries.len() > 10);
    for entry in &entries {
        let shown = format!("{entry:?}");
        for text in &forbidden {
            assert!(!shown.contains(text.as_str()), "{shown}");
        }
    }
    issuer.shut_down().await;
    for file in ["firman.db", "firman.db-wal"] {
        let bytes = std::fs::read(issuer.folder().join(file)).unwrap_or_default();
        for text in &forbidden {
            let found = bytes
                .windows(text.len())
                .any(|window| window == text.as_bytes());
            assert!(!found, "{file}");
        }
    }
}

#[tokio::test]
async fn maintenance_with_nothing_to_forget_waits_for_no_writer() {
    let issuer = mail_issuer().await;
    let agent = issuer.agent("mailer").role("mailer").with_secret().await;
    let token = by_basic(&issuer, "mailer", agent.secret(), &[]).await;
    assert_eq!(token.status, 200, "{token}");
    let writer = issuer.host().store().write().await.unwrap();
    // A writer that waits is abandoned after three seconds.
    tokio::time::timeout(Duration::from_secs(2), issuer.host().maintain())
        .await
        .expect("nothing is written");
    writer.rollback().await.unwrap();
}

#[tokio::test]
async fn a_change_that_is_refused_leaves_no_audit_entry_and_no_new_version() {
    let issuer = mail_issuer().await;
    let before = all_entries(&issuer).await.len();
    let refused = issuer
        .issuer()
        .suspend_agent(&Caller::system(), "nobody", None)
        .await;
    assert!(
        matches!(refused, Err(IssuerError::NotFound { .. })),
        "{refused:?}"
    );
    assert_eq!(all_entries(&issuer).await.len(), before);
}
