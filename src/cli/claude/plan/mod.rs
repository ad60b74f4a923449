//! What `claude connect --apply` would do at Claude: compares the wanted objects with the existing ones, found by
//! name, and decides to create, change or keep each, or to refuse. Pure.
//!
//! An object with another issuer or subject is not ours and is never changed, whatever its name.

mod issuer;
mod rule;

use serde_json::{Map, Value};

use super::super::error::CliError;
use super::super::print::harmless;
use super::admin_api::Kind;
use crate::domain::remedy::Remedy;
use issuer::issuer_step;
use rule::{check_rule, rule_step};

/// The scopes that a rule made with an OAuth token may grant.
pub(super) const MANAGEABLE_SCOPES: [&str; 2] = ["workspace:developer", "workspace:inference"];

/// The wanted objects.
pub(super) struct Wanted {
    pub(super) account: WantedAccount,
    /// The body that creates the issuer.
    pub(super) issuer: Value,
    /// The body that creates the rule, without ids.
    pub(super) rule: Value,
    /// The workspace, unless it is the default one, of which every account is a member.
    pub(super) workspace: Option<String>,
    /// The lifetime of the identity tokens, in seconds.
    pub(super) assertion_lifetime: i64,
    /// Members of the rule that were named; other differences stay as they are.
    pub(super) chosen: Vec<&'static str>,
}

/// The service account of the agent.
pub(super) enum WantedAccount {
    /// The account with that id.
    Id(String),
    /// The account of that name; `is_chosen` if it was named.
    Named { body: Value, is_chosen: bool },
}

/// The existing objects.
#[derive(Default)]
pub(super) struct Present {
    pub(super) accounts: Vec<Value>,
    pub(super) issuers: Vec<Value>,
    pub(super) rules: Vec<Value>,
}

/// What happens to one object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// Unchanged.
    Keep { id: String, name: String },
    /// New.
    Create { body: Value },
    /// Some members change.
    Change {
        id: String,
        name: String,
        body: Value,
        changes: Vec<String>,
    },
}

impl Step {
    /// The object's id, if it exists.
    pub(super) fn id(&self) -> Option<&str> {
        match self {
            Self::Keep { id, .. } | Self::Change { id, .. } => Some(id),
            Self::Create { .. } => None,
        }
    }

    pub(super) fn name(&self) -> &str {
        match self {
            Self::Keep { name, .. } | Self::Change { name, .. } => name,
            Self::Create { body } => body["name"].as_str().unwrap_or_default(),
        }
    }

    /// The word for it.
    pub(super) fn verb(&self) -> &'static str {
        match self {
            Self::Keep { .. } => "keep",
            Self::Create { .. } => "create",
            Self::Change { .. } => "change",
        }
    }

    /// `create  rule agent-mailer-1a2b (subject …)`.
    fn line(&self, kind: Kind) -> String {
        let mut line = format!("{:6}  {} {}", self.verb(), kind.as_str(), self.name());
        match self {
            Self::Keep { id, .. } => line.push_str(&format!(" ({id})")),
            Self::Create { .. } => {}
            Self::Change { id, changes, .. } => {
                line.push_str(&format!(" ({id}): {}", changes.join("; ")));
            }
        }
        line
    }
}

/// The steps, in this order.
pub(super) struct Plan {
    pub(super) account: Step,
    pub(super) issuer: Step,
    pub(super) rule: Step,
    /// Differences that stay as they are.
    pub(super) notes: Vec<String>,
    /// The lifetime of Claude's tokens by the rule, in seconds.
    pub(super) token_lifetime: Value,
}

impl Plan {
    /// The steps with their kinds.
    pub(super) fn steps(&self) -> [(Kind, &Step); 3] {
        [
            (Kind::ServiceAccount, &self.account),
            (Kind::Issuer, &self.issuer),
            (Kind::Rule, &self.rule),
        ]
    }

    /// One line a step.
    pub(super) fn lines(&self) -> Vec<String> {
        let steps = self.steps();
        steps.map(|(kind, step)| harmless(&step.line(kind))).into()
    }

    /// How many of them change something.
    pub(super) fn changes(&self) -> usize {
        let steps = self.steps();
        steps
            .iter()
            .filter(|(_, step)| step.verb() != "keep")
            .count()
    }
}

