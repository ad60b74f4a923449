//! `firman quickstart`: on nothing, on its own data again, and on data in use.

use std::net::TcpListener;
use std::sync::Arc;

use firman::host::{FirstSettings, Host, HostOptions, KekSource};
use firman::issuer::{Caller, Ports};
use firman::ports::fetch::HttpFetcher;
use firman::ports::random::SystemRandom;
use firman::ports::time::SystemClock;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::live::redacted;
use super::{Shell, words};
use crate::process::Site;

fn shell() -> Shell {
    Shell::new()
        .with("FIRMAN_LISTEN", "127.0.0.1:0")
        .with("FIRMAN_ADMIN_LISTEN", "127.0.0.1:0")
}

/// The issuer of a shell's data directory, while no process runs on it.
async fn host(shell: &Shell) -> Host {
    let options = HostOptions {
        first_keys: Vec::new(),
        database_url: format!("sqlite:{}", shell.path("data/firman.db").display()),
        issuer_url: "http://127.0.0.1:1".to_owned(),
        kek: KekSource::File(shell.path("keys/kek")),
        admin_token_file: shell.path("data/admin-token"),
        first_settings: FirstSettings::default(),
    };
    let ports = Ports {
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
        fetcher: Arc::new(HttpFetcher::default()),
    };
    Host::start(&options, ports).await.expect("a host")
}

#[tokio::test]
async fn a_suspended_or_removed_quickstart_agent_is_reported_and_not_only_refused() {
    let shell = shell();
    let first = shell.run("quickstart --exit");
    assert!(first.starts_with("exit code 0\n"), "{first}");

    let running = host(&shell).await;
    let suspended = running
        .issuer()
        .suspend_agent(&Caller::system(), "quickstart", None)
        .await;
    suspended.expect("a suspended agent");
    running.stop().await;
    drop(running);
    let second = shell.run("--output json quickstart --exit");
    assert!(
        second.starts_with("exit code 1\n")
            && second.contains("the agent `quickstart` is suspended")
            && second.contains("run `firman serve`, then `firman agent resume quickstart`"),
        "{second}"
    );

    let running = host(&shell).await;
    let removed = running
        .issuer()
        .remove_agent(&Caller::system(), "quickstart", None)
        .await;
    removed.expect("a removed agent");
    running.stop().await;
    drop(running);
    let third = shell.run("quickstart --exit");
    assert!(
        third.starts_with("exit code 1\n")
            && third.contains(
                "the agent `quickstart` is removed\nhint: run `firman quickstart` with another `--data-dir`"
            ),
        "{third}"
    );
}

#[test]
fn a_public_url_that_leads_nowhere_yet_is_explained() {
    let shell = shell().with("FIRMAN_ISSUER_URL", "https://issuer.invalid");
    let outcome = shell.run("quickstart --exit");
    assert!(
        outcome.starts_with("exit code 1\n")
            && outcome.contains("drop the URL to try firman on loopback"),
        "{outcome}"
    );
}

/// Runs it on free ports; the issuer's address and the milliseconds are left out.
fn quickstart(site: &Site) -> String {
    let ports = "--listen 127.0.0.1:0 --admin-listen 127.0.0.1:0";
    let outcome = site.run(&words(&format!("quickstart --exit {ports}")));
    let text = outcome.to_string();
    let issuer = text
        .split("\"iss\": \"")
        .nth(1)
        .expect("an issuer")
        .split('"')
        .next()
        .unwrap_or_default();
    let text = redacted(&text.replace(issuer, "[ISSUER]"));
    let (before, after) = text.split_once("first token ").unwrap_or((&text, ""));
    match after.split_once(" ms") {
        Some((_, after)) => format!("{before}first token [MILLIS] ms{after}"),
        None => text,
    }
}

