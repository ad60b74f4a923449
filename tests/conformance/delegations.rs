//! Delegations.

use std::collections::{BTreeMap, HashMap};

use firman::domain::credential::Credential;
use firman::domain::delegation::{DELEGATIONS_MAX, Delegation, DelegationStatus, SubjectPattern};
use firman::domain::id::DelegationId;
use firman::domain::role::GrantedScopes;
use firman::store::{DelegationNames, Store, StoreError, Tx, Window};

use crate::support::{NOW, agent, home, issuers, other, read, resource, scopes, secret, write};
use crate::trusted_issuers::{federated, trusted};

fn delegation(id: &str, actor: &str, subject: &str) -> Delegation {
    Delegation {
        id: DelegationId::from_text(id),
        actor: agent(actor).id,
        subject: SubjectPattern::parse(
            subject,
            Some(trusted("okta").id),
            BTreeMap::from([("department".to_owned(), "sales".to_owned())]),
        )
        .unwrap(),
        resource: resource("api").id,
        scopes: GrantedScopes::Only(scopes("read write")),
        max_depth: 2,
        status: DelegationStatus::Active,
        expires_at: NOW.plus(3600),
        version: 1,
        created_at: NOW,
        updated_at: NOW,
    }
}

async fn parties(tx: &mut Tx) {
    for actor in ["a", "b"] {
        assert!(tx.insert_agent(&home(), &agent(actor)).await.unwrap());
    }
    assert!(tx.insert_resource(&home(), &resource("api")).await.unwrap());
    assert!(
        tx.insert_trusted_issuer(&home(), &trusted("okta"))
            .await
            .unwrap()
    );
}

pub(crate) async fn a_delegation_needs_its_actor(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_resource(&home(), &resource("api")).await.unwrap());
    assert!(
        tx.insert_trusted_issuer(&home(), &trusted("okta"))
            .await
            .unwrap()
    );
    let error = tx
        .insert_delegation(&home(), &delegation("1", "a", "user:okta:*"))
        .await
        .expect_err("there is no such agent");
    assert!(matches!(error, StoreError::Rejected(_)), "{error:?}");
}

pub(crate) async fn a_revoked_delegation_stays_revoked(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    parties(&mut tx).await;
    let mut held = delegation("1", "a", "user:okta:*");
    assert!(tx.insert_delegation(&home(), &held).await.unwrap());
    held.version = 2;
    held.status = DelegationStatus::Suspended { at: NOW };
    assert!(!tx.update_delegation(&home(), &held, 5).await.unwrap());
    assert!(tx.update_delegation(&home(), &held, 1).await.unwrap());
    assert_eq!(
        tx.delegation(&home(), "1").await.unwrap(),
        Some(held.clone())
    );
    held.version = 3;
    held.status = DelegationStatus::Revoked { at: NOW };
    assert!(tx.update_delegation(&home(), &held, 2).await.unwrap());
    held.status = DelegationStatus::Active;
    assert!(!tx.update_delegation(&home(), &held, 3).await.unwrap());
    assert!(
        tx.delegations_of(&home(), &agent("a").id)
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        tx.delegations_of_resource(&home(), &resource("api").id, NOW, 9)
            .await
            .unwrap(),
        []
    );
    tx.commit().await.unwrap();
}

