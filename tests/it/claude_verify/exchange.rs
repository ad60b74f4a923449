//! The round with the exchange itself, at the stand-in.

use std::future::Future;

use firman::relying_party::claude::{LinkedIds, Setup};
use firman::testing::{ClaudeSimulator, ClaudeSimulatorOptions};
use serde_json::Value;
use tokio::runtime::Runtime;

use super::{Live, check, told};
use crate::process::Site;

/// A stand-in that trusts the issuer and has a rule for its agent.
struct StandIn {
    runtime: Runtime,
    simulator: ClaudeSimulator,
    ids: LinkedIds,
}

impl StandIn {
    fn for_mailer(live: &Live) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let started = ClaudeSimulator::start(ClaudeSimulatorOptions::default());
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
    fn exchange(&self, token: &str) -> u16 {
        let body = serde_json::json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": token,
            "federation_rule_id": self.ids.rule_id,
            "organization_id": self.ids.organization_id,
            "service_account_id": self.ids.service_account_id,
        });
        let url = format!("{}/v1/oauth/token", self.simulator.url);
        self.wait(async {
            let client = reqwest::Client::builder().tls_certs_only([]).no_proxy();
            let client = client.build().expect("a client");
            let answer = client.post(url).json(&body).send().await;
            answer.expect("an answer").status().as_u16()
        })
    }

    fn link(&self, live: &Live) {
        let LinkedIds {
            organization_id,
            rule_id,
            service_account_id,
            ..
        } = &self.ids;
        live.json(&format!(
            "claude link mailer --rule {rule_id} --organization {organization_id} --service-account {service_account_id}"
        ));
    }

    fn round(&self, live: &Live) -> (Option<i32>, Vec<Value>) {
        let url = &self.simulator.url;
        live.verify(&format!("--key mailer.pem --exchange --base-url {url}"))
    }
}

#[test]
fn without_a_link_there_is_nothing_to_exchange() {
    let live = Live::start();
    let stand_in = StandIn::for_mailer(&live);
    let (code, checks) = stand_in.round(&live);
    assert_eq!(code, Some(1));
    assert_eq!(
        told(&checks, "exchange"),
        "fail: rule, organization or service account is not known"
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
        "ok: the stand-in at {} gave an access token for 600 s, scope workspace:developer",
        stand_in.simulator.url
    );
    assert!(exchange.starts_with(&start), "{exchange}");
    assert!(!format!("{checks:?}").contains("sk-ant-"), "{checks:#?}");
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
    let advice = check(&checks, "exchange")["advice"].as_str();
    let (_, command) = advice
        .and_then(|advice| advice.split_once("Ours: firman "))
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
fn a_token_that_was_presented_twice_is_told_as_a_replay() {
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
fn an_environment_that_names_another_rule_is_told() {
    let site = Site::new().with("ANTHROPIC_FEDERATION_RULE_ID", "fdrl_other");
    let live = Live::at(site);
    let stand_in = StandIn::for_mailer(&live);
    stand_in.link(&live);
    let causes = live.diagnose(&live.token());
    assert_eq!(causes[0]["cause"], "rule_unknown", "{causes:#?}");
    assert_eq!(causes[0]["likelihood"], "likely");
}
