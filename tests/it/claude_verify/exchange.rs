//! The round with the exchange itself, at the stand-in.

use std::future::Future;

use firman::relying_party::claude::{LinkedIds, Setup};
use firman::testing::{ClaudeSimulator, ClaudeSimulatorOptions};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use super::{Live, check, told};
use crate::process::Site;

/// The token of the stand-in's Admin API.
pub(super) const ADMIN_TOKEN: &str = "sk-ant-oat01-admin";

/// A stand-in that trusts the issuer and has a rule for its agent.
pub(super) struct StandIn {
    runtime: Runtime,
    pub(super) simulator: ClaudeSimulator,
    pub(super) ids: LinkedIds,
}

impl StandIn {
    pub(super) fn for_mailer(live: &Live) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let started = ClaudeSimulator::start(ClaudeSimulatorOptions {
            admin_token: Some(ADMIN_TOKEN.to_owned()),
            ..ClaudeSimulatorOptions::default()
        });
        let simulator = runtime.block_on(started).expect("a free port");
        let ids = simulator.register(&Setup::new("mailer", "agent:mailer", &live.issuer()));
        Self {
            runtime,
            simulator,
            ids,
        }
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Presents a token: the status of the answer.
    pub(super) fn exchange(&self, token: &str) -> u16 {
        let body = serde_json::json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": token,
            "federation_rule_id": self.ids.rule_id,
            "organization_id": self.ids.organization_id,
            "service_account_id": self.ids.service_account_id,
            "workspace_id": self.ids.workspace_id,
        });
        let url = format!("{}/v1/oauth/token", self.simulator.url);
        self.wait(async {
            let client = reqwest::Client::builder().tls_certs_only([]).no_proxy();
            let client = client.build().expect("a client");
            let answer = client.post(url).json(&body).send().await;
            answer.expect("an answer").status().as_u16()
        })
    }

    /// Changes an object behind firman's back, or archives it.
    pub(super) fn administer(&self, path: &str, body: &Value) -> Value {
        let url = format!("{}/v1/organizations/{path}", self.simulator.url);
        self.wait(async {
            let client = reqwest::Client::builder().tls_certs_only([]).no_proxy();
            let client = client.build().expect("a client");
            let request = client.post(url).json(body).bearer_auth(ADMIN_TOKEN);
            let answer = request.header("anthropic-version", "2023-06-01").send();
            let answer = answer.await.expect("an answer");
            let status = answer.status();
            let body: Value = answer.json().await.expect("JSON");
            assert_eq!(status, 200, "{body}");
            body
        })
    }

    pub(super) fn link(&self, live: &Live) {
        let LinkedIds {
            organization_id,
            rule_id,
            service_account_id,
            workspace_id,
            ..
        } = &self.ids;
        let workspace = workspace_id
            .as_ref()
            .map_or(String::new(), |id| format!(" --workspace {id}"));
        live.json(&format!(
            "claude link mailer --rule {rule_id} --organization {organization_id} --service-account {service_account_id}{workspace}"
        ));
    }

    fn round(&self, live: &Live) -> (Option<i32>, Vec<Value>) {
        let url = &self.simulator.url;
        live.verify(&format!("--key mailer.pem --exchange --base-url {url}"))
    }
}

/// An issuer whose mailer is linked at a stand-in, with the token for reading back.
fn linked() -> (Live, StandIn) {
    let live = Live::at(Site::new().with("ANTHROPIC_ADMIN_TOKEN", ADMIN_TOKEN));
    let stand_in = StandIn::for_mailer(&live);
    stand_in.link(&live);
    (live, stand_in)
}

