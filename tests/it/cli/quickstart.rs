//! `firman quickstart` on data that somebody has worked with.

use std::sync::Arc;

use firman::host::{FirstSettings, Host, HostOptions, KekSource};
use firman::issuer::{Caller, Ports};
use firman::ports::fetch::HttpFetcher;
use firman::ports::random::SystemRandom;
use firman::ports::time::SystemClock;

use super::Shell;

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
async fn a_suspended_or_removed_quickstart_agent_is_told_and_not_only_refused() {
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
            && second.contains(
                "the agent 'quickstart' is suspended, so that it gets no token; start 'firman serve', then: firman agent resume quickstart"
            ),
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
                "the agent 'quickstart' is removed, and its name is never given out again; run quickstart with a new --data-dir"
            ),
        "{third}"
    );
}

#[test]
fn a_public_url_that_leads_nowhere_yet_is_explained() {
    let shell = shell().with("FIRMAN_ISSUER_URL", "https://issuer.invalid");
    let outcome = shell.run("quickstart --exit");
    assert!(
        outcome.starts_with("exit code 1\n") && outcome.contains("leave the issuer URL out"),
        "{outcome}"
    );
}
