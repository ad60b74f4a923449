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

    /// `firman exec` with further options, and the command among them.
    fn exec(&self, options: &[&str]) -> Command {
        let issuer = format!("http://{}", self.server.public);
        let mut args = vec!["exec", "--issuer", &issuer, "--client-id", MAILER];
        args.extend(["--key", "mailer.pem", "--resource", MAIL]);
        args.extend(["--rule", RULE, "--organization", ORGANIZATION]);
        args.extend(["--service-account", SERVICE_ACCOUNT]);
        args.extend(options);
        self.site.command(Path::new(program()), &args)
    }

    /// Runs a shell script under `firman exec` with further options.
    fn command(&self, options: &[&str], script: &str) -> Command {
        let mut args = options.to_vec();
        args.extend(["--", "/bin/sh", "-c", script, "sh", "-o", "json"]);
        self.exec(&args)
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
fn workspace_and_base_url_are_passed_on_when_set() {
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
        .with("ANTHROPIC_CONFIG_DIR", "/leftover")
        .with("CLAUDE_CODE_OAUTH_TOKEN", "leftover-login")
        .with("CLAUDE_CODE_USE_BEDROCK", "1")
        .with(
            "ANTHROPIC_CUSTOM_HEADERS",
            "x-trace: 7\nX-API-Key : leftover-header\nauthorization:Bearer leftover-header",
        )
        .with("FIRMAN_ADMIN_TOKEN", "secret")
        .with("ANTHROPIC_ADMIN_TOKEN", "org-admin")
        .with("ANTHROPIC_ADMIN_TOKEN_FILE", "org-admin-file")
        .with("UNRELATED", "stays");
    let outcome = Ready::at(site).run(&[], "export -p");
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let removed =
        "from the command's environment: it would override the federation, or belongs to another";
    let mut expected: String = [
        "ANTHROPIC_API_KEY",
        "ANTHROPIC_AUTH_TOKEN",
        "ANTHROPIC_CONFIG_DIR",
        "ANTHROPIC_PROFILE",
        "CLAUDE_CODE_OAUTH_TOKEN",
    ]
    .map(|name| format!("firman: removed `{name}` {removed}\n"))
    .concat();
    expected.push_str("firman: removed `x-api-key` and `authorization` from `ANTHROPIC_CUSTOM_HEADERS` in the command's environment: they would override the federation\n");
    expected.push_str("firman: `CLAUDE_CODE_USE_BEDROCK` is set: Claude Code uses another service and not this agent's identity\n");
    assert_eq!(outcome.stderr, expected);
    for gone in [
        "API_KEY",
        "AUTH_TOKEN",
        "PROFILE",
        "FIRMAN_",
        "leftover",
        "ADMIN_TOKEN",
    ] {
        assert!(!outcome.stdout.contains(gone), "{gone}: {outcome}");
    }
    for stays in [
        "UNRELATED='stays'",
        "CLAUDE_CODE_USE_BEDROCK='1'",
        "ANTHROPIC_CUSTOM_HEADERS='x-trace: 7'",
    ] {
        assert!(outcome.stdout.contains(stays), "{stays}: {outcome}");
    }
}

/// The ids of the tokens that a script printed, each once.
fn distinct_ids(outcome: &Outcome) -> std::collections::BTreeSet<String> {
    let id = |token: &str| decoded_part(token, 1)["jti"].as_str().unwrap().to_owned();
    outcome.stdout.lines().map(id).collect()
}

#[test]
fn each_read_of_the_command_gets_a_token_of_its_own() {
    let ready = Ready::start();
    let script = "PATH=/usr/bin:/bin
        for _ in $(seq 50); do cat $ANTHROPIC_IDENTITY_TOKEN_FILE; done";
    let outcome = ready.run(&[], script);
    assert_eq!(outcome.stderr, "", "{outcome}");
    assert_eq!(distinct_ids(&outcome).len(), 50, "{outcome}");
    ready.assert_nothing_is_left();
}

#[test]
fn a_reader_in_a_loop_is_slowed_down_to_the_limit() {
    let ready = Ready::start();
    let start = Instant::now();
    let script = "PATH=/usr/bin:/bin
        for _ in $(seq 70); do cat $ANTHROPIC_IDENTITY_TOKEN_FILE; done";
    let outcome = ready.run(&[], script);
    assert_eq!(distinct_ids(&outcome).len(), 70, "{outcome}");
    // Sixty at once, of which one is a spare, and two a second.
    assert!(start.elapsed() >= Duration::from_secs(4), "{outcome}");
}

#[test]
fn a_reader_waits_while_the_issuer_is_away() {
    let ready = Ready::start();
    let public = ready.server.public.to_string();
    let script = "PATH=/usr/bin:/bin
        echo ready; read line
        for _ in 1 2 3; do cat $ANTHROPIC_IDENTITY_TOKEN_FILE; done";
    let mut command = ready.command(&[], script);
    command.stdin(Stdio::piped());
    let mut running = Background::start(command);
    running.wait_until("it runs", |running| running.stdout() == "ready\n");
    let Ready { site, server } = ready;
    server.stop();
    let mut stdin = running.child.0.stdin.take().unwrap();
    stdin.write_all(b"go\n").unwrap();
    running.wait_until("it says so", |running| {
        running.stderr().contains("error: cannot reach `http://")
    });
    let server = site.start_on(&public);
    let mut outcome = running.ended();
    outcome.stdout = outcome.stdout.replace("ready\n", "");
    assert_eq!(distinct_ids(&outcome).len(), 3, "{outcome}");
    server.stop();
}

#[test]
fn a_pipe_that_cannot_be_replaced_ends_the_tokens_and_neither_the_command_nor_a_reader_in_a_wait() {
    let ready = Ready::start();
    // The next pipe cannot take the place of the one that is read.
    let script = "PATH=/usr/bin:/bin
        exec 3<$ANTHROPIC_IDENTITY_TOKEN_FILE; cat <&3 >/dev/null
        until rm $ANTHROPIC_IDENTITY_TOKEN_FILE.next; do :; done 2>/dev/null
        mkdir $ANTHROPIC_IDENTITY_TOKEN_FILE.next
        cat $ANTHROPIC_IDENTITY_TOKEN_FILE
        until ! [ -e $ANTHROPIC_IDENTITY_TOKEN_FILE ]; do sleep 0.02; done
        cat $ANTHROPIC_IDENTITY_TOKEN_FILE 2>/dev/null || echo no file
        echo still here";
    let outcome = ready.run(&[], script);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        outcome.stdout.ends_with("no file\nstill here\n"),
        "{outcome}"
    );
    assert!(
        outcome
            .stderr
            .contains("hint: restart the command: it gets no more tokens"),
        "{outcome}"
    );
    ready.assert_nothing_is_left();
}