/// Compares them.
pub(super) fn plan(wanted: &Wanted, present: &Present) -> Result<Plan, CliError> {
    let mut notes = Vec::new();
    let issuer = issuer_step(wanted, present, &mut notes)?;
    let rule_there = named(&present.rules, text(&wanted.rule, "name"));
    let account = account_step(wanted, present, rule_there)?;
    let rule = match rule_there {
        None => Step::Create {
            body: wanted.rule.clone(),
        },
        Some(there) => {
            check_rule(&wanted.rule, there, &issuer, &account)?;
            rule_step(wanted, there, &mut notes)
        }
    };
    let lifetime = "token_lifetime_seconds";
    let token_lifetime = match rule_there {
        Some(there) if !wanted.chosen.contains(&lifetime) => there[lifetime].clone(),
        Some(_) | None => wanted.rule[lifetime].clone(),
    };
    Ok(Plan {
        token_lifetime,
        account,
        issuer,
        rule,
        notes,
    })
}

fn account_step(
    wanted: &Wanted,
    present: &Present,
    rule_there: Option<&Value>,
) -> Result<Step, CliError> {
    let keep = |there: &Value| Step::Keep {
        id: text(there, "id").to_owned(),
        name: text(there, "name").to_owned(),
    };
    let by_id = |id: &str| {
        present
            .accounts
            .iter()
            .find(|there| text(there, "id") == id)
    };
    match &wanted.account {
        WantedAccount::Id(id) => match by_id(id) {
            Some(there) => Ok(keep(there)),
            None => Err(refused(format!(
                "the service account `{id}` does not exist in this organization"
            ))
            .with_remedy(&Remedy::action(
                "check that the admin token belongs to the right organization",
            ))),
        },
        WantedAccount::Named { body, is_chosen } => {
            // An existing rule names its account, unless another one was chosen.
            let of_rule = rule_there
                .filter(|_| !is_chosen)
                .and_then(|rule| by_id(target(rule)));
            match of_rule.or_else(|| named(&present.accounts, text(body, "name"))) {
                Some(there) => Ok(keep(there)),
                None => Ok(Step::Create { body: body.clone() }),
            }
        }
    }
}

fn step(there: &Value, body: Map<String, Value>, changes: Vec<String>) -> Step {
    let (id, name) = (text(there, "id").to_owned(), text(there, "name").to_owned());
    if changes.is_empty() {
        return Step::Keep { id, name };
    }
    Step::Change {
        id,
        name,
        body: Value::Object(body),
        changes,
    }
}

fn is_among(value: &Value, list: &Value) -> bool {
    list.as_array().is_some_and(|list| list.contains(value))
}

/// A conflict. `detail` repeats Claude's texts, which must not start a line of their own.
fn refused(detail: String) -> CliError {
    CliError::failed("conflict", harmless(&detail))
}

fn named<'p>(objects: &'p [Value], name: &str) -> Option<&'p Value> {
    objects.iter().find(|object| text(object, "name") == name)
}

fn target(rule: &Value) -> &str {
    text(&rule["target"], "service_account_id")
}

