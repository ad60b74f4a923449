//! The names of the settings: in the file, in the environment. A closed set.

/// The variable that names the configuration file. Not a setting: a file cannot name itself.
pub(super) const CONFIG_VARIABLE: &str = "FIRMAN_CONFIG";

/// What can be configured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Setting {
    /// URL of the default issuer.
    IssuerUrl,
    /// Address of the public listener.
    Listen,
    /// Connections at once.
    MaxConnections,
    /// Seconds to finish in when stopping.
    DrainSeconds,
    /// Whether trusted issuers may be on this machine, over http.
    InsecureLoopbackFetch,
    /// Address of the private listener.
    AdminListen,
    /// Further host names of the private listener.
    AdminHosts,
    /// The database.
    DatabaseUrl,
    /// Where the database file and the bootstrap token are.
    DataDir,
    /// Where the key-encryption key is.
    KeysDir,
    /// The key-encryption key.
    Kek,
    /// Seconds a token lives by default.
    DefaultLifetime,
    /// Seconds a token lives at most.
    MaxLifetime,
    /// What a new issuer signs with.
    DefaultAlgorithm,
    /// How much is logged.
    LogLevel,
    /// How it is logged.
    LogFormat,
    /// Where commands find the admin API.
    ClientUrl,
    /// What commands present there.
    AdminToken,
}

/// How a setting is written in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A string.
    Text,
    /// An integer.
    Number,
    /// An array of strings; elsewhere they are joined by commas.
    List,
}

impl Setting {
    /// Each of them, in the order they are shown.
    pub const ALL: [Self; 18] = [
        Self::IssuerUrl,
        Self::Listen,
        Self::MaxConnections,
        Self::DrainSeconds,
        Self::InsecureLoopbackFetch,
        Self::AdminListen,
        Self::AdminHosts,
        Self::DatabaseUrl,
        Self::DataDir,
        Self::KeysDir,
        Self::Kek,
        Self::DefaultLifetime,
        Self::MaxLifetime,
        Self::DefaultAlgorithm,
        Self::LogLevel,
        Self::LogFormat,
        Self::ClientUrl,
        Self::AdminToken,
    ];

    /// `section.key`, as the file spells it.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::IssuerUrl => "issuer.url",
            Self::Listen => "server.listen",
            Self::MaxConnections => "server.max_connections",
            Self::DrainSeconds => "server.drain_seconds",
            Self::InsecureLoopbackFetch => "server.insecure_loopback_fetch",
            Self::AdminListen => "admin.listen",
            Self::AdminHosts => "admin.hosts",
            Self::DatabaseUrl => "database.url",
            Self::DataDir => "data.dir",
            Self::KeysDir => "keys.dir",
            Self::Kek => "keys.kek",
            Self::DefaultLifetime => "tokens.default_lifetime",
            Self::MaxLifetime => "tokens.max_lifetime",
            Self::DefaultAlgorithm => "tokens.default_algorithm",
            Self::LogLevel => "log.level",
            Self::LogFormat => "log.format",
            Self::ClientUrl => "client.url",
            Self::AdminToken => "client.admin_token",
        }
    }

    /// The short variable that sets it, beside `FIRMAN_SECTION__KEY`.
    #[must_use]
    pub fn short_variable(self) -> Option<&'static str> {
        match self {
            Self::IssuerUrl => Some("FIRMAN_ISSUER_URL"),
            Self::Listen => Some("FIRMAN_LISTEN"),
            Self::InsecureLoopbackFetch => Some("FIRMAN_INSECURE_LOOPBACK_FETCH"),
            Self::AdminListen => Some("FIRMAN_ADMIN_LISTEN"),
            Self::AdminHosts => Some("FIRMAN_ADMIN_HOSTS"),
            Self::DatabaseUrl => Some("FIRMAN_DATABASE_URL"),
            Self::DataDir => Some("FIRMAN_DATA_DIR"),
            Self::KeysDir => Some("FIRMAN_KEYS_DIR"),
            Self::Kek => Some("FIRMAN_KEK"),
            Self::LogLevel => Some("FIRMAN_LOG"),
            Self::LogFormat => Some("FIRMAN_LOG_FORMAT"),
            Self::ClientUrl => Some("FIRMAN_URL"),
            Self::AdminToken => Some("FIRMAN_ADMIN_TOKEN"),
            Self::MaxConnections
            | Self::DrainSeconds
            | Self::DefaultLifetime
            | Self::MaxLifetime
            | Self::DefaultAlgorithm => None,
        }
    }

    /// `FIRMAN_SECTION__KEY`.
    #[must_use]
    pub fn long_variable(self) -> String {
        format!(
            "FIRMAN_{}",
            self.key().replace('.', "__").to_ascii_uppercase()
        )
    }

    pub(super) fn kind(self) -> Kind {
        match self {
            Self::MaxConnections
            | Self::DrainSeconds
            | Self::InsecureLoopbackFetch
            | Self::DefaultLifetime
            | Self::MaxLifetime => Kind::Number,
            Self::AdminHosts => Kind::List,
            Self::IssuerUrl
            | Self::Listen
            | Self::AdminListen
            | Self::DatabaseUrl
            | Self::DataDir
            | Self::KeysDir
            | Self::Kek
            | Self::DefaultAlgorithm
            | Self::LogLevel
            | Self::LogFormat
            | Self::ClientUrl
            | Self::AdminToken => Kind::Text,
        }
    }

    /// A secret has no place in a file that is shown around: there it is named by `<key>_file`.
    pub(super) fn is_secret(self) -> bool {
        matches!(self, Self::Kek | Self::AdminToken)
    }

    /// True when its value can be read from another file, named by `<key>_file` or `<VARIABLE>_FILE`.
    #[must_use]
    pub fn has_file_form(self) -> bool {
        self.is_secret() || self == Self::DatabaseUrl
    }

    /// True when an error may repeat `text`: not a secret, nor a URL with a password in it.
    pub(super) fn may_quote(self, text: &str) -> bool {
        !self.has_file_form() && !text.contains('@')
    }
}
