//! Every cause for which Claude denies, made for real: the stand-in denies for it, and `firman claude
//! diagnose`, which is told nothing of that, names it first.

use std::net::TcpListener;

use firman::jose::{SigningAlgorithm, SigningKey, UnverifiedJws};
use firman::ports::time::{Clock, SystemClock};
use firman::relying_party::claude::{Denial, RuleId, ServiceAccountId, WorkspaceId};
use serde_json::{Map, Value, json};

use super::Live;
use super::exchange::{ADMIN_TOKEN, StandIn};
use crate::process::Site;

/// Later than any key is new to Claude, and than a workload's first exchange.
const LATER_SECONDS: i64 = 120;

/// A token that is denied, how sure that is to be seen, and when it was denied.
struct Situation {
    token: String,
    likelihood: &'static str,
    at: i64,
}

fn certain(token: String) -> Situation {
    Situation {
        token,
        likelihood: "certain",
        at: SystemClock.now().0,
    }
}

fn likely(token: String) -> Situation {
    Situation {
        likelihood: "likely",
        ..certain(token)
    }
}

/// Header and claims of a token of the issuer's.
type Parts = (Map<String, Value>, Map<String, Value>);

/// What the issuer gave, changed, and signed by a key that Claude is told to trust: what no issuer of ours
/// gives away can be had in no other manner.
fn altered(live: &Live, stand_in: &StandIn, alter: impl FnOnce(&mut Parts)) -> Situation {
    let key = SigningKey::generate(SigningAlgorithm::Es256).expect("a key");
    let entry = key
        .public_jwk()
        .to_jwks_entry(key.kid(), SigningAlgorithm::Es256);
    let inline = json!({ "jwks": { "type": "inline", "keys": [entry] } });
    stand_in.administer(&issuer(stand_in), &inline);
    certain(signed_by(&key, &live.token(), alter))
}

fn signed_by(key: &SigningKey, token: &str, alter: impl FnOnce(&mut Parts)) -> String {
    let jws = UnverifiedJws::parse(token, 8192).expect("a token");
    let header = json!({ "alg": key.algorithm(), "kid": key.kid(), "typ": "JWT" });
    let header = header.as_object().expect("members").clone();
    let mut parts = (header, jws.unverified_claims().expect("claims"));
    alter(&mut parts);
    let bytes = |part: &Map<String, Value>| serde_json::to_vec(part).expect("JSON");
    key.sign_parts(&bytes(&parts.0), &bytes(&parts.1))
        .expect("a signature")
}

fn without(claim: &'static str) -> impl FnOnce(&mut Parts) {
    move |(_, claims)| {
        claims.remove(claim).expect("a claim to leave out");
    }
}

fn with(claim: &'static str, value: Value) -> impl FnOnce(&mut Parts) {
    move |(_, claims)| {
        claims.insert(claim.to_owned(), value);
    }
}

fn issuer(stand_in: &StandIn) -> String {
    let id = stand_in.ids.issuer_id.as_ref().expect("an issuer");
    format!("federation_issuers/{id}")
}

fn rule(stand_in: &StandIn) -> String {
    format!("federation_rules/{}", stand_in.ids.rule_id)
}

/// A sound token, and a rule that matches another.
fn unmatched(live: &Live, stand_in: &StandIn, member: &str, wanted: Value) -> Situation {
    let mut matched =
        json!({ "subject_prefix": "agent:mailer", "audience": "https://api.anthropic.com" });
    matched[member] = wanted;
    stand_in.administer(&rule(stand_in), &json!({ "match": matched }));
    certain(live.token())
}

