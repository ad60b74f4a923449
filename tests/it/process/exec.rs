//! `firman exec`: the command finds a token where Claude's SDKs look for one, and is otherwise as alone
//! as without it.

use firman::testing::decoded_part;

use super::*;

const RULE: &str = "fdrl_01Test";
const ORGANIZATION: &str = "00000000-0000-4000-8000-000000000001";
const SERVICE_ACCOUNT: &str = "svac_01Test";

/// A site with an issuer and an agent whose key is in a file.
struct Ready {
    site: Site,
    server: Server,
}

impl Ready {
    fn start() -> Self {
        Self::at(Site::new())
    }

    fn at(site: Site) -> Self {
        // Temporary files are where the test can look.
        let temporary = site.path("tmp");
        std::fs::create_dir(&temporary).unwrap();
        let site = site.with("TMPDIR", temporary.to_str().unwrap());
        let server = site.start();
        server.register_mailer();
        let key = TestKey::Es256.signing_key().to_pkcs8_pem().unwrap();
        site.write("mailer.pem", key.as_bytes());
        Self { site, server }
    }

    /// Runs a shell script under `firman exec` with further options.
    fn command(&self, options: &[&str], script: &str) -> Command {
        let issuer = format!("http://{}", self.server.public);
        let mut args = vec!["exec", "--issuer", &issuer, "--client-id", MAILER];
        args.extend(["--key", "mailer.pem", "--resource", MAIL]);
        args.extend(["--rule", RULE, "--organization", ORGANIZATION]);
        args.extend(["--service-account", SERVICE_ACCOUNT]);
        args.extend(options);
        args.extend(["--", "/bin/sh", "-c", script, "sh", "-o", "json"]);
        self.site.command(Path::new(program()), &args)
    }

    fn run(&self, options: &[&str], script: &str) -> Outcome {
        self.site.outcome(self.command(options, script))
    }

