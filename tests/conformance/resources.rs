//! Resources, their scopes, and names that become free.

use firman::domain::id::ResourceId;
use firman::domain::profile::Profile;
use firman::domain::resource::Identifier;
use firman::domain::token_typ::TokenTyp;
use firman::jose::algorithm::SigningAlgorithm;
use firman::store::Store;

use crate::support::{NOW, home, issuers, name, other, read, resource, scopes, write};

pub(crate) async fn a_live_resources_name_and_identifier_are_given_out_once(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    assert!(tx.insert_resource(&home(), &resource("api")).await.unwrap());
    let mut same_name = resource("api");
    same_name.id = ResourceId::from_text("another");
    same_name.identifier = Identifier::from_stored("https://another.example".to_owned());
    assert!(!tx.insert_resource(&home(), &same_name).await.unwrap());
    let mut same_identifier = resource("another");
    same_identifier.identifier = resource("api").identifier;
    assert!(!tx.insert_resource(&home(), &same_identifier).await.unwrap());
    assert!(
        tx.insert_resource(&other(), &same_identifier)
            .await
            .unwrap()
    );
    tx.commit().await.unwrap();
    assert_eq!(
        read(store).await.resources(&home()).await.unwrap(),
        [resource("api")]
    );
}

pub(crate) async fn a_removed_resources_name_and_identifier_are_free(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let mut api = resource("api");
    assert!(tx.insert_resource(&home(), &api).await.unwrap());
    api.removed_at = Some(NOW);
    api.version = 2;
    assert!(tx.update_resource(&home(), &api, 1).await.unwrap());
    assert_eq!(tx.resource_by_name(&home(), "api").await.unwrap(), None);
    assert_eq!(
        tx.resource_by_identifier(&home(), api.identifier.as_str())
            .await
            .unwrap(),
        None
    );
    let mut next = resource("api");
    next.id = ResourceId::from_text("next");
    assert!(tx.insert_resource(&home(), &next).await.unwrap());
    api.removed_at = None;
    assert!(
        !tx.update_resource(&home(), &api, 2).await.unwrap(),
        "a removed resource stays removed"
    );
    tx.commit().await.unwrap();
    assert_eq!(
        read(store)
            .await
            .resource_by_name(&home(), "api")
            .await
            .unwrap(),
        Some(next)
    );
}

pub(crate) async fn a_resources_update_on_a_stale_version_changes_nothing(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let mut api = resource("api");
    api.scopes = scopes("read");
    assert!(tx.insert_resource(&home(), &api).await.unwrap());
    let mut changed = api.clone();
    changed.scopes = scopes("write");
    changed.version = 2;
    assert!(!tx.update_resource(&home(), &changed, 0).await.unwrap());
    assert!(!tx.update_resource(&other(), &changed, 1).await.unwrap());
    assert_eq!(
        tx.resource_by_name(&home(), "api").await.unwrap(),
        Some(api)
    );
}

pub(crate) async fn resources_read_back_whole(store: &Store) {
    issuers(store).await;
    let mut tx = write(store).await;
    let mut api = resource("api");
    api.scopes = scopes("read Read write");
    api.lifetime = Some(600);
    (api.algorithm, api.typ) = (Some(SigningAlgorithm::Rs256), Some(TokenTyp::Jwt));
    api.profile = Profile::Claude;
    for resource in [&api, &resource("a.b"), &resource("a-b")] {
        assert!(tx.insert_resource(&home(), resource).await.unwrap());
    }
    assert_eq!(
        tx.resource_by_name(&home(), "api").await.unwrap(),
        Some(api.clone())
    );
    api.scopes = scopes("write");
    api.lifetime = None;
    (api.algorithm, api.typ) = (None, Some(TokenTyp::AccessToken));
    api.profile = Profile::Generic;
    (api.description, api.version) = ("Änderung".to_owned(), 2);
    let mut renamed = api.clone();
    renamed.name = name("not-to-be-changed");
    renamed.identifier = Identifier::from_stored("urn:not-to-be-changed".to_owned());
    assert!(tx.update_resource(&home(), &renamed, 1).await.unwrap());
    tx.commit().await.unwrap();

    let mut tx = read(store).await;
    for unknown in ["API", "api\0", "", "unknown"] {
        assert_eq!(
            tx.resource_by_name(&home(), unknown).await.unwrap(),
            None,
            "{unknown:?}"
        );
    }
    for unknown in [
        "https://API.example",
        "https://api.example/",
        "https://api.example\0",
        "",
    ] {
        assert_eq!(
            tx.resource_by_identifier(&home(), unknown).await.unwrap(),
            None,
            "{unknown:?}"
        );
    }
    assert_eq!(
        tx.resource_by_name(&home(), "api").await.unwrap(),
        Some(api.clone())
    );
    assert_eq!(
        tx.resource_by_identifier(&home(), "https://api.example")
            .await
            .unwrap(),
        Some(api.clone())
    );
    assert_eq!(
        tx.resources(&home()).await.unwrap(),
        [resource("a-b"), resource("a.b"), api.clone()]
    );
    assert!(tx.resources(&other()).await.unwrap().is_empty());
    assert_eq!(
        tx.resources_page(&home(), None, 2).await.unwrap(),
        [resource("a-b"), resource("a.b")]
    );
    assert_eq!(
        tx.resources_page(&home(), Some("a.b"), 2).await.unwrap(),
        [api]
    );
}
