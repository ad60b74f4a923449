//! The issuer inside a test: the same code as the binary, in this process, on free loopback ports, with a clock
//! and randomness that the test controls. The project's own tests use it too.

mod agent;
mod answer;
mod assertion;
mod claude_simulator;
mod clock;
mod keys;
mod launch;
mod random;

pub use agent::{TestAgent, TestAgentBuilder};
pub use answer::{Answer, decoded_part};
pub use assertion::AssertionBuilder;
pub use claude_simulator::{
    ClaudeSimulator, ClaudeSimulatorOptions, SIMULATED_ORGANIZATION, SimulatedExchange,
};
pub use clock::ManualClock;
pub use keys::TestKey;
pub use random::SeededRandom;

use std::path::Path;
use std::sync::Arc;

use reqwest::Method;
use serde_json::Value;
use tempfile::TempDir;

use crate::api::resource::NewResource;
use crate::api::role::{GrantedScopes, NewGrant, NewRole};
use crate::host::{FirstSettings, Host, HostError};
use crate::issuer::{Caller, Issuer};
use crate::ports::fetch::Fetcher;
use crate::server::process::Process;

use launch::{Addresses, Launch, admin_token_file, sqlite_url};

/// The second at which every [`TestIssuer`] starts: 2027-01-15T08:00:00Z.
pub const START: i64 = 1_800_000_000;

/// The options of a [`TestIssuer`]; the default suits most tests.
#[derive(Clone, Debug, Default)]
pub struct TestOptions {
    /// `postgres://…` or `sqlite:PATH`; `None`: a file in a temporary folder.
    pub database_url: Option<String>,
    /// The path of the issuer URL (`/tenant`); empty: the root.
    pub issuer_path: String,
    /// Settings of the new issuer.
    pub first_settings: FirstSettings,
    /// The fetcher for documents of trusted issuers; `None`: the real one, which also reaches this machine.
    pub fetcher: Option<Arc<dyn Fetcher>>,
}

/// A running issuer with both listeners on loopback.
#[derive(Debug)]
pub struct TestIssuer {
    /// The issuer identifier.
    pub url: String,
    /// The private listener, without a path.
    pub admin_url: String,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    host: Arc<Host>,
    process: Option<Process>,
    http: reqwest::Client,
    folder: Arc<TempDir>,
    options: TestOptions,
    addresses: Addresses,
}

