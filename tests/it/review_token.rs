//! What one damaged row, one absent client, one external lock or one long role may do to the token path:
//! nothing to anybody else, and never a 5xx for what a client asks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use firman::domain::agent::AgentStatus;
use firman::domain::audit::{AuditEntry, AuditEvent};
use firman::host::{FirstSettings, Host, HostOptions, KekSource};
use firman::issuer::agents::AgentChanges;
use firman::issuer::credentials::{NewCredential, NewCredentialKind};
use firman::issuer::groups::Removal;
use firman::issuer::resources::{NewResource, ResourceChanges};
use firman::issuer::{Caller, Ports};
use firman::jose::algorithm::SigningAlgorithm;
use firman::jose::digest::sha256;
use firman::ports::fetch::HttpFetcher;
use firman::ports::random::SystemRandom;
use firman::ports::time::{SystemClock, UnixTime};
use firman::store::UsedAssertion;
use firman::store::testing::fresh_postgres_database;
use firman::testing::{Answer, START, TestIssuer, TestKey, TestOptions};
use secrecy::ExposeSecret as _;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection as _, SqliteConnection};

/// The issuer's SQLite file by another door, as an administrator with a shell would open it.
async fn database_of(issuer: &TestIssuer) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(issuer.folder().join("firman.db"));
    SqliteConnection::connect_with(&options)
        .await
        .expect("the file opens")
}

async fn execute(issuer: &TestIssuer, sql: &'static str) -> u64 {
    let mut database = database_of(issuer).await;
    sqlx::query(sql)
        .execute(&mut database)
        .await
        .expect("the statement is good")
        .rows_affected()
}

async fn with_resource() -> TestIssuer {
    let issuer = TestIssuer::start().await;
    issuer.resource("files", &["read", "write"]).await;
    issuer.role("reader", "files", &["read"]).await;
    issuer
}

fn assert_issued(answer: &Answer) {
    assert_eq!(answer.status, 200, "{answer}");
}

fn secret_form<'f>(client_id: &'f str, secret: &'f str) -> [(&'f str, &'f str); 3] {
    [
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("client_secret", secret),
    ]
}

#[tokio::test]
async fn a_damaged_agent_is_refused_alone() {
    let issuer = with_resource().await;
    let damaged = issuer
        .agent("damaged")
        .role("reader")
        .with_public_key(TestKey::Es256)
        .await;
    let sound = issuer
        .agent("sound")
        .role("reader")
        .with_public_key(TestKey::Es256Second)
        .await;
    assert_issued(&issuer.token_with(&damaged.assertion().build()).await);
    assert_eq!(
        execute(
            &issuer,
            "UPDATE credentials SET jwk = '{}' WHERE agent_id = (SELECT id FROM agents WHERE name = 'damaged')"
        )
        .await,
        1
    );
    // Its next change makes every replica read it again.
    let changes = AgentChanges {
        description: Some("changed".to_owned()),
        ..AgentChanges::default()
    };
    let _ = issuer
        .issuer()
        .edit_agent(&Caller::system(), "damaged", changes, None)
        .await;
    let answer = issuer.token_with(&damaged.assertion().build()).await;
    assert_eq!(answer.status, 503, "{answer}");
    assert_issued(&issuer.token_with(&sound.assertion().build()).await);
}

#[tokio::test]
async fn te_043_a_stored_hash_that_asks_for_too_much_matches_no_secret_and_spares_the_others() {
    let issuer = with_resource().await;
    let agent = issuer.agent("mailer").role("reader").with_secret().await;
    assert_eq!(
        execute(
            &issuer,
            "UPDATE credentials SET secret_hash = '$argon2id$v=19$m=4194304,t=1000,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'"
        )
        .await,
        1
    );
    let second = issuer
        .issuer()
        .add_credential(
            &Caller::system(),
            "mailer",
            NewCredential {
                kind: NewCredentialKind::ClientSecret,
                expires_in: None,
            },
            None,
        )
        .await
        .expect("a second secret")
        .secret
        .expect("a secret");
    let answer = issuer.token(&secret_form("mailer", agent.secret())).await;
    assert_eq!(answer.status, 401, "{answer}");
    assert_eq!(answer.json()["error"], "invalid_client");
    assert_issued(
        &issuer
            .token(&secret_form("mailer", second.expose_secret()))
            .await,
    );
}

