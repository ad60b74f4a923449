//! Agents, their memberships and their pages.

use std::collections::{BTreeMap, HashMap};

use firman::domain::agent::{Agent, AgentStatus};
use firman::domain::assertion_audience::AssertionAudience;
use firman::domain::id::{AgentId, GroupId, RoleId};
use firman::domain::subject::Subject;
use firman::store::{AgentFilter, Among, HeldBy, RoleHolders, Store, StoreError, Window};

use crate::support::{NOW, agent, group, home, issuers, name, other, read, role, secret, write};

pub(crate) async fn an_agents_name_is_never_given_out_twice(store: &Store) {
    issuers(store).await;
    let mut mailer = agent("mailer");
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &mailer).await.unwrap());
    let mut again = agent("mailer");
    again.id = AgentId::from_text("another");
    again.subject = Subject::from_stored("another".to_owned());
    assert!(!tx.insert_agent(&home(), &again).await.unwrap());
    mailer.status = AgentStatus::Removed { at: NOW };
    mailer.version = 2;
    assert!(tx.update_agent(&home(), &mailer, 1).await.unwrap());
    assert!(
        !tx.insert_agent(&home(), &again).await.unwrap(),
        "not after its removal either"
    );
    assert!(
        tx.insert_agent(&other(), &again).await.unwrap(),
        "another issuer has its own names"
    );
    tx.commit().await.unwrap();
    assert_eq!(
        read(store)
            .await
            .agent_by_name(&home(), "mailer")
            .await
            .unwrap(),
        Some(mailer)
    );
}

pub(crate) async fn an_agents_subject_is_never_given_out_twice(store: &Store) {
    issuers(store).await;
    let mut mailer = agent("mailer");
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &mailer).await.unwrap());
    let mut impostor = agent("impostor");
    impostor.subject = mailer.subject.clone();
    assert!(!tx.insert_agent(&home(), &impostor).await.unwrap());
    mailer.status = AgentStatus::Removed { at: NOW };
    assert!(tx.update_agent(&home(), &mailer, 1).await.unwrap());
    assert!(!tx.insert_agent(&home(), &impostor).await.unwrap());
    assert!(
        tx.agent_by_name(&home(), "impostor")
            .await
            .unwrap()
            .is_none()
    );
}

pub(crate) async fn an_agent_cannot_be_in_a_group_that_is_not_there(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_group(&other(), &group("ops")).await.unwrap());
    tx.commit().await.unwrap();
    let mut mailer = agent("mailer");
    mailer.groups = vec![group("ops").id];
    let mut tx = write(store).await;
    let refused = tx.insert_agent(&home(), &mailer).await;
    assert!(
        matches!(refused, Err(StoreError::Rejected(_))),
        "the group is another issuer's: {refused:?}"
    );
}

pub(crate) async fn an_agent_of_another_issuer_is_not_found(store: &Store) {
    issuers(store).await;
    let mailer = agent("mailer");
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &mailer).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = write(store).await;
    assert!(
        tx.agent_by_name(&other(), "mailer")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        tx.aggregate_by_name(&other(), "mailer")
            .await
            .unwrap()
            .is_none()
    );
    assert!(tx.aggregate(&other(), &mailer.id).await.unwrap().is_none());
    assert_eq!(tx.agent_version(&other(), &mailer.id).await.unwrap(), None);
    let ids = [mailer.id.as_str(), "unknown", "\0"];
    assert!(tx.agent_versions(&other(), &ids).await.unwrap().is_empty());
    assert_eq!(
        tx.agent_versions(&home(), &ids).await.unwrap(),
        HashMap::from([(mailer.id.clone(), 1)])
    );
    assert!(tx.changed_agents(&other(), 0, 10).await.unwrap().is_empty());
    assert!(
        tx.agents_page(&other(), &AgentFilter::default(), None, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(!tx.update_agent(&other(), &mailer, 1).await.unwrap());
    tx.touch_agent(&other(), &mailer.id, 9, NOW).await.unwrap();
    assert_eq!(
        tx.agent_version(&home(), &mailer.id).await.unwrap(),
        Some(1)
    );
}

pub(crate) async fn names_are_case_sensitive_and_nul_matches_nothing(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &agent("mailer")).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = read(store).await;
    for unknown in [
        "Mailer",
        "MAILER",
        "mailer ",
        " mailer",
        "mailer\0",
        "\0",
        "",
        "mail%",
        "m_iler",
        "maile\u{301}r",
    ] {
        assert!(
            tx.agent_by_name(&home(), unknown).await.unwrap().is_none(),
            "{unknown:?}"
        );
        assert!(
            tx.aggregate_by_name(&home(), unknown)
                .await
                .unwrap()
                .is_none(),
            "{unknown:?}"
        );
        let id = AgentId::from_text(unknown);
        assert!(
            tx.aggregate(&home(), &id).await.unwrap().is_none(),
            "{unknown:?}"
        );
        assert_eq!(
            tx.agent_version(&home(), &id).await.unwrap(),
            None,
            "{unknown:?}"
        );
        assert!(
            tx.credentials_of(&home(), &id).await.unwrap().is_empty(),
            "{unknown:?}"
        );
        assert_eq!(
            tx.last_token_at(&home(), &id).await.unwrap(),
            None,
            "{unknown:?}"
        );
    }
}

