//! Groups and the roles given to them.

use firman::domain::id::GroupId;
use firman::store::Store;

use crate::support::{NOW, group, home, issuers, name, other, read, role, write};

pub(crate) async fn a_groups_name_is_never_given_out_twice(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let mut ops = group("ops");
    assert!(tx.insert_group(&home(), &ops).await.unwrap());
    let mut again = group("ops");
    again.id = GroupId::from_text("another");
    assert!(!tx.insert_group(&home(), &again).await.unwrap());
    ops.removed_at = Some(NOW);
    ops.version = 2;
    assert!(tx.update_group(&home(), &ops, 1).await.unwrap());
    assert!(
        !tx.insert_group(&home(), &again).await.unwrap(),
        "not after its removal either"
    );
    assert!(
        tx.insert_group(&other(), &again).await.unwrap(),
        "another issuer has its own names"
    );
    tx.commit().await.unwrap();
    assert_eq!(
        read(store)
            .await
            .group_by_name(&home(), "ops")
            .await
            .unwrap(),
        Some(ops)
    );
}

pub(crate) async fn a_groups_update_on_a_stale_version_changes_nothing(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_role(&home(), &role("reader")).await.unwrap());
    let mut ops = group("ops");
    ops.roles = vec![role("reader").id];
    assert!(tx.insert_group(&home(), &ops).await.unwrap());
    let mut changed = ops.clone();
    changed.roles = Vec::new();
    changed.version = 2;
    assert!(!tx.update_group(&home(), &changed, 2).await.unwrap());
    assert!(!tx.update_group(&other(), &changed, 1).await.unwrap());
    assert_eq!(tx.group_by_name(&home(), "ops").await.unwrap(), Some(ops));
    changed.removed_at = Some(NOW);
    assert!(tx.update_group(&home(), &changed, 1).await.unwrap());
    changed.removed_at = None;
    assert!(
        !tx.update_group(&home(), &changed, 2).await.unwrap(),
        "a removed group stays removed"
    );
}

pub(crate) async fn groups_read_back_whole(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let mut ops = group("ops");
    for role_name in ["reader", "writer"] {
        assert!(tx.insert_role(&home(), &role(role_name)).await.unwrap());
        ops.roles.push(role(role_name).id);
    }
    let mut gone = group("gone");
    gone.removed_at = Some(NOW);
    for group in [&ops, &group("a.b"), &gone, &group("a-b")] {
        assert!(tx.insert_group(&home(), group).await.unwrap());
    }
    ops.description = "Änderung".to_owned();
    ops.roles = vec![role("writer").id];
    ops.version = 2;
    ops.updated_at = NOW.plus(3);
    let mut renamed = ops.clone();
    renamed.name = name("not-to-be-changed");
    assert!(tx.update_group(&home(), &renamed, 1).await.unwrap());
    tx.commit().await.unwrap();

    let mut tx = read(store).await;
    for unknown in ["OPS", "ops\0", "", "unknown"] {
        assert_eq!(
            tx.group_by_name(&home(), unknown).await.unwrap(),
            None,
            "{unknown:?}"
        );
    }
    assert_eq!(tx.group_by_name(&home(), "gone").await.unwrap(), Some(gone));
    assert_eq!(
        tx.groups(&home()).await.unwrap(),
        [group("a-b"), group("a.b"), ops.clone()]
    );
    assert!(tx.groups(&other()).await.unwrap().is_empty());
    assert_eq!(
        tx.groups_page(&home(), None, 2).await.unwrap(),
        [group("a-b"), group("a.b")]
    );
    assert_eq!(
        tx.groups_page(&home(), Some("a.b"), 2).await.unwrap(),
        [ops]
    );
    assert!(
        tx.groups_page(&home(), Some("ops"), 2)
            .await
            .unwrap()
            .is_empty()
    );
}
