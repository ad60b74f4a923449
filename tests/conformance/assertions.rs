//! Used assertions: the replay defence at its lowest level.

use std::collections::BTreeSet;

use firman::store::{Store, UsedAssertion};

use crate::support::{NOW, home, issuers, other, write};

fn assertion(number: u16, token_id: &str) -> UsedAssertion {
    let mut digest = [0; 16];
    digest[..2].copy_from_slice(&number.to_be_bytes());
    UsedAssertion {
        digest,
        token_id: token_id.to_owned(),
        expires_at: NOW.plus(i64::from(number)),
    }
}

pub(crate) async fn an_assertion_is_used_once(store: &Store) {
    issuers(store).await;
    let first = [assertion(1, "t1")];
    let mut tx = write(store).await;
    assert_eq!(tx.insert_used_assertions(&home(), &[]).await.unwrap(), 0);
    assert_eq!(tx.insert_used_assertions(&home(), &first).await.unwrap(), 1);
    tx.commit().await.unwrap();
    let mut tx = write(store).await;
    assert_eq!(tx.insert_used_assertions(&home(), &first).await.unwrap(), 0);
    assert_eq!(
        tx.insert_used_assertions(&home(), &[assertion(1, "t2")])
            .await
            .unwrap(),
        0
    );
    let digests = [first[0].digest];
    let t1 = ["t1".to_owned()];
    assert_eq!(
        tx.used_assertion_winners(&home(), &t1, &digests)
            .await
            .unwrap(),
        digests
    );
    assert!(
        tx.used_assertion_winners(&home(), &["t2".to_owned()], &digests)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        tx.used_assertion_winners(&home(), &t1, &[])
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn of_many_assertions_only_the_used_ones_lose(store: &Store) {
    issuers(store).await;
    // 1, 5 and 300 rows are 1; 4 and 1; 256, 16, 16 and three times 4.
    for (round, (from, count)) in [(1_u16, 1_u16), (1000, 5), (2000, 300)]
        .into_iter()
        .enumerate()
    {
        let every_third: Vec<_> = (from..from + count)
            .step_by(3)
            .map(|number| assertion(number, &format!("old-{number}")))
            .collect();
        let all: Vec<_> = (from..from + count)
            .map(|number| assertion(number, &format!("new-{number}")))
            .collect();
        let mut tx = write(store).await;
        assert_eq!(
            tx.insert_used_assertions(&home(), &every_third)
                .await
                .unwrap(),
            every_third.len() as u64,
            "round {round}"
        );
        tx.commit().await.unwrap();

        let mut tx = write(store).await;
        let inserted = tx.insert_used_assertions(&home(), &all).await.unwrap();
        assert_eq!(
            inserted,
            (all.len() - every_third.len()) as u64,
            "round {round}"
        );
        let token_ids: Vec<String> = all
            .iter()
            .map(|assertion| assertion.token_id.clone())
            .collect();
        let digests: Vec<[u8; 16]> = all.iter().map(|assertion| assertion.digest).collect();
        let winners: BTreeSet<[u8; 16]> = tx
            .used_assertion_winners(&home(), &token_ids, &digests)
            .await
            .unwrap()
            .into_iter()
            .collect();
        let expected: BTreeSet<[u8; 16]> = (from..from + count)
            .filter(|number| (number - from) % 3 != 0)
            .map(|number| assertion(number, "").digest)
            .collect();
        assert_eq!(winners, expected, "round {round}");
        tx.commit().await.unwrap();
    }
}

pub(crate) async fn digests_and_token_ids_compare_byte_by_byte(store: &Store) {
    issuers(store).await;
    let with_digest = |digest: [u8; 16], token_id: &str| UsedAssertion {
        digest,
        token_id: token_id.to_owned(),
        expires_at: NOW,
    };
    let upper: [u8; 16] = *b"AAAAAAAAAAAAAAAA";
    let lower: [u8; 16] = *b"aaaaaaaaaaaaaaaa";
    let mut tx = write(store).await;
    let both = [
        with_digest(upper, "Token"),
        with_digest(lower, "token"),
        with_digest([0; 16], "zero"),
        with_digest([255; 16], "full"),
    ];
    assert_eq!(tx.insert_used_assertions(&home(), &both).await.unwrap(), 4);
    assert!(
        tx.used_assertion_winners(&home(), &["token".to_owned()], &[upper])
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(
        tx.used_assertion_winners(&home(), &["token".to_owned()], &[upper, lower])
            .await
            .unwrap(),
        [lower]
    );
    assert_eq!(
        tx.used_assertion_winners(&home(), &["zero".to_owned()], &[[0; 16]])
            .await
            .unwrap(),
        [[0; 16]]
    );
}

pub(crate) async fn an_issuers_assertions_are_its_own(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let used = [assertion(1, "t1")];
    assert_eq!(tx.insert_used_assertions(&home(), &used).await.unwrap(), 1);
    assert!(
        tx.used_assertion_winners(&other(), &["t1".to_owned()], &[used[0].digest])
            .await
            .unwrap()
            .is_empty()
    );
    assert_eq!(tx.insert_used_assertions(&other(), &used).await.unwrap(), 1);
    assert_eq!(
        tx.purge_used_assertions(&other(), NOW.plus(100), 10)
            .await
            .unwrap(),
        1
    );
    assert_eq!(tx.insert_used_assertions(&home(), &used).await.unwrap(), 0);
}

pub(crate) async fn expired_assertions_are_purged_in_portions(store: &Store) {
    issuers(store).await;
    let all: Vec<_> = (0..10)
        .map(|number| assertion(number, &format!("t{number}")))
        .collect();
    let mut tx = write(store).await;
    assert_eq!(tx.insert_used_assertions(&home(), &all).await.unwrap(), 10);
    assert_eq!(
        tx.purge_used_assertions(&home(), NOW, 100).await.unwrap(),
        0,
        "one that expires now is kept"
    );
    assert_eq!(
        tx.purge_used_assertions(&home(), NOW.plus(6), 4)
            .await
            .unwrap(),
        4
    );
    assert_eq!(
        tx.purge_used_assertions(&home(), NOW.plus(6), 4)
            .await
            .unwrap(),
        2
    );
    assert_eq!(
        tx.purge_used_assertions(&home(), NOW.plus(6), 4)
            .await
            .unwrap(),
        0
    );
    assert_eq!(tx.insert_used_assertions(&home(), &all).await.unwrap(), 6);
}
