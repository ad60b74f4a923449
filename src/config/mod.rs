//! The configuration: defaults, then a TOML file, then the environment, then flags; the later wins.
//!
//! Every value remembers where it came from, and every mistake is an error that says where it is and what
//! to write instead. Nothing else in the program reads the environment.

mod error;
mod parse;
mod setting;
mod sources;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};

pub use error::ConfigError;
pub use parse::{DatabaseUrl, LogFormat, LogLevel};
pub use setting::Setting;
use sources::Given;

use crate::ports::address::is_loopback_url;

/// Connections at once on a listener: leaves a fifth of the usual 1,024 descriptors to the database, the
/// other listener and outgoing fetches.
pub const DEFAULT_MAX_CONNECTIONS: u32 = 800;
/// Seconds for accepted requests to finish in: longer than any honest one takes, shorter than the 30 s after
/// which container platforms kill.
pub const DEFAULT_DRAIN_SECONDS: u32 = 10;
/// Seconds a token lives by default: one that leaked is soon worthless, and an agent asks four times an hour.
pub const DEFAULT_LIFETIME_SECONDS: u32 = 900;
/// Seconds a token lives at most, unless raised: what relying parties expect of short-lived.
pub const DEFAULT_MAX_LIFETIME_SECONDS: u32 = 3600;

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is not set.
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

/// A value and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sourced<T> {
    value: T,
    origin: Origin,
}

/// The flags that override a setting; a command takes them in with `#[command(flatten)]`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Overrides {
    /// Public URL of the default issuer, as relying parties see it
    #[arg(long, value_name = "URL")]
    pub issuer_url: Option<String>,
    /// Address of the public listener [default: 127.0.0.1:8080]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// Address of the private listener: admin API, readiness [default: 127.0.0.1:8081]
    #[arg(long, value_name = "ADDRESS:PORT")]
    pub admin_listen: Option<String>,
    /// Database: sqlite:PATH or postgres://… [default: sqlite:data/firman.db]
    #[arg(long, value_name = "URL")]
    pub database_url: Option<String>,
    /// Directory of the database and the bootstrap token; the command line has it as a global option.
    #[arg(skip)]
    pub data_dir: Option<String>,
    /// Directory of the key-encryption key [default: `keys`, or DIR/keys when the data directory DIR is set]
    #[arg(long, value_name = "DIR")]
    pub keys_dir: Option<String>,
    /// How much is logged: error, warn, info, debug or trace [default: info]
    #[arg(long, value_name = "LEVEL")]
    pub log: Option<String>,
    /// How it is logged: json, text, or auto for text on a terminal and json elsewhere [default: auto]
    #[arg(long, value_name = "FORMAT")]
    pub log_format: Option<String>,
}

impl Overrides {
    /// The command line that gives these again, `--data-dir` included.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        self.given()
            .into_iter()
            .filter_map(|(_, flag, value)| Some([flag.to_owned(), value?.clone()]))
            .flatten()
            .collect()
    }

    fn given(&self) -> [(Setting, &'static str, Option<&String>); 8] {
        [
            (Setting::IssuerUrl, "--issuer-url", self.issuer_url.as_ref()),
            (Setting::Listen, "--listen", self.listen.as_ref()),
            (
                Setting::AdminListen,
                "--admin-listen",
                self.admin_listen.as_ref(),
            ),
            (
                Setting::DatabaseUrl,
                "--database-url",
                self.database_url.as_ref(),
            ),
            (Setting::DataDir, "--data-dir", self.data_dir.as_ref()),
            (Setting::KeysDir, "--keys-dir", self.keys_dir.as_ref()),
            (Setting::LogLevel, "--log", self.log.as_ref()),
            (Setting::LogFormat, "--log-format", self.log_format.as_ref()),
        ]
    }
}

