//! The round from the outside.

use std::net::TcpListener;

use serde_json::{Value, json};

use super::web::{Page, Web};
use super::{Live, check, summary, told};

/// A base URL on this machine: a stand-in may have it.
const LOCAL: &str = "--base-url http://127.0.0.1:9";
const METADATA: &str = "/.well-known/openid-configuration";

/// A round whose discovery is looked for at `web`.
fn round_at(live: &Live, web: &Web) -> (Option<i32>, Vec<Value>) {
    live.verify(&format!("{LOCAL} --discovery-base {}", web.url))
}

/// Metadata as they are to be, with the keys at the web server itself.
fn metadata(live: &Live) -> Value {
    json!({"issuer": live.issuer(), "jwks_uri": "{URL}/jwks"})
}

#[test]
fn an_issuer_that_claude_cannot_reach_fails_and_says_what_to_do() {
    let live = Live::start();
    let (code, checks) = live.verify("");
    assert_eq!(code, Some(1));
    assert_eq!(
        summary(&checks),
        [
            "ok issuer",
            "fail address",
            "fail dns",
            "ok port",
            "ok clock",
            "ok discovery",
            "ok jwks",
            "ok keys",
            "ok agent",
            "ok token",
        ]
    );
    assert_eq!(
        told(&checks, "address"),
        format!(
            "fail: `{}/` is not https, which Claude requires",
            live.issuer()
        )
    );
    let hint = check(&checks, "address")["hint"].as_str().expect("a hint");
    assert!(hint.ends_with("or register the keys inline"), "{hint}");
}

#[test]
fn an_issuer_on_this_machine_is_good_enough_for_the_simulator() {
    let live = Live::start();
    let outcome = live.run(&format!("claude verify --agent mailer {LOCAL}"));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let lines: Vec<&str> = outcome.stdout.lines().collect();
    assert_eq!(lines.len(), 12, "{outcome}");
    assert!(
        lines[1].starts_with("warn  address    `http://127.0.0.1:"),
        "{outcome}"
    );
    assert!(
        lines[1].ends_with(
            "` is not https, which Claude requires (the simulator accepts this, Claude does not)"
        ),
        "{outcome}"
    );
    assert_eq!(
        lines[2],
        "      hint: serve it behind a TLS proxy with an `https` issuer URL, or register the keys inline"
    );
    assert_eq!(
        lines[11],
        "ok    token      a token with the claims of `firman agent explain` satisfies the rule that `firman claude connect` makes: `sub` agent:mailer, Claude's token lives at most 1200 s"
    );
    assert!(
        outcome
            .stderr
            .ends_with("\nNo check failed; warnings: 2.\n"),
        "{outcome}"
    );
}

#[test]
fn the_agents_own_token_is_judged_and_never_printed() {
    let live = Live::start();
    let outcome = live.run(&format!(
        "claude verify --agent mailer --key mailer.pem --inline {LOCAL}"
    ));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        outcome
            .stdout
            .contains("ok    token      the agent's token satisfies the rule"),
        "{outcome}"
    );
    assert!(!outcome.stdout.contains("eyJ"), "{outcome}");
    let issued = live.json("audit list --event token.issued");
    assert_eq!(issued["items"].as_array().expect("entries").len(), 1);
}

#[test]
fn a_rule_that_does_not_accept_the_token_is_reported_with_the_reason() {
    let live = Live::start();
    for (options, seen) in [
        (
            "--subject-prefix agent:other",
            "(match_subject_prefix): `sub` is",
        ),
        (
            "--subject-prefix agent:mailer --audience https://x",
            "(audience): `aud` is",
        ),
        ("--claim acting_agent=agent:other", "(match_claims): "),
        (
            "--condition 'deployers'.in.claims",
            "Claude rejects this rule: ",
        ),
        ("--condition has(claims.act)", "(match_condition): "),
        ("--condition true", "Claude rejects this rule: "),
        (
            "--audience https://api.anthropic.com",
            "Claude rejects this rule: ",
        ),
        ("--max-lifetime 5m", "(lifetime): "),
        (
            "--registered-issuer http://127.0.0.1/",
            "(issuer_mismatch): ",
        ),
    ] {
        let (code, checks) = live.verify(&format!("{LOCAL} {options}"));
        assert_eq!(code, Some(1), "{options}");
        let failed: Vec<&str> = checks
            .iter()
            .filter(|check| check["status"] == "fail")
            .filter_map(|check| check["seen"].as_str())
            .collect();
        assert_eq!(failed.len(), 1, "{options}: {failed:?}");
        assert!(failed[0].contains(seen), "{options}: {failed:?}");
    }
    let (code, checks) = live.verify(&format!("{LOCAL} --subject-prefix agent:mail*"));
    assert_eq!(code, Some(0));
    assert_eq!(check(&checks, "rule")["status"], "warn");
}

