//! `claude connect --apply`.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::claude::{Claude, Fault};
use super::{Live, ORGANIZATION, PRIVATE_ISSUER, PUBLIC_ISSUER};
use crate::process::Site;

const TOKEN: (&str, &str) = ("ANTHROPIC_ADMIN_TOKEN", "sk-ant-oat01-good");
const FAMILIES: [&str; 3] = ["service_accounts", "federation_issuers", "federation_rules"];

/// The command that sets the mailer up at `claude`.
fn line(claude: &Claude) -> String {
    format!(
        "claude connect --agent mailer --apply --yes --organization {ORGANIZATION} --base-url {}",
        claude.url
    )
}

/// The outcome without the stand-in's address.
fn applied(live: &Live, claude: &Claude, options: &str) -> String {
    let outcome = live.run(&format!("{}{options}", line(claude)));
    outcome.replace(&claude.url, "[CLAUDE]")
}

/// The link that is stored with the mailer.
fn link(live: &Live) -> Value {
    let links = live.json("claude links");
    links["items"]
        .as_array()
        .expect("links")
        .first()
        .cloned()
        .unwrap_or_default()
}

#[test]
fn an_api_key_is_refused_and_never_sent_nor_shown() {
    let claude = Claude::start();
    for key in ["sk-ant-admin01-secret", "sk-ant-api03-secret"] {
        let live = Live::with_mailer_and(PUBLIC_ISSUER, &[("ANTHROPIC_ADMIN_TOKEN", key)]);
        let outcome = applied(&live, &claude, "");
        assert!(outcome.starts_with("exit code 2"), "{outcome}");
        assert!(
            outcome.contains("OAuth token with the scope org:admin"),
            "{outcome}"
        );
        assert!(!outcome.contains("secret"), "{outcome}");
    }
    assert_eq!(claude.asked(), Vec::<String>::new());
}

#[test]
fn without_a_token_an_organization_or_a_terminal_nothing_is_sent() {
    let claude = Claude::start();
    let live = Live::with_mailer(PUBLIC_ISSUER);
    assert_snapshot!(applied(&live, &claude, ""), @"");
    drop(live);

    let both = [TOKEN, ("ANTHROPIC_ADMIN_TOKEN_FILE", "token")];
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &both);
    assert_snapshot!(applied(&live, &claude, ""), @"");
    drop(live);

    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    let unasked = format!(
        "claude connect --agent mailer --apply --base-url {}",
        claude.url
    );
    assert_snapshot!(live.run(&unasked), @"");
    assert_snapshot!(applied(&live, &claude, " --scope workspace:manage_tunnels"), @"");
    assert_snapshot!(live.run("claude connect --agent mailer --apply --base-url http://10.0.0.5"), @"");
    assert_eq!(claude.asked(), Vec::<String>::new());

    let asks = format!("{unasked} --organization {ORGANIZATION}");
    assert_snapshot!(live.run(&asks).replace(&claude.url, "[CLAUDE]"), @"");
    assert_eq!(claude.changes(), Vec::<String>::new());
    assert_eq!(link(&live), Value::Null);
}

#[test]
fn a_token_that_claude_does_not_take_is_said_so() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(
        PUBLIC_ISSUER,
        &[("ANTHROPIC_ADMIN_TOKEN", "sk-ant-oat01-old")],
    );
    assert_snapshot!(applied(&live, &claude, ""), @"");
}