/// The checks of a round that read back, by the lines that are not in order.
fn troubles(live: &Live, stand_in: &StandIn) -> (Option<i32>, Vec<String>) {
    let (code, checks) = live.verify(&format!("--base-url {}", stand_in.simulator.url));
    let lines = checks.iter().filter(|check| {
        let of = ["registered", "token", "rule"];
        check["status"] != "ok" && of.iter().any(|name| check["check"] == *name)
    });
    let lines = lines.map(|check| {
        let text = |name: &str| check[name].as_str().expect("a text").to_owned();
        format!(
            "{} {}: {} → {}",
            text("status"),
            text("check"),
            text("seen"),
            text("hint")
        )
    });
    (code, lines.collect())
}

#[test]
fn a_rule_that_was_changed_behind_firmans_back_fails_with_what_differs() {
    let (live, stand_in) = linked();
    let path = format!("federation_rules/{}", stand_in.ids.rule_id);
    let good = json!({ "subject_prefix": "agent:mailer", "audience": "https://api.anthropic.com", "claims": { "acting_agent": "agent:mailer" } });
    for (member, value, seen) in [
        (
            "subject_prefix",
            json!("agent:other"),
            "(match_subject_prefix): `sub` is \"agent:mailer\"; the rule requires \"agent:other\" → ",
        ),
        (
            "audience",
            json!("https://other.example.com"),
            "(audience): `aud` is \"https://api.anthropic.com\"; the rule requires \"https://other.example.com\" → ",
        ),
        (
            "claims",
            json!({ "acting_agent": "agent:other" }),
            "(match_claims): \"acting_agent\" is \"agent:mailer\"; the rule requires the string \"agent:other\" → ",
        ),
    ] {
        let mut changed = good.clone();
        changed[member] = value;
        stand_in.administer(&path, &json!({ "match": changed }));
        let (code, troubles) = troubles(&live, &stand_in);
        assert_eq!(code, Some(1));
        let start = format!(
            "fail token: a token with the claims of `firman agent explain` does not satisfy the rule at Claude {seen}"
        );
        assert_eq!(troubles.len(), 1, "{troubles:#?}");
        assert!(troubles[0].starts_with(&start), "{troubles:#?}");
        assert!(
            troubles[0].ends_with("firman claude connect --agent mailer --apply"),
            "{troubles:#?}"
        );
    }
    stand_in.administer(&path, &json!({ "match": good }));
    assert_eq!(troubles(&live, &stand_in), (Some(0), Vec::new()));
}

#[test]
fn an_account_a_workspace_or_a_lifetime_that_does_not_fit_is_reported() {
    let (live, stand_in) = linked();
    let LinkedIds {
        organization_id,
        rule_id,
        ..
    } = &stand_in.ids;
    let other = stand_in.administer("service_accounts", &json!({ "name": "other" }));
    let relink = |account: &str, further: &str| {
        live.json(&format!(
            "claude link mailer --rule {rule_id} --organization {organization_id} --service-account {account}{further}"
        ));
    };
    relink(other["id"].as_str().expect("its id"), "");
    let (code, told) = troubles(&live, &stand_in);
    assert_eq!((code, told.len()), (Some(1), 1), "{told:#?}");
    assert!(
        told[0].contains("(service_account_mismatch): "),
        "{told:#?}"
    );
    relink(
        stand_in.ids.service_account_id.as_str(),
        " --workspace wrkspc_other",
    );
    let (code, told) = troubles(&live, &stand_in);
    assert_eq!((code, told.len()), (Some(1), 1), "{told:#?}");
    assert!(told[0].contains("(workspace_not_allowed): "), "{told:#?}");
    relink(
        stand_in.ids.service_account_id.as_str(),
        " --token-lifetime 1h",
    );
    let (code, told) = troubles(&live, &stand_in);
    assert_eq!((code, told.len()), (Some(0), 1), "{told:#?}");
    assert!(told[0].starts_with("warn registered: "), "{told:#?}");
    let issuer = stand_in.ids.issuer_id.as_ref().expect("an issuer");
    let path = format!("federation_issuers/{issuer}");
    stand_in.administer(&path, &json!({ "max_jwt_lifetime_seconds": 300 }));
    let (code, told) = troubles(&live, &stand_in);
    assert_eq!(code, Some(1));
    assert!(
        told.last().expect("a line").contains("(lifetime): "),
        "{told:#?}"
    );
    let slash = format!("{}/", live.issuer());
    stand_in.administer(
        &path,
        &json!({ "issuer_url": slash, "max_jwt_lifetime_seconds": 3600 }),
    );
    let (code, told) = troubles(&live, &stand_in);
    assert_eq!(code, Some(1));
    assert!(
        told[0].contains("they differ by a trailing slash"),
        "{told:#?}"
    );
}