/// The variables of other programs that firman reads: systemd's readiness socket, what would
/// win over the federation that `firman exec` sets up, where Claude is, and the OAuth token for its Admin API.
const OTHERS: [&str; 16] = [
    "NOTIFY_SOCKET",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CONFIG_DIR",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_IDENTITY_TOKEN",
    "ANTHROPIC_PROFILE",
    "ANTHROPIC_UNIX_SOCKET",
    "ANTHROPIC_WORKSPACE_ID",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
    "ANTHROPIC_ADMIN_TOKEN",
    "ANTHROPIC_ADMIN_TOKEN_FILE",
];

/// The file with the certificate authorities that commands trust for HTTPS to the issuer.
pub const CA_CERT: &str = "FIRMAN_CA_CERT";
/// The issuer that an agent asks for a token.
pub const AGENT_ISSUER: &str = "FIRMAN_AGENT_ISSUER";
/// The agent's name.
pub const AGENT_CLIENT_ID: &str = "FIRMAN_AGENT_CLIENT_ID";
/// The file with the agent's private key.
pub const AGENT_KEY_FILE: &str = "FIRMAN_AGENT_KEY_FILE";
/// The file with the agent's client secret.
pub const AGENT_SECRET_FILE: &str = "FIRMAN_AGENT_SECRET_FILE";
/// The file with the token that the agent's platform gives it.
pub const AGENT_ASSERTION_FILE: &str = "FIRMAN_AGENT_ASSERTION_FILE";
/// The file with all of these.
pub const AGENT_BUNDLE: &str = "FIRMAN_AGENT_BUNDLE";
/// The variables that only commands of agents and relying parties read: none of them is a setting.
const OF_COMMANDS: [&str; 7] = [
    CA_CERT,
    AGENT_ISSUER,
    AGENT_CLIENT_ID,
    AGENT_KEY_FILE,
    AGENT_SECRET_FILE,
    AGENT_ASSERTION_FILE,
    AGENT_BUNDLE,
];

/// Every variable of the environment whose name begins with `FIRMAN_`, and a few of others that are listed
/// here: the one place that reads it.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name
                .into_string()
                .ok()
                .filter(|name| is_ours(name) || OTHERS.contains(&name.as_str()))?;
            // What is not UTF-8 becomes a value that its parser refuses and quotes.
            Some((name, value.to_string_lossy().into_owned()))
        })
        .collect()
}

/// Checks the names of the `FIRMAN_` variables, for a command that reads no setting: one that is near a
/// known name is a slip.
///
/// # Errors
///
/// [`ConfigError::UnknownVariable`] for the first that is.
pub fn check_variables(environment: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    sources::check_names(environment)
}

/// The file of this program, for starting it again.
///
/// # Errors
///
/// When the operating system does not say.
pub fn program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

/// True for the name of a variable that can only be meant for this program.
#[must_use]
pub fn is_ours(variable: &str) -> bool {
    variable.starts_with("FIRMAN_")
}

/// The OAuth token for Claude's Admin API: `ANTHROPIC_ADMIN_TOKEN`, or the content of the file that
/// `ANTHROPIC_ADMIN_TOKEN_FILE` names. An empty variable counts as not set.
///
/// # Errors
///
/// When both are set, or the file cannot be read.
pub fn claude_admin_token(
    environment: &BTreeMap<String, String>,
) -> Result<Option<SecretString>, ConfigError> {
    sources::secret(environment, "ANTHROPIC_ADMIN_TOKEN")
}

/// Every variable of the environment that Claude's SDKs read, for telling what they would do here.
#[must_use]
pub fn claude_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name
                .into_string()
                .ok()
                .filter(|name| name.starts_with("ANTHROPIC_"))?;
            Some((name, value.to_string_lossy().into_owned()))
        })
        .collect()
}

/// One line of `firman config show`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Shown {
    /// The key as the file spells it: `server.listen`.
    pub key: &'static str,
    /// The value in force; a secret is only said to be set.
    pub value: String,
    /// Where it came from.
    pub origin: String,
}

