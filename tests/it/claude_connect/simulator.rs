//! What `--apply` sets up, tried: against the simulation of Claude, which evaluates rules as documented.

use std::sync::Mutex;

use firman::testing::{ClaudeSimulator, ClaudeSimulatorOptions};
use serde_json::{Value, json};

use super::Live;
use crate::process::Site;

/// The actions of an applied plan.
fn actions(printed: &Value) -> Vec<String> {
    let steps = printed["applied"].as_array().expect("steps").iter();
    steps
        .map(|step| step["action"].as_str().expect("an action").to_owned())
        .collect()
}

/// Posts JSON and returns status and answer.
pub(super) async fn post(url: String, bearer: &str, body: &Value) -> (u16, Value) {
    let client = reqwest::Client::builder().no_proxy().build();
    let request = client.expect("a client").post(url).json(body);
    let request = request.header("anthropic-version", "2023-06-01");
    let answer = request.bearer_auth(bearer).send().await.expect("an answer");
    let status = answer.status().as_u16();
    (status, answer.json().await.expect("JSON"))
}

/// An issuer on loopback whose mailer is to get into a simulation.
struct Scene {
    live: Live,
    claude: ClaudeSimulator,
    line: String,
    /// The environment that was printed last.
    environment: Mutex<Value>,
}

impl Scene {
    async fn new() -> Self {
        let options = ClaudeSimulatorOptions {
            admin_token: Some("sk-ant-oat01-good".to_owned()),
            ..ClaudeSimulatorOptions::default()
        };
        let claude = ClaudeSimulator::start(options).await.expect("it starts");
        let live = Live::on(Site::new().with("ANTHROPIC_ADMIN_TOKEN", "sk-ant-oat01-good"));
        let mailer = live.register_mailer();
        let secret = mailer["client_secret"].as_str().expect("a secret");
        live.site.write("secret", secret);
        let line = format!(
            "claude connect --agent mailer --apply --yes --organization {} --base-url {}",
            claude.organization_id, claude.url
        );
        Self {
            live,
            claude,
            line,
            environment: Mutex::default(),
        }
    }

    /// Applies and returns the actions.
    fn apply(&self, options: &str) -> Vec<String> {
        let printed = self.live.json(&format!("{}{options}", self.line));
        *self.environment.lock().expect("it") = printed["environment"].clone();
        actions(&printed)
    }

    /// Gets a token as the mailer, exchanges it and sends a message: the message's status.
    async fn message(&self) -> u16 {
        let line = format!(
            "token get --issuer {} --client-id mailer --secret-file secret --resource https://api.anthropic.com",
            self.live.public()
        );
        let token = self.live.outcome(&line).stdout.trim().to_owned();
        let variable = |name: &str| self.environment.lock().expect("it")[name].clone();
        let body = json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": token,
            "federation_rule_id": variable("ANTHROPIC_FEDERATION_RULE_ID"),
            "organization_id": variable("ANTHROPIC_ORGANIZATION_ID"),
            "service_account_id": variable("ANTHROPIC_SERVICE_ACCOUNT_ID"),
        });
        let (status, exchanged) =
            post(format!("{}/v1/oauth/token", self.claude.url), "", &body).await;
        if status != 200 {
            return status;
        }
        let access = exchanged["access_token"].as_str().expect("a token");
        let message = json!({ "model": "claude-sonnet-4-5", "max_tokens": 16, "messages": [{ "role": "user", "content": "hi" }] });
        let (status, answer) =
            post(format!("{}/v1/messages", self.claude.url), access, &message).await;
        assert_eq!(status, 200, "{answer}");
        status
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_that_was_connected_gets_its_message_answered() {
    let scene = Scene::new().await;
    assert_eq!(scene.apply(""), ["create", "create", "create"]);
    assert_eq!(scene.message().await, 200);
    assert_eq!(scene.apply(""), ["keep", "keep", "keep"]);

    // The same issuer by discovery instead of inline keys.
    let by_discovery = format!(" --discovery-base {}", scene.live.public());
    assert_eq!(scene.apply(&by_discovery), ["keep", "change", "keep"]);
    assert_eq!(scene.message().await, 200);
    assert_eq!(scene.apply(&by_discovery), ["keep", "keep", "keep"]);
}