impl TestIssuer {
    /// Starts an issuer on a fresh SQLite file.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start() -> Self {
        Self::start_with(TestOptions::default()).await
    }

    /// Starts an issuer.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start_with(options: TestOptions) -> Self {
        let folder = Arc::new(tempfile::tempdir().expect("a temporary folder"));
        let clock = Arc::new(ManualClock::new(START));
        Self::launch(folder, options, clock, Addresses::free())
            .await
            .expect("the issuer starts")
    }

    /// Stops this issuer in order and starts another on the same data, ports and clock.
    ///
    /// # Panics
    /// When it does not start again.
    pub async fn restart(mut self) -> Self {
        self.shut_down().await;
        Self::launch(
            Arc::clone(&self.folder),
            self.options.clone(),
            Arc::clone(&self.clock),
            self.addresses,
        )
        .await
        .expect("the issuer starts again")
    }

    /// Starts a second process on the same database, as another replica with the same keys.
    ///
    /// # Errors
    /// When the database does not accept a second process.
    pub async fn replica(&self) -> Result<Self, HostError> {
        let mut options = self.options.clone();
        options
            .database_url
            .get_or_insert_with(|| sqlite_url(self.folder.path()));
        let launched = Launch {
            issuer_url: Some(self.url.clone()),
            ..Launch::new(Arc::clone(&self.folder), options, Arc::clone(&self.clock))
        };
        launched.on(Addresses::free()).await
    }

    async fn launch(
        folder: Arc<TempDir>,
        options: TestOptions,
        clock: Arc<ManualClock>,
        addresses: Addresses,
    ) -> Result<Self, HostError> {
        Launch::new(folder, options, clock).on(addresses).await
    }

    /// Stops it: accepted requests finish, and the queue is written.
    pub async fn shut_down(&mut self) {
        if let Some(process) = self.process.take() {
            process.stop().await;
        }
    }

    /// The issuer itself, for the embedding API.
    #[must_use]
    pub fn issuer(&self) -> &Arc<Issuer> {
        self.host.issuer()
    }

    /// The process behind it.
    #[must_use]
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The folder with its database, keys and administrator's token.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The bootstrap administrator's token.
    ///
    /// # Panics
    /// When the file cannot be read.
    #[must_use]
    pub fn admin_token(&self) -> String {
        std::fs::read_to_string(admin_token_file(self.folder.path()))
            .expect("the token was written at the start")
    }

    /// Registers a resource `https://NAME.example` with scopes.
    ///
    /// # Panics
    /// When the issuer refuses it.
    pub async fn resource(&self, name: &str, scopes: &[&str]) {
        let new = NewResource {
            name: name.to_owned(),
            identifier: Some(format!("https://{name}.example")),
            scopes: Some(scopes.iter().map(|&scope| scope.to_owned()).collect()),
            ..NewResource::default()
        };
        self.issuer()
            .create_resource(&Caller::system(), new)
            .await
            .expect("a good resource");
    }

    /// Makes a role that grants scopes of a resource; without scopes, all of them.
    ///
    /// # Panics
    /// When the issuer refuses it.
    pub async fn role(&self, name: &str, resource: &str, scopes: &[&str]) {
        let scopes = (!scopes.is_empty())
            .then(|| GrantedScopes::Only(scopes.iter().map(|&scope| scope.to_owned()).collect()));
        let grants = vec![NewGrant {
            resource: resource.to_owned(),
            scopes,
        }];
        let new = NewRole {
            name: name.to_owned(),
            description: None,
            grants: Some(grants),
        };
        self.issuer()
            .create_role(&Caller::system(), new)
            .await
            .expect("a good role");
    }

    /// Begins the registration of an agent.
    #[must_use]
    pub fn agent(&self, name: &str) -> TestAgentBuilder<'_> {
        TestAgentBuilder {
            issuer: self,
            name: name.to_owned(),
            roles: Vec::new(),
            attributes: Vec::new(),
        }
    }

    /// Sends a request to the public listener; `path` is joined to the origin, not to the issuer's path.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let origin = format!("http://{}", self.addresses.public);
        self.call(method, &format!("{origin}{path}"), headers, body.into())
            .await
    }

    /// `GET` on the public listener.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(Method::GET, path, &[], "").await
    }

    /// Posts a form to the token endpoint.
    pub async fn token(&self, form: &[(&str, &str)]) -> Answer {
        self.token_with_headers(&[], form).await
    }

    /// Posts a form to the token endpoint with further headers.
    pub async fn token_with_headers(
        &self,
        headers: &[(&str, &str)],
        form: &[(&str, &str)],
    ) -> Answer {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(form)
            .finish();
        let mut all = vec![("content-type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.send(
            Method::POST,
            &format!("{}/oauth2/token", self.options.issuer_path),
            &all,
            body,
        )
        .await
    }

    /// Requests a token with a client assertion.
    pub async fn token_with(&self, assertion: &str) -> Answer {
        self.token(&[
            ("grant_type", "client_credentials"),
            ("client_assertion_type", JWT_BEARER),
            ("client_assertion", assertion),
        ])
        .await
    }

    /// Calls the admin API as the bootstrap administrator; `path` begins after `/admin/v1`.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn admin(&self, method: Method, path: &str, body: Option<&Value>) -> Answer {
        let authorization = format!("Bearer {}", self.admin_token());
        let mut headers = vec![("authorization", authorization.as_str())];
        if body.is_some() {
            headers.push(("content-type", "application/json"));
        }
        self.admin_raw(
            method,
            path,
            &headers,
            body.map(Value::to_string).unwrap_or_default(),
        )
        .await
    }

    /// Calls the admin API with exactly these headers and body.
    ///
    /// # Panics
    /// When no answer comes.
    pub async fn admin_raw(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        self.call(
            method,
            &format!("{}/admin/v1{path}", self.admin_url),
            headers,
            body.into(),
        )
        .await
    }

    async fn call(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Answer {
        let mut request = self.http.request(method, url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if !body.is_empty() {
            request = request.body(body);
        }
        let response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer {
            status,
            headers,
            body: response.bytes().await.expect("a whole answer").to_vec(),
        }
    }
}

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::time::Duration;

    use crate::domain::id::TrustedIssuerId;
    use crate::ports::time::UnixTime;
    use crate::store::PresentedToken;

    use super::*;

    #[tokio::test]
    async fn a_token_without_a_client_id_waits_for_a_place_among_strangers_reads() {
        let running = TestIssuer::start().await;
        let issuer = running.issuer();
        let mut places = Vec::new();
        for _ in 0..running.host().store().cold_reads() {
            places.push(issuer.registry.cold_read().await);
        }
        let trusted = TrustedIssuerId::from_text("github");
        let mut read = pin!(issuer.federated_candidates(PresentedToken {
            trusted: &trusted,
            subject: "repo:x",
            now: UnixTime(START),
        }));
        let early = tokio::time::timeout(Duration::from_millis(200), &mut read).await;
        assert!(early.is_err(), "it read without a place");
        places.pop();
        assert_eq!(read.await.unwrap(), Vec::<String>::new());
    }
}
