//! `firman claude connect`: what a person does so that Claude trusts one agent, in the order in which it
//! is done; or with `--apply` does it.

use super::super::error::CliError;
use super::super::session::Session;
use super::connection::{ConnectArgs, Connection, Content};
use super::{set_up, show};

pub(super) async fn run(args: ConnectArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() && args.format != Content::Text {
        return Err(CliError::usage(
            "--output json prints everything as one object, the profile too; leave out --format",
        ));
    }
    args.check_team()?;
    let admin = session.admin()?;
    if args.apply {
        return set_up::run(&args, &admin, session).await;
    }
    let base_url = args.base_url.resolve(session.environment)?;
    let connection = Connection::gather(&args, &base_url, &admin).await?;
    show::all(&connection, args.format, session)?;
    // Neither the overview nor the agent's side holds keys that could be taken to Claude.
    let holds_keys =
        session.printer.is_json() || !(args.format.is_of_agent() || args.format == Content::Text);
    let Some(copy) = connection.copy.as_ref().filter(|_| holds_keys) else {
        return Ok(());
    };
    match copy.record(&admin).await {
        Ok(()) => session.printer.hint(&format!(
            "Claude never fetches inline keys again. The issuer keeps account of that copy as the key consumer {consumer}: a new key\n\
             signs only after you have registered the keys there again and said so: firman key consumer ack {consumer}",
            consumer = copy.consumer
        )),
        Err(error) => session.printer.warn(&format!(
            "warning: the issuer keeps no account of this copy of its keys, so that the next rotation breaks it ({}). Register it: firman key consumer add {}",
            error.text().unwrap_or_default().trim_start_matches("error: "),
            copy.consumer
        )),
    }
    Ok(())
}
