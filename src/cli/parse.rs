//! How words of a command line are read.

use std::collections::BTreeMap;

use super::error::CliError;
use crate::domain::name::Name;
use crate::domain::remedy::Remedy;

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
        Err("an id consists of letters, digits, `-` and `_`".to_owned())
    }
}

/// A `K=V` pair.
pub(super) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected NAME=VALUE".to_owned()),
    }
}

/// The error of an edit that changes nothing; `command` is its command line.
pub(super) fn nothing_to_change(command: &str) -> CliError {
    CliError::usage("nothing to change: name at least one option")
        .with_remedy(&Remedy::command(format!("{command} --help")))
}

/// Pairs as a map; `None` without any. A repeated name is an error.
pub(super) fn unique(
    what: &str,
    pairs: &[(String, String)],
) -> Result<Option<BTreeMap<String, String>>, CliError> {
    let mut map = BTreeMap::new();
    for (name, value) in pairs {
        if map.insert(name.clone(), value.clone()).is_some() {
            return Err(CliError::usage(format!("{what} `{name}` is repeated")));
        }
    }
    Ok((!map.is_empty()).then_some(map))
}

/// A duration of the command line as the API has it. The parser refuses what does not fit.
pub(super) fn seconds(duration: Option<u64>) -> Option<i64> {
    duration.and_then(|seconds| i64::try_from(seconds).ok())
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
    fn a_name_given_twice_is_a_usage_error() {
        let pair = |value: &str| ("team".to_owned(), value.to_owned());
        let error = unique("the attribute", &[pair("a"), pair("b")]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert_eq!(unique("the attribute", &[]).unwrap(), None);
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
