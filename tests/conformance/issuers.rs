//! Issuers, their settings and their head rows.

use firman::domain::assertion_audience::AssertionAudience;
use firman::domain::audit::{ChainHead, GENESIS};
use firman::domain::id::IssuerId;
use firman::domain::subject::SubjectTemplate;
use firman::jose::algorithm::SigningAlgorithm;
use firman::ports::time::UnixTime;
use firman::store::{Head, Store, StoreError};

use crate::support::{NOW, home, issuers, other, read, settings, write};

fn last(seq: i64, hash: [u8; 32]) -> ChainHead {
    ChainHead { seq, hash }
}

pub(crate) async fn a_slug_and_a_url_are_given_out_once(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(!tx.insert_issuer(&settings("home"), NOW).await.unwrap());
    let mut same_slug = settings("home");
    same_slug.id = IssuerId::from_text("another");
    same_slug.url = "https://another.example".to_owned();
    assert!(!tx.insert_issuer(&same_slug, NOW).await.unwrap());
    let mut same_url = settings("another");
    same_url.url = settings("home").url;
    assert!(!tx.insert_issuer(&same_url, NOW).await.unwrap());
    assert!(
        tx.insert_issuer(&settings("Home"), NOW).await.unwrap(),
        "slugs are case-sensitive"
    );
    tx.commit().await.unwrap();

    let mut tx = read(store).await;
    for unknown in ["another", "HOME", "", "home\0", "home "] {
        assert_eq!(
            tx.issuer_by_slug(unknown).await.unwrap(),
            None,
            "{unknown:?}"
        );
    }
    assert_eq!(
        tx.issuer_by_slug("home").await.unwrap(),
        Some(settings("home"))
    );
    assert_eq!(
        tx.issuers().await.unwrap(),
        [settings("Home"), settings("home"), settings("other")]
    );
}

pub(crate) async fn settings_change_but_never_take_the_url_of_another(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let mut taking = settings("home");
    taking.url = settings("other").url;
    assert!(!tx.update_issuer(&taking, NOW).await.unwrap());
    let mut other_slug = settings("home");
    other_slug.slug = "elsewhere".to_owned();
    assert!(!tx.update_issuer(&other_slug, NOW).await.unwrap());
    assert!(!tx.update_issuer(&settings("unknown"), NOW).await.unwrap());

    let mut changed = settings("home");
    changed.url = "https://new.example".to_owned();
    changed.subject_template = SubjectTemplate::parse("bot-{id}").unwrap();
    changed.default_lifetime = 60;
    changed.max_lifetime = 43_200;
    changed.default_algorithm = SigningAlgorithm::Rs256;
    changed.assertion_audience = AssertionAudience::IssuerOrTokenEndpoint;
    changed.version = 7;
    assert!(tx.update_issuer(&changed, NOW).await.unwrap());
    tx.commit().await.unwrap();
    assert_eq!(
        read(store).await.issuers().await.unwrap(),
        [changed, settings("other")]
    );
}

pub(crate) async fn assertions_not_before_only_moves_forward(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert_eq!(
        tx.assertions_not_before(&home()).await.unwrap(),
        UnixTime(0)
    );
    assert!(tx.set_assertions_not_before(&home(), NOW).await.unwrap());
    assert!(
        !tx.set_assertions_not_before(&home(), NOW.plus(-1))
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    let mut tx = read(store).await;
    assert_eq!(tx.assertions_not_before(&home()).await.unwrap(), NOW);
    assert_eq!(
        tx.assertions_not_before(&other()).await.unwrap(),
        UnixTime(0)
    );
    let unknown = tx
        .assertions_not_before(&IssuerId::from_text("unknown"))
        .await;
    assert!(
        matches!(unknown, Err(StoreError::Corrupt { .. })),
        "{unknown:?}"
    );
}

pub(crate) async fn an_unknown_issuer_has_no_head(store: &Store) {
    issuers(store).await;
    let unknown = IssuerId::from_text("unknown");
    let mut tx = write(store).await;
    assert_eq!(tx.lock_head(&unknown).await.unwrap(), None);
    assert_eq!(tx.head(&unknown).await.unwrap(), None);
    let set = tx.set_head(&unknown, last(1, [1; 32]), None).await;
    assert!(matches!(set, Err(StoreError::Corrupt { .. })), "{set:?}");
    let bumped = tx.bump_registry_version(&unknown, true).await;
    assert!(
        matches!(bumped, Err(StoreError::Corrupt { .. })),
        "{bumped:?}"
    );
}

pub(crate) async fn the_head_keeps_what_it_is_given(store: &Store) {
    issuers(store).await;
    let first = Head {
        seq: 0,
        hash: GENESIS,
        registry_version: 0,
        policy_version: 0,
        newest_iat: UnixTime(0),
    };
    let mut tx = store.write().await.unwrap();
    assert_eq!(tx.lock_head(&home()).await.unwrap(), Some(first));
    assert_eq!(tx.bump_registry_version(&home(), false).await.unwrap(), 1);
    assert_eq!(tx.bump_registry_version(&home(), true).await.unwrap(), 2);
    assert_eq!(tx.bump_registry_version(&home(), false).await.unwrap(), 3);
    let hash = std::array::from_fn(|index| u8::try_from(index).unwrap());
    let newest = Some(NOW.plus(5));
    tx.set_head(&home(), last(299, hash), newest).await.unwrap();
    // Neither an older one nor none takes it back.
    tx.set_head(&home(), last(299, hash), Some(NOW))
        .await
        .unwrap();
    tx.set_head(&home(), last(300, hash), None).await.unwrap();
    tx.commit().await.unwrap();
    let head = Head {
        seq: 300,
        hash,
        registry_version: 3,
        policy_version: 2,
        newest_iat: NOW.plus(5),
    };
    assert_eq!(read(store).await.head(&home()).await.unwrap(), Some(head));
    assert_eq!(
        write(store).await.lock_head(&home()).await.unwrap(),
        Some(head)
    );
    assert_eq!(read(store).await.head(&other()).await.unwrap(), Some(first));
}
