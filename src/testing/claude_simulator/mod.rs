//! A local simulation of Claude's side of workload identity federation: the exchange, the Admin API's three
//! families, messages and models for the tokens it issued, and an authentication history with the reasons that
//! Claude hides. The rules are those of `relying_party::claude`; this module speaks HTTP and keeps state.
//! Everything is in memory and bounded. Every answer is marked as a simulation.

mod admin;
mod answer;
mod caller;
mod exchange;
mod keys;
mod messages;
mod objects;
mod registry;
mod state;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Router;
use axum::extract::{Extension, State};
use axum::http::Request;
use axum::middleware::from_fn;
use axum::response::Response;
use axum::routing::{delete, get, post};
use serde_json::{Value, json};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;

use crate::ports::random::{Random, SystemRandom, random_bytes};
use crate::ports::request::RequestId;
use crate::ports::time::{Clock, SystemClock};
use crate::relying_party::claude::{LinkedIds, OrganizationId, Setup};
use crate::server::{AllowedHosts, HostPolicy, Limits, Listener, ServerError, Service, serve};

use answer::ApiError;
use keys::KeyCache;
use registry::Registry;
use state::Memory;

pub use state::SimulatedExchange;

/// The default organization.
pub const SIMULATED_ORGANIZATION: &str = "00000000-0000-4000-8000-000000000000";

/// Exchanges that a slow subscriber may lag behind.
const BACKLOG_MAX: usize = 256;

/// The options of a [`ClaudeSimulator`].
#[derive(Clone, Debug)]
pub struct ClaudeSimulatorOptions {
    /// The address of its listener; port 0 is any free port.
    pub listen: SocketAddr,
    /// Sends the reason of a denial in the answer, which Claude never does.
    pub explain: bool,
    /// The OAuth token with scope `org:admin` that the Admin API accepts; `None`: a new one.
    pub admin_token: Option<String>,
    /// The organization that requests must name.
    pub organization_id: OrganizationId,
    /// Its clock.
    pub clock: Arc<dyn Clock>,
    /// The source of ids and tokens.
    pub random: Arc<dyn Random>,
}

impl Default for ClaudeSimulatorOptions {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            explain: false,
            admin_token: None,
            organization_id: OrganizationId::parse(SIMULATED_ORGANIZATION)
                .expect("a UUID in this file"),
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom),
        }
    }
}

/// A running simulator.
#[derive(Debug)]
pub struct ClaudeSimulator {
    /// Its base URL, for `ANTHROPIC_BASE_URL`.
    pub url: String,
    /// The token for its Admin API.
    pub admin_token: String,
    /// The organization that requests must name.
    pub organization_id: OrganizationId,
    shared: Shared,
    stop: watch::Sender<bool>,
    serving: Option<JoinHandle<()>>,
}

impl ClaudeSimulator {
    /// Starts one.
    ///
    /// # Errors
    /// When it cannot listen there.
    pub async fn start(options: ClaudeSimulatorOptions) -> Result<Self, ServerError> {
        let listener = Listener::bind(options.listen).await?;
        let address = listener.local_addr();
        let admin_token = options
            .admin_token
            .unwrap_or_else(|| state::new_token(&*options.random));
        let shared = Shared(Arc::new(Simulation {
            explain: options.explain,
            admin_token: admin_token.clone(),
            organization_id: options.organization_id.clone(),
            clock: Arc::clone(&options.clock),
            random: Arc::clone(&options.random),
            registry: Mutex::default(),
            memory: Mutex::default(),
            keys: KeyCache::default(),
            exchanges: broadcast::Sender::new(BACKLOG_MAX),
        }));
        let service = Service {
            router: router(shared.clone()),
            hosts: HostPolicy::AllowList(AllowedHosts::new(address, [])),
            limits: Limits::default(),
            clock: options.clock,
            random: options.random,
        };
        let (stop, stopped) = watch::channel(false);
        Ok(Self {
            url: format!("http://{address}"),
            admin_token,
            organization_id: options.organization_id,
            shared,
            stop,
            serving: Some(tokio::spawn(serve(listener, service, stopped))),
        })
    }