pub(crate) async fn a_page_asked_for_with_a_nul_is_no_failure(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &agent("mailer")).await.unwrap());
    for narrow in [
        (|filter| filter.name_contains = Some("mail\0".to_owned())) as fn(&mut AgentFilter<'_>),
        |filter| filter.status = Some("act\0ive"),
    ] {
        let mut filter = AgentFilter::default();
        narrow(&mut filter);
        let found = tx.agents_page(&home(), &filter, None, 10).await.unwrap();
        assert!(found.is_empty(), "{filter:?}");
    }
    let all = AgentFilter::default();
    let behind = tx
        .agents_page(&home(), &all, Some("mailer\0"), 10)
        .await
        .unwrap();
    assert!(behind.is_empty());
    let from = tx
        .agents_page(&home(), &all, Some("maile\0"), 10)
        .await
        .unwrap();
    assert_eq!(from, [agent("mailer")]);
}

pub(crate) async fn an_agents_update_on_a_stale_version_changes_nothing(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_role(&home(), &role("reader")).await.unwrap());
    let mut mailer = agent("mailer");
    mailer.roles = vec![role("reader").id];
    assert!(tx.insert_agent(&home(), &mailer).await.unwrap());
    let mut changed = mailer.clone();
    changed.version = 2;
    changed.owner = "somebody else".to_owned();
    changed.roles = Vec::new();
    for stale in [0, 2, -1] {
        assert!(!tx.update_agent(&home(), &changed, stale).await.unwrap());
    }
    assert_eq!(
        tx.agent_by_name(&home(), "mailer").await.unwrap().as_ref(),
        Some(&mailer)
    );
    assert!(tx.update_agent(&home(), &changed, 1).await.unwrap());
    assert!(!tx.update_agent(&home(), &mailer, 1).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(
        read(store)
            .await
            .agent_by_name(&home(), "mailer")
            .await
            .unwrap(),
        Some(changed)
    );
}

pub(crate) async fn a_removed_agent_stays_removed(store: &Store) {
    issuers(store).await;
    let mut mailer = agent("mailer");
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &mailer).await.unwrap());
    mailer.status = AgentStatus::Removed { at: NOW };
    mailer.version = 2;
    assert!(tx.update_agent(&home(), &mailer, 1).await.unwrap());
    let mut resumed = mailer.clone();
    resumed.status = AgentStatus::Active;
    assert!(!tx.update_agent(&home(), &resumed, 2).await.unwrap());
    assert_eq!(
        tx.aggregate(&home(), &mailer.id)
            .await
            .unwrap()
            .unwrap()
            .agent,
        mailer
    );
}

