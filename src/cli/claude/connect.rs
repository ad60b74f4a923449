//! `firman claude connect`: prints what makes Claude trust an agent; with `--apply` makes it.

use super::super::error::CliError;
use super::super::session::Session;
use super::connect_args::{ConnectArgs, Content};
use super::connection::Connection;
use super::probe::cause;
use super::{set_up, show};

pub(super) async fn run(args: ConnectArgs, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() && args.format != Content::Text {
        return Err(CliError::usage(
            "`--format` cannot be combined with `--output json`, which prints everything as one object",
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
    // The overview and the agent's side contain no keys to register at Claude.
    let holds_keys =
        session.printer.is_json() || !(args.format.is_of_agent() || args.format == Content::Text);
    let Some(copy) = connection.copy.as_ref().filter(|_| holds_keys) else {
        return Ok(());
    };
    match copy.record(&admin).await {
        Ok(()) => session.printer.hint(&format!(
            "Recorded this copy of the keys as the key consumer `{consumer}`. A new key signs only after you have updated\n\
             the keys at Claude and acknowledged them.\n\
             hint: firman key consumer ack {consumer}",
            consumer = copy.consumer
        )),
        Err(error) => session.printer.warn(&format!(
            "warning: cannot record this copy of the keys, so the next rotation breaks it: {}\nhint: firman key consumer add {}",
            cause(&error),
            copy.consumer
        )),
    }
    Ok(())
}
