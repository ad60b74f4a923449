//! An agent's objects at Claude, and what a suspension reports about them.

use insta::assert_snapshot;

use super::live::Live;

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
    exit code 2
    ----- stdout
    ----- stderr
    error: invalid value 'fdrl/1' for '--rule <ID>': must be an id of letters and digits that starts with `fdrl_`

    For more information, try '--help'.
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
    error: Claude link of agent `mailer` not found
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
