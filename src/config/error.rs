//! What can be wrong with a configuration. Every message names the place; [`ConfigError::hint`] says what to do.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::Origin;
use crate::ports::cause::reason;
use crate::ports::secret_file::SecretFileError;

/// A configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file, or one that it or a variable names, cannot be read.
    #[error("{by}cannot read `{}`: {}", .path.display(), reason(.source))]
    Unreadable {
        /// The origin of the file name, ending in a colon; empty for the configuration file itself.
        by: String,
        /// The file.
        path: PathBuf,
        /// The operating system's reason.
        source: io::Error,
    },
    /// The file with a secret cannot be used, or others may read it.
    #[error("{by}{source}")]
    SecretFile {
        /// The origin of the file name, ending in a colon.
        by: String,
        /// What is wrong with it.
        source: SecretFileError,
    },
    /// The file is not TOML.
    #[error("{origin}: {message}")]
    Syntax {
        /// File and line.
        origin: Origin,
        /// The parser's message.
        message: String,
    },
    /// An unknown key or section.
    #[error("{origin}: unknown {what}")]
    UnknownKey {
        /// File and line.
        origin: Origin,
        /// The key or section.
        what: String,
        /// What may have been meant.
        hint: String,
    },
    /// An unknown variable.
    #[error("unknown environment variable `{variable}`")]
    UnknownVariable {
        /// Its name.
        variable: String,
        /// What may have been meant.
        hint: String,
    },
    /// One source sets a setting in two ways.
    #[error("`{key}` is set twice: by {} and by {}", .first.quoted(), .second.quoted())]
    SetTwice {
        /// The setting.
        key: &'static str,
        /// One place.
        first: Origin,
        /// The other.
        second: Origin,
    },
    /// A value in the file of another TOML type.
    #[error("{origin}: `{key}` must be {expected}, not {found}")]
    WrongType {
        /// File and line.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// The type that the setting has.
        expected: &'static str,
        /// The type that the file has.
        found: String,
    },
    /// A value that is not valid.
    #[error("{}: `{key}` {problem}{}", .origin.named(), quoted(.value.as_deref()))]
    Unfit {
        /// Where the value is from.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// The value, unless it may contain a secret.
        value: Option<String>,
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        hint: String,
    },
    /// The default lifetime is above the maximum.
    #[error(
        "`tokens.default_lifetime` is {default_seconds} ({}), more than `tokens.max_lifetime`, {max_seconds} ({})",
        .default_origin.named(),
        .max_origin.named()
    )]
    LifetimesCross {
        /// The default, in seconds.
        default_seconds: u32,
        /// Where it is from.
        default_origin: Origin,
        /// The maximum, in seconds.
        max_seconds: u32,
        /// Where it is from.
        max_origin: Origin,
    },
    /// Other machines can reach the listener, and the name that they use is not known.
    #[error("`issuer.url` is not set, and other machines can reach `{listen}`")]
    NoIssuerUrl {
        /// The public listener.
        listen: SocketAddr,
    },
    /// A switch for laboratories, on another server.
    #[error(
        "{}: `server.insecure_loopback_fetch` is 1, but the issuer `{issuer_url}` is not on this machine",
        .origin.named()
    )]
    LoopbackFetch {
        /// Where the switch is from.
        origin: Origin,
        /// The issuer's URL.
        issuer_url: String,
    },
}

impl ConfigError {
    /// What to do about it: one action, lowercase.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let action = match self {
            Self::SecretFile { source, .. } => return source.hint(),
            Self::UnknownKey { hint, .. }
            | Self::UnknownVariable { hint, .. }
            | Self::Unfit { hint, .. } => hint,
            Self::Unreadable { .. } => "create the file, or correct the path",
            Self::Syntax { .. } => {
                "write TOML, like `[server]` and below it `listen = \"127.0.0.1:8080\"`"
            }
            Self::SetTwice { .. } => "remove one of them",
            Self::WrongType { .. } => return None,
            Self::LifetimesCross { .. } => "lower the default, or raise the maximum",
            Self::NoIssuerUrl { .. } => {
                "set `FIRMAN_ISSUER_URL` to the https URL that relying parties use, like `https://id.example.com`"
            }
            Self::LoopbackFetch { .. } => "remove the setting, or serve the issuer on loopback",
        };
        Some(action.to_owned())
    }
}

/// A value at the end of a message.
fn quoted(value: Option<&str>) -> String {
    value.map_or_else(String::new, |value| format!(": `{}`", value.escape_debug()))
}
