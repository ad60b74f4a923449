//! The rule for a pair, tried: "`alpha` acts for `beta`" and no other agent. The rule is what `claude connect
//! --act-for` prints, registered at the simulation of Claude; the tokens are had by token exchange.

use firman::testing::{ClaudeSimulator, ClaudeSimulatorOptions, decoded_part};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::Live;
use super::simulator::post;
use crate::process::Site;

const CLAUDE: &str = "https://api.anthropic.com";

/// An issuer with `alpha`, `beta` and `gamma`, each of whom may reach Claude: `alpha` and `gamma` also for
/// `beta`, and `beta` also for `alpha`.
struct Pair {
    live: Live,
    claude: ClaudeSimulator,
    account: String,
    issuer: String,
    /// What `claude connect` printed.
    printed: Value,
}

impl Pair {
    async fn new() -> Self {
        let claude = ClaudeSimulator::start(ClaudeSimulatorOptions::default()).await;
        let claude = claude.expect("it starts");
        let live = Live::on(Site::new());
        live.json("resource add claude --profile claude --allow-delegation");
        live.json("role add claude-user --grant claude");
        for agent in ["alpha", "beta", "gamma"] {
            let line = format!("agent add {agent} --owner ops --role claude-user --secret");
            let made = live.json(&line);
            let secret = made["client_secret"].as_str().expect("a secret");
            live.site.write(&format!("{agent}.secret"), secret);
        }
        for (actor, subject) in [("alpha", "beta"), ("beta", "alpha"), ("gamma", "beta")] {
            live.json(&format!(
                "delegation add --actor {actor} --subject agent:{subject} --resource claude --for 1d"
            ));
        }
        let printed = live.json("claude connect --agent alpha --act-for agent:beta");
        // Claude cannot reach this issuer, and that is all there is to say.
        assert_eq!(printed["warnings"][0]["code"], "inline_keys");
        assert_eq!(printed["warnings"][1], Value::Null);
        let mut pair = Self {
            live,
            claude,
            account: String::new(),
            issuer: String::new(),
            printed,
        };
        let account = pair.printed["service_account"].clone();
        pair.account = pair.register("service_accounts", account).await;
        let issuer = pair.printed["issuer"].clone();
        pair.issuer = pair.register("federation_issuers", issuer).await;
        pair
    }

    /// Sends one of the printed bodies and returns the id.
    async fn register(&self, what: &str, body: Value) -> String {
        let url = format!("{}/v1/organizations/{what}", self.claude.url);
        let (status, made) = post(url, &self.claude.admin_token, &body).await;
        assert_eq!(status, 200, "{made}");
        made["id"].as_str().expect("an id").to_owned()
    }

    /// Registers a printed rule, once the ids are known.
    async fn rule(&self, name: &str, mut body: Value) -> String {
        body["name"] = json!(name);
        body["issuer_id"] = json!(self.issuer);
        body["target"]["service_account_id"] = json!(self.account);
        self.register("federation_rules", body).await
    }

    /// A token of the agent for Claude, about itself.
    fn own(&self, agent: &str) -> String {
        self.token(agent, CLAUDE, "")
    }

    fn token(&self, agent: &str, resource: &str, further: &str) -> String {
        let line = format!(
            "token get --issuer {} --client-id {agent} --secret-file {agent}.secret --resource {resource}{further}",
            self.live.public()
        );
        self.live.outcome(&line).stdout.trim().to_owned()
    }

    /// A token of `actor` for Claude in which it acts for `subject`.
    fn acting(&self, actor: &str, subject: &str) -> String {
        let token = self.token(subject, &self.live.public(), " --scope openid");
        self.live.site.write("subject.jwt", token);
        let outcome = self.live.outcome(&self.exchange_line(actor));
        assert_eq!(outcome.code, Some(0), "{outcome}");
        let token = outcome.stdout.trim().to_owned();
        let claims = decoded_part(&token, 1);
        let agent = |name: &str| json!(format!("agent:{name}"));
        assert_eq!(
            (
                &claims["sub"],
                &claims["act"]["sub"],
                &claims["acting_agent"]
            ),
            (&agent(subject), &agent(actor), &agent(actor))
        );
        token
    }

    fn exchange_line(&self, actor: &str) -> String {
        format!(
            "token exchange --issuer {} --client-id {actor} --secret-file {actor}.secret --subject-token subject.jwt --resource {CLAUDE}",
            self.live.public()
        )
    }

    /// Exchanges a token at Claude under a rule: "success" with the account, or the reason that the history
    /// gives for the refusal, which the answer keeps to itself.
    async fn tried(&self, rule: &str, token: &str) -> String {
        self.tried_as(rule, &self.account, token).await
    }

