//! Administrators: what must never happen, then what must be read back.

use firman::domain::administrator::{Administrator, AdministratorRole};
use firman::domain::id::AdministratorId;
use firman::ports::time::UnixTime;
use firman::store::Store;

use crate::support::{NOW, home, issuers, name, other, read, write};

fn administrator(administrator_name: &str, digest: u8) -> Administrator {
    Administrator {
        id: AdministratorId::from_text(format!("administrator-{administrator_name}")),
        name: name(administrator_name),
        role: AdministratorRole::Owner,
        token_digest: [digest; 32],
        expires_at: None,
        revoked_at: None,
        version: 1,
        created_at: NOW,
    }
}

fn revoked(administrator: &Administrator, at: UnixTime) -> Administrator {
    Administrator {
        revoked_at: Some(at),
        version: administrator.version + 1,
        ..administrator.clone()
    }
}

pub(crate) async fn an_administrators_name_and_token_are_never_given_out_twice(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let bootstrap = administrator("bootstrap", 1);
    assert!(tx.insert_administrator(&home(), &bootstrap).await.unwrap());
    let mut again = administrator("bootstrap", 2);
    again.id = AdministratorId::from_text("another");
    assert!(!tx.insert_administrator(&home(), &again).await.unwrap());
    assert!(
        !tx.insert_administrator(&home(), &administrator("another", 1))
            .await
            .unwrap()
    );
    let revoked = revoked(&bootstrap, NOW);
    assert!(tx.update_administrator(&home(), &revoked, 1).await.unwrap());
    assert!(
        !tx.insert_administrator(&home(), &again).await.unwrap(),
        "not after its revocation either"
    );
    assert!(tx.insert_administrator(&other(), &bootstrap).await.unwrap());
}

pub(crate) async fn an_administrator_is_revoked_once(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let ops = administrator("ops", 1);
    assert!(tx.insert_administrator(&home(), &ops).await.unwrap());
    for unknown in ["unknown", "administrator-OPS", "administrator-ops\0", ""] {
        let unknown = Administrator {
            id: AdministratorId::from_text(unknown),
            ..revoked(&ops, NOW)
        };
        let changed = tx.update_administrator(&home(), &unknown, 1).await.unwrap();
        assert!(!changed, "{:?}", unknown.id);
    }
    let first = revoked(&ops, NOW.plus(1));
    assert!(!tx.update_administrator(&other(), &first, 1).await.unwrap());
    assert!(tx.update_administrator(&home(), &first, 1).await.unwrap());
    for again in [&revoked(&first, NOW.plus(2)), &ops] {
        assert!(
            !tx.update_administrator(&home(), again, 2).await.unwrap(),
            "a revoked one stays as it is"
        );
    }
    assert_eq!(
        tx.administrator_by_digest(&home(), &[1; 32]).await.unwrap(),
        Some(first)
    );
}

pub(crate) async fn an_administrators_update_on_a_stale_version_changes_nothing(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let ops = administrator("ops", 1);
    assert!(tx.insert_administrator(&home(), &ops).await.unwrap());
    let edited = Administrator {
        role: AdministratorRole::Viewer,
        token_digest: [9; 32],
        expires_at: Some(NOW.plus(60)),
        version: 2,
        ..ops.clone()
    };
    assert!(!tx.update_administrator(&home(), &edited, 0).await.unwrap());
    assert_eq!(
        tx.administrator_by_name(&home(), "ops").await.unwrap(),
        Some(ops)
    );
    assert!(tx.update_administrator(&home(), &edited, 1).await.unwrap());
    assert!(!tx.update_administrator(&home(), &edited, 1).await.unwrap());
    for unknown in ["OPS", "ops\0", ""] {
        let found = tx.administrator_by_name(&home(), unknown).await.unwrap();
        assert_eq!(found, None, "{unknown:?}");
    }
    assert_eq!(
        tx.administrator_by_name(&other(), "ops").await.unwrap(),
        None
    );
    assert_eq!(
        tx.administrator_by_digest(&home(), &[1; 32]).await.unwrap(),
        None,
        "the old token opens nothing"
    );
    assert_eq!(
        tx.administrator_by_name(&home(), "ops").await.unwrap(),
        Some(edited)
    );
}

pub(crate) async fn administrators_read_back_whole(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(!tx.holds_administrators(&home()).await.unwrap());
    let mut viewer = administrator("b", 1);
    viewer.role = AdministratorRole::Viewer;
    viewer.expires_at = Some(NOW.plus(60));
    let mut operator = administrator("a", 255);
    operator.role = AdministratorRole::Operator;
    operator.revoked_at = Some(NOW.plus(9));
    assert!(tx.insert_administrator(&home(), &viewer).await.unwrap());
    assert!(tx.insert_administrator(&home(), &operator).await.unwrap());
    tx.commit().await.unwrap();
    let mut tx = read(store).await;
    assert_eq!(
        tx.administrator_by_digest(&home(), &[2; 32]).await.unwrap(),
        None
    );
    assert_eq!(
        tx.administrator_by_digest(&other(), &[1; 32])
            .await
            .unwrap(),
        None
    );
    assert_eq!(
        tx.administrator_by_digest(&home(), &[255; 32])
            .await
            .unwrap(),
        Some(operator.clone())
    );
    assert_eq!(
        tx.administrators(&home()).await.unwrap(),
        [operator, viewer]
    );
    assert!(tx.administrators(&other()).await.unwrap().is_empty());
    assert!(tx.holds_administrators(&home()).await.unwrap());
    assert!(!tx.holds_administrators(&other()).await.unwrap());
}
