//! Questions that people ask of a registry, each with one command: who holds what, through what, since when,
//! and what they type to ask.

use insta::assert_snapshot;

use super::live::Live;

/// A role that one agent has directly, and three through a group.
fn with_senders() -> Live {
    let live = Live::with_mail();
    live.json("role add mailer-sender --grant mail=send");
    live.json("group add mailers --role mailer-sender,reader");
    live.json("agent add clerk --owner desk --role mailer-sender");
    for name in ["mailer-1", "mailer-2", "mailer-3"] {
        live.json(&format!("agent add {name} --owner ops --group mailers"));
    }
    live
}

#[test]
fn who_may_send_mail_is_reported_by_one_command() {
    let live = with_senders();
    live.json("agent suspend mailer-3");
    assert_snapshot!(live.run("agent list --role mailer-sender"), @r"
    exit code 0
    ----- stdout
    NAME      STATUS     OWNER  GROUPS   ROLES                                                          EXPIRES  CREATED
    clerk     active     desk   -        mailer-sender                                                  -        [TIME]
    mailer-1  active     ops    mailers  mailer-sender (via group mailers), reader (via group mailers)  -        [TIME]
    mailer-2  active     ops    mailers  mailer-sender (via group mailers), reader (via group mailers)  -        [TIME]
    mailer-3  suspended  ops    mailers  mailer-sender (via group mailers), reader (via group mailers)  -        [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("agent list --role mailer-sender --direct"), @r"
    exit code 0
    ----- stdout
    NAME   STATUS  OWNER  GROUPS  ROLES          EXPIRES  CREATED
    clerk  active  desk   -       mailer-sender  -        [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("agent list --role mailer-sender --group ops"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    No agents match.
    hint: firman agent list
    ");
}

#[test]
fn a_resource_leads_to_its_roles_and_a_role_to_its_holders() {
    let live = with_senders();
    assert_snapshot!(live.run("resource show mail"), @r"
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
    created     [TIME]
    id          [ID]

    ROLE           SCOPES
    mailer-sender  send
    reader         read
    ----- stderr
    Next: firman agent list --role ROLE
    ");
    assert_snapshot!(live.run("role show mailer-sender"), @r"
    exit code 0
    ----- stdout
    name     mailer-sender
    created  [TIME]
    id       [ID]

    RESOURCE  IDENTIFIER                SCOPES
    mail      https://mail.example.com  send

    GROUP    DESCRIPTION
    mailers  -

    AGENT     STATUS  OWNER  THROUGH
    clerk     active  desk   directly
    mailer-1  active  ops    group mailers
    mailer-2  active  ops    group mailers
    mailer-3  active  ops    group mailers
    ----- stderr
    ");
    assert_snapshot!(live.run("group show mailers"), @r"
    exit code 0
    ----- stdout
    name     mailers
    roles    mailer-sender, reader
    members  3
    created  [TIME]
    id       [ID]

    AGENT     STATUS  OWNER
    mailer-1  active  ops
    mailer-2  active  ops
    mailer-3  active  ops
    ----- stderr
    ");
    assert_snapshot!(live.run("role list --resource mail"), @r"
    exit code 0
    ----- stdout
    NAME           GRANTS     DESCRIPTION  CREATED
    mailer-sender  mail=send  -            [TIME]
    reader         mail=read  -            [TIME]
    ----- stderr
    ");
    assert_snapshot!(live.run("group list --role mailer-sender"), @r"
    exit code 0
    ----- stdout
    NAME     ROLES                  DESCRIPTION  CREATED
    mailers  mailer-sender, reader  -            [TIME]
    ----- stderr
    ");
}

#[test]
fn more_holders_than_are_shown_are_counted_and_listed_by_another_command() {
    let live = Live::with_mail();
    for number in 10..33 {
        live.json(&format!("agent add m{number} --owner ops --group ops"));
    }
    let last_line = |text: String| text.lines().last().unwrap().to_owned();
    assert_eq!(
        last_line(live.run("group show ops")),
        "and 3 more: firman agent list --group ops"
    );
    assert_eq!(
        last_line(live.run("role show reader")),
        "and 3 more: firman agent list --role reader"
    );
}

#[test]
fn an_agent_shows_how_it_holds_its_roles() {
    let live = with_senders();
    live.json("agent edit mailer-1 --add-role mailer-sender");
    assert_snapshot!(live.run("agent show mailer-1"), @r"
    exit code 0
    ----- stdout
    name     mailer-1
    subject  agent:mailer-1
    status   active
    owner    ops
    groups   mailers
    roles    mailer-sender (also via group mailers), reader (via group mailers)
    created  [TIME]
    id       [ID]
    ----- stderr
    ");
    let shown = live.json("agent show mailer-1");
    let expected = serde_json::json!([
        { "role": "mailer-sender", "group": null },
        { "role": "mailer-sender", "group": "mailers" },
        { "role": "reader", "group": "mailers" },
    ]);
    assert_eq!(shown["effective_roles"], expected);
    assert_eq!(shown["roles"], serde_json::json!(["mailer-sender"]));
}

#[test]
fn json_lists_are_whole_and_tables_say_that_there_are_more() {
    let live = Live::with_mail();
    for number in 0..53 {
        live.json(&format!("role add r{number:02}"));
    }
    let count = |line: &str| {
        let list = live.json(line);
        (
            list["items"].as_array().unwrap().len(),
            list["next_cursor"].is_null(),
        )
    };
    // With `reader`.
    assert_eq!(count("role list"), (54, true));
    assert_eq!(count("role list --limit 3"), (3, false));
    assert_eq!(count("role ls --limit 500"), (54, true));
    let table = live.run("role list");
    assert_eq!(table.matches("\nr").count(), 50, "{table}");
    assert!(
        table.contains("\nThere are more: add `--all`, or `--cursor "),
        "{table}"
    );
    let all = live.run("role list --all");
    assert_eq!(all.matches("\nr").count(), 54, "{all}");
    assert!(all.ends_with("----- stderr\n"), "{all}");
}

#[test]
fn scopes_are_typed_in_one_way_everywhere() {
    let live = Live::with_mail();
    let scopes = |line: &str| live.json(line)["scopes"].to_string();
    for (name, options) in [
        ("a", "--scope x --scope y"),
        ("b", "--scope x,y"),
        ("c", "--scope 'x y'"),
        ("d", "--scope 'x, y' --scope x"),
    ] {
        let line = format!("resource add {name} --identifier https://{name}.example.com {options}");
        assert_eq!(scopes(&line), r#"["x","y"]"#, "{options}");
    }
    assert_eq!(
        scopes("resource edit a --add-scope z,v --remove-scope 'x y'"),
        r#"["v","z"]"#
    );
    for (name, grant) in [
        ("e", "--grant mail=read,send"),
        ("f", "--grant 'mail=read send'"),
        ("g", "--grant mail=read --grant mail=send"),
    ] {
        let role = live.json(&format!("role add {name} {grant}"));
        assert_eq!(
            role["grants"][0]["scopes"].to_string(),
            r#"["read","send"]"#,
            "{grant}"
        );
    }
    let agent = live.json("agent add bot --owner ops --role e,f --role g --group ops --secret");
    assert_eq!(agent["agent"]["roles"].to_string(), r#"["e","f","g"]"#);
    let delegation = "delegation add --actor bot --subject agent:other --resource mail --for 1h";
    for options in [
        "--scope read,send",
        "--scope 'read send'",
        "--scope read --scope send",
    ] {
        assert_eq!(
            scopes(&format!("{delegation} {options}")),
            r#"["read","send"]"#,
            "{options}"
        );
        let explained = live.json(&format!("agent explain bot --resource mail {options}"));
        assert_eq!(explained["claims"]["scope"], "read send", "{options}");
        live.site
            .write("secret", agent["client_secret"].as_str().unwrap());
        let get = format!(
            "token get --issuer {} --client-id bot --secret-file secret {options}",
            live.issuer()
        );
        assert_eq!(live.json(&get)["scope"], "read send", "{options}");
    }
}

#[test]
fn a_comma_in_a_new_scopes_name_is_refused_by_name() {
    let live = Live::with_mail();
    assert_snapshot!(live.run("resource edit mail --add-scope a,,b"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: invalid value 'a,,b' for '--add-scope <SCOPES>': expected words separated by commas or blanks; one of them is empty

    For more information, try '--help'.
    ");
}

#[test]
fn two_resources_are_two_answers_and_not_a_refusal() {
    let live = with_senders();
    live.json("resource add disk --identifier urn:disk --scope write");
    live.json("role add storer --grant disk");
    live.json("agent edit mailer-1 --add-role storer");
    assert_snapshot!(live.run("agent explain mailer-1"), @r"
    exit code 0
    ----- stdout
    agent   mailer-1
    active  yes

    RESOURCE  IDENTIFIER                TOKEN
    disk      urn:disk                  yes
    mail      https://mail.example.com  yes

    RESOURCE  IDENTIFIER                SCOPE  GRANTED  THROUGH
    disk      urn:disk                  write  yes      role storer
    mail      https://mail.example.com  read   yes      role reader of group mailers
    mail      https://mail.example.com  send   yes      role mailer-sender of group mailers
    ----- stderr
    A token is for one resource, so a request names it.
    Next: firman agent explain mailer-1 --resource RESOURCE
    ");
    live.json("agent suspend mailer-1");
    let suspended = live.run("agent explain mailer-1");
    assert!(
        suspended.contains("\nrefused  invalid_client: the agent was suspended at [TIME]\nhint     firman agent resume mailer-1\n"),
        "{suspended}"
    );
}

#[test]
fn the_audit_says_what_changed_by_whom_and_on_what() {
    let live = with_senders();
    live.json("agent edit clerk --add-role reader --remove-role mailer-sender --owner billing");
    live.json("role edit mailer-sender --grant mail=read,send");
    assert_snapshot!(live.run("audit list --actor bootstrap --limit 2"), @r"
    exit code 0
    ----- stdout
    SEQ  AT                        EVENT          ACTOR                    TARGET              TOKEN  DETAIL
    15   [TIME]  role.changed   administrator:bootstrap  role:mailer-sender  -      grants: +mail=read,send -mail=send
    14   [TIME]  agent.changed  administrator:bootstrap  agent:clerk         -      owner: desk → billing, roles: +reader -mailer-sender
    ----- stderr
    There are more: add `--all`, or `--cursor YXVkaXQ6MTQ`
    ");
    assert_snapshot!(live.run("audit list --role mailer-sender"), @r"
    exit code 0
    ----- stdout
    SEQ  AT                        EVENT         ACTOR                    TARGET              TOKEN  DETAIL
    15   [TIME]  role.changed  administrator:bootstrap  role:mailer-sender  -      grants: +mail=read,send -mail=send
    8    [TIME]  role.created  administrator:bootstrap  role:mailer-sender  -      grants: mail=send
    ----- stderr
    ");
    assert_snapshot!(live.run("audit list --group mailers --event group.removed"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    No entries with event group.removed, target group:mailers.
    ");
    assert_snapshot!(live.run("audit list --actor bootstrp"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: actor: no administrator or agent is named `bootstrp`; an actor is `administrator:NAME`, `agent:NAME`, `system` or `unknown`
    ");
    assert_snapshot!(live.run("audit list --target reader"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: invalid value 'reader' for '--target <KIND:NAME>': a kind is required, such as role:reader; the kinds are administrator, agent, delegation, group, issuer, key, key-consumer, resource, role, trusted-issuer, user

    For more information, try '--help'.
    ");
}

#[test]
fn an_audit_in_json_is_the_newest_entries_and_says_so() {
    let live = Live::with_mail();
    for number in 0..50 {
        live.json(&format!("role add r{number:02}"));
    }
    let listed = live.run("audit list --output json");
    assert_eq!(listed.matches("\"seq\":").count(), 50);
    assert!(
        listed.ends_with("----- stderr\nOnly the newest 50 entries: add `--limit N` or `--all`, or use `firman audit export`.\n"),
        "{listed}"
    );
    let all = live.json("audit list --all");
    assert!(all["items"].as_array().unwrap().len() > 50);
}

#[test]
fn commands_are_had_by_the_words_of_other_products() {
    let live = Live::with_mail();
    live.json("agents create bot --owner ops");
    assert_eq!(live.run("agents ls"), live.run("agent list"));
    assert_eq!(live.run("agent get bot"), live.run("agent show bot"));
    assert_eq!(live.run("help agent add"), live.run("agent add --help"));
    assert_eq!(live.run("version"), live.run("--version"));
    assert_snapshot!(live.run("agent rm bot -y"), @r"
    exit code 0
    ----- stdout
    ----- stderr
    Removed bot.
    ");
    assert_snapshot!(live.run("agent revoke bot"), @r"
    exit code 2
    ----- stdout
    ----- stderr
    error: unrecognized subcommand 'revoke'

    hint: `firman agent suspend NAME` stops an agent; `firman credential revoke AGENT ID` ends one credential, `firman token revoke JTI` one token

    Usage: firman agent <COMMAND>

    For more information, try '--help'.
    ");
}
