//! `docs/reference/conformance/actor-chain.json` against this issuer: each vector is one exchange over HTTP.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::*;
use super::*;

const FILE: &str = include_str!("../../../docs/reference/conformance/actor-chain.json");

/// The subjects `agent:NAME` of this issuer that act in a chain.
fn actors(issuer: &str, act: &Value, names: &mut BTreeSet<String>) {
    let (iss, sub) = (act["iss"].as_str(), act["sub"].as_str());
    if iss == Some(issuer)
        && let Some(name) = sub.and_then(|sub| sub.strip_prefix("agent:"))
    {
        names.insert(name.to_owned());
    }
    if act["act"].is_object() {
        actors(issuer, &act["act"], names);
    }
}

#[tokio::test]
async fn every_published_vector_of_actor_chains_holds_here() {
    let issuer = crate::oauth2::mail_issuer().await;
    partner(&issuer).await;
    let published: Value = serde_json::from_str(FILE).unwrap();
    let written_for = published["issuer"].as_str().unwrap().to_owned();
    let here: Value = serde_json::from_str(&FILE.replace(&written_for, &issuer.url)).unwrap();
    let vectors = here["vectors"].as_array().unwrap();
    let mut names = BTreeSet::new();
    for vector in vectors {
        actors(
            &issuer.url,
            &vector["subject_token_claims"]["act"],
            &mut names,
        );
        actors(&issuer.url, &vector["actor"], &mut names);
        actors(
            &issuer.url,
            &json!({"iss": issuer.url, "sub": vector["subject_token_claims"]["sub"]}),
            &mut names,
        );
    }
    let mut agents = std::collections::BTreeMap::new();
    for name in &names {
        let agent = issuer.agent(name).role("mailer").with_secret().await;
        agents.insert(format!("agent:{name}"), agent);
    }
    let mut titles = BTreeSet::new();
    for vector in vectors {
        assert!(titles.insert(vector["name"].as_str().unwrap()), "{vector}");
        let actor = &agents[vector["actor"]["sub"].as_str().unwrap()];
        assert_eq!(vector["actor"]["iss"], issuer.url, "{vector}");
        let accept = json!({ "accept_act": vector["accept_act"] == true });
        let edited = issuer
            .admin(
                reqwest::Method::PATCH,
                "/trusted-issuers/partner",
                Some(&accept),
            )
            .await;
        assert_eq!(edited.status, 200, "{edited}");
        let depth = vector["max_depth"].as_u64().unwrap();
        let (token, subject) = subject_token(&issuer, &vector["subject_token_claims"]);
        let delegation =
            delegate(&actor.name, &subject, "mail").depth(usize::try_from(depth).unwrap());
        let delegation = delegation.add(&issuer).await;
        let answer = exchange(&issuer, actor, &token, &[("subject_token_type", JWT)]).await;
        let expected = &vector["expected"];
        if let Some(error) = vector.get("error") {
            assert_eq!(answer.status, 400, "{vector} {answer}");
            assert_eq!(&answer.json()["error"], error, "{vector} {answer}");
            assert!(expected.is_null(), "{vector}");
        } else {
            let claims = answer.claims();
            assert_eq!(claims["act"], expected["act"], "{vector}");
            assert_eq!(claims["sub"], subject.as_str(), "{vector}");
            if let Some(sub) = expected.get("sub") {
                assert_eq!(&claims["sub"], sub, "{vector}");
            }
        }
        set_delegation(&issuer, &delegation, "revoke").await;
    }
    assert!(vectors.len() >= 20, "{} vectors", vectors.len());
}

/// The subject token of a vector, and the subject that the new token will have.
fn subject_token(issuer: &TestIssuer, vector: &Value) -> (String, String) {
    let sub = vector["sub"].as_str().unwrap();
    if vector["iss"] != issuer.url {
        let claims = vector.as_object().unwrap().iter();
        let token = claims.fold(outside(issuer, sub), |token, (name, value)| {
            token.claim(name, value.clone())
        });
        return (token.build(), format!("user:partner:{sub}"));
    }
    let profile = if sub.starts_with("agent:") {
        "ai_agent"
    } else {
        "user"
    };
    let acting = vector["act"]["sub"]
        .as_str()
        .filter(|_| vector["act"]["iss"] == issuer.url)
        .filter(|acting| acting.starts_with("agent:"))
        .unwrap_or(if profile == "user" {
            "agent:planner"
        } else {
            sub
        });
    let own = json!({
        "sub": sub, "sub_profile": profile, "acting_agent": acting, "jti": format!("vector-{sub}"),
    });
    let mut claims = with(own_claims(issuer, "planner"), &own);
    if let Some(act) = vector.get("act") {
        claims["act"] = act.clone();
    }
    (forged(issuer, "at+jwt", &claims), sub.to_owned())
}
