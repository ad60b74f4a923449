//! The start of an issuer inside a test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tempfile::TempDir;

use super::{ManualClock, SeededRandom, TestIssuer, TestOptions, keys};
use crate::host::{Host, HostError, HostOptions, KekSource};
use crate::issuer::Ports;
use crate::ports::fetch::{HttpFetcher, Loopback};
use crate::server::process::{Listeners, Process};
use crate::server::{Limits, Listener};

/// The listeners' addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Addresses {
    pub(super) public: SocketAddr,
    pub(super) private: SocketAddr,
}

impl Addresses {
    /// Free ports on loopback.
    pub(super) fn free() -> Self {
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            public: anywhere,
            private: anywhere,
        }
    }
}

/// A process before its start.
pub(super) struct Launch {
    pub(super) folder: Arc<TempDir>,
    pub(super) options: TestOptions,
    pub(super) clock: Arc<ManualClock>,
    pub(super) issuer_url: Option<String>,
}

impl Launch {
    pub(super) fn new(folder: Arc<TempDir>, options: TestOptions, clock: Arc<ManualClock>) -> Self {
        Self {
            folder,
            options,
            clock,
            issuer_url: None,
        }
    }

    pub(super) async fn on(self, at: Addresses) -> Result<TestIssuer, HostError> {
        let public = Listener::bind(at.public).await.expect("a free port");
        let private = Listener::bind(at.private).await.expect("a free port");
        let addresses = Addresses {
            public: public.local_addr(),
            private: private.local_addr(),
        };
        let url = self
            .issuer_url
            .unwrap_or_else(|| format!("http://{}{}", addresses.public, self.options.issuer_path));
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
        // A different sequence for each start: a restarted process with the same numbers would issue ids that
        // are already in its database.
        static STARTS: AtomicU64 = AtomicU64::new(0);
        let start = STARTS.fetch_add(1, Ordering::Relaxed);
        let random = Arc::new(SeededRandom::new(
            u64::from(addresses.public.port()) << 32 | start,
        ));
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
            admin_url: format!("http://{}", addresses.private),
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
            addresses,
        })
    }
}

pub(super) fn sqlite_url(folder: &Path) -> String {
    format!("sqlite:{}", folder.join("firman.db").display())
}

pub(super) fn admin_token_file(folder: &Path) -> PathBuf {
    folder.join("admin-token")
}
