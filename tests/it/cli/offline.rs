//! Command lines that end before any server is asked, or because there is none.

use std::net::TcpListener;
use std::process::{Command, Stdio};

use insta::assert_snapshot;

use super::Shell;

/// `{"alg":"ES256","kid":"k1","typ":"JWT"}` and claims of an agent, with an invalid signature.
const TOKEN: &str = "eyJhbGciOiJFUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0.eyJpc3MiOiJodHRwczovL2lkLmV4YW1wbGUuY29tIiwic3ViIjoiYWdlbnQ6bWFpbGVyIiwiYXVkIjpbImEiLCJiIl0sImp0aSI6ImoxIiwib3duZXIiOiLigK54In0.AAAA";

/// An address without a listener: bound once, so that it was free, and released again.
fn no_listener() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    format!("http://{}", listener.local_addr().expect("its address"))
}

#[test]
fn an_unknown_command_is_a_usage_error() {
    assert_snapshot!(Shell::new().run("agnet list"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: unrecognized subcommand 'agnet'

      tip: a similar subcommand exists: 'agent'

    Usage: firman [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
}

#[test]
fn a_usage_error_is_json_when_json_was_asked_for() {
    assert_snapshot!(Shell::new().run("agent add mailer --output json"), @r#"
    exit code 2
    ----- stdout
    ----- stderr
    {"error":{"detail":"the following required arguments were not provided: --owner <OWNER>","kind":"usage"}}
    "#);
}

#[test]
fn a_name_that_is_none_is_refused_before_anything_is_sent() {
    assert_snapshot!(Shell::new().run("agent show .."), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: invalid value '..' for '<NAME>': has a label that is empty or starts or ends with `-`; a name consists of labels of a-z, 0-9 and `-` joined by `.`, such as `team-a.triage-bot`

    For more information, try '--help'.
    ");
}

#[test]
fn an_edit_without_a_change_is_a_usage_error() {
    let shell = Shell::new().with("FIRMAN_ADMIN_TOKEN", "t");
    assert_snapshot!(shell.run("agent edit mailer"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: nothing to change: name at least one option
    hint: firman agent edit --help
    ");
}

#[test]
fn a_duration_without_a_known_unit_is_a_usage_error() {
    assert_snapshot!(Shell::new().run("credential add mailer --secret --expires-in 3w"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: invalid value '3w' for '--expires-in <DURATION>': expected seconds, or a whole number and a unit: `90s`, `15m`, `24h` or `7d`

    For more information, try '--help'.
    ");
}

#[test]
fn two_kinds_of_credential_at_once_are_a_usage_error() {
    assert_snapshot!(Shell::new().run("agent add mailer --owner ops --secret --generate-key k.pem"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: the argument '--secret' cannot be used with '--generate-key <FILE>'

    Usage: firman agent add --owner <OWNER> --secret <NAME>

    For more information, try '--help'.
    ");
}

#[test]
fn without_a_terminal_nothing_is_removed_unless_asked_for_with_yes() {
    let shell = Shell::new().with("FIRMAN_ADMIN_TOKEN", "t");
    assert_snapshot!(shell.run("agent remove mailer"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: cannot ask for a confirmation without a terminal: Remove agent `mailer`? Its credentials end at once and its name is never used again.
    hint: add `--yes` to confirm
    ");
}

#[test]
fn a_missing_token_names_every_place_that_was_tried() {
    assert_snapshot!(Shell::new().run("agent list"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: no admin token: `FIRMAN_ADMIN_TOKEN` and `FIRMAN_ADMIN_TOKEN_FILE` are not set, and `data/admin-token` cannot be read (no such file or directory)
    hint: run this in the directory where `firman serve` runs, or name its data directory with `--data-dir`
    ");
}

#[test]
fn a_token_file_that_is_named_and_missing_is_an_error() {
    let shell = Shell::new().with("FIRMAN_ADMIN_TOKEN_FILE", "no-such-file");
    assert_snapshot!(shell.run("agent list"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: environment variable `FIRMAN_ADMIN_TOKEN_FILE`: cannot read `no-such-file`: no such file or directory
    hint: create the file, or correct the path
    ");
}

#[test]
fn an_issuer_that_does_not_run_is_said_with_its_address() {
    let url = no_listener();
    let shell = Shell::new()
        .with("FIRMAN_ADMIN_TOKEN", "t")
        .with("FIRMAN_URL", &url);
    assert_snapshot!(shell.run("agent list").replace(&url, "[URL]"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot reach firman at `[URL]` (connection refused)
    hint: start the server with `firman serve`, or set its address with `--url` or `FIRMAN_URL`
    ");
}

#[test]
fn an_issuer_that_does_not_run_is_an_object_with_json() {
    let url = no_listener();
    let shell = Shell::new()
        .with("FIRMAN_ADMIN_TOKEN", "t")
        .with("FIRMAN_URL", &url);
    assert_snapshot!(shell.run("agent list -o json").replace(&url, "[URL]"), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"cannot reach firman at `[URL]` (connection refused)","hint":"start the server with `firman serve`, or set its address with `--url` or `FIRMAN_URL`","kind":"unreachable"}}
    "#);
}

#[test]
fn the_admin_token_is_not_sent_in_clear_text_to_another_machine() {
    let shell = Shell::new().with("FIRMAN_ADMIN_TOKEN", "t");
    assert_snapshot!(shell.run("agent list --url http://192.0.2.1:8081"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `http://192.0.2.1:8081/` is plain HTTP to another machine: others on the network can read the credential
    hint: use https, or add `--insecure-http` in a network that you trust
    ");
}

#[test]
fn a_new_key_file_is_removed_again_when_the_registration_fails() {
    let url = no_listener();
    let shell = Shell::new()
        .with("FIRMAN_ADMIN_TOKEN", "t")
        .with("FIRMAN_URL", &url);
    let outcome = shell.run("agent add mailer --owner ops --generate-key mailer.pem");
    assert!(outcome.starts_with("exit code 1\n"), "{outcome}");
    assert!(!shell.path("mailer.pem").exists());
}

#[test]
fn an_existing_key_file_is_not_overwritten() {
    let shell = Shell::new().with("FIRMAN_ADMIN_TOKEN", "t");
    shell.write("mailer.pem", "precious");
    assert_snapshot!(shell.run("agent add mailer --owner ops --generate-key mailer.pem"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `mailer.pem` already exists
    hint: name another file, or move that one away
    ");
    assert_eq!(
        std::fs::read_to_string(shell.path("mailer.pem")).unwrap_or_default(),
        "precious"
    );
}

#[test]
fn a_public_key_file_that_is_missing_or_no_key_is_an_error() {
    let shell = Shell::new().with("FIRMAN_ADMIN_TOKEN", "t");
    shell.write("oct.json", r#"{"kty":"oct","k":"AAAA"}"#);
    assert_snapshot!(shell.run("credential add mailer --public-key no.pem"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot read `no.pem`: no such file or directory
    ");
    assert_snapshot!(shell.run("credential add mailer --public-key oct.json"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot use `oct.json`: `kty` `oct` is a shared secret, not a public key
    hint: use an EC, RSA or OKP key
    ");
}

#[test]
fn a_health_check_without_a_server_fails() {
    let url = no_listener();
    assert_snapshot!(Shell::new().run(&format!("healthcheck --url {url}")).replace(&url, "[URL]"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot reach firman at `[URL]/healthz` (connection refused)
    hint: firman serve --detach
    ");
}

#[test]
fn a_token_is_not_verified_without_issuer_and_audience() {
    assert_snapshot!(Shell::new().run("token verify x.y.z"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: the following required arguments were not provided:
      --issuer <URL>
      --audience <AUDIENCE>

    Usage: firman token verify --issuer <URL> --audience <AUDIENCE> <FILE>

    For more information, try '--help'.
    ");
}

#[test]
fn an_inspected_token_is_shown_with_a_warning() {
    assert_snapshot!(Shell::new().run(&format!("token inspect {TOKEN}")), @r#"
    exit code 0
    ----- stdout
    alg  ES256
    kid  k1
    typ  JWT

    aud    ["a","b"]
    iss    https://id.example.com
    jti    j1
    owner  \u{202e}x
    sub    agent:mailer
    ----- stderr
    NOT VERIFIED: anyone can write a token with this content. To check it, use `firman token verify`.
    "#);
}

#[test]
fn an_inspected_token_is_an_object_that_says_it_is_not_verified() {
    assert_snapshot!(Shell::new().run(&format!("token inspect {TOKEN} --output json")), @r#"
    exit code 0
    ----- stdout
    {
      "claims": {
        "aud": [
          "a",
          "b"
        ],
        "iss": "https://id.example.com",
        "jti": "j1",
        "owner": "\u202ex",
        "sub": "agent:mailer"
      },
      "header": {
        "alg": "ES256",
        "kid": "k1",
        "typ": "JWT"
      },
      "verified": false
    }
    ----- stderr
    NOT VERIFIED: anyone can write a token with this content. To check it, use `firman token verify`.
    "#);
}

#[test]
fn what_is_not_a_token_is_reported_with_the_reason() {
    assert_snapshot!(Shell::new().run("token inspect eyJh.hello"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: this is not a JWT: a JWT has three parts joined by dots
    ");
}

#[test]
fn a_simulator_on_a_port_in_use_names_its_own_option() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let told = Shell::new().run(&format!("claude simulate --listen {address}"));
    assert_snapshot!(told.replace(&address, "[ADDRESS]"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot listen on `[ADDRESS]`: address already in use
    hint: choose another address with `--listen`
    ");
}

#[test]
fn what_cannot_be_a_token_is_a_file() {
    for name in ["nofile.jwt", "hello", "no/such.file.jwt", "a b.c.d"] {
        for command in [
            "token inspect",
            "token verify --issuer http://127.0.0.1:9 --audience a",
        ] {
            let shell = Shell::new();
            let told = shell.run(&format!("{command} '{name}'"));
            let expected = format!("error: cannot read `{name}`: no such file or directory\n");
            assert!(told.ends_with(&expected), "{command}: {told}");
        }
    }
}

#[test]
fn a_secret_file_that_is_missing_is_an_error() {
    assert_snapshot!(Shell::new().run("token get --issuer http://127.0.0.1:9 --client-id mailer --secret-file no"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot read `no`: no such file or directory
    ");
}

#[test]
fn a_client_secret_is_not_sent_in_clear_text_to_another_machine() {
    let shell = Shell::new();
    shell.write("secret", super::SECRET);
    assert_snapshot!(shell.run("token get --issuer http://id.example.com --client-id mailer --secret-file secret"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `http://id.example.com/` is plain HTTP to another machine: others on the network can read the credential
    hint: use https, or add `--insecure-http` in a network that you trust
    ");
}

#[test]
fn completions_are_made_for_the_usual_shells() {
    for shell in ["bash", "zsh", "fish"] {
        let outcome = Shell::new().run(&format!("completions {shell}"));
        assert!(outcome.starts_with("exit code 0\n"), "{outcome}");
        assert!(outcome.contains("generate-key"), "{shell}");
    }
}

#[test]
fn manual_pages_are_written_into_a_directory() {
    let shell = Shell::new();
    let outcome = shell.run("man --dir pages");
    assert_snapshot!(outcome, @r"
    exit code 0
    ----- stdout
    ----- stderr
    Wrote the manual pages into pages
    ");
    assert!(shell.path("pages/firman-agent-add.1").exists());
}

#[test]
fn a_reader_that_has_read_enough_is_not_an_error() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_firman"))
        .args(["completions", "bash"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
}
