//! The environment of the command of `firman exec`: what Claude's SDKs look for, without anything that would
//! override it and without firman's own variables.
//!
//! The SDKs read the federation's variables. `ant` and the SDK for PHP get a profile instead: they ignore
//! `ANTHROPIC_BASE_URL` at the exchange and would send the token to the wrong host, and each process of `ant`
//! would exchange a token anew, without the workspace.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{DirBuilder, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tokio::process::Command;

use super::super::error::CliError;
use super::Federation;
use crate::config;
use crate::relying_party::claude::CustomHeaders;

/// Claude's SDKs read these before the federation's own variables, some even when they are empty; or they belong
/// to another federation. The SDK for PHP reads the profiles in `ANTHROPIC_CONFIG_DIR` first, and
/// `CLAUDE_CODE_OAUTH_TOKEN` is a person's login.
const IN_THE_WAY: [&str; 7] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_CONFIG_DIR",
    "ANTHROPIC_IDENTITY_TOKEN",
    "ANTHROPIC_PROFILE",
    "ANTHROPIC_WORKSPACE_ID",
    "CLAUDE_CODE_OAUTH_TOKEN",
];
/// With one of these Claude Code uses another service and that service's credentials. The user set them on
/// purpose, so they stay.
const ELSEWHERE: [&str; 4] = [
    "ANTHROPIC_UNIX_SOCKET",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
];
/// Only `firman claude connect --apply` reads these. They would let an agent rewrite the rules that bind it.
const ADMIN: [&str; 2] = ["ANTHROPIC_ADMIN_TOKEN", "ANTHROPIC_ADMIN_TOKEN_FILE"];
const CUSTOM_HEADERS: &str = "ANTHROPIC_CUSTOM_HEADERS";
const BASE_URL: &str = "ANTHROPIC_BASE_URL";
/// Programs that need a profile.
const BY_PROFILE: [(&str, &str); 2] = [
    ("ant", "would exchange a token in each process"),
    ("php", "would send the token to https://api.anthropic.com"),
];
const PROFILE: &str = "firman";

/// How the command finds its token.
pub(super) struct Handover<'a> {
    pub(super) federation: &'a Federation,
    pub(super) token_file: &'a Path,
    /// A private directory for a profile.
    pub(super) directory: &'a Path,
    /// Whether a profile was requested; some programs always need one.
    pub(super) by_profile: bool,
}

/// The command with its environment, and notes for the user. `inherited` is our own environment.
///
/// # Errors
/// A profile that cannot be written.
pub(super) fn prepare(
    words: Vec<OsString>,
    handover: &Handover<'_>,
    inherited: &BTreeMap<String, String>,
) -> Result<(Command, Vec<String>), CliError> {
    let mut words = words.into_iter();
    let program = words.next().unwrap_or_default();
    let mut command = Command::new(&program);
    command.args(words);
    let mut notes = clean(&mut command, inherited);
    let Federation { base_url, .. } = handover.federation;
    let base_url = base_url.as_ref().or_else(|| inherited.get(BASE_URL));
    let needs_profile = needs_profile(&program);
    if let Some((name, why)) = needs_profile {
        notes.push(format!(
            "`{name}` {why}: it gets a profile (`ANTHROPIC_PROFILE`) instead of the federation's variables"
        ));
    }
    if handover.by_profile || needs_profile.is_some() {
        let config = write_profile(handover, base_url.map(String::as_str))?;
        command
            .env("ANTHROPIC_CONFIG_DIR", config)
            .env("ANTHROPIC_PROFILE", PROFILE);
    } else {
        add_variables(&mut command, handover);
    }
    if let Some(base_url) = base_url {
        command.env(BASE_URL, base_url);
    }
    Ok((command, notes))
}

