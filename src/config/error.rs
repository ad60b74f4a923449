//! What can be wrong with a configuration. Every message names the place and the way out.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use super::Origin;
use crate::ports::secret_file::SecretFileError;

/// A configuration that cannot be used. Printed as it is.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file, or one that it or a variable names, cannot be read.
    #[error("{by}cannot read {}: {source}. Create the file or correct the path.", .path.display())]
    Unreadable {
        /// The origin of the file name, ending in a colon; empty for the configuration file itself.
        by: String,
        /// The file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// The file with a secret is of no use, or others may read it.
    #[error("{by}{source}")]
    SecretFile {
        /// The origin of the file name, ending in a colon.
        by: String,
        /// What is wrong with it.
        source: SecretFileError,
    },
    /// The file is not TOML.
    #[error(
        "{origin}: {message}. The file must be TOML, like: [server] and below it listen = \"127.0.0.1:8080\"."
    )]
    Syntax {
        /// File and line.
        origin: Origin,
        /// What the parser said.
        message: String,
    },
    /// An unknown key or section.
    #[error("{origin}: unknown {what}. {hint}")]
    UnknownKey {
        /// File and line.
        origin: Origin,
        /// The key or section.
        what: String,
        /// What may have been meant.
        hint: String,
    },
    /// An unknown variable.
    #[error("unknown environment variable {variable}. {hint}")]
    UnknownVariable {
        /// Its name.
        variable: String,
        /// What may have been meant.
        hint: String,
    },
    /// One source sets a setting in two ways.
    #[error("{first} and {second} both set {key}. Remove one of them.")]
    SetTwice {
        /// The setting.
        key: &'static str,
        /// One place.
        first: Origin,
        /// The other.
        second: Origin,
    },
    /// A value that is of no use.
    #[error("{origin}: {key} is {value}, which {problem}. {remedy}")]
    Unfit {
        /// Where the value is from.
        origin: Origin,
        /// The setting.
        key: &'static str,
        /// The value, unless it is a secret.
        value: String,
        /// What is wrong with it.
        problem: String,
        /// What to write instead.
        remedy: String,
    },
    /// The default lifetime is above the maximum.
    #[error(
        "tokens.default_lifetime is {default_seconds} ({default_origin}), more than tokens.max_lifetime, {max_seconds} ({max_origin}). Lower the one or raise the other."
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
    /// Other machines can reach us, and we do not know under which name.
    #[error(
        "issuer.url is not set, and {listen} can be reached from other machines. Set FIRMAN_ISSUER_URL to the https URL under which relying parties find this server, like https://id.example.com."
    )]
    NoIssuerUrl {
        /// The public listener.
        listen: SocketAddr,
    },
    /// A switch for laboratories, on a server that is none.
    #[error(
        "{origin}: server.insecure_loopback_fetch is 1, and the issuer is {issuer_url}, which is not on this machine. The switch is for laboratories: remove it, or serve the issuer on loopback."
    )]
    LoopbackFetch {
        /// Where the switch is from.
        origin: Origin,
        /// The issuer's URL.
        issuer_url: String,
    },
}
