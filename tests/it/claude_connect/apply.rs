//! `claude connect --apply`.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::claude::{Claude, Fault};
use super::{Live, ORGANIZATION, PRIVATE_ISSUER, PUBLIC_ISSUER};

const TOKEN: (&str, &str) = ("ANTHROPIC_ADMIN_TOKEN", "sk-ant-oat01-good");
const FAMILIES: [&str; 3] = ["service_accounts", "federation_issuers", "federation_rules"];

/// The command that sets the mailer up at `claude`.
fn line(claude: &Claude) -> String {
    format!(
        "claude connect --agent mailer --apply --yes --organization {ORGANIZATION} --base-url {}",
        claude.url
    )
}

/// The outcome without the stand-in's address.
fn applied(live: &Live, claude: &Claude, options: &str) -> String {
    let outcome = live.run(&format!("{}{options}", line(claude)));
    outcome.replace(&claude.url, "[CLAUDE]")
}

/// The link that is stored with the mailer.
fn link(live: &Live) -> Value {
    let links = live.json("claude links");
    links["items"]
        .as_array()
        .expect("links")
        .first()
        .cloned()
        .unwrap_or_default()
}

#[test]
fn an_api_key_is_refused_and_never_sent_nor_shown() {
    let claude = Claude::start();
    for key in ["sk-ant-admin01-secret", "sk-ant-api03-secret"] {
        let live = Live::with_mailer_and(PUBLIC_ISSUER, &[("ANTHROPIC_ADMIN_TOKEN", key)]);
        let outcome = applied(&live, &claude, "");
        assert!(outcome.starts_with("exit code 2"), "{outcome}");
        assert!(
            outcome.contains("OAuth token with the scope `org:admin`"),
            "{outcome}"
        );
        assert!(!outcome.contains("secret"), "{outcome}");
    }
    assert_eq!(claude.asked(), Vec::<String>::new());
}

