//! The audit: numbers, order, filters.

use firman::domain::audit::{AuditDraft, AuditEntry, AuditEvent, GENESIS, chain};
use firman::domain::id::AgentId;
use firman::ports::time::UnixMillis;
use firman::store::{AuditFilter, Store, StoreError};

use crate::support::{agent, draft, home, issuers, other, read, write};

fn chained(drafts: Vec<AuditDraft>) -> Vec<AuditEntry> {
    chain(home().as_str(), (0, GENESIS), drafts)
}

fn seqs(entries: &[AuditEntry]) -> Vec<i64> {
    entries.iter().map(|entry| entry.seq).collect()
}

pub(crate) async fn a_number_in_the_chain_is_given_out_once(store: &Store) {
    issuers(store).await;
    let entries = chained(vec![draft(AuditEvent::IssuerCreated, 1)]);
    let mut tx = write(store).await;
    tx.append_audit(&home(), &[]).await.unwrap();
    tx.append_audit(&home(), &entries).await.unwrap();
    tx.append_audit(&other(), &entries).await.unwrap();
    tx.commit().await.unwrap();
    let mut tx = write(store).await;
    let again = tx.append_audit(&home(), &entries).await;
    assert!(matches!(again, Err(StoreError::Rejected(_))), "{again:?}");
    drop(tx);
    assert_eq!(
        read(store).await.audit_from(&home(), 0, 10).await.unwrap(),
        entries
    );
}

