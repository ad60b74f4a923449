//! A whole process: a host with its two listeners. `firman serve` and the tests run the same.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::host_policy::AllowedHosts;
use super::{HostPolicy, Limits, Listener, Service, serve};
use crate::host::{Host, MAINTENANCE_INTERVAL};

/// The two listeners, bound before anything else, so that an occupied port ends the start at once.
#[derive(Debug)]
pub struct Listeners {
    /// OAuth, discovery, JWKS, `/healthz`.
    pub public: Listener,
    /// Admin API, `/readyz`.
    pub private: Listener,
}

/// Runs the maintenance of `host` indefinitely. Maintenance that panics must not end rotation and the renewal of the JWKS
/// unnoticed.
async fn keep(host: Arc<Host>) {
    loop {
        let mut task = JoinSet::new();
        let kept = Arc::clone(&host);
        task.spawn(async move { kept.keep().await });
        if let Some(Err(error)) = task.join_next().await {
            tracing::error!(%error, "maintenance ended abnormally; restarting it");
        }
        tokio::time::sleep(MAINTENANCE_INTERVAL).await;
    }
}

/// A running process.
#[derive(Debug)]
pub struct Process {
    host: Arc<Host>,
    public: SocketAddr,
    private: SocketAddr,
    stop: watch::Sender<bool>,
    serving: Vec<JoinHandle<()>>,
    keeping: JoinHandle<()>,
}

impl Process {
    /// Serves `host` on both listeners and keeps it maintained. `admin_hosts` are the names that the private
    /// listener accepts besides its addresses.
    #[must_use]
    pub fn start(host: Host, listeners: Listeners, limits: Limits, admin_hosts: &[String]) -> Self {
        let host = Arc::new(host);
        let (stop, stopped) = watch::channel(false);
        let Listeners { public, private } = listeners;
        let (public_address, private_address) = (public.local_addr(), private.local_addr());
        let ports = host.issuer().ports();
        let service = |router, hosts| Service {
            router,
            hosts,
            limits,
            clock: Arc::clone(&ports.clock),
            random: Arc::clone(&ports.random),
        };
        let allowed = HostPolicy::AllowList(AllowedHosts::new(
            private_address,
            admin_hosts.iter().cloned(),
        ));
        let public_service = service(crate::oauth::router(host.issuer()), HostPolicy::AnySingle);
        let private_service = service(crate::admin::router(Arc::clone(host.issuer())), allowed);
        let serving = vec![
            tokio::spawn(serve(public, public_service, stopped.clone())),
            tokio::spawn(serve(private, private_service, stopped)),
        ];
        let kept = Arc::clone(&host);
        let keeping = tokio::spawn(keep(kept));
        Self {
            host,
            public: public_address,
            private: private_address,
            stop,
            serving,
            keeping,
        }
    }

    /// The host behind the listeners.
    #[must_use]
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The public listener's address.
    #[must_use]
    pub fn public(&self) -> SocketAddr {
        self.public
    }

    /// The private listener's address.
    #[must_use]
    pub fn private(&self) -> SocketAddr {
        self.private
    }

    /// Stops accepting requests, lets the accepted ones finish, writes the queue and closes the database.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in self.serving.drain(..) {
            if let Err(error) = task.await {
                tracing::error!(%error, "a listener ended abnormally");
            }
        }
        self.keeping.abort();
        self.host.stop().await;
    }
}
