//! Transactions: what one sees of the others, and what a failed one leaves behind.

use std::time::Duration;

use firman::domain::agent::AgentStatus;
use firman::store::{Store, StoreError};

use crate::support::{NOW, agent, home, issuers, other, read, settings, write};

pub(crate) async fn a_failed_statement_spoils_the_commit(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &agent("mailer")).await.unwrap());
    let mut astray = agent("astray");
    astray.roles = vec![firman::domain::id::RoleId::from_text("no-such-role")];
    let refused = tx.insert_agent(&home(), &astray).await;
    assert!(
        matches!(refused, Err(StoreError::Rejected(_))),
        "{refused:?}"
    );
    let commit = tx.commit().await;
    assert!(
        matches!(commit, Err(StoreError::Unavailable(_))),
        "{commit:?}"
    );
    assert!(
        read(store)
            .await
            .agent_by_name(&home(), "mailer")
            .await
            .unwrap()
            .is_none()
    );
    write(store).await.rollback().await.unwrap();
}

pub(crate) async fn a_reader_cannot_write(store: &Store) {
    issuers(store).await;
    let mut tx = read(store).await;
    let refused = tx.bump_registry_version(&home(), false).await;
    assert!(
        matches!(refused, Err(StoreError::Unavailable(_))),
        "{refused:?}"
    );
    drop(tx);
    // What a connection that refuses to write leaves behind does not hinder the next transaction.
    let mut tx = write(store).await;
    assert_eq!(tx.bump_registry_version(&home(), false).await.unwrap(), 1);
    tx.commit().await.unwrap();
}

pub(crate) async fn a_reader_sees_one_moment(store: &Store) {
    issuers(store).await;
    let mut reader = read(store).await;
    assert_eq!(reader.issuers().await.unwrap().len(), 2);
    let mut tx = write(store).await;
    assert!(tx.insert_issuer(&settings("third"), NOW).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(reader.issuers().await.unwrap().len(), 2);
    drop(reader);
    assert_eq!(read(store).await.issuers().await.unwrap().len(), 3);
}

pub(crate) async fn what_is_not_committed_is_gone(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &agent("dropped")).await.unwrap());
    drop(tx);
    let mut tx = write(store).await;
    assert!(
        tx.insert_agent(&home(), &agent("rolled-back"))
            .await
            .unwrap()
    );
    tx.rollback().await.unwrap();
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &agent("kept")).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = read(store).await;
    assert!(
        tx.agent_by_name(&home(), "dropped")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        tx.agent_by_name(&home(), "rolled-back")
            .await
            .unwrap()
            .is_none()
    );
    assert!(tx.agent_by_name(&home(), "kept").await.unwrap().is_some());
}

/// Dropped while all is well, or after a refusal: the connection serves the next, which sees what is.
pub(crate) async fn what_a_failed_transaction_leaves_behind_is_outside_it(store: &Store) {
    issuers(store).await;
    for round in 1..=12 {
        let mut tx = read(store).await;
        assert!(tx.bump_registry_version(&home(), false).await.is_err());
        drop(tx);
        let mut tx = read(store).await;
        tx.head(&home()).await.unwrap();
        drop(tx);
        let mut tx = read(store).await;
        tx.head(&home()).await.unwrap();
        tx.distrust();
        let mut tx = write(store).await;
        tx.lock_head(&home()).await.unwrap();
        assert_eq!(tx.prove_write(&home()).await.unwrap(), round);
        tx.commit().await.unwrap();
        let mut tx = read(store).await;
        assert_eq!(tx.write_proof(&home()).await.unwrap(), Some(round));
        tx.rollback().await.unwrap();
    }
}

pub(crate) async fn strangers_reads_leave_connections_for_the_rest(store: &Store) {
    issuers(store).await;
    let mut strangers = Vec::new();
    for _ in 0..store.cold_reads() {
        let mut tx = read(store).await;
        tx.head(&home()).await.unwrap();
        strangers.push(tx);
    }
    assert!(!strangers.is_empty());
    let rest = tokio::time::timeout(Duration::from_secs(1), async {
        let (mut first, mut second) = (read(store).await, read(store).await);
        first.head(&home()).await.unwrap();
        second.head(&home()).await.unwrap();
        let mut tx = write(store).await;
        tx.lock_head(&home()).await.unwrap();
        tx.commit().await.unwrap();
    });
    rest.await.expect("two more readers and a writer");
}

/// The race that the lock is there for: a token's transaction that begins before a suspension commits
/// must not be decided on what was before it.
pub(crate) async fn who_waited_for_the_head_sees_the_suspension(store: &Store) {
    issuers(store).await;
    let mut mailer = agent("mailer");
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &mailer).await.unwrap());
    tx.commit().await.unwrap();

    let mut suspending = write(store).await;
    mailer.status = AgentStatus::Suspended { at: NOW };
    mailer.version = suspending
        .bump_registry_version(&home(), false)
        .await
        .unwrap();
    assert!(suspending.update_agent(&home(), &mailer, 1).await.unwrap());

    let for_token = store.clone();
    let mut issuing = tokio::spawn(async move {
        let mut tx = for_token.write().await.unwrap();
        let head = tx.lock_head(&home()).await.unwrap().unwrap();
        let agent = tx
            .aggregate_by_name(&home(), "mailer")
            .await
            .unwrap()
            .unwrap()
            .agent;
        tx.rollback().await.unwrap();
        (head, agent)
    });
    let early = tokio::time::timeout(Duration::from_millis(150), &mut issuing).await;
    assert!(
        early.is_err(),
        "the second transaction did not wait: {early:?}"
    );

    suspending.commit().await.unwrap();
    let (head, seen) = issuing.await.unwrap();
    assert_eq!(head.registry_version, mailer.version);
    assert_eq!(seen, mailer);
}

/// On SQLite the whole file has one writer; the case then only shows that both get their turn.
pub(crate) async fn heads_of_two_issuers_do_not_wait_for_each_other(store: &Store) {
    issuers(store).await;
    let mut first = write(store).await;
    assert_eq!(
        first.bump_registry_version(&home(), false).await.unwrap(),
        1
    );
    if store.engine_name() == "sqlite" {
        first.commit().await.unwrap();
        let mut second = store.write().await.unwrap();
        assert!(second.lock_head(&other()).await.unwrap().is_some());
        second.commit().await.unwrap();
    } else {
        let mut second = store.write().await.unwrap();
        assert!(second.lock_head(&other()).await.unwrap().is_some());
        second.commit().await.unwrap();
        first.commit().await.unwrap();
    }
    assert_eq!(
        read(store)
            .await
            .head(&home())
            .await
            .unwrap()
            .unwrap()
            .registry_version,
        1
    );
    assert_eq!(
        read(store)
            .await
            .head(&other())
            .await
            .unwrap()
            .unwrap()
            .registry_version,
        0
    );
}