#[tokio::test]
async fn te_046_a_token_that_would_be_too_long_is_the_requests_fault_and_says_so() {
    let issuer = with_resource().await;
    issuer.role("everything", "files", &[]).await;
    let agent = issuer
        .agent("greedy")
        .role("everything")
        .with_public_key(TestKey::Es256)
        .await;
    let scopes = (0..64).map(|n| format!("{n:0>120}")).collect();
    let changes = ResourceChanges {
        scopes: Some(scopes),
        ..ResourceChanges::default()
    };
    issuer
        .issuer()
        .edit_resource(&Caller::system(), "files", changes, None)
        .await
        .expect("a resource with many scopes");
    let answer = issuer.token_with(&agent.assertion().build()).await;
    assert_eq!(answer.status, 400, "{answer}");
    assert_eq!(answer.json()["error"], "invalid_request");
    let fewer = issuer
        .token(&[
            ("grant_type", "client_credentials"),
            ("scope", &format!("{:0>120}", 7)),
            (
                "client_assertion_type",
                "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            ),
            ("client_assertion", &agent.assertion().build()),
        ])
        .await;
    assert_issued(&fewer);
}

#[tokio::test]
async fn no_resource_is_the_issuer_itself_whose_audience_openid_gives_to_anyone() {
    let issuer = TestIssuer::start().await;
    let new = NewResource {
        name: "itself".to_owned(),
        identifier: Some(issuer.url.clone()),
        ..NewResource::default()
    };
    let refused = issuer
        .issuer()
        .create_resource(&Caller::system(), new)
        .await
        .expect_err("refused");
    assert_eq!(
        refused.to_string(),
        "identifier: is the issuer's own URL; a token for the issuer itself is had with the scope openid and needs no resource"
    );
}

#[tokio::test]
async fn fa_007_a_lock_held_outside_ends_in_503_within_three_seconds() {
    let issuer = with_resource().await;
    let agent = issuer
        .agent("mailer")
        .role("reader")
        .with_public_key(TestKey::Es256)
        .await;
    let mut outside = database_of(&issuer).await;
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut outside)
        .await
        .expect("the lock");
    let assertion = agent.assertion().build();
    let answer = tokio::time::timeout(Duration::from_secs(4), issuer.token_with(&assertion))
        .await
        .expect("an answer in time");
    assert_eq!(answer.status, 503, "{answer}");
    assert_eq!(answer.header("retry-after"), "1");
    sqlx::query("ROLLBACK")
        .execute(&mut outside)
        .await
        .expect("the lock is given back");
    // Nobody waited for that token any more: it was not recorded and its assertion is not spent.
    assert_issued(&issuer.token_with(&assertion).await);
}

#[tokio::test]
async fn used_assertions_are_forgotten_as_fast_as_they_come() {
    let issuer = TestIssuer::start().await;
    let id = issuer.issuer().policy().settings.id.clone();
    let long_gone: Vec<UsedAssertion> = (0..12_000_u128)
        .map(|number| UsedAssertion {
            digest: number.to_be_bytes(),
            token_id: number.to_string(),
            expires_at: UnixTime(START - 200_000),
        })
        .collect();
    let insert = async || {
        let mut tx = issuer.host().store().write().await.expect("a transaction");
        tx.lock_head(&id).await.expect("the lock");
        let inserted = tx
            .insert_used_assertions(&id, &long_gone)
            .await
            .expect("marks");
        tx.commit().await.expect("a commit");
        inserted
    };
    assert_eq!(insert().await, 12_000);
    issuer.host().maintain().await;
    assert_eq!(insert().await, 12_000, "some were still there");
}

async fn on_postgres() -> TestIssuer {
    let url = fresh_database().await;
    let issuer = TestIssuer::start_with(TestOptions {
        database_url: Some(url),
        ..TestOptions::default()
    })
    .await;
    issuer.resource("files", &["read", "write"]).await;
    issuer.role("reader", "files", &["read"]).await;
    issuer
}

