//! Why Claude refused: one token per cause that can be made with a real issuer.

use firman::jose::{SigningAlgorithm, SigningKey};
use firman::ports::time::{Clock, SystemClock};
use serde_json::{Value, json};

use super::Live;
use crate::process::Site;

fn first(causes: &[Value]) -> (&str, &str) {
    let text = |member: &str| causes[0][member].as_str().expect("a text");
    (text("cause"), text("likelihood"))
}

/// A token by somebody's own key, with `claims` over good ones.
fn forged(live: &Live, claims: Value) -> String {
    let key = SigningKey::generate(SigningAlgorithm::Es256).expect("a key");
    let now = SystemClock.now().0;
    let mut all = json!({
        "iss": live.issuer(), "sub": "agent:mailer", "aud": "https://api.anthropic.com", "iat": now, "nbf": now,
        "exp": now + 600, "jti": "made-up", "acting_agent": "agent:mailer",
    });
    for (name, value) in claims.as_object().expect("claims") {
        all[name] = value.clone();
    }
    key.sign_compact("JWT", all.to_string().as_bytes())
        .expect("a token")
}

fn jti(token: &str) -> String {
    let jws = firman::jose::UnverifiedJws::parse(token, 8192).expect("a token");
    let claims = jws.unverified_claims().expect("claims");
    claims["jti"].as_str().expect("a jti").to_owned()
}

#[test]
fn what_cannot_be_looked_up_is_an_error() {
    let live = Live::start();
    for (line, code, said) in [
        ("claude diagnose", 2, "required"),
        ("claude diagnose --request-id req_01", 2, "--at"),
        (
            "claude diagnose --jti a --request-id b --at 1m",
            2,
            "cannot be used with",
        ),
        (
            "claude diagnose --jti nobody-knows",
            1,
            "has not issued a token with the `jti` `nobody-knows`",
        ),
        (
            "claude diagnose --request-id req_01 --at 1m",
            1,
            "no token for Claude was issued in the hour before",
        ),
    ] {
        let outcome = live.run(line);
        assert_eq!(outcome.code, Some(code), "{line}: {outcome}");
        assert!(outcome.stderr.contains(said), "{line}: {outcome}");
        assert_eq!(outcome.stdout, "", "{line}");
    }
}

#[test]
fn a_sound_token_was_most_likely_used_before() {
    let live = Live::start();
    let token = live.token();
    // Later than any key is new to Claude, and than a workload's first exchange.
    let refused_at = SystemClock.now().0 + 120;
    let outcome = live.run(&format!("claude diagnose {token} --at {refused_at}"));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert!(
        outcome
            .stdout
            .starts_with("1. jti_reused (likely)\n   seen: issued once, to mailer at "),
        "{outcome}"
    );
    assert!(
        outcome
            .stdout
            .contains("\n2. rule_unknown (possible)\n   seen: the agent has no link"),
        "{outcome}"
    );
    assert!(!outcome.stdout.contains("eyJ"), "{outcome}");
    assert_eq!(outcome.stderr, "");
    // What to do is one action, with the names in it.
    let hints = outcome
        .stdout
        .lines()
        .filter_map(|line| line.strip_prefix("   hint: "));
    let hints: Vec<&str> = hints.collect();
    assert_eq!(
        hints,
        [
            "firman exec --agent mailer --key FILE -- COMMAND",
            "firman claude link mailer --rule fdrl_… --organization UUID --service-account svac_…",
        ]
    );
}

#[test]
fn a_key_that_is_just_published_may_be_unknown_yet() {
    let live = Live::start();
    let causes = live.diagnose(&live.token());
    assert_eq!(first(&causes), ("unknown_kid", "possible"), "{causes:#?}");
}

#[test]
fn a_jti_or_the_time_of_the_refusal_finds_the_token() {
    let live = Live::start();
    let token = live.token();
    let id = jti(&token);
    let by_jti = live.diagnose(&format!("--jti={id}"));
    assert!(
        by_jti.iter().any(|found| found["cause"] == "jti_reused"),
        "{by_jti:#?}"
    );
    let now = SystemClock.now().0;
    let by_time = live.json(&format!("claude diagnose --request-id req_01 --at {now}"));
    assert_eq!(
        (&by_time["agent"], &by_time["jti"]),
        (&json!("mailer"), &json!(id))
    );
    let later = live.diagnose(&format!("--jti={id} --at {}", now + 300));
    assert_eq!(first(&later), ("jti_reused", "likely"));
    let expired = live.diagnose(&format!("--jti={id} --at {}", now + 900));
    assert_eq!(first(&expired), ("expired", "certain"));
}

#[test]
fn each_fault_of_a_token_is_named() {
    let live = Live::start();
    let token = live.token();
    let (head, signature) = token.rsplit_once('.').expect("a signature");
    let swapped = if signature.starts_with('A') { "B" } else { "A" };
    let altered = format!("{head}.{swapped}{}", &signature[1..]);
    let now = SystemClock.now().0;
    let cases = [
        ("not.a.token".to_owned(), "malformed"),
        (altered, "signature"),
        (forged(&live, json!({})), "not_issued_here"),
        (
            forged(&live, json!({"iss": format!("{}/", live.issuer())})),
            "issuer_mismatch",
        ),
        (
            forged(&live, json!({"iss": "https://id.example.org"})),
            "issuer_mismatch",
        ),
    ];
    for (token, cause) in cases {
        let causes = live.diagnose(&token);
        assert_eq!(first(&causes), (cause, "certain"), "{causes:#?}");
    }
    for (claims, cause) in [
        (json!({"exp": now + 7200}), "lifetime"),
        (json!({"iat": now + 300}), "issued_in_future"),
        (json!({"aud": "mailer"}), "audience"),
        (json!({"sub": "agent:other"}), "match_subject_prefix"),
        (json!({"acting_agent": "agent:other"}), "match_claims"),
    ] {
        let options = format!("{} --agent mailer", forged(&live, claims));
        let causes = live.diagnose(&options);
        assert!(
            causes.iter().any(|found| found["cause"] == cause),
            "{cause}: {causes:#?}"
        );
    }
    let causes = live.diagnose(&format!("{token} --max-lifetime 5m"));
    assert_eq!(first(&causes), ("lifetime", "certain"));
    let causes = live.diagnose(&format!("{token} --claim owner=nobody"));
    assert_eq!(first(&causes), ("match_claims", "certain"));
}

#[test]
fn a_revoked_key_is_reported_with_the_time() {
    let live = Live::start();
    let token = live.token();
    let keys = live.json("key list");
    let keys = keys["items"].as_array().expect("keys").clone();
    let es256 = keys
        .iter()
        .find(|key| key["algorithm"] == "ES256")
        .expect("a key");
    let kid = es256["kid"].as_str().expect("a kid");
    live.json(&format!("key revoke {kid} --reason leaked --yes"));
    let causes = live.diagnose(&token);
    assert_eq!(first(&causes), ("unknown_kid", "certain"));
    let seen = causes[0]["evidence"].as_str().expect("evidence");
    assert!(seen.contains(" is revoked since 20"), "{seen}");
}

#[test]
fn a_leftover_api_key_is_found_and_not_shown() {
    let live = Live::at(Site::new().with("ANTHROPIC_API_KEY", "sk-ant-secret"));
    let outcome = live.run(&format!("claude diagnose {}", live.token()));
    assert!(
        outcome
            .stdout
            .starts_with("1. api_key_shadows_federation (likely)\n"),
        "{outcome}"
    );
    assert!(!outcome.stdout.contains("sk-ant-secret"), "{outcome}");
}
