//! The variables of the environment that are read, and the one place that reads them.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// Variables of other programs that this program reads: systemd's notification of a start, those that would
/// override the federation that `firman exec` sets up, the address of Claude, and the OAuth token for its Admin
/// API.
const OTHERS: [&str; 16] = [
    "NOTIFY_SOCKET",
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CONFIG_DIR",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_IDENTITY_TOKEN",
    "ANTHROPIC_PROFILE",
    "ANTHROPIC_UNIX_SOCKET",
    "ANTHROPIC_WORKSPACE_ID",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
    "ANTHROPIC_ADMIN_TOKEN",
    "ANTHROPIC_ADMIN_TOKEN_FILE",
];

/// The file with the certificate authorities that commands trust for HTTPS to the issuer.
pub const CA_CERT: &str = "FIRMAN_CA_CERT";
/// The issuer that an agent asks for a token.
pub const AGENT_ISSUER: &str = "FIRMAN_AGENT_ISSUER";
/// The agent's name.
pub const AGENT_CLIENT_ID: &str = "FIRMAN_AGENT_CLIENT_ID";
/// The file with the agent's private key.
pub const AGENT_KEY_FILE: &str = "FIRMAN_AGENT_KEY_FILE";
/// The file with the agent's client secret.
pub const AGENT_SECRET_FILE: &str = "FIRMAN_AGENT_SECRET_FILE";
/// The file with the token of the agent's platform.
pub const AGENT_ASSERTION_FILE: &str = "FIRMAN_AGENT_ASSERTION_FILE";
/// The file with all of these.
pub const AGENT_BUNDLE: &str = "FIRMAN_AGENT_BUNDLE";
/// The variables that only commands of agents and relying parties read. None of them is a setting.
pub(super) const OF_COMMANDS: [&str; 7] = [
    CA_CERT,
    AGENT_ISSUER,
    AGENT_CLIENT_ID,
    AGENT_KEY_FILE,
    AGENT_SECRET_FILE,
    AGENT_ASSERTION_FILE,
    AGENT_BUNDLE,
];

/// Every variable of the environment whose name begins with `FIRMAN_`, and those of others that are listed
/// here. Nothing else reads the environment.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name
                .into_string()
                .ok()
                .filter(|name| is_ours(name) || OTHERS.contains(&name.as_str()))?;
            // Bytes that are not UTF-8 become a value that its parser rejects and quotes.
            Some((name, value.to_string_lossy().into_owned()))
        })
        .collect()
}

/// The file of this program, for starting it again.
///
/// # Errors
///
/// When the operating system does not report it.
pub fn program() -> std::io::Result<PathBuf> {
    std::env::current_exe()
}

/// True for the name of a variable that can only be meant for this program.
#[must_use]
pub fn is_ours(variable: &str) -> bool {
    variable.starts_with("FIRMAN_")
}

/// Every variable of the environment that Claude's SDKs read, to explain what they would do here.
#[must_use]
pub fn claude_environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| {
            let name = name
                .into_string()
                .ok()
                .filter(|name| name.starts_with("ANTHROPIC_"))?;
            Some((name, value.to_string_lossy().into_owned()))
        })
        .collect()
}