/// Makes the situation in which Claude denies for that cause. Exhaustive: a new cause needs a case.
#[expect(clippy::too_many_lines, reason = "one case per cause, side by side")]
fn situation(denial: Denial, live: &Live, stand_in: &mut StandIn) -> Situation {
    let now = SystemClock.now().0;
    match denial {
        Denial::RuleUnknown => {
            stand_in.ids.rule_id = RuleId::parse("fdrl_nobody").expect("an id");
            likely(live.token())
        }
        Denial::RuleArchived => {
            stand_in.simulator.archive_rule(&stand_in.ids);
            certain(live.token())
        }
        Denial::TooLarge => altered(live, stand_in, with("groups", json!("g".repeat(17 * 1024)))),
        Denial::Malformed => {
            let token = live.token();
            let (two_parts, _) = token.rsplit_once('.').expect("three parts");
            certain(two_parts.to_owned())
        }
        Denial::Algorithm => {
            let key = SigningKey::generate(SigningAlgorithm::EdDsa).expect("a key");
            certain(signed_by(&key, &live.token(), |_| {}))
        }
        Denial::KidMissing => altered(live, stand_in, |(header, _)| {
            header.remove("kid").expect("a kid");
        }),
        Denial::IssuerMismatch => {
            let slash = json!(format!("{}/", live.issuer()));
            altered(live, stand_in, with("iss", slash))
        }
        Denial::JwksUnavailable => unreachable_keys(live, stand_in),
        Denial::UnknownKid => {
            altered(live, stand_in, |_| {});
            certain(live.token())
        }
        Denial::Signature => {
            let token = live.token();
            let (head, signature) = token.rsplit_once('.').expect("a signature");
            let first = if signature.starts_with('A') { "B" } else { "A" };
            certain(format!("{head}.{first}{}", &signature[1..]))
        }
        Denial::SubMissing => altered(live, stand_in, without("sub")),
        Denial::ExpMissing => altered(live, stand_in, without("exp")),
        Denial::IatMissing => altered(live, stand_in, without("iat")),
        Denial::Expired => altered(live, stand_in, with("exp", json!(now - 60))),
        Denial::NotYetValid => altered(live, stand_in, with("nbf", json!(now + 300))),
        Denial::IssuedInFuture => altered(live, stand_in, with("iat", json!(now + 300))),
        Denial::Lifetime => {
            let short = json!({ "max_jwt_lifetime_seconds": 300 });
            stand_in.administer(&issuer(stand_in), &short);
            certain(live.token())
        }
        Denial::Audience => {
            let other = json!("https://api.anthropic.com/");
            unmatched(live, stand_in, "audience", other)
        }
        Denial::MatchSubjectPrefix => {
            unmatched(live, stand_in, "subject_prefix", json!("Agent:mailer"))
        }
        Denial::MatchClaims => {
            let pinned = json!({ "acting_agent": "agent:other" });
            unmatched(live, stand_in, "claims", pinned)
        }
        Denial::MatchCondition => {
            let condition = json!("'admin' in claims.roles");
            unmatched(live, stand_in, "condition", condition)
        }
        Denial::JtiReused => {
            let token = live.token();
            assert_eq!(stand_in.exchange(&token), 200);
            Situation {
                at: now + LATER_SECONDS,
                ..likely(token)
            }
        }
        Denial::ServiceAccountMismatch => {
            let other = stand_in.administer("service_accounts", &json!({ "name": "other" }));
            let other = other["id"].as_str().expect("its id");
            stand_in.ids.service_account_id = ServiceAccountId::parse(other).expect("an id");
            likely(live.token())
        }
        Denial::WorkspaceIdRequired => {
            let second = json!({ "workspace_id": "wrkspc_second" });
            stand_in.administer(&format!("{}/workspaces", rule(stand_in)), &second);
            likely(live.token())
        }
        Denial::WorkspaceNotAllowed => {
            let other = WorkspaceId::parse("wrkspc_other").expect("an id");
            stand_in.ids.workspace_id = Some(other);
            likely(live.token())
        }
    }
}

