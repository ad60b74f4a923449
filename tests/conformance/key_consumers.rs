//! Those who hold copies of the keys.

use firman::domain::key_consumer::KeyConsumer;
use firman::domain::signing_key::{KeyState, SigningKeyRecord};
use firman::jose::algorithm::SigningAlgorithm;
use firman::store::{Store, StoreError, StoredKey, Tx};

use crate::support::{NOW, home, issuers, name, other, read, write};

fn consumer(consumer_name: &str, kids: &[&str]) -> KeyConsumer {
    KeyConsumer {
        name: name(consumer_name),
        description: "Änderung".to_owned(),
        created_at: NOW,
        acknowledged: kids.iter().map(ToString::to_string).collect(),
    }
}

async fn key(tx: &mut Tx, kid: &str) {
    let stored = StoredKey {
        record: SigningKeyRecord {
            kid: kid.to_owned(),
            algorithm: SigningAlgorithm::Es256,
            state: KeyState::Retiring { until: NOW },
            created_at: NOW,
            version: 1,
        },
        public_jwk: "{}".to_owned(),
        sealed: Some(vec![1]),
    };
    assert!(tx.insert_key(&home(), &stored).await.unwrap());
}

pub(crate) async fn a_key_consumers_name_is_one_consumers_until_it_is_removed(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    key(&mut tx, "k1").await;
    let claude = consumer("claude", &[]);
    assert!(tx.insert_key_consumer(&home(), &claude).await.unwrap());
    assert!(
        tx.acknowledge_key(&home(), "claude", "k1", NOW)
            .await
            .unwrap()
    );
    assert!(!tx.insert_key_consumer(&home(), &claude).await.unwrap());
    assert!(tx.insert_key_consumer(&other(), &claude).await.unwrap());
    assert_eq!(
        tx.key_consumers(&home()).await.unwrap(),
        [consumer("claude", &["k1"])]
    );
    for unknown in ["CLAUDE", "claude\0", ""] {
        assert!(!tx.remove_key_consumer(&home(), unknown, NOW).await.unwrap());
    }
    assert!(
        tx.remove_key_consumer(&home(), "claude", NOW)
            .await
            .unwrap()
    );
    assert!(
        !tx.remove_key_consumer(&home(), "claude", NOW)
            .await
            .unwrap()
    );
    assert!(tx.key_consumers(&home()).await.unwrap().is_empty());
    let again = KeyConsumer {
        created_at: NOW.plus(9),
        description: String::new(),
        ..claude
    };
    assert!(tx.insert_key_consumer(&home(), &again).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(
        read(store).await.key_consumers(&home()).await.unwrap(),
        [again],
        "whoever takes the name has confirmed nothing"
    );
}

pub(crate) async fn a_key_is_acknowledged_once_by_a_consumer_that_is_there(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    key(&mut tx, "k1").await;
    key(&mut tx, "k2").await;
    for consumer_name in ["b", "a"] {
        let made = consumer(consumer_name, &[]);
        assert!(tx.insert_key_consumer(&home(), &made).await.unwrap());
    }
    assert!(tx.acknowledge_key(&home(), "b", "k2", NOW).await.unwrap());
    assert!(tx.acknowledge_key(&home(), "b", "k1", NOW).await.unwrap());
    assert!(!tx.acknowledge_key(&home(), "b", "k1", NOW).await.unwrap());
    for (issuer, consumer_name) in [(home(), "nobody"), (home(), "b\0"), (other(), "b")] {
        let noted = tx.acknowledge_key(&issuer, consumer_name, "k1", NOW).await;
        assert!(!noted.unwrap(), "{consumer_name:?}");
    }
    assert!(tx.remove_key_consumer(&home(), "a", NOW).await.unwrap());
    assert!(!tx.acknowledge_key(&home(), "a", "k1", NOW).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(
        read(store).await.key_consumers(&home()).await.unwrap(),
        [consumer("b", &["k1", "k2"])]
    );
}

pub(crate) async fn an_acknowledgement_is_taken_back_alone(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    key(&mut tx, "k1").await;
    key(&mut tx, "k2").await;
    for consumer_name in ["a", "b"] {
        let made = consumer(consumer_name, &[]);
        assert!(tx.insert_key_consumer(&home(), &made).await.unwrap());
        for kid in ["k1", "k2"] {
            let noted = tx.acknowledge_key(&home(), consumer_name, kid, NOW).await;
            assert!(noted.unwrap());
        }
    }
    for (issuer, kid) in [(home(), "K1"), (home(), "k1\0"), (other(), "k1")] {
        let forgotten = tx.forget_acknowledgement(&issuer, "a", kid).await;
        assert!(!forgotten.unwrap(), "{kid:?}");
    }
    assert!(tx.forget_acknowledgement(&home(), "a", "k1").await.unwrap());
    assert!(!tx.forget_acknowledgement(&home(), "a", "k1").await.unwrap());
    assert_eq!(
        tx.key_consumers(&home()).await.unwrap(),
        [consumer("a", &["k2"]), consumer("b", &["k1", "k2"])]
    );
}

pub(crate) async fn a_key_that_is_not_there_is_not_acknowledged(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(
        tx.insert_key_consumer(&home(), &consumer("a", &[]))
            .await
            .unwrap()
    );
    let error = tx
        .acknowledge_key(&home(), "a", "unknown", NOW)
        .await
        .expect_err("no such key");
    assert!(matches!(error, StoreError::Rejected(_)), "{error:?}");
}