fn text<'v>(object: &'v Value, name: &str) -> &'v str {
    object[name].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const URL: &str = "https://id.example.com";

    fn wanted() -> Wanted {
        Wanted {
            account: WantedAccount::Named {
                body: json!({ "name": "mailer", "role": "developer" }),
                is_chosen: false,
            },
            issuer: json!({ "name": "firman", "issuer_url": URL, "jwks": { "type": "discovery" }, "max_jwt_lifetime_seconds": 3600 }),
            rule: json!({
                "name": "agent-mailer",
                "match": { "subject_prefix": "agent:mailer", "audience": "https://api.anthropic.com", "claims": { "acting_agent": "agent:mailer" } },
                "oauth_scope": "workspace:developer",
                "token_lifetime_seconds": 600,
                "workspace_id": "default",
            }),
            workspace: None,
            assertion_lifetime: 600,
            chosen: vec!["oauth_scope"],
        }
    }

    /// Everything as it is after the wanted objects were made.
    fn present() -> Present {
        let wanted = wanted();
        let with = |mut object: Value, id: &str| {
            object["id"] = json!(id);
            object
        };
        let mut rule = with(wanted.rule, "fdrl_1");
        rule["issuer_id"] = json!("fdis_1");
        rule["target"] = json!({ "type": "service_account", "service_account_id": "svac_1" });
        Present {
            accounts: vec![json!({ "id": "svac_1", "name": "mailer" })],
            issuers: vec![with(wanted.issuer, "fdis_1")],
            rules: vec![rule],
        }
    }

    fn refusal(wanted: &Wanted, present: &Present) -> String {
        let refused = plan(wanted, present).err().expect("a refusal");
        assert_eq!(refused.exit_code(), 1);
        refused.text().unwrap()
    }

    #[test]
    fn an_issuer_of_that_name_for_another_url_is_not_touched() {
        let mut present = present();
        present.issuers[0]["issuer_url"] = json!("https://id.example.com/");
        insta::assert_snapshot!(refusal(&wanted(), &present), @r"
        error: the issuer `firman` at Claude (`fdis_1`) is for `https://id.example.com/`, not for `https://id.example.com`
        hint: rename `firman` in the Console
        ");
    }

    #[test]
    fn a_rule_of_that_name_for_another_subject_agent_or_issuer_is_not_touched() {
        let with = |edit: fn(&mut Value)| {
            let mut present = present();
            edit(&mut present.rules[0]);
            refusal(&wanted(), &present)
        };
        insta::assert_snapshot!(with(|rule| rule["match"]["subject_prefix"] = json!("agent:*")), @r#"
        error: the subject of the rule `agent-mailer` at Claude (`fdrl_1`) is `agent:*`, not `agent:mailer`
        hint: rename `agent-mailer` in the Console
        "#);
        insta::assert_snapshot!(with(|rule| rule["match"]["claims"]["acting_agent"] = json!("agent:b")), @r#"
        error: the `acting_agent` of the rule `agent-mailer` at Claude (`fdrl_1`) is `agent:b`, not `agent:mailer`
        hint: rename `agent-mailer` in the Console
        "#);
        insta::assert_snapshot!(with(|rule| rule["issuer_id"] = json!("fdis_2")), @r"
        error: the issuer of the rule `agent-mailer` at Claude (`fdrl_1`) is `fdis_2`, not `fdis_1`
        hint: rename `agent-mailer` in the Console
        ");
        let mut without_issuer = present();
        without_issuer.issuers.clear();
        insta::assert_snapshot!(refusal(&wanted(), &without_issuer), @r"
        error: the issuer of the rule `agent-mailer` at Claude (`fdrl_1`) is `fdis_1`, not the new issuer
        hint: rename `agent-mailer` in the Console
        ");
    }

    #[test]
    fn a_rule_for_another_account_or_workspace_is_not_touched() {
        let mut chosen = wanted();
        chosen.account = WantedAccount::Named {
            body: json!({ "name": "other" }),
            is_chosen: true,
        };
        insta::assert_snapshot!(refusal(&chosen, &present()), @r"
        error: the rule `agent-mailer` at Claude grants the service account `svac_1`, not a new one (`other`)
        hint: archive that rule in the Console, or name its account with `--service-account`
        ");
        let mut elsewhere = present();
        elsewhere.rules[0]["workspace_id"] = json!("wrkspc_1");
        let mut wanted = wanted();
        wanted.rule["workspace_id"] = json!("wrkspc_2");
        insta::assert_snapshot!(refusal(&wanted, &elsewhere), @r"
        error: the rule `agent-mailer` at Claude is for the workspace `wrkspc_1`, not for `wrkspc_2`
        hint: enable the workspace on the rule in the Console, or name the rule's own with `--workspace`
        ");
    }

    #[test]
    fn an_account_that_is_not_there_and_two_issuers_for_one_url_are_refused() {
        let mut missing = wanted();
        missing.account = WantedAccount::Id("svac_9".to_owned());
        insta::assert_snapshot!(refusal(&missing, &present()), @r"
        error: the service account `svac_9` does not exist in this organization
        hint: check that the admin token belongs to the right organization
        ");
        let mut twice = present();
        // An existing rule would name its account.
        twice.rules.clear();
        twice.issuers[0]["name"] = json!("one");
        let mut other = twice.issuers[0].clone();
        other["name"] = json!("two");
        twice.issuers.push(other);
        insta::assert_snapshot!(refusal(&wanted(), &twice), @r"
        error: two issuers at Claude are for `https://id.example.com`: `one` and `two`
        hint: archive one of them in the Console
        ");
    }

    /// The same with a rule of the scope `org:admin` on the issuer.
    fn with_admin_rule(mut present: Present) -> Present {
        present.rules.push(json!({
            "id": "fdrl_2", "name": "fleet-admin", "issuer_id": "fdis_1", "oauth_scope": "org:admin",
        }));
        present
    }

    #[test]
    fn an_issuer_that_backs_an_admin_rule_is_left_alone_and_the_agents_get_another() {
        let mut present = with_admin_rule(present());
        present.rules.remove(0);
        let made = plan(&wanted(), &present).ok().unwrap();
        insta::assert_snapshot!(made.lines().join("\n"), @r"
        keep    service account mailer (svac_1)
        create  issuer firman-agents
        create  rule agent-mailer
        ");
        insta::assert_snapshot!(made.notes.join("\n"), @"the issuer `firman` backs a rule with the scope `org:admin`, so Claude lets no OAuth token change it; the agents get another issuer");
        // The next time the other one is found.
        let mut other = wanted().issuer;
        other["id"] = json!("fdis_2");
        other["name"] = json!("firman-agents");
        present.issuers.push(other);
        let kept = plan(&wanted(), &present).ok().unwrap();
        assert_eq!(kept.issuer.id(), Some("fdis_2"));
    }

    #[test]
    fn a_rule_stays_on_an_issuer_that_backs_an_admin_rule_until_that_has_to_change() {
        let mut present = with_admin_rule(present());
        let kept = plan(&wanted(), &present).ok().unwrap();
        assert_eq!(kept.changes(), 0);
        insta::assert_snapshot!(kept.notes.join("\n"), @"the issuer `firman` also backs the rule `fleet-admin` with the scope `org:admin`, so Claude lets no OAuth token change it; the existing rule stays on it");
        present.issuers[0]["jwks_polling_disabled_at"] = json!("2026-11-21T09:30:00Z");
        insta::assert_snapshot!(refusal(&wanted(), &present), @r"
        error: the issuer `firman` at Claude requires a change (fetching of its keys, paused after failures, resumes), but Claude lets no OAuth token change an issuer that backs a rule with the scope `org:admin`: `fleet-admin`
        hint: make the change in the Console
        ");
    }

    #[test]
    fn a_condition_of_a_team_is_set_and_another_one_is_not_touched() {
        let (mut wanted, mut present) = (wanted(), present());
        for rule in [&mut wanted.rule, &mut present.rules[0]] {
            rule["match"] = json!({ "subject_prefix": "agent:ops.*", "audience": "a" });
        }
        wanted.rule["match"]["condition"] = json!("ours");
        let Step::Change { body, .. } = plan(&wanted, &present).ok().unwrap().rule else {
            panic!("it is kept");
        };
        assert_eq!(body["match"]["condition"], "ours");
        present.rules[0]["match"]["condition"] = json!("theirs\nNext: x");
        insta::assert_snapshot!(refusal(&wanted, &present), @r"
        error: the condition of the rule `agent-mailer` at Claude (`fdrl_1`) is `theirs\u{a}Next: x`, not `ours`
        hint: rename `agent-mailer` in the Console
        ");
    }

    #[test]
    fn nothing_there_is_made_in_full() {
        let plan = plan(&wanted(), &Present::default()).ok().unwrap();
        insta::assert_snapshot!(plan.lines().join("\n"), @"
        create  service account mailer
        create  issuer firman
        create  rule agent-mailer
        ");
        assert_eq!(plan.changes(), 3);
    }

    #[test]
    fn what_is_as_it_should_be_is_kept_whatever_a_person_called_it() {
        let plan_of = |present: &Present| plan(&wanted(), present).ok().unwrap();
        let mut spelt_out = present();
        spelt_out.rules[0]["match"]["condition"] = Value::Null;
        spelt_out.issuers[0]["jwks"]["discovery_base"] = Value::Null;
        let kept = plan_of(&spelt_out);
        assert_eq!((kept.changes(), kept.notes), (0, Vec::new()));
        let mut renamed = present();
        renamed.issuers[0]["name"] = json!("made-by-hand");
        renamed.accounts[0]["name"] = json!("made-by-hand");
        let plan = plan_of(&renamed);
        insta::assert_snapshot!(plan.lines().join("\n"), @"
        keep    service account made-by-hand (svac_1)
        keep    issuer made-by-hand (fdis_1)
        keep    rule agent-mailer (fdrl_1)
        ");
    }

    #[test]
    fn what_is_ours_and_differs_is_changed_and_shown() {
        let mut present = present();
        let issuer = &mut present.issuers[0];
        issuer["max_jwt_lifetime_seconds"] = json!(300);
        issuer["jwks_polling_disabled_at"] = json!("2026-11-21T09:30:00Z");
        issuer["check_jti"] = json!(false);
        let rule = &mut present.rules[0];
        rule["match"] = json!({ "subject_prefix": "agent:mailer" });
        rule["oauth_scope"] = json!("workspace:inference");
        rule["token_lifetime_seconds"] = json!(1200);
        let plan = plan(&wanted(), &present).ok().unwrap();
        insta::assert_snapshot!(plan.lines().join("\n"), @r#"
        keep    service account mailer (svac_1)
        change  issuer firman (fdis_1): `max_jwt_lifetime_seconds` 300 becomes 3600; fetching of its keys, paused after failures, resumes
        change  rule agent-mailer (fdrl_1): `match` {"subject_prefix":"agent:mailer"} becomes {"audience":"https://api.anthropic.com","claims":{"acting_agent":"agent:mailer"},"subject_prefix":"agent:mailer"}; `oauth_scope` "workspace:inference" becomes "workspace:developer"
        "#);
        insta::assert_snapshot!(plan.notes.join("\n"), @r"
        the issuer `firman` accepts the same token repeatedly (`check_jti` is off), which firman does not need; left unchanged
        the rule `agent-mailer` has `token_lifetime_seconds` 1200, not 600; left unchanged because the command does not name it
        ");
        let Step::Change { body, .. } = &plan.rule else {
            panic!("{:?}", plan.rule);
        };
        assert_eq!(
            *body,
            json!({ "match": wanted().rule["match"], "oauth_scope": "workspace:developer" })
        );
    }

    #[test]
    fn a_private_authority_is_set_and_one_that_was_set_is_kept() {
        let (mut wanted, mut present) = (wanted(), present());
        present.issuers[0]["jwks"] = json!({ "type": "discovery", "ca_cert_pem": "theirs" });
        let step = |wanted: &Wanted, present: &Present| plan(wanted, present).ok().unwrap().issuer;
        assert_eq!(step(&wanted, &present).verb(), "keep");
        wanted.issuer["jwks"]["discovery_base"] = json!("https://keys.example.com");
        let Step::Change { body, .. } = step(&wanted, &present) else {
            panic!("it is kept");
        };
        assert_eq!(body["jwks"]["ca_cert_pem"], "theirs");
        wanted.issuer["jwks"] = json!({ "type": "discovery", "ca_cert_pem": "ours" });
        let Step::Change { body, changes, .. } = step(&wanted, &present) else {
            panic!("it is kept");
        };
        assert_eq!(
            changes,
            ["the private authority that Claude trusts changes"]
        );
        assert_eq!(body, json!({ "jwks": wanted.issuer["jwks"] }));
    }

    #[test]
    fn inline_keys_that_are_out_of_date_are_replaced_as_a_whole() {
        let source = |kids: &[&str]| {
            let keys: Vec<Value> = kids
                .iter()
                .map(|kid| json!({ "kid": kid, "kty": "EC" }))
                .collect();
            json!({ "type": "inline", "keys": keys })
        };
        let (mut wanted, mut present) = (wanted(), present());
        wanted.issuer["jwks"] = source(&["b", "c"]);
        present.issuers[0]["jwks"] = source(&["b", "a"]);
        let plan_of = |present: &Present| plan(&wanted, present).ok().unwrap().issuer;
        let Step::Change { body, changes, .. } = plan_of(&present) else {
            panic!("it is kept");
        };
        assert_eq!(body, json!({ "jwks": source(&["b", "c"]) }));
        assert_eq!(changes, ["inline keys: adds c, removes a"]);
        present.issuers[0]["jwks"] = source(&["c", "b"]);
        assert_eq!(plan_of(&present).verb(), "keep");
        present.issuers[0]["jwks"] = json!({ "type": "discovery" });
        let Step::Change { changes, .. } = plan_of(&present) else {
            panic!("it is kept");
        };
        assert_eq!(changes, ["`jwks.type` discovery becomes inline"]);
    }
}
