//! Parses texts into values. An error states the problem and a hint.

use std::fmt;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use secrecy::SecretString;
use url::Url;

use crate::ports::address::is_loopback;
use crate::ports::secret_file::tidy;

/// Maximum lifetime of a token: half a day is a working day with its hand-over.
const MAX_LIFETIME_CAP_SECONDS: u32 = 43_200;
/// Below a minute, clock skew alone makes tokens fail.
const MIN_LIFETIME_SECONDS: u32 = 60;

/// Why a text is not a value, and what to write instead.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unfit {
    pub(super) problem: String,
    pub(super) hint: String,
}

fn unfit<T>(problem: impl Into<String>, hint: impl Into<String>) -> Result<T, Unfit> {
    Err(Unfit {
        problem: problem.into(),
        hint: hint.into(),
    })
}

/// How much of the program's work is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Faults of the program.
    Error,
    /// And faults to come.
    Warn,
    /// And every request.
    Info,
    /// And the reasons of decisions.
    Debug,
    /// Everything.
    Trace,
}

impl LogLevel {
    const ALL: [Self; 5] = [
        Self::Error,
        Self::Warn,
        Self::Info,
        Self::Debug,
        Self::Trace,
    ];
}

impl fmt::Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        })
    }
}

/// How it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// `text` when the log is written to a terminal, else `json`.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl LogFormat {
    const ALL: [Self; 3] = [Self::Auto, Self::Json, Self::Text];
}

impl fmt::Display for LogFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Json => "json",
            Self::Text => "text",
        })
    }
}

/// The address of the database. May contain a password: [`fmt::Display`] and [`fmt::Debug`] omit it.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// A SQLite file.
    #[must_use]
    pub fn sqlite(path: &Path) -> Self {
        Self(format!("sqlite:{}", path.display()))
    }

    /// The file of a SQLite database; `None` for PostgreSQL.
    #[must_use]
    pub fn sqlite_file(&self) -> Option<&Path> {
        self.0.strip_prefix("sqlite:").map(Path::new)
    }

    /// The whole URL, password included: only for connecting.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ok(mut url) = Url::parse(&self.0) else {
            return f.write_str("(not shown)");
        };
        if url.password().is_some() {
            // Refused only for URLs that cannot have a password.
            let _ = url.set_password(Some("***"));
        }
        if url.scheme() != "sqlite" {
            // `?password=` and `?sslpassword=` are accepted by PostgreSQL as well.
            url.set_query(url.query().is_some().then_some("***"));
        }
        f.write_str(url.as_str())
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, Unfit> {
    text.parse().or_else(|_| {
        unfit(
            "is not an IP address and a port",
            "use `127.0.0.1:8080`, or `0.0.0.0:8080` for every address of this machine",
        )
    })
}

pub(super) fn number(text: &str, range: RangeInclusive<u32>) -> Result<u32, Unfit> {
    match text.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => unfit(
            "is out of range or not a whole number",
            format!("use a number from {} to {}", range.start(), range.end()),
        ),
    }
}

pub(super) fn lifetime(text: &str) -> Result<u32, Unfit> {
    match number(text, MIN_LIFETIME_SECONDS..=MAX_LIFETIME_CAP_SECONDS) {
        Ok(seconds) => Ok(seconds),
        Err(_) => unfit(
            "is not a lifetime in seconds",
            format!(
                "use a whole number from {MIN_LIFETIME_SECONDS} to {MAX_LIFETIME_CAP_SECONDS} (12 hours)"
            ),
        ),
    }
}

pub(super) fn path(text: &str) -> Result<PathBuf, Unfit> {
    if text.is_empty() {
        return unfit(
            "is empty",
            "set it to the path of a directory, or remove the setting",
        );
    }
    Ok(PathBuf::from(text))
}

pub(super) fn secret(text: &str) -> Result<SecretString, Unfit> {
    // A variable from an `--env-file` of Docker keeps its quotes.
    let text = tidy(text.as_bytes()).unwrap_or_default();
    if text.is_empty() {
        return unfit("is empty", "put the secret there, or remove the setting");
    }
    Ok(SecretString::from(text.as_str()))
}