#[test]
fn an_archived_rule_and_keys_of_yesterday_are_reported() {
    let (live, stand_in) = linked();
    let issuer = stand_in.ids.issuer_id.as_ref().expect("an issuer");
    let stale = json!({ "type": "inline", "keys": [{
        "kty": "EC", "crv": "P-256", "kid": "stale",
        "x": "sxqoQsWxA9a6lqnF_CuvUpfbKkB0nOYG7CMCaEkckak", "y": "YIxCXDBr3SrAsFUqJGkvwZw8Hz0uiBB63gHMU4GY2Fo",
    }]});
    stand_in.administer(
        &format!("federation_issuers/{issuer}"),
        &json!({ "jwks": stale }),
    );
    let (code, told) = troubles(&live, &stand_in);
    assert_eq!((code, told.len()), (Some(1), 1), "{told:#?}");
    let start =
        format!("fail registered: the inline keys of the issuer {issuer} lack the signing key ");
    assert!(told[0].starts_with(&start), "{told:#?}");
    stand_in.simulator.archive_rule(&stand_in.ids);
    let (code, told) = troubles(&live, &stand_in);
    assert_eq!(code, Some(1));
    let start = format!(
        "fail registered: the rule {} was archived at ",
        stand_in.ids.rule_id
    );
    assert!(told[0].starts_with(&start), "{told:#?}");
}

#[test]
fn a_rule_that_cannot_be_read_back_is_reported_in_one_line() {
    let live = Live::start();
    let stand_in = StandIn::for_mailer(&live);
    stand_in.link(&live);
    let line = format!(
        "claude verify --agent mailer --base-url {}",
        stand_in.simulator.url
    );
    let without = live.run(&line);
    assert_eq!(without.code, Some(0), "{without}");
    assert_eq!(
        without.stderr,
        "Checked the expected rule, not the registered one.\nhint: set `ANTHROPIC_ADMIN_TOKEN` to a token from `ant auth login --scope org:admin`\nNo check failed; warnings: 2.\n"
    );
    let (other, stand_in) = linked();
    let LinkedIds {
        organization_id,
        service_account_id,
        ..
    } = &stand_in.ids;
    other.json(&format!(
        "claude link mailer --rule fdrl_nobody --organization {organization_id} --service-account {service_account_id}"
    ));
    let (code, told) = troubles(&other, &stand_in);
    assert_eq!(code, Some(1));
    assert!(
        told[0].starts_with("fail registered: cannot read the rule fdrl_nobody: "),
        "{told:#?}"
    );
    assert!(!format!("{told:?}").contains("sk-ant-"), "{told:#?}");
}

#[test]
fn without_a_link_there_is_nothing_to_exchange() {
    let live = Live::start();
    let stand_in = StandIn::for_mailer(&live);
    let (code, checks) = stand_in.round(&live);
    assert_eq!(code, Some(1));
    assert_eq!(
        told(&checks, "exchange"),
        "fail: the rule, organization or service account is not known"
    );
}