/// Removes variables that would override the federation, and firman's own settings, some of which are secrets.
fn clean(command: &mut Command, inherited: &BTreeMap<String, String>) -> Vec<String> {
    for variable in inherited
        .keys()
        .filter(|name| config::is_ours(name) || ADMIN.contains(&name.as_str()))
    {
        command.env_remove(variable);
    }
    for variable in FEDERATION.into_iter().chain(IN_THE_WAY) {
        command.env_remove(variable);
    }
    let is_set = |variable: &&str| inherited.contains_key(*variable);
    let mut notes: Vec<String> = IN_THE_WAY
        .into_iter()
        .filter(is_set)
        .map(|variable| format!(
            "removed `{variable}` from the command's environment: it would override the federation, or belongs to another"
        ))
        .collect();
    if let Some(value) = inherited.get(CUSTOM_HEADERS) {
        let headers = CustomHeaders::parse(value);
        if !headers.credentials.is_empty() {
            match headers.others {
                Some(others) => command.env(CUSTOM_HEADERS, others),
                None => command.env_remove(CUSTOM_HEADERS),
            };
            let what = if headers.credentials.len() == 1 {
                "it"
            } else {
                "they"
            };
            notes.push(format!(
                "removed `{}` from `{CUSTOM_HEADERS}` in the command's environment: {what} would override the federation",
                headers.credentials.join("` and `")
            ));
        }
    }
    let elsewhere = ELSEWHERE.into_iter().filter(is_set);
    notes.extend(elsewhere.map(|variable| {
        format!(
            "`{variable}` is set: Claude Code uses another service and not this agent's identity"
        )
    }));
    notes
}

/// The variables of the federation itself.
const FEDERATION: [&str; 4] = [
    "ANTHROPIC_FEDERATION_RULE_ID",
    "ANTHROPIC_ORGANIZATION_ID",
    "ANTHROPIC_SERVICE_ACCOUNT_ID",
    "ANTHROPIC_IDENTITY_TOKEN_FILE",
];

fn add_variables(command: &mut Command, handover: &Handover<'_>) {
    let Federation {
        rule,
        organization,
        service_account,
        workspace,
        ..
    } = handover.federation;
    let [for_rule, for_organization, for_account, for_file] = FEDERATION;
    command
        .env(for_rule, rule)
        .env(for_organization, organization)
        .env(for_account, service_account)
        .env(for_file, handover.token_file);
    if let Some(workspace) = workspace {
        command.env("ANTHROPIC_WORKSPACE_ID", workspace);
    }
}

/// The name of a program that needs a profile, and why.
fn needs_profile(program: &OsString) -> Option<(&'static str, &'static str)> {
    let name = Path::new(program).file_name()?;
    BY_PROFILE
        .into_iter()
        .find(|(by_profile, _)| name == *by_profile)
}

/// Writes the profile, in its own configuration directory: the SDKs cache the exchanged token beside it, and it
/// is removed when the command has ended.
fn write_profile(handover: &Handover<'_>, base_url: Option<&str>) -> Result<PathBuf, CliError> {
    let config = handover.directory.join("config");
    let configs = config.join("configs");
    let path = configs.join(format!("{PROFILE}.json"));
    let write = || -> std::io::Result<()> {
        let mut directory = DirBuilder::new();
        directory.mode(0o700).recursive(true).create(&configs)?;
        directory.create(config.join("credentials"))?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)?;
        write!(file, "{:#}", profile(handover, base_url))
    };
    write().map_err(|error| CliError::file(&path, "write", &error))?;
    Ok(config)
}

fn profile(handover: &Handover<'_>, base_url: Option<&str>) -> Value {
    let Federation {
        rule,
        organization,
        service_account,
        workspace,
        ..
    } = handover.federation;
    let mut profile = json!({
        "version": "1.0",
        "authentication": {
            "type": "oidc_federation",
            "federation_rule_id": rule,
            "service_account_id": service_account,
            "identity_token": { "source": "file", "path": handover.token_file.display().to_string() },
        },
        "organization_id": organization,
    });
    for (member, value) in [
        ("workspace_id", workspace.as_deref()),
        ("base_url", base_url),
    ] {
        if let Some(value) = value {
            profile[member] = json!(value);
        }
    }
    profile
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_are_known_by_the_last_part_of_their_path() {
        for (program, expected) in [
            ("ant", Some("ant")),
            ("/usr/local/bin/ant", Some("ant")),
            ("./php", Some("php")),
            ("ants", None),
            ("/ant/run", None),
            ("", None),
        ] {
            let found = needs_profile(&OsString::from(program)).map(|(name, _)| name);
            assert_eq!(found, expected, "{program}");
        }
    }
}
