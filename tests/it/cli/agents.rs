//! Agents against a running issuer: registered, listed, edited, suspended, removed, explained.

use firman::testing::TestKey;
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::live::Live;
use super::mode;

#[test]
fn an_agent_is_registered_with_each_kind_of_credential() {
    let live = Live::with_mail();
    assert_snapshot!(live.run("agent add no-proof --owner ops"), @r"
    exit code 0
    ----- stdout
    name       no-proof
    subject    agent:no-proof
    owner      ops
    client_id  no-proof
    ----- stderr
    Next: firman credential add no-proof --generate-key no-proof.pem
    ");
    assert_snapshot!(live.run("agent add by-secret --owner ops --group ops --attribute team=mail --secret"), @r"
    exit code 0
    ----- stdout
    name           by-secret
    subject        agent:by-secret
    owner          ops
    groups         ops
    roles          reader (via group ops)
    client_id      by-secret
    client_secret  [SECRET]
    ----- stderr
    The client secret is shown once. Store it now, where only the agent can read it.
    Next: firman token get --issuer [ISSUER] --client-id by-secret --secret-file FILE
    ");
    assert_snapshot!(live.run("agent add by-key --owner ops --role reader --generate-key by-key.pem"), @r"
    exit code 0
    ----- stdout
    name       by-key
    subject    agent:by-key
    owner      ops
    roles      reader
    client_id  by-key
    kid        [KEY]
    ----- stderr
    The private key is in `by-key.pem` and nowhere else. Let only the agent read it.
    Next: firman token get --issuer [ISSUER] --client-id by-key --key by-key.pem
    ");
    assert_eq!(mode(&live.site.path("by-key.pem")), 0o600);
    let jwk = TestKey::Rs256.signing_key().public_jwk().to_value();
    live.site.write("public.json", jwk.to_string());
    assert_snapshot!(live.run("agent add by-public-key --owner ops --public-key public.json"), @r"
    exit code 0
    ----- stdout
    name       by-public-key
    subject    agent:by-public-key
    owner      ops
    client_id  by-public-key
    kid        [KEY]
    ----- stderr
    Next: firman token get --issuer [ISSUER] --client-id by-public-key --key FILE
    ");
}

#[test]
fn an_agent_that_cannot_be_is_refused_and_leaves_no_key_file() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops");
    assert_snapshot!(live.run("agent add mailer --owner ops --generate-key mailer.pem"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: an agent named `mailer` exists
    hint: firman agent edit mailer
    ");
    assert!(!live.site.path("mailer.pem").exists());
    assert_snapshot!(live.run("agent add clerk --owner ops --role raeder -o json"), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"roles: role `raeder` not found","field":"roles","hint":"firman role list","kind":"invalid","request_id":"[ID]","status":400}}
    "#);
    assert_snapshot!(live.run("agent add clerk --owner ops --attribute sub=root"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: attributes: contains `sub`, a claim that the issuer sets
    ");
    assert_snapshot!(live.run("agent add clerk --owner ops --subject agent:mailer"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: subject: starts with `agent:`, which is reserved for subjects that this issuer makes; leave out the subject to get one
    ");
}

#[test]
fn a_private_key_offered_as_a_public_one_is_not_sent() {
    let live = Live::with_mail();
    let pem = TestKey::Es256.signing_key().to_pkcs8_pem().unwrap();
    live.site.write("private.pem", pem.as_bytes());
    assert_snapshot!(live.run("agent add mailer --owner ops --public-key private.pem"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot use `private.pem`: it is a private key and was not sent
    hint: register the public key, which `openssl pkey -in private.pem -pubout` prints
    ");
    assert_snapshot!(live.run("agent show mailer"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: agent `mailer` not found
    ");
}

#[test]
fn agents_are_listed_shown_and_edited() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops --group ops --attribute team=mail");
    live.json("agent add clerk --owner desk --role reader --expires-in 7d");
    assert_snapshot!(live.run("agent list"), @r"
    exit code 0
    ----- stdout
    NAME    STATUS  OWNER  GROUPS  ROLES                   EXPIRES               CREATED
    clerk   active  desk   -       reader                  [TIME]  [TIME]
    mailer  active  ops    ops     reader (via group ops)  -                     [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("agent list --search cle --limit 1"), @r"
    exit code 0
    ----- stdout
    NAME   STATUS  OWNER  GROUPS  ROLES   EXPIRES               CREATED
    clerk  active  desk   -       reader  [TIME]  [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("agent edit mailer --add-role reader --remove-group ops --set-attribute environment=test --unset-attribute team"), @r"
    exit code 0
    ----- stdout
    name        mailer
    subject     agent:mailer
    status      active
    owner       ops
    roles       reader
    attributes  environment=test
    created     [TIME]
    id          [ID]
    ----- stderr
    ");
    assert_snapshot!(live.run("agent edit mailer --remove-role writer"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: no role `writer` to remove; current: reader
    ");
    assert_snapshot!(live.run("agent edit clerk --expires-in never --owner ops"), @r"
    exit code 0
    ----- stdout
    name     clerk
    subject  agent:clerk
    status   active
    owner    ops
    roles    reader
    created  [TIME]
    id       [ID]
    ----- stderr
    ");
    assert_snapshot!(live.run("agent show nobody"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: agent `nobody` not found
    ");
}

#[test]
fn a_suspended_agent_gets_no_token_until_it_is_resumed() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops --role reader --generate-key mailer.pem");
    let get = format!(
        "token get --issuer {} --client-id mailer --key mailer.pem",
        live.issuer()
    );
    assert_snapshot!(live.run("agent suspend mailer"), @r"
    exit code 0
    ----- stdout
    name     mailer
    subject  agent:mailer
    status   suspended since [TIME]
    owner    ops
    roles    reader
    created  [TIME]
    id       [ID]

    ID                                    KIND        STATUS  KID                                          EXPIRES  CREATED
    [ID]  public_key  live    [KEY]  -        [TIME]
    ----- stderr
    Suspended. New token requests are refused and introspection reports its tokens as inactive. Services that verify tokens offline accept them until they expire or until they fetch the revocation list.
    Next: firman agent resume mailer
    ");
    assert_snapshot!(live.run(&get), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer refused: client authentication failed (invalid_client)
    ");
    assert_snapshot!(live.run("agent resume mailer"), @r"
    exit code 0
    ----- stdout
    name     mailer
    subject  agent:mailer
    status   active
    owner    ops
    roles    reader
    created  [TIME]
    id       [ID]

    ID                                    KIND        STATUS  KID                                          EXPIRES  CREATED
    [ID]  public_key  live    [KEY]  -        [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run(&get), @r"
    exit code 0
    ----- stdout
    [JWT]
    ----- stderr
    ");
}

#[test]
fn a_removed_agent_is_gone_and_its_name_too() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops --role reader --secret");
    assert_snapshot!(live.run("agent remove mailer"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: cannot ask for a confirmation without a terminal: Remove agent `mailer`? Its credentials end at once and its name is never used again.
    hint: add `--yes` to confirm
    ");
    assert_snapshot!(live.run("agent remove mailer --yes"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    Removed mailer.
    ");
    assert_snapshot!(live.run("agent add mailer --owner ops"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the name `mailer` belonged to an agent that was removed; a name is never reused, because relying parties may still trust it
    hint: choose another name
    ");
    assert_snapshot!(live.run("agent resume mailer"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the agent `mailer` was removed at [TIME] and can no longer be changed
    hint: register one under another name
    ");
    assert_snapshot!(live.run("agent list"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    No agents. Next: firman agent add NAME --owner OWNER --generate-key NAME.pem
    ");
    assert_snapshot!(live.run("agent list --status removed"), @r"
    exit code 0
    ----- stdout
    NAME    STATUS   OWNER  GROUPS  ROLES  EXPIRES  CREATED
    mailer  removed  ops    -       -      -        [TIME]
    ----- stderr
    ");
}

#[test]
fn several_agents_are_switched_one_after_the_other_and_a_failure_stops_none() {
    let live = Live::with_mail();
    for name in ["one", "two", "three"] {
        live.json(&format!("agent add {name} --owner ops"));
    }
    let told = live.run("agent suspend one nonesuch two");
    assert!(
        told.starts_with("exit code 1\n----- stdout\nname     one\n"),
        "{told}"
    );
    assert!(told.contains("\n\nname     two\n"), "{told}");
    let (_, stderr) = told.split_once("----- stderr\n").unwrap();
    assert_snapshot!(stderr, @r"
    error: agent `nonesuch` not found
    Suspended. New token requests are refused and introspection reports their tokens as inactive. Services that verify tokens offline accept them until they expire or until they fetch the revocation list.
    Next: firman agent resume one two
    ");
    let resumed = live.json("agent resume one two");
    let states: Vec<[&Value; 2]> = resumed["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|agent| [&agent["name"], &agent["status"]])
        .collect();
    assert_eq!(json!(states), json!([["one", "active"], ["two", "active"]]));
    assert_eq!(live.json("agent resume one")["name"], "one");
    assert_snapshot!(live.run("agent remove one two three"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: cannot ask for a confirmation without a terminal: Remove agents one, two, three? Their credentials end at once and their names are never used again.
    hint: add `--yes` to confirm
    ");
    let removed = live.json("agent remove one two --yes");
    assert_eq!(
        removed,
        json!({"items": [{"removed": "one"}, {"removed": "two"}]})
    );
    assert_snapshot!(live.run("agent remove nonesuch three --yes"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: agent `nonesuch` not found
    Removed three.
    ");
}

#[test]
fn explain_shows_every_scope_and_the_claims() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops --group ops --attribute team=mail");
    assert_snapshot!(live.run("agent explain mailer"), @r#"
    exit code 0
    ----- stdout
    agent   mailer
    active  yes

    RESOURCE  IDENTIFIER                SCOPE  GRANTED  THROUGH
    mail      https://mail.example.com  read   yes      role reader of group ops
    mail      https://mail.example.com  send   no       -

    claims of its token, without times and jti:
    {
      "acting_agent": "agent:mailer",
      "aud": "https://mail.example.com",
      "client_id": "mailer",
      "groups": [
        "ops"
      ],
      "iss": "[ISSUER]",
      "owner": "ops",
      "roles": [
        "reader"
      ],
      "scope": "read",
      "sub": "agent:mailer",
      "sub_profile": "ai_agent",
      "team": "mail"
    }
    ----- stderr
    "#);
    assert_snapshot!(live.run("agent explain mailer --resource mail --scope send"), @r"
    exit code 0
    ----- stdout
    agent    mailer
    active   yes
    refused  invalid_scope: not granted for https://mail.example.com: send; granted: read

    RESOURCE  IDENTIFIER                SCOPE  GRANTED  THROUGH
    mail      https://mail.example.com  read   yes      role reader of group ops
    mail      https://mail.example.com  send   no       -
    ----- stderr
    ");
}
