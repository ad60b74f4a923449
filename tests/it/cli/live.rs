//! Command lines against a running issuer, found by its data directory as on anybody's machine: the
//! whole way from a resource to a verified token. Ids, keys and times are left out.

use std::net::TcpListener;

use firman::testing::{TestKey, decoded_part};
use insta::assert_snapshot;
use serde_json::{Value, json};

use super::{mode, words};
use crate::process::{Server, Site};

/// An issuer with a directory to run commands in.
pub(super) struct Live {
    pub(super) site: Site,
    server: Server,
}

impl Live {
    fn start() -> Self {
        let site = Site::new();
        let server = site.start();
        Self { site, server }
    }

    /// One with a resource, a role that grants it, and a group that has the role.
    pub(super) fn with_mail() -> Self {
        let live = Self::start();
        live.json(
            "resource add mail --identifier https://mail.example.com --scope read --scope send",
        );
        live.json("role add reader --grant mail=read");
        live.json("group add ops --role reader");
        live
    }

    pub(super) fn run(&self, line: &str) -> String {
        self.redacted(&self.site.run(&words(line)).to_string())
    }

    /// What a command prints with `--output json`, which says nothing on stderr.
    pub(super) fn json(&self, line: &str) -> Value {
        self.site
            .run(&words(&format!("{line} --output json")))
            .json()
    }

    /// The same as text to compare.
    pub(super) fn created(&self, line: &str) -> String {
        self.redacted(&format!("{:#}\n", self.json(line)))
    }

    pub(super) fn issuer(&self) -> String {
        format!("http://{}", self.server.public)
    }

    fn redacted(&self, text: &str) -> String {
        let admin = format!("http://{}", self.server.private);
        redacted(
            &text
                .replace(&self.issuer(), "[ISSUER]")
                .replace(&admin, "[ADMIN]"),
        )
    }
}

/// `text` without what differs from run to run.
fn redacted(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
        let is_token = rest.starts_with("eyJ");
        let is_time = time_length(rest);
        let length = is_time.unwrap_or_else(|| {
            let end = rest.find(|c: char| !(is_word(c) || is_token && c == '.'));
            end.unwrap_or(rest.len())
        });
        if length == 0 {
            shown.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let (word, after) = rest.split_at(length);
        shown.push_str(if is_time.is_some() {
            "[TIME]"
        } else {
            name_of(word).unwrap_or(word)
        });
        rest = after;
    }
    shown
}

/// The length of an RFC 3339 time in UTC at the start of `text`.
fn time_length(text: &str) -> Option<usize> {
    let length = text.find('Z')? + 1;
    let pattern = "dddd-dd-ddTdd:dd:dd.dddZ";
    let fits = |pattern: String| {
        let digits = text[..length].replace(|c: char| c.is_ascii_digit(), "d");
        digits == pattern
    };
    (fits(pattern.to_owned()) || fits(pattern.replace(".ddd", ""))).then_some(length)
}

/// What a word is when it is made by chance or by the clock.
fn name_of(word: &str) -> Option<&'static str> {
    let all = |test: fn(&u8) -> bool| word.bytes().all(|byte| test(&byte));
    let is_random = word.bytes().any(|b| b.is_ascii_uppercase())
        && word.bytes().any(|b| b.is_ascii_lowercase());
    match word.len() {
        _ if word.starts_with("fmn_") => Some("[SECRET]"),
        _ if word.starts_with("eyJ") => Some("[JWT]"),
        10 if all(u8::is_ascii_digit) => Some("[SECONDS]"),
        13 if all(u8::is_ascii_digit) => Some("[MILLIS]"),
        36 if word.matches('-').count() == 4 => Some("[ID]"),
        64 if all(u8::is_ascii_hexdigit) => Some("[HASH]"),
        30 if is_random => Some("[JTI]"),
        43 if is_random => Some("[KEY]"),
        _ => None,
    }
}

