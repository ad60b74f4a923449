//! What an agent's own commands find in the environment and in an agent bundle, and how an administrator
//! makes and replaces what is there.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::live::Live;
use super::{Shell, mode, words};
use crate::process::{Outcome, set_mode};

/// Runs a command with variables of the environment set.
fn run_with(live: &Live, variables: &[(&str, &str)], line: &str) -> Outcome {
    let mut args = vec![
        "-c".to_owned(),
        "exec env \"$@\"".to_owned(),
        "sh".to_owned(),
    ];
    args.extend(
        variables
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    args.push(env!("CARGO_BIN_EXE_firman").to_owned());
    args.extend(words(line));
    live.site.run_program("/bin/sh", &args)
}

#[test]
fn an_agent_bundle_is_all_that_an_agent_needs() {
    let live = Live::with_mail();
    assert_snapshot!(live.run("agent add mailer --owner ops --role reader --bundle mailer.json"), @r"
    exit code 0
    ----- stdout
    name       mailer
    subject    agent:mailer
    owner      ops
    roles      reader
    client_id  mailer
    kid        [KEY]
    ----- stderr
    The agent bundle with its private key is in `mailer.json` and nowhere else. Let only the agent read it.
    Next: firman token get --bundle mailer.json
    ");
    assert_eq!(mode(&live.site.path("mailer.json")), 0o600);
    let text = std::fs::read_to_string(live.site.path("mailer.json")).unwrap();
    let bundle: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(bundle["issuer"], live.issuer());
    assert_eq!(bundle["client_id"], "mailer");
    assert!(bundle["jwk"]["d"].is_string() && bundle["jwk"]["kid"].is_string());
    let issued = "exit code 0\n----- stdout\n[JWT]\n----- stderr\n";
    assert_eq!(live.run("token get --bundle mailer.json"), issued);
    let by_variable = run_with(
        &live,
        &[("FIRMAN_AGENT_BUNDLE", "mailer.json")],
        "token get",
    );
    assert!(by_variable.stdout.starts_with("eyJ"), "{by_variable}");
    let command = "exec --bundle mailer.json --resource https://mail.example.com --rule fdrl_1 --organization 00000000-0000-4000-8000-000000000001 --service-account svac_1 -- /bin/sh -c 'cat $ANTHROPIC_IDENTITY_TOKEN_FILE'";
    assert_eq!(live.run(command), issued);

    set_mode(&live.site.path("mailer.json"), 0o640);
    assert_snapshot!(live.run("token get --bundle mailer.json"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: other users can access `mailer.json` (mode 0640)
    hint: run `chmod 600 mailer.json`
    ");
    assert_snapshot!(live.run("agent add clerk --owner ops --bundle mailer.json"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `mailer.json` already exists
    hint: name another file, or move that one away
    ");
    live.run("agent add mailer --owner ops --bundle again.json");
    assert!(
        !live.site.path("again.json").exists(),
        "nothing was registered"
    );
}

#[test]
fn an_agent_bundle_with_a_client_secret_works_too() {
    let live = Live::with_mail();
    let made =
        live.json("agent add mailer --owner ops --role reader --secret --bundle mailer.json");
    assert_eq!(made["bundle"], "mailer.json");
    assert_eq!(made["client_secret"], Value::Null);
    assert!(live.run("token get --bundle mailer.json").contains("[JWT]"));
    // The next bundle holds what replaces it.
    let next = live.json("credential rotate mailer --bundle next.json");
    assert_eq!(next["credential"]["kind"], "client_secret");
    assert!(live.run("token get --bundle next.json").contains("[JWT]"));
}

#[test]
fn issuer_name_and_credential_come_from_the_environment() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops --role reader --generate-key mailer.pem");
    let issuer = live.issuer();
    let variables = [
        ("FIRMAN_AGENT_ISSUER", issuer.as_str()),
        ("FIRMAN_AGENT_CLIENT_ID", "mailer"),
        ("FIRMAN_AGENT_KEY_FILE", "mailer.pem"),
    ];
    let outcome = run_with(&live, &variables, "token get");
    assert!(outcome.stdout.starts_with("eyJ"), "{outcome}");
    let outcome = run_with(&live, &variables, "token get --agent clerk");
    assert!(outcome.stderr.contains("invalid_client"), "{outcome}");
    let exchange = run_with(&live, &variables, "token exchange --subject-token no");
    assert!(exchange.stderr.contains("cannot read `no"), "{exchange}");
    let several = [&variables[..], &[("FIRMAN_AGENT_SECRET_FILE", "secret")]].concat();
    assert_snapshot!(run_with(&live, &several, "token get"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `FIRMAN_AGENT_SECRET_FILE` and `FIRMAN_AGENT_KEY_FILE` both name a credential
    hint: unset one of them
    ");
    assert_snapshot!(run_with(&live, &variables[..1], "token get"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: the agent's credential is missing
    hint: name `--bundle`, `--key`, `--secret-file` or `--assertion-file`, or set `FIRMAN_AGENT_BUNDLE`, `FIRMAN_AGENT_KEY_FILE`, `FIRMAN_AGENT_SECRET_FILE` or `FIRMAN_AGENT_ASSERTION_FILE`
    ");
    assert_snapshot!(run_with(&live, &variables[1..], "token get"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: the issuer is missing
    hint: name `--issuer URL` or `--bundle FILE`, or set `FIRMAN_AGENT_ISSUER`
    ");
    for line in [
        "token get",
        "token exchange --subject-token no",
        "exec -- true",
    ] {
        let slip = [&variables[2..], &[("FIRMAN_AGENT_CLIENTID", "mailer")]].concat();
        let outcome = run_with(&live, &slip, line);
        assert_eq!(
            (outcome.code, outcome.stderr.as_str()),
            (
                Some(1),
                "error: unknown environment variable `FIRMAN_AGENT_CLIENTID`\nhint: did you mean `FIRMAN_AGENT_CLIENT_ID`?\n"
            ),
            "{line}"
        );
    }
    assert_snapshot!(run_with(&live, &[("FIRMAN_AGENT_KEY_FLIE", "x")], "config show"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: unknown environment variable `FIRMAN_AGENT_KEY_FLIE`
    hint: did you mean `FIRMAN_AGENT_KEY_FILE`?
    ");
}

#[test]
fn a_bundle_and_an_identity_that_both_come_from_variables_are_refused() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops --role reader --bundle mailer.json");
    let bundle = ("FIRMAN_AGENT_BUNDLE", "mailer.json");
    for (name, what) in [
        ("FIRMAN_AGENT_CLIENT_ID", "an agent"),
        ("FIRMAN_AGENT_ISSUER", "an issuer"),
        ("FIRMAN_AGENT_KEY_FILE", "a credential"),
        ("FIRMAN_AGENT_SECRET_FILE", "a credential"),
        ("FIRMAN_AGENT_ASSERTION_FILE", "a credential"),
    ] {
        let outcome = run_with(&live, &[bundle, (name, "other")], "token get");
        assert_eq!(outcome.code, Some(2), "{outcome}");
        let both = [bundle.0, name];
        assert!(
            both.iter().all(|name| outcome.stderr.contains(name)),
            "{outcome}"
        );
        let expected = format!("both name {what}\nhint: unset one of them\n");
        assert!(outcome.stderr.ends_with(&expected), "{outcome}");
        let by_option = run_with(&live, &[(name, "other")], "token get --bundle mailer.json");
        assert!(by_option.stdout.starts_with("eyJ"), "{by_option}");
    }
}

#[test]
fn a_secret_goes_into_a_new_file_instead_of_the_output() {
    let live = Live::with_mail();
    assert_snapshot!(live.run("agent add mailer --owner ops --role reader --secret --secret-out secret"), @r"
    exit code 0
    ----- stdout
    name       mailer
    subject    agent:mailer
    owner      ops
    roles      reader
    client_id  mailer
    ----- stderr
    The client secret is in `secret` and nowhere else. Let only the agent read it.
    Next: firman token get --issuer [ISSUER] --client-id mailer --secret-file secret
    ");
    assert_eq!(mode(&live.site.path("secret")), 0o600);
    let get = |file: &str| {
        live.run(&format!(
            "token get --issuer {} --client-id mailer --secret-file {file}",
            live.issuer()
        ))
    };
    assert!(get("secret").contains("[JWT]"));
    assert_snapshot!(live.run("credential add mailer --secret --secret-out secret"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `secret` already exists
    hint: name another file, or move that one away
    ");
    let rotated = live.json("credential rotate mailer --secret-out new --overlap 0s");
    assert_eq!(rotated["secret_out"], "new");
    assert_eq!(rotated["client_secret"], Value::Null);
    assert!(get("new").contains("[JWT]"));
    assert!(get("secret").contains("invalid_client"));
    assert_snapshot!(live.run("agent add mailer --owner ops --secret --secret-out other"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: an agent named `mailer` exists
    hint: firman agent edit mailer
    ");
    assert!(!live.site.path("other").exists());
    assert_snapshot!(live.run("agent add clerk --owner ops --secret-out other"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `--secret-out` is only for a client secret
    hint: add `--secret`
    ");
}

#[test]
fn the_only_live_credential_is_rotated_without_its_id() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops --generate-key one.pem");
    let rotated = live.json("credential rotate mailer --generate-key two.pem --overlap 1h");
    assert_eq!(rotated["credential"]["kind"], "public_key");
    let again = live.run("credential rotate mailer --generate-key three.pem --overlap 30m");
    assert_snapshot!(again, @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `mailer` has 2 live credentials that can be rotated:
      [ID]  public_key [KEY]  created [TIME], expires [TIME]
      [ID]  public_key [KEY]  created [TIME]
    hint: firman credential rotate mailer ID
    ");
    assert!(!live.site.path("three.pem").exists());
    live.json("agent add clerk --owner ops");
    assert_snapshot!(live.run("credential rotate clerk"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `clerk` has no live credential that can be rotated
    hint: firman credential list clerk
    ");
    assert_snapshot!(live.run("credential rotate mailer --secret-out secret"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `mailer` has no live client secret
    hint: firman credential list mailer
    ");
    let id = rotated["credential"]["id"].as_str().unwrap();
    let misplaced = live.run(&format!(
        "credential rotate mailer {id} --secret-out secret"
    ));
    assert_snapshot!(misplaced, @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `--secret-out` is only for a client secret, and the credential `[ID]` is not one
    ");
    // The first expires within the overlap: what is left to replace is the second.
    let third = live.json("credential rotate mailer --generate-key three.pem --overlap 2h");
    assert_eq!(third["replaced"]["id"], id);
}

#[test]
fn the_live_credentials_of_all_agents_are_listed_oldest_first() {
    let live = Live::with_mail();
    assert_snapshot!(live.run("credential list"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    No agent has a live credential.
    ");
    live.json("agent add mailer --owner ops --secret");
    live.json("agent add clerk --owner ops --generate-key clerk.pem");
    live.json("credential add clerk --secret --expires-in 7d");
    let revoked = live.json("credential add mailer --secret");
    let id = revoked["credential"]["id"].as_str().unwrap();
    live.json(&format!("credential revoke mailer {id}"));
    let table = live.run("credential list");
    let rows: Vec<Vec<&str>> = table
        .lines()
        .filter(|line| line.contains("[ID]"))
        .map(|line| line.split_whitespace().collect())
        .collect();
    let columns: Vec<[&str; 3]> = rows.iter().map(|row| [row[0], row[2], row[5]]).collect();
    assert_eq!(
        columns,
        [
            ["mailer", "client_secret", "s"],
            ["clerk", "public_key", "s"],
            ["clerk", "client_secret", "s"]
        ],
        "{table}"
    );
    assert!(table.contains("AGENT") && table.contains("AGE") && table.contains("EXPIRES"));
    assert!(table.contains("[TIME] (in "), "{table}");
    let page = live.json("credential list --limit 2");
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    let rest = live.json(&format!(
        "credential list --cursor {}",
        page["next_cursor"].as_str().unwrap()
    ));
    assert_eq!(rest["items"][0]["agent"], "clerk");
    assert_eq!(rest["items"][0]["kind"], "client_secret");
    assert_eq!(rest["next_cursor"], Value::Null);
    let expiring = live.json("credential list --expires-within 8d");
    let agents: Vec<&Value> = expiring["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| &item["agent"])
        .collect();
    assert_eq!(agents, [&json!("clerk")]);
    assert_snapshot!(live.run("credential list --expires-within 1h"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    No live credential expires within that time.
    ");
}

#[test]
fn a_token_is_inspected_and_verified_from_its_file() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops --role reader --bundle mailer.json");
    live.json("token get --bundle mailer.json --out token.jwt");
    let inspected = live.run("token inspect token.jwt");
    assert!(inspected.contains("NOT VERIFIED") && inspected.contains("agent:mailer"));
    let verified = live.run(&format!(
        "token verify token.jwt --issuer {} --audience https://mail.example.com",
        live.issuer()
    ));
    assert!(verified.contains("Verified: signed by"), "{verified}");
    let shell = Shell::new();
    let token = std::fs::read_to_string(live.site.path("token.jwt")).unwrap();
    shell.write("token", &format!("\u{feff}\"{}\"\r\n", token.trim()));
    assert!(shell.run("token inspect token").contains("agent:mailer"));
    assert!(
        shell
            .run(&format!("token inspect {}", token.trim()))
            .contains("agent:mailer")
    );
}
