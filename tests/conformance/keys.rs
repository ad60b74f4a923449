//! Signing keys: compare-and-set from state to state, and what is erased.

use firman::domain::signing_key::{KeyState, SigningKeyRecord};
use firman::jose::algorithm::SigningAlgorithm;
use firman::store::{Store, StoredKey};

use crate::support::{NOW, home, issuers, other, read, write};

const ACTIVE: KeyState = KeyState::Active { since: NOW };
const RETIRING: KeyState = KeyState::Retiring { until: NOW };

fn key(kid: &str, algorithm: SigningAlgorithm, state: KeyState) -> StoredKey {
    StoredKey {
        record: SigningKeyRecord {
            kid: kid.to_owned(),
            algorithm,
            state,
            created_at: NOW,
            version: 1,
        },
        public_jwk: format!("{{\"kid\":\"{kid}\"}}"),
        sealed: Some(vec![0, 1, 2, 255]),
    }
}

fn es256(kid: &str, state: KeyState) -> StoredKey {
    key(kid, SigningAlgorithm::Es256, state)
}

async fn records(store: &Store) -> Vec<(String, KeyState, i64, Option<Vec<u8>>)> {
    let keys = read(store).await.keys(&home()).await.unwrap();
    keys.into_iter()
        .map(|key| {
            (
                key.record.kid,
                key.record.state,
                key.record.version,
                key.sealed,
            )
        })
        .collect()
}

pub(crate) async fn one_key_of_an_algorithm_is_active_and_one_prepared(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_key(&home(), &es256("a", ACTIVE)).await.unwrap());
    assert!(
        !tx.insert_key(
            &home(),
            &es256("b", KeyState::Active { since: NOW.plus(1) })
        )
        .await
        .unwrap()
    );
    assert!(
        tx.insert_key(&home(), &es256("p", KeyState::Prepared))
            .await
            .unwrap()
    );
    assert!(
        !tx.insert_key(&home(), &es256("q", KeyState::Prepared))
            .await
            .unwrap()
    );
    assert!(
        !tx.insert_key(&home(), &es256("a", RETIRING)).await.unwrap(),
        "the kid is taken"
    );
    assert!(
        tx.insert_key(&home(), &key("rsa", SigningAlgorithm::Rs256, ACTIVE))
            .await
            .unwrap()
    );
    assert!(
        tx.insert_key(&home(), &es256("r1", RETIRING))
            .await
            .unwrap()
    );
    assert!(
        tx.insert_key(&home(), &es256("r2", RETIRING))
            .await
            .unwrap()
    );
    assert!(tx.insert_key(&other(), &es256("a", ACTIVE)).await.unwrap());
    let mut newest = es256("0", KeyState::Retired { at: NOW.plus(5) });
    newest.record.created_at = NOW.plus(5);
    newest.sealed = None;
    assert!(tx.insert_key(&home(), &newest).await.unwrap());
    tx.commit().await.unwrap();

    let keys = read(store).await.keys(&home()).await.unwrap();
    let kids: Vec<&str> = keys.iter().map(|key| key.record.kid.as_str()).collect();
    assert_eq!(kids, ["a", "p", "r1", "r2", "rsa", "0"]);
    let sent = key("rsa", SigningAlgorithm::Rs256, ACTIVE);
    assert_eq!(
        (&keys[4].record, &keys[4].public_jwk, &keys[4].sealed),
        (&sent.record, &sent.public_jwk, &sent.sealed)
    );
    assert_eq!((&keys[5].record, &keys[5].sealed), (&newest.record, &None));
}

