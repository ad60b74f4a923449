//! Roles and their grants.

use firman::domain::id::{ResourceId, RoleId};
use firman::domain::role::GrantedScopes;
use firman::domain::scope::Scopes;
use firman::store::{Store, StoreError};

use crate::support::{NOW, grant, home, issuers, name, other, read, resource, role, scopes, write};

pub(crate) async fn a_roles_name_is_never_given_out_twice(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let mut reader = role("reader");
    assert!(tx.insert_role(&home(), &reader).await.unwrap());
    let mut again = role("reader");
    again.id = RoleId::from_text("another");
    assert!(!tx.insert_role(&home(), &again).await.unwrap());
    reader.removed_at = Some(NOW);
    assert!(tx.update_role(&home(), &reader, 1).await.unwrap());
    assert!(
        !tx.insert_role(&home(), &again).await.unwrap(),
        "not after its removal either"
    );
    assert!(
        tx.insert_role(&other(), &again).await.unwrap(),
        "another issuer has its own names"
    );
    tx.commit().await.unwrap();
    assert_eq!(
        read(store)
            .await
            .role_by_name(&home(), "reader")
            .await
            .unwrap(),
        Some(reader)
    );
}

pub(crate) async fn a_roles_update_on_a_stale_version_changes_nothing(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_resource(&home(), &resource("api")).await.unwrap());
    let mut reader = role("reader");
    reader.grants = vec![grant(&resource("api"), GrantedScopes::All)];
    assert!(tx.insert_role(&home(), &reader).await.unwrap());
    let mut changed = reader.clone();
    changed.grants = Vec::new();
    changed.version = 2;
    assert!(!tx.update_role(&home(), &changed, 2).await.unwrap());
    assert!(!tx.update_role(&other(), &changed, 1).await.unwrap());
    assert_eq!(
        tx.role_by_name(&home(), "reader").await.unwrap(),
        Some(reader)
    );
    changed.removed_at = Some(NOW);
    assert!(tx.update_role(&home(), &changed, 1).await.unwrap());
    changed.removed_at = None;
    assert!(
        !tx.update_role(&home(), &changed, 2).await.unwrap(),
        "a removed role stays removed"
    );
    tx.commit().await.unwrap();

    let mut astray = role("astray");
    astray.grants = vec![grant(&resource("unknown"), GrantedScopes::All)];
    let refused = write(store).await.insert_role(&home(), &astray).await;
    assert!(
        matches!(refused, Err(StoreError::Rejected(_))),
        "{refused:?}"
    );
}

pub(crate) async fn roles_read_back_whole(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    for resource_name in ["a", "b", "c"] {
        assert!(
            tx.insert_resource(&home(), &resource(resource_name))
                .await
                .unwrap()
        );
    }
    let many: Vec<String> = (0..64).map(|number| format!("scope:{number}")).collect();
    let mut reader = role("reader");
    reader.grants = vec![
        grant(&resource("a"), GrantedScopes::All),
        grant(&resource("b"), GrantedScopes::Only(scopes(&many.join(" ")))),
        grant(&resource("c"), GrantedScopes::Only(Scopes::new())),
    ];
    let mut gone = role("gone");
    gone.removed_at = Some(NOW);
    for role in [&reader, &role("a.b"), &gone, &role("a-b")] {
        assert!(tx.insert_role(&home(), role).await.unwrap());
    }
    assert_eq!(
        tx.role_by_name(&home(), "reader").await.unwrap(),
        Some(reader.clone())
    );
    reader.description = "Änderung".to_owned();
    reader.grants = vec![grant(
        &resource("a"),
        GrantedScopes::Only(scopes("Read read")),
    )];
    reader.version = 2;
    reader.updated_at = NOW.plus(3);
    let mut renamed = reader.clone();
    renamed.name = name("not-to-be-changed");
    assert!(tx.update_role(&home(), &renamed, 1).await.unwrap());
    tx.commit().await.unwrap();

    let mut tx = read(store).await;
    for unknown in ["READER", "reader\0", "", "unknown"] {
        assert_eq!(
            tx.role_by_name(&home(), unknown).await.unwrap(),
            None,
            "{unknown:?}"
        );
    }
    assert_eq!(tx.role_by_name(&home(), "gone").await.unwrap(), Some(gone));
    assert_eq!(
        tx.roles(&home()).await.unwrap(),
        [role("a-b"), role("a.b"), reader.clone()]
    );
    assert!(tx.roles(&other()).await.unwrap().is_empty());
    assert_eq!(
        tx.roles_page(&home(), None, 2).await.unwrap(),
        [role("a-b"), role("a.b")]
    );
    assert_eq!(
        tx.roles_page(&home(), Some("a.b"), 2).await.unwrap(),
        [reader]
    );
    assert!(
        tx.roles_page(&home(), Some("reader"), 2)
            .await
            .unwrap()
            .is_empty()
    );
}

pub(crate) async fn roles_granting_a_resource_are_named(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    for resource_name in ["a", "b"] {
        assert!(
            tx.insert_resource(&home(), &resource(resource_name))
                .await
                .unwrap()
        );
    }
    let mut writer = role("writer");
    writer.grants = vec![grant(
        &resource("a"),
        GrantedScopes::Only(scopes("read write")),
    )];
    let mut admin = role("admin");
    admin.grants = vec![
        grant(&resource("a"), GrantedScopes::All),
        grant(&resource("b"), GrantedScopes::All),
    ];
    let mut gone = role("gone");
    gone.grants = vec![grant(&resource("a"), GrantedScopes::All)];
    gone.removed_at = Some(NOW);
    for role in [&writer, &admin, &gone] {
        assert!(tx.insert_role(&home(), role).await.unwrap());
    }
    assert_eq!(
        tx.roles_granting(&home(), &resource("a").id).await.unwrap(),
        [name("admin"), name("writer")]
    );
    assert_eq!(
        tx.roles_granting(&home(), &resource("b").id).await.unwrap(),
        [name("admin")]
    );
    assert!(
        tx.roles_granting(&other(), &resource("a").id)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        tx.roles_granting(&home(), &ResourceId::from_text("a\0"))
            .await
            .unwrap()
            .is_empty()
    );
}