pub(crate) async fn an_agent_reads_back_whole(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let mut mailer = agent("team-a.mailer");
    for number in 0..64 {
        assert!(
            tx.insert_group(&home(), &group(&format!("g{number}")))
                .await
                .unwrap()
        );
        assert!(
            tx.insert_role(&home(), &role(&format!("r{number}")))
                .await
                .unwrap()
        );
        mailer
            .groups
            .push(GroupId::from_text(format!("group-g{number}")));
        mailer
            .roles
            .push(RoleId::from_text(format!("role-r{number}")));
    }
    mailer.groups.sort();
    mailer.roles.sort();
    mailer.subject = Subject::from_stored("spiffe://example.org/mailer".to_owned());
    mailer.description = "liest «Post» 📮 '; DROP TABLE agents; --".to_owned();
    mailer.attributes = BTreeMap::from([
        ("team".to_owned(), "Ä \"quoted\" \\".to_owned()),
        ("env".to_owned(), "prod".to_owned()),
    ]);
    mailer.status = AgentStatus::Suspended { at: NOW.plus(5) };
    mailer.expires_at = Some(NOW.plus(60));
    mailer.assertion_audience = Some(AssertionAudience::IssuerOrTokenEndpoint);
    mailer.version = i64::MAX;
    mailer.updated_at = NOW.plus(1);
    assert!(tx.insert_agent(&home(), &mailer).await.unwrap());
    assert!(
        tx.insert_credential(&home(), &secret("one", &mailer))
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();

    let mut tx = read(store).await;
    assert_eq!(
        tx.agent_by_name(&home(), "team-a.mailer")
            .await
            .unwrap()
            .as_ref(),
        Some(&mailer)
    );
    let by_name = tx
        .aggregate_by_name(&home(), "team-a.mailer")
        .await
        .unwrap()
        .unwrap();
    let by_id = tx.aggregate(&home(), &mailer.id).await.unwrap().unwrap();
    for aggregate in [by_name, by_id] {
        assert_eq!(aggregate.agent, mailer);
        assert_eq!(aggregate.credentials.len(), 1);
        assert_eq!(aggregate.credentials[0].id.as_str(), "one");
    }
    drop(tx);
}

pub(crate) async fn an_agent_changes_all_but_its_name_and_subject(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    for group_name in ["g1", "g2"] {
        assert!(tx.insert_group(&home(), &group(group_name)).await.unwrap());
    }
    assert!(tx.insert_role(&home(), &role("reader")).await.unwrap());
    let mut mailer = agent("team-a.mailer");
    mailer.groups = vec![group("g1").id, group("g2").id];
    mailer.roles = vec![role("reader").id];
    mailer.attributes = BTreeMap::from([("env".to_owned(), "prod".to_owned())]);
    mailer.status = AgentStatus::Suspended { at: NOW };
    mailer.expires_at = Some(NOW);
    mailer.assertion_audience = Some(AssertionAudience::IssuerAsString);
    mailer.version = i64::MAX;
    assert!(tx.insert_agent(&home(), &mailer).await.unwrap());
    tx.commit().await.unwrap();

    let mut changed = mailer.clone();
    changed.groups = vec![group("g1").id];
    changed.roles = Vec::new();
    changed.attributes = BTreeMap::new();
    changed.status = AgentStatus::Active;
    changed.expires_at = None;
    changed.assertion_audience = None;
    changed.name = name("not-to-be-changed");
    changed.subject = Subject::from_stored("not-to-be-changed".to_owned());
    let mut tx = write(store).await;
    assert!(tx.update_agent(&home(), &changed, i64::MAX).await.unwrap());
    tx.commit().await.unwrap();
    changed.name = mailer.name;
    changed.subject = mailer.subject;
    assert_eq!(
        read(store)
            .await
            .agent_by_name(&home(), "team-a.mailer")
            .await
            .unwrap(),
        Some(changed)
    );
}

pub(crate) async fn changed_agents_come_by_version(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    for (agent_name, version) in [("c", 1), ("b", 2), ("a", 3)] {
        let mut agent = agent(agent_name);
        agent.version = version;
        assert!(tx.insert_agent(&home(), &agent).await.unwrap());
    }
    let changed = |ids: Vec<AgentId>| {
        ids.iter()
            .map(|id| id.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(tx.changed_agents(&home(), 3, 10).await.unwrap().is_empty());
    assert_eq!(
        changed(tx.changed_agents(&home(), 1, 10).await.unwrap()),
        ["agent-b", "agent-a"]
    );
    assert_eq!(
        changed(tx.changed_agents(&home(), 0, 2).await.unwrap()),
        ["agent-c", "agent-b"]
    );
    tx.touch_agent(&home(), &agent("c").id, 4, NOW.plus(9))
        .await
        .unwrap();
    assert_eq!(
        changed(tx.changed_agents(&home(), 3, 10).await.unwrap()),
        ["agent-c"]
    );
    assert_eq!(
        tx.agent_version(&home(), &agent("c").id).await.unwrap(),
        Some(4)
    );
    assert_eq!(
        tx.agent_by_name(&home(), "c")
            .await
            .unwrap()
            .unwrap()
            .updated_at,
        NOW.plus(9)
    );
}

fn names(agents: &[Agent]) -> Vec<&str> {
    agents.iter().map(|agent| agent.name.as_str()).collect()
}

pub(crate) async fn agents_come_in_byte_order_page_by_page(store: &Store) {
    issuers(store).await;
    // A collation of the operating system would put these into another order.
    let mut expected = vec!["a", "a-b", "a.b", "a0", "aa", "ab", "b", "b-a", "ba"];
    let more: Vec<String> = (0..300).map(|number| format!("n{number:03}")).collect();
    expected.extend(more.iter().map(String::as_str));
    let mut tx = write(store).await;
    assert!(tx.insert_group(&home(), &group("ops")).await.unwrap());
    for agent_name in expected.iter().rev() {
        let mut agent = agent(agent_name);
        agent.groups = vec![group("ops").id];
        assert!(tx.insert_agent(&home(), &agent).await.unwrap());
    }
    tx.commit().await.unwrap();

    let mut tx = read(store).await;
    let filter = AgentFilter::default();
    let all = tx.agents_page(&home(), &filter, None, 1000).await.unwrap();
    assert_eq!(names(&all), expected);
    assert!(all.iter().all(|agent| agent.groups == [group("ops").id]));
    let mut paged = Vec::new();
    loop {
        let after = paged
            .last()
            .map(|agent: &Agent| agent.name.as_str().to_owned());
        let page = tx
            .agents_page(&home(), &filter, after.as_deref(), 7)
            .await
            .unwrap();
        if page.is_empty() {
            break;
        }
        assert!(page.len() <= 7);
        paged.extend(page);
    }
    assert_eq!(paged, all);
    assert_eq!(
        names(
            &tx.agents_page(&home(), &filter, Some("a-z-not-there"), 2)
                .await
                .unwrap()
        ),
        ["a.b", "a0"]
    );
}

pub(crate) async fn agents_are_filtered(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_group(&home(), &group("ops")).await.unwrap());
    assert!(tx.insert_role(&home(), &role("reader")).await.unwrap());
    let mut grouped = agent("grouped");
    grouped.groups = vec![group("ops").id];
    let mut holder = agent("holder");
    holder.roles = vec![role("reader").id];
    holder.groups = vec![group("ops").id];
    let mut suspended = agent("suspended");
    suspended.status = AgentStatus::Suspended { at: NOW };
    let mut removed = agent("removed");
    removed.status = AgentStatus::Removed { at: NOW };
    removed.groups = vec![group("ops").id];
    for agent in [&grouped, &holder, &suspended, &removed] {
        assert!(tx.insert_agent(&home(), agent).await.unwrap());
    }
    for (narrow, expected) in [
        (
            (|_| {}) as fn(&mut AgentFilter<'_>),
            vec!["grouped", "holder", "suspended"],
        ),
        (
            |filter| filter.status = Some("active"),
            vec!["grouped", "holder"],
        ),
        (
            |filter| filter.status = Some("suspended"),
            vec!["suspended"],
        ),
        (|filter| filter.status = Some("removed"), vec!["removed"]),
        (|filter| filter.status = Some("unknown"), vec![]),
        (
            |filter| filter.name_contains = Some("OLD".to_owned()),
            vec!["holder"],
        ),
        (
            |filter| {
                filter.status = Some("active");
                filter.name_contains = Some("h".to_owned());
            },
            vec!["holder"],
        ),
    ] {
        let mut filter = AgentFilter::default();
        narrow(&mut filter);
        let found = tx.agents_page(&home(), &filter, None, 10).await.unwrap();
        assert_eq!(names(&found), expected, "{filter:?}");
    }
}

/// A role that is given to `holder` and passed on by the groups `g00` to `g19`; each has a member of its
/// name, `holder` is in two, and `elsewhere` is in a group that passes nothing on.
async fn with_holders(store: &Store) -> Vec<GroupId> {
    let mut tx = write(store).await;
    assert!(tx.insert_role(&home(), &role("reader")).await.unwrap());
    assert!(tx.insert_group(&home(), &group("plain")).await.unwrap());
    let mut passing = Vec::new();
    for number in 0..20 {
        let mut passes = group(&format!("g{number:02}"));
        passes.roles = vec![role("reader").id];
        assert!(tx.insert_group(&home(), &passes).await.unwrap());
        let mut member = agent(&format!("m{number:02}"));
        member.groups = vec![passes.id.clone()];
        assert!(tx.insert_agent(&home(), &member).await.unwrap());
        passing.push(passes.id);
    }
    let mut holder = agent("holder");
    holder.roles = vec![role("reader").id];
    holder.groups = vec![passing[0].clone(), passing[1].clone(), group("plain").id];
    let mut elsewhere = agent("elsewhere");
    elsewhere.groups = vec![group("plain").id];
    let mut suspended = agent("suspended");
    suspended.status = AgentStatus::Suspended { at: NOW };
    suspended.groups = vec![passing[0].clone(), group("plain").id];
    for agent in [&holder, &elsewhere, &suspended] {
        assert!(tx.insert_agent(&home(), agent).await.unwrap());
    }
    tx.commit().await.unwrap();
    passing
}

pub(crate) async fn members_of_a_group_and_holders_of_a_role_are_found(store: &Store) {
    issuers(store).await;
    let passing = with_holders(store).await;
    let (reader, plain) = (role("reader").id, group("plain").id);
    let by = |groups| HeldBy {
        role: &reader,
        groups,
    };
    let nul = (GroupId::from_text("o\0ps"), RoleId::from_text("r\0"));
    let unknown = HeldBy {
        role: &nul.1,
        groups: &[],
    };
    let mut tx = read(store).await;
    for (among, expected) in [
        (
            Among::Group(&plain),
            vec!["elsewhere", "holder", "suspended"],
        ),
        (Among::Group(&nul.0), vec![]),
        (Among::Role(unknown), vec![]),
        (Among::Role(by(&[])), vec!["holder"]),
        (
            Among::Role(by(&passing[..2])),
            vec!["holder", "m00", "m01", "suspended"],
        ),
        (Among::Both(&plain, by(&[])), vec!["holder"]),
        (
            Among::Both(&plain, by(&passing)),
            vec!["holder", "suspended"],
        ),
        (
            Among::Both(&passing[1], by(&passing)),
            vec!["holder", "m01"],
        ),
        (Among::Both(&passing[1], by(&[])), vec!["holder"]),
    ] {
        let filter = AgentFilter::default();
        let found = tx
            .agents_among(&home(), among, &filter, Window::first(99))
            .await
            .unwrap();
        assert_eq!(names(&found), expected, "{among:?}");
        assert!(
            tx.agents_among(&other(), among, &filter, Window::first(99))
                .await
                .unwrap()
                .is_empty()
        );
    }
}

pub(crate) async fn holders_of_a_role_are_filtered(store: &Store) {
    issuers(store).await;
    let passing = with_holders(store).await;
    let reader = role("reader").id;
    let by = |groups| HeldBy {
        role: &reader,
        groups,
    };
    let mut tx = read(store).await;
    for (filter, expected) in [
        (
            AgentFilter {
                status: Some("suspended"),
                name_contains: None,
            },
            vec!["suspended"],
        ),
        (
            AgentFilter {
                status: None,
                name_contains: Some("01".to_owned()),
            },
            vec!["m01"],
        ),
    ] {
        for groups in [&passing[..], &passing[..2]] {
            let among = Among::Role(by(groups));
            let found = tx
                .agents_among(&home(), among, &filter, Window::first(99))
                .await
                .unwrap();
            assert_eq!(names(&found), expected, "{filter:?}");
        }
    }
}

pub(crate) async fn holders_of_a_role_come_page_by_page_each_once(store: &Store) {
    issuers(store).await;
    let passing = with_holders(store).await;
    let reader = role("reader").id;
    let mut tx = read(store).await;
    // With few groups each is read by itself, with many all agents are.
    for groups in [&passing[..10], &passing[..]] {
        let among = Among::Role(HeldBy {
            role: &reader,
            groups,
        });
        let filter = AgentFilter::default();
        let mut expected: Vec<String> = (0..groups.len())
            .map(|number| format!("m{number:02}"))
            .collect();
        expected.insert(0, "holder".to_owned());
        expected.push("suspended".to_owned());
        let all = tx
            .agents_among(&home(), among, &filter, Window::first(99))
            .await
            .unwrap();
        assert_eq!(names(&all), expected);
        let mut paged: Vec<Agent> = Vec::new();
        loop {
            let after = paged.last().map(|agent| agent.id.as_str().to_owned());
            let page = tx
                .agents_among(
                    &home(),
                    among,
                    &filter,
                    Window {
                        after: after.as_deref(),
                        limit: 3,
                    },
                )
                .await
                .unwrap();
            if page.is_empty() {
                break;
            }
            assert!(page.len() <= 3);
            paged.extend(page);
        }
        assert_eq!(paged, all);
    }
}

pub(crate) async fn percent_and_underscore_stand_for_themselves(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    for agent_name in ["a", "a-b", "abc"] {
        assert!(tx.insert_agent(&home(), &agent(agent_name)).await.unwrap());
    }
    for (text, expected) in [
        ("%", vec![]),
        ("_", vec![]),
        ("a_b", vec![]),
        ("!", vec![]),
        ("\\", vec![]),
        ("a%", vec![]),
        ("-", vec!["a-b"]),
        ("b", vec!["a-b", "abc"]),
        ("", vec!["a", "a-b", "abc"]),
    ] {
        let filter = AgentFilter {
            name_contains: Some(text.to_owned()),
            ..AgentFilter::default()
        };
        let found = tx.agents_page(&home(), &filter, None, 10).await.unwrap();
        assert_eq!(names(&found), expected, "{text:?}");
    }
}

pub(crate) async fn members_and_holders_are_counted(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_role(&home(), &role("reader")).await.unwrap());
    let mut ops = group("ops");
    ops.roles = vec![role("reader").id];
    assert!(tx.insert_group(&home(), &ops).await.unwrap());
    let mut gone = group("gone");
    gone.roles = vec![role("reader").id];
    gone.removed_at = Some(NOW);
    assert!(tx.insert_group(&home(), &gone).await.unwrap());
    for (agent_name, status) in [
        ("a", AgentStatus::Active),
        ("s", AgentStatus::Suspended { at: NOW }),
        ("r", AgentStatus::Removed { at: NOW }),
    ] {
        let mut agent = agent(agent_name);
        agent.status = status;
        agent.groups = vec![ops.id.clone()];
        agent.roles = vec![role("reader").id];
        assert!(tx.insert_agent(&home(), &agent).await.unwrap());
    }
    assert_eq!(
        tx.count_group_members(&home(), &ops.id, i64::MAX)
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        tx.count_group_members(&home(), &gone.id, 9).await.unwrap(),
        0
    );
    assert_eq!(
        tx.count_group_members(&home(), &GroupId::from_text("\0"), 9)
            .await
            .unwrap(),
        0
    );
    assert_eq!(
        tx.count_group_members(&home(), &ops.id, 1).await.unwrap(),
        1
    );
    assert_eq!(
        tx.count_role_holders(&home(), &role("reader").id, 9)
            .await
            .unwrap(),
        RoleHolders {
            agents: 2,
            groups: 1
        }
    );
    let counted = tx.count_role_holders(&home(), &role("reader").id, 1).await;
    let (agents, groups) = (1, 1);
    assert_eq!(counted.unwrap(), RoleHolders { agents, groups });
    let counted = tx.count_role_holders(&other(), &role("reader").id, 9).await;
    let (agents, groups) = (0, 0);
    assert_eq!(counted.unwrap(), RoleHolders { agents, groups });
}
