//! Lists as they are typed: an option for several words may be repeated, and its words are separated by commas or
//! blanks. One grammar for scopes, roles, groups and every other list; and how they edit the lists of an object.

use super::error::CliError;
use super::parse::{parse_id, parse_name};

/// The words of one option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words(Vec<String>);

impl Words {
    /// The words, in the order in which they were typed.
    pub(super) fn into_vec(self) -> Vec<String> {
        self.0
    }
}

/// Words of any kind. A comma without a word beside it is an error.
pub(super) fn parse_words(text: &str) -> Result<Words, String> {
    parse_each(text, |word| Ok(word.to_owned()))
}

/// Names of agents, groups, roles.
pub(super) fn parse_names(text: &str) -> Result<Words, String> {
    parse_each(text, parse_name)
}

/// Ids.
pub(super) fn parse_ids(text: &str) -> Result<Words, String> {
    parse_each(text, parse_id)
}

fn parse_each(text: &str, parse: impl Fn(&str) -> Result<String, String>) -> Result<Words, String> {
    let mut words = Vec::new();
    for part in text.split(',') {
        if part.trim().is_empty() {
            return Err(
                "expected words separated by commas or blanks; one of them is empty".to_owned(),
            );
        }
        for word in part.split_whitespace() {
            words.push(parse(word)?);
        }
    }
    Ok(Words(words))
}

/// All words of an option, each once, in the order in which they were typed.
pub(super) fn all_of(given: &[Words]) -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for word in given.iter().flat_map(|words| &words.0) {
        if !all.contains(word) {
            all.push(word.clone());
        }
    }
    all
}

/// The same; `None` without the option.
pub(super) fn given(words: &[Words]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| all_of(words))
}

/// Scopes as the parameter `scope` has them (RFC 6749 §3.3); nothing without one.
pub(super) fn scope_parameter(given: &[Words]) -> Option<String> {
    let scopes = all_of(given);
    (!scopes.is_empty()).then(|| scopes.join(" "))
}

/// `current` with `add` added and `remove` removed; `None` when both are empty. Removing a missing word is an
/// error, so that a typo does not pass unnoticed.
pub(super) fn edited_list(
    what: &str,
    current: &[String],
    add: &[Words],
    remove: &[Words],
) -> Result<Option<Vec<String>>, CliError> {
    if add.is_empty() && remove.is_empty() {
        return Ok(None);
    }
    let mut list = current.to_vec();
    for name in all_of(remove) {
        let Some(at) = list.iter().position(|known| *known == name) else {
            return Err(not_there(what, &name, &list));
        };
        list.remove(at);
    }
    for name in all_of(add) {
        if !list.contains(&name) {
            list.push(name);
        }
    }
    Ok(Some(list))
}

/// The error of removing `name` from a list that does not have it.
pub(super) fn not_there(what: &str, name: &str, list: &[impl AsRef<str>]) -> CliError {
    let known: Vec<&str> = list.iter().map(AsRef::as_ref).collect();
    let known = if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    };
    CliError::failed(
        "invalid",
        format!("no {what} `{name}` to remove; current: {known}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_with_an_empty_word_is_refused() {
        for text in ["", " ", ",", "a,", ",a", "a,,b", "a, ,b"] {
            assert!(parse_words(text).is_err(), "{text:?}");
        }
        assert!(parse_names("reader,..").is_err());
        assert!(parse_ids("a,b/c").is_err());
    }

    #[test]
    fn words_are_separated_by_commas_or_blanks_and_options_are_repeated() {
        for given in [
            &["a,b"][..],
            &["a b"],
            &["a, b"],
            &["  a\tb\n"],
            &["a", "b"],
            &["a,a", "b a"],
        ] {
            let words: Vec<Words> = given
                .iter()
                .map(|text| parse_words(text).unwrap())
                .collect();
            assert_eq!(all_of(&words), ["a", "b"], "{given:?}");
            assert_eq!(scope_parameter(&words).as_deref(), Some("a b"), "{given:?}");
        }
        assert_eq!(scope_parameter(&[]), None);
    }

    #[test]
    fn removing_what_is_not_there_says_what_is() {
        let list = ["reader".to_owned(), "writer".to_owned()];
        let words = |text: &str| vec![parse_words(text).unwrap()];
        let error = edited_list("role", &list, &[], &words("raeder")).unwrap_err();
        insta::assert_snapshot!(error.text().unwrap(), @"error: no role `raeder` to remove; current: reader, writer");
        let edited = edited_list("role", &list, &words("reader,admin"), &words("writer"));
        assert_eq!(edited.unwrap().unwrap(), ["reader", "admin"]);
        assert_eq!(edited_list("role", &list, &[], &[]).unwrap(), None);
    }
}
