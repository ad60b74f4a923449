//! `tests/vectors/client_assertions.json` against the issuer they were made for.

use std::sync::Arc;

use firman::api::agent::NewAgent;
use firman::api::credential::NewCredential;
use firman::host::{FirstSettings, Host, HostOptions, KekSource};
use firman::issuer::authenticate::{AuthenticationError, PresentedCredential};
use firman::issuer::{Caller, Ports};
use firman::ports::fetch::HttpFetcher;
use firman::ports::time::Clock as _;
use firman::testing::{ManualClock, SeededRandom};
use serde_json::Value;

const FILE: &str = include_str!("../../vectors/client_assertions.json");

#[tokio::test]
async fn every_vector_is_accepted_or_refused_as_its_file_says() {
    let file: Value = serde_json::from_str(FILE).unwrap();
    let text = |name: &str| file[name].as_str().unwrap().to_owned();
    let folder = tempfile::tempdir().unwrap();
    let options = HostOptions {
        first_keys: Vec::new(),
        database_url: format!("sqlite:{}", folder.path().join("firman.db").display()),
        issuer_url: text("issuer"),
        kek: KekSource::File(folder.path().join("keys/kek")),
        admin_token_file: folder.path().join("admin-token"),
        first_settings: FirstSettings::default(),
    };
    let clock = Arc::new(ManualClock::new(file["now"].as_i64().unwrap()));
    let ports = Ports {
        clock: Arc::clone(&clock) as _,
        random: Arc::new(SeededRandom::new(1)),
        fetcher: Arc::new(HttpFetcher::default()),
    };
    let host = Host::start(&options, ports).await.unwrap();
    let (issuer, system) = (host.issuer(), Caller::system());
    let agent = NewAgent {
        name: text("client_id"),
        owner: "team-test".to_owned(),
        ..NewAgent::default()
    };
    issuer.create_agent(&system, agent).await.unwrap();
    for jwk in file["client_jwks"]["keys"].as_array().unwrap() {
        let key = NewCredential::public_key(jwk.clone());
        issuer
            .add_credential(&system, &text("client_id"), key, None)
            .await
            .unwrap();
    }

    let (mut accepted, mut refused) = (Vec::new(), 0);
    for vector in file["vectors"].as_array().unwrap() {
        let id = vector["id"].as_str().unwrap();
        let presented = PresentedCredential::Assertion {
            unverified_client_id: None,
            unverified_assertion: vector["assertion"].as_str().unwrap().into(),
        };
        let outcome = issuer.authenticate(&presented, clock.now()).await;
        match (vector["expect"].as_str().unwrap(), outcome) {
            ("accept", Ok(client)) => {
                assert_eq!(
                    client.aggregate().agent.name.as_str(),
                    text("client_id"),
                    "{id}"
                );
                accepted.push(client.spends().unwrap().digest);
            }
            (
                "refuse",
                Err(AuthenticationError::Refused { .. } | AuthenticationError::Assertion { .. }),
            ) => refused += 1,
            (expected, outcome) => {
                panic!("{id}: {expected} was expected, and there came {outcome:?}")
            }
        }
    }
    assert_eq!((accepted.len(), refused), (4, 30));
    accepted.sort_unstable();
    accepted.dedup();
    assert_eq!(accepted.len(), 4, "each spends a mark of its own");
    host.stop().await;
}
