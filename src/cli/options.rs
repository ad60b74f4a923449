//! The options that every command accepts: where the issuer is, and how data is printed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use clap::Args;

use super::error::CliError;
use super::http::Reach;
use super::keyfile;
use super::print::Format;
use crate::config::CA_CERT;

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(super) struct Globals {
    /// Print data as columns, or as the admin API's JSON objects
    #[arg(
        long,
        short = 'o',
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(super) output: Format,
    /// The issuer's data directory, with its address and the first admin token [env: FIRMAN_DATA_DIR] [default: data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(super) data_dir: Option<String>,
    /// The URL of the private listener; for `healthcheck`, of the public one [env: FIRMAN_URL] [default: <data dir>/admin-url]
    #[arg(long, global = true, value_name = "URL")]
    pub(super) url: Option<String>,
    /// The configuration file
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Send credentials over plain HTTP to another machine
    #[arg(long, global = true)]
    pub(super) insecure_http: bool,
    /// Trust only the certificate authorities in this PEM file for HTTPS to the issuer [env: FIRMAN_CA_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) ca_cert: Option<PathBuf>,
}

impl Globals {
    #[cfg(test)]
    pub(super) fn for_test() -> Self {
        Self {
            output: Format::Table,
            data_dir: None,
            url: None,
            config: None,
            insecure_http: false,
            ca_cert: None,
        }
    }

    /// How the issuer is reached.
    pub(super) fn reach(&self, environment: &BTreeMap<String, String>) -> Result<Reach, CliError> {
        let named = environment.get(CA_CERT).filter(|path| !path.is_empty());
        let path = self.ca_cert.as_deref().or(named.map(Path::new));
        Ok(Reach {
            insecure_http: self.insecure_http,
            ca_cert_pem: path.map(keyfile::read_ca_cert).transpose()?,
        })
    }
}