    async fn tried_as(&self, rule: &str, account: &str, token: &str) -> String {
        let body = json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": token,
            "federation_rule_id": rule,
            "organization_id": self.claude.organization_id,
            "service_account_id": account,
        });
        let url = format!("{}/v1/oauth/token", self.claude.url);
        let (status, answer) = post(url, "", &body).await;
        let newest = self.claude.history().remove(0);
        assert_eq!(newest["event_data"]["federation_rule_id"], rule);
        assert_eq!(
            newest["event_data"]["requested_service_account_id"],
            account
        );
        let verdict = &newest["status"];
        if verdict["outcome"] == "success" {
            assert_eq!(status, 200, "{answer}");
            return format!("success, {}", self.message(&answer).await);
        }
        assert_eq!(
            (status, &answer["error"]["type"]),
            (401, &json!("authentication_error")),
            "{answer}"
        );
        let text = |name: &str| verdict[name].as_str().expect("a text").to_owned();
        format!("{}: {}", text("reason"), text("detail"))
    }

    /// Sends a message with what the exchange gave.
    async fn message(&self, exchanged: &Value) -> String {
        let access = exchanged["access_token"].as_str().expect("a token");
        let message = json!({ "model": "claude-sonnet-4-5", "max_tokens": 16, "messages": [{ "role": "user", "content": "hi" }] });
        let (status, answer) =
            post(format!("{}/v1/messages", self.claude.url), access, &message).await;
        format!("{status} {}", answer["type"].as_str().unwrap_or("none"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_static_rule_of_a_pair_accepts_the_pair_and_no_one_else() {
    let pair = Pair::new().await;
    let rule = pair.rule("static", pair.printed["rule"].clone()).await;
    assert_snapshot!(pair.tried(&rule, &pair.acting("beta", "alpha")).await, @r#"match_subject_prefix: `sub` is "agent:alpha"; the rule requires "agent:beta""#);
    assert_snapshot!(pair.tried(&rule, &pair.own("alpha")).await, @r#"match_subject_prefix: `sub` is "agent:alpha"; the rule requires "agent:beta""#);
    assert_snapshot!(pair.tried(&rule, &pair.own("beta")).await, @r#"match_claims: "acting_agent" is "agent:beta"; the rule requires the string "agent:alpha""#);
    assert_snapshot!(pair.tried(&rule, &pair.acting("gamma", "beta")).await, @r#"match_claims: "acting_agent" is "agent:gamma"; the rule requires the string "agent:alpha""#);
    let other = pair
        .register("service_accounts", json!({ "name": "other" }))
        .await;
    let outcome = pair
        .tried_as(&rule, &other, &pair.acting("alpha", "beta"))
        .await;
    assert!(
        outcome.starts_with("service_account_mismatch: "),
        "{outcome}"
    );
    assert_snapshot!(pair.tried(&rule, &pair.acting("alpha", "beta")).await, @"success, 200 message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_condition_of_a_pair_accepts_the_pair_and_no_one_else() {
    let pair = Pair::new().await;
    let rule = pair
        .rule("condition", pair.printed["rule_by_condition"].clone())
        .await;
    assert_snapshot!(pair.tried(&rule, &pair.acting("beta", "alpha")).await, @r#"match_condition: the condition "claims.sub == \"agent:beta\" && has(claims.act) && claims.act.sub == \"agent:alpha\" && !has(claims.act.act)" is false"#);
    assert_snapshot!(pair.tried(&rule, &pair.own("alpha")).await, @r#"match_condition: the condition "claims.sub == \"agent:beta\" && has(claims.act) && claims.act.sub == \"agent:alpha\" && !has(claims.act.act)" is false"#);
    assert_snapshot!(pair.tried(&rule, &pair.own("beta")).await, @r#"match_condition: the condition "claims.sub == \"agent:beta\" && has(claims.act) && claims.act.sub == \"agent:alpha\" && !has(claims.act.act)" is false"#);
    assert_snapshot!(pair.tried(&rule, &pair.acting("gamma", "beta")).await, @r#"match_condition: the condition "claims.sub == \"agent:beta\" && has(claims.act) && claims.act.sub == \"agent:alpha\" && !has(claims.act.act)" is false"#);
    assert_snapshot!(pair.tried(&rule, &pair.acting("alpha", "beta")).await, @"success, 200 message");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_on_the_subject_alone_accepts_anyone_who_acts_for_it() {
    let pair = Pair::new().await;
    let mut body = pair.printed["rule"].clone();
    body["match"]["claims"] = json!({});
    let rule = pair.rule("subject-alone", body).await;
    for token in [
        pair.acting("alpha", "beta"),
        pair.acting("gamma", "beta"),
        pair.own("beta"),
    ] {
        assert_eq!(pair.tried(&rule, &token).await, "success, 200 message");
    }
    assert_snapshot!(pair.tried(&rule, &pair.acting("beta", "alpha")).await, @r#"match_subject_prefix: `sub` is "agent:alpha"; the rule requires "agent:beta""#);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_leave_of_the_resource_no_token_for_claude_names_who_acts() {
    let pair = Pair::new().await;
    let token = pair.token("beta", &pair.live.public(), " --scope openid");
    pair.live.site.write("subject.jwt", token);
    pair.live.json("resource edit claude --no-allow-delegation");
    assert_snapshot!(pair.live.run(&pair.exchange_line("alpha")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer refused: https://api.anthropic.com does not accept delegated tokens (invalid_target)
    ");
    // The default of the profile `claude`.
    pair.live.json("resource edit claude --default-delegation");
    assert_snapshot!(pair.live.run(&pair.exchange_line("alpha")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer refused: https://api.anthropic.com does not accept delegated tokens (invalid_target)
    ");
    pair.live.json("resource edit claude --allow-delegation");
    let _ = pair.acting("alpha", "beta");
}
