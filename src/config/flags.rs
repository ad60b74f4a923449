//! The flags of serving commands, made from the table of settings.

use std::collections::BTreeMap;

use clap::{Arg, ArgMatches, Command};

use super::Setting;

/// The flags that override a setting; a command includes them with `#[command(flatten)]`.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// By the setting's key.
    given: BTreeMap<&'static str, String>,
}

/// A setting that is set by a flag.
pub(super) struct GivenFlag<'o> {
    pub(super) setting: Setting,
    pub(super) name: &'static str,
    pub(super) text: &'o str,
}

impl Overrides {
    /// Adds `--data-dir`, which is an option of every command; `None` changes nothing.
    #[must_use]
    pub fn with_data_dir(mut self, directory: Option<&str>) -> Self {
        if let Some(directory) = directory {
            self.given.insert("data.dir", directory.to_owned());
        }
        self
    }

    /// The command line for the same flags, `--data-dir` included.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        self.given()
            .flat_map(|flag| [flag.name.to_owned(), flag.text.to_owned()])
            .collect()
    }

    pub(super) fn given(&self) -> impl Iterator<Item = GivenFlag<'_>> {
        Setting::ALL.into_iter().filter_map(|setting| {
            Some(GivenFlag {
                setting,
                name: setting.flag?.name,
                text: self.given.get(setting.key())?,
            })
        })
    }
}

/// The settings that serving commands accept as options; each option's id is the setting's key.
fn options() -> impl Iterator<Item = (Setting, Arg)> {
    Setting::ALL.into_iter().filter_map(|setting| {
        let flag = setting.flag?;
        let arg = Arg::new(setting.key())
            .long(flag.name.trim_start_matches('-'))
            .value_name(flag.value)
            .help(flag.help?);
        Some((setting, arg))
    })
}

impl clap::Args for Overrides {
    fn augment_args(command: Command) -> Command {
        command.args(options().map(|(_, arg)| arg))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl clap::FromArgMatches for Overrides {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for (setting, _) in options() {
            if let Some(text) = matches.get_one::<String>(setting.key()) {
                self.given.insert(setting.key(), text.clone());
            }
        }
        Ok(())
    }
}
