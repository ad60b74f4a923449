//! Reads the file, the environment and the flags into one shape: setting, text, origin. `names.rs` knows which
//! names exist, `parse.rs` what the texts mean.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;

use secrecy::SecretString;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::environment::{OF_COMMANDS, is_ours};
use super::names::{
    is_section, key_hint, keys_of, known_key, known_variables, listed, nearest, refuse_misspelt,
    sections,
};
use super::setting::{CONFIG_VARIABLE, Kind};
use super::{ConfigError, Origin, Overrides, Setting};
use crate::ports::secret_file::{self, Readers, SecretFileError};

/// A setting's text in one source.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) text: SecretString,
    pub(super) origin: Origin,
}

/// By the setting's key.
type Found = BTreeMap<&'static str, Given>;

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
            document.take(
                &mut found,
                &Entry {
                    section: name,
                    key,
                    value,
                },
            )?;
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
    let ours = environment.iter().filter(|(name, _)| is_ours(name));
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
            None if OF_COMMANDS.contains(&variable.as_str()) => {}
            None => refuse_misspelt(variable, &known)?,
        }
    }
    Ok(found)
}

/// Checks the names of the `FIRMAN_` variables, for a command that does not read settings: a name that is close
/// to a known one is a mistake.
///
/// # Errors
///
/// [`ConfigError::UnknownVariable`] for the first such name.
pub fn check_variables(environment: &BTreeMap<String, String>) -> Result<(), ConfigError> {
    let known = known_variables();
    environment
        .keys()
        .filter(|name| is_ours(name))
        .filter(|name| !known.contains_key(*name) && *name != CONFIG_VARIABLE)
        .filter(|name| !OF_COMMANDS.contains(&name.as_str()))
        .try_for_each(|name| refuse_misspelt(name, &known))
}

/// The OAuth token for Claude's Admin API: `ANTHROPIC_ADMIN_TOKEN`, or the content of the file that
/// `ANTHROPIC_ADMIN_TOKEN_FILE` names. An empty variable counts as not set.
///
/// # Errors
///
/// When both are set, or the file cannot be read.
pub fn claude_admin_token(
    environment: &BTreeMap<String, String>,
) -> Result<Option<SecretString>, ConfigError> {
    secret(environment, "ANTHROPIC_ADMIN_TOKEN")
}

/// A secret that is not a setting: the variable `name`, or the file that `<name>_FILE` names.
fn secret(
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
    let given = flags.given().map(|flag| {
        let given = Given {
            text: flag.text.into(),
            origin: Origin::Flag(flag.name),
        };
        (flag.setting.key(), given)
    });
    given.collect()
}

struct Document<'a> {
    path: &'a Path,
    text: &'a str,
}

/// A key of a section, with its value.
struct Entry<'e, 'i> {
    section: &'e str,
    key: &'e Spanned<toml::de::DeString<'i>>,
    value: &'e Spanned<DeValue<'i>>,
}

impl Document<'_> {
    fn origin(&self, span: &Range<usize>) -> Origin {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        Origin::File {
            path: self.path.to_owned(),
            line: before.matches('\n').count() + 1,
        }
    }

    fn take(&self, found: &mut Found, entry: &Entry<'_, '_>) -> Result<(), ConfigError> {
        let Entry {
            section,
            key,
            value,
        } = entry;
        let name = format!("{section}.{}", key.get_ref());
        let origin = self.origin(&key.span());
        let Some((setting, is_file)) = known_key(&name) else {
            return Err(ConfigError::UnknownKey {
                hint: key_hint(section, &name),
                what: format!("key `{name}`"),
                origin,
            });
        };
        let kind = if is_file { Kind::Text } else { setting.kind };
        let text = text_of(kind, value.get_ref()).ok_or_else(|| ConfigError::WrongType {
            origin: origin.clone(),
            key: setting.key(),
            expected: match kind {
                Kind::Text => "a string in quotes",
                Kind::Number => "a whole number without quotes",
                Kind::List => "a list of strings, like `[\"console.example.com\"]`",
            },
            found: format!(
                "{} {}",
                article(value.get_ref()),
                value.get_ref().type_str()
            ),
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
            let what = format!("key `{name}`");
            return ConfigError::UnknownKey {
                origin,
                what,
                hint: format!(
                    "write the section `[{name}]` and below it {}",
                    listed(&keys_of(name))
                ),
            };
        }
        let by_last_part = Setting::ALL
            .into_iter()
            .find(|setting| setting.key().ends_with(&format!(".{name}")));
        let hint = match (by_last_part, nearest(name, sections().iter().copied())) {
            (Some(setting), _) => format!("did you mean `{}`?", setting.key()),
            (None, Some(section)) => format!("did you mean `[{section}]`?"),
            (None, None) => format!("the sections are {}", listed(&sections())),
        };
        ConfigError::UnknownKey {
            origin,
            what: format!("section or key `{name}`"),
            hint,
        }
    }
}

/// The parser sorts tables by name; mistakes are reported from the top of the file.
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

fn add(found: &mut Found, setting: Setting, given: Given) -> Result<(), ConfigError> {
    let second = given.origin.clone();
    match found.insert(setting.key(), given) {
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
    // Windows editors put a byte order mark before a text.
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

/// A secret, or a URL that contains one, in a file of its own.
fn read_value(path: &Path, origin: &Origin) -> Result<SecretString, ConfigError> {
    let by = format!("{}: ", origin.named());
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
