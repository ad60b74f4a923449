//! A change and the tokens asked for at the same time, on one database and two processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use firman::api::agent::AgentEdit;
use firman::domain::audit::{AuditEntry, AuditEvent};
use firman::host::{FirstSettings, Host, HostOptions, KekSource};
use firman::issuer::Ports;
use firman::issuer::audit_log::AuditQuery;
use firman::issuer::named::Removal;
use firman::jose::algorithm::SigningAlgorithm;
use firman::jose::digest::sha256;
use firman::ports::fetch::HttpFetcher;
use firman::ports::random::SystemRandom;
use firman::ports::time::SystemClock;
use firman::testing::{TestIssuer, TestKey};
use tempfile::TempDir;

use super::{CALLER, assert_issued, fresh_database, futures, on_postgres, with_resource};

/// What two replicas on one database, or one on SQLite, record while a client requests tokens without pause:
/// after `change` is in the audit, no token that `is_over` excludes is recorded.
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
async fn no_token_for_a_role_that_was_withdrawn_is_recorded_on_either_engine() {
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
async fn a_right_assigned_on_one_replica_works_at_once_on_the_other() {
    let issuer = on_postgres().await;
    let replica = issuer.replica().await.expect("a second process");
    let agent = issuer.agent("mailer").with_public_key(TestKey::Es256).await;
    let refused = replica.token_with(&agent.assertion().build()).await;
    assert_eq!(refused.json()["error"], "invalid_target", "{refused}");
    let changes = AgentEdit {
        roles: Some(vec!["reader".to_owned()]),
        ..AgentEdit::default()
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

async fn options(folder: &TempDir, issuer_url: &str) -> HostOptions {
    HostOptions {
        first_keys: Vec::new(),
        database_url: fresh_database().await,
        issuer_url: issuer_url.to_owned(),
        kek: KekSource::File(folder.path().join("keys/kek")),
        admin_token_file: folder.path().join("admin-token"),
        first_settings: FirstSettings::default(),
    }
}

/// So many processes that start at the same time.
async fn started(count: usize, options: &HostOptions) -> Vec<Host> {
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
    let hosts = futures(count, start).await;
    hosts
        .into_iter()
        .map(|host| host.expect("it starts"))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replicas_that_move_a_loopback_issuer_at_once_record_one_move() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = options(&folder, "http://127.0.0.1:8080").await;
    for port in 8081..8085 {
        for host in started(1, &options).await {
            host.stop().await;
        }
        let moved = HostOptions {
            issuer_url: format!("http://127.0.0.1:{port}"),
            ..options.clone()
        };
        let hosts = started(4, &moved).await;
        let policy = hosts[0].issuer().policy();
        assert_eq!(policy.settings.url, moved.issuer_url);
        let query = AuditQuery {
            event: Some("issuer.changed".to_owned()),
            ..AuditQuery::default()
        };
        let page = hosts[0].issuer().audit(&query, None, 100).await;
        let moves = page.expect("the audit").entries;
        // From 8080 to this port, and back before the next round.
        let rounds = usize::from(port - 8080_u16);
        assert_eq!(moves.len(), 2 * rounds - 1, "{moves:#?}");
        for host in &hosts {
            host.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fa_019_replicas_that_start_at_once_on_nothing_make_one_issuer_together() {
    for _ in 0..4 {
        let folder = tempfile::tempdir().expect("a folder");
        let options = options(&folder, "https://issuer.example").await;
        let hosts = started(3, &options).await;
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
