//! What delegated tokens were made from, and revocation down that tree.

use firman::domain::id::DelegationId;
use firman::ports::time::UnixTime;
use firman::store::{LineageRow, RevokedToken, Store, SubjectMark, Tx};

use crate::support::{NOW, agent, home, issuers, other, write};

fn row(token_id: &str, parent_id: &str, delegation: &str) -> LineageRow {
    LineageRow {
        token_id: token_id.to_owned(),
        parent_id: parent_id.to_owned(),
        delegation: DelegationId::from_text(delegation),
        subject: "user:okta:alice".to_owned(),
        actor: agent("a").id,
        issued_at: NOW,
        expires_at: NOW.plus(600),
    }
}

fn revoked(token_id: &str) -> RevokedToken {
    RevokedToken {
        token_id: token_id.to_owned(),
        revoked_at: NOW,
        expires_at: NOW.plus(600),
    }
}

/// root → one → two → three, and root → side; two is under another delegation.
async fn tree(tx: &mut Tx) {
    for row in [
        row("one", "root", "d1"),
        row("two", "one", "d2"),
        row("three", "two", "d1"),
        row("side", "root", "d3"),
        LineageRow {
            expires_at: NOW,
            ..row("over", "one", "d1")
        },
    ] {
        tx.insert_lineage(&home(), &row).await.unwrap();
    }
}

async fn dead(tx: &mut Tx) -> Vec<String> {
    let revoked = tx.revoked_tokens(&home(), NOW, None, 100).await.unwrap();
    revoked.into_iter().map(|token| token.token_id).collect()
}

