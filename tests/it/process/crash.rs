//! SIGKILL: everything that was answered has happened, and nothing has happened by half.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use firman::testing::decoded_part;

use super::*;
use crate::relying_party::verify;

const CLIENTS: usize = 8;
const CREATORS: usize = 4;

#[test]
fn fa_001_sigkill_under_load_loses_no_answered_token_on_sqlite() {
    tokens_survive_kills(Site::new(), &[40, 1, 150]);
}

#[test]
fn fa_001_sigkill_under_load_loses_no_answered_token_on_postgresql() {
    tokens_survive_kills(Site::on_postgres(), &[75]);
}

#[test]
fn fa_002_an_agent_created_around_a_sigkill_is_whole_or_absent_on_sqlite() {
    agents_survive_kills(&Site::new(), &[3, 0, 7, 1, 12, 5, 0, 9, 2, 17]);
}

#[test]
fn fa_002_an_agent_created_around_a_sigkill_is_whole_or_absent_on_postgresql() {
    agents_survive_kills(&Site::on_postgres(), &[4, 0, 11]);
}

/// A token and the assertion it was had with.
struct Answered {
    assertion: String,
    token: String,
}

/// Kills an issuer once for each number, as soon as that many more tokens were received, and looks
/// after each restart whether everything ever received is still true.
fn tokens_survive_kills(site: Site, kills: &[usize]) {
    let site = site.with("FIRMAN_ISSUER_URL", ISSUER);
    let mut server = site.start();
    server.register_mailer();
    let mut answered = Vec::new();
    for &tokens in kills {
        answered.extend(load_until_killed(server, tokens));
        server = site.start();
        assert_chain_is_whole(&site);
        assert_audited(&site, &answered);
        assert_verifiable(&server, &answered);
        assert_spent(&server, &answered);
    }
    // None of this left it unable to go on.
    let reply = server.token(&assertion_form(&assertion("last"))).unwrap();
    assert_eq!(reply.status, 200, "{}", reply.body);
}

/// Asks for tokens as fast as [`CLIENTS`] can, kills the issuer when `tokens` of them have arrived, and
/// returns all that arrived.
fn load_until_killed(server: Server, tokens: usize) -> Vec<Answered> {
    static ASSERTIONS: AtomicUsize = AtomicUsize::new(0);
    let public = server.public;
    let (arrives, arrived) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let arrives = arrives.clone();
            scope.spawn(move || {
                loop {
                    let number = ASSERTIONS.fetch_add(1, Ordering::Relaxed);
                    let assertion = assertion(&format!("jti-{number}"));
                    let Ok(reply) = request_token(public, &assertion_form(&assertion)) else {
                        return;
                    };
                    assert_eq!(reply.status, 200, "{}", reply.body);
                    let token = reply.json()["access_token"].as_str().unwrap().to_owned();
                    arrives.send(Answered { assertion, token }).unwrap();
                }
            });
        }
        drop(arrives);
        let mut answered: Vec<Answered> = (0..tokens)
            .map(|_| arrived.recv_timeout(DEADLINE).unwrap())
            .collect();
        server.kill();
        // The clients end at the first request that has no answer.
        answered.extend(arrived);
        answered
    })
}

pub(super) fn assert_chain_is_whole(site: &Site) {
    let verdict = site.run(&["audit", "verify", "--output", "json"]).json();
    assert_eq!(
        (&verdict["ok"], &verdict["first_bad"]),
        (&json!(true), &Value::Null)
    );
}

