//! `firman delegation`, and what other commands say of delegation, against a running issuer.

use insta::assert_snapshot;

use super::live::Live;

fn with_agents() -> Live {
    let live = Live::with_mail();
    live.json("agent add triage --owner ops --group ops");
    live.json("agent add helpdesk --owner ops");
    live
}

const ADD: &str = "delegation add --actor triage --subject agent:helpdesk --resource mail";

/// Makes a delegation and returns its id.
fn added(live: &Live, line: &str) -> String {
    let made = live.json(line);
    made["id"].as_str().expect("an id").to_owned()
}

#[test]
fn a_command_line_that_makes_no_sense_is_a_usage_error() {
    let live = with_agents();
    assert_snapshot!(live.run(ADD), @"
    exit code 2
    ----- stdout
    ----- stderr
    error: the following required arguments were not provided:
      <--until <TIME>|--for <DURATION>>

    Usage: firman delegation add --actor <AGENT> --subject <SUBJECT|PREFIX*> --resource <RESOURCE> <--until <TIME>|--for <DURATION>>

    For more information, try '--help'.
    ");
    assert_snapshot!(live.run(&format!("{ADD} --until tomorrow")), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: invalid value 'tomorrow' for '--until <TIME>': expected `2026-11-21`, `[TIME]` or Unix seconds

    For more information, try '--help'.
    ");
    assert_snapshot!(live.run(&format!("{ADD} --for 1h --trusted-issuer okta --subject-claim a=b --subject-claim a=c")), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: the claim `a` is repeated
    ");
    assert_snapshot!(live.run("delegation revoke 0199d6b1-0000-7000-8000-000000000000"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: cannot ask for a confirmation without a terminal: Revoke delegation `[ID]`? The tokens issued under it end at once.
    hint: add `--yes` to confirm
    ");
}

#[test]
fn a_delegation_that_cannot_be_is_refused() {
    let live = with_agents();
    assert_snapshot!(live.run(&format!("{ADD} --for 500d")), @"
    exit code 1
    ----- stdout
    ----- stderr
    error: expires_in: must be between now and [TIME], 400 days from now: a delegation is reviewed once a year
    ");
    live.json("resource edit mail --no-allow-delegation");
    assert_snapshot!(live.run(&format!("{ADD} --for 3630s")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the resource `mail` does not accept delegated tokens
    hint: firman resource edit mail --allow-delegation
    ");
}

#[test]
fn a_delegation_is_made_and_the_exchange_is_shown() {
    let live = with_agents();
    assert_snapshot!(live.run(&format!("{ADD} --scope read --for 3630s")), @r#"
    exit code 0
    ----- stdout
    actor       triage
    subject     agent:helpdesk
    resource    mail
    identifier  https://mail.example.com
    scopes      read
    depth       1
    status      active
    until       [TIME] (in 60 min)
    created     [TIME]
    id          [ID]
    ----- stderr
    Next: firman token exchange --issuer [ISSUER] --client-id triage --key triage.pem --subject-token FILE --resource https://mail.example.com --scope read
    "#);
    assert_snapshot!(live.run("delegation add --actor helpdesk --subject 'user:okta:*' --resource https://mail.example.com --depth 2 --for 2592030s"), @r"
    exit code 0
    ----- stdout
    actor       helpdesk
    subject     user:okta:*
    resource    mail
    identifier  https://mail.example.com
    scopes      *
    depth       2
    status      active
    until       [TIME] (in 30 days)
    created     [TIME]
    id          [ID]
    ----- stderr
    warning: no role of the agent `helpdesk` grants the resource `mail`, so every exchange is rejected
    hint: firman agent edit helpdesk --add-role ROLE
    warning: no trusted issuer is named `okta` yet, so no user has this subject
    hint: firman trusted-issuer list
    Next: firman token exchange --issuer [ISSUER] --client-id helpdesk --key helpdesk.pem --subject-token FILE --resource https://mail.example.com
    ");
}

#[test]
fn delegations_are_listed_by_actor_and_by_subject() {
    let live = with_agents();
    assert_snapshot!(live.run("delegation list"), @"
    exit code 0
    ----- stdout
    ----- stderr
    No delegations. Next: firman delegation add --actor AGENT --subject SUBJECT --resource RESOURCE --for 30d
    ");
    live.json(&format!("{ADD} --scope read --for 3630s"));
    live.json(
        "delegation add --actor triage --subject 'agent:team-a.*' --resource mail --depth 2 --for 3630s",
    );
    assert_snapshot!(live.run("delegation list --actor triage"), @"
    exit code 0
    ----- stdout
    ID                                    ACTOR   SUBJECT         RESOURCE  SCOPES  DEPTH  STATUS  UNTIL
    [ID]  triage  agent:helpdesk  mail      read    1      active  [TIME]
    [ID]  triage  agent:team-a.*  mail      *       2      active  [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("delegation list --subject agent:team-a.x"), @"
    exit code 0
    ----- stdout
    ID                                    ACTOR   SUBJECT         RESOURCE  SCOPES  DEPTH  STATUS  UNTIL
    [ID]  triage  agent:team-a.*  mail      *       2      active  [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("delegation list --subject agent:nobody"), @"
    exit code 0
    ----- stdout
    ----- stderr
    No delegations. Next: firman delegation add --actor AGENT --subject SUBJECT --resource RESOURCE --for 30d
    ");
}

#[test]
fn a_delegation_is_suspended_resumed_moved_and_revoked() {
    let live = with_agents();
    let id = added(&live, &format!("{ADD} --for 3630s"));
    assert_snapshot!(live.run(&format!("delegation suspend {id}")), @"
    exit code 0
    ----- stdout
    actor       triage
    subject     agent:helpdesk
    resource    mail
    identifier  https://mail.example.com
    scopes      *
    depth       1
    status      suspended since [TIME]
    until       [TIME] (in 60 min)
    created     [TIME]
    id          [ID]
    ----- stderr
    Suspended. No further tokens are issued under it. All tokens issued under it have ended, with everything made from them.
    Next: firman delegation resume [ID]
    ");
    assert_snapshot!(live.run(&format!("delegation resume {id}")), @"
    exit code 0
    ----- stdout
    actor       triage
    subject     agent:helpdesk
    resource    mail
    identifier  https://mail.example.com
    scopes      *
    depth       1
    status      active
    until       [TIME] (in 60 min)
    created     [TIME]
    id          [ID]
    ----- stderr
    ");
    let edited = live.json(&format!("delegation edit {id} --for 7230s"));
    assert_eq!(edited["status"], "active");
    assert_snapshot!(live.run(&format!("delegation revoke {id} --yes")), @"
    exit code 0
    ----- stdout
    actor       triage
    subject     agent:helpdesk
    resource    mail
    identifier  https://mail.example.com
    scopes      *
    depth       1
    status      revoked since [TIME]
    until       [TIME] (in 2 h)
    created     [TIME]
    id          [ID]
    ----- stderr
    Revoked. All tokens issued under it have ended, with everything made from them.
    ");
    assert_snapshot!(live.run(&format!("delegation edit {id} --for 7230s")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: delegation `[ID]` was revoked at [TIME] and can no longer be changed
    hint: firman delegation add
    ");
}

#[test]
fn explain_shows_for_whom_an_agent_may_act() {
    let live = with_agents();
    live.json(&format!("{ADD} --scope read --for 3630s"));
    assert_snapshot!(live.run("agent explain triage --resource mail --scope read"), @r#"
    exit code 0
    ----- stdout
    agent   triage
    active  yes

    RESOURCE  IDENTIFIER                SCOPE  GRANTED  THROUGH
    mail      https://mail.example.com  read   yes      role reader of group ops
    mail      https://mail.example.com  send   no       -

    may act for:
    SUBJECT         RESOURCE  SCOPES  DEPTH  UNTIL                 DELEGATION
    agent:helpdesk  mail      read    1      [TIME]  [ID]

    claims of its token, without times and jti:
    {
      "acting_agent": "agent:triage",
      "aud": "https://mail.example.com",
      "client_id": "triage",
      "groups": [
        "ops"
      ],
      "iss": "[ISSUER]",
      "owner": "ops",
      "roles": [
        "reader"
      ],
      "scope": "read",
      "sub": "agent:triage",
      "sub_profile": "ai_agent"
    }
    ----- stderr
    "#);
}

#[test]
fn a_resource_says_who_it_is_and_whether_it_accepts_delegated_tokens() {
    let live = with_agents();
    assert_snapshot!(live.run("resource add disk --identifier https://disk.example.com --server helpdesk --no-allow-delegation"), @"
    exit code 0
    ----- stdout
    name        disk
    identifier  https://disk.example.com
    profile     generic
    lifetime    900 s
    algorithm   ES256
    typ         at+jwt
    server      helpdesk
    delegation  not allowed
    created     [TIME]
    id          [ID]
    ----- stderr
    Next: firman role add ROLE --grant disk
    ");
    assert_snapshot!(live.run("resource edit disk --server none --default-delegation"), @"
    exit code 0
    ----- stdout
    name        disk
    identifier  https://disk.example.com
    profile     generic
    lifetime    900 s
    algorithm   ES256
    typ         at+jwt
    delegation  allowed
    created     [TIME]
    id          [ID]
    ----- stderr
    ");
    live.json("resource edit disk --server triage --allow-delegation");
    live.json("delegation add --actor triage --subject agent:helpdesk --resource disk --for 3630s");
    assert_snapshot!(live.run("resource remove disk --yes"), @"
    exit code 1
    ----- stdout
    ----- stderr
    error: one delegation names the resource `disk`; a forced removal revokes them and ends their tokens
    hint: firman resource remove disk --force
    ");
    assert_snapshot!(live.run("resource remove disk --yes --force"), @"
    exit code 0
    ----- stdout
    ----- stderr
    Removed disk.
    ");
}

#[test]
fn a_key_can_be_demanded_of_an_agent_and_for_a_resource() {
    let live = with_agents();
    live.json("resource edit mail --dpop-required");
    assert_snapshot!(live.run("resource show mail"), @"
    exit code 0
    ----- stdout
    name        mail
    identifier  https://mail.example.com
    profile     generic
    scopes      read, send
    lifetime    900 s
    algorithm   ES256
    typ         at+jwt
    delegation  allowed
    dpop        required
    created     [TIME]
    id          [ID]

    ROLE    SCOPES
    reader  read
    ----- stderr
    Next: firman agent list --role reader
    ");
    live.json("agent edit triage --dpop-required");
    assert_snapshot!(live.run("agent show triage"), @"
    exit code 0
    ----- stdout
    name     triage
    subject  agent:triage
    status   active
    owner    ops
    groups   ops
    roles    reader (via group ops)
    dpop     required
    created  [TIME]
    id       [ID]
    ----- stderr
    ");
    live.json("agent edit triage --no-dpop-required");
    let back = live.json("resource edit mail --no-dpop-required");
    assert_eq!(back["dpop_required"], false);
}