/// An issuer whose keys are at an address without a listener; the stand-in has tried once before the check.
fn unreachable_keys(live: &Live, stand_in: &StandIn) -> Situation {
    let free = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}/jwks", free.local_addr().expect("its address"));
    drop(free);
    let jwks = json!({ "jwks": { "type": "explicit_url", "url": url } });
    stand_in.administer(&issuer(stand_in), &jwks);
    likely(live.token())
}

fn reader() -> Live {
    Live::at(Site::new().with("ANTHROPIC_ADMIN_TOKEN", ADMIN_TOKEN))
}

/// Of what is printed nothing is a part of the token.
fn assert_untold(printed: &str, token: &str) {
    assert!(!printed.contains("eyJ"), "{printed}");
    for part in token.split('.') {
        let start = &part[..part.len().min(16)];
        assert!(!printed.contains(start), "{printed}");
    }
}

#[test]
fn every_cause_of_a_denial_is_named_first() {
    let live = reader();
    for denial in Denial::ALL {
        let mut stand_in = StandIn::for_mailer(&live);
        let Situation {
            token,
            likelihood,
            at,
        } = situation(*denial, &live, &mut stand_in);
        stand_in.link(&live);
        assert_eq!(stand_in.exchange(&token), 401, "{denial}");
        let history = stand_in.simulator.history();
        assert_eq!(
            history[0]["status"]["reason"],
            denial.as_str(),
            "{history:#?}"
        );
        let base = &stand_in.simulator.url;
        let line = format!("claude diagnose {token} --at {at} --agent mailer --base-url {base}");
        let answer = live.run(&format!("{line} --output json"));
        let causes = answer.json()["causes"].clone();
        assert_eq!(
            (&causes[0]["cause"], &causes[0]["likelihood"]),
            (&json!(denial.as_str()), &json!(likelihood)),
            "{causes:#}"
        );
        assert_untold(&answer.to_string(), &token);
        let told = live.run(&line);
        assert_eq!(told.code, Some(0), "{told}");
        let start = format!("1. {denial} ({likelihood})\n   seen: ");
        assert!(told.stdout.starts_with(&start), "{told}");
        assert_untold(&told.to_string(), &token);
    }
}

#[test]
fn what_this_environment_asks_for_is_held_against_the_rule_that_was_read_back() {
    for (name, value, cause) in [
        (
            "ANTHROPIC_SERVICE_ACCOUNT_ID",
            "svac_other",
            "service_account_mismatch",
        ),
        (
            "ANTHROPIC_WORKSPACE_ID",
            "wrkspc_other",
            "workspace_not_allowed",
        ),
    ] {
        let site = Site::new().with("ANTHROPIC_ADMIN_TOKEN", ADMIN_TOKEN);
        let live = Live::at(site.with(name, value));
        let stand_in = StandIn::for_mailer(&live);
        stand_in.link(&live);
        let base = &stand_in.simulator.url;
        let causes = live.diagnose(&format!("{} --base-url {base}", live.token()));
        assert_eq!(causes[0]["cause"], cause, "{causes:#?}");
        let seen = causes[0]["evidence"].as_str().expect("evidence");
        assert!(
            seen.starts_with("according to this environment, "),
            "{seen}"
        );
    }
}

#[test]
fn a_forgery_under_the_issuers_own_key_id_is_reported_although_claude_holds_the_keys() {
    let live = Live::start();
    let real = live.token();
    let jws = UnverifiedJws::parse(&real, 8192).expect("a token");
    let kid = json!(jws.unverified_kid().expect("a kid"));
    let thief = SigningKey::generate(SigningAlgorithm::Es256).expect("a key");
    let forged = signed_by(&thief, &real, |(header, _)| {
        header.insert("kid".to_owned(), kid);
    });
    let causes = live.diagnose(&format!("{forged} --inline"));
    assert_eq!(causes[0]["cause"], "signature", "{causes:#?}");
    assert_eq!(causes[0]["likelihood"], "certain", "{causes:#?}");
}
