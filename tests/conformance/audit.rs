//! The audit: numbers, order, filters.

use firman::domain::audit::{AuditDraft, AuditEntry, AuditEvent, ChainHead, chain};
use firman::domain::id::AgentId;
use firman::ports::time::UnixMillis;
use firman::store::{AuditFilter, AuditSpan, Store, StoreError};

use crate::support::{agent, draft, home, issuers, other, read, write};

fn chained(drafts: Vec<AuditDraft>) -> Vec<AuditEntry> {
    chain(home().as_str(), ChainHead::START, drafts)
}

/// The entries numbered above `after` and, if a number is given, below `before`.
fn span(after: i64, before: Option<i64>) -> AuditSpan {
    AuditSpan {
        after,
        before: before.unwrap_or(i64::MAX),
    }
}

/// The entries numbered above `after`, up to `last`.
fn up_to(after: i64, last: i64) -> AuditSpan {
    span(after, Some(last + 1))
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
    let last = entries.last().unwrap().seq;
    assert!(tx.audit_from(&home(), last, 2).await.unwrap().is_empty());
    assert!(tx.audit_from(&other(), 0, 2).await.unwrap().is_empty());
    let filter = AuditFilter::default();
    let mut newest_first = tx
        .audit_page(&home(), &filter, span(0, None), 1000)
        .await
        .unwrap();
    newest_first.reverse();
    assert_eq!(newest_first, entries);
    assert_eq!(
        seqs(
            &tx.audit_page(&home(), &filter, span(0, None), 2)
                .await
                .unwrap()
        ),
        [last, last - 1]
    );
    assert_eq!(
        seqs(
            &tx.audit_page(&home(), &filter, span(0, Some(3)), 5)
                .await
                .unwrap()
        ),
        [2, 1]
    );
    assert!(
        tx.audit_page(&home(), &filter, span(0, Some(1)), 5)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        tx.audit_page(&other(), &filter, span(0, None), 5)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn entries_are_filtered(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    tx.append_audit(&home(), &mixed_entries()).await.unwrap();
    for (narrow, expected) in [
        (
            (|filter| filter.event = Some(AuditEvent::KeyRevoked)) as fn(&mut AuditFilter),
            vec![],
        ),
        (
            |filter| filter.event = Some(AuditEvent::TokenIssued),
            vec![4, 2],
        ),
        (
            |filter| filter.agent = Some(agent("mailer").id),
            vec![3, 2, 1],
        ),
        (
            |filter| filter.agent = Some(AgentId::from_text("agent-mailer\0")),
            vec![],
        ),
        (|filter| filter.token_id = Some("t1".to_owned()), vec![2]),
        (|filter| filter.token_id = Some("t1\0".to_owned()), vec![]),
        (
            |filter| filter.actor = Some("administrator:ops".to_owned()),
            vec![1],
        ),
        (
            |filter| filter.actor = Some("administrator:Ops".to_owned()),
            vec![],
        ),
        (
            |filter| filter.since = Some(UnixMillis(3000)),
            vec![5, 4, 3],
        ),
        (|filter| filter.until = Some(UnixMillis(3000)), vec![2, 1]),
    ] {
        let mut filter = AuditFilter::default();
        narrow(&mut filter);
        let page = tx
            .audit_page(&home(), &filter, span(0, None), 10)
            .await
            .unwrap();
        assert_eq!(seqs(&page), expected, "{filter:?}");
    }
}

pub(crate) async fn entries_are_filtered_by_several_things_at_once(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    tx.append_audit(&home(), &mixed_entries()).await.unwrap();
    for (narrow, expected) in [
        (
            (|filter| {
                filter.token_id = Some("t2".to_owned());
                filter.agent = Some(agent("mailer").id);
            }) as fn(&mut AuditFilter),
            vec![],
        ),
        (
            |filter| {
                filter.token_id = Some("t2".to_owned());
                filter.agent = Some(agent("reader").id);
            },
            vec![4],
        ),
        (
            |filter| {
                filter.event = Some(AuditEvent::TokenIssued);
                filter.agent = Some(agent("mailer").id);
                filter.actor = Some("system".to_owned());
                filter.since = Some(UnixMillis(2000));
                filter.until = Some(UnixMillis(2001));
            },
            vec![2],
        ),
    ] {
        let mut filter = AuditFilter::default();
        narrow(&mut filter);
        let page = tx
            .audit_page(&home(), &filter, span(0, None), 10)
            .await
            .unwrap();
        assert_eq!(seqs(&page), expected, "{filter:?}");
    }
    let filter = AuditFilter {
        agent: Some(agent("mailer").id),
        ..AuditFilter::default()
    };
    let page = tx
        .audit_page(&home(), &filter, span(0, Some(3)), 1)
        .await
        .unwrap();
    assert_eq!(seqs(&page), [2]);
}

/// Five entries about two agents, a second apart.
fn mixed_entries() -> Vec<AuditEntry> {
    let about = |agent_name: &str, token_id: Option<&str>, event, at| AuditDraft {
        agent: Some(agent(agent_name).id),
        token_id: token_id.map(str::to_owned),
        ..draft(event, at)
    };
    let mut created = about("mailer", None, AuditEvent::AgentCreated, 1000);
    created.actor = "administrator:ops".to_owned();
    chained(vec![
        created,
        about("mailer", Some("t1"), AuditEvent::TokenIssued, 2000),
        about("mailer", Some("T1"), AuditEvent::IdTokenIssued, 3000),
        about("reader", Some("t2"), AuditEvent::TokenIssued, 4000),
        draft(AuditEvent::ClientRefused, 5000),
    ])
}

pub(crate) async fn an_agents_tokens_and_other_entries_are_one_page(store: &Store) {
    issuers(store).await;
    let mailer = agent("mailer").id;
    let of = |event| AuditDraft {
        agent: Some(mailer.clone()),
        ..draft(event, 1000)
    };
    let entries = chained(vec![
        of(AuditEvent::AgentCreated),
        of(AuditEvent::TokenIssued),
        of(AuditEvent::TokenRefused),
        draft(AuditEvent::TokenIssued, 1000),
        of(AuditEvent::IdTokenIssued),
        of(AuditEvent::AgentSuspended),
    ]);
    let mut tx = write(store).await;
    tx.append_audit(&home(), &entries).await.unwrap();
    for (event, before, limit, expected) in [
        (None, None, 9, &[6, 5, 3, 2, 1][..]),
        (None, None, 2, &[6, 5]),
        (None, Some(5), 2, &[3, 2]),
        (Some(AuditEvent::TokenIssued), None, 9, &[2]),
        (Some(AuditEvent::IdTokenIssued), None, 9, &[5]),
        (Some(AuditEvent::TokenRefused), Some(5), 9, &[3]),
    ] {
        let filter = AuditFilter {
            event,
            agent: Some(mailer.clone()),
            ..AuditFilter::default()
        };
        let page = tx
            .audit_page(&home(), &filter, span(0, before), limit)
            .await
            .unwrap();
        assert_eq!(seqs(&page), expected, "{event:?} before {before:?}");
    }
}

pub(crate) async fn what_was_done_to_an_object_or_by_someone_is_found(store: &Store) {
    issuers(store).await;
    let of = |event, actor: &str, target: &str| AuditDraft {
        actor: actor.to_owned(),
        target: target.to_owned(),
        ..draft(event, 1000)
    };
    let (ops, mailer) = ("administrator:ops", "agent:mailer");
    let entries = chained(vec![
        of(AuditEvent::RoleCreated, ops, "role:reader"),
        of(AuditEvent::TokenIssued, mailer, mailer),
        of(
            AuditEvent::RoleChanged,
            "administrator:other",
            "role:reader",
        ),
        of(AuditEvent::GroupCreated, ops, "group:reader"),
        of(AuditEvent::AgentSuspended, ops, mailer),
    ]);
    let mut tx = write(store).await;
    tx.append_audit(&home(), &entries).await.unwrap();
    for (actor, target, without_tokens, expected) in [
        (None, Some("role:reader"), true, &[3, 1][..]),
        (None, Some("role:Reader"), true, &[]),
        (None, Some("role:reader\0"), true, &[]),
        (Some(ops), None, true, &[5, 4, 1]),
        (Some(ops), Some("role:reader"), true, &[1]),
        (None, Some(mailer), true, &[5]),
        (None, Some(mailer), false, &[5, 2]),
        (Some(mailer), None, false, &[2]),
    ] {
        let filter = AuditFilter {
            actor: actor.map(str::to_owned),
            target: target.map(str::to_owned),
            without_tokens,
            ..AuditFilter::default()
        };
        assert_eq!(filter.has_index(), without_tokens, "{filter:?}");
        let page = tx
            .audit_page(&home(), &filter, span(0, None), 9)
            .await
            .unwrap();
        assert_eq!(seqs(&page), expected, "{filter:?}");
        let mut following = tx
            .audit_following(&home(), &filter, up_to(0, 5), 9)
            .await
            .unwrap();
        if !without_tokens {
            following.reverse();
            assert_eq!(seqs(&following), expected, "{filter:?}");
        }
    }
}

pub(crate) async fn a_part_of_the_audit_is_read_in_either_direction(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    tx.append_audit(&home(), &mixed_entries()).await.unwrap();
    let all = AuditFilter::default();
    let tokens = AuditFilter {
        event: Some(AuditEvent::TokenIssued),
        ..AuditFilter::default()
    };
    for (filter, numbers, limit, expected) in [
        (&all, span(2, Some(5)), 9, &[4, 3][..]),
        (&all, span(4, None), 9, &[5]),
        (&all, span(5, None), 9, &[]),
        (&tokens, span(2, None), 9, &[4]),
        (&tokens, span(0, None), 1, &[4]),
    ] {
        let page = tx
            .audit_page(&home(), filter, numbers, limit)
            .await
            .unwrap();
        assert_eq!(seqs(&page), expected, "{numbers:?}");
    }
    for (filter, numbers, limit, expected) in [
        (&all, up_to(2, 4), 9, &[3, 4][..]),
        (&all, up_to(0, 5), 2, &[1, 2]),
        (&all, up_to(5, 9), 9, &[]),
        (&tokens, up_to(0, 5), 9, &[2, 4]),
        (&tokens, up_to(2, 3), 9, &[]),
    ] {
        let following = tx
            .audit_following(&home(), filter, numbers, limit)
            .await
            .unwrap();
        assert_eq!(seqs(&following), expected, "{numbers:?}");
    }
    assert!(
        tx.audit_following(&other(), &all, up_to(0, 9), 9)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn the_entry_with_which_a_token_left_is_found(store: &Store) {
    issuers(store).await;
    let about = |event, token_id: &str| AuditDraft {
        token_id: Some(token_id.to_owned()),
        ..draft(event, 1000)
    };
    let entries = chained(vec![
        about(AuditEvent::TokenRefused, "t1"),
        about(AuditEvent::TokenIssued, "t1"),
        about(AuditEvent::IdTokenIssued, "t2"),
        about(AuditEvent::TokenRevoked, "t1"),
        about(AuditEvent::TokenRevoked, "t3"),
    ]);
    let mut tx = write(store).await;
    tx.append_audit(&home(), &entries).await.unwrap();
    for (token_id, expected) in [
        ("t1", Some(2)),
        ("t2", Some(3)),
        ("t3", None),
        ("T1", None),
        ("t1\0", None),
    ] {
        let found = tx.issue_entry(&home(), token_id).await.unwrap();
        assert_eq!(found.map(|entry| entry.seq), expected, "{token_id:?}");
    }
    assert_eq!(tx.issue_entry(&other(), "t1").await.unwrap(), None);
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
