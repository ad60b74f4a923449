//! `firman token exchange`, and agents whose command line proves them by the token of their platform: both
//! against a running issuer. The platforms are stand-ins with keys of ours.

use firman::ports::time::{Clock as _, SystemClock};
use firman::testing::{TestKey, decoded_part};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::live::Live;
use crate::federated::{key_set, signed, with};

const CLUSTER: &str = "https://kubernetes.default.svc.cluster.local";
const GITHUB: &str = "https://token.actions.githubusercontent.com";
const SPIRE: &str = "spiffe://example.org";

/// An issuer that trusts three platforms, each of which proves one agent.
fn with_platforms() -> Live {
    let live = Live::with_mail();
    let keys = key_set(&[TestKey::Rs256]);
    live.site.write("jwks.json", keys.to_string());
    let mut bundle = keys;
    bundle["keys"][0]["use"] = json!("jwt-svid");
    live.site.write("bundle.json", bundle.to_string());
    for (name, preset, url, keys) in [
        ("cluster", "kubernetes", CLUSTER, "jwks.json"),
        ("github", "github", GITHUB, "jwks.json"),
        ("spire", "spiffe", SPIRE, "bundle.json"),
    ] {
        live.run(&format!(
            "trusted-issuer add {name} --preset {preset} --iss {url} --jwks {keys} --trust client_auth"
        ));
    }
    for (agent, credential) in [
        (
            "mailer",
            "cluster --namespace prod --service-account mailer",
        ),
        (
            "deployer",
            "github --repo octo-org/octo-repo --environment prod --owner-id 65",
        ),
        (
            "meshed",
            "spire --spiffe-id spiffe://example.org/ns/prod/mailer",
        ),
    ] {
        live.json(&format!("agent add {agent} --owner ops --group ops"));
        live.run(&format!("credential add {agent} --federated {credential}"));
    }
    live
}

/// Writes a token that begins now and ends in an hour into `file`.
fn platform_token(live: &Live, file: &str, claims: Value) {
    let now = SystemClock.now().0;
    let times = json!({ "aud": live.issuer(), "iat": now, "nbf": now, "exp": now + 3000 });
    let token = signed(TestKey::Rs256, Some("JWT"), &with(&claims, times));
    live.site.write(file, format!("{token}\n"));
}

/// The token of a pod.
fn pod(live: &Live, file: &str) {
    platform_token(
        live,
        file,
        json!({ "iss": CLUSTER, "sub": "system:serviceaccount:prod:mailer" }),
    );
}

/// The token of a workflow's run.
fn run_of_workflow(live: &Live, file: &str, jti: &str) {
    platform_token(
        live,
        file,
        json!({
            "iss": GITHUB, "jti": jti, "sub": "repo:octo-org/octo-repo:environment:prod",
            "environment": "prod", "repository": "octo-org/octo-repo", "repository_owner_id": "65",
        }),
    );
}

