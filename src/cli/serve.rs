//! `firman serve`: the issuer, until it is told to stop.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use clap::Args;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Session;
use super::error::CliError;
use crate::config::{Config, LogLevel, Origin, Overrides};
use crate::host::{FirstSettings, Host, HostOptions, KekSource};
use crate::issuer::Ports;
use crate::jose::SigningAlgorithm;
use crate::ports::fetch::{HttpFetcher, Loopback};
use crate::ports::random::SystemRandom;
use crate::ports::time::SystemClock;
use crate::server::process::{Listeners, Process};
use crate::server::{Limits, Listener, telemetry};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    settings: Overrides,
}

pub(super) async fn run(args: ServeArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let config = config(args.settings, session)?;
    let (process, stop) = start(&config, config.log_level()).await?;
    let issuer = process.host().issuer();
    tracing::info!(
        issuer = issuer.url(),
        public = %process.public(),
        private = %process.private(),
        "firman is ready"
    );
    stop.received().await;
    tracing::info!("stopping: accepted requests are finished first");
    process.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// The configuration with a serving command's flags.
pub(super) fn config(settings: Overrides, session: &Session<'_>) -> Result<Config, CliError> {
    let flags = Overrides {
        data_dir: session.globals.data_dir.clone(),
        ..settings
    };
    Config::load(
        session.globals.config.as_deref(),
        session.environment,
        &flags,
    )
    .map_err(|error| CliError::failed("config", error.to_string()))
}

/// Starts logging, binds, opens the database and serves; each fault is one sentence.
pub(super) async fn start(
    config: &Config,
    level: LogLevel,
) -> Result<(Process, StopSignals), CliError> {
    let failed = |error: &dyn std::error::Error| CliError::failed("start", sentence(error));
    telemetry::init(config.log_format(), level).map_err(|error| failed(&error))?;
    create_private_folder(config.data_dir())?;
    let listeners = Listeners {
        public: bind(config.listen()).await?,
        private: bind(config.admin_listen()).await?,
    };
    let issuer_url = config
        .issuer_url(listeners.public.local_addr())
        .map_err(|error| CliError::failed("config", error.to_string()))?;
    let fetches_loopback = config
        .insecure_loopback_fetch(&issuer_url)
        .map_err(|error| CliError::failed("config", error.to_string()))?;
    let loopback = if fetches_loopback {
        tracing::warn!("keys of trusted issuers may be fetched from this machine over plain http");
        Loopback::Insecure
    } else {
        Loopback::Refused
    };
    let options = host_options(config, issuer_url)?;
    let ports = Ports {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        fetcher: Arc::new(HttpFetcher::new(loopback)),
    };
    let host = Host::start(&options, ports)
        .await
        .map_err(|error| failed(&error))?;
    // Before the first request is taken, which would otherwise be cut off by a signal that came early;
    // not before the database was opened, so that a start that hangs can be ended.
    let stop = StopSignals::catch()?;
    warn_of_settings_without_effect(config, &host);
    let process = Process::start(
        host,
        listeners,
        Limits::configured(config),
        config.admin_hosts(),
    );
    let address = process.private();
    let reachable = if address.ip().is_unspecified() {
        format!("http://127.0.0.1:{}", address.port())
    } else {
        format!("http://{address}")
    };
    let file = config.data_dir().join("admin-url");
    if let Err(error) = fs::write(&file, format!("{reachable}\n")) {
        process.stop().await;
        return Err(CliError::file(&file, "write", &error));
    }
    Ok((process, stop))
}

/// The error of a listener tells its cause in the middle of its sentence.
async fn bind(address: SocketAddr) -> Result<Listener, CliError> {
    let bound = Listener::bind(address).await;
    bound.map_err(|error| CliError::failed("start", error.to_string()))
}

/// `[tokens]` is read when the database is first made; from then on the issuer's own settings hold. One
/// who sets it later must not believe that it worked.
fn warn_of_settings_without_effect(config: &Config, host: &Host) {
    let policy = host.issuer().policy();
    let settings = &policy.settings;
    let in_force = [
        (
            "tokens.default_lifetime",
            settings.default_lifetime.to_string(),
        ),
        ("tokens.max_lifetime", settings.max_lifetime.to_string()),
        (
            "tokens.default_algorithm",
            settings.default_algorithm.to_string(),
        ),
    ];
    for shown in config.show() {
        let differs = in_force
            .iter()
            .find(|(key, value)| shown.key == *key && shown.value != *value);
        if let Some((setting, in_force)) = differs
            && shown.origin != Origin::Default.to_string()
        {
            tracing::warn!(
                setting,
                configured = shown.value,
                in_force,
                "this setting is only read when the database is first made; change it with: firman issuer edit"
            );
        }
    }
}

fn host_options(config: &Config, issuer_url: String) -> Result<HostOptions, CliError> {
    let default_algorithm = SigningAlgorithm::parse(config.default_algorithm())
        .ok_or_else(|| CliError::failed("config", "tokens.default_algorithm is not known"))?;
    let kek = match config.kek() {
        Some(text) => KekSource::Text(text.clone(), "FIRMAN_KEK".to_owned()),
        None => KekSource::File(config.keys_dir().join("kek")),
    };
    Ok(HostOptions {
        database_url: config.database_url().expose().to_owned(),
        issuer_url,
        kek,
        admin_token_file: config.data_dir().join("admin-token"),
        first_settings: FirstSettings {
            default_lifetime: config.default_lifetime().into(),
            max_lifetime: config.max_lifetime().into(),
            default_algorithm,
        },
    })
}

/// The data directory holds the first administrator's token: its owner's alone.
fn create_private_folder(path: &Path) -> Result<(), CliError> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| CliError::file(path, "create", &error))
}

/// SIGTERM and SIGINT, which no longer end the process by themselves once this exists.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// From now on they are waited for.
    pub(super) fn catch() -> Result<Self, CliError> {
        let failed = |error: std::io::Error| CliError::failed("signal", error.to_string());
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    /// Waits for one of them, or returns at once when it has come.
    pub(super) async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// An error with its innermost cause, in one line.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
        source = cause.source();
    }
    text
}