    fn assert_nothing_is_left(&self) {
        let left: Vec<_> = std::fs::read_dir(self.site.path("tmp")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

#[test]
fn the_command_gets_the_variables_a_private_token_and_its_own_arguments() {
    let ready = Ready::start();
    let script = "
        echo $ANTHROPIC_FEDERATION_RULE_ID $ANTHROPIC_ORGANIZATION_ID $ANTHROPIC_SERVICE_ACCOUNT_ID
        echo ${ANTHROPIC_WORKSPACE_ID-none} ${ANTHROPIC_BASE_URL-none} $@
        PATH=/usr/bin:/bin
        stat -c %a $ANTHROPIC_IDENTITY_TOKEN_FILE ${ANTHROPIC_IDENTITY_TOKEN_FILE%/*}
        cat $ANTHROPIC_IDENTITY_TOKEN_FILE";
    let outcome = ready.run(&[], script);
    assert_eq!(
        (outcome.code, outcome.stderr.as_str()),
        (Some(0), ""),
        "{outcome}"
    );
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(
        lines[..4],
        [
            &format!("{RULE} {ORGANIZATION} {SERVICE_ACCOUNT}"),
            "none none -o json",
            "600",
            "700"
        ]
    );
    let claims = decoded_part(lines[4], 1);
    assert_eq!(
        (&claims["sub"], &claims["aud"]),
        (&json!("agent:mailer"), &json!(MAIL))
    );
    ready.assert_nothing_is_left();
}

#[test]
fn workspace_and_base_url_are_passed_on_when_given() {
    let ready = Ready::start();
    let options = ["--workspace", "default", "--base-url", "http://127.0.0.1:9"];
    let outcome = ready.run(&options, "echo $ANTHROPIC_WORKSPACE_ID $ANTHROPIC_BASE_URL");
    assert_eq!(outcome.stdout, "default http://127.0.0.1:9\n", "{outcome}");
}

#[test]
fn what_would_win_over_the_federation_is_removed_and_said() {
    let site = Site::new()
        .with("ANTHROPIC_API_KEY", "leftover-key")
        .with("ANTHROPIC_AUTH_TOKEN", "")
        .with("ANTHROPIC_PROFILE", "work")
        .with("FIRMAN_ADMIN_TOKEN", "secret")
        .with("ANTHROPIC_ADMIN_TOKEN", "org-admin")
        .with("ANTHROPIC_ADMIN_TOKEN_FILE", "org-admin-file")
        .with("UNRELATED", "stays");
    let outcome = Ready::at(site).run(&[], "export -p");
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let removed =
        "from the command's environment: it would win over the federation, or belong to another";
    let expected: String = [
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_PROFILE",
    ]
    .map(|name| format!("firman: removed {name} {removed}\n"))
    .concat();
    assert_eq!(outcome.stderr, expected);
    for gone in [
        "API_KEY",
        "AUTH_TOKEN",
        "PROFILE",
        "FIRMAN_",
        "leftover-key",
        "ADMIN_TOKEN",
    ] {
        assert!(!outcome.stdout.contains(gone), "{gone}: {outcome}");
    }
    assert!(outcome.stdout.contains("UNRELATED='stays'"), "{outcome}");
}

#[test]
fn each_read_of_the_command_gets_another_token() {
    let ready = Ready::start();
    let script = "PATH=/usr/bin:/bin
        first=$(cat $ANTHROPIC_IDENTITY_TOKEN_FILE)
        echo $first
        for _ in $(seq 600); do
            second=$(cat $ANTHROPIC_IDENTITY_TOKEN_FILE)
            if [ \"$second\" != \"$first\" ]; then echo $second; exit; fi
            sleep 0.1
        done";
    let outcome = ready.run(&[], script);
    let ids: Vec<Value> = outcome
        .stdout
        .lines()
        .map(|token| decoded_part(token, 1)["jti"].clone())
        .collect();
    assert_eq!(ids.len(), 2, "{outcome}");
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn the_exit_code_is_the_commands() {
    let ready = Ready::start();
    for (script, code) in [("exit 7", 7), ("kill -KILL $$", 137), ("exit 255", 255)] {
        let outcome = ready.run(&[], script);
        assert_eq!(
            (
                outcome.code,
                outcome.stdout.as_str(),
                outcome.stderr.as_str()
            ),
            (Some(code), "", ""),
            "{script}"
        );
        ready.assert_nothing_is_left();
    }
}

#[test]
fn signals_reach_the_command_and_no_token_stays() {
    let ready = Ready::start();
    // A shell heeds a signal between two commands.
    let script = "for name in TERM INT HUP QUIT USR1 USR2; do trap \"echo $name\" $name; done
        trap 'echo TERM; exit 9' TERM
        echo ready
        while :; do /bin/sleep 0.02; done";
    let mut running = Background::start(ready.command(&[], script));
    running.wait_until("it runs", |running| running.stdout() == "ready\n");
    let mut expected = "ready\n".to_owned();
    for (signal, name) in [
        (Signal::HUP, "HUP"),
        (Signal::INT, "INT"),
        (Signal::QUIT, "QUIT"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
    ] {
        running.signal(signal);
        expected.push_str(&format!("{name}\n"));
        running.wait_until(name, |running| running.stdout() == expected);
    }
    running.signal(Signal::TERM);
    let outcome = running.ended();
    assert_eq!(
        (outcome.code, outcome.stdout, outcome.stderr.as_str()),
        (Some(9), format!("{expected}TERM\n"), "")
    );
    ready.assert_nothing_is_left();
}

#[test]
fn a_command_that_does_not_mind_a_signal_ends_by_it() {
    let ready = Ready::start();
    let script = "echo ready; exec /bin/sleep 600";
    let mut running = Background::start(ready.command(&[], script));
    running.wait_until("it runs", |running| running.stdout() == "ready\n");
    running.signal(Signal::TERM);
    assert_eq!(running.ended().code, Some(143));
    ready.assert_nothing_is_left();
}

#[test]
fn stdin_is_the_commands() {
    let ready = Ready::start();
    let mut command = ready.command(&[], "read line; echo got $line");
    command.stdin(Stdio::piped());
    let mut running = Background::start(command);
    let mut stdin = running.child.0.stdin.take().unwrap();
    stdin.write_all(b"hello\n").unwrap();
    drop(stdin);
    assert_eq!(running.ended().stdout, "got hello\n");
}

#[test]
fn a_command_that_is_not_there_is_said_as_by_a_shell() {
    let ready = Ready::start();
    let issuer = format!("http://{}", ready.server.public);
    let mut args = vec!["exec", "--issuer", &issuer, "--agent", MAILER];
    args.extend(["--key", "mailer.pem", "--resource", MAIL, "--rule", RULE]);
    args.extend([
        "--organization",
        ORGANIZATION,
        "--service-account",
        SERVICE_ACCOUNT,
    ]);
    for (name, code, reason) in [
        ("no-such-program", 127, "no such file or directory"),
        ("./mailer.pem", 126, "permission denied"),
    ] {
        let mut args = args.clone();
        args.extend(["--", name]);
        let outcome = ready.site.run(&args);
        assert_eq!(
            (outcome.code, outcome.stderr),
            (Some(code), format!("error: cannot run {name}: {reason}\n"))
        );
        ready.assert_nothing_is_left();
    }
}

#[test]
fn without_a_token_nothing_is_run() {
    let ready = Ready::start();
    let reply = ready
        .server
        .admin("POST", &format!("/agents/{MAILER}/suspend"), &Value::Null);
    assert_eq!(reply.unwrap().status, 200);
    let outcome = ready.run(&[], "echo ran");
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(1), ""),
        "{outcome}"
    );
    assert!(outcome.stderr.contains("(invalid_client)"), "{outcome}");
    ready.assert_nothing_is_left();
}

#[test]
fn without_ids_and_without_a_link_it_says_what_to_do() {
    let ready = Ready::start();
    let args = [
        "exec",
        "--agent",
        MAILER,
        "--key",
        "mailer.pem",
        "--",
        "/bin/true",
    ];
    let outcome = ready.site.run(&args);
    assert_eq!(
        (outcome.code, outcome.stdout.as_str()),
        (Some(1), ""),
        "{outcome}"
    );
    assert!(
        outcome.stderr.contains(
            "Name --rule, --organization and --service-account, or run this where the admin API is, once the ids are recorded with: firman claude link mailer"
        ),
        "{outcome}"
    );
}
