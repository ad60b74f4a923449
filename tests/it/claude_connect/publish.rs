//! `firman publish-static` against a running issuer, and a web host that serves what it wrote.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::Live;

/// Serves a directory, every file as `content_type`.
fn web_host(directory: PathBuf, content_type: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.expect("a connection"), &directory, content_type);
        }
    });
    url
}

fn answer(mut stream: TcpStream, directory: &Path, content_type: &str) {
    let mut reader = BufReader::new(stream.try_clone().expect("a second handle"));
    let mut request = String::new();
    reader.read_line(&mut request).expect("the request line");
    let path = request.split(' ').nth(1).expect("a path").to_owned();
    let mut line = String::new();
    while reader.read_line(&mut line).expect("a header") > 2 {
        line.clear();
    }
    let (status, body) = match std::fs::read(directory.join(path.trim_start_matches('/'))) {
        Ok(body) => (200, body),
        Err(_) => (404, Vec::new()),
    };
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).expect("the head");
    stream.write_all(&body).expect("the body");
}

#[test]
fn a_private_issuer_needs_the_address_where_the_copy_will_be() {
    let live = Live::start();
    assert_snapshot!(live.run("publish-static public"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `--base` is required: the issuer's own URL `[ISSUER]` cannot serve the copy: issuer_url: url must use https scheme
    hint: name the directory's public URL with `--base`
    ");
    assert!(!live.path("public").exists());
}

#[test]
fn what_makes_no_sense_is_refused() {
    let live = Live::start();
    for line in [
        "publish-static",
        "publish-static public --check https://keys.example.com",
        "publish-static --check https://keys.example.com --base https://keys.example.com",
        "publish-static public --base keys.example.com",
        "publish-static --check keys.example.com",
    ] {
        let outcome = live.run(line);
        assert!(outcome.starts_with("exit code 2"), "{line}: {outcome}");
    }
}

#[test]
fn the_copy_points_to_itself_and_keeps_the_issuers_name() {
    let live = Live::start();
    assert_snapshot!(live.run("publish-static public --base https://keys.example.com/"), @r"
    exit code 0
    ----- stdout
    issuer          [ISSUER]
    discovery base  https://keys.example.com
    keys            [KEY], [KEY]
    written         oauth2/jwks
    written         .well-known/openid-configuration
    ----- stderr
    Serve both files as application/json, without a redirect. Set the type: the names have no extension.
    The copy does not follow the issuer. Publish again after each `firman key revoke`, and within 15 minutes of each
    `firman key rotate`, before the new key signs: firman publish-static public --base https://keys.example.com
    To make new keys wait for the copy, register it: firman key consumer add static-copy
    Next: firman publish-static --check https://keys.example.com
    ");
    let file = |name: &str| std::fs::read(live.path("public").join(name)).expect(name);
    let document: Value =
        serde_json::from_slice(&file(".well-known/openid-configuration")).expect("a JSON document");
    assert_eq!(document["issuer"], live.public());
    assert_eq!(document["jwks_uri"], "https://keys.example.com/oauth2/jwks");
    let keys: Value = serde_json::from_slice(&file("oauth2/jwks")).expect("a key set");
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(2));
    assert!(!keys.to_string().contains("\"d\""));
    for name in [".well-known/openid-configuration", "oauth2/jwks"] {
        assert_eq!(super::mode(&live.path("public").join(name)), 0o644);
    }

    let again = live.json("publish-static public --base https://keys.example.com");
    let changed = again["files"].as_array().expect("files").iter();
    assert!(
        changed.clone().all(|file| file["changed"] == false),
        "{again}"
    );
    assert_eq!(again["content_type"], "application/json");
}

#[test]
fn an_issuer_that_answers_elsewhere_is_published_under_its_own_name() {
    let live = Live::start_as("https://id.example.com");
    let line = format!("publish-static public --from {}", live.public());
    let outcome = live.json(&line);
    assert_eq!(outcome["discovery_base"], "https://id.example.com");
    let document = std::fs::read(live.path("public/.well-known/openid-configuration"));
    let document: Value = serde_json::from_slice(&document.expect("it")).expect("JSON");
    assert_eq!(document["jwks_uri"], "https://id.example.com/oauth2/jwks");
    let other = format!(
        "publish-static other --from {} --issuer https://else.example.com",
        live.public()
    );
    assert_snapshot!(live.run(&other), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `[ISSUER]/.well-known/openid-configuration` belongs to the issuer `https://id.example.com`, not to `https://else.example.com`: both must match byte for byte
    ");
}

#[test]
fn a_copy_is_current_until_a_key_is_made_or_withdrawn() {
    let live = Live::start();
    let host = web_host(live.path("public"), "application/json; charset=utf-8");
    let publish = format!("publish-static public --base {host}");
    let check = format!("publish-static --check {host}");
    live.run(&publish);
    let current = live.json(&check);
    assert_eq!(current["current"], true, "{current}");

    live.run("key rotate");
    assert_snapshot!(live.run(&check).replace(&host, "[COPY]"), @r"
    exit code 1
    ----- stdout
    copy     [COPY]
    issuer   [ISSUER]
    status   stale
    keys     [KEY], [KEY]
    missing  [KEY], [KEY]
    ----- stderr
    error: the copy at `[COPY]` is stale: keys are missing, so tokens signed with them are rejected
    hint: firman publish-static DIR --base [COPY]
    ");
    live.run(&publish);
    assert_eq!(live.json(&check)["current"], true);

    let keys = live.json("key list");
    let kid = keys["items"][0]["kid"].as_str().expect("a key");
    live.run(&format!("key revoke {kid} --reason leaked --yes"));
    let stale = live.outcome(&format!("{check} --output json"));
    let stale: Value = serde_json::from_str(&stale.stdout).expect("JSON");
    assert_eq!(stale["extra_kids"], json!([kid]));
    assert_eq!(stale["current"], false);
}

#[test]
fn a_copy_of_another_issuer_or_under_another_content_type_is_stale() {
    let live = Live::start();
    let host = web_host(live.path("public"), "application/octet-stream");
    live.run(&format!("publish-static public --base {host}"));
    let other = live.path("public/.well-known/openid-configuration");
    let document = std::fs::read_to_string(&other).expect("the document");
    let slashed = document.replace(&live.public(), &format!("{}/", live.public()));
    std::fs::write(&other, slashed).expect("it is changed");
    let outcome = live.run(&format!("publish-static --check {host}"));
    assert_snapshot!(outcome.replace(&host, "[COPY]"), @r"
    exit code 1
    ----- stdout
    copy    [COPY]
    issuer  [ISSUER]
    status  stale
    keys    [KEY], [KEY]
    ----- stderr
    error: the copy at `[COPY]` is stale: its issuer is `[ISSUER]/`, not `[ISSUER]`; `.well-known/openid-configuration` is served as `application/octet-stream`, not as `application/json`; `oauth2/jwks` is served as `application/octet-stream`, not as `application/json`
    hint: firman publish-static DIR --base [COPY]
    ");
}

#[test]
fn a_copy_that_is_not_there_is_said_so() {
    let live = Live::start();
    let host = web_host(live.path("nowhere"), "application/json");
    let outcome = live.run(&format!("publish-static --check {host}"));
    assert_snapshot!(outcome.replace(&host, "[COPY]"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `[COPY]/.well-known/openid-configuration` answered with status 404; expected 200 without a redirect
    ");
}

#[test]
fn every_published_key_says_that_it_is_for_signatures() {
    let live = Live::start();
    live.json("resource add claude --profile claude");
    live.json("role add claude-user --grant claude");
    live.json("agent add mailer --owner ops --role claude-user --secret");
    // Prepared ones are published too.
    live.json("key rotate");
    live.json("publish-static public --base https://keys.example.com");
    let copy = std::fs::read_to_string(live.path("public/oauth2/jwks")).expect("a copy");
    let copy: Value = serde_json::from_str(&copy).expect("JSON");
    let served = reqwest_json(&format!("{}/oauth2/jwks", live.public()));
    let inline = live.json("claude connect --agent mailer");
    for keys in [
        &copy["keys"],
        &served["keys"],
        &inline["issuer"]["jwks"]["keys"],
    ] {
        let keys = keys.as_array().expect("keys");
        assert_eq!(keys.len(), 4);
        // Validators refuse a key whose use is another, and some one without.
        assert!(keys.iter().all(|key| key["use"] == "sig"), "{keys:#?}");
    }
}

/// What `url` serves.
fn reqwest_json(url: &str) -> Value {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let client = reqwest::Client::builder().no_proxy().build();
        let answer = client.expect("a client").get(url).send().await;
        answer.expect("an answer").json().await.expect("JSON")
    })
}
