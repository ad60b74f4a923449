//! The issuer at Claude: which one to use, and what to change about it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::{MANAGEABLE_SCOPES, Present, Step, Wanted, named, refused, step, text};
use crate::cli::error::CliError;
use crate::domain::remedy::Remedy;

/// The member of a key source with the certificates of private authorities.
const CA_CERT: &str = "ca_cert_pem";

pub(super) fn issuer_step(
    wanted: &Wanted,
    present: &Present,
    notes: &mut Vec<String>,
) -> Result<Step, CliError> {
    let (name, url) = (
        text(&wanted.issuer, "name"),
        text(&wanted.issuer, "issuer_url"),
    );
    if let Some(there) = named(&present.issuers, name)
        && text(there, "issuer_url") != url
    {
        return Err(refused(format!(
            "the issuer `{name}` at Claude (`{}`) is for `{}`, not for `{url}`",
            text(there, "id"),
            text(there, "issuer_url")
        ))
        .with_remedy(&rename(name)));
    }
    let Some(there) = issuer_there(wanted, present, notes)? else {
        return Ok(Step::Create {
            body: new_issuer(wanted, present),
        });
    };
    if there["check_jti"] == json!(false) {
        notes.push(format!(
            "the issuer `{}` accepts the same token repeatedly (`check_jti` is off), which firman does not need; left unchanged",
            text(there, "name")
        ));
    }
    let mut body = Map::new();
    let mut changes = Vec::new();
    let source = with_their_authority(&wanted.issuer["jwks"], &there["jwks"]);
    if let Some(change) = key_source_change(&source, &there["jwks"]) {
        body.insert("jwks".to_owned(), source);
        changes.push(change);
    }
    let longest = there["max_jwt_lifetime_seconds"].as_i64();
    if longest.is_some_and(|longest| longest < wanted.assertion_lifetime) {
        let needed = &wanted.issuer["max_jwt_lifetime_seconds"];
        body.insert("max_jwt_lifetime_seconds".to_owned(), needed.clone());
        changes.push(format!(
            "`max_jwt_lifetime_seconds` {} becomes {needed}",
            longest.unwrap_or_default()
        ));
    }
    if is_polling_paused(there) {
        body.insert("jwks_polling_disabled".to_owned(), json!(false));
        changes.push("fetching of its keys, paused after failures, resumes".to_owned());
    }
    let change = step(there, body, changes);
    if let (Step::Change { changes, .. }, Some(rule)) = (&change, backs_more(present, there)) {
        return Err(refused(format!(
            "the issuer `{}` at Claude requires a change ({}), but Claude lets no OAuth token change an issuer that backs a rule with the scope `{}`: `{}`",
            text(there, "name"),
            changes.join("; "),
            text(rule, "oauth_scope"),
            text(rule, "name"),
        ))
        .with_remedy(&Remedy::action("make the change in the Console")));
    }
    Ok(change)
}

/// The issuer to use, if one exists: that of the rule, which cannot move; else one with this URL that OAuth
/// tokens may change.
fn issuer_there<'p>(
    wanted: &Wanted,
    present: &'p Present,
    notes: &mut Vec<String>,
) -> Result<Option<&'p Value>, CliError> {
    let url = text(&wanted.issuer, "issuer_url");
    let name = text(&wanted.issuer, "name");
    let ours: Vec<&Value> = present
        .issuers
        .iter()
        .filter(|issuer| text(issuer, "issuer_url") == url)
        .collect();
    let rule_there = named(&present.rules, text(&wanted.rule, "name"));
    let of_rule = rule_there.and_then(|rule| {
        let id = text(rule, "issuer_id");
        ours.iter().find(|issuer| text(issuer, "id") == id)
    });
    if let Some(issuer) = of_rule {
        if let Some(rule) = backs_more(present, issuer) {
            notes.push(format!(
                "the issuer `{}` also backs the rule `{}` with the scope `{}`, so Claude lets no OAuth token change it; the existing rule stays on it",
                text(issuer, "name"),
                text(rule, "name"),
                text(rule, "oauth_scope")
            ));
        }
        return Ok(Some(issuer));
    }
    let (kept, free): (Vec<&Value>, Vec<&Value>) = ours
        .into_iter()
        .partition(|issuer| backs_more(present, issuer).is_some());
    for issuer in kept {
        notes.push(format!(
            "the issuer `{}` backs a rule with the scope `{}`, so Claude lets no OAuth token change it; the agents get another issuer",
            text(issuer, "name"),
            backs_more(present, issuer).map_or("", |rule| text(rule, "oauth_scope"))
        ));
    }
    match free.iter().find(|issuer| text(issuer, "name") == name) {
        Some(issuer) => Ok(Some(issuer)),
        None => same_url(&free, url),
    }
}

