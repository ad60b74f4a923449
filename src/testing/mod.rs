//! The issuer inside somebody's tests: the same code as the binary, in this process, on free
//! loopback ports, with a clock and randomness that the test controls. Also what the project's own
//! tests are written with.

mod assertion;
mod claude_simulator;
mod clock;
mod keys;
mod random;

pub use assertion::AssertionBuilder;
pub use claude_simulator::{
    ClaudeSimulator, ClaudeSimulatorOptions, SIMULATED_ORGANIZATION, SimulatedExchange,
};
pub use clock::ManualClock;
pub use keys::TestKey;
pub use random::SeededRandom;

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use reqwest::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::agent::NewAgent;
use crate::api::credential::NewCredential;
use crate::api::resource::NewResource;
use crate::api::role::{GrantedScopes, NewGrant, NewRole};
use crate::host::{FirstSettings, Host, HostError, HostOptions, KekSource};
use crate::issuer::{Caller, Issuer, Ports};
use crate::ports::fetch::{Fetcher, HttpFetcher, Loopback};
use crate::server::process::{Listeners, Process};
use crate::server::{Limits, Listener};

/// The second at which every [`TestIssuer`] starts: 2027-01-15T08:00:00Z.
pub const START: i64 = 1_800_000_000;

/// How a [`TestIssuer`] is started; the default is right for most tests.
#[derive(Clone, Debug, Default)]
pub struct TestOptions {
    /// `postgres://…` or `sqlite:PATH`; `None`: a file in a temporary folder.
    pub database_url: Option<String>,
    /// The path of the issuer URL (`/tenant`); empty: the root.
    pub issuer_path: String,
    /// Settings of the issuer that is made.
    pub first_settings: FirstSettings,
    /// What fetches documents of trusted issuers; `None`: the real one, which also reaches this machine.
    pub fetcher: Option<Arc<dyn Fetcher>>,
}

/// A running issuer with both listeners on loopback.
#[derive(Debug)]
pub struct TestIssuer {
    /// The issuer identifier.
    pub url: String,
    /// The private listener, without a path.
    pub admin_url: String,
    /// The clock it lives by.
    pub clock: Arc<ManualClock>,
    host: Arc<Host>,
    process: Option<Process>,
    http: reqwest::Client,
    folder: Arc<TempDir>,
    options: TestOptions,
    ports: (SocketAddr, SocketAddr),
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
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self::launch(folder, options, clock, (anywhere, anywhere))
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
            self.ports,
        )
        .await
        .expect("the issuer starts again")
    }

    /// Starts a second process on the same database, as another replica with the same keys.
    ///
    /// # Errors
    /// When the database does not take a second process.
    pub async fn replica(&self) -> Result<Self, HostError> {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let mut options = self.options.clone();
        options
            .database_url
            .get_or_insert_with(|| sqlite_url(self.folder.path()));
        let launched = Launch {
            issuer_url: Some(self.url.clone()),
            ..Launch::new(Arc::clone(&self.folder), options, Arc::clone(&self.clock))
        };
        launched.on((anywhere, anywhere)).await
    }

    async fn launch(
        folder: Arc<TempDir>,
        options: TestOptions,
        clock: Arc<ManualClock>,
        ports: (SocketAddr, SocketAddr),
    ) -> Result<Self, HostError> {
        Launch::new(folder, options, clock).on(ports).await
    }

    /// Stops it: accepted requests finish, what is queued is written.
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

    /// The folder that holds its database, keys and administrator's token.
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

    /// Makes a role that grants scopes of a resource; no scopes: all of them.
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
    /// When there is no answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Vec<u8>>,
    ) -> Answer {
        let origin = format!("http://{}", self.ports.0);
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

    /// Asks for a token with a client assertion.
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
    /// When there is no answer.
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
    /// When there is no answer.
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

struct Launch {
    folder: Arc<TempDir>,
    options: TestOptions,
    clock: Arc<ManualClock>,
    issuer_url: Option<String>,
}

impl Launch {
    fn new(folder: Arc<TempDir>, options: TestOptions, clock: Arc<ManualClock>) -> Self {
        Self {
            folder,
            options,
            clock,
            issuer_url: None,
        }
    }

    async fn on(self, ports: (SocketAddr, SocketAddr)) -> Result<TestIssuer, HostError> {
        let public = Listener::bind(ports.0).await.expect("a free port");
        let private = Listener::bind(ports.1).await.expect("a free port");
        let ports = (public.local_addr(), private.local_addr());
        let url = self
            .issuer_url
            .unwrap_or_else(|| format!("http://{}{}", ports.0, self.options.issuer_path));
        let root = self.folder.path();
        let host_options = HostOptions {
            database_url: self
                .options
                .database_url
                .clone()
                .unwrap_or_else(|| sqlite_url(root)),
            issuer_url: url.clone(),
            kek: KekSource::File(root.join("keys/kek")),
            admin_token_file: admin_token_file(root),
            first_settings: self.options.first_settings,
            first_keys: vec![keys::issuer_rsa_key()],
        };
        // Another sequence for each start: a restarted process that drew the same numbers again would
        // give out ids that are in its database already.
        static STARTS: AtomicU64 = AtomicU64::new(0);
        let start = STARTS.fetch_add(1, Ordering::Relaxed);
        let random = Arc::new(SeededRandom::new(u64::from(ports.0.port()) << 32 | start));
        let outside = Ports {
            clock: Arc::clone(&self.clock) as _,
            random: random as _,
            fetcher: self
                .options
                .fetcher
                .clone()
                .unwrap_or_else(|| Arc::new(HttpFetcher::new(Loopback::Insecure))),
        };
        let host = Host::start(&host_options, outside).await?;
        let process = Process::start(host, Listeners { public, private }, Limits::default(), &[]);
        Ok(TestIssuer {
            url,
            admin_url: format!("http://{}", ports.1),
            clock: self.clock,
            host: Arc::clone(process.host()),
            process: Some(process),
            http: reqwest::Client::builder()
                .no_proxy()
                .redirect(reqwest::redirect::Policy::none())
                .build()
                .expect("a client"),
            folder: self.folder,
            options: self.options,
            ports,
        })
    }
}

fn sqlite_url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("firman.db").display())
}

