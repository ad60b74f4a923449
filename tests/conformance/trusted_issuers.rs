//! Trusted issuers, and the credentials that rest on them.

use std::collections::BTreeMap;

use firman::domain::agent::Agent;
use firman::domain::credential::{Credential, CredentialKind};

use firman::domain::id::{AgentId, CredentialId, TrustedIssuerId};
use firman::domain::trusted_issuer::{
    JtiPolicy, KeySource, TokenMatch, TrustDefinition, TrustedIssuer,
};
use firman::ports::time::UnixTime;
use firman::store::{FetchedKeys, PresentedToken, Store};

use crate::support::{NOW, agent, home, issuers, name, other, read, write};

pub(crate) fn trusted(issuer_name: &str) -> TrustedIssuer {
    TrustedIssuer {
        id: TrustedIssuerId::from_text(format!("trusted-{issuer_name}")),
        name: name(issuer_name),
        url: format!("https://{issuer_name}.example/Ü"),
        definition: TrustDefinition {
            description: "wörkers".to_owned(),
            audience: "https://home.example".to_owned(),
            keys: KeySource::Inline {
                jwks: serde_json::json!({"keys": []}),
            },
            client_auth: true,
            subject: false,
            actor: false,
            accept_act: true,
            max_lifetime: 3600,
            types: vec!["JWT".to_owned(), String::new()],
            jti: JtiPolicy::Reusable,
            required_claims: BTreeMap::from([("tenant".to_owned(), "t1".to_owned())]),
            subject_claim: "sub".to_owned(),
            claims: BTreeMap::new(),
        },
        version: 1,
        created_at: NOW,
        updated_at: NOW,
        removed_at: None,
    }
}

pub(crate) fn federated(id: &str, of: &str, subject: Option<&str>) -> Credential {
    Credential {
        id: CredentialId::from_text(id),
        agent: agent(of).id,
        kind: CredentialKind::Federated {
            trusted_issuer: trusted("github").id,
            matching: Box::new(TokenMatch {
                subject: subject.map(str::to_owned),
                condition: subject.is_none().then(|| "claims.sub != ''".to_owned()),
                ..TokenMatch::default()
            }),
        },
        not_before: NOW,
        expires_at: None,
        revoked_at: None,
        created_at: NOW,
    }
}

pub(crate) async fn a_trusted_issuers_name_is_never_given_out_twice(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let mut github = trusted("github");
    assert!(tx.insert_trusted_issuer(&home(), &github).await.unwrap());
    let same_url = TrustedIssuer {
        url: github.url.clone(),
        ..trusted("gitlab")
    };
    assert!(!tx.insert_trusted_issuer(&home(), &same_url).await.unwrap());
    github.removed_at = Some(NOW);
    assert!(tx.update_trusted_issuer(&home(), &github, 1).await.unwrap());
    let again = TrustedIssuer {
        id: TrustedIssuerId::from_text("another"),
        ..trusted("github")
    };
    assert!(!tx.insert_trusted_issuer(&home(), &again).await.unwrap());
    assert!(tx.insert_trusted_issuer(&home(), &same_url).await.unwrap());
    assert!(tx.insert_trusted_issuer(&other(), &again).await.unwrap());
    tx.commit().await.unwrap();
}

pub(crate) async fn a_trusted_issuers_update_on_a_stale_version_changes_nothing(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let github = trusted("github");
    assert!(tx.insert_trusted_issuer(&home(), &github).await.unwrap());
    let mut changed = github.clone();
    changed.definition.max_lifetime = 600;
    changed.version = 3;
    assert!(
        !tx.update_trusted_issuer(&home(), &changed, 2)
            .await
            .unwrap()
    );
    assert_eq!(
        tx.trusted_issuers(&home()).await.unwrap(),
        std::slice::from_ref(&github)
    );
    assert!(
        tx.update_trusted_issuer(&home(), &changed, 1)
            .await
            .unwrap()
    );
    changed.removed_at = Some(NOW);
    assert!(
        tx.update_trusted_issuer(&home(), &changed, 3)
            .await
            .unwrap()
    );
    assert!(
        !tx.update_trusted_issuer(&home(), &changed, 3)
            .await
            .unwrap()
    );
    assert!(tx.trusted_issuers(&home()).await.unwrap().is_empty());
    tx.commit().await.unwrap();
}

