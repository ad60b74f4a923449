//! Token exchange against bad input and good, over HTTP: each test of the table is named after the case it
//! stands for (`tx_…`), and asserts the whole answer. Delegations, trusted issuers and what else must be
//! there are made in `support`.

#![expect(
    clippy::unwrap_used,
    reason = "a test that cannot go on says so by panicking"
)]

mod audit;
mod chains;
mod distrust;
mod outside;
mod postgres;
mod races;
mod recorded;
mod requests;
mod rights;
mod scopes;
mod subject_tokens;
mod support;
mod vectors;

use firman::testing::{Answer, TestAgent, TestIssuer};
use serde_json::{Value, json};

use crate::oauth2::mail_issuer;
use support::{delegate, exchange_jwt, outside as outside_token, partner, serve};

/// An issuer with two resources, `mail` (read, send) and `files` (read, write); the trusted issuer
/// `partner`; and three agents that have both resources wholly: `planner`; `mailer`, the server of `mail`;
/// `filer`, the server of `files`. No delegation exists.
struct Scene {
    issuer: TestIssuer,
    planner: TestAgent,
    mailer: TestAgent,
    filer: TestAgent,
}

const MAIL: &str = "https://mail.example";
const FILES: &str = "https://files.example";
const ALICE: &str = "user:partner:alice";

impl Scene {
    async fn bare() -> Self {
        Self::on(mail_issuer().await).await
    }

    async fn on(issuer: TestIssuer) -> Self {
        issuer.resource("files", &["read", "write"]).await;
        issuer.role("filing", "files", &[]).await;
        partner(&issuer).await;
        let agent = |name| issuer.agent(name).role("mailer").role("filing");
        let planner = agent("planner").with_secret().await;
        let mailer = agent("mailer").with_secret().await;
        let filer = agent("filer").with_secret().await;
        serve(&issuer, "mail", "mailer").await;
        serve(&issuer, "files", "filer").await;
        Self {
            issuer,
            planner,
            mailer,
            filer,
        }
    }

    /// With delegations for users of `partner`: `planner` at `mail`, `mailer` at `files`, `filer` at `mail`;
    /// and for the agent `planner`: `mailer` at `files`.
    async fn new() -> Self {
        let scene = Self::bare().await;
        scene.delegations().await;
        scene
    }

    async fn delegations(&self) {
        for (actor, subject, resource) in [
            ("planner", "user:partner:*", "mail"),
            ("mailer", "user:partner:*", "files"),
            ("filer", "user:partner:*", "mail"),
            ("mailer", "agent:planner", "files"),
        ] {
            delegate(actor, subject, resource).add(&self.issuer).await;
        }
    }

    /// The first hop: `planner` acts for alice at `mail`.
    async fn planner_for_alice(&self, further: &[(&str, &str)]) -> Answer {
        let token = outside_token(&self.issuer, "alice").build();
        exchange_jwt(&self.issuer, &self.planner, &token, further).await
    }

    /// An actor of this issuer in a chain.
    fn actor(&self, name: &str, earlier: Option<Value>) -> Value {
        let mut actor = json!({
            "iss": self.issuer.url, "sub": format!("agent:{name}"), "sub_profile": "ai_agent",
        });
        if let Some(earlier) = earlier {
            actor["act"] = earlier;
        }
        actor
    }
}

/// Claims as they are compared: the numbers taken out that a test cannot know, those of the token and of what it
/// was made from.
#[track_caller]
fn without_jti(mut claims: Value) -> Value {
    let members = claims.as_object_mut().unwrap();
    let is_delegated = members.contains_key("act");
    let jti = members.remove("jti");
    assert!(jti.is_some_and(|jti| jti.as_str().is_some_and(|jti| jti.len() == 30)));
    members.remove("parents");
    for name in ["txn", "delegations"] {
        assert_eq!(members.remove(name).is_some(), is_delegated, "{name}");
    }
    claims
}
