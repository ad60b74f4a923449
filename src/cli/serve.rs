//! `firman serve`: runs the issuer until a signal stops it.

use std::ffi::OsString;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::detach::detach;
use super::error::CliError;
use super::notify::Supervisor;
use super::serving::{self, Claim, Serving};
use super::session::Session;
use crate::config::{Config, LogLevel, Origin, Overrides, reachable};
use crate::domain::remedy::Remedy;
use crate::host::{FirstSettings, Host, HostOptions, KekSource};
use crate::issuer::Ports;
use crate::jose::SigningAlgorithm;
use crate::ports::fetch::{HttpFetcher, Loopback};
use crate::ports::random::SystemRandom;
use crate::ports::time::SystemClock;
use crate::server::process::{Listeners, Process};
use crate::server::{Limits, Listener, telemetry};

/// Run the issuer
///
/// Stops on SIGTERM or Ctrl-C, after it has finished the requests that it accepted. With --detach it runs in the background.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  firman serve --detach\n  FIRMAN_ISSUER_URL=https://id.example.com firman serve --listen 0.0.0.0:8080"
)]
pub(super) struct ServeArgs {
    /// Run in the background: return once the issuer answers, and end it with `firman stop`
    ///
    /// The log goes to serve.log in the data directory.
    #[arg(long)]
    detach: bool,
    #[command(flatten)]
    settings: Overrides,
}

pub(super) async fn run(args: ServeArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    if args.detach {
        return in_background(args.settings, session).await;
    }
    let config = config(args.settings, session)?;
    let running = start(&config, config.log_level).await?;
    let issuer = running.process.host().issuer();
    tracing::info!(
        issuer = issuer.url(),
        public = %running.process.public(),
        private = %running.process.private(),
        "firman is ready"
    );
    let details = json!({
        "issuer": issuer.url(),
        "public": running.serving.public,
        "private": running.serving.private,
        "made": running.made,
    });
    let supervisor = Supervisor::find(session.environment);
    notified(supervisor.ready_with(issuer.url(), &details));
    running.stop.received().await;
    tracing::info!("stopping: finishing accepted requests first");
    notified(supervisor.stopping());
    running.process.stop().await;
    tracing::info!("stopped");
    Ok(())
}

/// A notification that fails does not stop the server.
fn notified(sent: io::Result<()>) {
    if let Err(error) = sent {
        tracing::warn!(%error, "cannot notify the service manager");
    }
}

/// `--detach`: the same command line without it, in the background.
async fn in_background(settings: Overrides, session: &mut Session<'_>) -> Result<(), CliError> {
    let config = config(settings.clone(), session)?;
    create_private_folder(&config.data_dir)?;
    if let Some(running) = serving::find(&config.data_dir)? {
        return Err(CliError::failed(
            "already_running",
            format!(
                "process {} already serves this data directory at `{}`",
                running.pid, running.public
            ),
        )
        .with_remedy(&Remedy::command("stop")));
    }
    let log = config.data_dir.join("serve.log");
    let mut arguments: Vec<OsString> = vec!["serve".into()];
    arguments.extend(settings.arguments().into_iter().map(OsString::from));
    if let Some(data_dir) = &session.globals.data_dir {
        arguments.extend(["--data-dir".into(), data_dir.into()]);
    }
    if let Some(file) = &session.globals.config {
        arguments.extend(["--config".into(), file.into()]);
    }
    let started = detach(&arguments, &log).await?;
    let text = |name: &str| {
        started.details[name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    if session.printer.is_json() {
        return session.printer.json(&json!({
            "pid": started.pid,
            "issuer": text("issuer"),
            "public": text("public"),
            "private": text("private"),
            "log": log,
            "made": started.details["made"],
        }));
    }
    session.printer.facts(&[
        ("issuer", text("issuer")),
        ("admin API", text("private")),
        ("process", started.pid.to_string()),
        ("log", log.display().to_string()),
    ])?;
    if let Some(made) = created_sentence(&started.details["made"]) {
        session.printer.hint(&made);
    }
    let at = session.globals.data_dir.as_ref();
    let at = at.map_or_else(String::new, |dir| {
        format!(" --data-dir {}", super::print::shell_word(dir))
    });
    session
        .printer
        .hint(&format!("Stop it with: firman stop{at}"));
    Ok(())
}

/// Names the files that a first start created.
fn created_sentence(made: &Value) -> Option<String> {
    let files: Vec<&str> = made.as_array()?.iter().filter_map(Value::as_str).collect();
    if files.is_empty() {
        return None;
    }
    Some(format!("First start: created {}.", files.join(", ")))
}

/// A process that serves, with its resources.
pub(super) struct Running {
    /// The process.
    pub(super) process: Process,
    /// The signals that end it.
    pub(super) stop: StopSignals,
    /// The files that this start made and that were not there before.
    pub(super) made: Vec<PathBuf>,
    serving: Serving,
    /// Held while it serves.
    _claim: Option<Claim>,
}

/// The configuration with a serving command's flags.
pub(super) fn config(settings: Overrides, session: &Session<'_>) -> Result<Config, CliError> {
    let flags = settings.with_data_dir(session.globals.data_dir.as_deref());
    Config::load(
        session.globals.config.as_deref(),
        session.environment,
        &flags,
    )
    .map_err(CliError::from)
}

/// Starts logging, binds, opens the database and serves.
pub(super) async fn start(config: &Config, level: LogLevel) -> Result<Running, CliError> {
    telemetry::init(config.log_format, level)
        .map_err(|error| CliError::failed("start", error.to_string()))?;
    create_private_folder(&config.data_dir)?;
    let listeners = Listeners {
        public: Listener::bind(config.listen).await?,
        private: Listener::bind(config.admin_listen).await?,
    };
    let (options, fetcher) = options(config, listeners.public.local_addr())?;
    let absent = FirstFiles::of(config, &options);
    let ports = Ports {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        fetcher: Arc::new(fetcher),
    };
    let host = Host::start(&options, ports).await?;
    // Before the first request, which an early signal would cut off; after the database was opened, so that a
    // signal still ends a start that hangs.
    let stop = StopSignals::catch()?;
    warn_of_settings_without_effect(config, &host);
    let made = absent.made();
    let process = Process::start(
        host,
        listeners,
        Limits::configured(config),
        &config.admin_hosts,
    );
    let serving = Serving {
        pid: std::process::id(),
        public: format!("http://{}", reachable(process.public())),
        private: format!("http://{}", reachable(process.private())),
    };
    match announce(config, &serving).await {
        Ok(claim) => Ok(Running {
            process,
            stop,
            made,
            serving,
            _claim: claim,
        }),
        Err(error) => {
            process.stop().await;
            Err(error)
        }
    }
}

/// Records where the server listens, for commands on this machine.
async fn announce(config: &Config, serving: &Serving) -> Result<Option<Claim>, CliError> {
    let mut claim = Claim::take(&config.data_dir).await?;
    if let Some(claim) = &mut claim {
        claim.announce(serving)?;
    }
    let file = config.data_dir.join("admin-url");
    fs::write(&file, format!("{}\n", serving.private))
        .map_err(|error| CliError::file(&file, "write", &error))?;
    Ok(claim)
}

/// The files that a first start creates and that do not exist yet.
struct FirstFiles(Vec<PathBuf>);

impl FirstFiles {
    fn of(config: &Config, options: &HostOptions) -> Self {
        let database = config.database_url.sqlite_file();
        let kek = match &options.kek {
            KekSource::File(path) => Some(path.as_path()),
            KekSource::Text(..) => None,
        };
        let token = Some(options.admin_token_file.as_path());
        let absent = [database, kek, token]
            .into_iter()
            .flatten()
            .filter(|path| !path.exists());
        Self(absent.map(Path::to_owned).collect())
    }

    /// Those that exist now. Logs their names, so that an operator knows what to back up.
    fn made(self) -> Vec<PathBuf> {
        let made: Vec<PathBuf> = self.0.into_iter().filter(|path| path.exists()).collect();
        if !made.is_empty() {
            let files: Vec<String> = made.iter().map(|path| path.display().to_string()).collect();
            tracing::info!(files = files.join(", "), "first start: created these files");
        }
        made
    }
}

/// `[tokens]` is read when the database is created; afterwards the issuer's own settings apply. An operator who
/// sets it later must learn that it has no effect.
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
                hint = "firman issuer edit",
                "this setting applies only when the database is created"
            );
        }
    }
}