/// All entries of an event, oldest last.
pub(super) fn audited(site: &Site, event: &str) -> Vec<Value> {
    let outcome = site.run(&["audit", "export", "--event", event]);
    assert_eq!(
        (outcome.code, outcome.stderr.as_str()),
        (Some(0), ""),
        "{outcome}"
    );
    let lines = outcome.stdout.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub(super) fn issued_token_ids(site: &Site) -> BTreeSet<String> {
    let entries = audited(site, "token.issued");
    let ids = entries
        .iter()
        .map(|entry| entry["token_id"].as_str().unwrap().to_owned());
    ids.collect()
}

fn assert_audited(site: &Site, answered: &[Answered]) {
    let issued = issued_token_ids(site);
    for Answered { token, .. } in answered {
        let jti = decoded_part(token, 1)["jti"].clone();
        assert!(
            issued.contains(jti.as_str().unwrap()),
            "{jti} was received and is not in the audit"
        );
    }
}

fn assert_verifiable(server: &Server, answered: &[Answered]) {
    let jwks = server.jwks();
    for Answered { token, .. } in answered {
        let claims = verify(token, &jwks, (ISSUER, MAIL)).unwrap();
        assert_eq!(claims["sub"], format!("agent:{MAILER}"));
    }
}

fn assert_spent(server: &Server, answered: &[Answered]) {
    for Answered { assertion, .. } in answered {
        let reply = server.token(&assertion_form(assertion)).unwrap();
        assert_eq!(
            (reply.status, reply.json()),
            (
                401,
                json!({"error": "invalid_client", "error_description": "`jti` was used before; each assertion is accepted once"})
            )
        );
    }
}

/// Kills an issuer once for each number, as soon as that many more agents were registered, while others
/// are being registered.
fn agents_survive_kills(site: &Site, kills: &[usize]) {
    let mut server = site.start();
    for (round, &agents) in kills.iter().enumerate() {
        let attempts = create_until_killed(server, round, agents);
        server = site.start();
        assert_chain_is_whole(site);
        let entries = audited(site, "agent.created");
        let audited: BTreeSet<&str> = entries
            .iter()
            .map(|entry| entry["target"].as_str().unwrap())
            .collect();
        for (name, secret) in attempts {
            assert_whole_or_absent(&server, &name, secret.as_deref(), &audited);
        }
    }
}

fn new_agent(name: &str) -> Value {
    json!({"name": name, "owner": "ops", "attributes": {"team": "mail"}, "credential": {"kind": "client_secret"}})
}

/// Every name that was tried, with the secret when there was an answer.
fn create_until_killed(
    server: Server,
    round: usize,
    agents: usize,
) -> BTreeMap<String, Option<String>> {
    let (attempts, attempted) = mpsc::channel();
    let (answered, ended) = (AtomicUsize::new(0), AtomicBool::new(false));
    let server = Mutex::new(Some(server));
    let (private, token) = {
        let server = server.lock().unwrap();
        let server = server.as_ref().unwrap();
        (server.private, server.admin_token.clone())
    };
    std::thread::scope(|scope| {
        for creator in 0..CREATORS {
            let (attempts, answered, ended, server) =
                (attempts.clone(), &answered, &ended, &server);
            let authorization = format!("Bearer {token}");
            scope.spawn(move || {
                for number in 0.. {
                    let name = format!("bot-{round}-{creator}-{number}");
                    let headers = [
                        ("authorization", authorization.as_str()),
                        ("content-type", "application/json"),
                    ];
                    let body = new_agent(&name).to_string();
                    if ended.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(reply) = exchange(private, "POST", "/admin/v1/agents", &headers, &body)
                    else {
                        attempts.send((name, None)).unwrap();
                        return;
                    };
                    assert_eq!(reply.status, 201, "{}", reply.body);
                    let secret = reply.json()["client_secret"].as_str().unwrap().to_owned();
                    attempts.send((name, Some(secret))).unwrap();
                    if answered.fetch_add(1, Ordering::SeqCst) >= agents
                        && let Some(server) = server.lock().unwrap().take()
                    {
                        server.kill();
                        ended.store(true, Ordering::SeqCst);
                    }
                }
            });
        }
        drop(attempts);
        attempted.into_iter().collect()
    })
}

fn assert_whole_or_absent(
    server: &Server,
    name: &str,
    secret: Option<&str>,
    audited: &BTreeSet<&str>,
) {
    let target = format!("agent:{name}");
    let reply = server
        .admin("GET", &format!("/agents/{name}"), &Value::Null)
        .unwrap();
    if reply.status == 404 {
        assert_eq!(secret, None, "{name} was answered and is not there");
        assert!(
            !audited.contains(target.as_str()),
            "{name} is in the audit and not there"
        );
        server.create("/agents", &new_agent(name));
        return;
    }
    assert_eq!(reply.status, 200, "{}", reply.body);
    let agent = reply.json();
    assert!(
        audited.contains(target.as_str()),
        "{name} is there and not in the audit"
    );
    let (attributes, status) = (&agent["attributes"], &agent["status"]);
    assert_eq!(
        (status, attributes),
        (&json!("active"), &json!({"team": "mail"}))
    );
    assert_eq!(agent["credentials"].as_array().unwrap().len(), 1);
    if let Some(secret) = secret {
        let form = format!(
            "grant_type=client_credentials&scope=openid&client_id={name}&client_secret={secret}"
        );
        let reply = server.token(&form).unwrap();
        assert_eq!(reply.status, 200, "{}", reply.body);
    }
}
