//! Command lines against a server whose answers are written down beforehand: what is sent, and what
//! is made of refusals that a real issuer seldom sends.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use firman::jose::{SigningAlgorithm, SigningKey};
use firman::ports::time::{Clock, SystemClock};
use insta::assert_snapshot;
use serde_json::json;

use super::{Shell, mode};

const AGENT: &str = r#"{"id":"a1","name":"mailer","subject":"agent:mailer","owner":"ops","description":"","attributes":{},"status":"active","status_since":null,"expires_at":null,"dpop_required":false,"assertion_audience":null,"groups":["staff"],"roles":[],"effective_roles":[],"created_at":1795253400,"updated_at":1795253400,"version":7}"#;

const ISSUER: &str = r#"{"id":"i1","slug":"default","url":"https://id.example.com","subject_template":"agent:{name}","default_lifetime":900,"max_lifetime":3600,"default_algorithm":"ES256","assertion_audience":"issuer-as-string","version":1,"token_endpoint":"https://id.example.com/oauth2/token","jwks_uri":"https://id.example.com/oauth2/jwks","discovery":"https://id.example.com/.well-known/openid-configuration"}"#;

fn credential(kind: &str, kid: &str) -> String {
    format!(
        r#"{{"id":"c1","kind":"{kind}","kid":{kid},"jwk":null,"thumbprint":null,"not_before":1795253400,"expires_at":null,"revoked_at":null,"status":"live","created_at":1795253400}}"#
    )
}

fn role(name: &str) -> String {
    format!(
        r#"{{"id":"r1","name":"{name}","description":"","grants":[],"created_at":1795253400,"updated_at":1795253400,"version":1}}"#
    )
}

/// Sends its answers in order, one a connection, and keeps the requests.
struct Scripted {
    url: String,
    asked: Receiver<Vec<String>>,
}

impl Scripted {
    /// Answers are status and body; each carries `ETag: "v7"`, and `{URL}` in it is the server's own.
    fn start(answers: Vec<(u16, String)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("its address"));
        let (done, asked) = channel();
        let own = url.clone();
        std::thread::spawn(move || {
            let mut asked = Vec::new();
            for (status, body) in answers {
                let (stream, _) = listener.accept().expect("a connection");
                asked.push(answer(stream, status, &body.replace("{URL}", &own)));
            }
            done.send(asked)
        });
        Self { url, asked }
    }

    fn shell(&self) -> Shell {
        Shell::new()
            .with("FIRMAN_ADMIN_TOKEN", "t0ken")
            .with("FIRMAN_URL", &self.url)
    }

    /// Everything that was asked.
    fn asked(self) -> String {
        let asked = self.asked.recv_timeout(Duration::from_secs(10));
        asked.expect("every answer was fetched").join("\n")
    }
}

fn answer(mut stream: TcpStream, status: u16, body: &str) -> String {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut asked = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line of the request");
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let name = line.split(':').next().unwrap_or_default().to_lowercase();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.parse().unwrap_or(0);
        }
        if asked.is_empty() || name == "if-match" || name == "authorization" {
            asked.push_str(line);
            asked.push('\n');
        }
    }
    let mut content = vec![0; length];
    reader.read_exact(&mut content).expect("the body");
    asked.push_str(&String::from_utf8_lossy(&content));
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\netag: \"v7\"\r\nconnection: close\r\n\r\n",
        body.len()
    );
    stream
        .write_all(head.as_bytes())
        .expect("the answer's head");
    stream
        .write_all(body.as_bytes())
        .expect("the answer's body");
    asked
}

fn problem(status: u16, kind: &str, detail: &str) -> (u16, String) {
    let body = format!(
        r#"{{"type":"urn:firman:problem:{kind}","title":"T","status":{status},"detail":"{detail}","request_id":"r-1"}}"#
    );
    (status, body)
}