pub(crate) async fn a_key_moves_only_from_where_it_is(store: &Store) {
    issuers(store).await;
    let sealed = es256("a", ACTIVE).sealed;
    let mut tx = write(store).await;
    assert!(tx.insert_key(&home(), &es256("a", ACTIVE)).await.unwrap());
    let earlier = KeyState::Active {
        since: NOW.plus(-1),
    };
    for (kid, from) in [
        ("a", KeyState::Prepared),
        ("a", earlier),
        ("a", RETIRING),
        ("A", ACTIVE),
        ("a\0", ACTIVE),
        ("", ACTIVE),
    ] {
        assert!(
            !tx.move_key(&home(), kid, from, RETIRING, 2).await.unwrap(),
            "{kid:?} {from:?}"
        );
    }
    assert!(
        !tx.move_key(&other(), "a", ACTIVE, RETIRING, 2)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    assert_eq!(
        records(store).await,
        [("a".to_owned(), ACTIVE, 1, sealed.clone())]
    );

    let mut tx = write(store).await;
    assert!(
        tx.move_key(&home(), "a", ACTIVE, RETIRING, 2)
            .await
            .unwrap()
    );
    assert!(
        !tx.move_key(&home(), "a", ACTIVE, RETIRING, 3)
            .await
            .unwrap(),
        "another replica was first"
    );
    tx.commit().await.unwrap();
    assert_eq!(
        records(store).await,
        [("a".to_owned(), RETIRING, 2, sealed)]
    );
}

pub(crate) async fn a_key_does_not_move_where_another_is(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_key(&home(), &es256("a", ACTIVE)).await.unwrap());
    assert!(
        tx.insert_key(&home(), &es256("p", KeyState::Prepared))
            .await
            .unwrap()
    );
    assert!(
        tx.insert_key(
            &home(),
            &key("rsa", SigningAlgorithm::Rs256, KeyState::Prepared)
        )
        .await
        .unwrap()
    );
    let later = KeyState::Active { since: NOW.plus(9) };
    assert!(
        !tx.move_key(&home(), "p", KeyState::Prepared, later, 2)
            .await
            .unwrap()
    );
    assert!(
        tx.move_key(&home(), "rsa", KeyState::Prepared, later, 2)
            .await
            .unwrap()
    );
    assert!(
        tx.move_key(&home(), "a", ACTIVE, RETIRING, 2)
            .await
            .unwrap()
    );
    assert!(
        tx.move_key(&home(), "p", KeyState::Prepared, later, 2)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    let states: Vec<_> = records(store)
        .await
        .into_iter()
        .map(|(kid, state, ..)| (kid, state))
        .collect();
    assert_eq!(
        states,
        [
            ("a".to_owned(), RETIRING),
            ("p".to_owned(), later),
            ("rsa".to_owned(), later)
        ]
    );
}

pub(crate) async fn a_retired_key_loses_its_private_half(store: &Store) {
    issuers(store).await;
    let (retired, revoked) = (
        KeyState::Retired { at: NOW.plus(1) },
        KeyState::Revoked { at: NOW.plus(2) },
    );
    let mut tx = write(store).await;
    assert!(tx.insert_key(&home(), &es256("a", RETIRING)).await.unwrap());
    assert!(
        tx.insert_key(&home(), &es256("b", KeyState::Prepared))
            .await
            .unwrap()
    );
    assert!(
        tx.move_key(&home(), "a", RETIRING, retired, 2)
            .await
            .unwrap()
    );
    assert!(
        tx.move_key(&home(), "b", KeyState::Prepared, revoked, 3)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    assert_eq!(
        records(store).await,
        [
            ("a".to_owned(), retired, 2, None),
            ("b".to_owned(), revoked, 3, None)
        ]
    );
}

pub(crate) async fn a_sealed_secret_is_never_replaced(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(
        tx.insert_sealed_secret(&home(), "pepper", &[0, 255])
            .await
            .unwrap()
    );
    assert!(
        !tx.insert_sealed_secret(&home(), "pepper", &[1])
            .await
            .unwrap()
    );
    assert!(
        tx.insert_sealed_secret(&other(), "pepper", &[2])
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    let mut tx = read(store).await;
    assert_eq!(
        tx.sealed_secret(&home(), "pepper").await.unwrap(),
        Some(vec![0, 255])
    );
    assert_eq!(
        tx.sealed_secret(&other(), "pepper").await.unwrap(),
        Some(vec![2])
    );
    for unknown in ["Pepper", "pepper\0", ""] {
        assert_eq!(
            tx.sealed_secret(&home(), unknown).await.unwrap(),
            None,
            "{unknown:?}"
        );
    }
}
