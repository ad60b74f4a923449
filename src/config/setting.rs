//! The table of settings: a row has a setting's names, its parser and how it is shown. The defaults are in
//! [`Config::unset`], typed.

use super::Config;
use super::parse::{self, Unfit};

/// The variable that names the configuration file. Not a setting: a file cannot name itself.
pub(super) const CONFIG_VARIABLE: &str = "FIRMAN_CONFIG";

/// A setting: one row of [`Setting::ALL`].
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// `section.key`, as the file spells it.
    key: &'static str,
    /// The short variable, beside `FIRMAN_SECTION__KEY`.
    short: Option<&'static str>,
    /// The command-line flag of serving commands.
    pub(super) flag: Option<Flag>,
    /// How it is written in the file.
    pub(super) kind: Kind,
    secrecy: Secrecy,
    /// Parses the text of the source that has precedence.
    pub(super) read: fn(&mut Config, &str) -> Result<(), Unfit>,
    /// The value in force as a text; for a secret only whether it is set.
    pub(super) show: fn(&Config) -> String,
}

/// A flag and its line of help.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flag {
    pub(super) name: &'static str,
    pub(super) value: &'static str,
    /// `None` for an option that every command has.
    pub(super) help: Option<&'static str>,
}

/// How a setting is written in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// An integer.
    Number,
    /// An array of strings; in other sources they are joined by commas.
    List,
}

/// What may be shown of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Secrecy {
    /// All of it.
    Open,
    /// It may contain a password: no error repeats it.
    MayHoldPassword,
    /// Nothing: the file names another file with the value, `<key>_file`.
    Secret,
}

/// The values of most rows.
const TEXT: Setting = Setting {
    key: "",
    short: None,
    flag: None,
    kind: Kind::Text,
    secrecy: Secrecy::Open,
    read: |_, _| Ok(()),
    show: |_| String::new(),
};
const NUMBER: Setting = Setting {
    kind: Kind::Number,
    ..TEXT
};

