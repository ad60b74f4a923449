//! How words of a command line are read, and how the lists of an object are edited.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::error::CliError;
use crate::domain::name::Name;

/// A name as a path segment must be one: the rules of [`Name`] keep `..` and `/` out of URLs.
pub(super) fn parse_name(text: &str) -> Result<String, String> {
    Name::parse(text)
        .map(|name| name.as_str().to_owned())
        .map_err(|invalid| invalid.problem)
}

/// An id or key id: it becomes a path segment.
pub(super) fn parse_id(text: &str) -> Result<String, String> {
    let is_id = !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if is_id {
        Ok(text.to_owned())
    } else {
        Err("an id is made of letters, digits, '-' and '_'; copy it from the list".to_owned())
    }
}

/// `current` with `add` added and `remove` removed. Removing what is not there is an error that
/// tells what is: it would otherwise hide a slip of the pen.
pub(super) fn edited_list(
    what: &str,
    current: Vec<String>,
    add: &[String],
    remove: &[String],
) -> Result<Vec<String>, CliError> {
    let mut list = current;
    for name in remove {
        let Some(at) = list.iter().position(|have| have == name) else {
            let have = if list.is_empty() {
                "none".to_owned()
            } else {
                list.join(", ")
            };
            return Err(CliError::failed(
                "invalid",
                format!("there is no {what} '{name}' to remove; there: {have}"),
            ));
        };
        list.remove(at);
    }
    for name in add {
        if !list.contains(name) {
            list.push(name.clone());
        }
    }
    Ok(list)
}

/// A `K=V` pair.
pub(super) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected NAME=VALUE".to_owned()),
    }
}

/// The error of an `edit` without anything to edit.
pub(super) fn nothing_to_change() -> CliError {
    CliError::usage("nothing to change: name at least one option; --help lists them")
}

/// Pairs as an object; the same name twice is a slip.
pub(super) fn pairs(option: &str, pairs: &[(String, String)]) -> Result<Option<Value>, CliError> {
    let mut map = BTreeMap::new();
    for (name, value) in pairs {
        if map.insert(name, value).is_some() {
            return Err(CliError::usage(format!("{option} names '{name}' twice")));
        }
    }
    Ok((!map.is_empty()).then(|| json!(map)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_change_a_path_is_no_name_and_no_id() {
        for text in ["", ".", "..", "a/b", "a b", "A", "%2e%2e", "a\u{202e}"] {
            assert!(parse_name(text).is_err(), "{text:?}");
        }
        for text in ["", ".", "..", "a/b", "a b", "%2e", "a?b"] {
            assert!(parse_id(text).is_err(), "{text:?}");
        }
        assert_eq!(parse_name("team-a.bot"), Ok("team-a.bot".to_owned()));
        assert_eq!(parse_id("cred_01-Ab"), Ok("cred_01-Ab".to_owned()));
    }

    #[test]
    fn removing_what_is_not_there_tells_what_is() {
        let list = || vec!["reader".to_owned(), "writer".to_owned()];
        let error = edited_list("role", list(), &[], &["raeder".to_owned()]).unwrap_err();
        insta::assert_snapshot!(error.text().unwrap(), @"error: there is no role 'raeder' to remove; there: reader, writer");
        let edited = edited_list(
            "role",
            list(),
            &["reader".to_owned(), "admin".to_owned()],
            &["writer".to_owned()],
        );
        assert_eq!(edited.unwrap(), ["reader", "admin"]);
    }

    #[test]
    fn a_pair_is_split_at_its_first_equals_sign() {
        assert_eq!(
            parse_pair("team=a=b"),
            Ok(("team".to_owned(), "a=b".to_owned()))
        );
        assert_eq!(parse_pair("team="), Ok(("team".to_owned(), String::new())));
        assert!(parse_pair("team").is_err());
        assert!(parse_pair("=a").is_err());
    }
}
