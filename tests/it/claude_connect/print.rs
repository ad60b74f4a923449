//! What `claude connect` prints.

use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{Live, ORGANIZATION, PRIVATE_ISSUER, PUBLIC_ISSUER};

/// The codes of an object's warnings.
fn codes(printed: &Value) -> Vec<String> {
    let warnings = printed["warnings"].as_array().expect("warnings").iter();
    warnings
        .map(|warning| warning["code"].as_str().expect("a code").to_owned())
        .collect()
}

#[test]
fn what_makes_no_sense_is_refused_before_anything_is_asked() {
    let live = Live::start();
    for line in [
        "claude connect",
        "claude connect --agent ../x",
        "claude connect --agent mailer --scope org:owner",
        "claude connect --agent mailer --organization org_01",
        "claude connect --agent mailer --service-account Mailer!",
        "claude connect --agent mailer --workspace main",
        "claude connect --agent mailer --act-for user:*",
        "claude connect --agent mailer --inline-keys --discovery-base https://keys.example.com",
        "claude connect --agent mailer --yes",
        "claude connect --agent mailer --format yaml",
        "claude connect --agent mailer --format env --output json",
    ] {
        let outcome = live.outcome(line);
        assert_eq!(
            (outcome.code, outcome.stdout.as_str()),
            (Some(2), ""),
            "{line}"
        );
    }
}

#[test]
fn a_resource_that_is_not_for_claude_is_refused() {
    let live = Live::start();
    live.json("agent add mailer --owner ops --secret");
    live.json("resource add mail --identifier https://mail.example.com");
    assert_snapshot!(live.run("claude connect --agent nobody"), @"");
    assert_snapshot!(live.run("claude connect --agent mailer"), @"");
    assert_snapshot!(live.run("claude connect --agent mailer --resource mail"), @"");
}

#[test]
fn a_private_issuer_whose_keys_cannot_be_had_is_told_how() {
    let live = Live::with_mailer(PRIVATE_ISSUER);
    let outcome = live.run("claude connect --agent mailer");
    let told = outcome.contains("name the address where it answers with --from");
    assert!(outcome.starts_with("exit code 1") && told, "{outcome}");
}

#[test]
fn a_public_issuer_is_connected_by_discovery() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    assert_snapshot!(live.run("claude connect --agent mailer"), @"");
}

#[test]
fn a_private_issuers_keys_are_given_inline_and_kept_account_of() {
    let live = Live::with_mailer(PRIVATE_ISSUER);
    let line = format!("claude connect --agent mailer --from {}", live.public());
    let outcome = live.run(&line);
    let (console, _) = outcome
        .split_once("\n# The agent's environment")
        .expect("sections");
    assert_snapshot!(console, @"");
    let (_, said) = outcome.split_once("----- stderr\n").expect("stderr");
    assert_snapshot!(said, @"");

    let printed = live.json(&line);
    assert_eq!(printed["key_consumer"], "claude-default");
    let keys = printed["issuer"]["jwks"]["keys"].as_array();
    assert_eq!(keys.map(Vec::len), Some(2), "{printed}");
    assert_eq!(codes(&printed), ["inline_keys"]);
    let consumers = live.json("key consumer list");
    let consumers = consumers["items"].as_array().expect("a list");
    assert_eq!(consumers.len(), 1, "{consumers:?}");
    assert_eq!(consumers[0]["name"], "claude-default");
    assert_eq!(consumers[0]["acknowledged"], json!([]));
}

#[test]
fn the_rule_of_a_pair_pins_both_and_stands_beside_its_condition() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    let printed = live.json("claude connect --agent mailer --act-for user:okta:ada");
    assert_snapshot!(format!("{:#}", printed["rule"]), @"");
    assert_snapshot!(format!("{:#}", printed["rule_by_condition"]["match"]), @"");
}

#[test]
fn a_published_copy_is_named_as_discovery_base() {
    let live = Live::with_mailer(PRIVATE_ISSUER);
    let line = "claude connect --agent mailer --discovery-base https://keys.example.com/";
    let printed = live.json(line);
    assert_eq!(
        printed["issuer"]["jwks"],
        json!({ "type": "discovery", "discovery_base": "https://keys.example.com" })
    );
    assert_eq!(printed["issuer"]["issuer_url"], PRIVATE_ISSUER);
    assert_eq!(printed["key_consumer"], Value::Null);
    assert_eq!(codes(&printed), Vec::<String>::new());
}

#[test]
fn json_has_the_same_parts() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    let printed = live.json("claude connect --agent mailer");
    let names: Vec<&String> = printed.as_object().expect("an object").keys().collect();
    assert_snapshot!(format!("{names:?}"), @"");
    assert_snapshot!(format!("{:#}", printed["environment"]), @"");
    assert_eq!(printed["warnings"], json!([]));
}

#[test]
fn values_for_other_tools_are_printed_alone() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    assert_snapshot!(live.run("claude connect --agent mailer --format terraform-vars"), @"");
    assert_snapshot!(live.run(&format!("claude connect --agent mailer --format env --organization {ORGANIZATION} --service-account svac_01 --token-file /run/mailer/jwt")), @"");
}

#[test]
fn linked_ids_stand_where_they_belong_unless_others_are_named() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    live.json(&format!("claude link mailer --rule fdrl_01 --organization {ORGANIZATION} --service-account svac_01 --workspace wrkspc_01"));
    assert_snapshot!(live.run("claude connect --agent mailer --format env"), @"");
    let other = "00000000-0000-4000-8000-000000000002";
    let printed = live.json(&format!(
        "claude connect --agent mailer --organization {other}"
    ));
    assert_eq!(printed["environment"]["ANTHROPIC_ORGANIZATION_ID"], other);
    assert_eq!(
        printed["environment"]["ANTHROPIC_FEDERATION_RULE_ID"],
        "fdrl_…"
    );
    let pair = live.json("claude connect --agent mailer --act-for user:ada");
    assert_eq!(
        pair["environment"]["ANTHROPIC_FEDERATION_RULE_ID"],
        "fdrl_…"
    );
}

#[test]
fn everything_too_wide_or_in_the_way_is_warned_about() {
    let live = Live::with_mailer(PUBLIC_ISSUER);
    let warned =
        |options: &str| codes(&live.json(&format!("claude connect --agent mailer{options}")));
    assert_eq!(warned(""), Vec::<String>::new());
    assert_eq!(warned(" --scope org:admin"), ["admin_scope"]);
    assert_eq!(warned(" --token-lifetime 60s"), ["short_access_token"]);
    assert_eq!(
        warned(" --discovery-base https://10.0.0.5"),
        ["not_reachable"]
    );
    assert_eq!(
        warned(&format!(" --inline-keys --from {}", live.public())),
        ["inline_keys"]
    );
    assert_eq!(warned(" --act-for user:ada"), ["no_delegation"]);
    live.json("role edit claude-user --revoke-grant claude");
    assert_eq!(warned(""), ["not_granted"]);
    live.json("agent suspend mailer --yes");
    assert_eq!(warned(""), ["agent_inactive"]);
}