#[test]
fn without_a_token_an_organization_or_a_terminal_nothing_is_sent() {
    let claude = Claude::start();
    let live = Live::with_mailer(PUBLIC_ISSUER);
    assert_snapshot!(applied(&live, &claude, ""), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `--apply` requires `ANTHROPIC_ADMIN_TOKEN` or `ANTHROPIC_ADMIN_TOKEN_FILE`
    hint: get a token with `ant auth login --scope org:admin`
    ");
    drop(live);

    let both = [TOKEN, ("ANTHROPIC_ADMIN_TOKEN_FILE", "token")];
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &both);
    assert_snapshot!(applied(&live, &claude, ""), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `ANTHROPIC_ADMIN_TOKEN` is set twice: by environment variable `ANTHROPIC_ADMIN_TOKEN` and by environment variable `ANTHROPIC_ADMIN_TOKEN_FILE`
    hint: remove one of them
    ");
    drop(live);

    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    let unasked = format!(
        "claude connect --agent mailer --apply --base-url {}",
        claude.url
    );
    assert_snapshot!(live.run(&unasked), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `--apply` requires `--organization`
    hint: copy the admin token's organization from the Console: Settings, Organization
    ");
    assert_snapshot!(applied(&live, &claude, " --scope workspace:manage_tunnels"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: Claude does not let an OAuth token make a rule with the scope `workspace:manage_tunnels`
    hint: make it in the Console; `--format console` prints the fields
    ");
    assert_snapshot!(live.run("claude connect --agent mailer --apply --base-url http://10.0.0.5"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `--base-url` `http://10.0.0.5` is plain HTTP to another machine: others on the network can read the token
    hint: use https
    ");
    assert_eq!(claude.asked(), Vec::<String>::new());

    let asks = format!("{unasked} --organization {ORGANIZATION}");
    assert_snapshot!(live.run(&asks).replace(&claude.url, "[CLAUDE]"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    At [CLAUDE], organization 00000000-0000-4000-8000-000000000001:
      create  service account agent-mailer-6894ea70
      create  issuer firman-id-example-com-de96f5b6
      create  rule agent-mailer-6894ea70
    error: cannot ask for a confirmation without a terminal: Make these 3 changes?
    hint: add `--yes` to confirm
    ");
    assert_eq!(claude.changes(), Vec::<String>::new());
    assert_eq!(link(&live), Value::Null);
}

#[test]
fn a_token_that_claude_does_not_take_is_said_so() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(
        PUBLIC_ISSUER,
        &[("ANTHROPIC_ADMIN_TOKEN", "sk-ant-oat01-old")],
    );
    assert_snapshot!(applied(&live, &claude, ""), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot list the service accounts: Claude answered 401 authentication_error: Authentication failed (request req_01)
    hint: get a token with `ant auth login --scope org:admin`
    ");
}

#[test]
fn applying_makes_three_objects_and_stores_their_ids_and_again_does_nothing() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[("ANTHROPIC_ADMIN_TOKEN_FILE", "token")]);
    live.site.write("token", "sk-ant-oat01-good\n");
    assert_snapshot!(applied(&live, &claude, ""), @r"
    exit code 0
    ----- stdout
    rule             fdrl_01
    service account  svac_01
    issuer           fdis_01

    export ANTHROPIC_FEDERATION_RULE_ID=fdrl_01
    export ANTHROPIC_ORGANIZATION_ID=00000000-0000-4000-8000-000000000001
    export ANTHROPIC_SERVICE_ACCOUNT_ID=svac_01
    export ANTHROPIC_IDENTITY_TOKEN_FILE=/run/firman/claude-token
    export ANTHROPIC_BASE_URL=[CLAUDE]
    ----- stderr
    At [CLAUDE], organization 00000000-0000-4000-8000-000000000001:
      create  service account agent-mailer-6894ea70
      create  issuer firman-id-example-com-de96f5b6
      create  rule agent-mailer-6894ea70
    created the service account `agent-mailer-6894ea70` (`svac_01`)
    created the issuer `firman-id-example-com-de96f5b6` (`fdis_01`)
    created the rule `agent-mailer-6894ea70` (`fdrl_01`)
    stored the ids with the agent mailer
    Next: firman claude verify --agent mailer --base-url [CLAUDE]
    ");
    assert_snapshot!(claude.changes().join("\n"), @r#"
    POST /v1/organizations/service_accounts {"name":"agent-mailer-6894ea70"}
    POST /v1/organizations/federation_issuers {"check_jti":true,"issuer_url":"https://id.example.com","jwks":{"type":"discovery"},"max_jwt_lifetime_seconds":3600,"name":"firman-id-example-com-de96f5b6"}
    POST /v1/organizations/federation_rules {"issuer_id":"fdis_01","match":{"audience":"https://api.anthropic.com","claims":{"acting_agent":"agent:mailer"},"subject_prefix":"agent:mailer"},"name":"agent-mailer-6894ea70","oauth_scope":"workspace:developer","target":{"service_account_id":"svac_01","type":"service_account"},"token_lifetime_seconds":600,"workspace_id":"default"}
    "#);
    let link = link(&live);
    let ids = [
        "rule_id",
        "service_account_id",
        "issuer_id",
        "organization_id",
        "token_lifetime",
    ];
    assert_eq!(
        ids.map(|name| link[name].clone()),
        [
            json!("fdrl_01"),
            json!("svac_01"),
            json!("fdis_01"),
            json!(ORGANIZATION),
            json!(600)
        ]
    );

    let again = applied(&live, &claude, "");
    let (_, said) = again.split_once("----- stderr\n").expect("stderr");
    assert_snapshot!(said, @r"
    At [CLAUDE], organization 00000000-0000-4000-8000-000000000001:
      keep    service account agent-mailer-6894ea70 (svac_01)
      keep    issuer firman-id-example-com-de96f5b6 (fdis_01)
      keep    rule agent-mailer-6894ea70 (fdrl_01)
    Nothing to change.
    Next: firman claude verify --agent mailer --base-url [CLAUDE]
    ");
    assert_eq!(claude.changes(), Vec::<String>::new());
    assert_eq!(self::link(&live), link);

    // From here on the stored ids say which organization it is.
    let again = live.json(&format!(
        "claude connect --agent mailer --apply --base-url {}",
        claude.url
    ));
    let actions = again["applied"].as_array().expect("steps").iter();
    let actions: Vec<&Value> = actions.map(|step| &step["action"]).collect();
    assert_eq!(actions, ["keep", "keep", "keep"]);
}

#[test]
fn whichever_step_fails_the_same_command_again_completes_it() {
    let whole = Claude::start();
    let live = Live::with_mailer_and(PRIVATE_ISSUER, &[TOKEN]);
    let options = format!(" --from {} --workspace wrkspc_01", live.public());
    applied(&live, &whole, &options);
    let steps = whole.changes().len();
    assert_eq!(steps, 4);
    let stored = link(&live);
    for fault in [Fault::Refused, Fault::AnswerLost] {
        for number in 1..=steps {
            live.json("claude unlink mailer");
            let claude = Claude::start();
            claude.fail_at(number, fault);
            let failed = applied(&live, &claude, &options);
            assert!(
                failed.starts_with("exit code 1"),
                "{number} {fault:?}: {failed}"
            );
            assert_eq!(
                failed.contains("repeat the command; it continues from there"),
                number > 1,
                "{failed}"
            );
            assert_eq!(link(&live), Value::Null);

            let completed = applied(&live, &claude, &options);
            assert!(
                completed.starts_with("exit code 0"),
                "{number} {fault:?}: {completed}"
            );
            for family in FAMILIES {
                assert_eq!(
                    claude.objects(family),
                    whole.objects(family),
                    "{number} {fault:?}"
                );
            }
            let now = link(&live);
            for name in ["rule_id", "service_account_id", "issuer_id", "workspace_id"] {
                assert_eq!(now[name], stored[name], "{number} {fault:?}");
            }
            claude.asked();
            applied(&live, &claude, &options);
            assert_eq!(claude.changes(), Vec::<String>::new(), "{number} {fault:?}");
        }
    }
}

#[test]
fn a_failure_half_way_says_what_was_done() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    claude.fail_at(3, Fault::Refused);
    assert_snapshot!(applied(&live, &claude, ""), @r"
    exit code 1
    ----- stdout
    ----- stderr
    At [CLAUDE], organization 00000000-0000-4000-8000-000000000001:
      create  service account agent-mailer-6894ea70
      create  issuer firman-id-example-com-de96f5b6
      create  rule agent-mailer-6894ea70
    created the service account `agent-mailer-6894ea70` (`svac_01`)
    created the issuer `firman-id-example-com-de96f5b6` (`fdis_01`)
    error: cannot create the rule agent-mailer-6894ea70: Claude answered 529 overloaded_error: Overloaded (request req_01). Done before: created the service account `agent-mailer-6894ea70` (`svac_01`), created the issuer `firman-id-example-com-de96f5b6` (`fdis_01`)
    hint: repeat the command; it continues from there
    ");
}

#[test]
fn ids_that_could_not_be_stored_are_stored_the_next_time() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    let front = front_without_put(live.server.private);
    let line = line(&claude);
    let outcome = live.outcome(&format!("{line} --url {front}"));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let last: Vec<&str> = outcome.stderr.lines().rev().take(2).collect();
    assert_snapshot!(last.join("\n"), @r"
    hint: repeat the command; it continues from there
    error: the server answered with status 503 without an explanation. Done before: created the service account `agent-mailer-6894ea70` (`svac_01`), created the issuer `firman-id-example-com-de96f5b6` (`fdis_01`), created the rule `agent-mailer-6894ea70` (`fdrl_01`)
    ");
    assert_eq!(claude.changes().len(), 3);
    assert_eq!(link(&live), Value::Null);

    let outcome = live.outcome(&line);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(claude.changes(), Vec::<String>::new());
    assert_eq!(link(&live)["rule_id"], "fdrl_01");
}

/// The address of something in front of `server` that answers each PUT with 503.
fn front_without_put(server: SocketAddr) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut client = stream.expect("a connection");
            let mut request = BufReader::new(client.try_clone().expect("a second handle"));
            let mut first = String::new();
            request.read_line(&mut first).expect("the request line");
            if first.starts_with("PUT") {
                let refused = b"HTTP/1.1 503 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
                client.write_all(refused).expect("the answer");
                continue;
            }
            let mut upstream = TcpStream::connect(server).expect("the server");
            // One request a connection, so that each is looked at.
            write!(upstream, "{first}connection: close\r\n").expect("the request");
            let mut sent = upstream.try_clone().expect("a second handle");
            std::thread::spawn(move || std::io::copy(&mut request, &mut sent));
            std::io::copy(&mut upstream, &mut client).expect("the answer");
        }
    });
    url
}

#[test]
fn objects_of_another_owner_are_left_alone() {
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    let rule = |edit: fn(&mut Value)| {
        let claude = Claude::start();
        applied(&live, &claude, "");
        live.json("claude unlink mailer");
        claude.edit("federation_rules", edit);
        claude.asked();
        let outcome = applied(&live, &claude, "");
        assert_eq!(claude.changes(), Vec::<String>::new());
        assert_eq!(link(&live), Value::Null);
        outcome
    };
    assert_snapshot!(rule(|rule| rule["match"]["subject_prefix"] = json!("agent:other")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the subject of the rule `agent-mailer-6894ea70` at Claude (`fdrl_01`) is `agent:other`, not `agent:mailer`
    hint: rename `agent-mailer-6894ea70` in the Console
    ");
    assert_snapshot!(rule(|rule| rule["issuer_id"] = json!("fdis_99")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer of the rule `agent-mailer-6894ea70` at Claude (`fdrl_01`) is `fdis_99`, not `fdis_01`
    hint: rename `agent-mailer-6894ea70` in the Console
    ");

    let claude = Claude::start();
    applied(&live, &claude, "");
    claude.edit("federation_issuers", |issuer| {
        issuer["issuer_url"] = json!("https://other.example.com")
    });
    claude.asked();
    assert_snapshot!(applied(&live, &claude, ""), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer `firman-id-example-com-de96f5b6` at Claude (`fdis_01`) is for `https://other.example.com`, not for `https://id.example.com`
    hint: rename `firman-id-example-com-de96f5b6` in the Console
    ");
    assert_eq!(claude.changes(), Vec::<String>::new());
}

#[test]
fn a_rule_that_was_widened_is_narrowed_again() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    applied(&live, &claude, "");
    let rules = claude.objects("federation_rules");
    claude.edit("federation_rules", |rule| {
        rule["match"] = json!({ "subject_prefix": "agent:mailer" })
    });
    claude.asked();
    assert_snapshot!(applied(&live, &claude, ""), @r#"
    exit code 0
    ----- stdout
    rule             fdrl_01
    service account  svac_01
    issuer           fdis_01

    export ANTHROPIC_FEDERATION_RULE_ID=fdrl_01
    export ANTHROPIC_ORGANIZATION_ID=00000000-0000-4000-8000-000000000001
    export ANTHROPIC_SERVICE_ACCOUNT_ID=svac_01
    export ANTHROPIC_IDENTITY_TOKEN_FILE=/run/firman/claude-token
    export ANTHROPIC_BASE_URL=[CLAUDE]
    ----- stderr
    At [CLAUDE], organization 00000000-0000-4000-8000-000000000001:
      keep    service account agent-mailer-6894ea70 (svac_01)
      keep    issuer firman-id-example-com-de96f5b6 (fdis_01)
      change  rule agent-mailer-6894ea70 (fdrl_01): `match` {"subject_prefix":"agent:mailer"} becomes {"audience":"https://api.anthropic.com","claims":{"acting_agent":"agent:mailer"},"subject_prefix":"agent:mailer"}
    changed the rule `agent-mailer-6894ea70` (`fdrl_01`)
    Next: firman claude verify --agent mailer --base-url [CLAUDE]
    "#);
    assert_eq!(claude.objects("federation_rules"), rules);
}

#[test]
fn objects_made_by_hand_are_used() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    for number in 1..=3 {
        let account =
            json!({ "id": format!("svac_9{number}"), "name": format!("account-{number}") });
        claude.put("service_accounts", account);
    }
    claude.put(
        "federation_issuers",
        json!({ "id": "fdis_91", "name": "by-hand", "issuer_url": PUBLIC_ISSUER, "jwks": { "type": "discovery" }, "max_jwt_lifetime_seconds": 300 }),
    );
    assert_snapshot!(applied(&live, &claude, " --service-account account-3"), @r"
    exit code 0
    ----- stdout
    rule             fdrl_01
    service account  svac_93
    issuer           fdis_91

    export ANTHROPIC_FEDERATION_RULE_ID=fdrl_01
    export ANTHROPIC_ORGANIZATION_ID=00000000-0000-4000-8000-000000000001
    export ANTHROPIC_SERVICE_ACCOUNT_ID=svac_93
    export ANTHROPIC_IDENTITY_TOKEN_FILE=/run/firman/claude-token
    export ANTHROPIC_BASE_URL=[CLAUDE]
    ----- stderr
    At [CLAUDE], organization 00000000-0000-4000-8000-000000000001:
      keep    service account account-3 (svac_93)
      change  issuer by-hand (fdis_91): `max_jwt_lifetime_seconds` 300 becomes 3600
      create  rule agent-mailer-6894ea70
    changed the issuer `by-hand` (`fdis_91`)
    created the rule `agent-mailer-6894ea70` (`fdrl_01`)
    stored the ids with the agent mailer
    Next: firman claude verify --agent mailer --base-url [CLAUDE]
    ");
    assert_snapshot!(applied(&live, &claude, " --service-account svac_91"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the rule `agent-mailer-6894ea70` at Claude grants the service account `svac_93`, not `svac_91` (`account-1`)
    hint: archive that rule in the Console, or name its account with `--service-account`
    ");
    let names = claude.objects("service_accounts").len();
    assert_eq!(names, 3);
}

#[test]
fn inline_keys_are_registered_again_after_a_rotation_and_acknowledged() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PRIVATE_ISSUER, &[TOKEN]);
    let options = format!(" --from {}", live.public());
    applied(&live, &claude, &options);
    let missing = || live.json("key consumer list")["items"][0]["missing"].clone();
    assert_eq!(missing(), json!([]));

    live.json("key rotate");
    assert_eq!(missing().as_array().map(Vec::len), Some(2));
    claude.asked();
    assert_snapshot!(applied(&live, &claude, &options), @r"
    exit code 0
    ----- stdout
    rule             fdrl_01
    service account  svac_01
    issuer           fdis_01

    export ANTHROPIC_FEDERATION_RULE_ID=fdrl_01
    export ANTHROPIC_ORGANIZATION_ID=00000000-0000-4000-8000-000000000001
    export ANTHROPIC_SERVICE_ACCOUNT_ID=svac_01
    export ANTHROPIC_IDENTITY_TOKEN_FILE=/run/firman/claude-token
    export ANTHROPIC_BASE_URL=[CLAUDE]
    ----- stderr
    warning: Claude does not refresh inline keys. After each rotation update the keys at Claude, then acknowledge them: only then does the new key sign
    hint: firman key consumer ack claude-default
    At [CLAUDE], organization 00000000-0000-4000-8000-000000000001:
      keep    service account agent-mailer-6894ea70 (svac_01)
      change  issuer firman-id-corp-internal-1250e5fc (fdis_01): inline keys: adds [KEY], [KEY], removes none
      keep    rule agent-mailer-6894ea70 (fdrl_01)
    changed the issuer `firman-id-corp-internal-1250e5fc` (`fdis_01`)
    Next: firman claude verify --agent mailer --base-url [CLAUDE]
    ");
    assert_eq!(missing(), json!([]));
    let keys = claude.objects("federation_issuers")[0]["jwks"]["keys"].clone();
    assert_eq!(keys.as_array().map(Vec::len), Some(4));
}

#[test]
fn an_admin_token_goes_to_a_host_that_the_command_line_names_and_to_no_other() {
    let claude = Claude::start();
    let loopback = ("ANTHROPIC_BASE_URL", claude.url.as_str());
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN, loopback]);
    let unnamed =
        format!("claude connect --agent mailer --apply --yes --organization {ORGANIZATION}");
    let outcome = live.run(&unnamed).replace(&claude.url, "[CLAUDE]");
    assert!(outcome.starts_with("exit code 0"), "{outcome}");
    assert!(
        outcome.contains("export ANTHROPIC_BASE_URL=[CLAUDE]\n"),
        "{outcome}"
    );
    assert!(
        outcome.ends_with("Next: firman claude verify --agent mailer --base-url [CLAUDE]\n"),
        "{outcome}"
    );
    assert_eq!(claude.changes().len(), 3);
    drop(live);

    // The option goes before the variable.
    let elsewhere = ("ANTHROPIC_BASE_URL", "https://gateway.invalid");
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN, elsewhere]);
    assert!(applied(&live, &claude, "").starts_with("exit code 0"));
    assert_snapshot!(live.run(&unnamed), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: the admin token is not sent to `https://gateway.invalid`, which only `ANTHROPIC_BASE_URL` names
    hint: add `--base-url https://gateway.invalid` to send it there
    ");
    let printed = live.json("claude connect --agent mailer");
    assert_eq!(
        printed["environment"]["ANTHROPIC_BASE_URL"],
        "https://gateway.invalid"
    );
    let verified = live.outcome("claude verify --agent mailer");
    assert!(
        verified
            .stdout
            .contains("warn  registered  the admin token is not sent to `https://gateway.invalid`"),
        "{verified}"
    );
    drop(live);

    let empty = ("ANTHROPIC_BASE_URL", "");
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[empty]);
    let printed = live.json("claude connect --agent mailer");
    assert_eq!(printed["environment"]["ANTHROPIC_BASE_URL"], Value::Null);
}

#[test]
fn an_issuer_that_backs_an_admin_rule_is_left_alone_and_the_agents_get_another() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    claude.put(
        "federation_issuers",
        json!({ "id": "fdis_91", "name": "firman-id-example-com-de96f5b6", "issuer_url": PUBLIC_ISSUER, "jwks": { "type": "discovery" } }),
    );
    claude.put(
        "federation_rules",
        json!({ "id": "fdrl_91", "name": "fleet-admin", "issuer_id": "fdis_91", "oauth_scope": "org:admin" }),
    );
    let (_, said) = applied(&live, &claude, "")
        .split_once("----- stderr\n")
        .map(|(before, after)| (before.to_owned(), after.to_owned()))
        .expect("stderr");
    assert_snapshot!(said, @r"
    At [CLAUDE], organization 00000000-0000-4000-8000-000000000001:
      create  service account agent-mailer-6894ea70
      create  issuer firman-id-example-com-de96f5b6-agents
      create  rule agent-mailer-6894ea70
      note: the issuer `firman-id-example-com-de96f5b6` backs a rule with the scope `org:admin`, so Claude lets no OAuth token change it; the agents get another issuer
    created the service account `agent-mailer-6894ea70` (`svac_01`)
    created the issuer `firman-id-example-com-de96f5b6-agents` (`fdis_02`)
    created the rule `agent-mailer-6894ea70` (`fdrl_02`)
    stored the ids with the agent mailer
    Next: firman claude verify --agent mailer --base-url [CLAUDE]
    ");
    claude.asked();
    applied(&live, &claude, "");
    assert_eq!(claude.changes(), Vec::<String>::new());
}

#[test]
fn the_rule_of_a_pair_leaves_the_agents_own_ids_alone() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    applied(&live, &claude, "");
    let own = link(&live);
    assert_snapshot!(applied(&live, &claude, " --act-for user:ada --format env"), @r"
    exit code 0
    ----- stdout
    ANTHROPIC_FEDERATION_RULE_ID=fdrl_02
    ANTHROPIC_ORGANIZATION_ID=00000000-0000-4000-8000-000000000001
    ANTHROPIC_SERVICE_ACCOUNT_ID=svac_02
    ANTHROPIC_IDENTITY_TOKEN_FILE=/run/firman/claude-token
    ANTHROPIC_BASE_URL=[CLAUDE]
    ----- stderr
    warning: the resource `claude` does not accept delegated tokens, which this rule requires
    hint: firman resource edit claude --allow-delegation
    At [CLAUDE], organization 00000000-0000-4000-8000-000000000001:
      create  service account agent-mailer-for-user-ada-43b7c870
      keep    issuer firman-id-example-com-de96f5b6 (fdis_01)
      create  rule agent-mailer-for-user-ada-43b7c870
    created the service account `agent-mailer-for-user-ada-43b7c870` (`svac_02`)
    created the rule `agent-mailer-for-user-ada-43b7c870` (`fdrl_02`)
    warning: the resource `claude` does not accept delegated tokens, which this rule requires
    hint: firman resource edit claude --allow-delegation
    Did not store the ids with `mailer`, whose own rule is for tokens without `act`.
    ");
    assert_eq!(link(&live), own);
    assert_eq!(claude.objects("federation_rules").len(), 2);
}