/// The host's options, and the fetcher.
fn options(config: &Config, public: SocketAddr) -> Result<(HostOptions, HttpFetcher), CliError> {
    let issuer_url = config.issuer_url(public)?;
    let loopback = if config.insecure_loopback_fetch(&issuer_url)? {
        tracing::warn!("keys of trusted issuers may be fetched from this machine over plain HTTP");
        Loopback::Insecure
    } else {
        Loopback::Refused
    };
    Ok((
        host_options(config, issuer_url)?,
        HttpFetcher::new(loopback),
    ))
}

pub(super) fn host_options(config: &Config, issuer_url: String) -> Result<HostOptions, CliError> {
    let default_algorithm =
        SigningAlgorithm::parse(&config.default_algorithm).ok_or_else(|| {
            CliError::failed(
                "config",
                "`tokens.default_algorithm` is not a known algorithm",
            )
        })?;
    Ok(HostOptions {
        database_url: config.database_url.expose().to_owned(),
        issuer_url,
        kek: kek(config),
        admin_token_file: config.data_dir.join("admin-token"),
        first_keys: Vec::new(),
        first_settings: FirstSettings {
            default_lifetime: config.default_lifetime.into(),
            max_lifetime: config.max_lifetime.into(),
            default_algorithm,
        },
    })
}

/// Where the key-encryption key is.
pub(super) fn kek(config: &Config) -> KekSource {
    match &config.kek {
        Some(text) => KekSource::Text(text.clone(), "FIRMAN_KEK".to_owned()),
        None => KekSource::File(config.keys_dir.join("kek")),
    }
}

/// The data directory holds the first administrator's token: only its owner may read it.
fn create_private_folder(path: &Path) -> Result<(), CliError> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| CliError::file(path, "create", &error))
}

/// SIGTERM, SIGINT and SIGHUP. While this exists, they no longer end the process directly.
pub(super) struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl StopSignals {
    /// Starts catching them.
    pub(super) fn catch() -> Result<Self, CliError> {
        let failed = |error: io::Error| CliError::failed("signal", error.to_string());
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            hangup: signal(SignalKind::hangup()).map_err(failed)?,
        })
    }

    /// Waits for one of them; returns at once when one has arrived already. SIGHUP ends a process that was
    /// started on a terminal, because the terminal is gone. Elsewhere it asks a daemon to reload its settings;
    /// this one cannot, and continues.
    pub(super) async fn received(mut self) {
        let has_terminal = io::stdin().is_terminal();
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hangup.recv() => {
                    if has_terminal {
                        return;
                    }
                    tracing::warn!(
                        hint = "restart to apply new settings",
                        "ignored SIGHUP: settings are read at start"
                    );
                }
            }
        }
    }
}
