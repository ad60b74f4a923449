//! `firman claude verify` and `diagnose`: the real program against a real issuer, and against web servers
//! that publish what no issuer should.

mod diagnose;
mod every_denial;
mod exchange;
mod private_authority;
mod round;
mod web;

use serde_json::Value;

use crate::process::{Outcome, Server, Site};

/// An issuer with an agent that may have tokens for Claude, and a directory to run commands in.
struct Live {
    site: Site,
    server: Server,
}

impl Live {
    fn start() -> Self {
        Self::at(Site::new())
    }

    fn at(site: Site) -> Self {
        let server = site.start();
        let live = Self { site, server };
        live.json("resource add claude --profile claude");
        live.json("role add claude-user --grant claude");
        live.json("agent add mailer --owner ops --role claude-user --generate-key mailer.pem");
        live
    }

    fn issuer(&self) -> String {
        format!("http://{}", self.server.public)
    }

    fn run(&self, line: &str) -> Outcome {
        let words: Vec<&str> = line.split(' ').collect();
        self.site.run(&words)
    }

    /// What a command prints with `--output json`.
    fn json(&self, line: &str) -> Value {
        self.run(&format!("{line} --output json")).json()
    }

    /// The checks of a round, and its exit code.
    fn verify(&self, options: &str) -> (Option<i32>, Vec<Value>) {
        let line = format!("claude verify --agent mailer {options} --output json");
        let outcome = self.run(line.replace("  ", " ").trim());
        let answer: Value = serde_json::from_str(&outcome.stdout)
            .unwrap_or_else(|error| panic!("{error}: {outcome}"));
        let checks = answer["checks"].as_array().expect("checks").clone();
        assert_eq!(answer["ok"], outcome.code == Some(0), "{outcome}");
        (outcome.code, checks)
    }

    /// A token of the agent's for Claude.
    fn token(&self) -> String {
        let issuer = self.issuer();
        let got = self.run(&format!(
            "token get --issuer {issuer} --client-id mailer --key mailer.pem"
        ));
        assert_eq!(got.code, Some(0), "{got}");
        got.stdout.trim().to_owned()
    }

    /// The causes that are found, the likeliest first.
    fn diagnose(&self, options: &str) -> Vec<Value> {
        let answer = self.json(&format!("claude diagnose {options}"));
        answer["causes"].as_array().expect("causes").clone()
    }
}

/// The check of that name.
fn check<'c>(checks: &'c [Value], name: &str) -> &'c Value {
    checks
        .iter()
        .find(|check| check["check"] == name)
        .unwrap_or_else(|| panic!("no check {name}: {checks:#?}"))
}

/// `status: seen` of the check of that name.
fn told(checks: &[Value], name: &str) -> String {
    let check = check(checks, name);
    let text = |member: &str| check[member].as_str().expect("a text").to_owned();
    format!("{}: {}", text("status"), text("seen"))
}

/// Name and status of each check, in order.
fn summary(checks: &[Value]) -> Vec<String> {
    let text = |check: &Value, member: &str| check[member].as_str().expect("a text").to_owned();
    checks
        .iter()
        .map(|check| format!("{} {}", text(check, "status"), text(check, "check")))
        .collect()
}
