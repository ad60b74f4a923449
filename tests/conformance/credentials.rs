//! Credentials: which key proves whom, and what revocation means.

use firman::domain::agent::AgentStatus;
use firman::domain::credential::CredentialKind;
use firman::domain::id::CredentialId;
use firman::store::{LiveCredentials, Store, StoreError};

use crate::support::{NOW, agent, home, issuers, other, public_key, read, secret, write};

pub(crate) async fn a_public_key_proves_one_agent(store: &Store) {
    issuers(store).await;
    let (mailer, reader) = (agent("mailer"), agent("reader"));
    let mut tx = write(store).await;
    for agent in [&mailer, &reader] {
        assert!(tx.insert_agent(&home(), agent).await.unwrap());
    }
    assert!(tx.insert_agent(&other(), &mailer).await.unwrap());
    let mut first = public_key("first", &mailer, 1, Some("k1"));
    assert!(tx.insert_credential(&home(), &first).await.unwrap());
    assert!(
        !tx.insert_credential(&home(), &public_key("same-agent", &mailer, 1, Some("k2")))
            .await
            .unwrap()
    );
    assert!(
        !tx.insert_credential(&home(), &public_key("other-agent", &reader, 1, Some("k3")))
            .await
            .unwrap()
    );
    assert!(
        !tx.insert_credential(&home(), &public_key("first", &mailer, 9, Some("k9")))
            .await
            .unwrap(),
        "the id is taken"
    );
    assert!(
        tx.insert_credential(&other(), &public_key("other-issuer", &mailer, 1, None))
            .await
            .unwrap()
    );
    first.revoked_at = Some(NOW);
    assert!(tx.update_credential(&home(), &first).await.unwrap());
    assert!(
        tx.insert_credential(&home(), &public_key("other-agent", &reader, 1, Some("k3")))
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    assert_eq!(
        read(store)
            .await
            .credentials_of(&home(), &reader.id)
            .await
            .unwrap()
            .len(),
        1
    );
}

pub(crate) async fn a_kid_names_one_key_of_an_agent(store: &Store) {
    issuers(store).await;
    let (mailer, reader) = (agent("mailer"), agent("reader"));
    let mut tx = write(store).await;
    for agent in [&mailer, &reader] {
        assert!(tx.insert_agent(&home(), agent).await.unwrap());
    }
    let mut first = public_key("first", &mailer, 1, Some("k1"));
    assert!(tx.insert_credential(&home(), &first).await.unwrap());
    assert!(
        !tx.insert_credential(&home(), &public_key("same-kid", &mailer, 2, Some("k1")))
            .await
            .unwrap()
    );
    let thumbprint = match public_key("x", &mailer, 3, None).kind {
        CredentialKind::PublicKey { jwk } => jwk.thumbprint().to_owned(),
        CredentialKind::ClientSecret { .. } | CredentialKind::Federated { .. } => {
            panic!("a public key")
        }
    };
    assert!(
        tx.insert_credential(
            &home(),
            &public_key("thumbprint", &mailer, 2, Some(&thumbprint))
        )
        .await
        .unwrap()
    );
    assert!(
        !tx.insert_credential(&home(), &public_key("no-kid", &mailer, 3, None))
            .await
            .unwrap(),
        "its kid is the thumbprint"
    );
    assert!(
        tx.insert_credential(&home(), &public_key("other-case", &mailer, 4, Some("K1")))
            .await
            .unwrap()
    );
    assert!(
        tx.insert_credential(&home(), &public_key("other-agent", &reader, 5, Some("k1")))
            .await
            .unwrap()
    );
    first.revoked_at = Some(NOW);
    assert!(tx.update_credential(&home(), &first).await.unwrap());
    assert!(
        tx.insert_credential(&home(), &public_key("same-kid", &mailer, 6, Some("k1")))
            .await
            .unwrap()
    );
}

pub(crate) async fn a_credential_needs_its_agent(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &agent("mailer")).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = write(store).await;
    let refused = tx
        .insert_credential(&other(), &secret("one", &agent("mailer")))
        .await;
    assert!(
        matches!(refused, Err(StoreError::Rejected(_))),
        "{refused:?}"
    );
}

pub(crate) async fn a_revoked_credential_stays_revoked(store: &Store) {
    issuers(store).await;
    let (mailer, reader) = (agent("mailer"), agent("reader"));
    let mut one = secret("one", &mailer);
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &mailer).await.unwrap());
    assert!(tx.insert_credential(&home(), &one).await.unwrap());
    assert!(
        !tx.update_credential(&home(), &secret("unknown", &mailer))
            .await
            .unwrap()
    );
    assert!(
        !tx.update_credential(&home(), &secret("one", &reader))
            .await
            .unwrap(),
        "another agent's"
    );
    assert!(
        !tx.update_credential(&other(), &one).await.unwrap(),
        "another issuer's"
    );
    one.expires_at = Some(NOW.plus(60));
    assert!(tx.update_credential(&home(), &one).await.unwrap());
    one.revoked_at = Some(NOW);
    assert!(tx.update_credential(&home(), &one).await.unwrap());
    one.revoked_at = None;
    assert!(!tx.update_credential(&home(), &one).await.unwrap());
    let stored = tx.credential(&home(), &one.id).await.unwrap().unwrap();
    assert_eq!(
        (stored.expires_at, stored.revoked_at),
        (Some(NOW.plus(60)), Some(NOW))
    );
}

