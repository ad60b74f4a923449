//! The known names, and the one that a misspelt name was most likely meant to be.

use std::collections::BTreeMap;

use super::environment::OF_COMMANDS;
use super::{ConfigError, Setting};

/// How far a misspelt name may be from a suggested one.
const NEAR: usize = 2;

pub(super) fn known_key(name: &str) -> Option<(Setting, bool)> {
    Setting::ALL.into_iter().find_map(|setting| {
        if name == setting.key() && !setting.is_secret() {
            Some((setting, false))
        } else if setting.has_file_form() && name.strip_suffix("_file") == Some(setting.key()) {
            Some((setting, true))
        } else {
            None
        }
    })
}

/// Every key of the file.
fn known_keys() -> Vec<String> {
    let mut keys = Vec::new();
    for setting in Setting::ALL {
        if !setting.is_secret() {
            keys.push(setting.key().to_owned());
        }
        if setting.has_file_form() {
            keys.push(format!("{}_file", setting.key()));
        }
    }
    keys
}

/// Every variable that sets something, and whether it names a file that contains the value.
pub(super) fn known_variables() -> BTreeMap<String, (Setting, bool)> {
    let mut variables = BTreeMap::new();
    for setting in Setting::ALL {
        for name in setting
            .short_variable()
            .map(ToOwned::to_owned)
            .into_iter()
            .chain([setting.long_variable()])
        {
            if setting.has_file_form() {
                variables.insert(format!("{name}_FILE"), (setting, true));
            }
            variables.insert(name, (setting, false));
        }
    }
    variables
}

/// A name with `__` can only be meant for this program. Other names may belong to another program (Kubernetes sets
/// `FIRMAN_PORT` for a service of that name), so they are refused only when they are close to a known one.
pub(super) fn refuse_misspelt(
    variable: &str,
    known: &BTreeMap<String, (Setting, bool)>,
) -> Result<(), ConfigError> {
    let names = known.keys().map(String::as_str).chain(OF_COMMANDS);
    let hint = match nearest(variable, names) {
        Some(name) => format!("did you mean `{name}`?"),
        None if variable.contains("__") => {
            "unset it; settings are named `FIRMAN_SECTION__KEY`".to_owned()
        }
        None => return Ok(()),
    };
    Err(ConfigError::UnknownVariable {
        variable: variable.to_owned(),
        hint,
    })
}

pub(super) fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = Setting::ALL
        .into_iter()
        .filter_map(|setting| setting.key().split('.').next())
        .collect();
    sections.sort_unstable();
    sections.dedup();
    sections
}

pub(super) fn is_section(name: &str) -> bool {
    sections().contains(&name)
}

pub(super) fn keys_of(section: &str) -> Vec<String> {
    let prefix = format!("{section}.");
    known_keys()
        .iter()
        .filter_map(|key| key.strip_prefix(&prefix).map(ToOwned::to_owned))
        .collect()
}

pub(super) fn key_hint(section: &str, name: &str) -> String {
    if Setting::ALL
        .into_iter()
        .any(|setting| setting.is_secret() && setting.key() == name)
    {
        return format!("set `{name}_file` to the path of a file that contains the secret");
    }
    match nearest(name, known_keys().iter().map(String::as_str)) {
        Some(key) => format!("did you mean `{key}`?"),
        None => format!(
            "the keys of `[{section}]` are {}",
            listed(&keys_of(section))
        ),
    }
}

/// Names in backticks, joined by commas.
pub(super) fn listed(names: &[impl AsRef<str>]) -> String {
    let names: Vec<String> = names
        .iter()
        .map(|name| format!("`{}`", name.as_ref()))
        .collect();
    names.join(", ")
}

/// The candidate that a name was most likely meant to be.
pub(super) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    candidates
        .map(|candidate| (distance(name, candidate), candidate))
        .filter(|(distance, _)| *distance <= NEAR)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance in bytes.
fn distance(one: &str, other: &str) -> usize {
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.bytes().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}