/// Names only: addresses are known from the listener, and the port does not matter.
pub(super) fn host_names(text: &str) -> Result<Vec<String>, Unfit> {
    let mut names = Vec::new();
    for name in text
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
    {
        if !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.')
        {
            return unfit(
                "is not a list of host names",
                "use names without scheme, port and path, like `console.example.com`",
            );
        }
        names.push(name.to_ascii_lowercase());
    }
    Ok(names)
}

pub(super) fn algorithm(text: &str) -> Result<String, Unfit> {
    match text {
        "ES256" | "RS256" => Ok(text.to_owned()),
        _ => unfit(
            "is not a supported signing algorithm",
            "use `ES256` or `RS256`",
        ),
    }
}

pub(super) fn log_level(text: &str) -> Result<LogLevel, Unfit> {
    let level = LogLevel::ALL
        .into_iter()
        .find(|level| level.to_string() == text);
    level.map_or_else(
        || {
            unfit(
                "is not a log level",
                "use `error`, `warn`, `info`, `debug` or `trace`",
            )
        },
        Ok,
    )
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, Unfit> {
    let format = LogFormat::ALL
        .into_iter()
        .find(|format| format.to_string() == text);
    format.map_or_else(
        || unfit("is not a log format", "use `auto`, `json` or `text`"),
        Ok,
    )
}

pub(super) fn database_url(text: &str) -> Result<DatabaseUrl, Unfit> {
    const HINT: &str =
        "use a URL like `sqlite:data/firman.db` or `postgres://user:password@host/database`";
    if let Some(path) = text.strip_prefix("sqlite:") {
        if path.trim_start_matches('/').is_empty() || path.contains(":memory:") {
            return unfit("does not name a file", HINT);
        }
        return Ok(DatabaseUrl(text.to_owned()));
    }
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "postgres" | "postgresql") => {
            Ok(DatabaseUrl(text.to_owned()))
        }
        Ok(_) | Err(_) => unfit("is neither a SQLite nor a PostgreSQL URL", HINT),
    }
}

pub(super) fn client_url(text: &str) -> Result<String, Unfit> {
    const HINT: &str = "use the URL of the private listener, like `http://127.0.0.1:8081`";
    match Url::parse(text) {
        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
            unfit("is not an http or https URL", HINT)
        }
        Ok(url) if url.query().is_some() || url.fragment().is_some() || has_user(&url) => {
            unfit("has more than a host and a path", HINT)
        }
        Ok(url) => Ok(url.as_str().trim_end_matches('/').to_owned()),
        Err(_) => unfit("is not a URL", HINT),
    }
}

/// `https` without query and fragment (OpenID Connect Discovery §3, RFC 8414 §2), and in the spelling that no
/// URL library changes: relying parties compare it byte for byte with `iss`.
pub(super) fn issuer_url(text: &str) -> Result<String, Unfit> {
    const LIKE: &str = "use a URL like `https://id.example.com`";
    let Ok(url) = Url::parse(text) else {
        return unfit("is not a URL", LIKE);
    };
    let canonical = url.as_str().trim_end_matches('/');
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&url) => {}
        "http" => {
            return unfit(
                "is not https",
                "use https; http is only for this machine (`127.0.0.1`, `[::1]`, `localhost`)",
            );
        }
        _ => return unfit("is not an https URL", LIKE),
    }
    if has_user(&url) {
        return unfit("contains a user name or password", LIKE);
    }
    if url.query().is_some() || url.fragment().is_some() {
        return unfit(
            "has a query or a fragment",
            "remove everything from the `?` or `#`",
        );
    }
    if text.ends_with('/') {
        return unfit("ends with a slash", format!("use `{canonical}`"));
    }
    if text != canonical {
        return unfit(
            "is not in its canonical spelling (host in lower case, no default port, no dot segments)",
            format!("use `{canonical}`"),
        );
    }
    Ok(text.to_owned())
}

/// `http://` and the address, in the canonical spelling.
pub(super) fn http_url(address: SocketAddr) -> String {
    match address.port() {
        80 => match address {
            SocketAddr::V4(v4) => format!("http://{}", v4.ip()),
            SocketAddr::V6(v6) => format!("http://[{}]", v6.ip()),
        },
        _ => format!("http://{address}"),
    }
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}
