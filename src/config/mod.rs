//! The configuration: defaults, then a TOML file, then the environment, then flags; the later wins.
//!
//! Every value remembers where it came from. Every mistake is an error that names its place, with a hint.
//! Nothing else in the program reads the environment.

mod environment;
mod error;
mod flags;
mod names;
mod parse;
mod setting;
mod sources;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

pub use environment::{
    AGENT_ASSERTION_FILE, AGENT_BUNDLE, AGENT_CLIENT_ID, AGENT_ISSUER, AGENT_KEY_FILE,
    AGENT_SECRET_FILE, CA_CERT, claude_environment, environment, is_ours, program,
};
pub use error::ConfigError;
pub use flags::Overrides;
pub use parse::{DatabaseUrl, LogFormat, LogLevel};
pub use setting::Setting;
use sources::Given;
pub use sources::{check_variables, claude_admin_token};

use crate::ports::address::is_loopback_url;

/// Concurrent connections on a listener: leaves a fifth of the usual 1,024 descriptors to the database, the
/// other listener and outgoing fetches.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 800;
/// Seconds in which accepted requests may finish: longer than any legitimate request lasts, shorter than the 30
/// s after which container platforms kill.
pub const DEFAULT_DRAIN_SECONDS: u32 = 10;
/// Default lifetime of a token in seconds: a leaked token soon expires, and an agent makes four requests an
/// hour.
pub const DEFAULT_LIFETIME_SECONDS: u32 = 900;
/// Maximum lifetime of a token in seconds, unless raised: what relying parties expect of a short-lived token.
pub const DEFAULT_MAX_LIFETIME_SECONDS: u32 = 3600;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Not set.
    Default,
    /// The configuration file.
    File {
        /// The file as it was named.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
    },
    /// This environment variable.
    Variable(String),
    /// This command-line flag.
    Flag(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "environment variable {name}"),
            Self::Flag(name) => write!(f, "flag {name}"),
        }
    }
}

impl Origin {
    /// For the start of a message or parentheses in it: `firman.toml:3`, or a variable in backticks.
    fn named(&self) -> String {
        match self {
            Self::Default | Self::File { .. } => self.to_string(),
            Self::Variable(_) | Self::Flag(_) => self.quoted(),
        }
    }

    /// For the middle of a message, all in backticks.
    fn quoted(&self) -> String {
        match self {
            Self::Default => self.to_string(),
            Self::File { .. } => format!("`{self}`"),
            Self::Variable(name) => format!("environment variable `{name}`"),
            Self::Flag(name) => format!("flag `{name}`"),
        }
    }
}

/// One line of `firman config show`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// The key as the file spells it: `server.listen`.
    pub key: &'static str,
    /// The value in force; for a secret only whether it is set.
    pub value: String,
    /// Where it came from.
    pub origin: String,
}

/// The settings in force, with the origin of those that were set.
#[derive(Clone, Debug)]
pub struct Config {
    issuer_url: Option<String>,
    pub(crate) listen: SocketAddr,
    pub(crate) max_connections: u32,
    pub(crate) drain_seconds: u32,
    insecure_loopback_fetch: u32,
    pub(crate) admin_listen: SocketAddr,
    pub(crate) admin_hosts: Vec<String>,
    pub(crate) database_url: DatabaseUrl,
    /// The database file and the bootstrap token are here.
    pub(crate) data_dir: PathBuf,
    /// The key-encryption key is here, unless `kek` is set.
    pub(crate) keys_dir: PathBuf,
    pub(crate) kek: Option<SecretString>,
    pub(crate) default_lifetime: u32,
    pub(crate) max_lifetime: u32,
    /// The JOSE name of the algorithm that a new issuer signs with: `ES256` or `RS256`.
    pub(crate) default_algorithm: String,
    pub(crate) log_level: LogLevel,
    pub(crate) log_format: LogFormat,
    /// Where commands find the admin API, without a trailing slash.
    pub(crate) client_url: String,
    /// The admin token for commands, unless it is the bootstrap token of the data directory.
    pub(crate) admin_token: Option<SecretString>,
    /// By the setting's key.
    origins: BTreeMap<&'static str, Origin>,
}

impl Config {
    /// The defaults, except those that follow from other settings: see [`Config::complete`].
    fn unset() -> Self {
        let data_dir = PathBuf::from("data");
        Self {
            issuer_url: None,
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            max_connections: DEFAULT_MAX_CONNECTIONS,
            drain_seconds: DEFAULT_DRAIN_SECONDS,
            insecure_loopback_fetch: 0,
            admin_listen: SocketAddr::from(([127, 0, 0, 1], 8081)),
            admin_hosts: Vec::new(),
            database_url: DatabaseUrl::sqlite(&data_dir.join("firman.db")),
            data_dir,
            keys_dir: PathBuf::from("keys"),
            kek: None,
            default_lifetime: DEFAULT_LIFETIME_SECONDS,
            max_lifetime: DEFAULT_MAX_LIFETIME_SECONDS,
            default_algorithm: "ES256".to_owned(),
            log_level: LogLevel::Info,
            log_format: LogFormat::Auto,
            client_url: String::new(),
            admin_token: None,
            origins: BTreeMap::new(),
        }
    }