#[test]
fn applying_makes_three_objects_and_stores_their_ids_and_again_does_nothing() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[("ANTHROPIC_ADMIN_TOKEN_FILE", "token")]);
    live.site.write("token", "sk-ant-oat01-good\n");
    assert_snapshot!(applied(&live, &claude, ""), @"");
    assert_snapshot!(claude.changes().join("\n"), @"");
    let link = link(&live);
    let ids = [
        "rule_id",
        "service_account_id",
        "issuer_id",
        "organization_id",
        "token_lifetime",
    ];
    assert_eq!(
        ids.map(|name| link[name].clone()),
        [
            json!("fdrl_01"),
            json!("svac_01"),
            json!("fdis_01"),
            json!(ORGANIZATION),
            json!(600)
        ]
    );

    assert_snapshot!(applied(&live, &claude, ""), @"");
    assert_eq!(claude.changes(), Vec::<String>::new());
    assert_eq!(self::link(&live), link);

    // From here on the stored ids say which organization it is.
    let again = live.json(&format!(
        "claude connect --agent mailer --apply --base-url {}",
        claude.url
    ));
    let actions = again["applied"].as_array().expect("steps").iter();
    let actions: Vec<&Value> = actions.map(|step| &step["action"]).collect();
    assert_eq!(actions, ["keep", "keep", "keep"]);
}

#[test]
fn whichever_step_fails_the_same_command_again_completes_it() {
    let whole = Claude::start();
    let live = Live::with_mailer_and(PRIVATE_ISSUER, &[TOKEN]);
    let options = format!(" --from {} --workspace wrkspc_01", live.public());
    applied(&live, &whole, &options);
    let steps = whole.changes().len();
    assert_eq!(steps, 4);
    let stored = link(&live);
    for fault in [Fault::Refused, Fault::AnswerLost] {
        for number in 1..=steps {
            live.json("claude unlink mailer --yes");
            let claude = Claude::start();
            claude.fail_at(number, fault);
            let failed = applied(&live, &claude, &options);
            assert!(
                failed.starts_with("exit code 1"),
                "{number} {fault:?}: {failed}"
            );
            assert_eq!(
                failed.contains("Run the same command again"),
                number > 1,
                "{failed}"
            );
            assert_eq!(link(&live), Value::Null);

            let completed = applied(&live, &claude, &options);
            assert!(
                completed.starts_with("exit code 0"),
                "{number} {fault:?}: {completed}"
            );
            for family in FAMILIES {
                assert_eq!(
                    claude.objects(family),
                    whole.objects(family),
                    "{number} {fault:?}"
                );
            }
            let now = link(&live);
            for name in ["rule_id", "service_account_id", "issuer_id", "workspace_id"] {
                assert_eq!(now[name], stored[name], "{number} {fault:?}");
            }
            claude.asked();
            applied(&live, &claude, &options);
            assert_eq!(claude.changes(), Vec::<String>::new(), "{number} {fault:?}");
        }
    }
}

#[test]
fn a_failure_half_way_says_what_was_done() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    claude.fail_at(3, Fault::Refused);
    assert_snapshot!(applied(&live, &claude, ""), @"");
}

#[test]
fn ids_that_could_not_be_stored_are_stored_the_next_time() {
    let claude = Claude::start();
    let live = Live::on(Site::new().with(TOKEN.0, TOKEN.1));
    live.register_mailer();
    let viewer = viewer_token(&live);
    // Claude would fetch the keys there, so that the issuer need not keep account of a copy.
    let line = format!(
        "{} --discovery-base https://keys.example.com",
        line(&claude)
    );
    let words: Vec<&str> = line.split(' ').collect();
    let variables = [("FIRMAN_ADMIN_TOKEN", viewer.as_str())];
    let outcome = live.site.run_with(&words, &variables);
    assert_eq!(outcome.code, Some(1), "{outcome}");
    let goes_on = outcome.stderr.contains("Run the same command again");
    assert!(goes_on, "{outcome}");
    assert_eq!(claude.changes().len(), 3);
    assert_eq!(link(&live), Value::Null);

    let outcome = live.outcome(&line);
    assert_eq!(outcome.code, Some(0), "{outcome}");
    assert_eq!(claude.changes(), Vec::<String>::new());
    assert_eq!(link(&live)["rule_id"], "fdrl_01");
}

