//! `firman claude simulate`: the stand-in of `testing::claude_simulator` behind a command. The only place
//! where the program uses what is made for tests: here the simulation is the product.

use std::net::SocketAddr;

use clap::Args;
use serde_json::json;
use tokio::sync::broadcast::{Receiver, error::RecvError};

use crate::cli::Session;
use crate::cli::error::CliError;
use crate::cli::print::harmless;
use crate::cli::serve::StopSignals;
use crate::config::{LogFormat, LogLevel};
use crate::relying_party::claude::OrganizationId;
use crate::server::telemetry;
use crate::testing::{ClaudeSimulator, ClaudeSimulatorOptions, SimulatedExchange};

#[derive(Debug, Args)]
pub(in crate::cli) struct SimulateArgs {
    /// Where to listen: an address of this machine's loopback
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8082")]
    listen: SocketAddr,
    /// Put the reason of a denial into the answer, where Claude's SDKs show it; the real one never does
    #[arg(long)]
    explain: bool,
    /// The token that the simulated Admin API takes [default: a new one]
    #[arg(long, value_name = "TOKEN")]
    admin_token: Option<String>,
    /// The organization that requests must name [default: a fixed one]
    #[arg(long, value_name = "UUID", value_parser = parse_organization)]
    organization: Option<OrganizationId>,
}

fn parse_organization(text: &str) -> Result<OrganizationId, String> {
    OrganizationId::parse(text).map_err(|invalid| invalid.problem)
}

pub(super) async fn run(args: SimulateArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    if !args.listen.ip().is_loopback() {
        return Err(CliError::usage(format!(
            "{} is not on loopback; a simulation lets in whoever reaches it, so it listens on 127.0.0.1 or [::1] only",
            args.listen
        )));
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
    .map_err(|error| CliError::failed("start", error.to_string()))?;
    let stop = StopSignals::catch()?;
    let exchanges = simulator.exchanges();
    show(&simulator, session)?;
    tokio::select! {
        () = stop.received() => {}
        () = tell(exchanges, session) => {}
    }
    simulator.stop().await;
    Ok(())
}

/// Prints each exchange as it comes, one line each, on stderr: a program that reads stdout may stop after its
/// first line.
async fn tell(mut exchanges: Receiver<SimulatedExchange>, session: &mut Session<'_>) {
    loop {
        match exchanges.recv().await {
            Ok(exchange) => session.printer.warn(&harmless(&exchange.to_string())),
            Err(RecvError::Lagged(missed)) => {
                session
                    .printer
                    .warn(&format!("{missed} exchanges are not shown"));
            }
            Err(RecvError::Closed) => return,
        }
    }
}

/// Tells where it is; as data, so that programs can go on from there.
fn show(simulator: &ClaudeSimulator, session: &mut Session<'_>) -> Result<(), CliError> {
    let history = format!("{}/simulator/history", simulator.url);
    session.printer.warn(
        "SIMULATION: this is not Claude. It answers as Claude's documentation says Claude would, with fixed text, on this machine only, and forgets everything when it ends.",
    );
    if session.printer.is_json() {
        return session.printer.json_line(&json!({
            "url": simulator.url,
            "admin_token": simulator.admin_token,
            "organization_id": simulator.organization_id,
            "history_url": history,
        }));
    }
    session.printer.facts(&[
        ("ANTHROPIC_BASE_URL", simulator.url.clone()),
        ("ANTHROPIC_ADMIN_TOKEN", simulator.admin_token.clone()),
        (
            "ANTHROPIC_ORGANIZATION_ID",
            simulator.organization_id.to_string(),
        ),
        ("history", history),
    ])
}
