//! `firman stop`: ends the server of a data directory and waits until it has ended.

use std::time::{Duration, Instant};

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::access::load_config;
use super::error::CliError;
use super::serving::{self, Serving};
use super::session::Session;
use crate::domain::remedy::Remedy;

/// How long to wait beyond the drain, for the ledger's last write and for the database to close.
const GRACE: Duration = Duration::from_secs(20);
/// Pause between two checks of the process.
const PAUSE: Duration = Duration::from_millis(20);

/// Stop the issuer of this data directory
///
/// Sends SIGTERM to the process that `firman serve` runs with this data directory and waits until it has finished its
/// requests and ended.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  firman stop\n  firman stop --data-dir /srv/firman")]
pub(super) struct StopArgs {}

pub(super) async fn run(_: StopArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let config = load_config(session.globals, session.environment)?;
    let serving = serving::expect(&config.data_dir)?;
    terminate(&serving)?;
    let deadline = Instant::now() + Duration::from_secs(config.drain_seconds.into()) + GRACE;
    while serving::find(&config.data_dir)?.is_some_and(|found| found == serving) {
        if Instant::now() > deadline {
            let fault = format!("process {} is still running", serving.pid);
            let remedy = Remedy::action(format!("kill -9 {}", serving.pid));
            return Err(CliError::failed("timeout", fault).with_remedy(&remedy));
        }
        tokio::time::sleep(PAUSE).await;
    }
    if session.printer.is_json() {
        return session
            .printer
            .json(&json!({ "stopped": true, "pid": serving.pid }));
    }
    session.printer.hint(&format!(
        "Stopped the issuer at `{}` (process {}).",
        serving.public, serving.pid
    ));
    Ok(())
}

fn terminate(serving: &Serving) -> Result<(), CliError> {
    let pid = i32::try_from(serving.pid).ok().and_then(Pid::from_raw);
    let pid = pid.ok_or_else(|| {
        CliError::failed("signal", format!("`{}` is not a process id", serving.pid))
    })?;
    kill_process(pid, Signal::TERM).map_err(|error| {
        let reason = super::error::reason(&error.into());
        CliError::failed(
            "signal",
            format!("cannot stop process {}: {reason}", serving.pid),
        )
    })
}