pub(crate) async fn trusted_issuers_read_back_whole_by_name(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    for issuer_name in ["gitlab", "github"] {
        let trusted = trusted(issuer_name);
        assert!(tx.insert_trusted_issuer(&home(), &trusted).await.unwrap());
    }
    tx.commit().await.unwrap();
    let mut tx = read(store).await;
    assert_eq!(
        tx.trusted_issuers(&home()).await.unwrap(),
        [trusted("github"), trusted("gitlab")]
    );
    assert_eq!(
        tx.trusted_issuer_by_name(&home(), "gitlab").await.unwrap(),
        Some(trusted("gitlab"))
    );
    assert_eq!(
        tx.trusted_issuer_by_name(&home(), "\0").await.unwrap(),
        None
    );
    assert!(tx.trusted_issuers(&other()).await.unwrap().is_empty());
}

pub(crate) async fn keys_are_kept_of_a_trusted_issuer_as_it_is_now_alone(store: &Store) {
    issuers(store).await;
    let home_id = home();
    let fetched = |keys: &str, fetched_at: i64| FetchedKeys {
        source: r#"{"type":"discovery"}"#.to_owned(),
        keys: keys.to_owned(),
        fetched_at: UnixTime(fetched_at),
    };
    let mut tx = write(store).await;
    let mut github = trusted("github");
    for issuer in [home(), other()] {
        assert!(tx.insert_trusted_issuer(&issuer, &github).await.unwrap());
    }
    let id = github.id.clone();
    let first = fetched("ä", 1);
    let put = tx.put_trusted_issuer_keys(&home_id, &id, 2, &first);
    assert!(!put.await.unwrap());
    assert_eq!(tx.trusted_issuer_keys(&home(), &id).await.unwrap(), None);
    for kept in [first, fetched("b", i64::MAX), fetched("c", 0)] {
        let put = tx.put_trusted_issuer_keys(&home_id, &id, 1, &kept);
        assert!(put.await.unwrap());
        assert_eq!(
            tx.trusted_issuer_keys(&home(), &id).await.unwrap(),
            Some(kept)
        );
    }
    assert_eq!(tx.trusted_issuer_keys(&other(), &id).await.unwrap(), None);
    tx.delete_trusted_issuer_keys(&other(), &id).await.unwrap();
    assert!(
        tx.trusted_issuer_keys(&home(), &id)
            .await
            .unwrap()
            .is_some()
    );
    tx.delete_trusted_issuer_keys(&home(), &id).await.unwrap();
    assert_eq!(tx.trusted_issuer_keys(&home(), &id).await.unwrap(), None);
    github.removed_at = Some(NOW);
    assert!(tx.update_trusted_issuer(&home(), &github, 1).await.unwrap());
    let late = fetched("d", 2);
    let put = tx.put_trusted_issuer_keys(&home_id, &id, 1, &late);
    assert!(!put.await.unwrap());
    tx.commit().await.unwrap();
}

pub(crate) async fn a_federated_credential_is_found_by_its_subject(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let github = trusted("github");
    assert!(tx.insert_trusted_issuer(&home(), &github).await.unwrap());
    for agent_name in ["a", "b", "c"] {
        assert!(tx.insert_agent(&home(), &agent(agent_name)).await.unwrap());
    }
    for credential in [
        federated("1", "a", Some("repo:x")),
        federated("2", "b", Some("repo:X")),
        federated("3", "c", None),
    ] {
        assert!(tx.insert_credential(&home(), &credential).await.unwrap());
    }
    let about = |subject, now| PresentedToken {
        trusted: &github.id,
        subject,
        now,
    };
    let found = tx
        .agents_of_federated_subject(&home(), about("repo:x", NOW), 10)
        .await
        .unwrap();
    assert_eq!(found, ["a", "c"]);
    assert_eq!(
        tx.count_federated_credentials(&home(), &github.id, NOW, 9)
            .await
            .unwrap(),
        3
    );
    let resting = tx
        .credentials_of_trusted_issuer(&home(), &github.id, NOW, 2)
        .await
        .unwrap();
    let ids: Vec<&str> = resting.iter().map(|held| held.id.as_str()).collect();
    assert_eq!(ids, ["1", "2"]);
    let mut revoked = federated("1", "a", Some("repo:x"));
    revoked.revoked_at = Some(NOW);
    assert!(tx.update_credential(&home(), &revoked).await.unwrap());
    assert!(!tx.update_credential(&home(), &revoked).await.unwrap());
    let found = tx
        .agents_of_federated_subject(&home(), about("repo:x", NOW), 10)
        .await
        .unwrap();
    assert_eq!(found, ["c"]);
    let read_back = tx.credential(&home(), &revoked.id).await.unwrap().unwrap();
    assert_eq!(format!("{:?}", read_back.kind), "federated");
    assert_eq!(read_back.revoked_at, Some(NOW));
    let held = tx.credentials_of(&home(), &agent("c").id).await.unwrap();
    let CredentialKind::Federated {
        trusted_issuer,
        matching,
    } = &held[0].kind
    else {
        panic!("another kind came back");
    };
    assert_eq!(*trusted_issuer, github.id);
    assert_eq!(matching.condition.as_deref(), Some("claims.sub != ''"));
    tx.commit().await.unwrap();
}

