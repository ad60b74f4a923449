//! Administrators: what must never happen, then what must be read back.

use firman::domain::administrator::{Administrator, AdministratorRole};
use firman::domain::id::AdministratorId;
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
        created_at: NOW,
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
    assert!(
        tx.revoke_administrator(&home(), &bootstrap.id, NOW)
            .await
            .unwrap()
    );
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
        assert!(
            !tx.revoke_administrator(&home(), &AdministratorId::from_text(unknown), NOW)
                .await
                .unwrap(),
            "{unknown:?}"
        );
    }
    assert!(
        !tx.revoke_administrator(&other(), &ops.id, NOW)
            .await
            .unwrap()
    );
    assert!(
        tx.revoke_administrator(&home(), &ops.id, NOW.plus(1))
            .await
            .unwrap()
    );
    assert!(
        !tx.revoke_administrator(&home(), &ops.id, NOW.plus(2))
            .await
            .unwrap()
    );
    let revoked = Administrator {
        revoked_at: Some(NOW.plus(1)),
        ..ops
    };
    assert_eq!(
        tx.administrator_by_digest(&home(), &[1; 32]).await.unwrap(),
        Some(revoked)
    );
}

pub(crate) async fn administrators_read_back_whole(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
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
}
