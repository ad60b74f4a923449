//! The issuer's signed revocation list, read as a verifier does that works offline: docs/reference/revocation-list.md
//! describes the comparison. When in doubt, the token is rejected.

use serde_json::{Map, Value};

use crate::cli::error::CliError;
use crate::cli::http;
use crate::cli::published::{Discovered, check_signature, fetch_keys, refused};
use crate::domain::remedy::Remedy;
use crate::domain::settings::SKEW_SECONDS;
use crate::domain::subject::trust_of_user;
use crate::jose::{Claims, UnverifiedJws};
use crate::ports::time::UnixTime;

/// The metadata member with the list's URL.
const MEMBER: &str = "firman_revocation_list_uri";
/// `typ` of the list.
const TYPE: &str = "revocation-list+jwt";
/// Longest accepted list, in bytes: some ten thousand tokens and as many subjects.
const LIST_MAX_BYTES: usize = 8 * 1024 * 1024;
/// More actors than an issuer puts into a token: where reading stops.
const ACTORS_READ: usize = 16;

/// Refuses a verified token's claims when the list ends the token.
pub(super) async fn check(
    issuer: &Discovered,
    claims: &Map<String, Value>,
    now: UnixTime,
) -> Result<(), CliError> {
    let url = issuer.endpoint(MEMBER)?;
    let request = issuer.client(&url)?.get(url.clone());
    let answer = http::send(
        request,
        &format!("cannot reach the revocation list `{url}`"),
    )
    .await?;
    let text = str::from_utf8(&answer.body).unwrap_or_default();
    let problem = |problem: &dyn std::fmt::Display| {
        CliError::failed(
            "revocation_list",
            format!("the revocation list `{url}` is invalid: {problem}"),
        )
    };
    if !answer.is_success() {
        return Err(problem(&format!("status {}", answer.status)));
    }
    let unverified = UnverifiedJws::parse(text, LIST_MAX_BYTES).map_err(|error| problem(&error))?;
    if !unverified.unverified_header().is_type(TYPE) {
        return Err(problem(&format!("its `typ` is not `{TYPE}`")));
    }
    let verified = check_signature(&unverified, &fetch_keys(issuer).await?)?;
    let list = Claims::parse(&verified).map_err(|error| problem(&error))?;
    if list.issuer.as_deref() != Some(issuer.name.as_str()) {
        return Err(problem(&"it belongs to another issuer"));
    }
    list.check_times(now, SKEW_SECONDS)
        .map_err(|error| problem(&error))?;
    if list.other.get("complete") != Some(&Value::Bool(true)) {
        return Err(problem(&"it is incomplete")
            .with_remedy(&Remedy::action("introspect the token instead")));
    }
    match ended(&list.other, claims, &issuer.name) {
        Some(reason) => Err(refused(&reason)),
        None => Ok(()),
    }
}

/// Why the list ends a token; `None` when it does not.
fn ended(list: &Map<String, Value>, claims: &Map<String, Value>, issuer: &str) -> Option<String> {
    let is_listed = |jti: &Value| {
        list.get("revoked")
            .and_then(Value::as_array)
            .is_some_and(|revoked| revoked.iter().any(|entry| entry.get("jti") == Some(jti)))
    };
    if claims.get("jti").is_none_or(is_listed) {
        return Some("it was revoked".to_owned());
    }
    // A token of an older version does not name its parents: the list cannot decide.
    if claims.contains_key("act") && !claims.contains_key("txn") {
        return Some("it does not name the token that it was derived from".to_owned());
    }
    // A delegated token names its parents: the root, and those between.
    let entries = |name: &str| {
        claims
            .get(name)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
    };
    if claims
        .get("txn")
        .into_iter()
        .chain(entries("parents"))
        .any(is_listed)
    {
        return Some("a token that it was derived from was revoked".to_owned());
    }
    // Without `iat`, the token may be older than a mark.
    let issued_at = claims.get("iat").and_then(Value::as_i64).unwrap_or(0);
    let is_marked = |marks: &str, key: &str| {
        list.get(marks)
            .and_then(|marks| marks.get(key))
            .and_then(Value::as_i64)
            .is_some_and(|not_before| issued_at <= not_before)
    };
    if let Some(delegation) = entries("delegations")
        .filter_map(Value::as_str)
        .find(|delegation| is_marked("delegations", delegation))
    {
        return Some(format!(
            "every earlier token of the delegation `{delegation}` was revoked"
        ));
    }
    principals(claims, issuer)
        .into_iter()
        .find(|subject| is_marked("not_before", subject))
        .map(|subject| format!("every earlier token of `{subject}` was revoked"))
}