    /// The authentication history, newest first: each attempt with its outcome and the reason of a denial.
    #[must_use]
    pub fn history(&self) -> Vec<Value> {
        self.shared.memory().history()
    }

    /// All exchanges from now on, including denied ones.
    #[must_use]
    pub fn exchanges(&self) -> broadcast::Receiver<SimulatedExchange> {
        self.shared.0.exchanges.subscribe()
    }

    /// Creates the service account, issuer and rule of a setup, as a person does in the Console; existing
    /// objects with these names are used.
    ///
    /// # Panics
    /// When Claude would reject one of them.
    #[must_use]
    pub fn register(&self, setup: &Setup) -> LinkedIds {
        self.shared
            .registry()
            .register(setup, &self.organization_id, &self.shared.stamp())
            .unwrap_or_else(|error| panic!("the setup is rejected: {error:?}"))
    }

    /// Archives a rule, as a person does to cut off an agent.
    ///
    /// # Panics
    /// When the rule does not exist.
    pub fn archive_rule(&self, ids: &LinkedIds) {
        let now = self.shared.stamp().now_text();
        self.shared
            .registry()
            .archive(registry::Family::Rules, ids.rule_id.as_str(), &now)
            .unwrap_or_else(|error| panic!("the rule is not archived: {error:?}"));
    }

    /// Stops accepting requests and waits for the accepted ones.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if let Some(serving) = self.serving.take() {
            // A panic there was already printed.
            let _ = serving.await;
        }
    }
}

/// The state that the handlers share.
#[derive(Clone, Debug)]
struct Shared(Arc<Simulation>);

#[derive(Debug)]
struct Simulation {
    explain: bool,
    admin_token: String,
    organization_id: OrganizationId,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    registry: Mutex<Registry>,
    memory: Mutex<Memory>,
    keys: KeyCache,
    exchanges: broadcast::Sender<SimulatedExchange>,
}

impl Shared {
    /// Notifies the subscribers, if any.
    fn tell(&self, exchange: SimulatedExchange) {
        let _ = self.0.exchanges.send(exchange);
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0
            .registry
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            now: self.0.clock.now(),
            random: Arc::clone(&self.0.random),
        }
    }
}

/// The time and the randomness of one operation.
struct Stamp {
    now: crate::ports::time::UnixTime,
    random: Arc<dyn Random>,
}

impl Stamp {
    /// The time, RFC 3339.
    fn now_text(&self) -> String {
        self.now.to_string()
    }

    /// A new id with a tag.
    fn id(&self, tag: &str) -> String {
        let bytes: [u8; 12] = random_bytes(&*self.random);
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{tag}01{hex}")
    }
}

fn router(shared: Shared) -> Router {
    let organizations = "/v1/organizations";
    let path = |rest: &str| format!("{organizations}/{rest}");
    Router::new()
        .route("/v1/oauth/token", post(exchange::exchange))
        .route("/v1/messages", post(messages::messages))
        .route("/v1/models", get(messages::models))
        .route("/v1/models/{id}", get(messages::model))
        .route(&path("{family}"), get(admin::list).post(admin::create))
        .route(&path("{family}/{id}"), get(admin::show).post(admin::update))
        .route(&path("{family}/{id}/archive"), post(admin::archive))
        .route(
            &path("{family}/{id}/workspaces"),
            get(admin::workspaces).post(admin::add_workspace),
        )
        .route(
            &path("{family}/{id}/workspaces/{workspace}"),
            delete(admin::remove_workspace),
        )
        .route("/simulator/history", get(history))
        .fallback(not_found)
        .method_not_allowed_fallback(not_found)
        .layer(from_fn(answer::mark))
        .with_state(shared)
}

/// The authentication history. Claude shows it in the Console; here it needs no authentication, because this is a
/// simulation on loopback and the history contains no token.
async fn history(State(shared): State<Shared>) -> Response {
    answer::ok(&json!({ "data": shared.memory().history() }))
}

async fn not_found(
    Extension(id): Extension<RequestId>,
    request: Request<axum::body::Body>,
) -> Response {
    let what = format!("{} here", request.method());
    ApiError::not_found(&what).response(&id)
}
