//! `firman claude connect` and `firman publish-static`: the real program against a running issuer, and
//! against a stand-in for Claude's Admin API that keeps what it receives and fails on request.

mod apply;
mod claude;
mod pair;
mod print;
mod publish;
mod simulator;

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::process::{Outcome, Server, Site};

/// An organization's id.
const ORGANIZATION: &str = "00000000-0000-4000-8000-000000000001";
/// An issuer that Claude can reach.
const PUBLIC_ISSUER: &str = "https://id.example.com";
/// An issuer that it cannot.
const PRIVATE_ISSUER: &str = "https://id.corp.internal";

/// An issuer with a directory to run commands in.
struct Live {
    site: Site,
    server: Server,
}

impl Live {
    fn start() -> Self {
        Self::on(Site::new())
    }

    /// One that is called `issuer`, wherever it listens.
    fn start_as(issuer: &str) -> Self {
        Self::on(Site::new().with("FIRMAN_ISSUER_URL", issuer))
    }

    /// One with an agent `mailer` that may get tokens for Claude.
    fn with_mailer(issuer: &str) -> Self {
        let live = Self::start_as(issuer);
        live.register_mailer();
        live
    }

    /// The same with variables of the environment set.
    fn with_mailer_and(issuer: &str, variables: &[(&str, &str)]) -> Self {
        let site = Site::new().with("FIRMAN_ISSUER_URL", issuer);
        let site = variables
            .iter()
            .fold(site, |site, (name, value)| site.with(name, value));
        let live = Self::on(site);
        live.register_mailer();
        live
    }

    fn on(site: Site) -> Self {
        let server = site.start();
        Self { site, server }
    }

    /// The agent as it was made, with its client secret.
    fn register_mailer(&self) -> Value {
        self.json("resource add claude --profile claude");
        self.json("role add claude-user --grant claude");
        self.json("agent add mailer --owner ops --role claude-user --secret")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.site.path(name)
    }

    /// Where the issuer listens.
    fn public(&self) -> String {
        format!("http://{}", self.server.public)
    }

    /// Runs a command line, split at spaces.
    fn outcome(&self, line: &str) -> Outcome {
        let words: Vec<&str> = line.split(' ').collect();
        self.site.run(&words)
    }

    /// The whole outcome as text, without what differs from run to run.
    fn run(&self, line: &str) -> String {
        self.redacted(&self.outcome(line).to_string())
    }

    /// What a command prints with `--output json`, which says nothing on stderr.
    fn json(&self, line: &str) -> Value {
        self.outcome(&format!("{line} --output json")).json()
    }

    fn redacted(&self, text: &str) -> String {
        let directory = self.site.path("").display().to_string();
        let text = text.replace(&self.public(), "[ISSUER]");
        without_keys(&text.replace(directory.trim_end_matches('/'), "[DIR]"))
    }
}

/// `text` with key ids and the numbers of keys left out: long words of base64url.
fn without_keys(text: &str) -> String {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut shown = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        let length = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        let is_key = length >= 43
            && word.bytes().any(|b| b.is_ascii_uppercase())
            && word.bytes().any(|b| b.is_ascii_lowercase());
        shown.push_str(if is_key { "[KEY]" } else { word });
        let other = after.find(is_word).unwrap_or(after.len());
        shown.push_str(&after[..other]);
        rest = &after[other..];
    }
    shown
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    let metadata = std::fs::metadata(path).expect("the file");
    metadata.permissions().mode() & 0o777
}