pub(crate) async fn an_entry_with_a_nul_is_refused(store: &Store) {
    issuers(store).await;
    let plain = draft(AuditEvent::TokenRefused, 1);
    let nul = || "a\0b".to_owned();
    for bad in [
        AuditDraft {
            actor: nul(),
            ..plain.clone()
        },
        AuditDraft {
            target: nul(),
            ..plain.clone()
        },
        AuditDraft {
            agent: Some(AgentId::from_text(nul())),
            ..plain.clone()
        },
        AuditDraft {
            token_id: Some(nul()),
            ..plain.clone()
        },
        AuditDraft {
            request_id: nul(),
            ..plain.clone()
        },
        AuditDraft {
            address: nul(),
            ..plain.clone()
        },
        AuditDraft {
            detail: nul(),
            ..plain.clone()
        },
    ] {
        let mut tx = write(store).await;
        let refused = tx
            .append_audit(&home(), &chained(vec![plain.clone(), bad.clone()]))
            .await;
        assert!(
            matches!(refused, Err(StoreError::Rejected(_))),
            "{bad:?}: {refused:?}"
        );
    }
    assert!(
        read(store)
            .await
            .audit_from(&home(), 0, 10)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn entries_read_back_whole_and_in_order(store: &Store) {
    issuers(store).await;
    let mut drafts: Vec<AuditDraft> = AuditEvent::ALL
        .into_iter()
        .map(|event| draft(event, 1))
        .collect();
    drafts.extend((0..300).map(|number| AuditDraft {
        actor: format!("agent:n{number}"),
        target: "Ziel – «ü»".to_owned(),
        agent: Some(agent("mailer").id),
        token_id: Some(format!("t{number}")),
        request_id: format!("r{number}"),
        address: "2001:db8::1".to_owned(),
        detail: "{\"a\":\"\\u0000 ' \\\" \"}".to_owned(),
        ..draft(AuditEvent::TokenIssued, 1_800_000_000_123 + number)
    }));
    let entries = chained(drafts);
    let mut tx = write(store).await;
    let (first, rest) = entries.split_at(5);
    tx.append_audit(&home(), &first[..1]).await.unwrap();
    tx.append_audit(&home(), &first[1..]).await.unwrap();
    tx.append_audit(&home(), rest).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = read(store).await;
    assert_eq!(tx.audit_from(&home(), 0, 1000).await.unwrap(), entries);
    assert_eq!(seqs(&tx.audit_from(&home(), 3, 2).await.unwrap()), [4, 5]);
    assert!(tx.audit_from(&home(), 330, 2).await.unwrap().is_empty());
    assert!(tx.audit_from(&other(), 0, 2).await.unwrap().is_empty());
    let filter = AuditFilter::default();
    let mut newest_first = tx.audit_page(&home(), &filter, None, 1000).await.unwrap();
    newest_first.reverse();
    assert_eq!(newest_first, entries);
    assert_eq!(
        seqs(&tx.audit_page(&home(), &filter, None, 2).await.unwrap()),
        [330, 329]
    );
    assert_eq!(
        seqs(&tx.audit_page(&home(), &filter, Some(3), 5).await.unwrap()),
        [2, 1]
    );
    assert!(
        tx.audit_page(&home(), &filter, Some(1), 5)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        tx.audit_page(&other(), &filter, None, 5)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn entries_are_filtered(store: &Store) {
    issuers(store).await;
    let (mailer, reader) = (agent("mailer").id, agent("reader").id);
    let entries = chained(vec![
        AuditDraft {
            actor: "administrator:ops".to_owned(),
            agent: Some(mailer.clone()),
            ..draft(AuditEvent::AgentCreated, 1000)
        },
        AuditDraft {
            agent: Some(mailer.clone()),
            token_id: Some("t1".to_owned()),
            ..draft(AuditEvent::TokenIssued, 2000)
        },
        AuditDraft {
            agent: Some(mailer.clone()),
            token_id: Some("T1".to_owned()),
            ..draft(AuditEvent::IdTokenIssued, 3000)
        },
        AuditDraft {
            agent: Some(reader.clone()),
            token_id: Some("t2".to_owned()),
            ..draft(AuditEvent::TokenIssued, 4000)
        },
        draft(AuditEvent::ClientRefused, 5000),
    ]);
    let mut tx = write(store).await;
    tx.append_audit(&home(), &entries).await.unwrap();
    let token = |text: &str| Some(text.to_owned());
    let none = AuditFilter::default;
    for (filter, expected) in [
        (
            AuditFilter {
                event: Some(AuditEvent::KeyRevoked),
                ..none()
            },
            vec![],
        ),
        (
            AuditFilter {
                event: Some(AuditEvent::TokenIssued),
                ..none()
            },
            vec![4, 2],
        ),
        (
            AuditFilter {
                agent: Some(mailer.clone()),
                ..none()
            },
            vec![3, 2, 1],
        ),
        (
            AuditFilter {
                agent: Some(AgentId::from_text("agent-mailer\0")),
                ..none()
            },
            vec![],
        ),
        (
            AuditFilter {
                token_id: token("t1"),
                ..none()
            },
            vec![2],
        ),
        (
            AuditFilter {
                token_id: token("t1\0"),
                ..none()
            },
            vec![],
        ),
        (
            AuditFilter {
                token_id: token("t2"),
                agent: Some(mailer.clone()),
                ..none()
            },
            vec![],
        ),
        (
            AuditFilter {
                token_id: token("t2"),
                agent: Some(reader.clone()),
                ..none()
            },
            vec![4],
        ),
        (
            AuditFilter {
                actor: token("administrator:ops"),
                ..none()
            },
            vec![1],
        ),
        (
            AuditFilter {
                actor: token("administrator:Ops"),
                ..none()
            },
            vec![],
        ),
        (
            AuditFilter {
                since: Some(UnixMillis(3000)),
                ..none()
            },
            vec![5, 4, 3],
        ),
        (
            AuditFilter {
                until: Some(UnixMillis(3000)),
                ..none()
            },
            vec![2, 1],
        ),
        (
            AuditFilter {
                event: Some(AuditEvent::TokenIssued),
                agent: Some(mailer.clone()),
                actor: token("system"),
                since: Some(UnixMillis(2000)),
                until: Some(UnixMillis(2001)),
                ..none()
            },
            vec![2],
        ),
    ] {
        let page = tx.audit_page(&home(), &filter, None, 10).await.unwrap();
        assert_eq!(seqs(&page), expected, "{filter:?}");
    }
    let filter = AuditFilter {
        agent: Some(mailer),
        ..none()
    };
    assert_eq!(
        seqs(&tx.audit_page(&home(), &filter, Some(3), 1).await.unwrap()),
        [2]
    );
}

pub(crate) async fn the_last_token_of_an_agent_is_found(store: &Store) {
    issuers(store).await;
    let mailer = agent("mailer").id;
    let of = |event, at| AuditDraft {
        agent: Some(mailer.clone()),
        ..draft(event, at)
    };
    let entries = chained(vec![
        of(AuditEvent::TokenIssued, 1000),
        of(AuditEvent::IdTokenIssued, 2000),
        of(AuditEvent::TokenRefused, 3000),
        draft(AuditEvent::TokenIssued, 4000),
    ]);
    let mut tx = write(store).await;
    tx.append_audit(&home(), &entries).await.unwrap();
    assert_eq!(
        tx.last_token_at(&home(), &agent("reader").id)
            .await
            .unwrap(),
        None
    );
    assert_eq!(tx.last_token_at(&other(), &mailer).await.unwrap(), None);
    assert_eq!(
        tx.last_token_at(&home(), &mailer).await.unwrap(),
        Some(UnixMillis(2000))
    );
}