pub(crate) async fn credentials_come_newest_last(store: &Store) {
    issuers(store).await;
    let mailer = agent("mailer");
    let mut tx = write(store).await;
    assert!(tx.insert_agent(&home(), &mailer).await.unwrap());
    let mut newest = secret("a", &mailer);
    newest.created_at = NOW.plus(2);
    let mut revoked = public_key("b", &mailer, 1, Some("k1"));
    revoked.not_before = NOW.plus(1);
    revoked.expires_at = Some(NOW.plus(2));
    revoked.revoked_at = Some(NOW.plus(3));
    let oldest = secret("c", &mailer);
    for credential in [&newest, &oldest, &revoked] {
        assert!(tx.insert_credential(&home(), credential).await.unwrap());
    }
    tx.commit().await.unwrap();

    let mut tx = read(store).await;
    let all = tx.credentials_of(&home(), &mailer.id).await.unwrap();
    assert_eq!(
        all.iter()
            .map(|credential| credential.id.as_str())
            .collect::<Vec<_>>(),
        ["b", "c", "a"]
    );
    let stored = &all[0];
    assert_eq!(
        (&stored.agent, stored.created_at, stored.not_before),
        (&mailer.id, NOW, NOW.plus(1))
    );
    assert_eq!(
        (stored.expires_at, stored.revoked_at),
        (Some(NOW.plus(2)), Some(NOW.plus(3)))
    );
    match (&stored.kind, &revoked.kind) {
        (CredentialKind::PublicKey { jwk }, CredentialKind::PublicKey { jwk: sent }) => {
            assert_eq!(
                (jwk.to_value(), jwk.thumbprint(), jwk.kid()),
                (sent.to_value(), sent.thumbprint(), Some("k1"))
            );
        }
        kinds => panic!("{kinds:?}"),
    }
    match (&all[2].kind, &newest.kind) {
        (CredentialKind::ClientSecret { hash }, CredentialKind::ClientSecret { hash: sent }) => {
            assert_eq!(hash, sent)
        }
        kinds => panic!("{kinds:?}"),
    }
    for unknown in ["A", "a\0", "", "unknown"] {
        assert!(
            tx.credential(&home(), &CredentialId::from_text(unknown))
                .await
                .unwrap()
                .is_none(),
            "{unknown:?}"
        );
    }
    assert!(tx.credential(&other(), &newest.id).await.unwrap().is_none());
    assert!(
        tx.credentials_of(&other(), &mailer.id)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn live_credentials_of_all_agents_come_by_id(store: &Store) {
    issuers(store).await;
    let (mailer, reader, mut gone) = (agent("mailer"), agent("reader"), agent("gone"));
    gone.status = AgentStatus::Removed { at: NOW };
    let mut tx = write(store).await;
    for agent in [&mailer, &reader, &gone] {
        assert!(tx.insert_agent(&home(), agent).await.unwrap());
    }
    let expiring = |id: &str, seconds: i64| {
        let mut credential = secret(id, &mailer);
        credential.expires_at = Some(NOW.plus(seconds));
        credential
    };
    let mut revoked = secret("a", &mailer);
    revoked.revoked_at = Some(NOW);
    for credential in [
        revoked,
        expiring("b", 0),
        expiring("c", 1),
        public_key("d", &reader, 1, None),
        expiring("e", 60),
        secret("f", &gone),
    ] {
        assert!(tx.insert_credential(&home(), &credential).await.unwrap());
    }
    tx.commit().await.unwrap();
    let mut tx = read(store).await;
    for (expires_by, after, limit, expected) in [
        (None, None, 10, &["mailer c", "reader d", "mailer e"][..]),
        (None, None, 2, &["mailer c", "reader d"]),
        (None, Some("c"), 10, &["reader d", "mailer e"]),
        (None, Some("e"), 10, &[]),
        (Some(NOW.plus(59)), None, 10, &["mailer c"]),
        (Some(NOW.plus(60)), None, 10, &["mailer c", "mailer e"]),
    ] {
        let wanted = LiveCredentials {
            now: NOW,
            expires_by,
            after,
        };
        let page = tx.credentials_page(&home(), wanted, limit).await.unwrap();
        let found: Vec<String> = page
            .iter()
            .map(|listed| {
                let credential = listed.credential.as_ref().unwrap();
                assert_eq!(
                    (
                        &credential.id,
                        credential.kind.as_str(),
                        credential.expires_at
                    ),
                    (&listed.id, listed.kind.as_str(), listed.expires_at)
                );
                format!("{} {}", listed.agent, listed.id)
            })
            .collect();
        assert_eq!(found, expected);
        assert!(
            tx.credentials_page(&other(), wanted, limit)
                .await
                .unwrap()
                .is_empty()
        );
    }
}