pub(crate) async fn federated_credentials_that_are_over_rest_on_nothing(store: &Store) {
    issuers(store).await;
    let (home, github) = (home(), trusted("github"));
    let mut tx = write(store).await;
    assert!(tx.insert_trusted_issuer(&home, &github).await.unwrap());
    assert!(tx.insert_agent(&home, &agent("a")).await.unwrap());
    for (id, expires_at) in [
        ("1", None),
        ("2", Some(NOW)),
        ("3", Some(NOW.plus(1))),
        ("5", Some(NOW.plus(-1))),
    ] {
        let credential = Credential {
            expires_at,
            ..federated(id, "a", Some("repo:x"))
        };
        assert!(tx.insert_credential(&home, &credential).await.unwrap());
    }
    let mut revoked = federated("6", "a", Some("repo:x"));
    revoked.revoked_at = Some(NOW);
    assert!(tx.insert_credential(&home, &revoked).await.unwrap());
    for (now, limit, ids) in [
        (NOW, 9, &["3", "1"][..]),
        (NOW, 1, &["3"]),
        (NOW.plus(1), 9, &["1"]),
        (NOW.plus(-2), 9, &["5", "2", "3", "1"]),
    ] {
        let resting = tx
            .credentials_of_trusted_issuer(&home, &github.id, now, limit)
            .await
            .unwrap();
        let found: Vec<&str> = resting.iter().map(|held| held.id.as_str()).collect();
        assert_eq!(found, ids, "{now} {limit}");
        let count = tx
            .count_federated_credentials(&home, &github.id, now, limit)
            .await
            .unwrap();
        assert_eq!(count, i64::try_from(ids.len()).unwrap(), "{now} {limit}");
    }
    tx.commit().await.unwrap();
}

pub(crate) async fn agents_that_a_token_could_prove_are_found_up_to_a_limit(store: &Store) {
    issuers(store).await;
    let (home, github) = (home(), trusted("github"));
    let mut tx = write(store).await;
    assert!(tx.insert_trusted_issuer(&home, &github).await.unwrap());
    // The order of the ids is not that of the names.
    for (agent_name, id) in [("a", "9"), ("b", "8"), ("c", "7"), ("d", "6"), ("e", "5")] {
        let agent = Agent {
            id: AgentId::from_text(id),
            ..agent(agent_name)
        };
        assert!(tx.insert_agent(&home, &agent).await.unwrap());
    }
    let (end, exact) = (Some(NOW.plus(10)), Some("repo:x"));
    for (id, of, subject, expires_at) in [
        // Of an agent with many that match, the others are not crowded out.
        ("1", "5", exact, None),
        ("2", "5", exact, end),
        ("3", "5", None, None),
        ("4", "5", None, end),
        ("5", "6", None, end),
        ("6", "7", exact, end),
        ("7", "8", exact, Some(NOW)),
        ("8", "8", None, Some(NOW.plus(-1))),
        ("9", "9", None, None),
        ("10", "8", Some("repo:y"), None),
    ] {
        let credential = Credential {
            agent: AgentId::from_text(of),
            expires_at,
            ..federated(id, "a", subject)
        };
        assert!(tx.insert_credential(&home, &credential).await.unwrap());
    }
    for (subject, after, limit, names) in [
        ("repo:x", 0, 9, &["a", "c", "d", "e"][..]),
        ("repo:x", 0, 4, &["a", "c", "d", "e"]),
        ("repo:x", 10, 9, &["a", "e"]),
        ("repo:y", 0, 9, &["a", "b", "d", "e"]),
        ("repo:z", 0, 9, &["a", "d", "e"]),
        ("repo:z", 10, 9, &["a", "e"]),
    ] {
        let token = PresentedToken {
            trusted: &github.id,
            subject,
            now: NOW.plus(after),
        };
        let found = tx.agents_of_federated_subject(&home, token, limit).await;
        assert_eq!(found.unwrap(), names, "{subject} after {after}");
        for limit in 1..i64::try_from(names.len()).unwrap() {
            let found = tx.agents_of_federated_subject(&home, token, limit).await;
            let found = i64::try_from(found.unwrap().len()).unwrap();
            assert_eq!(found, limit, "{subject} after {after}");
        }
    }
    tx.commit().await.unwrap();
}