/// A token of an agent that may only look.
fn viewer_token(live: &Live) -> String {
    live.json("resource add admin --identifier urn:firman:admin --scope viewer");
    live.json("role add looker --grant admin");
    let agent = live.json("agent add looker --owner ops --role looker --secret");
    live.site
        .write("secret", agent["client_secret"].as_str().expect("a secret"));
    let line = format!(
        "token get --issuer {} --client-id looker --secret-file secret --resource urn:firman:admin --scope viewer",
        live.public()
    );
    live.outcome(&line).stdout.trim().to_owned()
}

#[test]
fn objects_of_somebody_else_are_left_alone() {
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    let rule = |edit: fn(&mut Value)| {
        let claude = Claude::start();
        applied(&live, &claude, "");
        live.json("claude unlink mailer --yes");
        claude.edit("federation_rules", edit);
        claude.asked();
        let outcome = applied(&live, &claude, "");
        assert_eq!(claude.changes(), Vec::<String>::new());
        assert_eq!(link(&live), Value::Null);
        outcome
    };
    assert_snapshot!(rule(|rule| rule["match"]["subject_prefix"] = json!("agent:other")), @"");
    assert_snapshot!(rule(|rule| rule["issuer_id"] = json!("fdis_99")), @"");

    let claude = Claude::start();
    applied(&live, &claude, "");
    claude.edit("federation_issuers", |issuer| {
        issuer["issuer_url"] = json!("https://other.example.com")
    });
    claude.asked();
    assert_snapshot!(applied(&live, &claude, ""), @"");
    assert_eq!(claude.changes(), Vec::<String>::new());
}

#[test]
fn a_rule_that_somebody_widened_is_narrowed_again() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    applied(&live, &claude, "");
    let rules = claude.objects("federation_rules");
    claude.edit("federation_rules", |rule| {
        rule["match"] = json!({ "subject_prefix": "agent:mailer" })
    });
    claude.asked();
    assert_snapshot!(applied(&live, &claude, ""), @"");
    assert_eq!(claude.objects("federation_rules"), rules);
}

#[test]
fn what_somebody_made_by_hand_is_used() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    for number in 1..=3 {
        let account =
            json!({ "id": format!("svac_9{number}"), "name": format!("account-{number}") });
        claude.put("service_accounts", account);
    }
    claude.put(
        "federation_issuers",
        json!({ "id": "fdis_91", "name": "by-hand", "issuer_url": PUBLIC_ISSUER, "jwks": { "type": "discovery" }, "max_jwt_lifetime_seconds": 300 }),
    );
    assert_snapshot!(applied(&live, &claude, " --service-account account-3"), @"");
    assert_snapshot!(applied(&live, &claude, " --service-account svac_91"), @"");
    let names = claude.objects("service_accounts").len();
    assert_eq!(names, 3);
}

#[test]
fn inline_keys_are_registered_again_after_a_rotation_and_acknowledged() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PRIVATE_ISSUER, &[TOKEN]);
    let options = format!(" --from {}", live.public());
    applied(&live, &claude, &options);
    let missing = || live.json("key consumer list")["items"][0]["missing"].clone();
    assert_eq!(missing(), json!([]));

    live.json("key rotate");
    assert_eq!(missing().as_array().map(Vec::len), Some(2));
    claude.asked();
    assert_snapshot!(applied(&live, &claude, &options), @"");
    assert_eq!(missing(), json!([]));
    let keys = claude.objects("federation_issuers")[0]["jwks"]["keys"].clone();
    assert_eq!(keys.as_array().map(Vec::len), Some(4));
}

#[test]
fn the_rule_of_a_pair_leaves_the_agents_own_ids_alone() {
    let claude = Claude::start();
    let live = Live::with_mailer_and(PUBLIC_ISSUER, &[TOKEN]);
    applied(&live, &claude, "");
    let own = link(&live);
    assert_snapshot!(applied(&live, &claude, " --act-for user:ada --format env"), @"");
    assert_eq!(link(&live), own);
    assert_eq!(claude.objects("federation_rules").len(), 2);
}