impl Setting {
    /// Each of them, in the order they are shown.
    #[rustfmt::skip]
    pub const ALL: [Self; 18] = [
        Self { key: "issuer.url", short: Some("FIRMAN_ISSUER_URL"),
               flag: flag("--issuer-url", "URL", "Public URL of the default issuer, as relying parties see it"),
               read: |c, text| put(&mut c.issuer_url, parse::issuer_url(text).map(Some)),
               show: |c| c.shown_issuer_url(), ..TEXT },
        Self { key: "server.listen", short: Some("FIRMAN_LISTEN"),
               flag: flag("--listen", "ADDRESS:PORT", "Address of the public listener [default: 127.0.0.1:8080]"),
               read: |c, text| put(&mut c.listen, parse::address(text)),
               show: |c| c.listen.to_string(), ..TEXT },
        Self { key: "server.max_connections",
               read: |c, text| put(&mut c.max_connections, parse::number(text, 1..=1_000_000)),
               show: |c| c.max_connections.to_string(), ..NUMBER },
        Self { key: "server.drain_seconds",
               read: |c, text| put(&mut c.drain_seconds, parse::number(text, 0..=3600)),
               show: |c| c.drain_seconds.to_string(), ..NUMBER },
        Self { key: "server.insecure_loopback_fetch", short: Some("FIRMAN_INSECURE_LOOPBACK_FETCH"),
               read: |c, text| put(&mut c.insecure_loopback_fetch, parse::number(text, 0..=1)),
               show: |c| c.insecure_loopback_fetch.to_string(), ..NUMBER },
        Self { key: "admin.listen", short: Some("FIRMAN_ADMIN_LISTEN"),
               flag: flag("--admin-listen", "ADDRESS:PORT", "Address of the private listener: admin API, readiness [default: 127.0.0.1:8081]"),
               read: |c, text| put(&mut c.admin_listen, parse::address(text)),
               show: |c| c.admin_listen.to_string(), ..TEXT },
        Self { key: "admin.hosts", short: Some("FIRMAN_ADMIN_HOSTS"), kind: Kind::List,
               read: |c, text| put(&mut c.admin_hosts, parse::host_names(text)),
               show: |c| c.admin_hosts.join(","), ..TEXT },
        Self { key: "database.url", short: Some("FIRMAN_DATABASE_URL"), secrecy: Secrecy::MayHoldPassword,
               flag: flag("--database-url", "URL", "Database: sqlite:PATH or postgres://… [default: sqlite:data/firman.db]"),
               read: |c, text| put(&mut c.database_url, parse::database_url(text)),
               show: |c| c.database_url.to_string(), ..TEXT },
        Self { key: "data.dir", short: Some("FIRMAN_DATA_DIR"),
               flag: Some(Flag { name: "--data-dir", value: "DIR", help: None, }),
               read: |c, text| put(&mut c.data_dir, parse::path(text)),
               show: |c| c.data_dir.display().to_string(), ..TEXT },
        Self { key: "keys.dir", short: Some("FIRMAN_KEYS_DIR"),
               flag: flag("--keys-dir", "DIR", "Directory of the key-encryption key [default: `keys`, or DIR/keys when the data directory DIR is set]"),
               read: |c, text| put(&mut c.keys_dir, parse::path(text)),
               show: |c| c.keys_dir.display().to_string(), ..TEXT },
        Self { key: "keys.kek", short: Some("FIRMAN_KEK"), secrecy: Secrecy::Secret,
               read: |c, text| put(&mut c.kek, parse::secret(text).map(Some)),
               show: |c| is_set(c.kek.as_ref()), ..TEXT },
        Self { key: "tokens.default_lifetime",
               read: |c, text| put(&mut c.default_lifetime, parse::lifetime(text)),
               show: |c| c.default_lifetime.to_string(), ..NUMBER },
        Self { key: "tokens.max_lifetime",
               read: |c, text| put(&mut c.max_lifetime, parse::lifetime(text)),
               show: |c| c.max_lifetime.to_string(), ..NUMBER },
        Self { key: "tokens.default_algorithm",
               read: |c, text| put(&mut c.default_algorithm, parse::algorithm(text)),
               show: |c| c.default_algorithm.clone(), ..TEXT },
        Self { key: "log.level", short: Some("FIRMAN_LOG"),
               flag: flag("--log", "LEVEL", "How much is logged: error, warn, info, debug or trace [default: info]"),
               read: |c, text| put(&mut c.log_level, parse::log_level(text)),
               show: |c| c.log_level.to_string(), ..TEXT },
        Self { key: "log.format", short: Some("FIRMAN_LOG_FORMAT"),
               flag: flag("--log-format", "FORMAT", "How it is logged: json, text, or auto for text on a terminal and json elsewhere [default: auto]"),
               read: |c, text| put(&mut c.log_format, parse::log_format(text)),
               show: |c| c.log_format.to_string(), ..TEXT },
        Self { key: "client.url", short: Some("FIRMAN_URL"),
               read: |c, text| put(&mut c.client_url, parse::client_url(text)),
               show: |c| c.client_url.clone(), ..TEXT },
        Self { key: "client.admin_token", short: Some("FIRMAN_ADMIN_TOKEN"), secrecy: Secrecy::Secret,
               read: |c, text| put(&mut c.admin_token, parse::secret(text).map(Some)),
               show: |c| is_set(c.admin_token.as_ref()), ..TEXT },
    ];
}

const fn flag(name: &'static str, value: &'static str, help: &'static str) -> Option<Flag> {
    let help = Some(help);
    Some(Flag { name, value, help })
}

fn put<T>(field: &mut T, read: Result<T, Unfit>) -> Result<(), Unfit> {
    *field = read?;
    Ok(())
}

fn is_set<T>(secret: Option<&T>) -> String {
    secret.map_or("(not set)", |_| "(set)").to_owned()
}

impl Setting {
    /// `section.key`, as the file spells it.
    #[must_use]
    pub fn key(self) -> &'static str {
        self.key
    }

    /// The short variable that sets it, beside `FIRMAN_SECTION__KEY`.
    #[must_use]
    pub fn short_variable(self) -> Option<&'static str> {
        self.short
    }

    /// `FIRMAN_SECTION__KEY`.
    #[must_use]
    pub fn long_variable(self) -> String {
        let name = self.key.replace('.', "__").to_ascii_uppercase();
        format!("FIRMAN_{name}")
    }

    /// True when its value can be read from another file, named by `<key>_file` or `<VARIABLE>_FILE`.
    #[must_use]
    pub fn has_file_form(self) -> bool {
        self.secrecy != Secrecy::Open
    }

    /// A secret does not belong in a file that people share: `<key>_file` names another file.
    pub(super) fn is_secret(self) -> bool {
        self.secrecy == Secrecy::Secret
    }

    /// True when an error may repeat `text`: it is neither a secret nor a URL with a password.
    pub(super) fn may_quote(self, text: &str) -> bool {
        !self.has_file_form() && !text.contains('@')
    }
}