/// The subject, the agent that got the token, and the issuer's own actors.
fn principals<'c>(claims: &'c Map<String, Value>, issuer: &str) -> Vec<&'c str> {
    let mut principals: Vec<&str> = ["sub", "acting_agent"]
        .iter()
        .filter_map(|name| claims.get(*name).and_then(Value::as_str))
        .collect();
    // All users of a trusted issuer at once.
    principals.extend(
        claims
            .get("sub")
            .and_then(Value::as_str)
            .and_then(trust_of_user),
    );
    let mut actor = claims.get("act");
    for _ in 0..ACTORS_READ {
        let Some(link) = actor else { break };
        if link["iss"].as_str() == Some(issuer) {
            principals.extend(link["sub"].as_str());
        }
        actor = link.get("act");
    }
    principals
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_ends_by_its_number_or_by_anyone_in_it() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let list = object(json!({
            "revoked": [{"jti": "gone", "exp": 9}],
            "not_before": {"agent:a": 100, "user:okta:alice": 50, "user:azure:": 70},
            "delegations": {"d1": 100},
        }));
        let act = |iss: &str, sub: &str| json!({"iss": iss, "sub": "agent:z", "act": {"iss": iss, "sub": sub}});
        for (claims, is_ended) in [
            (json!({"jti": "gone", "sub": "agent:b", "iat": 200}), true),
            (json!({"sub": "agent:b", "iat": 200}), true),
            (
                json!({"jti": "j", "sub": "agent:b", "act": act("x", "agent:c"), "iat": 200}),
                true,
            ),
            (
                json!({"jti": "j", "sub": "user:azure:bob", "iat": 70}),
                true,
            ),
            (
                json!({"jti": "j", "sub": "user:azure2:bob", "iat": 70}),
                false,
            ),
            (json!({"jti": "j", "sub": "agent:a", "iat": 100}), true),
            (json!({"jti": "j", "sub": "agent:a"}), true),
            (json!({"jti": "j", "sub": "agent:a", "iat": 101}), false),
            (
                json!({"jti": "j", "sub": "agent:b", "acting_agent": "agent:a", "iat": 100}),
                true,
            ),
            (
                json!({"jti": "j", "sub": "agent:b", "txn": "t", "act": act("i", "agent:a"), "iat": 100}),
                true,
            ),
            (
                json!({"jti": "j", "sub": "agent:b", "txn": "t", "act": act("x", "agent:a"), "iat": 100}),
                false,
            ),
            (
                json!({"jti": "j", "sub": "user:okta:alice", "iat": 51}),
                false,
            ),
        ] {
            assert_eq!(
                ended(&list, &object(claims.clone()), "i").is_some(),
                is_ended,
                "{claims}"
            );
        }
    }

    #[test]
    fn a_token_ends_by_what_it_was_made_from() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        let list = object(json!({
            "revoked": [{"jti": "gone", "exp": 9}],
            "delegations": {"d1": 100},
        }));
        for (claims, is_ended) in [
            (
                json!({"jti": "j", "txn": "gone", "sub": "agent:b", "iat": 200}),
                true,
            ),
            (
                json!({"jti": "j", "txn": "t", "parents": ["p", "gone"], "iat": 200}),
                true,
            ),
            (
                json!({"jti": "j", "txn": "t", "parents": ["p"], "iat": 200}),
                false,
            ),
            (
                json!({"jti": "j", "txn": "t", "delegations": ["d2", "d1"], "iat": 100}),
                true,
            ),
            (
                json!({"jti": "j", "txn": "t", "delegations": ["d2", "d1"], "iat": 101}),
                false,
            ),
            (
                json!({"jti": "j", "txn": "t", "delegations": ["d2"], "iat": 100}),
                false,
            ),
        ] {
            let found = ended(&list, &object(claims.clone()), "i");
            assert_eq!(found.is_some(), is_ended, "{claims}: {found:?}");
        }
    }
}
