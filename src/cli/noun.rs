//! What the commands of all nouns share.

use serde_json::{Value, json};

use super::error::CliError;
use super::session::Session;

/// Says that something is gone. The API's answer is empty, so that JSON readers get an object of ours.
pub(super) fn removed(name: &str, session: &mut Session<'_>) -> Result<(), CliError> {
    if session.printer.is_json() {
        return session.printer.json(&json!({ "removed": name }));
    }
    session.printer.hint(&format!("Removed {name}."));
    Ok(())
}

/// Said only when it is required.
pub(super) fn dpop(object: &Value) -> &'static str {
    if object["dpop_required"].as_bool() == Some(true) {
        "required"
    } else {
        ""
    }
}
