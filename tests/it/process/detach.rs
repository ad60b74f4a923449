//! `serve --detach`, `stop` and `healthcheck`, and what a hang-up does.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A site whose detached server, if one is left, ends with the test.
struct Detached(Site);

impl Detached {
    fn run(&self, line: &str) -> Outcome {
        self.0.run(&line.split(' ').collect::<Vec<_>>())
    }
}

impl Drop for Detached {
    fn drop(&mut self) {
        // A test that stopped its server has none left.
        let _ = self.run("stop");
    }
}

const DETACH: &str = "serve --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --detach";

#[test]
fn a_detached_server_answers_when_the_command_returns_and_ends_by_stop() {
    let site = Detached(Site::new());
    let started = site.run(&format!("{DETACH} -o json")).json();
    assert_eq!(started["issuer"], started["public"], "{started}");
    assert_eq!(
        started["made"],
        json!(["data/firman.db", "keys/kek", "data/admin-token"])
    );
    assert_eq!(started["log"], "data/serve.log");

    let added = site.run("resource add reports --identifier https://reports.example.com -o json");
    assert_eq!(added.json()["name"], "reports");
    assert_eq!(site.run("healthcheck -o json").json()["healthy"], true);
    let second = site.run(DETACH);
    let (pid, public) = (&started["pid"], started["public"].as_str().unwrap());
    assert_eq!(
        (second.code, second.stderr),
        (
            Some(1),
            format!(
                "error: process {pid} already serves this data directory at `{public}`\nhint: firman stop\n"
            )
        )
    );

    let stopped = site.run("stop -o json").json();
    assert_eq!(stopped, json!({ "stopped": true, "pid": started["pid"] }));
    let log = std::fs::read_to_string(site.0.path("data/serve.log")).unwrap();
    assert!(log.contains(r#""message":"stopped""#), "{log}");
    let outcome = site.run("stop");
    assert_eq!(
        (outcome.code, outcome.stderr.as_str()),
        (
            Some(1),
            "error: no issuer is running with the data directory `data`\nhint: firman serve --detach\n"
        )
    );
}

#[test]
fn a_second_start_says_how_to_stop_it_and_not_what_it_made() {
    let site = Detached(Site::new());
    let first = site.run(DETACH);
    assert!(
        first
            .stderr
            .starts_with("First start: created data/firman.db, ")
    );
    assert_eq!(site.run("stop").code, Some(0));
    let second = site.run(DETACH);
    assert_eq!(
        (second.code, second.stderr.as_str()),
        (Some(0), "Stop it with: firman stop\n"),
        "{second}"
    );
}

#[test]
fn a_start_in_the_background_that_fails_is_reported_in_the_foreground() {
    let site = Detached(Site::new());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let outcome = site.run(&format!("serve --listen {address} --detach"));
    assert_eq!((outcome.code, outcome.stdout.as_str()), (Some(1), ""));
    let start = format!("error: cannot listen on `{address}`");
    assert!(outcome.stderr.starts_with(&start), "{outcome}");
    assert_eq!(outcome.stderr.lines().count(), 2, "{outcome}");
}

#[test]
fn a_server_of_another_data_directory_is_not_this_ones_health() {
    let elsewhere = Site::new();
    let other = elsewhere.start();
    let site = Site::new().with("FIRMAN_LISTEN", &other.public.to_string());
    let outcome = site.run(&["healthcheck"]);
    assert_eq!(
        (outcome.code, outcome.stderr.as_str()),
        (
            Some(1),
            "error: no issuer is running with the data directory `data`\nhint: firman serve --detach\n"
        )
    );
    other.stop();
}

#[test]
fn a_data_directory_of_its_own_has_its_own_keys() {
    let site = Detached(Site::new().with("FIRMAN_DATA_DIR", "east"));
    let started = site.run(&format!("{DETACH} -o json")).json();
    assert_eq!(
        started["made"],
        json!(["east/firman.db", "east/keys/kek", "east/admin-token"])
    );
    assert!(!site.0.path("keys").exists());
}

#[test]
fn a_first_start_on_another_database_keeps_the_token_of_the_first() {
    let site = Detached(Site::new());
    assert_eq!(site.run(DETACH).code, Some(0));
    let first = std::fs::read_to_string(site.0.path("data/admin-token")).unwrap();
    assert_eq!(site.run("stop").code, Some(0));
    let started = site.run(&format!("{DETACH} --database-url sqlite:data/other.db"));
    assert_eq!(started.code, Some(0), "{started}");
    let second = std::fs::read_to_string(site.0.path("data/admin-token")).unwrap();
    assert_ne!(first, second);
    let kept: Vec<_> = std::fs::read_dir(site.0.path("data"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            name.starts_with("admin-token.")
        })
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(std::fs::read_to_string(&kept[0]).unwrap(), first);
    assert_eq!(
        std::fs::metadata(&kept[0]).unwrap().permissions().mode() & 0o777,
        0o600
    );
    let log = std::fs::read_to_string(site.0.path("data/serve.log")).unwrap();
    assert!(
        log.contains("an administrator's token that was already there was renamed"),
        "{log}"
    );
}

#[test]
fn a_hang_up_does_not_end_a_server_without_a_terminal() {
    let site = Site::new();
    let server = site.start();
    let pid = Pid::from_child(&server.child.0);
    kill_process(pid, Signal::HUP).unwrap();
    let deadline = Instant::now() + DEADLINE;
    while !server.log.lock().unwrap().contains("ignored SIGHUP") {
        assert!(Instant::now() < deadline, "nothing is said of the signal");
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(site.run(&["healthcheck"]).code, Some(0));
    assert_eq!(server.stop().code, Some(0));
}

/// script(1) runs the server on a terminal, on which its log is text.
#[test]
fn a_hang_up_of_its_terminal_stops_a_server_as_sigterm_does() {
    let site = Site::new();
    let line = format!("{} {}", program(), SERVE_ON_FREE_PORTS.join(" "));
    let mut command = site.command(
        Path::new("script"),
        &["--quiet", "--flush", "--return", "--command", &line, "seen"],
    );
    command.env("PATH", "/usr/bin:/bin");
    let mut terminal = Background::start(command);
    let seen = || std::fs::read_to_string(site.path("seen")).unwrap_or_default();
    terminal.wait_until("ready", |_| seen().contains("firman is ready"));
    assert!(!seen().contains(r#"{"timestamp""#), "{}", seen());
    assert!(
        seen().contains("first start: created these files"),
        "{}",
        seen()
    );

    let serving = std::fs::read_to_string(site.path("data/serving.json")).unwrap();
    let serving: Value = serde_json::from_str(&serving).unwrap();
    let pid = i32::try_from(serving["pid"].as_i64().unwrap()).unwrap();
    kill_process(Pid::from_raw(pid).unwrap(), Signal::HUP).unwrap();

    assert_eq!(terminal.ended().code, Some(0), "{}", seen());
    assert!(
        seen().contains("stopping: finishing accepted requests"),
        "{}",
        seen()
    );
    assert!(seen().contains("stopped"), "{}", seen());
}