/// A rule of that issuer whose scope keeps OAuth tokens from changing the issuer.
fn backs_more<'p>(present: &'p Present, issuer: &Value) -> Option<&'p Value> {
    present.rules.iter().find(|rule| {
        rule["issuer_id"] == issuer["id"] && !MANAGEABLE_SCOPES.contains(&text(rule, "oauth_scope"))
    })
}

/// The body that creates the issuer, under an unused name.
fn new_issuer(wanted: &Wanted, present: &Present) -> Value {
    let mut body = wanted.issuer.clone();
    let name = text(&body, "name").to_owned();
    if named(&present.issuers, &name).is_some() {
        body["name"] = json!(format!("{name}-agents"));
    }
    body
}

/// The one issuer with that URL, whatever its name.
fn same_url<'p>(issuers: &[&'p Value], url: &str) -> Result<Option<&'p Value>, CliError> {
    let mut found = issuers.iter().copied();
    match (found.next(), found.next()) {
        (first, None) => Ok(first),
        (Some(first), Some(second)) => Err(refused(format!(
            "two issuers at Claude are for `{url}`: `{}` and `{}`",
            text(first, "name"),
            text(second, "name")
        ))
        .with_remedy(&Remedy::action("archive one of them in the Console"))),
        (None, Some(_)) => Ok(None),
    }
}

/// After repeated failures Claude stops fetching keys until an administrator resumes it.
fn is_polling_paused(issuer: &Value) -> bool {
    let places = [issuer, &issuer["jwks"], &issuer["poll_status"]];
    places
        .iter()
        .any(|place| !place["jwks_polling_disabled_at"].is_null())
}

/// The wanted source, with the private authority that is registered unless another one was named: an update
/// replaces the whole object.
fn with_their_authority(wanted: &Value, there: &Value) -> Value {
    let mut source = wanted.clone();
    let is_same_kind = text(wanted, "type") == text(there, "type");
    if is_same_kind && wanted[CA_CERT].is_null() && !there[CA_CERT].is_null() {
        source[CA_CERT] = there[CA_CERT].clone();
    }
    source
}

/// How the registered key source differs from the wanted one.
fn key_source_change(wanted: &Value, there: &Value) -> Option<String> {
    let (kind, kind_there) = (text(wanted, "type"), text(there, "type"));
    if kind != kind_there {
        return Some(format!("`jwks.type` {kind_there} becomes {kind}"));
    }
    let name = match kind {
        "discovery" => "discovery_base",
        "explicit_url" => "url",
        _ => "keys",
    };
    if wanted[name] == there[name] {
        let is_same = wanted[CA_CERT] == there[CA_CERT];
        return (!is_same).then(|| "the private authority that Claude trusts changes".to_owned());
    }
    if kind != "inline" {
        let shown = |source: &Value| match source[name].as_str() {
            Some(url) => url.to_owned(),
            None => "the issuer's URL".to_owned(),
        };
        return Some(format!(
            "`{name}` {} becomes {}",
            shown(there),
            shown(wanted)
        ));
    }
    let (keys, keys_there) = (by_kid(wanted), by_kid(there));
    if keys == keys_there {
        return None;
    }
    let only = |one: &BTreeMap<String, Value>, other: &BTreeMap<String, Value>| {
        let kids = one.keys().filter(|kid| one.get(*kid) != other.get(*kid));
        kids.cloned().collect::<Vec<_>>().join(", ")
    };
    let (added, removed) = (only(&keys, &keys_there), only(&keys_there, &keys));
    let or_none = |kids: String| {
        if kids.is_empty() {
            "none".to_owned()
        } else {
            kids
        }
    };
    Some(format!(
        "inline keys: adds {}, removes {}",
        or_none(added),
        or_none(removed)
    ))
}

/// What to do about an object whose name is in use.
pub(super) fn rename(name: &str) -> Remedy {
    Remedy::action(format!("rename `{name}` in the Console"))
}

fn by_kid(source: &Value) -> BTreeMap<String, Value> {
    let keys = source["keys"].as_array().map_or(&[][..], Vec::as_slice);
    keys.iter()
        .map(|key| (text(key, "kid").to_owned(), key.clone()))
        .collect()
}