#[test]
fn resources_are_registered_and_changed() {
    let live = Live::start();
    assert_snapshot!(live.run("resource add mail --identifier https://mail.example.com --scope read --lifetime 5m"), @"
    exit code 0
    ----- stdout
    name        mail
    identifier  https://mail.example.com
    profile     generic
    scopes      read
    lifetime    300 s
    algorithm   ES256
    typ         at+jwt
    delegation  allowed
    created     [TIME]
    id          [ID]
    ----- stderr
    Next: firman role add ROLE --grant mail
    ");
    assert_snapshot!(live.run("resource add claude --profile claude"), @"
    exit code 0
    ----- stdout
    name        claude
    identifier  https://api.anthropic.com
    profile     claude
    lifetime    600 s
    algorithm   ES256
    typ         JWT
    delegation  not allowed
    created     [TIME]
    id          [ID]
    ----- stderr
    Next: firman role add ROLE --grant claude
    ");
    assert_snapshot!(live.run("resource edit mail --add-scope send --algorithm RS256 --lifetime default"), @"
    exit code 0
    ----- stdout
    name        mail
    identifier  https://mail.example.com
    profile     generic
    scopes      read, send
    lifetime    900 s
    algorithm   RS256
    typ         at+jwt
    delegation  allowed
    created     [TIME]
    id          [ID]
    ----- stderr
    ");
    assert_snapshot!(live.run("resource list"), @r"
    exit code 0
    ----- stdout
    NAME    IDENTIFIER                 PROFILE  SCOPES      LIFETIME  ALGORITHM
    claude  https://api.anthropic.com  claude   -           600 s     ES256
    mail    https://mail.example.com   generic  read, send  900 s     RS256
    ----- stderr
    ");
    assert_snapshot!(live.run("resource show claude"), @"
    exit code 0
    ----- stdout
    name        claude
    identifier  https://api.anthropic.com
    profile     claude
    lifetime    600 s
    algorithm   ES256
    typ         JWT
    delegation  not allowed
    created     [TIME]
    id          [ID]
    ----- stderr
    No role grants it. Next: firman role add ROLE --grant claude
    ");
}

#[test]
fn a_resource_is_told_the_typ_of_its_tokens() {
    let live = Live::with_mail();
    live.json("resource add claude --profile claude");
    let edited = live.json("resource edit mail --typ jwt");
    assert_eq!(
        (&edited["typ"], &edited["token_typ"]),
        (&json!("JWT"), &json!("JWT"))
    );
    let edited = live.json("resource edit mail --typ default");
    assert_eq!(
        (&edited["typ"], &edited["token_typ"]),
        (&json!(null), &json!("at+jwt"))
    );
    assert_snapshot!(live.run("resource edit claude --typ at+jwt"), @"
    exit code 1
    ----- stdout
    ----- stderr
    error: typ: must be JWT for a resource with profile claude
    ");
    let desk = live.json("resource add desk --identifier urn:desk --typ JWT");
    assert_eq!(desk["token_typ"], "JWT");
    live.json("resource remove desk --yes");
}

#[test]
fn a_resource_that_cannot_be_is_refused() {
    let live = Live::with_mail();
    assert_snapshot!(live.run("resource add mail --identifier https://other.example.com"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: there is a resource 'mail' already; choose another name, or change that one with: firman resource edit mail
    ");
    assert_snapshot!(live.run("resource add other --identifier https://mail.example.com"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the identifier https://mail.example.com belongs to the resource 'mail'; use that one
    ");
    assert_snapshot!(live.run("resource add other"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: identifier: is missing: a resource with profile generic needs the URI that becomes the audience, such as https://api.example.com
    ");
    assert_snapshot!(live.run("resource add claude --profile claude --lifetime 2h"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: lifetime: must be 60 to 3600 seconds for a resource with profile claude
    ");
    assert_snapshot!(live.run("resource remove mail --yes"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the resource 'mail' is granted by: reader; take it out of these roles first, or remove it with --force, which does that
    ");
}

#[test]
fn roles_are_made_and_changed() {
    let live = Live::start();
    live.json("resource add mail --identifier https://mail.example.com --scope read --scope send");
    assert_snapshot!(live.run("role add reader --grant https://mail.example.com=read --description 'Reads mail'"), @r"
    exit code 0
    ----- stdout
    name         reader
    description  Reads mail
    created      [TIME]
    id           [ID]

    RESOURCE  IDENTIFIER                SCOPES
    mail      https://mail.example.com  read
    ----- stderr
    Next: firman agent edit AGENT --add-role reader
    ");
    assert_snapshot!(live.run("role add reader"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: there is a role 'reader' already; choose another name, or change that one with: firman role edit reader
    ");
    assert_snapshot!(live.run("role add writer --grant mail=write"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: grants: the resource 'mail' has the scopes read send, not 'write'
    ");
    assert_snapshot!(live.run("role edit reader --grant mail"), @r"
    exit code 0
    ----- stdout
    name         reader
    description  Reads mail
    created      [TIME]
    id           [ID]

    RESOURCE  IDENTIFIER                SCOPES
    mail      https://mail.example.com  *
    ----- stderr
    ");
    assert_snapshot!(live.run("role list"), @r"
    exit code 0
    ----- stdout
    NAME    GRANTS  DESCRIPTION  CREATED
    reader  mail=*  Reads mail   [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("role remove reader --yes"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    Removed reader.
    ");
}

#[test]
fn groups_are_made_and_changed() {
    let live = Live::with_mail();
    assert_snapshot!(live.run("group add night-shift --description 'Works at night'"), @r"
    exit code 0
    ----- stdout
    name         night-shift
    description  Works at night
    members      0
    created      [TIME]
    id           [ID]
    ----- stderr
    Next: firman agent edit AGENT --add-group night-shift
    ");
    assert_snapshot!(live.run("group edit night-shift --add-role reader"), @r"
    exit code 0
    ----- stdout
    name         night-shift
    description  Works at night
    roles        reader
    members      0
    created      [TIME]
    id           [ID]
    ----- stderr
    ");
    assert_snapshot!(live.run("group edit night-shift --add-role raeder"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: roles: there is no role 'raeder'; `firman role list` shows them, `firman role add raeder` makes one
    ");
    assert_snapshot!(live.run("group list"), @r"
    exit code 0
    ----- stdout
    NAME         ROLES   DESCRIPTION     CREATED
    night-shift  reader  Works at night  [TIME]
    ops          reader  -               [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("group show ops"), @r"
    exit code 0
    ----- stdout
    name     ops
    roles    reader
    members  0
    created  [TIME]
    id       [ID]
    ----- stderr
    It has no members. Next: firman agent edit AGENT --add-group ops
    ");
    assert_snapshot!(live.run("group remove night-shift --yes"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    Removed night-shift.
    ");
}

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
    The client secret is shown once; store it now, where only the agent can read it.
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
    The private key is in by-key.pem and nowhere else; give it to the agent alone.
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
    error: there is an agent 'mailer' already; choose another name, or change that one with: firman agent edit mailer
    ");
    assert!(!live.site.path("mailer.pem").exists());
    assert_snapshot!(live.run("agent add clerk --owner ops --role raeder -o json"), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"roles: there is no role 'raeder'; `firman role list` shows them, `firman role add raeder` makes one","field":"roles","kind":"invalid","request_id":"[ID]","status":400}}
    "#);
    assert_snapshot!(live.run("agent add clerk --owner ops --attribute sub=root"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: attributes: holds 'sub', a claim that the issuer sets itself
    ");
    assert_snapshot!(live.run("agent add clerk --owner ops --subject agent:mailer"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: subject: starts with 'agent:', which is kept for subjects that this issuer makes; leave the subject out to get one
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
    error: private.pem: this is a private key, and it was not sent; register its public half, which `openssl pkey -in private.pem -pubout` prints
    ");
    assert_snapshot!(live.run("agent show mailer"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: there is no agent 'mailer'
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
    error: there is no agent 'nobody'
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
    error: cannot ask for a confirmation without a terminal: Remove agent mailer? Its credentials end at once and its name is never used again.
    hint: add --yes to confirm
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
    error: the name 'mailer' belonged to an agent that was removed and is never given out again, because relying parties may still trust it; choose another
    ");
    assert_snapshot!(live.run("agent resume mailer"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the agent 'mailer' was removed at [TIME] and cannot be changed any more; register one under another name
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
    error: there is no agent 'nonesuch'
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
    hint: add --yes to confirm
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
    error: there is no agent 'nonesuch'
    Removed three.
    ");
}

#[test]
fn explain_tells_every_scope_and_the_claims() {
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

#[test]
fn a_third_client_secret_is_refused_until_one_is_revoked() {
    let live = Live::with_mail();
    let first = live.json("agent add mailer --owner ops --secret");
    assert_snapshot!(live.run("credential add mailer --secret --expires-in 7d"), @r"
    exit code 0
    ----- stdout
    client_id      mailer
    client_secret  [SECRET]
    credential     [ID]
    kind           client_secret
    status         live
    expires        [TIME]
    ----- stderr
    The client secret is shown once; store it now, where only the agent can read it.
    Next: firman token get --issuer [ISSUER] --client-id mailer --secret-file FILE
    ");
    assert_snapshot!(live.run("credential add mailer --secret"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the agent 'mailer' has 2 live client secrets already, one in use and one to rotate to; revoke the one no longer in use first: [ID] or [ID]
    ");
    let id = first["credential"]["id"].as_str().unwrap();
    assert_snapshot!(live.run(&format!("credential revoke mailer {id}")), @r"
    exit code 0
    ----- stdout
    credential  [ID]
    kind        client_secret
    status      revoked
    revoked     [TIME]
    ----- stderr
    Revoked. New token requests with it are refused. Tokens that were already issued stay valid until they expire.
    ");
    assert_snapshot!(live.run("credential list mailer"), @r"
    exit code 0
    ----- stdout
    ID                                    KIND           STATUS   KID  EXPIRES               CREATED
    [ID]  client_secret  revoked  -    -                     [TIME]
    [ID]  client_secret  live     -    [TIME]  [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("credential revoke mailer nonesuch"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: there is no credential 'nonesuch'
    ");
}

#[test]
fn a_rotated_secret_works_beside_the_new_one_for_the_overlap() {
    let live = Live::with_mail();
    let first = live.json("agent add mailer --owner ops --role reader --secret");
    let id = first["credential"]["id"].as_str().unwrap();
    let second = live.json(&format!("credential rotate mailer {id} --overlap 1h"));
    let get = |answer: &Value| {
        live.site
            .write("secret", answer["client_secret"].as_str().unwrap());
        live.run(&format!(
            "token get --issuer {} --client-id mailer --secret-file secret",
            live.issuer()
        ))
    };
    assert_eq!(get(&first), get(&second));
    assert_snapshot!(get(&second), @r"
    exit code 0
    ----- stdout
    [JWT]
    ----- stderr
    ");
    let id = second["credential"]["id"].as_str().unwrap();
    assert_snapshot!(live.run(&format!("credential rotate mailer {id} --overlap 0s")), @r"
    exit code 0
    ----- stdout
    client_id      mailer
    client_secret  [SECRET]
    credential     [ID]
    kind           client_secret
    status         live
    ----- stderr
    The client secret is shown once; store it now, where only the agent can read it.
    Next: firman token get --issuer [ISSUER] --client-id mailer --secret-file FILE
    The old credential [ID] has ended.
    ");
    assert_snapshot!(get(&second), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer refused: client authentication failed (invalid_client)
    ");
}

#[test]
fn a_rotated_key_needs_a_new_key_file() {
    let live = Live::with_mail();
    let first = live.json("agent add mailer --owner ops --generate-key old.pem");
    let id = first["credential"]["id"].as_str().unwrap();
    assert_snapshot!(live.run(&format!("credential rotate mailer {id}")), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `mailer` has a public key; a new key is required
    hint: firman credential rotate mailer [ID] --generate-key FILE
    ");
    assert_snapshot!(live.run("credential rotate mailer"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: `mailer` has a public key; a new key is required
    hint: firman credential rotate mailer --generate-key FILE
    ");
    assert_snapshot!(live.run(&format!("credential rotate mailer {id} --generate-key old.pem")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: old.pem exists and is not overwritten; name another file, or move that one away
    ");
    assert_snapshot!(live.run(&format!("credential rotate mailer {id} --generate-key new.pem")), @r"
    exit code 0
    ----- stdout
    client_id   mailer
    credential  [ID]
    kind        public_key
    kid         [KEY]
    status      live
    ----- stderr
    The private key is in new.pem and nowhere else; give it to the agent alone.
    Next: firman token get --issuer [ISSUER] --client-id mailer --key new.pem
    The old credential [ID] is valid until [TIME].
    ");
}

#[test]
fn signing_keys_are_listed_rotated_and_revoked() {
    let live = Live::start();
    assert_snapshot!(live.run("key rotate --algorithm ES256"), @r"
    exit code 0
    ----- stdout
    KID                                          ALGORITHM  STATE     SINCE  UNTIL  ACTIVATES             WAITING FOR  CREATED
    [KEY]  ES256      prepared  -      -      [TIME]  -            [TIME]
    ----- stderr
    Published. Each key signs from the time it activates; nothing else needs to be done.
    ");
    assert_snapshot!(live.run("key rotate --algorithm ES256"), @"
    exit code 1
    ----- stdout
    ----- stderr
    error: a new ES256 key is prepared already and will sign from [TIME] on; nothing needs to be done, look at it with: firman key list
    ");
    let keys = live.json("key list");
    let states = |keys: &Value| -> Vec<String> {
        let items = keys["items"].as_array().unwrap();
        let mut states: Vec<String> = items
            .iter()
            .map(|key| format!("{} {}", key["algorithm"], key["state"]))
            .collect();
        states.sort_unstable();
        states
    };
    assert_eq!(
        states(&keys),
        [
            r#""ES256" "active""#,
            r#""ES256" "prepared""#,
            r#""RS256" "active""#
        ]
    );
    let active = |key: &&Value| key["algorithm"] == "ES256" && key["state"] == "active";
    let kid = keys["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(active)
        .unwrap()["kid"]
        .as_str()
        .unwrap();
    assert_snapshot!(live.run(&format!("key revoke {kid} --reason 'laptop stolen' --yes")), @r"
    exit code 0
    ----- stdout
    KID                                          ALGORITHM  STATE    SINCE                 UNTIL  ACTIVATES  WAITING FOR  CREATED
    [KEY]  ES256      revoked  [TIME]  -      -          -            [TIME]
    [KEY]  ES256      active   [TIME]  -      -          -            [TIME]
    ----- stderr
    ");
    assert_eq!(
        states(&live.json("key list")),
        [
            r#""ES256" "active""#,
            r#""ES256" "revoked""#,
            r#""RS256" "active""#
        ]
    );
    assert_snapshot!(live.run("key revoke nonesuch --reason none --yes"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: there is no key 'nonesuch'
    ");
}

#[test]
fn key_consumers_are_added_listed_and_removed() {
    let live = Live::start();
    assert_snapshot!(live.run("key consumer list"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    No key consumers: every relying party fetches the key set.
    ");
    assert_snapshot!(live.run("key consumer add claude --description 'inline at Claude'"), @r"
    exit code 0
    ----- stdout
    name         claude
    description  inline at Claude
    lacks        [KEY], [KEY]
    created      [TIME]
    ----- stderr
    Copy the issuer's key set to it, then acknowledge that it has it.
    Next: firman key consumer ack claude
    ");
    assert_snapshot!(live.run("key consumer add claude"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: there is a key consumer 'claude' already; choose another name
    ");
    assert_snapshot!(live.run("key consumer list"), @r"
    exit code 0
    ----- stdout
    NAME    HOLDS  LACKS   DESCRIPTION       CREATED
    claude  -      2 keys  inline at Claude  [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("key consumer ack claude --kid nonesuch"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: kids: holds 'nonesuch', which is no published key; published: [KEY], [KEY]
    ");
    assert_snapshot!(live.run("key consumer remove claude"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: cannot ask for a confirmation without a terminal: Remove key consumer claude? New keys no longer wait for it; if it lacks one, it rejects what that key signs.
    hint: add --yes to confirm
    ");
    assert_snapshot!(live.run("key consumer remove claude --yes"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    Removed claude.
    ");
    assert_eq!(live.json("key consumer list")["items"], json!([]));
}

#[test]
fn a_new_key_waits_for_its_consumers_and_says_so() {
    let live = Live::start();
    live.json("key consumer add claude --description 'inline at Claude'");
    assert_snapshot!(live.run("key rotate --algorithm ES256"), @r"
    exit code 0
    ----- stdout
    KID                                          ALGORITHM  STATE     SINCE  UNTIL  ACTIVATES             WAITING FOR  CREATED
    [KEY]  ES256      prepared  -      -      [TIME]  claude       [TIME]
    ----- stderr
    Published. Each key also waits for claude. Update their copies of the key set, then run: firman key consumer ack NAME
    ");
    let keys = live.json("key list");
    let keys = keys["items"].as_array().unwrap();
    let key = |state: &str| {
        let found = keys
            .iter()
            .find(|key| key["algorithm"] == "ES256" && key["state"] == state);
        found.unwrap()["kid"].as_str().unwrap()
    };
    assert_snapshot!(live.run(&format!("key activate {}", key("prepared"))), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: key [KEY] may sign from [TIME] on, when whoever fetches the key set can have seen it; that cannot be overridden, so try again then
    ");
    assert_snapshot!(live.run(&format!("key consumer ack claude --kid {}", key("active"))), @r"
    exit code 0
    ----- stdout
    name         claude
    description  inline at Claude
    holds        [KEY]
    lacks        [KEY], [KEY]
    created      [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run(&format!("key revoke {} --reason leaked --yes", key("active"))), @r"
    exit code 0
    ----- stdout
    KID                                          ALGORITHM  STATE    SINCE                 UNTIL  ACTIVATES  WAITING FOR  CREATED
    [KEY]  ES256      revoked  [TIME]  -      -          -            [TIME]
    [KEY]  ES256      active   [TIME]  -      -          -            [TIME]
    ----- stderr
    The copies of these key consumers are outdated: claude. Update them, then run: firman key consumer ack NAME
    ");
    assert_snapshot!(live.run("key consumer ack claude"), @r"
    exit code 0
    ----- stdout
    name         claude
    description  inline at Claude
    holds        [KEY], [KEY]
    created      [TIME]
    ----- stderr
    ");
}

#[test]
fn agents_are_linked_to_what_is_theirs_at_claude() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops --role reader --secret");
    assert_snapshot!(live.run("claude links"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    No links. Next: firman claude link AGENT --rule fdrl_… --organization UUID --service-account svac_…
    ");
    let ids = "--organization 00000000-0000-4000-8000-000000000000 --service-account svac_01";
    assert_snapshot!(live.run(&format!("claude link mailer --rule fdrl/1 {ids}")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: rule_id: must be an id of letters and digits that starts with 'fdrl_'
    ");
    assert_snapshot!(live.run(&format!("claude link mailer --rule fdrl_01 {ids} --token-lifetime 10m")), @r"
    exit code 0
    ----- stdout
    agent            mailer
    rule             fdrl_01
    organization     [ID]
    service account  svac_01
    token lifetime   600 s
    created          [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("claude links"), @r"
    exit code 0
    ----- stdout
    AGENT   RULE     SERVICE ACCOUNT  WORKSPACE  ORGANIZATION                          ISSUER
    mailer  fdrl_01  svac_01          -          [ID]  -
    ----- stderr
    ");
    assert_snapshot!(live.run("claude unlink mailer"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    Removed the Claude link of mailer.
    ");
    assert_snapshot!(live.run("claude unlink mailer"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: there is no Claude link of the agent 'mailer'
    ");
}

#[test]
fn a_suspension_says_what_may_go_on_at_claude() {
    let live = Live::start();
    live.json("resource add claude --profile claude");
    live.json("role add claude-user --grant claude");
    live.json("agent add mailer --owner ops --role claude-user --generate-key mailer.pem");
    live.json(&format!(
        "token get --issuer {} --client-id mailer --key mailer.pem",
        live.issuer()
    ));
    let last_lines = |text: String| {
        let lines = text.split_once("----- stderr\n").unwrap().1;
        // A second may have passed.
        lines.replace("(in 19 min)", "(in 20 min)")
    };
    assert_snapshot!(last_lines(live.run("agent suspend mailer")), @r"
    Suspended. New token requests are refused and introspection reports its tokens as inactive. Services that verify tokens offline accept them until they expire or until they fetch the revocation list.
    Access to Claude can last until [TIME] (in 20 min) at most. To end exchanges at once, archive its rule at Claude; tokens that Claude issued before stay valid until then.
    Next: firman agent resume mailer
    ");
    let ids = "--organization 00000000-0000-4000-8000-000000000000 --service-account svac_01";
    live.json(&format!("claude link mailer --rule fdrl_01 {ids}"));
    assert_snapshot!(last_lines(live.run("agent suspend mailer")), @r"
    Suspended. New token requests are refused and introspection reports its tokens as inactive. Services that verify tokens offline accept them until they expire or until they fetch the revocation list.
    Access to Claude can last until [TIME] (in 20 min) at most. To end exchanges at once, archive the rule fdrl_01 at Claude; tokens that Claude issued before stay valid until then.
    Next: firman agent resume mailer
    ");
    live.json("agent add other --owner ops --secret");
    live.json(&format!("claude link other --rule fdrl_02 {ids}"));
    assert_snapshot!(last_lines(live.run("agent suspend other")), @r"
    Suspended. New token requests are refused and introspection reports its tokens as inactive. Services that verify tokens offline accept them until they expire or until they fetch the revocation list.
    Its access to Claude has ended.
    Next: firman agent resume other
    ");
}

#[test]
fn the_audit_is_listed_verified_and_exported() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops --role reader --generate-key mailer.pem");
    live.json(&format!(
        "token get --issuer {} --client-id mailer --key mailer.pem",
        live.issuer()
    ));
    assert_snapshot!(live.run("audit list"), @"
    exit code 0
    ----- stdout
    SEQ  AT                        EVENT                  ACTOR                    TARGET                                           TOKEN                           DETAIL
    10   [TIME]  token.issued           agent:mailer             agent:mailer                                     [JTI]  aud=https://mail.example.com credential=[ID] ex…
    9    [TIME]  credential.added       administrator:bootstrap  agent:mailer                                     -                               credential: id=[ID] kind=public_key thumbprint=…
    8    [TIME]  agent.created          administrator:bootstrap  agent:mailer                                     -                               owner=ops roles=reader subject=agent:mailer
    7    [TIME]  group.created          administrator:bootstrap  group:ops                                        -                               roles=reader
    6    [TIME]  role.created           administrator:bootstrap  role:reader                                      -                               grants: mail=read
    5    [TIME]  resource.created       administrator:bootstrap  resource:mail                                    -                               identifier=https://mail.example.com profile=generic scopes=read, send
    4    [TIME]  administrator.created  system                   administrator:bootstrap                          -                               role=owner
    3    [TIME]  key.activated          system                   key:[KEY]  -                               algorithm=RS256
    2    [TIME]  key.activated          system                   key:[KEY]  -                               algorithm=ES256
    1    [TIME]  issuer.created         system                   issuer:default                                   -                               url=[ISSUER]
    ----- stderr
    ");
    assert_snapshot!(live.run("audit list --agent mailer --event token.issued"), @"
    exit code 0
    ----- stdout
    SEQ  AT                        EVENT         ACTOR         TARGET        TOKEN                           DETAIL
    10   [TIME]  token.issued  agent:mailer  agent:mailer  [JTI]  aud=https://mail.example.com credential=[ID] ex…
    ----- stderr
    ");
    assert_snapshot!(live.run("audit verify"), @r"
    exit code 0
    ----- stdout
    chain    whole
    entries  10
    head     [HASH]
    ----- stderr
    ");
    assert_snapshot!(live.run("audit export --event token.issued"), @r#"
    exit code 0
    ----- stdout
    {"actor":"agent:mailer","address":"127.0.0.1","agent_id":"[ID]","at":"[TIME]","at_ms":[MILLIS],"detail":{"aud":"https://mail.example.com","credential":"[ID]","exp":[SECONDS],"grant_type":"client_credentials","kid":"[KEY]","method":"private_key_jwt","scope":"read"},"event":"token.issued","hash":"[HASH]","request_id":"[ID]","seq":10,"target":"agent:mailer","token_id":"[JTI]"}
    ----- stderr
    "#);
}

#[test]
fn a_token_is_had_by_secret_with_what_is_granted_and_no_more() {
    let live = Live::with_mail();
    let issuer = live.issuer();
    let clerk = live.json("agent add clerk --owner ops --role reader --secret");
    live.site
        .write("secret", clerk["client_secret"].as_str().unwrap());
    assert_snapshot!(live.created(&format!("token get --issuer {issuer} --client-id clerk --secret-file secret --expires-in 5m")), @r#"
    {
      "access_token": "[JWT]",
      "expires_at": [SECONDS],
      "expires_in": 300,
      "scope": "read",
      "token_type": "Bearer"
    }
    "#);
    assert_snapshot!(live.run(&format!("token get --issuer {issuer} --client-id clerk --secret-file secret --scope send")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the issuer refused: not granted for https://mail.example.com: send; granted: read (invalid_scope)
    ");
}

#[test]
fn a_token_had_by_key_is_verified_and_refused_for_another_audience() {
    let live = Live::with_mail();
    let issuer = live.issuer();
    live.json("agent add mailer --owner ops --group ops --generate-key mailer.pem");
    let get = format!(
        "token get --issuer {issuer} --client-id mailer --key mailer.pem --resource https://mail.example.com --out token"
    );
    live.json(&get);
    let token = std::fs::read_to_string(live.site.path("token")).unwrap();
    let token = token.trim();
    assert_snapshot!(live.created(&format!("token verify {token} --issuer {issuer} --audience https://mail.example.com")), @r#"
    {
      "claims": {
        "acting_agent": "agent:mailer",
        "aud": "https://mail.example.com",
        "client_id": "mailer",
        "exp": [SECONDS],
        "groups": [
          "ops"
        ],
        "iat": [SECONDS],
        "iss": "[ISSUER]",
        "jti": "[JTI]",
        "nbf": [SECONDS],
        "owner": "ops",
        "roles": [
          "reader"
        ],
        "scope": "read",
        "sub": "agent:mailer",
        "sub_profile": "ai_agent"
      },
      "header": {
        "alg": "ES256",
        "kid": "[KEY]",
        "typ": "at+jwt"
      },
      "verified": true
    }
    "#);
    assert_snapshot!(live.run(&format!("token verify {token} --issuer {issuer} --audience https://other.example.com")), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    error: not valid: the token is for ["https://mail.example.com"] (`aud`), not for "https://other.example.com"
    "#);
    let (signed, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{signed}.{}", "A".repeat(86));
    assert_snapshot!(live.run(&format!("token verify {forged} --issuer {issuer} --audience https://mail.example.com")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: not valid: the signature is not valid
    ");
}

#[test]
fn a_token_is_bound_to_a_key_in_a_file_and_says_so() {
    let live = Live::with_mail();
    let issuer = live.issuer();
    live.json("agent add mailer --owner ops --group ops --generate-key mailer.pem");
    let get = format!("token get --issuer {issuer} --client-id mailer --key mailer.pem");
    assert_snapshot!(live.run(&format!("{get} --dpop-key -")), @"
    exit code 2
    ----- stdout
    ----- stderr
    error: --dpop-key must be a file
    ");
    assert_snapshot!(live.run(&format!("{get} --dpop-key nowhere.pem")), @"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot read nowhere.pem: no such file or directory
    ");
    assert_snapshot!(live.created(&format!("{get} --dpop-key mailer.pem")), @r#"
    {
      "access_token": "[JWT]",
      "expires_at": [SECONDS],
      "expires_in": 900,
      "scope": "read",
      "token_type": "DPoP"
    }
    "#);
    let shown = live.json(&format!("{get} --dpop-key mailer.pem"));
    let token = shown["access_token"].as_str().unwrap();
    let agent = live.json("agent show mailer");
    let claims = decoded_part(token, 1);
    // A key without a name is registered under its thumbprint.
    assert_eq!(claims["cnf"]["jkt"], agent["credentials"][0]["kid"]);
}

#[test]
fn what_is_created_is_one_json_object_on_stdout() {
    let live = Live::start();
    assert_snapshot!(live.created("resource add mail --identifier https://mail.example.com --scope read"), @r#"
    {
      "algorithm": null,
      "allow_delegation": null,
      "created_at": [SECONDS],
      "delegation_allowed": true,
      "description": "",
      "dpop_required": false,
      "id": "[ID]",
      "identifier": "https://mail.example.com",
      "lifetime": null,
      "name": "mail",
      "profile": "generic",
      "scopes": [
        "read"
      ],
      "server": null,
      "token_algorithm": "ES256",
      "token_lifetime": 900,
      "token_typ": "at+jwt",
      "typ": null,
      "updated_at": [SECONDS],
      "version": 2
    }
    "#);
    assert_snapshot!(live.created("role add reader --grant mail"), @r#"
    {
      "created_at": [SECONDS],
      "description": "",
      "grants": [
        {
          "identifier": "https://mail.example.com",
          "resource": "mail",
          "scopes": "*"
        }
      ],
      "id": "[ID]",
      "name": "reader",
      "updated_at": [SECONDS],
      "version": 3
    }
    "#);
    assert_snapshot!(live.created("group add ops --role reader"), @r#"
    {
      "created_at": [SECONDS],
      "description": "",
      "id": "[ID]",
      "members": 0,
      "name": "ops",
      "roles": [
        "reader"
      ],
      "updated_at": [SECONDS],
      "version": 4
    }
    "#);
}

#[test]
fn a_registered_agent_is_one_json_object_on_stdout() {
    let live = Live::with_mail();
    assert_snapshot!(live.created("agent add mailer --owner ops --group ops --secret"), @r#"
    {
      "agent": {
        "assertion_audience": null,
        "attributes": {},
        "created_at": [SECONDS],
        "credentials": [
          {
            "created_at": [SECONDS],
            "expires_at": null,
            "id": "[ID]",
            "jwk": null,
            "kid": null,
            "kind": "client_secret",
            "not_before": [SECONDS],
            "revoked_at": null,
            "status": "live",
            "thumbprint": null
          }
        ],
        "description": "",
        "dpop_required": false,
        "effective_roles": [
          {
            "group": "ops",
            "role": "reader"
          }
        ],
        "expires_at": null,
        "groups": [
          "ops"
        ],
        "id": "[ID]",
        "last_token_at": null,
        "name": "mailer",
        "owner": "ops",
        "roles": [],
        "status": "active",
        "status_since": null,
        "subject": "agent:mailer",
        "updated_at": [SECONDS],
        "version": 5
      },
      "client_id": "mailer",
      "client_secret": "[SECRET]",
      "credential": {
        "created_at": [SECONDS],
        "expires_at": null,
        "id": "[ID]",
        "jwk": null,
        "kid": null,
        "kind": "client_secret",
        "not_before": [SECONDS],
        "revoked_at": null,
        "status": "live",
        "thumbprint": null
      }
    }
    "#);
}

#[test]
fn a_created_credential_is_one_json_object_on_stdout() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops");
    assert_snapshot!(live.created("credential add mailer --generate-key mailer.pem"), @r#"
    {
      "client_id": "mailer",
      "credential": {
        "created_at": [SECONDS],
        "expires_at": null,
        "id": "[ID]",
        "jwk": {
          "alg": "ES256",
          "crv": "P-256",
          "kid": "[KEY]",
          "kty": "EC",
          "x": "[KEY]",
          "y": "[KEY]"
        },
        "kid": "[KEY]",
        "kind": "public_key",
        "not_before": [SECONDS],
        "revoked_at": null,
        "status": "live",
        "thumbprint": "[KEY]"
      }
    }
    "#);
    assert_snapshot!(live.run("credential add nobody --secret -o json"), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"there is no agent 'nobody'","kind":"not_found","request_id":"[ID]","status":404}}
    "#);
}

#[test]
fn a_shown_agent_is_one_json_object_on_stdout() {
    let live = Live::with_mail();
    live.json("agent add mailer --owner ops --generate-key mailer.pem");
    assert_snapshot!(live.created("agent show mailer"), @r#"
    {
      "assertion_audience": null,
      "attributes": {},
      "created_at": [SECONDS],
      "credentials": [
        {
          "created_at": [SECONDS],
          "expires_at": null,
          "id": "[ID]",
          "jwk": {
            "alg": "ES256",
            "crv": "P-256",
            "kid": "[KEY]",
            "kty": "EC",
            "x": "[KEY]",
            "y": "[KEY]"
          },
          "kid": "[KEY]",
          "kind": "public_key",
          "not_before": [SECONDS],
          "revoked_at": null,
          "status": "live",
          "thumbprint": "[KEY]"
        }
      ],
      "description": "",
      "dpop_required": false,
      "effective_roles": [],
      "expires_at": null,
      "groups": [],
      "id": "[ID]",
      "last_token_at": null,
      "name": "mailer",
      "owner": "ops",
      "roles": [],
      "status": "active",
      "status_since": null,
      "subject": "agent:mailer",
      "updated_at": [SECONDS],
      "version": 5
    }
    "#);
}

#[test]
fn a_wrong_admin_token_is_refused() {
    let live = Live::start();
    let stranger = Site::new()
        .with("FIRMAN_URL", &format!("http://{}", live.server.private))
        .with("FIRMAN_ADMIN_TOKEN", "fma_wrong");
    let outcome = stranger.run(&["agent", "list"]);
    assert_snapshot!(live.redacted(&outcome.to_string()), @"
    exit code 1
    ----- stdout
    ----- stderr
    error: the token is not, or no longer, an administrator's
    hint: check the admin token from client.admin_token (FIRMAN_ADMIN_TOKEN or FIRMAN_ADMIN_TOKEN_FILE): it must be a token of this issuer that was not revoked
    ");
    let outcome = stranger.run(&["agent", "list", "-o", "json"]);
    assert_snapshot!(live.redacted(&outcome.to_string()), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    {"error":{"detail":"the token is not, or no longer, an administrator's","hint":"check the admin token from client.admin_token (FIRMAN_ADMIN_TOKEN or FIRMAN_ADMIN_TOKEN_FILE): it must be a token of this issuer that was not revoked","kind":"unauthorized","request_id":"[ID]","status":401}}
    "#);
}

#[test]
fn the_last_owner_is_listed_and_cannot_be_revoked() {
    let live = Live::start();
    assert_snapshot!(live.run("administrator list"), @r"
    exit code 0
    ----- stdout
    NAME       ROLE   EXPIRES  REVOKED  CREATED
    bootstrap  owner  -        -        [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("administrator revoke nobody --yes"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: there is no administrator 'nobody'
    ");
    assert_snapshot!(live.run("administrator revoke bootstrap --yes"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: 'bootstrap' is the last owner: without one nobody could rotate a key or revoke anybody; make another owner first
    ");
    assert_snapshot!(live.run("administrator list"), @r"
    exit code 0
    ----- stdout
    NAME       ROLE   EXPIRES  REVOKED  CREATED
    bootstrap  owner  -        -        [TIME]
    ----- stderr
    ");
}

#[test]
fn the_policy_for_the_audience_of_assertions_is_one_of_three() {
    let live = Live::start();
    assert_snapshot!(live.run("issuer edit --assertion-audience any"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: invalid value 'any' for '--assertion-audience <POLICY>'
      [possible values: issuer-as-string, issuer, issuer-or-token-endpoint]

    For more information, try '--help'.
    ");
    assert_snapshot!(live.run("agent add legacy --owner ops --assertion-audience inherit"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: invalid value 'inherit' for '--assertion-audience <POLICY>'
      [possible values: issuer-as-string, issuer, issuer-or-token-endpoint]

    For more information, try '--help'.
    ");
    assert_snapshot!(live.run("issuer edit --assertion-audience issuer-as-string"), @r"
    exit code 0
    ----- stdout
    url                 [ISSUER]
    slug                default
    subjects            agent:{name}
    default lifetime    900 s
    max lifetime        3600 s
    default algorithm   ES256
    assertion audience  issuer-as-string
    token endpoint      [ISSUER]/oauth2/token
    key set             [ISSUER]/oauth2/jwks
    discovery           [ISSUER]/.well-known/openid-configuration
    ----- stderr
    ");
}

#[test]
fn an_agents_policy_for_the_audience_of_assertions_is_set_shown_and_warned_about() {
    let live = Live::start();
    assert_snapshot!(live.run("agent add legacy --owner ops --assertion-audience issuer-or-token-endpoint"), @r"
    exit code 0
    ----- stdout
    name       legacy
    subject    agent:legacy
    owner      ops
    client_id  legacy
    ----- stderr
    warning: assertions for the token endpoint can be replayed. A server that names this token endpoint in its metadata gets assertions from clients that trust it, and this issuer accepts them (draft-ietf-oauth-rfc7523bis).
    hint: use this setting for clients that cannot be changed; the page client-libraries has the line that sets the audience in each library
    Next: firman credential add legacy --generate-key legacy.pem
    ");
    assert_snapshot!(live.run("agent edit legacy --assertion-audience issuer"), @r"
    exit code 0
    ----- stdout
    name                legacy
    subject             agent:legacy
    status              active
    owner               ops
    assertion audience  issuer
    created             [TIME]
    id                  [ID]
    ----- stderr
    ");
    assert_snapshot!(live.run("agent edit legacy --assertion-audience inherit"), @r"
    exit code 0
    ----- stdout
    name     legacy
    subject  agent:legacy
    status   active
    owner    ops
    created  [TIME]
    id       [ID]
    ----- stderr
    ");
    // Whoever reads JSON is warned too.
    let warned =
        live.run("issuer edit --assertion-audience issuer-or-token-endpoint --output json");
    assert!(
        warned.contains("\"assertion_audience\": \"issuer-or-token-endpoint\""),
        "{warned}"
    );
    assert!(
        warned.contains("warning: assertions for the token endpoint can be replayed"),
        "{warned}"
    );
}

#[test]
fn a_key_gets_the_kid_that_was_asked_for() {
    let live = Live::with_mail();
    assert_snapshot!(live.run("agent add mailer --owner ops --role reader --kid one"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: --kid is only for a public key
    hint: add --public-key FILE or --generate-key FILE
    ");
    assert_snapshot!(live.run("agent add mailer --owner ops --role reader --secret --kid one"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: --kid is only for a public key
    hint: add --public-key FILE or --generate-key FILE
    ");
    assert_snapshot!(live.run("agent add mailer --owner ops --role reader --generate-key mailer.pem --kid one"), @r"
    exit code 0
    ----- stdout
    name       mailer
    subject    agent:mailer
    owner      ops
    roles      reader
    client_id  mailer
    kid        one
    ----- stderr
    The private key is in mailer.pem and nowhere else; give it to the agent alone.
    Next: firman token get --issuer [ISSUER] --client-id mailer --key mailer.pem
    ");
    assert_snapshot!(live.run("credential add mailer --generate-key second.pem --kid one"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the `kid` one names another key of this agent (credential [ID]); choose another `kid`, or revoke that credential first
    ");
    assert!(!live.site.path("second.pem").exists());
    assert_snapshot!(live.run("credential add mailer --generate-key second.pem --kid two"), @r"
    exit code 0
    ----- stdout
    client_id   mailer
    credential  [ID]
    kind        public_key
    kid         two
    status      live
    ----- stderr
    The private key is in second.pem and nowhere else; give it to the agent alone.
    Next: firman token get --issuer [ISSUER] --client-id mailer --key second.pem
    ");
    // The key file does not know the name, and the thumbprint does as well.
    let issuer = live.issuer();
    live.json(&format!(
        "token get --issuer {issuer} --client-id mailer --key second.pem"
    ));
}

#[test]
fn the_issuers_settings_are_shown() {
    let live = Live::start();
    assert_snapshot!(live.run("issuer show"), @r"
    exit code 0
    ----- stdout
    url                 [ISSUER]
    slug                default
    subjects            agent:{name}
    default lifetime    900 s
    max lifetime        3600 s
    default algorithm   ES256
    assertion audience  issuer
    token endpoint      [ISSUER]/oauth2/token
    key set             [ISSUER]/oauth2/jwks
    discovery           [ISSUER]/.well-known/openid-configuration
    ----- stderr
    ");
}

#[test]
fn the_configuration_is_shown_with_where_each_value_is_from_and_checked() {
    let site = Site::new().with("FIRMAN_ISSUER_URL", "https://id.example.com");
    site.write("firman.toml", "[server]\nlisten = \"0.0.0.0:8080\"\n");
    assert_snapshot!(site.run(&["config", "show", "--config", "firman.toml"]), @"
    exit code 0
    ----- stdout
    KEY                             VALUE                   ORIGIN
    issuer.url                      https://id.example.com  environment variable FIRMAN_ISSUER_URL
    server.listen                   0.0.0.0:8080            firman.toml:2
    server.max_connections          800                     default
    server.drain_seconds            10                      default
    server.insecure_loopback_fetch  0                       default
    admin.listen                    127.0.0.1:8081          default
    admin.hosts                     -                       default
    database.url                    sqlite:data/firman.db   default
    data.dir                        data                    default
    keys.dir                        keys                    default
    keys.kek                        (not set)               default
    tokens.default_lifetime         900                     default
    tokens.max_lifetime             3600                    default
    tokens.default_algorithm        ES256                   default
    log.level                       info                    default
    log.format                      auto                    default
    client.url                      http://127.0.0.1:8081   default
    client.admin_token              (not set)               default
    ----- stderr
    ");
    let good = site.run(&[
        "config",
        "check",
        "--config",
        "firman.toml",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ]);
    assert_eq!(good.code, Some(0), "{good}");
    assert_eq!(good.stderr, "The configuration is good.\n");
    site.write("firman.toml", "[server]\nlisten = \"localhost\"\n");
    assert_snapshot!(site.run(&["config", "check", "--config", "firman.toml"]), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    error: firman.toml:2: server.listen is "localhost", which is not an IP address and a port. Write it like 127.0.0.1:8080, or 0.0.0.0:8080 for every address of this machine.
    "#);
}

#[test]
fn a_healthy_issuer_passes_its_health_check() {
    let live = Live::start();
    assert_snapshot!(live.run(&format!("healthcheck --url {}", live.issuer())), @r"
    exit code 0
    ----- stdout
    ----- stderr
    [ISSUER]/healthz is healthy
    ");
}

/// Runs it on free ports; the issuer's address and the milliseconds are left out.
fn quickstart(site: &Site) -> String {
    let ports = "--listen 127.0.0.1:0 --admin-listen 127.0.0.1:0";
    let outcome = site.run(&words(&format!("quickstart --exit {ports}")));
    let text = outcome.to_string();
    let issuer = text
        .split("\"iss\": \"")
        .nth(1)
        .expect("an issuer")
        .split('"')
        .next()
        .unwrap_or_default();
    let text = redacted(&text.replace(issuer, "[ISSUER]"));
    let (before, after) = text.split_once("first token ").unwrap_or((&text, ""));
    match after.split_once(" ms") {
        Some((_, after)) => format!("{before}first token [MILLIS] ms{after}"),
        None => text,
    }
}

#[test]
fn quickstart_proves_a_token_twice_on_the_same_data() {
    let site = Site::new();
    let first = quickstart(&site);
    assert_snapshot!(first, @r#"
    exit code 0
    ----- stdout
    issuer      [ISSUER]
    agent       quickstart (key: data/quickstart.pem)
    token for   https://api.anthropic.com
    first token [MILLIS] ms after the start, verified from discovery and JWKS

    header  {
      "alg": "ES256",
      "kid": "[KEY]",
      "typ": "JWT"
    }
    claims  {
      "acting_agent": "agent:quickstart",
      "aud": "https://api.anthropic.com",
      "client_id": "quickstart",
      "exp": [SECONDS],
      "groups": [],
      "iat": [SECONDS],
      "iss": "[ISSUER]",
      "jti": "[JTI]",
      "nbf": [SECONDS],
      "owner": "quickstart",
      "roles": [
        "quickstart"
      ],
      "sub": "agent:quickstart",
      "sub_profile": "ai_agent"
    }

    ----- stderr
    First start: made data/firman.db, keys/kek, data/admin-token.

    Start it with: firman serve --detach. Then try:
      firman token get --issuer [ISSUER] --client-id quickstart --key data/quickstart.pem --resource https://api.anthropic.com
      firman agent add my-agent --owner my-team --role quickstart --generate-key my-agent.pem
      firman agent suspend quickstart
      firman audit list

    To let Claude trust this issuer, register it as a Custom OIDC issuer with:
      issuer URL  [ISSUER]   (Claude needs a public https URL, or the keys of the JWKS inline. An issuer keeps its URL: start one with FIRMAN_ISSUER_URL=https://… and a --data-dir of its own)
      subject     agent:quickstart    and claim acting_agent = agent:quickstart
      audience    https://api.anthropic.com
    "#);
    let again = quickstart(&site);
    // Another port than before, which the log warns of.
    let (warnings, told): (Vec<&str>, Vec<&str>) = again
        .lines()
        .partition(|line| line.starts_with("{\"timestamp\""));
    assert!(
        matches!(warnings[..], [moved] if moved.contains("has another address now")),
        "{again}"
    );
    let made = "First start: made data/firman.db, keys/kek, data/admin-token.\n\n";
    assert_eq!(told.join("\n"), first.replace(made, "").trim_end());
}

#[test]
fn quickstart_prints_one_json_object_on_request() {
    let site = Site::new();
    let line = "quickstart --exit --listen 127.0.0.1:0 --admin-listen 127.0.0.1:0 --output json";
    let outcome = site.run(&words(line));
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let mut told: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert!(told["first_token_milliseconds"].take().is_u64());
    let issuer = told["issuer"].as_str().unwrap().to_owned();
    assert_snapshot!(redacted(&format!("{told:#}\n").replace(&issuer, "[ISSUER]")), @r#"
    {
      "audience": "https://api.anthropic.com",
      "claims": {
        "acting_agent": "agent:quickstart",
        "aud": "https://api.anthropic.com",
        "client_id": "quickstart",
        "exp": [SECONDS],
        "groups": [],
        "iat": [SECONDS],
        "iss": "[ISSUER]",
        "jti": "[JTI]",
        "nbf": [SECONDS],
        "owner": "quickstart",
        "roles": [
          "quickstart"
        ],
        "sub": "agent:quickstart",
        "sub_profile": "ai_agent"
      },
      "client_id": "quickstart",
      "first_token_milliseconds": null,
      "header": {
        "alg": "ES256",
        "kid": "[KEY]",
        "typ": "JWT"
      },
      "issuer": "[ISSUER]",
      "key_file": "data/quickstart.pem",
      "verified": true
    }
    "#);
}

#[test]
fn quickstart_on_a_port_in_use_says_so() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let site = Site::new();
    let outcome = site.run(&["quickstart", "--exit", "--listen", &address]);
    assert_snapshot!(outcome.to_string().replace(&address, "[ADDRESS]"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot listen on [ADDRESS]: address already in use. Stop the other process, or choose another address with FIRMAN_LISTEN (public) or FIRMAN_ADMIN_LISTEN (private).
    ");
    let outcome = site.run(&["quickstart", "--exit", "--listen", &address, "-o", "json"]);
    let error: Value = serde_json::from_str(&outcome.stderr).unwrap();
    assert_eq!(
        (outcome.stdout.as_str(), &error["error"]["kind"]),
        ("", &json!("start"))
    );
}