/// The settings in force.
#[derive(Clone, Debug)]
pub struct Config {
    issuer_url: Option<Sourced<String>>,
    listen: Sourced<SocketAddr>,
    max_connections: Sourced<u32>,
    drain_seconds: Sourced<u32>,
    insecure_loopback_fetch: Sourced<u32>,
    admin_listen: Sourced<SocketAddr>,
    admin_hosts: Sourced<Vec<String>>,
    database_url: Sourced<DatabaseUrl>,
    data_dir: Sourced<PathBuf>,
    keys_dir: Sourced<PathBuf>,
    kek: Option<Sourced<SecretString>>,
    default_lifetime: Sourced<u32>,
    max_lifetime: Sourced<u32>,
    default_algorithm: Sourced<String>,
    log_level: Sourced<LogLevel>,
    log_format: Sourced<LogFormat>,
    client_url: Sourced<String>,
    admin_token: Option<Sourced<SecretString>>,
}

impl Config {
    /// Reads `file` (or the one named by `FIRMAN_CONFIG`, or none), then `environment` (see
    /// [`environment`]), then `flags`. A variable with an empty value counts as not set.
    ///
    /// # Errors
    ///
    /// The first mistake found: a file that cannot be read, an unknown key or variable, a value that cannot
    /// be used, a setting given twice in one place.
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
        Self::from_given(&Values(given))
    }

    fn from_given(values: &Values) -> Result<Self, ConfigError> {
        let admin_listen = values.or(Setting::AdminListen, parse::address, || {
            SocketAddr::from(([127, 0, 0, 1], 8081))
        })?;
        let data_dir = values.or(Setting::DataDir, parse::path, || PathBuf::from("data"))?;
        let config = Self {
            issuer_url: values.parsed(Setting::IssuerUrl, parse::issuer_url)?,
            listen: values.or(Setting::Listen, parse::address, || {
                SocketAddr::from(([127, 0, 0, 1], 8080))
            })?,
            max_connections: values.or(
                Setting::MaxConnections,
                |text| parse::number(text, 1..=1_000_000),
                || DEFAULT_MAX_CONNECTIONS,
            )?,
            drain_seconds: values.or(
                Setting::DrainSeconds,
                |text| parse::number(text, 0..=3600),
                || DEFAULT_DRAIN_SECONDS,
            )?,
            insecure_loopback_fetch: values.or(
                Setting::InsecureLoopbackFetch,
                |text| parse::number(text, 0..=1),
                || 0,
            )?,
            admin_hosts: values.or(Setting::AdminHosts, parse::host_names, Vec::new)?,
            database_url: values.or(Setting::DatabaseUrl, parse::database_url, || {
                DatabaseUrl::sqlite(&data_dir.value.join("firman.db"))
            })?,
            keys_dir: values.or(Setting::KeysDir, parse::path, || {
                default_keys_dir(&data_dir)
            })?,
            kek: values.parsed(Setting::Kek, parse::secret)?,
            default_lifetime: values.or(Setting::DefaultLifetime, parse::lifetime, || {
                DEFAULT_LIFETIME_SECONDS
            })?,
            max_lifetime: values.or(Setting::MaxLifetime, parse::lifetime, || {
                DEFAULT_MAX_LIFETIME_SECONDS
            })?,
            default_algorithm: values.or(Setting::DefaultAlgorithm, parse::algorithm, || {
                "ES256".to_owned()
            })?,
            log_level: values.or(Setting::LogLevel, parse::log_level, || LogLevel::Info)?,
            log_format: values.or(Setting::LogFormat, parse::log_format, || LogFormat::Auto)?,
            client_url: values.or(Setting::ClientUrl, parse::client_url, || {
                format!("http://{}", reachable(admin_listen.value))
            })?,
            admin_token: values.parsed(Setting::AdminToken, parse::secret)?,
            admin_listen,
            data_dir,
        };
        config.check_lifetimes()?;
        Ok(config)
    }

    fn check_lifetimes(&self) -> Result<(), ConfigError> {
        let (default, max) = (&self.default_lifetime, &self.max_lifetime);
        if default.value <= max.value {
            return Ok(());
        }
        Err(ConfigError::LifetimesCross {
            default_seconds: default.value,
            default_origin: default.origin.clone(),
            max_seconds: max.value,
            max_origin: max.origin.clone(),
        })
    }

    /// The URL of the default issuer, without a trailing slash. When none is set and the public listener is
    /// on loopback it is `http://<bound>`, where `bound` is the address really listened on.
    ///
    /// # Errors
    ///
    /// [`ConfigError::NoIssuerUrl`] when none is set and other machines can reach the listener.
    pub fn issuer_url(&self, bound: SocketAddr) -> Result<String, ConfigError> {
        match &self.issuer_url {
            Some(url) => Ok(url.value.clone()),
            None if bound.ip().is_loopback() => Ok(parse::http_url(bound)),
            None => Err(ConfigError::NoIssuerUrl { listen: bound }),
        }
    }

    /// Address of the public listener.
    #[must_use]
    pub fn listen(&self) -> SocketAddr {
        self.listen.value
    }

    /// Connections at once on the public listener.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.max_connections.value as usize
    }

    /// Seconds that accepted requests may take once the process is asked to stop.
    #[must_use]
    pub fn drain_seconds(&self) -> u64 {
        u64::from(self.drain_seconds.value)
    }

    /// Whether keys of trusted issuers may be fetched from this machine, also over plain http.
    ///
    /// # Errors
    ///
    /// [`ConfigError::LoopbackFetch`] when they may, and `issuer_url` is not on this machine: then it is not an
    /// experiment, and anyone who reaches a port here could speak for a trusted issuer.
    pub fn insecure_loopback_fetch(&self, issuer_url: &str) -> Result<bool, ConfigError> {
        let switch = &self.insecure_loopback_fetch;
        if switch.value == 0 {
            return Ok(false);
        }
        if is_loopback_url(issuer_url) {
            return Ok(true);
        }
        Err(ConfigError::LoopbackFetch {
            origin: switch.origin.clone(),
            issuer_url: issuer_url.to_owned(),
        })
    }

    /// Address of the private listener.
    #[must_use]
    pub fn admin_listen(&self) -> SocketAddr {
        self.admin_listen.value
    }

    /// Host names the private listener answers to besides `localhost` and its addresses.
    #[must_use]
    pub fn admin_hosts(&self) -> &[String] {
        &self.admin_hosts.value
    }

    /// The database.
    #[must_use]
    pub fn database_url(&self) -> &DatabaseUrl {
        &self.database_url.value
    }

    /// Directory of the database file and the bootstrap token.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir.value
    }

    /// Directory of the key-encryption key, when it is not given outright.
    #[must_use]
    pub fn keys_dir(&self) -> &Path {
        &self.keys_dir.value
    }

    /// The key-encryption key, when it is given outright or by a file of its own.
    #[must_use]
    pub fn kek(&self) -> Option<&SecretString> {
        self.kek.as_ref().map(|kek| &kek.value)
    }

    /// Seconds a token lives when neither the request nor its resource says.
    #[must_use]
    pub fn default_lifetime(&self) -> u32 {
        self.default_lifetime.value
    }

    /// Seconds a token may live at most.
    #[must_use]
    pub fn max_lifetime(&self) -> u32 {
        self.max_lifetime.value
    }

    /// JOSE name of the algorithm a new issuer signs with: `ES256` or `RS256`.
    #[must_use]
    pub fn default_algorithm(&self) -> &str {
        &self.default_algorithm.value
    }

    /// How much is logged.
    #[must_use]
    pub fn log_level(&self) -> LogLevel {
        self.log_level.value
    }

    /// How it is logged.
    #[must_use]
    pub fn log_format(&self) -> LogFormat {
        self.log_format.value
    }

    /// Where commands find the admin API, without a trailing slash.
    #[must_use]
    pub fn client_url(&self) -> &str {
        &self.client_url.value
    }

    /// What commands present to the admin API, when it is not the bootstrap token of the data directory.
    #[must_use]
    pub fn admin_token(&self) -> Option<&SecretString> {
        self.admin_token.as_ref().map(|token| &token.value)
    }

    /// Every setting with its value and where that came from, secrets and passwords left out.
    #[must_use]
    pub fn show(&self) -> Vec<Shown> {
        Setting::ALL
            .into_iter()
            .map(|setting| self.shown(setting))
            .collect()
    }

    fn shown(&self, setting: Setting) -> Shown {
        let (value, origin) = match setting {
            Setting::IssuerUrl => match (&self.issuer_url, self.issuer_url(self.listen.value)) {
                (Some(set), _) => line(set),
                (None, Ok(derived)) => (derived, Origin::Default),
                (None, Err(_)) => ("(not set)".to_owned(), Origin::Default),
            },
            Setting::Listen => line(&self.listen),
            Setting::MaxConnections => line(&self.max_connections),
            Setting::DrainSeconds => line(&self.drain_seconds),
            Setting::InsecureLoopbackFetch => line(&self.insecure_loopback_fetch),
            Setting::AdminListen => line(&self.admin_listen),
            Setting::AdminHosts => (
                self.admin_hosts.value.join(","),
                self.admin_hosts.origin.clone(),
            ),
            Setting::DatabaseUrl => line(&self.database_url),
            Setting::DataDir => path_line(&self.data_dir),
            Setting::KeysDir => path_line(&self.keys_dir),
            Setting::Kek => secret_line(self.kek.as_ref()),
            Setting::DefaultLifetime => line(&self.default_lifetime),
            Setting::MaxLifetime => line(&self.max_lifetime),
            Setting::DefaultAlgorithm => line(&self.default_algorithm),
            Setting::LogLevel => line(&self.log_level),
            Setting::LogFormat => line(&self.log_format),
            Setting::ClientUrl => line(&self.client_url),
            Setting::AdminToken => secret_line(self.admin_token.as_ref()),
        };
        Shown {
            key: setting.key(),
            value,
            origin: origin.to_string(),
        }
    }
}