#[test]
fn a_linked_agent_gets_an_access_token_that_is_not_shown() {
    let live = Live::start();
    let stand_in = StandIn::for_mailer(&live);
    stand_in.link(&live);
    let (code, checks) = stand_in.round(&live);
    assert_eq!(code, Some(0), "{checks:#?}");
    let exchange = told(&checks, "exchange");
    let start = format!(
        "ok: the simulator at `{}` issued an access token for 600 s, scope workspace:developer",
        stand_in.simulator.url
    );
    assert!(exchange.starts_with(&start), "{exchange}");
    assert!(!format!("{checks:?}").contains("sk-ant-"), "{checks:#?}");
    assert_eq!(
        super::told(&checks, "workspace"),
        "ok: the access token acts in workspace wrkspc_01SimulatedDefault of organization 00000000-0000-4000-8000-000000000000"
    );
    let history = stand_in.simulator.history();
    assert_eq!(history.len(), 1, "{history:#?}");
}

#[test]
fn a_refused_exchange_leads_to_its_diagnosis() {
    let live = Live::start();
    let stand_in = StandIn::for_mailer(&live);
    stand_in.link(&live);
    stand_in.simulator.archive_rule(&stand_in.ids);
    let (code, checks) = stand_in.round(&live);
    assert_eq!(code, Some(1));
    let exchange = told(&checks, "exchange");
    assert!(
        exchange.contains(" answered 401: Authentication failed, request id "),
        "{exchange}"
    );
    let hint = check(&checks, "exchange")["hint"].as_str();
    let command = hint
        .and_then(|hint| hint.strip_prefix("firman "))
        .expect("the next command");
    let causes = live.json(command);
    let causes: Vec<&Value> = causes["causes"]
        .as_array()
        .expect("causes")
        .iter()
        .collect();
    assert!(
        causes.iter().any(|cause| cause["cause"] == "rule_archived"),
        "{causes:#?}"
    );
}

#[test]
fn with_an_admin_token_a_refusal_is_judged_by_the_real_rule() {
    let (live, stand_in) = linked();
    let token = live.token();
    let diagnose = || live.diagnose(&format!("{token} --base-url {}", stand_in.simulator.url));
    let path = format!("federation_rules/{}", stand_in.ids.rule_id);
    let other = json!({ "match": { "subject_prefix": "agent:other", "audience": "https://api.anthropic.com" } });
    stand_in.administer(&path, &other);
    let causes = diagnose();
    assert_eq!(causes[0]["cause"], "match_subject_prefix", "{causes:#?}");
    assert_eq!(causes[0]["likelihood"], "certain", "{causes:#?}");
    stand_in.administer(&format!("{path}/archive"), &json!({}));
    let causes = diagnose();
    let archived = causes
        .iter()
        .find(|cause| cause["cause"] == "rule_archived");
    assert_eq!(
        archived.expect("the cause")["likelihood"],
        "certain",
        "{causes:#?}"
    );
}

#[test]
fn a_token_that_was_presented_twice_is_reported_as_a_replay() {
    let live = Live::start();
    let stand_in = StandIn::for_mailer(&live);
    stand_in.link(&live);
    let token = live.token();
    assert_eq!(stand_in.exchange(&token), 200);
    assert_eq!(stand_in.exchange(&token), 401);
    let history = stand_in.simulator.history();
    assert!(
        format!("{:?}", history[0]).contains("jti_reused"),
        "{history:#?}"
    );
    let causes = live.diagnose(&token);
    assert!(
        causes.iter().any(|cause| cause["cause"] == "jti_reused"),
        "{causes:#?}"
    );
    assert!(
        causes.iter().all(|cause| cause["likelihood"] == "possible"),
        "nothing is wrong with the token itself: {causes:#?}"
    );
}

#[test]
fn an_environment_that_names_another_rule_is_reported() {
    let site = Site::new().with("ANTHROPIC_FEDERATION_RULE_ID", "fdrl_other");
    let live = Live::at(site);
    let stand_in = StandIn::for_mailer(&live);
    stand_in.link(&live);
    let causes = live.diagnose(&live.token());
    assert_eq!(causes[0]["cause"], "rule_unknown", "{causes:#?}");
    assert_eq!(causes[0]["likelihood"], "likely");
}