fn admin_token_file(folder: &Path) -> PathBuf {
    folder.join("admin-token")
}

/// An agent about to be registered.
#[derive(Debug)]
pub struct TestAgentBuilder<'i> {
    issuer: &'i TestIssuer,
    name: String,
    roles: Vec<String>,
    attributes: Vec<(String, String)>,
}

impl TestAgentBuilder<'_> {
    /// Gives it a role.
    #[must_use]
    pub fn role(mut self, role: &str) -> Self {
        self.roles.push(role.to_owned());
        self
    }

    /// Gives it an attribute.
    #[must_use]
    pub fn attribute(mut self, name: &str, value: &str) -> Self {
        self.attributes.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Registers it with a public key.
    ///
    /// # Panics
    /// When the issuer refuses it.
    pub async fn with_public_key(self, key: TestKey) -> TestAgent {
        let jwk = key.signing_key().public_jwk().to_value();
        let (name, url) = (self.name.clone(), self.issuer.url.clone());
        self.register(NewCredential::public_key(jwk)).await;
        TestAgent {
            name,
            issuer_url: url,
            key: Some(key),
            secret: None,
        }
    }

    /// Registers it with a client secret.
    ///
    /// # Panics
    /// When the issuer refuses it.
    pub async fn with_secret(self) -> TestAgent {
        let (name, url) = (self.name.clone(), self.issuer.url.clone());
        let secret = self.register(NewCredential::client_secret()).await;
        TestAgent {
            name,
            issuer_url: url,
            key: None,
            secret,
        }
    }

    async fn register(self, credential: NewCredential) -> Option<String> {
        let new = NewAgent {
            name: self.name,
            owner: "team-test".to_owned(),
            roles: Some(self.roles),
            attributes: Some(self.attributes.into_iter().collect()),
            credential: Some(credential),
            ..NewAgent::default()
        };
        let created = self
            .issuer
            .issuer()
            .create_agent(&Caller::system(), new)
            .await
            .expect("a good agent");
        created
            .secret
            .map(|secret| secret.expose_secret().to_owned())
    }
}

/// A registered agent with what it proves itself by.
#[derive(Clone)]
pub struct TestAgent {
    /// Its `client_id`.
    pub name: String,
    issuer_url: String,
    key: Option<TestKey>,
    secret: Option<String>,
}

impl fmt::Debug for TestAgent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestAgent")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl TestAgent {
    /// Its client secret.
    ///
    /// # Panics
    /// When it was registered with a key.
    #[must_use]
    pub fn secret(&self) -> &str {
        self.secret.as_deref().expect("an agent with a secret")
    }

    /// A good assertion, to be changed as the test wants; each has another jti.
    ///
    /// # Panics
    /// When it was registered with a secret.
    #[must_use]
    pub fn assertion(&self) -> AssertionBuilder {
        self.assertion_at(START)
    }

    /// A good assertion made at another second than [`START`].
    ///
    /// # Panics
    /// When it was registered with a secret.
    #[must_use]
    pub fn assertion_at(&self, now: i64) -> AssertionBuilder {
        AssertionBuilder::new(
            self.key.expect("an agent with a key"),
            &self.name,
            &self.issuer_url,
            now,
        )
    }
}

/// An answer of one of the listeners.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The header fields.
    pub headers: reqwest::header::HeaderMap,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON; JSON null when it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// A header field as text; empty when it is missing.
    #[must_use]
    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
    }

    /// The access token.
    ///
    /// # Panics
    /// When none was issued.
    #[must_use]
    pub fn assert_issued(&self) -> String {
        assert_eq!(self.status, 200, "{self}");
        self.json()["access_token"]
            .as_str()
            .expect("an access token")
            .to_owned()
    }

    /// The claims of the access token, not verified.
    ///
    /// # Panics
    /// When none was issued.
    #[must_use]
    pub fn claims(&self) -> Value {
        decoded_part(&self.assert_issued(), 1)
    }
}

impl fmt::Display for Answer {
    /// Status and body, as tests compare them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.status, self.text())
    }
}

/// A part of a compact JWS (0: header, 1: payload) as JSON, not verified.
///
/// # Panics
/// When it is not a compact JWS with JSON in that part.
#[must_use]
pub fn decoded_part(token: &str, part: usize) -> Value {
    let text = token.split('.').nth(part).expect("a compact JWS");
    let bytes = crate::jose::digest::decode_base64url(text).expect("base64url");
    serde_json::from_slice(&bytes).unwrap_or(json!(null))
}