#[test]
fn an_agent_that_gets_no_token_fails() {
    let live = Live::start();
    live.json("agent add idle --owner ops");
    let outcome = live.run(&format!("claude verify --agent idle {LOCAL}"));
    assert_eq!(outcome.code, Some(1), "{outcome}");
    assert!(
        outcome
            .stdout
            .contains("fail  agent      the issuer refuses `idle` a token: "),
        "{outcome}"
    );
    let unknown = live.run(&format!("claude verify --agent nobody {LOCAL}"));
    assert_eq!(unknown.code, Some(1), "{unknown}");
    assert_eq!(unknown.stdout, "");
    let exchange = live.run(&format!("claude verify --agent mailer --exchange {LOCAL}"));
    assert_eq!(exchange.code, Some(2), "{exchange}");
}

#[test]
fn what_is_wrong_with_discovery_is_reported() {
    let live = Live::start();
    let good = metadata(&live);
    let with = |issuer: &str| {
        let mut document = good.clone();
        document["issuer"] = json!(issuer);
        Page::json(document)
    };
    let slash = format!("{}/", live.issuer());
    for (page, seen) in [
        (with(&slash), "they differ by a trailing slash"),
        (
            with("https://other.example.com"),
            "they are different issuers",
        ),
        (
            Page {
                status: 302,
                headers: "location: https://login.example.com/\r\n",
                ..Page::default()
            },
            "answers 302 and redirects to `https://login.example.com/`",
        ),
        (
            Page {
                status: 503,
                ..Page::default()
            },
            "answers 503",
        ),
        (
            Page {
                body: "<html>".to_owned(),
                ..Page::json("")
            },
            "is not valid JSON",
        ),
        (Page::json(json!({"issuer": live.issuer()})), "is not a URL"),
    ] {
        let (code, checks) = round_at(&live, &Web::start(&[(METADATA, page)]));
        assert_eq!(code, Some(1));
        let told = told(&checks, "discovery");
        assert!(told.starts_with("fail: ") && told.contains(seen), "{told}");
    }
}

#[test]
fn what_is_wrong_with_the_key_set_is_reported() {
    let live = Live::start();
    let discovery = || (METADATA, Page::json(metadata(&live)));
    let key =
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "k", "x": "AA", "y": "AA"});
    let mut private = key.clone();
    private["d"] = json!("c2VjcmV0");
    let huge: Vec<Value> = (0..2000).map(|_| key.clone()).collect();
    for (page, seen) in [
        (
            Page::json(json!({"keys": [private]})),
            "publishes private key material (member `d`)",
        ),
        (
            Page::json(json!({"keys": huge})),
            "is larger than 65536 bytes",
        ),
        (
            Page::json(json!({"keys": [key, key]})),
            "two keys have the `kid` k",
        ),
        (Page::json(json!([])), "is not a JSON object"),
        (
            Page {
                status: 403,
                ..Page::default()
            },
            "answers 403",
        ),
    ] {
        let (code, checks) = round_at(&live, &Web::start(&[discovery(), ("/jwks", page)]));
        assert_eq!(code, Some(1));
        let told = told(&checks, "jwks");
        assert!(told.starts_with("fail: ") && told.contains(seen), "{told}");
        assert!(!told.contains("c2VjcmV0"), "{told}");
    }
}

#[test]
fn another_content_type_is_a_warning() {
    let live = Live::start();
    let page = Page {
        headers: "content-type: text/html\r\n",
        ..Page::json(
            json!({"issuer": live.issuer(), "jwks_uri": format!("{}/oauth2/jwks", live.issuer())}),
        )
    };
    let (code, checks) = round_at(&live, &Web::start(&[(METADATA, page)]));
    assert_eq!(code, Some(0), "{checks:#?}");
    let told = told(&checks, "discovery");
    assert!(
        told.starts_with("warn: ") && told.ends_with("its content type is text/html"),
        "{told}"
    );
}

#[test]
fn a_host_without_a_listener_or_a_certificate_fails() {
    let live = Live::start();
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        listener.local_addr().expect("its address").to_string()
    };
    let (code, checks) = live.verify(&format!("{LOCAL} --discovery-base http://{closed}"));
    assert_eq!(code, Some(1));
    assert!(told(&checks, "port").starts_with("fail: "), "{checks:#?}");
    let plain = Web::start(&[]);
    let tls = plain.url.replace("http://", "https://");
    let (code, checks) = live.verify(&format!("{LOCAL} --discovery-base {tls}"));
    assert_eq!(code, Some(1));
    assert!(
        told(&checks, "tls").starts_with("fail: no trusted connection to `127.0.0.1`: "),
        "{checks:#?}"
    );
    let (_, checks) = live.verify(&format!(
        "{LOCAL} --discovery-base https://no-such-host.invalid"
    ));
    assert_eq!(
        told(&checks, "dns"),
        "warn: `no-such-host.invalid` does not resolve (the simulator accepts this, Claude does not)"
    );
}

#[test]
fn inline_keys_need_no_reachable_issuer_but_a_key_consumer() {
    let live = Live::start();
    let (code, checks) = live.verify("--inline");
    assert_eq!(code, Some(0), "{checks:#?}");
    assert_eq!(check(&checks, "address")["status"], "warn");
    assert!(told(&checks, "keys").contains("; no key consumer stands for the inline copy"));
}
