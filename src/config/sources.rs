//! Reads the file, the environment and the flags into one shape: setting, text, origin. Knows which names
//! exist; what the texts mean is `parse.rs`.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use secrecy::SecretString;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::setting::{CONFIG_VARIABLE, Kind};
use super::{ConfigError, Origin, Overrides, Setting};
use crate::ports::secret_file::{self, Readers, SecretFileError};

/// What one source says about a setting.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) text: SecretString,
    pub(super) origin: Origin,
}

type Found = BTreeMap<Setting, Given>;

/// How far a misspelt name may be from the suggested one.
const NEAR: usize = 2;

/// The settings in a TOML file.
pub(super) fn from_file(path: &Path) -> Result<Found, ConfigError> {
    let text = read(path, "")?;
    let document = Document { path, text: &text };
    let table = DeTable::parse(&text).map_err(|error| ConfigError::Syntax {
        origin: document.origin(&error.span().unwrap_or(0..0)),
        message: error.message().to_owned(),
    })?;
    let mut found = Found::new();
    for (section, content) in in_file_order(table.get_ref()) {
        let name = section.get_ref().as_ref();
        let keys = content.get_ref().as_table().filter(|_| is_section(name));
        let Some(keys) = keys else {
            return Err(document.unknown_top_level(name, section.span()));
        };
        for (key, value) in in_file_order(keys) {
            document.take(&mut found, (name, key), value)?;
        }
    }
    Ok(found)
}

/// The settings among `FIRMAN_…` variables.
pub(super) fn from_environment(
    environment: &BTreeMap<String, String>,
) -> Result<Found, ConfigError> {
    let known = known_variables();
    let mut found = Found::new();
    let ours = environment.iter().filter(|(name, _)| super::is_ours(name));
    for (variable, text) in ours {
        match known.get(variable.as_str()) {
            Some(_) if text.is_empty() => {}
            Some((setting, is_file)) => {
                let origin = Origin::Variable(variable.clone());
                let text = if *is_file {
                    read_value(Path::new(text), &origin)?
                } else {
                    text.as_str().into()
                };
                add(&mut found, *setting, Given { text, origin })?;
            }
            None if variable == CONFIG_VARIABLE => {}
            None if super::OF_COMMANDS.contains(&variable.as_str()) => {}
            None => refuse_misspelt(variable, &known)?,
        }
    }
    Ok(found)
}

/// Refuses variables that look like one of ours and are not.
pub(super) fn check_names(environment: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let known = known_variables();
    environment
        .keys()
        .filter(|name| super::is_ours(name))
        .filter(|name| !known.contains_key(*name) && *name != CONFIG_VARIABLE)
        .filter(|name| !super::OF_COMMANDS.contains(&name.as_str()))
        .try_for_each(|name| refuse_misspelt(name, &known))
}

/// A secret that is not a setting: the variable `name`, or the file that `<name>_FILE` names.
pub(super) fn secret(
    environment: &BTreeMap<String, String>,
    name: &'static str,
) -> Result<Option<SecretString>, ConfigError> {
    let of_file = format!("{name}_FILE");
    let set = |variable: &str| environment.get(variable).filter(|text| !text.is_empty());
    match (set(name), set(&of_file)) {
        (None, None) => Ok(None),
        (Some(text), None) => {
            let text = secret_file::tidy(text.as_bytes()).unwrap_or_default();
            Ok(Some(text.as_str().into()))
        }
        (None, Some(path)) => read_value(Path::new(path), &Origin::Variable(of_file)).map(Some),
        (Some(_), Some(_)) => Err(ConfigError::SetTwice {
            key: name,
            first: Origin::Variable(name.to_owned()),
            second: Origin::Variable(of_file),
        }),
    }
}

/// The settings among the flags.
pub(super) fn from_flags(flags: &Overrides) -> Found {
    let given = flags.given().into_iter();
    given
        .filter_map(|(setting, flag, text)| {
            Some((
                setting,
                Given {
                    text: text?.clone().into(),
                    origin: Origin::Flag(flag),
                },
            ))
        })
        .collect()
}

struct Document<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Document<'_> {
    fn origin(&self, span: &Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        Origin::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
        }
    }

    fn take(
        &self,
        found: &mut Found,
        (section, key): (&str, &Spanned<toml::de::DeString<'_>>),
        value: &Spanned<DeValue<'_>>,
    ) -> Result<(), ConfigError> {
        let name = format!("{section}.{}", key.get_ref());
        let origin = self.origin(&key.span());
        let Some((setting, is_file)) = known_key(&name) else {
            return Err(ConfigError::UnknownKey {
                hint: key_hint(section, &name),
                what: format!("key {name}"),
                origin,
            });
        };
        let kind = if is_file { Kind::Text } else { setting.kind() };
        let text = text_of(kind, value.get_ref()).ok_or_else(|| ConfigError::Unfit {
            origin: origin.clone(),
            key: setting.key(),
            value: format!(
                "{} {}",
                article(value.get_ref()),
                value.get_ref().type_str()
            ),
            problem: "has the wrong type".to_owned(),
            remedy: match kind {
                Kind::Text => "Write a string in quotes.".to_owned(),
                Kind::Number => "Write a whole number without quotes.".to_owned(),
                Kind::List => "Write a list of strings, like [\"console.example.com\"].".to_owned(),
            },
        })?;
        let text = if is_file {
            read_value(Path::new(&text), &origin)?
        } else {
            text.into()
        };
        add(found, setting, Given { text, origin })
    }

    fn unknown_top_level(&self, name: &str, span: Range<usize>) -> ConfigError {
        let origin = self.origin(&span);
        if is_section(name) {
            let what = format!("key {name}");
            return ConfigError::UnknownKey {
                origin,
                what,
                hint: format!(
                    "{name} is a section: write [{name}] and below it {}.",
                    keys_of(name).join(", ")
                ),
            };
        }
        let by_last_part = Setting::ALL
            .into_iter()
            .find(|setting| setting.key().ends_with(&format!(".{name}")));
        let hint = match (by_last_part, nearest(name, sections().iter().copied())) {
            (Some(setting), _) => format!("Did you mean {}?", setting.key()),
            (None, Some(section)) => format!("Did you mean [{section}]?"),
            (None, None) => format!("The sections are {}.", sections().join(", ")),
        };
        ConfigError::UnknownKey {
            origin,
            what: format!("section or key {name}"),
            hint,
        }
    }
}