#[test]
fn a_plain_file_serves_a_program_that_reads_no_pipe() {
    let ready = Ready::start();
    let script = "PATH=/usr/bin:/bin
        file=$ANTHROPIC_IDENTITY_TOKEN_FILE
        first=$(stat -c %i $file); stat -c '%F %a' $file; cat $file
        until [ -f $file ] && [ $(stat -c %i $file) != $first ]; do sleep 0.02; done
        cat $file";
    let mut outcome = ready.run(&["--plain-file"], script);
    outcome.stdout = outcome.stdout.replace("regular file 600\n", "");
    assert_eq!(distinct_ids(&outcome).len(), 2, "{outcome}");
    ready.assert_nothing_is_left();
}

impl Ready {
    /// Runs a program of that name, which prints its environment and the profile in it.
    fn run_named(&self, name: &str, options: &[&str]) -> Outcome {
        let script = "#!/bin/sh
            PATH=/usr/bin:/bin
            echo ${ANTHROPIC_FEDERATION_RULE_ID-none} ${ANTHROPIC_IDENTITY_TOKEN_FILE-none}
            echo ${ANTHROPIC_WORKSPACE_ID-none} ${ANTHROPIC_BASE_URL-none}
            cd $ANTHROPIC_CONFIG_DIR || exit
            stat -c %a . configs credentials configs/$ANTHROPIC_PROFILE.json | tr '\\n' ' '
            echo; cat configs/$ANTHROPIC_PROFILE.json";
        self.site.write(name, script);
        let path = self.site.path(name);
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
        std::fs::set_permissions(&path, mode).unwrap();
        let mut args: Vec<&str> = options.to_vec();
        args.extend(["--", path.to_str().unwrap()]);
        self.site.outcome(self.exec(&args))
    }
}

#[test]
fn ant_and_php_get_a_profile_with_the_base_url_instead_of_the_variables() {
    let ready = Ready::start();
    let options = ["--workspace", "default", "--base-url", "http://127.0.0.1:9"];
    for (name, why) in [
        ("ant", "would exchange a token in each process"),
        ("php", "would send the token to https://api.anthropic.com"),
    ] {
        let outcome = ready.run_named(name, &options);
        let said = format!(
            "firman: `{name}` {why}: it gets a profile (`ANTHROPIC_PROFILE`) instead of the federation's variables\n"
        );
        assert_eq!((outcome.code, &outcome.stderr), (Some(0), &said));
        let lines: Vec<&str> = outcome.stdout.splitn(4, '\n').collect();
        assert_eq!(
            lines[..3],
            ["none none", "none http://127.0.0.1:9", "700 700 700 600 "]
        );
        let mut profile: Value = serde_json::from_str(lines[3]).unwrap();
        let path = profile["authentication"]["identity_token"]["path"].take();
        assert!(path.as_str().unwrap().ends_with("/identity-token"));
        assert_eq!(
            profile,
            json!({
                "version": "1.0",
                "authentication": {
                    "type": "oidc_federation", "federation_rule_id": RULE,
                    "service_account_id": SERVICE_ACCOUNT,
                    "identity_token": { "source": "file", "path": null },
                },
                "organization_id": ORGANIZATION, "workspace_id": "default",
                "base_url": "http://127.0.0.1:9",
            })
        );
        ready.assert_nothing_is_left();
    }
}

#[test]
fn a_script_gets_a_profile_when_asked_and_the_base_url_of_the_environment() {
    let site = Site::new().with("ANTHROPIC_BASE_URL", "http://127.0.0.1:8");
    let ready = Ready::at(site);
    let outcome = ready.run_named("antics", &["--profile"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    assert!(
        outcome
            .stdout
            .contains("\"base_url\": \"http://127.0.0.1:8\""),
        "{outcome}"
    );
    assert!(!outcome.stdout.contains("workspace_id"), "{outcome}");
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
            (
                Some(code),
                format!("error: cannot run `{name}`: {reason}\n")
            )
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
            "name `--rule`, `--organization` and `--service-account`, or record them once with `firman claude link mailer` and run this where the admin API is"
        ),
        "{outcome}"
    );
}
