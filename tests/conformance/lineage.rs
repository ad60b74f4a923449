//! What delegated tokens were made from, and what ends them.

use std::collections::BTreeMap;

use firman::domain::id::DelegationId;
use firman::ports::time::UnixTime;
use firman::store::{EndKind, EndMark, Exchanged, LineageRow, RevokedToken, Store, Tx, Window};

use crate::support::{NOW, agent, home, issuers, other, write};

fn row(token_id: &str, parent_id: &str, (delegation, depth): (&str, i64)) -> LineageRow {
    LineageRow {
        made: Some(Exchanged {
            parent_id: parent_id.to_owned(),
            delegation: DelegationId::from_text(delegation),
            actor: agent("a").id,
        }),
        depth,
        scopes: "read send".to_owned(),
        audience: "https://mail.example".to_owned(),
        proven: None,
        ..root(token_id)
    }
}

/// A root from outside.
fn root(token_id: &str) -> LineageRow {
    LineageRow {
        token_id: token_id.to_owned(),
        made: None,
        root_id: "okta:root".to_owned(),
        depth: 0,
        subject: "user:okta:alice".to_owned(),
        audience: String::new(),
        scopes: String::new(),
        proven: Some(BTreeMap::from([(
            "department".to_owned(),
            "sales".to_owned(),
        )])),
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

fn mark(kind: EndKind, key: &str, at: UnixTime) -> EndMark {
    EndMark {
        kind,
        key: key.to_owned(),
        not_before: at,
        expires_at: at.plus(600),
    }
}

/// okta:root → one → two → three, and okta:root → side.
async fn tree(tx: &mut Tx) {
    let rows = [
        root("okta:root"),
        row("one", "okta:root", ("d1", 1)),
        row("two", "one", ("d2", 2)),
        row("three", "two", ("d1", 3)),
        row("side", "okta:root", ("d3", 1)),
    ];
    tx.insert_lineage(&home(), &rows).await.unwrap();
}

pub(crate) async fn lineage_reads_back_whole(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    tree(&mut tx).await;
    assert_eq!(
        tx.lineage(&home(), "two").await.unwrap(),
        Some(row("two", "one", ("d2", 2)))
    );
    assert_eq!(
        tx.lineage(&home(), "okta:root").await.unwrap(),
        Some(root("okta:root"))
    );
    assert_eq!(tx.lineage(&home(), "unknown").await.unwrap(), None);
    assert_eq!(tx.lineage(&other(), "two").await.unwrap(), None);
    let children = tx.lineage_children(&home(), "okta:root", 10).await.unwrap();
    assert_eq!(
        children,
        [
            row("one", "okta:root", ("d1", 1)),
            row("side", "okta:root", ("d3", 1))
        ]
    );
    let first = tx.lineage_children(&home(), "okta:root", 1).await.unwrap();
    assert_eq!(first, [row("one", "okta:root", ("d1", 1))]);
    tx.commit().await.unwrap();
}

pub(crate) async fn a_root_that_two_tokens_bring_is_one_row(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let again = LineageRow {
        proven: Some(BTreeMap::new()),
        ..root("okta:root")
    };
    tx.insert_lineage(&home(), &[root("okta:root"), again.clone()])
        .await
        .unwrap();
    tx.insert_lineage(&home(), &[again]).await.unwrap();
    tx.insert_lineage(&home(), &[]).await.unwrap();
    assert_eq!(
        tx.lineage(&home(), "okta:root").await.unwrap(),
        Some(root("okta:root"))
    );
    tx.commit().await.unwrap();
}

pub(crate) async fn a_line_is_read_upward_to_its_root(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    tree(&mut tx).await;
    for (token_id, steps, expected) in [
        ("three", 9, &["three", "two", "one", "okta:root"][..]),
        ("three", 1, &["three", "two"]),
        ("side", 9, &["side", "okta:root"]),
        ("okta:root", 9, &["okta:root"]),
        ("unknown", 9, &[]),
        ("", 9, &[]),
        ("\0", 9, &[]),
    ] {
        let line = tx.ancestry(&home(), token_id, steps).await.unwrap();
        let ids: Vec<&str> = line.iter().map(|row| row.token_id.as_str()).collect();
        assert_eq!(ids, expected, "{token_id}");
        assert!(
            tx.ancestry(&other(), token_id, steps)
                .await
                .unwrap()
                .is_empty()
        );
    }
    // A circle, which no exchange makes, ends all the same.
    let circle = [row("a", "b", ("d1", 1)), row("b", "a", ("d1", 1))];
    tx.insert_lineage(&home(), &circle).await.unwrap();
    assert_eq!(tx.ancestry(&home(), "a", 6).await.unwrap().len(), 7);
    tx.commit().await.unwrap();
}

pub(crate) async fn a_revoked_token_is_found_by_its_id(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.revoke_token(&home(), &revoked("one")).await.unwrap());
    assert!(!tx.revoke_token(&home(), &revoked("one")).await.unwrap());
    let more = [revoked("one"), revoked("two"), revoked("two")];
    tx.revoke_tokens(&home(), &more).await.unwrap();
    tx.revoke_tokens(&home(), &[]).await.unwrap();
    let asked = ["one", "two", "three", "\0"];
    let mut found = tx.revoked_among(&home(), &asked).await.unwrap();
    found.sort();
    assert_eq!(found, ["one", "two"]);
    assert!(tx.revoked_among(&other(), &asked).await.unwrap().is_empty());
    assert!(tx.revoked_among(&home(), &[]).await.unwrap().is_empty());
    tx.commit().await.unwrap();
}

pub(crate) async fn a_mark_only_moves_forward_and_is_of_one_kind(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let (of_subject, of_delegation) = (EndKind::Subject, EndKind::Delegation);
    for (kind, at, is_moved) in [
        (of_subject, NOW.plus(-1), true),
        (of_subject, NOW, true),
        (of_subject, NOW, false),
        (of_subject, NOW.plus(-5), false),
        (of_delegation, NOW.plus(7), true),
    ] {
        let moved = tx.mark_ended(&home(), &mark(kind, "a", at)).await;
        assert_eq!(moved.unwrap(), is_moved, "{kind:?} {at:?}");
    }
    let mut found = tx.end_marks_among(&home(), &["b", "a"]).await.unwrap();
    found.sort_by_key(|mark| mark.not_before);
    assert_eq!(
        found,
        [
            mark(of_subject, "a", NOW),
            mark(of_delegation, "a", NOW.plus(7))
        ]
    );
    let none = tx.end_marks_among(&other(), &["a"]).await.unwrap();
    assert_eq!(none, []);
    let subjects = tx
        .end_marks(&home(), of_subject, NOW, Window::first(9))
        .await;
    assert_eq!(subjects.unwrap(), [mark(of_subject, "a", NOW)]);
    tx.commit().await.unwrap();
}

pub(crate) async fn revocations_go_when_the_tokens_would_have_expired(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    tx.revoke_token(&home(), &revoked("one")).await.unwrap();
    let ended = mark(EndKind::Subject, "agent:a", NOW);
    tx.mark_ended(&home(), &ended).await.unwrap();
    let later = NOW.plus(600);
    let tokens = tx.revoked_tokens(&home(), later, None, 100).await.unwrap();
    assert_eq!(tokens, []);
    let marks = tx
        .end_marks(&home(), EndKind::Subject, later, Window::first(100))
        .await
        .unwrap();
    assert_eq!(marks, []);
    for (before, purged) in [(600, 0), (601, 2), (601, 0)] {
        let found = tx.purge_revocations(&home(), NOW.plus(before), 10).await;
        assert_eq!(found.unwrap(), purged);
    }
    tx.commit().await.unwrap();
}

pub(crate) async fn revocations_and_marks_are_read_in_pages(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    for name in ["a", "b", "c"] {
        tx.revoke_token(&home(), &revoked(name)).await.unwrap();
        for kind in [EndKind::Subject, EndKind::Delegation] {
            tx.mark_ended(&home(), &mark(kind, name, NOW))
                .await
                .unwrap();
        }
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
        for kind in [EndKind::Subject, EndKind::Delegation] {
            let marks = tx
                .end_marks(&home(), kind, NOW, Window { after, limit: 2 })
                .await
                .unwrap();
            assert!(marks.iter().all(|mark| mark.kind == kind));
            let keys: Vec<String> = marks.into_iter().map(|mark| mark.key).collect();
            assert_eq!(keys, expected, "{after:?}");
        }
    }
    tx.commit().await.unwrap();
}

pub(crate) async fn what_has_expired_is_noticed_and_lineage_purged_in_portions(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(!tx.holds_expired(&home(), NOW.plus(9999)).await.unwrap());
    tree(&mut tx).await;
    let over = LineageRow {
        expires_at: NOW,
        ..row("over", "one", ("d1", 2))
    };
    tx.insert_lineage(&home(), &[over]).await.unwrap();
    // That row expires now, the five others 600 seconds later.
    assert!(!tx.holds_expired(&home(), NOW).await.unwrap());
    assert!(tx.holds_expired(&home(), NOW.plus(1)).await.unwrap());
    assert!(!tx.holds_expired(&other(), NOW.plus(1)).await.unwrap());
    for (before, limit, purged) in [(0, 9, 0), (1, 9, 1), (600, 9, 0), (601, 3, 3), (601, 3, 2)] {
        let before = NOW.plus(before);
        assert_eq!(tx.purge_lineage(&other(), before, limit).await.unwrap(), 0);
        assert_eq!(
            tx.purge_lineage(&home(), before, limit).await.unwrap(),
            purged,
            "{before:?}"
        );
    }
    assert_eq!(tx.lineage(&home(), "two").await.unwrap(), None);
    let after = NOW.plus(601);
    assert!(!tx.holds_expired(&home(), after).await.unwrap());
    tx.mark_ended(&home(), &mark(EndKind::Delegation, "d1", NOW))
        .await
        .unwrap();
    assert!(tx.holds_expired(&home(), after).await.unwrap());
    tx.purge_revocations(&home(), after, 9).await.unwrap();
    assert!(!tx.holds_expired(&home(), after).await.unwrap());
    tx.revoke_token(&home(), &revoked("one")).await.unwrap();
    assert!(tx.holds_expired(&home(), after).await.unwrap());
    tx.commit().await.unwrap();
}
