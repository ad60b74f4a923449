//! `firman claude simulate`: the simulator of `testing::claude_simulator` as a command. The only place where the
//! program uses test code: here the simulation is the product.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::Path;

use clap::Args;
use serde_json::{Value, json};
use tokio::sync::broadcast::{Receiver, error::RecvError};

use super::ids::parse_organization;
use crate::cli::detach::detach;
use crate::cli::error::CliError;
use crate::cli::notify::Supervisor;
use crate::cli::print::{harmless, text};
use crate::cli::serve::StopSignals;
use crate::cli::session::Session;
use crate::config::{LogFormat, LogLevel};
use crate::domain::remedy::Remedy;
use crate::relying_party::claude::OrganizationId;
use crate::server::telemetry;
use crate::testing::{ClaudeSimulator, ClaudeSimulatorOptions, SimulatedExchange};

/// The log of a simulator in the background, in the directory where it was started.
const LOG: &str = "claude-simulator.log";

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  firman claude simulate --explain
  firman claude simulate --detach")]
pub(in crate::cli) struct SimulateArgs {
    /// Run in the background; return when it answers, log to `claude-simulator.log`
    #[arg(long)]
    detach: bool,
    /// The loopback address to listen on
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8082")]
    listen: SocketAddr,
    /// Send the reason of a denial in the answer, which Claude itself never does
    #[arg(long)]
    explain: bool,
    /// The token that the simulated Admin API accepts [default: a new one]
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// The organization ID that requests must name [default: a fixed one]
    #[arg(long, value_name = "UUID", value_parser = parse_organization)]
    organization: Option<OrganizationId>,
}

pub(super) async fn run(args: SimulateArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    if !args.listen.ip().is_loopback() {
        return Err(CliError::usage(format!(
            "`{}` is not a loopback address, and the simulator does not authenticate clients",
            args.listen
        ))
        .with_remedy(&Remedy::action("listen on `127.0.0.1` or `[::1]`")));
    }
    if args.detach {
        return in_background(&args, session).await;
    }
    let admin_token = args.admin_token.or_else(|| {
        let given = session.environment.get("ANTHROPIC_ADMIN_TOKEN");
        given.filter(|token| !token.is_empty()).cloned()
    });
    telemetry::init(LogFormat::Text, LogLevel::Warn)
        .map_err(|error| CliError::failed("start", error.to_string()))?;
    let defaults = ClaudeSimulatorOptions::default();
    let simulator = ClaudeSimulator::start(ClaudeSimulatorOptions {
        listen: args.listen,
        explain: args.explain,
        admin_token,
        organization_id: args
            .organization
            .unwrap_or(defaults.organization_id.clone()),
        ..defaults
    })
    .await
    .map_err(|error| {
        let remedy = Remedy::action("choose another address with `--listen`");
        CliError::from(error).with_remedy(&remedy)
    })?;
    let stop = StopSignals::catch()?;
    let exchanges = simulator.exchanges();
    let facts = facts(&simulator);
    show(&facts, session)?;
    let told = Supervisor::find(session.environment).ready_with(&simulator.url, &facts);
    if let Err(error) = told {
        session
            .printer
            .warn(&format!("cannot notify the service manager: {error}"));
    }
    tokio::select! {
        () = stop.received() => {}
        () = tell(exchanges, session) => {}
    }
    simulator.stop().await;
    Ok(())
}

/// `--detach`: the same simulator, in the background.
async fn in_background(args: &SimulateArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    let mut arguments: Vec<OsString> = ["claude", "simulate", "--listen"].map(Into::into).into();
    arguments.push(args.listen.to_string().into());
    if args.explain {
        arguments.push("--explain".into());
    }
    // A token from the environment is inherited: a command line can be read by every user.
    if let Some(token) = &args.admin_token {
        arguments.extend(["--admin-token".into(), token.into()]);
    }
    if let Some(organization) = &args.organization {
        arguments.extend(["--organization".into(), organization.to_string().into()]);
    }
    let started = detach(&arguments, Path::new(LOG)).await?;
    let mut facts = started.details;
    facts["pid"] = json!(started.pid);
    facts["log"] = json!(LOG);
    show(&facts, session)?;
    session
        .printer
        .hint(&format!("To stop it: kill {}", started.pid));
    Ok(())
}

/// Prints each exchange as one line on stderr: a program that reads stdout may stop after its first line.
async fn tell(mut exchanges: Receiver<SimulatedExchange>, session: &mut Session<'_>) {
    loop {
        match exchanges.recv().await {
            Ok(exchange) => session.printer.warn(&harmless(&exchange.to_string())),
            Err(RecvError::Lagged(missed)) => {
                session
                    .printer
                    .warn(&format!("exchanges not shown: {missed}"));
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Where it is, and what requests need.
fn facts(simulator: &ClaudeSimulator) -> Value {
    json!({
        "url": simulator.url,
        "admin_token": simulator.admin_token,
        "organization_id": simulator.organization_id,
        "history_url": format!("{}/simulator/history", simulator.url),
    })
}

/// Prints them.
fn show(facts: &Value, session: &mut Session<'_>) -> Result<(), CliError> {
    session.printer.warn(
        "SIMULATION: this is not Claude. It follows Claude's documentation, answers with fixed text, on this machine only, and keeps nothing when it stops.",
    );
    if session.printer.is_json() {
        return session.printer.json_line(facts);
    }
    let mut lines = vec![
        ("ANTHROPIC_BASE_URL", text(facts, "url")),
        ("ANTHROPIC_ADMIN_TOKEN", text(facts, "admin_token")),
        ("ANTHROPIC_ORGANIZATION_ID", text(facts, "organization_id")),
        ("history", text(facts, "history_url")),
    ];
    if facts["log"].is_string() {
        lines.push(("log", text(facts, "log")));
    }
    session.printer.facts(&lines)
}