#[test]
fn a_refusal_removes_the_new_key_file_and_prints_the_detail() {
    let server = Scripted::start(vec![problem(
        409,
        "conflict",
        "the name 'mailer' was given out before; choose another",
    )]);
    let shell = server.shell();
    assert_snapshot!(shell.run("agent add mailer --owner ops --generate-key mailer.pem"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the name 'mailer' was given out before; choose another
    ");
    assert!(!shell.path("mailer.pem").exists());
    server.asked();
}

#[test]
fn a_fault_of_the_server_is_reported_with_its_request_id() {
    let server = Scripted::start(vec![problem(
        503,
        "unavailable",
        "the database did not answer; try again",
    )]);
    assert_snapshot!(server.shell().run("agent show mailer"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the database did not answer; try again
      request id: r-1
    ");
    server.asked();
}

#[test]
fn a_refusal_is_an_object_on_stderr_with_json() {
    let server = Scripted::start(vec![problem(404, "not_found", "agent `mailer` not found")]);
    assert_snapshot!(server.shell().run("agent show mailer --output json"), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"agent `mailer` not found","kind":"not_found","request_id":"r-1","status":404}}
    "#);
    server.asked();
}

#[test]
fn an_edit_is_tried_once_more_when_another_client_was_faster() {
    let stale = problem(
        412,
        "precondition_failed",
        "the agent was changed meanwhile; read it again",
    );
    let server = Scripted::start(vec![
        (200, AGENT.to_owned()),
        stale,
        (200, AGENT.to_owned()),
        (200, AGENT.to_owned()),
    ]);
    assert_snapshot!(server.shell().run("agent edit mailer --add-group ops --remove-group staff"), @r"
    exit code 0
    ----- stdout
    name     mailer
    subject  agent:mailer
    status   active
    owner    ops
    groups   staff
    created  2026-11-21T09:30:00Z
    id       a1
    ----- stderr
    ");
    assert_snapshot!(server.asked(), @r#"
    GET /admin/v1/agents/mailer HTTP/1.1
    authorization: Bearer t0ken

    PATCH /admin/v1/agents/mailer HTTP/1.1
    authorization: Bearer t0ken
    if-match: "v7"
    {"groups":["ops"]}
    GET /admin/v1/agents/mailer HTTP/1.1
    authorization: Bearer t0ken

    PATCH /admin/v1/agents/mailer HTTP/1.1
    authorization: Bearer t0ken
    if-match: "v7"
    {"groups":["ops"]}
    "#);
}

#[test]
fn an_edit_that_is_stale_twice_is_abandoned() {
    let stale = || {
        problem(
            412,
            "precondition_failed",
            "the agent was changed meanwhile; read it again",
        )
    };
    let server = Scripted::start(vec![
        (200, AGENT.to_owned()),
        stale(),
        (200, AGENT.to_owned()),
        stale(),
    ]);
    assert_snapshot!(server.shell().run("agent edit mailer --owner dev"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the agent was changed meanwhile; read it again
    ");
    server.asked();
}

#[test]
fn a_new_agent_with_a_key_ends_with_the_command_that_gets_a_token() {
    let credential = credential("public_key", r#""k1""#);
    let created = format!(r#"{{"agent":{AGENT},"client_id":"mailer","credential":{credential}}}"#);
    let server = Scripted::start(vec![(201, created), (200, ISSUER.to_owned())]);
    let shell = server.shell();
    assert_snapshot!(shell.run("agent add mailer --owner ops --group staff --attribute team=a=b --generate-key 'my key.pem'"), @r"
    exit code 0
    ----- stdout
    name       mailer
    subject    agent:mailer
    owner      ops
    groups     staff
    client_id  mailer
    kid        k1
    ----- stderr
    The private key is in `my key.pem` and nowhere else. Let only the agent read it.
    Next: firman token get --issuer https://id.example.com --client-id mailer --key 'my key.pem'
    ");
    assert_eq!(mode(&shell.path("my key.pem")), 0o600);
    server.asked();
}

#[test]
fn a_client_secret_is_data_and_is_said_to_be_shown_once() {
    let credential = credential("client_secret", "null");
    let created =
        format!(r#"{{"client_id":"mailer","client_secret":"fmn_s","credential":{credential}}}"#);
    let server = Scripted::start(vec![(201, created), (200, ISSUER.to_owned())]);
    assert_snapshot!(server.shell().run("credential add mailer --secret --expires-in 7d"), @r"
    exit code 0
    ----- stdout
    client_id      mailer
    client_secret  fmn_s
    credential     c1
    kind           client_secret
    status         live
    ----- stderr
    The client secret is shown once. Store it now, where only the agent can read it.
    Next: firman token get --issuer https://id.example.com --client-id mailer --secret-file FILE
    ");
    assert_snapshot!(server.asked(), @r#"
    POST /admin/v1/agents/mailer/credentials HTTP/1.1
    authorization: Bearer t0ken
    {"expires_in":604800,"kind":"client_secret"}
    GET /admin/v1/issuer HTTP/1.1
    authorization: Bearer t0ken
    "#);
}

#[test]
fn json_output_is_the_servers_object_and_nothing_else() {
    let created = r#"{"client_id":"mailer","client_secret":"fmn_s"}"#.to_owned();
    let server = Scripted::start(vec![(201, created)]);
    assert_snapshot!(server.shell().run("credential add mailer --secret -o json"), @r#"
    exit code 0
    ----- stdout
    {
      "client_id": "mailer",
      "client_secret": "fmn_s"
    }
    ----- stderr
    "#);
    server.asked();
}

#[test]
fn json_has_the_members_that_only_a_newer_server_knows_and_a_table_goes_on_without_them() {
    let newer = AGENT.replace(r#""version":7"#, r#""version":7,"risk":{"score":0.5}"#);
    let server = Scripted::start(vec![(200, newer.clone()), (200, newer.clone())]);
    let shell = server.shell();
    let json = shell.run("agent show mailer -o json");
    let json = json.split("stdout\n").nth(1).unwrap();
    let json = json.split("----- stderr").next().unwrap();
    let printed: serde_json::Value = serde_json::from_str(json).unwrap();
    assert_eq!(
        printed,
        serde_json::from_str::<serde_json::Value>(&newer).unwrap()
    );
    assert!(shell.run("agent show mailer").contains("name     mailer\n"));
    server.asked();
}

#[test]
fn an_answer_without_the_expected_members_is_named_and_no_value_of_it_is_shown() {
    let server = Scripted::start(vec![
        (200, r#"{"name":"mailer"}"#.to_owned()),
        (
            200,
            AGENT.replace(r#""version":7"#, r#""version":"s3cret""#),
        ),
    ]);
    let shell = server.shell();
    assert_snapshot!(shell.run("agent show mailer"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the server's answer does not have the expected form: missing field `id`
    hint: use the same version of firman here as on the server
    ");
    assert_snapshot!(shell.run("agent show mailer"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the server's answer does not have the expected form
    hint: use the same version of firman here as on the server
    ");
    server.asked();
}

#[test]
fn what_would_steer_a_terminal_comes_out_escaped() {
    let agent = AGENT
        .replace(r#""ops""#, r#""\u001b[2Jevil\n""#)
        .replace(r#"["staff"]"#, r#"["a","b"]"#);
    let list = format!(r#"{{"items":[{agent}],"next_cursor":"c2"}}"#);
    let server = Scripted::start(vec![(200, list)]);
    assert_snapshot!(server.shell().run("agent list --status active --search 'a&b=c' --limit 1"), @r"
    exit code 0
    ----- stdout
    NAME    STATUS  OWNER               GROUPS  ROLES  EXPIRES  CREATED
    mailer  active  \u{1b}[2Jevil\u{a}  a, b    -      -        2026-11-21T09:30:00Z
    ----- stderr
    There are more: add `--all`, or `--cursor c2`
    ");
    assert_snapshot!(server.asked(), @r"
    GET /admin/v1/agents?status=active&search=a%26b%3Dc&limit=1 HTTP/1.1
    authorization: Bearer t0ken
    ");
}

#[test]
fn json_is_all_pages_as_one_list() {
    let page = |name: &str, next: &str| {
        (
            200,
            format!(r#"{{"items":[{{"name":"{name}"}}],"next_cursor":{next}}}"#),
        )
    };
    let server = Scripted::start(vec![page("a", "\"c2\""), page("b", "null")]);
    assert_snapshot!(server.shell().run("role list -o json"), @r#"
    exit code 0
    ----- stdout
    {
      "items": [
        {
          "name": "a"
        },
        {
          "name": "b"
        }
      ],
      "next_cursor": null
    }
    ----- stderr
    "#);
    assert_snapshot!(server.asked(), @r"
    GET /admin/v1/roles?limit=200 HTTP/1.1
    authorization: Bearer t0ken

    GET /admin/v1/roles?limit=200&cursor=c2 HTTP/1.1
    authorization: Bearer t0ken
    ");
}

#[test]
fn a_limit_is_reached_over_short_and_empty_pages_and_no_further() {
    let page = |items: &str, next: &str| {
        (
            200,
            format!(r#"{{"items":[{items}],"next_cursor":{next}}}"#),
        )
    };
    let server = Scripted::start(vec![
        page(&role("a"), "\"c2\""),
        page("", "\"c3\""),
        page(&format!("{},{}", role("b"), role("c")), "\"c4\""),
    ]);
    assert_snapshot!(server.shell().run("role list --limit 3"), @r"
    exit code 0
    ----- stdout
    NAME  GRANTS  DESCRIPTION  CREATED
    a     -       -            2026-11-21T09:30:00Z
    b     -       -            2026-11-21T09:30:00Z
    c     -       -            2026-11-21T09:30:00Z
    ----- stderr
    There are more: add `--all`, or `--cursor c4`
    ");
    assert_snapshot!(server.asked(), @r"
    GET /admin/v1/roles?limit=3 HTTP/1.1
    authorization: Bearer t0ken

    GET /admin/v1/roles?limit=2&cursor=c2 HTTP/1.1
    authorization: Bearer t0ken

    GET /admin/v1/roles?limit=2&cursor=c3 HTTP/1.1
    authorization: Bearer t0ken
    ");
}

#[test]
fn an_export_is_one_entry_a_line() {
    let page = |seq: u32, next: &str| {
        (
            200,
            format!(
                r#"{{"items":[{{"seq":{seq}}},{{"seq":{}}}],"next_cursor":{next}}}"#,
                seq - 1
            ),
        )
    };
    let server = Scripted::start(vec![page(4, "\"c2\""), page(2, "null")]);
    assert_snapshot!(server.shell().run("audit export"), @r#"
    exit code 0
    ----- stdout
    {"seq":4}
    {"seq":3}
    {"seq":2}
    {"seq":1}
    ----- stderr
    "#);
    server.asked();
}

#[test]
fn a_broken_chain_fails_after_its_report() {
    let broken = r#"{"ok":false,"entries":9,"head_hash":"00ff","first_bad":{"seq":4,"problem":"its hash does not fit its content"}}"#;
    let server = Scripted::start(vec![(200, broken.to_owned())]);
    assert_snapshot!(server.shell().run("audit verify"), @r"
    exit code 1
    ----- stdout
    chain    broken
    entries  9
    head     00ff
    ----- stderr
    error: the audit chain is broken at entry 4: its hash does not fit its content
    hint: keep a copy of the database, and compare it with the last backup
    ");
    server.asked();
}

#[test]
fn an_issuer_that_goes_by_another_name_is_refused() {
    let server = Scripted::start(vec![(
        200,
        r#"{"issuer":"https://id.example.com"}"#.to_owned(),
    )]);
    let shell = Shell::new();
    shell.write("secret", super::SECRET);
    let line = format!(
        "token get --issuer {} --client-id mailer --secret-file secret",
        server.url
    );
    assert_snapshot!(shell.run(&line).replace(&server.url, "[URL]"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer calls itself `https://id.example.com`, not `[URL]`: both must match byte for byte
    hint: --issuer https://id.example.com
    ");
    server.asked();
}

#[test]
fn a_health_check_succeeds_on_200_and_fails_on_503() {
    let server = Scripted::start(vec![(200, String::new()), (503, String::new())]);
    let line = format!("healthcheck --url {}", server.url);
    let url = server.url.clone();
    assert_snapshot!(Shell::new().run(&line).replace(&url, "[URL]"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    `[URL]/healthz` is healthy
    ");
    assert_snapshot!(Shell::new().run(&line).replace(&url, "[URL]"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `[URL]/healthz` answered with status 503
    ");
    server.asked();
}

const DISCOVERY: &str =
    r#"{"issuer":"{URL}","token_endpoint":"{URL}/oauth2/token","jwks_uri":"{URL}/oauth2/jwks"}"#;

#[test]
fn a_token_is_issued_for_a_client_secret() {
    let granted =
        r#"{"access_token":"h.p.s","token_type":"Bearer","expires_in":900,"scope":"read"}"#
            .to_owned();
    let server = Scripted::start(vec![(200, DISCOVERY.to_owned()), (200, granted)]);
    let shell = Shell::new();
    shell.write("secret", super::SECRET);
    let line = "--client-id mailer --secret-file secret --resource https://api.example.com --scope 'read write' --expires-in 15m";
    assert_snapshot!(shell.run(&format!("token get --issuer {} {line}", server.url)), @r"
    exit code 0
    ----- stdout
    h.p.s
    ----- stderr
    ");
    assert_snapshot!(server.asked(), @r"
    GET /.well-known/openid-configuration HTTP/1.1

    POST /oauth2/token HTTP/1.1
    authorization: Basic bWFpbGVyOmZtbl9BQUVDQXdRRkJnY0lDUW9MREEwT0R4QVJFaE1VRlJZWEdCa2FHeHdkSGg4cmZISFdk
    grant_type=client_credentials&resource=https%3A%2F%2Fapi.example.com&scope=read+write&expires_in=900
    ");
}

#[test]
fn a_token_had_with_a_key_is_written_into_a_file_of_its_owners_alone() {
    let granted = r#"{"access_token":"h.p.s","token_type":"Bearer","scope":"read"}"#.to_owned();
    let server = Scripted::start(vec![(200, DISCOVERY.to_owned()), (200, granted)]);
    let shell = Shell::new();
    let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
    shell.write("mailer.pem", &key.to_pkcs8_pem().unwrap());
    let line = format!(
        "token get --issuer {} --client-id mailer --key mailer.pem --out token",
        server.url
    );
    assert_snapshot!(shell.run(&line), @r"
    exit code 0
    ----- stdout
    ----- stderr
    Wrote the token to `token`
    ");
    assert_eq!(
        std::fs::read_to_string(shell.path("token")).unwrap(),
        "h.p.s\n"
    );
    assert_eq!(mode(&shell.path("token")), 0o600);
    let asked = server.asked();
    let (form, assertion) = asked.split_once("&client_assertion=").unwrap();
    assert_snapshot!(form, @r"
    GET /.well-known/openid-configuration HTTP/1.1

    POST /oauth2/token HTTP/1.1
    grant_type=client_credentials&client_id=mailer&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer
    ");
    assert_eq!(assertion.split('.').count(), 3);
}

#[test]
fn a_refused_token_is_reported_with_the_issuers_reason() {
    let refused = r#"{"error":"invalid_scope","error_description":"scope 'write' is not granted; granted: read"}"#.to_owned();
    let server = Scripted::start(vec![(200, DISCOVERY.to_owned()), (400, refused)]);
    let shell = Shell::new();
    shell.write("secret", super::SECRET);
    let line = format!(
        "token get --issuer {} --client-id mailer --secret-file secret --scope write -o json",
        server.url
    );
    assert_snapshot!(shell.run(&line), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"the issuer refused: scope 'write' is not granted; granted: read (invalid_scope)","kind":"invalid_scope","status":400}}
    "#);
    server.asked();
}

#[test]
fn a_token_is_verified_from_discovery_and_key_set() {
    let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
    let jwks =
        json!({ "keys": [key.public_jwk().to_jwks_entry(key.kid(), SigningAlgorithm::Es256)] })
            .to_string();
    let answers = || vec![(200, DISCOVERY.to_owned()), (200, jwks.clone())];
    let verify = |server: Scripted, audience: &str| {
        let exp = SystemClock.now().0 + 600;
        let claims = json!({ "iss": server.url, "sub": "agent:mailer", "aud": "https://api.example.com", "exp": exp });
        let token = key
            .sign_compact("at+jwt", claims.to_string().as_bytes())
            .unwrap();
        let line = format!(
            "token verify {token} --issuer {} --audience {audience} -o json",
            server.url
        );
        let outcome = Shell::new().run(&line).replace(&server.url, "[URL]");
        let outcome = outcome
            .replace(&exp.to_string(), "[EXP]")
            .replace(key.kid(), "[KID]");
        server.asked();
        outcome
    };
    assert_snapshot!(verify(Scripted::start(answers()), "https://other.example.com"), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"not valid: the token is for [\"https://api.example.com\"] (`aud`), not for \"https://other.example.com\"","kind":"token"}}
    "#);
    assert_snapshot!(verify(Scripted::start(answers()), "https://api.example.com"), @r#"
    exit code 0
    ----- stdout
    {
      "claims": {
        "aud": "https://api.example.com",
        "exp": [EXP],
        "iss": "[URL]",
        "sub": "agent:mailer"
      },
      "header": {
        "alg": "ES256",
        "kid": "[KID]",
        "typ": "at+jwt"
      },
      "verified": true
    }
    ----- stderr
    "#);
}

#[test]
fn a_key_file_stays_when_the_answer_was_lost() {
    // The answer breaks off before its announced end.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]).unwrap();
        stream
            .write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 100\r\n\r\n{")
            .unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        stream.read_to_end(&mut Vec::new()).unwrap();
    });
    let shell = Shell::new()
        .with("FIRMAN_ADMIN_TOKEN", "t")
        .with("FIRMAN_URL", &url);
    assert_snapshot!(shell.run("agent add mailer --owner ops --generate-key mailer.pem"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the connection closed before the answer was complete: end of file before message length reached. The key may have been registered. Its private half stays in `mailer.pem`
    ");
    assert!(shell.path("mailer.pem").exists());
    server.join().unwrap();
}