#[test]
fn quickstart_proves_a_token_twice_on_the_same_data() {
    let site = Site::new();
    let first = quickstart(&site);
    assert_snapshot!(first, @r#"
    exit code 0
    ----- stdout
    issuer      [ISSUER]
    agent       quickstart (key: data/quickstart.pem)
    token for   https://api.anthropic.com
    first token [MILLIS] ms after the start, verified from discovery and JWKS

    header  {
      "alg": "ES256",
      "kid": "[KEY]",
      "typ": "JWT"
    }
    claims  {
      "acting_agent": "agent:quickstart",
      "aud": "https://api.anthropic.com",
      "client_id": "quickstart",
      "exp": [SECONDS],
      "groups": [],
      "iat": [SECONDS],
      "iss": "[ISSUER]",
      "jti": "[JTI]",
      "nbf": [SECONDS],
      "owner": "quickstart",
      "roles": [
        "quickstart"
      ],
      "sub": "agent:quickstart",
      "sub_profile": "ai_agent"
    }

    ----- stderr
    First start: created data/firman.db, keys/kek, data/admin-token.

    Start it with: firman serve --detach. Then try:
      firman token get --issuer [ISSUER] --client-id quickstart --key data/quickstart.pem --resource https://api.anthropic.com
      firman agent add my-agent --owner my-team --role quickstart --generate-key my-agent.pem
      firman agent suspend quickstart
      firman audit list

    To let Claude trust this issuer, register it as a Custom OIDC issuer with:
      issuer URL  [ISSUER]   (Claude needs a public https URL, or the keys of the JWKS inline. The URL of an issuer never changes: start another one with FIRMAN_ISSUER_URL=https://… and its own --data-dir)
      subject     agent:quickstart    and claim acting_agent = agent:quickstart
      audience    https://api.anthropic.com
    "#);
    let again = quickstart(&site);
    // Another port than before, which the log warns of.
    let (warnings, told): (Vec<&str>, Vec<&str>) = again
        .lines()
        .partition(|line| line.starts_with("{\"timestamp\""));
    assert!(
        matches!(warnings[..], [moved] if moved.contains("loopback issuer's URL changed")),
        "{again}"
    );
    let made = "First start: created data/firman.db, keys/kek, data/admin-token.\n\n";
    assert_eq!(told.join("\n"), first.replace(made, "").trim_end());
}

#[test]
fn quickstart_prints_one_json_object_on_request() {
    let site = Site::new();
    let line = "quickstart --exit --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --output json";
    let outcome = site.run(&words(line));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let mut told: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(told["first_token_milliseconds"].take().is_u64());
    let issuer = told["issuer"].as_str().unwrap().to_owned();
    assert_snapshot!(redacted(&format!("{told:#}\n").replace(&issuer, "[ISSUER]")), @r#"
    {
      "audience": "https://api.anthropic.com",
      "claims": {
        "acting_agent": "agent:quickstart",
        "aud": "https://api.anthropic.com",
        "client_id": "quickstart",
        "exp": [SECONDS],
        "groups": [],
        "iat": [SECONDS],
        "iss": "[ISSUER]",
        "jti": "[JTI]",
        "nbf": [SECONDS],
        "owner": "quickstart",
        "roles": [
          "quickstart"
        ],
        "sub": "agent:quickstart",
        "sub_profile": "ai_agent"
      },
      "client_id": "quickstart",
      "first_token_milliseconds": null,
      "header": {
        "alg": "ES256",
        "kid": "[KEY]",
        "typ": "JWT"
      },
      "issuer": "[ISSUER]",
      "key_file": "data/quickstart.pem",
      "verified": true
    }
    "#);
}

#[test]
fn quickstart_on_a_port_in_use_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = Site::new();
    let outcome = site.run(&["quickstart", "--exit", "--listen", &address]);
    assert_snapshot!(outcome.to_string().replace(&address, "[ADDRESS]"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot listen on `[ADDRESS]`: address already in use
    hint: stop the other process, or choose another address with `FIRMAN_LISTEN` (public) or `FIRMAN_ADMIN_LISTEN` (private)
    ");
    let outcome = site.run(&["quickstart", "--exit", "--listen", &address, "-o", "json"]);
    let error: Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!(
        (outcome.stdout.as_str(), &error["error"]["kind"]),
        ("", &json!("start"))
    );
}