/// The parser keeps tables sorted by name; mistakes are reported from the top of the file.
fn in_file_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(
    &'t Spanned<toml::de::DeString<'i>>,
    &'t Spanned<DeValue<'i>>,
)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn text_of(kind: Kind, value: &DeValue<'_>) -> Option<String> {
    match kind {
        Kind::Text => value.as_str().map(ToOwned::to_owned),
        Kind::Number => value.as_integer().map(ToString::to_string),
        Kind::List => {
            let items: Option<Vec<&str>> = value
                .as_array()?
                .iter()
                .map(|item| item.get_ref().as_str())
                .collect();
            Some(items?.join(","))
        }
    }
}

fn article(value: &DeValue<'_>) -> &'static str {
    if value.type_str().starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    }
}

fn known_key(name: &str) -> Option<(Setting, bool)> {
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

/// Every variable that sets something, and whether it names a file that holds the value.
fn known_variables() -> BTreeMap<String, (Setting, bool)> {
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

/// A name with `__` can only be ours. Others may belong to other programs (Kubernetes makes `FIRMAN_PORT` for a
/// service of that name), so those are refused only when they look like one of ours.
fn refuse_misspelt(
    variable: &str,
    known: &BTreeMap<String, (Setting, bool)>,
) -> Result<(), ConfigError> {
    let names = known.keys().map(String::as_str).chain(super::OF_COMMANDS);
    let hint = match nearest(variable, names) {
        Some(name) => format!("Did you mean {name}?"),
        None if variable.contains("__") => {
            "Settings are named FIRMAN_SECTION__KEY; unset this one.".to_owned()
        }
        None => return Ok(()),
    };
    Err(ConfigError::UnknownVariable {
        variable: variable.to_owned(),
        hint,
    })
}

fn sections() -> Vec<&'static str> {
    let mut sections: Vec<_> = Setting::ALL
        .into_iter()
        .filter_map(|setting| setting.key().split('.').next())
        .collect();
    sections.sort_unstable();
    sections.dedup();
    sections
}

fn is_section(name: &str) -> bool {
    sections().contains(&name)
}

fn keys_of(section: &str) -> Vec<String> {
    let prefix = format!("{section}.");
    known_keys()
        .iter()
        .filter_map(|key| key.strip_prefix(&prefix).map(ToOwned::to_owned))
        .collect()
}

fn key_hint(section: &str, name: &str) -> String {
    if Setting::ALL
        .into_iter()
        .any(|setting| setting.is_secret() && setting.key() == name)
    {
        return format!(
            "A secret has no place in this file: write {name}_file with the path of a file that holds it."
        );
    }
    match nearest(name, known_keys().iter().map(String::as_str)) {
        Some(key) => format!("Did you mean {key}?"),
        None => format!("[{section}] has {}.", keys_of(section).join(", ")),
    }
}

fn add(found: &mut Found, setting: Setting, given: Given) -> Result<(), ConfigError> {
    let second = given.origin.clone();
    match found.insert(setting, given) {
        None => Ok(()),
        Some(first) => Err(ConfigError::SetTwice {
            key: setting.key(),
            first: first.origin,
            second,
        }),
    }
}

fn read(path: &Path, by: &str) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable {
        by: by.to_owned(),
        path: path.to_owned(),
        source,
    };
    let text = std::fs::read_to_string(path).map_err(unreadable)?;
    // Editors of Windows put a byte order mark before a text.
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

/// A secret, or a URL with one in it, kept in a file of its own.
fn read_value(path: &Path, origin: &Origin) -> Result<SecretString, ConfigError> {
    let by = format!("{origin}: ");
    match secret_file::read_text(path, Readers::OwnerOnly) {
        Ok(text) => Ok(text.as_str().into()),
        Err(SecretFileError::Unreadable { path, source }) => {
            Err(ConfigError::Unreadable { by, path, source })
        }
        Err(
            source @ (SecretFileError::TooLarge { .. }
            | SecretFileError::NotText { .. }
            | SecretFileError::Exposed { .. }),
        ) => Err(ConfigError::SecretFile { by, source }),
    }
}

/// The candidate a name was most likely meant to be.
fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
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