fn line<T: fmt::Display>(sourced: &Sourced<T>) -> (String, Origin) {
    (sourced.value.to_string(), sourced.origin.clone())
}

fn path_line(sourced: &Sourced<PathBuf>) -> (String, Origin) {
    (sourced.value.display().to_string(), sourced.origin.clone())
}

fn secret_line(secret: Option<&Sourced<SecretString>>) -> (String, Origin) {
    match secret {
        Some(set) => ("(set)".to_owned(), set.origin.clone()),
        None => ("(not set)".to_owned(), Origin::Default),
    }
}

/// `keys` beside `data`. A data directory of the operator's choice has its own inside, so that two issuers
/// started in one place do not share a key.
fn default_keys_dir(data_dir: &Sourced<PathBuf>) -> PathBuf {
    match data_dir.origin {
        Origin::Default => PathBuf::from("keys"),
        Origin::File { .. } | Origin::Variable(_) | Origin::Flag(_) => data_dir.value.join("keys"),
    }
}

/// `address` as a client on this machine dials it.
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

/// What was given for each setting, the winner of all sources.
struct Values(BTreeMap<Setting, Given>);

impl Values {
    fn parsed<T>(
        &self,
        setting: Setting,
        parse: impl FnOnce(&str) -> Result<T, parse::Unfit>,
    ) -> Result<Option<Sourced<T>>, ConfigError> {
        let Some(given) = self.0.get(&setting) else {
            return Ok(None);
        };
        let text = given.text.expose_secret();
        match parse(text) {
            Ok(value) => Ok(Some(Sourced {
                value,
                origin: given.origin.clone(),
            })),
            Err(unfit) => Err(ConfigError::Unfit {
                origin: given.origin.clone(),
                key: setting.key(),
                value: if setting.may_quote(text) {
                    format!("{text:?}")
                } else {
                    "(not shown)".to_owned()
                },
                problem: unfit.problem,
                remedy: unfit.remedy,
            }),
        }
    }

    fn or<T>(
        &self,
        setting: Setting,
        parse: impl FnOnce(&str) -> Result<T, parse::Unfit>,
        default: impl FnOnce() -> T,
    ) -> Result<Sourced<T>, ConfigError> {
        let parsed = self.parsed(setting, parse)?;
        Ok(parsed.unwrap_or_else(|| Sourced {
            value: default(),
            origin: Origin::Default,
        }))
    }
}

#[cfg(test)]
mod tests;