    /// Reads `file` (or the one named by `FIRMAN_CONFIG`, or none), then `environment` (see
    /// [`environment`]), then `flags`. A variable with an empty value counts as not set.
    ///
    /// # Errors
    ///
    /// The first mistake found: a file that cannot be read, an unknown key or variable, a value that cannot be
    /// used, a setting that is set twice in one place.
    pub fn load(
        file: Option<&Path>,
        environment: &BTreeMap<String, String>,
        flags: &Overrides,
    ) -> Result<Self, ConfigError> {
        let mut given = BTreeMap::new();
        let named = environment
            .get(setting::CONFIG_VARIABLE)
            .filter(|path| !path.is_empty());
        if let Some(path) = file.or(named.map(Path::new)) {
            given.extend(sources::from_file(path)?);
        }
        given.extend(sources::from_environment(environment)?);
        given.extend(sources::from_flags(flags));
        Self::from_given(given)
    }

    fn from_given(mut given: BTreeMap<&'static str, Given>) -> Result<Self, ConfigError> {
        let mut config = Self::unset();
        for setting in Setting::ALL {
            let Some(Given { text, origin }) = given.remove(setting.key()) else {
                continue;
            };
            let text = text.expose_secret();
            (setting.read)(&mut config, text).map_err(|unfit| ConfigError::Unfit {
                origin: origin.clone(),
                key: setting.key(),
                value: (setting.may_quote(text) && !text.is_empty()).then(|| text.to_owned()),
                problem: unfit.problem,
                hint: unfit.hint,
            })?;
            config.origins.insert(setting.key(), origin);
        }
        config.complete();
        config.check_lifetimes()?;
        Ok(config)
    }

    /// Fills in the defaults that follow from other settings.
    fn complete(&mut self) {
        let is_set = |key: &str| self.origins.contains_key(key);
        if !is_set("database.url") {
            self.database_url = DatabaseUrl::sqlite(&self.data_dir.join("firman.db"));
        }
        // A data directory that the operator chooses contains its own keys, so that two issuers started in one
        // place do not share a key.
        if !is_set("keys.dir") && is_set("data.dir") {
            self.keys_dir = self.data_dir.join("keys");
        }
        if !is_set("client.url") {
            self.client_url = format!("http://{}", reachable(self.admin_listen));
        }
    }

    fn origin(&self, key: &str) -> Origin {
        self.origins.get(key).cloned().unwrap_or(Origin::Default)
    }

    fn check_lifetimes(&self) -> Result<(), ConfigError> {
        if self.default_lifetime <= self.max_lifetime {
            return Ok(());
        }
        Err(ConfigError::LifetimesCross {
            default_seconds: self.default_lifetime,
            default_origin: self.origin("tokens.default_lifetime"),
            max_seconds: self.max_lifetime,
            max_origin: self.origin("tokens.max_lifetime"),
        })
    }

    /// The URL of the default issuer, without a trailing slash. When none is set and the public listener is on
    /// loopback it is `http://<bound>`, where `bound` is the address of the bound socket.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoIssuerUrl`] when none is set and other machines can reach the listener.
    pub fn issuer_url(&self, bound: SocketAddr) -> Result<String, ConfigError> {
        match &self.issuer_url {
            Some(url) => Ok(url.clone()),
            None if bound.ip().is_loopback() => Ok(parse::http_url(bound)),
            None => Err(ConfigError::NoIssuerUrl { listen: bound }),
        }
    }

    /// Whether keys of trusted issuers may be fetched from this machine, also over plain http.
    ///
    /// # Errors
    ///
    /// [`ConfigError::LoopbackFetch`] when they may, and `issuer_url` is not on this machine: outside an
    /// experiment, anyone who can open a port here could impersonate a trusted issuer.
    pub fn insecure_loopback_fetch(&self, issuer_url: &str) -> Result<bool, ConfigError> {
        if self.insecure_loopback_fetch == 0 {
            return Ok(false);
        }
        if is_loopback_url(issuer_url) {
            return Ok(true);
        }
        Err(ConfigError::LoopbackFetch {
            origin: self.origin("server.insecure_loopback_fetch"),
            issuer_url: issuer_url.to_owned(),
        })
    }

    /// Every setting with its value and origin, without secrets and passwords.
    #[must_use]
    pub fn show(&self) -> Vec<Shown> {
        let shown = |setting: Setting| Shown {
            key: setting.key(),
            value: (setting.show)(self),
            origin: self.origin(setting.key()).to_string(),
        };
        Setting::ALL.into_iter().map(shown).collect()
    }

    fn shown_issuer_url(&self) -> String {
        self.issuer_url(self.listen)
            .unwrap_or_else(|_| "(not set)".to_owned())
    }
}

/// `address` for a client on this machine.
#[must_use]
pub fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => {
            SocketAddr::from(([127, 0, 0, 1], v4.port()))
        }
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port()))
        }
        SocketAddr::V4(_) | SocketAddr::V6(_) => address,
    }
}

#[cfg(test)]
mod tests;