pub(crate) async fn a_revoked_token_takes_those_below_it(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    tree(&mut tx).await;
    assert_eq!(
        tx.revoke_token(&home(), &revoked("one"), NOW)
            .await
            .unwrap(),
        3
    );
    assert_eq!(dead(&mut tx).await, ["one", "three", "two"]);
    assert_eq!(
        tx.revoke_token(&home(), &revoked("one"), NOW)
            .await
            .unwrap(),
        0
    );
    assert!(
        tx.is_token_revoked(&home(), "three", &[], NOW)
            .await
            .unwrap()
    );
    assert!(
        !tx.is_token_revoked(&home(), "side", &[], NOW)
            .await
            .unwrap()
    );
    assert!(
        !tx.is_token_revoked(&other(), "three", &[], NOW)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
}

pub(crate) async fn a_revoked_delegation_takes_its_tokens_and_those_below(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    tree(&mut tx).await;
    let delegation = DelegationId::from_text("d2");
    let taken = tx
        .revoke_tokens_of_delegation(&home(), &delegation, NOW, NOW)
        .await
        .unwrap();
    assert_eq!(taken, 2);
    assert_eq!(dead(&mut tx).await, ["three", "two"]);
    tx.commit().await.unwrap();
}

pub(crate) async fn a_mark_ends_earlier_tokens_and_only_moves_forward(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let mark = |at: UnixTime| SubjectMark {
        subject: "agent:a".to_owned(),
        not_before: at,
        expires_at: at.plus(3600),
    };
    tx.mark_subject(&home(), &mark(NOW)).await.unwrap();
    tx.mark_subject(&home(), &mark(NOW.plus(-5))).await.unwrap();
    assert_eq!(
        tx.subject_marks(&home(), NOW, None, 100).await.unwrap(),
        [mark(NOW)]
    );
    let subjects = ["user:x".to_owned(), "agent:a".to_owned()];
    assert!(
        tx.is_token_revoked(&home(), "t", &subjects, NOW)
            .await
            .unwrap()
    );
    assert!(
        !tx.is_token_revoked(&home(), "t", &subjects, NOW.plus(1))
            .await
            .unwrap()
    );
    assert!(
        !tx.is_token_revoked(&home(), "t", &subjects[..1], NOW)
            .await
            .unwrap()
    );
    assert!(
        !tx.is_token_revoked(&other(), "t", &subjects, NOW)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
}

pub(crate) async fn revocations_go_when_the_tokens_would_have_expired(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    tx.revoke_token(&home(), &revoked("one"), NOW)
        .await
        .unwrap();
    tx.mark_subject(
        &home(),
        &SubjectMark {
            subject: "agent:a".to_owned(),
            not_before: NOW,
            expires_at: NOW.plus(600),
        },
    )
    .await
    .unwrap();
    assert!(
        tx.revoked_tokens(&home(), NOW.plus(600), None, 100)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        tx.subject_marks(&home(), NOW.plus(600), None, 100)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        tx.purge_revocations(&home(), NOW.plus(600), 10)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        tx.purge_revocations(&home(), NOW.plus(601), 10)
            .await
            .unwrap(),
        2
    );
    tx.commit().await.unwrap();
}

pub(crate) async fn revocations_and_marks_are_read_in_pages(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    for name in ["a", "b", "c"] {
        tx.revoke_token(&home(), &revoked(name), NOW).await.unwrap();
        let mark = SubjectMark {
            subject: name.to_owned(),
            not_before: NOW,
            expires_at: NOW.plus(600),
        };
        tx.mark_subject(&home(), &mark).await.unwrap();
    }
    for (after, expected) in [
        (None, &["a", "b"][..]),
        (Some("a"), &["b", "c"]),
        (Some("c"), &[]),
        (Some("\0"), &["a", "b"]),
    ] {
        let tokens = tx.revoked_tokens(&home(), NOW, after, 2).await.unwrap();
        let tokens: Vec<String> = tokens.into_iter().map(|token| token.token_id).collect();
        assert_eq!(tokens, expected, "{after:?}");
        let marks = tx.subject_marks(&home(), NOW, after, 2).await.unwrap();
        let marks: Vec<String> = marks.into_iter().map(|mark| mark.subject).collect();
        assert_eq!(marks, expected, "{after:?}");
    }
    tx.commit().await.unwrap();
}

pub(crate) async fn lineage_reads_back_whole(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    tree(&mut tx).await;
    assert_eq!(
        tx.lineage(&home(), "two").await.unwrap(),
        Some(row("two", "one", "d2"))
    );
    assert_eq!(tx.lineage(&home(), "root").await.unwrap(), None);
    let children = tx.lineage_children(&home(), "root", 10).await.unwrap();
    assert_eq!(
        children,
        [row("one", "root", "d1"), row("side", "root", "d3")]
    );
    tx.commit().await.unwrap();
}

pub(crate) async fn what_has_expired_is_noticed_and_lineage_purged_in_portions(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(!tx.holds_expired(&home(), NOW.plus(9999)).await.unwrap());
    tree(&mut tx).await;
    // One row of the tree expires now, the others 600 seconds later.
    assert!(!tx.holds_expired(&home(), NOW).await.unwrap());
    assert!(tx.holds_expired(&home(), NOW.plus(1)).await.unwrap());
    assert!(!tx.holds_expired(&other(), NOW.plus(1)).await.unwrap());
    for (before, limit, purged) in [(0, 9, 0), (1, 9, 1), (600, 9, 0), (601, 3, 3), (601, 3, 1)] {
        let before = NOW.plus(before);
        assert_eq!(tx.purge_lineage(&other(), before, limit).await.unwrap(), 0);
        assert_eq!(
            tx.purge_lineage(&home(), before, limit).await.unwrap(),
            purged,
            "{before:?}"
        );
    }
    assert_eq!(tx.lineage(&home(), "two").await.unwrap(), None);
    assert!(!tx.holds_expired(&home(), NOW.plus(601)).await.unwrap());
    tx.revoke_token(&home(), &revoked("one"), NOW)
        .await
        .unwrap();
    assert!(tx.holds_expired(&home(), NOW.plus(601)).await.unwrap());
    tx.commit().await.unwrap();
}