#[test]
fn a_command_line_that_makes_no_sense_is_a_usage_error() {
    let live = Live::with_mail();
    assert_snapshot!(live.run("token get --issuer http://127.0.0.1:9"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: the agent's credential is missing
    hint: name `--bundle`, `--key`, `--secret-file` or `--assertion-file`, or set `FIRMAN_AGENT_BUNDLE`, `FIRMAN_AGENT_KEY_FILE`, `FIRMAN_AGENT_SECRET_FILE` or `FIRMAN_AGENT_ASSERTION_FILE`
    ");
    assert_snapshot!(live.run("token get --issuer http://127.0.0.1:9 --key mailer.pem"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: the agent's name is missing
    hint: name `--client-id AGENT`, or set `FIRMAN_AGENT_CLIENT_ID`
    ");
    assert_snapshot!(live.run("token get --issuer http://127.0.0.1:9 --key mailer.pem --assertion-file pod.jwt"), @"
    exit code 2
    ----- stdout
    ----- stderr
    error: the argument '--key <FILE>' cannot be used with '--assertion-file <FILE>'

    Usage: firman token get --issuer <URL> --key <FILE>

    For more information, try '--help'.
    ");
    assert_snapshot!(live.run("token exchange --issuer http://127.0.0.1:9 --client-id mailer --key mailer.pem"), @"
    exit code 2
    ----- stdout
    ----- stderr
    error: the following required arguments were not provided:
      --subject-token <FILE>

    Usage: firman token exchange --subject-token <FILE> --issuer <URL> --client-id <AGENT> --key <FILE>

    For more information, try '--help'.
    ");
    let exchange = "token exchange --issuer http://127.0.0.1:9 --client-id mailer --subject-token";
    assert_snapshot!(live.run(&format!("{exchange} - --key -")), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: the credential and `--subject-token` cannot both come from stdin
    hint: name a file for one of them
    ");
    assert_snapshot!(live.run(&format!("{exchange} t --key k --subject-token-type saml2")), @"
    exit code 2
    ----- stdout
    ----- stderr
    error: invalid value 'saml2' for '--subject-token-type <TYPE>'
      [possible values: access_token, id_token, jwt]

    For more information, try '--help'.
    ");
    assert_snapshot!(live.run(&format!("{exchange} t --key k --requested-token-type id_token --dpop-key d")), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: an ID token cannot be bound to a key
    hint: drop `--dpop-key`
    ");
    assert_snapshot!(live.run("exec --issuer http://127.0.0.1:9 --assertion-file pod.jwt -- /bin/true"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: the identity at Claude is missing
    hint: name `--rule`, `--organization` and `--service-account`, or the agent with `--client-id` to use its link
    ");
    assert_snapshot!(live.run("exec --issuer http://127.0.0.1:9 --assertion-file - --rule fdrl_1 --organization 00000000-0000-4000-8000-000000000001 --service-account svac_1 -- /bin/true"), @"
    exit code 2
    ----- stdout
    ----- stderr
    error: stdin belongs to the command
    hint: name a file that holds the credential
    ");
}

#[test]
fn a_file_that_holds_no_token_of_a_platform_is_reported_by_its_name() {
    let live = Live::with_mail();
    let get = format!("token get --issuer {} --assertion-file", live.issuer());
    assert_snapshot!(live.run(&format!("{get} nowhere.jwt")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot read `nowhere.jwt`: no such file or directory
    ");
    live.site.write("empty", "");
    assert_snapshot!(live.run(&format!("{get} empty")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `empty` does not contain a token of a platform: expected one line of text without spaces
    ");
    live.site.write("secret", super::SECRET);
    assert_snapshot!(live.run(&format!("{get} secret --output json")), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"secret: this is not a JWT: a JWT has three parts joined by dots","kind":"token"}}
    "#);
}

#[test]
fn a_pod_gets_a_token_by_the_one_it_has_and_names_itself_or_not() {
    let live = with_platforms();
    pod(&live, "pod.jwt");
    let get = format!(
        "token get --issuer {} --assertion-file pod.jwt",
        live.issuer()
    );
    assert_snapshot!(live.run(&format!("{get} --client-id deployer")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer refused: no live federated credential of the client that `client_id` names matches the token of the trusted issuer `cluster` with the subject system:serviceaccount:prod:mailer (invalid_client)
    ");
    assert_snapshot!(live.run(&format!("{get} --client-id deployer --output json")), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"the issuer refused: no live federated credential of the client that `client_id` names matches the token of the trusted issuer `cluster` with the subject system:serviceaccount:prod:mailer (invalid_client)","kind":"invalid_client","status":401}}
    "#);
    assert_snapshot!(live.created(&get), @r#"
    {
      "access_token": "[JWT]",
      "expires_at": [SECONDS],
      "expires_in": 900,
      "scope": "read",
      "token_type": "Bearer"
    }
    "#);
    // The preset accepts one token repeatedly.
    let shown = live.json(&format!("{get} --client-id mailer"));
    let claims = decoded_part(shown["access_token"].as_str().unwrap(), 1);
    assert_eq!(claims["sub"], "agent:mailer");
}

#[test]
fn a_run_of_a_workflow_presents_each_of_its_tokens_once() {
    let live = with_platforms();
    run_of_workflow(&live, "run.jwt", "run-1");
    let get = format!(
        "token get --issuer {} --assertion-file run.jwt",
        live.issuer()
    );
    let shown = live.json(&get);
    let claims = decoded_part(shown["access_token"].as_str().unwrap(), 1);
    assert_eq!(claims["sub"], "agent:deployer");
    assert_snapshot!(live.run(&get), @"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer refused: `jti` was used before; each assertion is accepted once (invalid_client)
    ");
    run_of_workflow(&live, "run.jwt", "run-2");
    live.json(&get);
}

#[test]
fn a_svid_is_sent_as_one() {
    let live = with_platforms();
    let sub = "spiffe://example.org/ns/prod/mailer";
    platform_token(&live, "svid.jwt", json!({ "sub": sub }));
    let shown = live.json(&format!(
        "token get --issuer {} --client-id meshed --assertion-file svid.jwt",
        live.issuer()
    ));
    let claims = decoded_part(shown["access_token"].as_str().unwrap(), 1);
    assert_eq!(claims["sub"], "agent:meshed");
    let audit = live.json("audit list --event token.issued");
    let detail = audit["items"].as_array().unwrap().last().unwrap()["detail"].clone();
    assert_eq!(detail["method"], "spiffe_jwt", "{audit}");
}

#[test]
fn a_platforms_token_works_with_a_nonce() {
    let live = with_platforms();
    live.json("agent add holder --owner ops --generate-key holder.pem");
    run_of_workflow(&live, "run.jwt", "run-1");
    let shown = live.json(&format!(
        "token get --issuer {} --assertion-file run.jwt --dpop-key holder.pem",
        live.issuer()
    ));
    assert_eq!(shown["token_type"], "DPoP");
}

#[test]
fn a_command_is_run_with_a_token_had_by_the_platforms() {
    let live = with_platforms();
    pod(&live, "pod.jwt");
    let outcome = live.run(&format!(
        "exec --issuer {} --assertion-file pod.jwt --resource https://mail.example.com --rule fdrl_1 --organization 00000000-0000-4000-8000-000000000001 --service-account svac_1 -- /bin/sh -c 'cat $ANTHROPIC_IDENTITY_TOKEN_FILE'",
        live.issuer()
    ));
    assert_snapshot!(outcome, @"
    exit code 0
    ----- stdout
    [JWT]
    ----- stderr
    ");
}

/// The mail issuer with the agent `helpdesk`, whose token for `desk` is in `helpdesk.jwt`; and `triage`,
/// which is that resource and may send mail for `helpdesk`.
fn with_desk() -> Live {
    let live = Live::with_mail();
    live.json("agent add triage --owner ops --group ops --generate-key triage.pem");
    live.json(
        "resource add desk --identifier https://desk.example.com --scope ask --server triage",
    );
    live.json("role add asker --grant desk");
    live.json(
        "agent add helpdesk --owner ops --group ops --role asker --generate-key helpdesk.pem",
    );
    live.json("delegation add --actor triage --subject agent:helpdesk --resource mail --for 1d");
    live.json(&format!(
        "token get --issuer {} --client-id helpdesk --key helpdesk.pem --resource https://desk.example.com --out helpdesk.jwt",
        live.issuer()
    ));
    live
}

fn exchange(live: &Live) -> String {
    format!(
        "token exchange --issuer {} --client-id triage --key triage.pem --subject-token helpdesk.jwt",
        live.issuer()
    )
}

#[test]
fn a_refused_exchange_is_reported_with_the_issuers_reason() {
    let live = with_desk();
    let exchange = exchange(&live);
    let mail = "--resource https://mail.example.com";
    assert_snapshot!(live.run(&format!("{exchange} {mail} --scope send")), @"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer refused: not available for agent:helpdesk at https://mail.example.com: send; subject, agent and delegation all allow: read (invalid_scope)
    ");
    assert_snapshot!(live.run(&format!("{exchange} {mail} --scope send --output json")), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"the issuer refused: not available for agent:helpdesk at https://mail.example.com: send; subject, agent and delegation all allow: read (invalid_scope)","kind":"invalid_scope","status":400}}
    "#);
    assert_snapshot!(live.run(&format!("{exchange} {mail} --subject-token-type id_token")), @"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer refused: subject_token: it is not an ID token for this client (invalid_request)
    ");
    assert_snapshot!(live.run(&format!("{} {mail}", exchange.replace("helpdesk.jwt", "-"))), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `-` does not contain a token: expected one line of text without spaces
    ");
    assert_snapshot!(live.run(&format!("{} {mail}", exchange.replace("triage", "helpdesk"))), @"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer refused: this agent has no delegation (unauthorized_client)
    ");
}

#[test]
fn a_token_is_exchanged_for_one_that_names_who_acts() {
    let live = with_desk();
    let bare = exchange(&live);
    let exchange = format!("{bare} --resource https://mail.example.com");
    assert_snapshot!(live.run(&exchange), @"
    exit code 0
    ----- stdout
    [JWT]
    ----- stderr
    ");
    assert_snapshot!(live.created(&format!("{exchange} --scope read --expires-in 2m")), @r#"
    {
      "access_token": "[JWT]",
      "expires_at": [SECONDS],
      "expires_in": 120,
      "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
      "scope": "read",
      "token_type": "Bearer"
    }
    "#);
    assert_snapshot!(live.created(&format!("{exchange} --requested-token-type jwt --dpop-key triage.pem --expires-in 2m")), @r#"
    {
      "access_token": "[JWT]",
      "expires_at": [SECONDS],
      "expires_in": 120,
      "issued_token_type": "urn:ietf:params:oauth:token-type:jwt",
      "scope": "read",
      "token_type": "DPoP"
    }
    "#);
    let shown = live.json(&format!("{bare} --requested-token-type id_token"));
    let claims = decoded_part(shown["access_token"].as_str().unwrap(), 1);
    assert_eq!(
        (
            &shown["token_type"],
            &claims["sub"],
            &claims["act"]["sub"],
            &claims["aud"]
        ),
        (
            &json!("N_A"),
            &json!("agent:helpdesk"),
            &json!("agent:triage"),
            &json!("triage")
        )
    );
    assert_snapshot!(live.run(&format!("{exchange} --out acting.jwt --expires-in 2m")), @r"
    exit code 0
    ----- stdout
    ----- stderr
    Wrote the token to `acting.jwt`, valid until [TIME]
    ");
    let written = std::fs::read_to_string(live.site.path("acting.jwt")).unwrap();
    assert_eq!(
        decoded_part(written.trim(), 1)["act"]["sub"],
        "agent:triage"
    );
    assert_eq!(super::mode(&live.site.path("acting.jwt")), 0o600);
}

#[test]
fn a_users_token_is_exchanged_as_a_jwt() {
    let live = with_desk();
    live.site
        .write("jwks.json", key_set(&[TestKey::Rs256]).to_string());
    live.json(
        "trusted-issuer add okta --iss https://acme.okta.com --jwks jwks.json --trust subject",
    );
    live.json("delegation add --actor triage --subject user:okta:* --resource mail --for 1d");
    platform_token(
        &live,
        "user.jwt",
        json!({ "iss": "https://acme.okta.com", "sub": "00u1", "jti": "t-1" }),
    );
    let line = exchange(&live).replace("helpdesk.jwt", "user.jwt");
    let line = format!("{line} --resource https://mail.example.com");
    let shown = live.json(&format!("{line} --subject-token-type jwt"));
    let claims = decoded_part(shown["access_token"].as_str().unwrap(), 1);
    assert_eq!(
        (&claims["sub"], &claims["act"]["sub"]),
        (&json!("user:okta:00u1"), &json!("agent:triage"))
    );
}