#[tokio::test]
async fn fa_017_changes_that_change_nothing_hold_no_connection_while_they_wait_for_another() {
    let issuer = on_postgres().await;
    issuer.agent("mailer").with_public_key(TestKey::Es256).await;
    let suspend = || issuer.issuer().suspend_agent(&CALLER, "mailer", None);
    suspend().await.expect("suspended");
    let answers = futures(60, suspend).await;
    for answer in answers {
        let status = answer.expect("suspended already").view.agent.status;
        assert!(matches!(status, AgentStatus::Suspended { .. }));
    }
}

static CALLER: std::sync::LazyLock<Caller> = std::sync::LazyLock::new(Caller::system);

/// `count` of them at once.
async fn futures<F: Future>(count: usize, make: impl Fn() -> F) -> Vec<F::Output> {
    let mut waiting: Vec<_> = (0..count).map(|_| Box::pin(make())).collect();
    let mut done: Vec<Option<F::Output>> = (0..count).map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, output) in waiting.iter_mut().zip(&mut done) {
            if output.is_none()
                && let std::task::Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        if done.iter().all(Option::is_some) {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// What two replicas on one database, or one on SQLite, record while somebody asks for tokens without
/// pause: after `change` is in the audit, nothing that `is_over` says could not be issued any more.
async fn nothing_leaves_after(
    replicas: &[&TestIssuer],
    change: impl AsyncFn(&TestIssuer),
    event: AuditEvent,
    is_over: impl Fn(&AuditEntry) -> bool,
) {
    let first = replicas[0];
    let agent = first
        .agent("mailer")
        .role("reader")
        .with_public_key(TestKey::Es256)
        .await;
    let stop = AtomicBool::new(false);
    let issued = AtomicUsize::new(0);
    let ask = async |number: usize| {
        let replica = replicas[number % replicas.len()];
        while !stop.load(Ordering::Relaxed) {
            let answer = replica.token_with(&agent.assertion().build()).await;
            assert!(
                matches!(answer.status, 200 | 400 | 401 | 429 | 503),
                "{answer}"
            );
            if answer.status == 200 {
                issued.fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    let asking = async {
        let numbers = std::sync::atomic::AtomicUsize::new(0);
        futures(8, || ask(numbers.fetch_add(1, Ordering::Relaxed))).await
    };
    let changing = async {
        while issued.load(Ordering::Relaxed) < 40 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        change(first).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.store(true, Ordering::Relaxed);
    };
    tokio::join!(asking, changing);
    let entries = audit_of(first).await;
    let changed_at = entries
        .iter()
        .rfind(|entry| entry.draft.event == event)
        .expect("the change is audited")
        .seq;
    let tokens = |entry: &&AuditEntry| entry.draft.event == AuditEvent::TokenIssued;
    assert!(entries.iter().filter(tokens).count() >= issued.load(Ordering::Relaxed));
    let late: Vec<_> = entries
        .iter()
        .filter(|entry| entry.seq > changed_at)
        .filter(tokens)
        .filter(|entry| is_over(entry))
        .collect();
    assert!(late.is_empty(), "{late:?}");
    let verdict = first.issuer().verify_audit().await.expect("a verdict");
    assert_eq!(verdict.first_bad, None);
}

/// The whole audit, the oldest entry first.
async fn audit_of(issuer: &TestIssuer) -> Vec<AuditEntry> {
    let id = issuer.issuer().policy().settings.id.clone();
    let mut tx = issuer.host().store().read().await.expect("a transaction");
    let entries = tx.audit_from(&id, 0, 1_000_000).await.expect("the audit");
    tx.rollback().await.expect("the end");
    entries
}

async fn suspend(issuer: &TestIssuer) {
    issuer
        .issuer()
        .suspend_agent(&CALLER, "mailer", None)
        .await
        .expect("suspended");
}

async fn take_the_role(issuer: &TestIssuer) {
    issuer
        .issuer()
        .remove_role(
            &CALLER,
            "reader",
            Removal {
                expected: None,
                force: true,
            },
        )
        .await
        .expect("removed");
}

async fn revoke_the_key(issuer: &TestIssuer) {
    issuer
        .issuer()
        .revoke_key(&CALLER, &active_kid(issuer), "it leaked")
        .await
        .expect("revoked");
}

fn active_kid(issuer: &TestIssuer) -> String {
    let policy = issuer.issuer().policy();
    let key = policy.keyring.active(SigningAlgorithm::Es256);
    key.expect("an active key").kid().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_of_a_suspended_agent_is_recorded_on_either_engine() {
    let sqlite = with_resource().await;
    nothing_leaves_after(&[&sqlite], suspend, AuditEvent::AgentSuspended, |_| true).await;
    let postgres = on_postgres().await;
    let replica = postgres.replica().await.expect("a second process");
    let both = [&postgres, &replica];
    nothing_leaves_after(&both, suspend, AuditEvent::AgentSuspended, |_| true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_for_a_role_that_was_taken_is_recorded_on_either_engine() {
    let sqlite = with_resource().await;
    nothing_leaves_after(&[&sqlite], take_the_role, AuditEvent::RoleRemoved, |_| true).await;
    let postgres = on_postgres().await;
    let replica = postgres.replica().await.expect("a second process");
    let both = [&postgres, &replica];
    nothing_leaves_after(&both, take_the_role, AuditEvent::RoleRemoved, |_| true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_token_of_a_revoked_signing_key_is_recorded_on_either_engine() {
    let sqlite = with_resource().await;
    let kid = active_kid(&sqlite);
    let is_signed_by = |entry: &AuditEntry| entry.draft.detail.contains(&kid);
    nothing_leaves_after(
        &[&sqlite],
        revoke_the_key,
        AuditEvent::KeyRevoked,
        is_signed_by,
    )
    .await;
    let postgres = on_postgres().await;
    let replica = postgres.replica().await.expect("a second process");
    let both = [&postgres, &replica];
    let kid = active_kid(&postgres);
    let is_signed_by = |entry: &AuditEntry| entry.draft.detail.contains(&kid);
    nothing_leaves_after(&both, revoke_the_key, AuditEvent::KeyRevoked, is_signed_by).await;
    // The other replica signs with the new key, as soon as it is asked.
    let agent = replica
        .agent("second")
        .role("reader")
        .with_public_key(TestKey::Es256Second)
        .await;
    assert_issued(&replica.token_with(&agent.assertion().build()).await);
    assert_ne!(active_kid(&replica), kid);
}

#[tokio::test]
async fn a_right_given_on_one_replica_works_at_once_on_the_other() {
    let issuer = on_postgres().await;
    let replica = issuer.replica().await.expect("a second process");
    let agent = issuer.agent("mailer").with_public_key(TestKey::Es256).await;
    let refused = replica.token_with(&agent.assertion().build()).await;
    assert_eq!(refused.json()["error"], "invalid_target", "{refused}");
    let changes = AgentChanges {
        roles: Some(vec!["reader".to_owned()]),
        ..AgentChanges::default()
    };
    issuer
        .issuer()
        .edit_agent(&CALLER, "mailer", changes, None)
        .await
        .expect("edited");
    assert_issued(&replica.token_with(&agent.assertion().build()).await);
    suspend(&issuer).await;
    let refused = replica.token_with(&agent.assertion().build()).await;
    assert_eq!(refused.json()["error"], "invalid_client", "{refused}");
    issuer
        .issuer()
        .resume_agent(&CALLER, "mailer", None)
        .await
        .expect("resumed");
    assert_issued(&replica.token_with(&agent.assertion().build()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fa_019_replicas_that_start_at_once_on_nothing_make_one_issuer_together() {
    for _ in 0..4 {
        let folder = tempfile::tempdir().expect("a folder");
        let options = HostOptions {
            first_keys: Vec::new(),
            database_url: fresh_database().await,
            issuer_url: "https://issuer.example".to_owned(),
            kek: KekSource::File(folder.path().join("keys/kek")),
            admin_token_file: folder.path().join("admin-token"),
            first_settings: FirstSettings::default(),
        };
        let start = || async {
            let ports = Ports {
                clock: Arc::new(SystemClock),
                random: Arc::new(SystemRandom),
                fetcher: Arc::new(HttpFetcher::default()),
            };
            let options = options.clone();
            tokio::spawn(async move { Host::start(&options, ports).await })
                .await
                .expect("no panic")
        };
        let hosts = futures(3, start).await;
        let hosts: Vec<Host> = hosts
            .into_iter()
            .map(|host| host.expect("it starts"))
            .collect();
        let id = hosts[0].issuer().policy().settings.id.clone();
        let mut tx = hosts[0].store().read().await.expect("a transaction");
        assert_eq!(tx.keys(&id).await.expect("keys").len(), 2);
        let administrators = tx.administrators(&id).await.expect("administrators");
        tx.rollback().await.expect("the end");
        let token = std::fs::read_to_string(&options.admin_token_file).expect("the token");
        let digests: Vec<_> = administrators.iter().map(|a| a.token_digest).collect();
        assert_eq!(digests, [sha256(token.as_bytes())]);
        for host in &hosts {
            host.stop().await;
        }
    }
}

async fn fresh_database() -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test has no configuration but its environment"
    )]
    let server = std::env::var("FIRMAN_TEST_POSTGRES_URL")
        .expect("FIRMAN_TEST_POSTGRES_URL names a server; scripts/with-postgres starts one");
    fresh_postgres_database(&server)
        .await
        .expect("a fresh database")
}

/// Callers that go away at every possible moment, of tokens and of changes.
async fn survives_those_who_go_away(issuer: &TestIssuer) {
    let agent = issuer
        .agent("mailer")
        .role("reader")
        .with_public_key(TestKey::Es256)
        .await;
    for round in 0..150_u64 {
        let patience = Duration::from_micros(round * 97 % 6000);
        let assertion = agent.assertion().build();
        let changes = AgentChanges {
            description: Some(format!("round {round}")),
            ..AgentChanges::default()
        };
        let change = async {
            let edit = issuer.issuer().edit_agent(&CALLER, "mailer", changes, None);
            let _ = tokio::time::timeout(patience, edit).await;
        };
        let tokens = async {
            let _ = tokio::time::timeout(patience, issuer.token_with(&assertion)).await;
        };
        let refusals = async {
            let unknown = issuer.token(&[
                ("grant_type", "client_credentials"),
                ("client_id", "nobody"),
                ("client_secret", "x"),
            ]);
            let _ = tokio::time::timeout(patience, unknown).await;
            let _ = tokio::time::timeout(patience, issuer.issuer().renew(i64::MAX)).await;
        };
        tokio::join!(change, tokens, refusals);
    }
    let changes = AgentChanges {
        description: Some("the end".to_owned()),
        ..AgentChanges::default()
    };
    let edited = issuer
        .issuer()
        .edit_agent(&CALLER, "mailer", changes, None)
        .await
        .expect("still works");
    assert_eq!(edited.view.agent.description, "the end");
    assert_issued(&issuer.token_with(&agent.assertion().build()).await);
    let verdict = issuer.issuer().verify_audit().await.expect("a verdict");
    assert_eq!(verdict.first_bad, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_go_away_leave_nothing_locked_on_either_engine() {
    survives_those_who_go_away(&with_resource().await).await;
    survives_those_who_go_away(&on_postgres().await).await;
}

#[tokio::test]
async fn fa_015_a_database_that_went_back_counts_for_more_than_what_was_known_of_it() {
    let issuer = with_resource().await;
    let agent = issuer
        .agent("mailer")
        .role("reader")
        .with_public_key(TestKey::Es256)
        .await;
    assert_issued(&issuer.token_with(&agent.assertion().build()).await);
    // As a standby that lags two changes behind, on which the agent is suspended.
    for sql in [
        "UPDATE agents SET status = 'suspended', status_at = 1",
        "UPDATE audit_head SET registry_version = registry_version - 2, policy_version = policy_version - 2",
    ] {
        assert_eq!(execute(&issuer, sql).await, 1);
    }
    let refused = issuer.token_with(&agent.assertion().build()).await;
    assert_eq!(refused.status, 401, "{refused}");
}