/// The words of the command after `Next: firman ` that a command ended with.
fn next(said: &str) -> String {
    let line = said.lines().last().expect("a last line");
    let (_, command) = line.split_once("Next: firman ").expect("a next step");
    command.to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_step_goes_to_the_same_host_and_reads_the_rule_back() {
    let scene = Scene::new().await;
    let done = scene.live.outcome(&scene.line);
    let verified = scene.live.outcome(&next(&done.stderr));
    assert_eq!(verified.code, Some(0), "{verified}");
    assert!(
        verified.stdout.contains("ok    registered  rule fdrl_"),
        "{verified}"
    );
    assert!(
        verified
            .stdout
            .contains(" satisfies the rule at Claude: `sub` agent:mailer"),
        "{verified}"
    );
    assert!(
        !verified.stderr.contains("not the registered one"),
        "{verified}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_rule_is_for_a_team_and_for_no_agent_beside_it() {
    let scene = Scene::new().await;
    let live = &scene.live;
    let mut secrets = Vec::new();
    for (name, options) in [
        ("ops.a", ""),
        ("ops.b", ""),
        ("opsec", ""),
        ("ops.old", " --subject svc-7"),
    ] {
        let made = live.json(&format!(
            "agent add {name} --owner ops --role claude-user --secret{options}"
        ));
        secrets.push((
            name,
            made["client_secret"].as_str().expect("a secret").to_owned(),
        ));
    }
    let line = scene.line.replace("--agent mailer", "--agent ops.*");
    let printed = live.json(&line);
    assert_eq!(printed["members"], json!(["ops.a", "ops.b"]));
    assert_eq!(printed["rule"]["match"]["subject_prefix"], "agent:ops.*");
    let codes: Vec<&Value> = printed["warnings"]
        .as_array()
        .expect("warnings")
        .iter()
        .map(|found| &found["code"])
        .collect();
    assert_eq!(codes, ["inline_keys", "prefix", "other_subject"]);

    // The ids are stored with those that the rule lets in, and an exchange goes by them.
    let links = live.json("claude links");
    let links = links["items"].as_array().expect("links");
    let linked: Vec<&Value> = links.iter().map(|link| &link["agent"]).collect();
    assert_eq!(linked, ["ops.a", "ops.b"]);
    let mut statuses = Vec::new();
    for (name, secret) in &secrets {
        live.site.write("secret", secret);
        let got = live.outcome(&format!("token get --issuer {} --client-id {name} --secret-file secret --resource https://api.anthropic.com", live.public()));
        let body = json!({
            "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
            "assertion": got.stdout.trim(),
            "federation_rule_id": links[0]["rule_id"],
            "organization_id": links[0]["organization_id"],
            "service_account_id": links[0]["service_account_id"],
        });
        statuses.push(
            post(format!("{}/v1/oauth/token", scene.claude.url), "", &body)
                .await
                .0,
        );
    }
    assert_eq!(statuses, [200, 200, 401, 401]);

    let again = live.outcome(&line);
    assert!(again.stderr.contains("Nothing to change."), "{again}");
    let verified = live.outcome(&next(&again.stderr));
    assert_eq!(verified.code, Some(0), "{verified}");
    assert!(
        verified.stdout.contains(
            "ok    rule       the rule accepts every subject that starts with \"agent:ops.\""
        ),
        "{verified}"
    );
    assert!(
        verified
            .stdout
            .contains(" satisfies the rule at Claude: `sub` agent:ops.a"),
        "{verified}"
    );
    let refused = live.outcome("claude verify --agent ops.*");
    assert_eq!(refused.code, Some(2), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_agent_with_a_rule_of_its_own_keeps_it_when_its_team_gets_one() {
    let scene = Scene::new().await;
    let live = &scene.live;
    live.json("agent add ops.a --owner ops --role claude-user --secret");
    live.json(&scene.line.replace("--agent mailer", "--agent ops.a"));
    let link = || live.json("claude links")["items"][0].clone();
    let own = link();
    let done = live.outcome(&scene.line.replace("--agent mailer", "--agent ops.*"));
    let rule = own["rule_id"].as_str().expect("a rule");
    assert!(
        done.stderr.contains(&format!(
            "kept the link of `ops.a` with its own rule {rule}\n"
        )),
        "{done}"
    );
    assert_eq!(link(), own);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn inline_keys_that_were_applied_again_outlive_a_rotation() {
    let scene = Scene::new().await;
    scene.apply("");
    scene.live.json("key rotate --algorithm ES256");
    assert_eq!(scene.apply(""), ["keep", "change", "keep"]);
    let keys = scene.live.json("key list");
    let kid = |state: &str| {
        let mut keys = keys["items"].as_array().expect("keys").iter();
        let key = keys.find(|key| key["algorithm"] == "ES256" && key["state"] == state);
        key.expect("a key")["kid"].as_str().expect("its id")
    };
    // The one way to let the new key sign before a quarter of an hour is over.
    let withdrawn = scene.live.json(&format!(
        "key revoke {} --reason leaked --yes",
        kid("active")
    ));
    assert_eq!(withdrawn["active"]["kid"], kid("prepared"));
    assert_eq!(scene.message().await, 200);
    // The withdrawn one is still registered there.
    assert_eq!(scene.apply(""), ["keep", "change", "keep"]);
    assert_eq!(scene.message().await, 200);
    assert_eq!(scene.apply(""), ["keep", "keep", "keep"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workspace_is_joined_and_named() {
    let scene = Scene::new().await;
    assert_eq!(
        scene.apply(" --workspace wrkspc_01"),
        ["create", "create", "create"]
    );
    let workspace = scene.environment.lock().expect("it")["ANTHROPIC_WORKSPACE_ID"].clone();
    assert_eq!(workspace, "wrkspc_01");
    assert_eq!(
        scene.apply(" --workspace wrkspc_01"),
        ["keep", "keep", "keep"]
    );
    assert_eq!(scene.message().await, 200);
}