pub(crate) async fn delegations_read_back_whole_with_their_actor(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    parties(&mut tx).await;
    let exact = delegation("2", "a", "user:okta:alice");
    let all = Delegation {
        scopes: GrantedScopes::All,
        subject: SubjectPattern::parse("agent:b", None, BTreeMap::new()).unwrap(),
        ..delegation("1", "a", "user:okta:*")
    };
    let others = delegation("3", "b", "user:okta:alice");
    for held in [&exact, &all, &others] {
        assert!(tx.insert_delegation(&home(), held).await.unwrap());
    }
    tx.commit().await.unwrap();
    let mut tx = read(store).await;
    let aggregate = tx
        .aggregate(&home(), &agent("a").id)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(aggregate.delegations, [all.clone(), exact.clone()]);
    let page = async |tx: &mut Tx, actor: Option<&str>, subject: Option<&str>, after, limit| {
        let actor = actor.map(|actor| agent(actor).id);
        let subject =
            subject.map(|text| SubjectPattern::parse(text, None, BTreeMap::new()).unwrap());
        let window = Window { after, limit };
        tx.delegations_page(&home(), actor.as_ref(), subject.as_ref(), window)
            .await
            .unwrap()
            .into_iter()
            .map(|held| held.id.as_str().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(page(&mut tx, None, None, None, 2).await, ["1", "2"]);
    assert_eq!(page(&mut tx, None, None, Some("2"), 2).await, ["3"]);
    assert_eq!(page(&mut tx, Some("a"), None, None, 9).await, ["1", "2"]);
    assert_eq!(
        page(&mut tx, None, Some("user:okta:alice"), None, 9).await,
        ["2", "3"]
    );
    let mut resting = tx
        .delegations_of_trusted_issuer(&home(), &trusted("okta").id, NOW, 9)
        .await
        .unwrap();
    resting.sort_by(|a, b| a.id.cmp(&b.id));
    assert_eq!(resting, [exact.clone(), others.clone()]);
    assert_eq!(
        tx.delegations_of_resource(&home(), &resource("api").id, NOW, 9)
            .await
            .unwrap(),
        [all.clone(), exact.clone(), others]
    );
    let later = NOW.plus(3600);
    assert_eq!(
        tx.delegations_of_resource(&home(), &resource("api").id, later, 9)
            .await
            .unwrap(),
        []
    );
    assert_eq!(
        tx.count_delegations_of_trusted_issuer(&home(), &trusted("okta").id, NOW, 9)
            .await
            .unwrap(),
        2
    );
}

pub(crate) async fn delegations_that_are_over_are_not_counted_and_crowd_out_none(store: &Store) {
    issuers(store).await;
    let (home, okta) = (home(), trusted("okta"));
    let mut tx = write(store).await;
    parties(&mut tx).await;
    // The ids are not in the order of the ends.
    for number in 0..100 {
        let held = Delegation {
            expires_at: NOW.plus(number),
            ..delegation(&format!("{:02}", (number * 37) % 100), "a", "user:okta:*")
        };
        assert!(tx.insert_delegation(&home, &held).await.unwrap());
    }
    let revoked = Delegation {
        status: DelegationStatus::Revoked { at: NOW },
        expires_at: NOW.plus(9999),
        ..delegation("revoked", "a", "user:okta:*")
    };
    assert!(tx.insert_delegation(&home, &revoked).await.unwrap());
    let held = tx.delegations_of(&home, &agent("a").id).await.unwrap();
    assert_eq!(held.len(), DELEGATIONS_MAX);
    assert!(held.is_sorted_by(|one, other| one.id < other.id));
    let first = i64::try_from(100 - DELEGATIONS_MAX).unwrap();
    assert!(
        held.iter().all(|held| held.expires_at >= NOW.plus(first)),
        "one that ends earlier is in place of one that ends later"
    );
    for (now, limit, ends) in [
        (NOW.plus(96), 9, &[97, 98, 99][..]),
        (NOW.plus(96), 2, &[97, 98]),
        (NOW.plus(99), 9, &[]),
    ] {
        let resting = tx
            .delegations_of_trusted_issuer(&home, &okta.id, now, limit)
            .await
            .unwrap();
        let found: Vec<i64> = resting
            .iter()
            .map(|held| held.expires_at.0 - NOW.0)
            .collect();
        assert_eq!(found, ends, "{now} {limit}");
        let (home, api) = (&home, resource("api").id);
        let named = tx.delegations_of_resource(home, &api, now, limit).await;
        assert_eq!(named.unwrap(), resting);
        let count = tx
            .count_delegations_of_trusted_issuer(home, &okta.id, now, limit)
            .await
            .unwrap();
        assert_eq!(count, i64::try_from(ends.len()).unwrap(), "{now} {limit}");
    }
    tx.commit().await.unwrap();
}

pub(crate) async fn what_ended_long_ago_is_noticed_and_purged_in_portions(store: &Store) {
    issuers(store).await;
    let (home, other) = (home(), other());
    let mut tx = write(store).await;
    parties(&mut tx).await;
    assert!(!tx.holds_ended(&home, NOW.plus(9999)).await.unwrap());
    for (id, status) in [
        ("1", DelegationStatus::Active),
        ("2", DelegationStatus::Revoked { at: NOW }),
        ("3", DelegationStatus::Suspended { at: NOW }),
    ] {
        let held = Delegation {
            status,
            ..delegation(id, "a", "user:okta:*")
        };
        assert!(tx.insert_delegation(&home, &held).await.unwrap());
    }
    let end = NOW.plus(3600);
    assert!(!tx.holds_ended(&home, end).await.unwrap());
    assert_eq!(tx.purge_ended(&home, end, 9).await.unwrap(), 0);
    let after = end.plus(1);
    assert!(tx.holds_ended(&home, after).await.unwrap());
    assert!(!tx.holds_ended(&other, after).await.unwrap());
    assert_eq!(tx.purge_ended(&other, after, 9).await.unwrap(), 0);
    for purged in [2, 1, 0] {
        assert_eq!(tx.purge_ended(&home, after, 2).await.unwrap(), purged);
    }
    assert!(!tx.holds_ended(&home, after).await.unwrap());
    assert_eq!(tx.delegation(&home, "1").await.unwrap(), None);

    let github = trusted("github");
    assert!(tx.insert_trusted_issuer(&home, &github).await.unwrap());
    for (id, expires_at) in [("1", None), ("2", Some(end))] {
        let credential = Credential {
            expires_at,
            ..federated(id, "a", Some("repo:x"))
        };
        assert!(tx.insert_credential(&home, &credential).await.unwrap());
    }
    let secret = Credential {
        expires_at: Some(end),
        ..secret("3", &agent("a"))
    };
    assert!(tx.insert_credential(&home, &secret).await.unwrap());
    assert!(!tx.holds_ended(&home, end).await.unwrap());
    assert!(tx.holds_ended(&home, after).await.unwrap());
    assert_eq!(tx.purge_ended(&home, after, 9).await.unwrap(), 1);
    // One without an expiry ends by its revocation.
    let revoked = Credential {
        expires_at: None,
        revoked_at: Some(end),
        ..federated("4", "a", Some("repo:y"))
    };
    assert!(tx.insert_credential(&home, &revoked).await.unwrap());
    assert!(!tx.holds_ended(&home, end).await.unwrap());
    assert!(tx.holds_ended(&home, after).await.unwrap());
    assert_eq!(tx.purge_ended(&home, after, 9).await.unwrap(), 1);
    let left = tx.credentials_of(&home, &agent("a").id).await.unwrap();
    let left: Vec<&str> = left.iter().map(|held| held.id.as_str()).collect();
    assert_eq!(left, ["1", "3"]);
    tx.commit().await.unwrap();
}

pub(crate) async fn delegations_are_found_by_the_subjects_that_they_take(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    parties(&mut tx).await;
    for (id, subject) in [
        ("1", "agent:team-a.*"),
        ("2", "agent:team-a.x"),
        ("3", "agent:team-b.x"),
        ("4", "agent:*"),
        ("5", "agent:team-a."),
        ("6", "agent:team-a.x*"),
        ("7", "AGENT:team-a.x"),
    ] {
        let held = delegation(id, "a", subject);
        assert!(tx.insert_delegation(&home(), &held).await.unwrap());
    }
    for (subject, found) in [
        ("agent:team-a.x", &["1", "2", "4", "6"][..]),
        ("agent:team-a.", &["1", "4", "5"]),
        ("agent:team-a", &["4"]),
        ("agent:team-a.xy", &["1", "4", "6"]),
        ("user:okta:alice", &[]),
        ("agent:team-a.*", &["1", "2", "4", "5", "6"]),
        ("a*", &["1", "2", "3", "4", "5", "6"]),
        ("agent:%", &["4"]),
    ] {
        let pattern = SubjectPattern::parse(subject, None, BTreeMap::new()).unwrap();
        let page = tx
            .delegations_page(&home(), None, Some(&pattern), Window::first(9))
            .await
            .unwrap();
        let ids: Vec<_> = page.iter().map(|held| held.id.as_str()).collect();
        assert_eq!(ids, found, "{subject}");
    }
}

pub(crate) async fn what_a_delegation_speaks_of_has_a_name_removed_or_not(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    parties(&mut tx).await;
    let of_okta = delegation("1", "a", "user:okta:*");
    let of_ours = Delegation {
        subject: SubjectPattern::parse("agent:b", None, BTreeMap::new()).unwrap(),
        ..delegation("2", "b", "user:okta:*")
    };
    for held in [&of_okta, &of_ours] {
        assert!(tx.insert_delegation(&home(), held).await.unwrap());
    }
    let mut removed = resource("api");
    removed.removed_at = Some(NOW);
    assert!(tx.update_resource(&home(), &removed, 1).await.unwrap());
    let names = tx
        .delegation_names(&home(), &["1", "2", "3"])
        .await
        .unwrap();
    let named = |actor: &str, trusted_issuer: Option<&str>| DelegationNames {
        actor: agent(actor).name,
        resource: resource("api").name,
        identifier: resource("api").identifier,
        trusted_issuer: trusted_issuer.map(|name| trusted(name).name),
    };
    assert_eq!(
        names,
        HashMap::from([
            (of_okta.id, named("a", Some("okta"))),
            (of_ours.id, named("b", None)),
        ])
    );
    let names = tx
        .agent_names(&home(), &[agent("a").id.as_str(), "nobody"])
        .await
        .unwrap();
    assert_eq!(names, HashMap::from([(agent("a").id, agent("a").name)]));
    for (subject, found) in [(agent("a").subject.as_str(), Some("a")), ("agent:no", None)] {
        let name = tx.agent_name_by_subject(&home(), subject).await.unwrap();
        assert_eq!(name.as_deref(), found);
    }
}
