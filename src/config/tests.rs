use clap::{Args as _, FromArgMatches as _};

use super::*;

/// Writes a file that only its owner may read.
fn private(path: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Loads a file with this text (none if empty), these variables and these flags. Paths of the temporary
/// directory are shortened to the file's name.
fn load(file: &str, variables: &[(&str, &str)], flags: &Overrides) -> Result<Config, String> {
    let directory = tempfile::tempdir().unwrap();
    let prefix = format!("{}/", directory.path().display());
    let path = directory.path().join("firman.toml");
    std::fs::write(&path, file).unwrap();
    private(&directory.path().join("secret"), "from a file\r\n");
    private(&directory.path().join("blank"), "\n");
    let environment = variables
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.replace("DIR/", &prefix)))
        .collect();
    let file = file.replace("DIR/", &prefix);
    std::fs::write(&path, &file).unwrap();
    Config::load(
        (!file.is_empty()).then_some(path.as_path()),
        &environment,
        flags,
    )
    .map_err(|error| {
        let hint = error.hint().map(|hint| format!(" | hint: {hint}"));
        format!("{error}{}", hint.unwrap_or_default()).replace(&prefix, "")
    })
}

fn flags(arguments: &[&str]) -> Overrides {
    let command = Overrides::augment_args(clap::Command::new("serve").no_binary_name(true));
    Overrides::from_arg_matches(&command.get_matches_from(arguments)).unwrap()
}

fn from_file(file: &str) -> Result<Config, String> {
    load(file, &[], &Overrides::default())
}

fn from_variable(name: &str, value: &str) -> Result<Config, String> {
    load("", &[(name, value)], &Overrides::default())
}

fn shown(config: &Config) -> Vec<String> {
    let lines = config.show().into_iter();
    lines
        .map(|line| format!("{} = {} <- {}", line.key, line.value, line.origin))
        .collect()
}

/// A file and the message about it.
const FILE_MISTAKES: &[(&str, &str)] = &[
    (
        "[server]\nliten = \"127.0.0.1:1\"",
        "firman.toml:2: unknown key `server.liten` | hint: did you mean `server.listen`?",
    ),
    (
        "[server]\n\ncolour = 1",
        "firman.toml:3: unknown key `server.colour` | hint: the keys of `[server]` are `listen`, `max_connections`, `drain_seconds`, `insecure_loopback_fetch`",
    ),
    (
        "[sever]\nlisten = \"127.0.0.1:1\"",
        "firman.toml:1: unknown section or key `sever` | hint: did you mean `[server]`?",
    ),
    (
        "\n[colours]",
        "firman.toml:2: unknown section or key `colours` | hint: the sections are `admin`, `client`, `data`, `database`, `issuer`, `keys`, `log`, `server`, `tokens`",
    ),
    (
        "drain_seconds = 3",
        "firman.toml:1: unknown section or key `drain_seconds` | hint: did you mean `server.drain_seconds`?",
    ),
    (
        "issuer = \"https://id.example.com\"",
        "firman.toml:1: unknown key `issuer` | hint: write the section `[issuer]` and below it `url`",
    ),
    (
        "[keys]\nkek = \"hunter2\"",
        "firman.toml:2: unknown key `keys.kek` | hint: set `keys.kek_file` to the path of a file that contains the secret",
    ),
    (
        "[server]\nlisten = 8080",
        "firman.toml:2: `server.listen` must be a string in quotes, not an integer",
    ),
    (
        "[server]\nmax_connections = \"many\"",
        "firman.toml:2: `server.max_connections` must be a whole number without quotes, not a string",
    ),
    (
        "[admin]\nhosts = [1]",
        "firman.toml:2: `admin.hosts` must be a list of strings, like `[\"console.example.com\"]`, not an array",
    ),
    (
        "[server]\nlisten = \"8080\"",
        "firman.toml:2: `server.listen` is not an IP address and a port: `8080` | hint: use `127.0.0.1:8080`, or `0.0.0.0:8080` for every address of this machine",
    ),
    (
        "[server]\nmax_connections = 0",
        "firman.toml:2: `server.max_connections` is out of range or not a whole number: `0` | hint: use a number from 1 to 1000000",
    ),
    (
        "[tokens]\nmax_lifetime = 43201",
        "firman.toml:2: `tokens.max_lifetime` is not a lifetime in seconds: `43201` | hint: use a whole number from 60 to 43200 (12 hours)",
    ),
    (
        "[tokens]\ndefault_lifetime = 7200",
        "`tokens.default_lifetime` is 7200 (firman.toml:2), more than `tokens.max_lifetime`, 3600 (default) | hint: lower the default, or raise the maximum",
    ),
    (
        "[tokens]\ndefault_algorithm = \"none\"",
        "firman.toml:2: `tokens.default_algorithm` is not a supported signing algorithm: `none` | hint: use `ES256` or `RS256`",
    ),
    (
        "[keys]\nkek_file = \"DIR/none\"",
        "firman.toml:2: cannot read `none`: no such file or directory | hint: create the file, or correct the path",
    ),
    (
        "[database]\nurl = \"sqlite:a\"\nurl_file = \"DIR/secret\"",
        "`database.url` is set twice: by `firman.toml:2` and by `firman.toml:3` | hint: remove one of them",
    ),
    (
        "[server]\nlisten = \"a\"\nlisten = \"b\"",
        "firman.toml:3: duplicate key | hint: write TOML, like `[server]` and below it `listen = \"127.0.0.1:8080\"`",
    ),
];

#[test]
fn mistakes_in_the_file_are_named_with_line_and_remedy() {
    for (file, message) in FILE_MISTAKES {
        assert_eq!(from_file(file).unwrap_err(), *message, "{file}");
    }
}

/// A variable, its value and the message about it.
const VARIABLE_MISTAKES: &[(&str, &str, &str)] = &[
    (
        "FIRMAN_SERVER__LITEN",
        "a",
        "unknown environment variable `FIRMAN_SERVER__LITEN` | hint: did you mean `FIRMAN_SERVER__LISTEN`?",
    ),
    (
        "FIRMAN_COLOUR__RED",
        "",
        "unknown environment variable `FIRMAN_COLOUR__RED` | hint: unset it; settings are named `FIRMAN_SECTION__KEY`",
    ),
    (
        "FIRMAN_ISUER_URL",
        "a",
        "unknown environment variable `FIRMAN_ISUER_URL` | hint: did you mean `FIRMAN_ISSUER_URL`?",
    ),
    (
        "FIRMAN_LOG",
        "loud",
        "environment variable `FIRMAN_LOG`: `log.level` is not a log level: `loud` | hint: use `error`, `warn`, `info`, `debug` or `trace`",
    ),
    (
        "FIRMAN_LOG_FORMAT",
        "xml",
        "environment variable `FIRMAN_LOG_FORMAT`: `log.format` is not a log format: `xml` | hint: use `auto`, `json` or `text`",
    ),
    (
        "FIRMAN_DATABASE_URL",
        "mysql://root:hunter2@db/firman",
        "environment variable `FIRMAN_DATABASE_URL`: `database.url` is neither a SQLite nor a PostgreSQL URL | hint: use a URL like `sqlite:data/firman.db` or `postgres://user:password@host/database`",
    ),
    (
        "FIRMAN_DATABASE_URL",
        "sqlite::memory:",
        "environment variable `FIRMAN_DATABASE_URL`: `database.url` does not name a file | hint: use a URL like `sqlite:data/firman.db` or `postgres://user:password@host/database`",
    ),
    (
        "FIRMAN_KEK",
        " ",
        "environment variable `FIRMAN_KEK`: `keys.kek` is empty | hint: put the secret there, or remove the setting",
    ),
    (
        "FIRMAN_ADMIN_TOKEN_FILE",
        "DIR/blank",
        "environment variable `FIRMAN_ADMIN_TOKEN_FILE`: `client.admin_token` is empty | hint: put the secret there, or remove the setting",
    ),
    (
        "FIRMAN_KEK_FILE",
        "DIR/none",
        "environment variable `FIRMAN_KEK_FILE`: cannot read `none`: no such file or directory | hint: create the file, or correct the path",
    ),
    (
        "FIRMAN_ADMIN_HOSTS",
        "a.example,http://b.example",
        "environment variable `FIRMAN_ADMIN_HOSTS`: `admin.hosts` is not a list of host names: `a.example,http://b.example` | hint: use names without scheme, port and path, like `console.example.com`",
    ),
    (
        "FIRMAN_URL",
        "localhost:8081",
        "environment variable `FIRMAN_URL`: `client.url` is not an http or https URL: `localhost:8081` | hint: use the URL of the private listener, like `http://127.0.0.1:8081`",
    ),
    (
        "FIRMAN_CONFIG",
        "DIR/none.toml",
        "cannot read `none.toml`: no such file or directory | hint: create the file, or correct the path",
    ),
];

#[test]
fn mistakes_in_the_environment_are_named_with_variable_and_remedy() {
    for (variable, value, message) in VARIABLE_MISTAKES {
        assert_eq!(
            from_variable(variable, value).unwrap_err(),
            *message,
            "{variable}"
        );
    }
}

#[test]
fn a_setting_given_twice_in_the_environment_is_refused() {
    let twice = [
        ("FIRMAN_LISTEN", "127.0.0.1:1"),
        ("FIRMAN_SERVER__LISTEN", "127.0.0.1:2"),
    ];
    assert_eq!(
        load("", &twice, &Overrides::default()).unwrap_err(),
        "`server.listen` is set twice: by environment variable `FIRMAN_LISTEN` and by environment variable `FIRMAN_SERVER__LISTEN` | hint: remove one of them"
    );
    let secret = [("FIRMAN_KEK", "a"), ("FIRMAN_KEK_FILE", "DIR/secret")];
    assert_eq!(
        load("", &secret, &Overrides::default()).unwrap_err(),
        "`keys.kek` is set twice: by environment variable `FIRMAN_KEK` and by environment variable `FIRMAN_KEK_FILE` | hint: remove one of them"
    );
}

#[test]
fn an_issuer_url_that_relying_parties_would_stumble_over_is_refused() {
    for (url, problem, hint) in [
        (
            "id.example.com",
            "is not a URL: `id.example.com`",
            "use a URL like `https://id.example.com`",
        ),
        (
            "ftp://a.example",
            "is not an https URL: `ftp://a.example`",
            "use a URL like `https://id.example.com`",
        ),
        (
            "http://a.example",
            "is not https: `http://a.example`",
            "use https; http is only for this machine (`127.0.0.1`, `[::1]`, `localhost`)",
        ),
        (
            "https://u:hunter2@a.example",
            "contains a user name or password",
            "use a URL like `https://id.example.com`",
        ),
        (
            "https://a.example?b",
            "has a query or a fragment: `https://a.example?b`",
            "remove everything from the `?` or `#`",
        ),
        (
            "https://a.example#b",
            "has a query or a fragment: `https://a.example#b`",
            "remove everything from the `?` or `#`",
        ),
        (
            "https://a.example/",
            "ends with a slash: `https://a.example/`",
            "use `https://a.example`",
        ),
        (
            "https://a.example/b/",
            "ends with a slash: `https://a.example/b/`",
            "use `https://a.example/b`",
        ),
        (
            "https://A.example/B",
            "is not in its canonical spelling (host in lower case, no default port, no dot segments): `https://A.example/B`",
            "use `https://a.example/B`",
        ),
        (
            "https://a.example:443",
            "is not in its canonical spelling (host in lower case, no default port, no dot segments): `https://a.example:443`",
            "use `https://a.example`",
        ),
        (
            "https://a.example/b/../c",
            "is not in its canonical spelling (host in lower case, no default port, no dot segments): `https://a.example/b/../c`",
            "use `https://a.example/c`",
        ),
    ] {
        let expected = format!(
            "environment variable `FIRMAN_ISSUER_URL`: `issuer.url` {problem} | hint: {hint}"
        );
        assert_eq!(
            from_variable("FIRMAN_ISSUER_URL", url).unwrap_err(),
            expected
        );
    }
}

#[test]
fn an_issuer_url_is_kept_byte_for_byte() {
    let anywhere = SocketAddr::from(([0, 0, 0, 0], 8080));
    for url in [
        "https://id.example.com",
        "https://id.example.com:8443/a/B",
        "http://127.0.0.1:8080",
        "http://localhost",
    ] {
        let config = from_variable("FIRMAN_ISSUER_URL", url).unwrap();
        assert_eq!(config.issuer_url(anywhere).unwrap(), url);
    }
}

#[test]
fn what_is_on_this_machine_is_fetched_only_for_an_issuer_on_this_machine() {
    let config = from_variable("FIRMAN_INSECURE_LOOPBACK_FETCH", "1").unwrap();
    for url in [
        "http://127.0.0.1:8080",
        "http://localhost:8080",
        "https://[::1]",
    ] {
        assert!(config.insecure_loopback_fetch(url).unwrap(), "{url}");
        assert!(!from_file("").unwrap().insecure_loopback_fetch(url).unwrap());
    }
    assert_eq!(
        config
            .insecure_loopback_fetch("https://id.example.com")
            .unwrap_err()
            .to_string(),
        "environment variable `FIRMAN_INSECURE_LOOPBACK_FETCH`: `server.insecure_loopback_fetch` is 1, but the issuer `https://id.example.com` is not on this machine"
    );
    assert!(from_variable("FIRMAN_INSECURE_LOOPBACK_FETCH", "2").is_err());
}

#[test]
fn without_an_issuer_url_the_bound_loopback_address_is_it_and_any_other_is_refused() {
    let config = from_file("").unwrap();
    assert_eq!(
        config
            .issuer_url("127.0.0.1:45123".parse().unwrap())
            .unwrap(),
        "http://127.0.0.1:45123"
    );
    assert_eq!(
        config.issuer_url("127.0.0.1:80".parse().unwrap()).unwrap(),
        "http://127.0.0.1"
    );
    assert_eq!(
        config.issuer_url("[::1]:8080".parse().unwrap()).unwrap(),
        "http://[::1]:8080"
    );
    assert_eq!(
        config
            .issuer_url("0.0.0.0:8080".parse().unwrap())
            .unwrap_err()
            .to_string(),
        "`issuer.url` is not set, and other machines can reach `0.0.0.0:8080`"
    );
}

#[test]
fn variables_of_others_and_empty_ones_are_passed_over() {
    let variables = [
        ("FIRMAN_PORT", "tcp://10.0.0.1:8080"),
        ("FIRMAN_SERVICE_HOST", "10.0.0.1"),
        ("FIRMAN_PORT_8080_TCP_ADDR", "10.0.0.1"),
        ("FIRMAN_LISTEN", ""),
    ];
    let config = load("", &variables, &Overrides::default()).unwrap();
    assert_eq!(shown(&config), shown(&from_file("").unwrap()));
}

#[test]
fn the_defaults_are_shown_as_such() {
    assert_eq!(
        shown(&from_file("").unwrap()),
        [
            "issuer.url = http://127.0.0.1:8080 <- default",
            "server.listen = 127.0.0.1:8080 <- default",
            "server.max_connections = 800 <- default",
            "server.drain_seconds = 10 <- default",
            "server.insecure_loopback_fetch = 0 <- default",
            "admin.listen = 127.0.0.1:8081 <- default",
            "admin.hosts =  <- default",
            "database.url = sqlite:data/firman.db <- default",
            "data.dir = data <- default",
            "keys.dir = keys <- default",
            "keys.kek = (not set) <- default",
            "tokens.default_lifetime = 900 <- default",
            "tokens.max_lifetime = 3600 <- default",
            "tokens.default_algorithm = ES256 <- default",
            "log.level = info <- default",
            "log.format = auto <- default",
            "client.url = http://127.0.0.1:8081 <- default",
            "client.admin_token = (not set) <- default",
        ]
    );
}

/// A setting of every kind.
const FILE: &str = r#"
    [issuer]
    url = "https://id.example.com"
    [server]
    listen = "0.0.0.0:1"
    max_connections = 1_000
    [admin]
    listen = "0.0.0.0:2"
    hosts = ["Console.example.com", "b.example"]
    [database]
    url = "postgres://firman:hunter2@db/firman?sslpassword=hunter2"
    [data]
    dir = "from-file"
    [keys]
    kek_file = "DIR/secret"
    [log]
    level = "warn"
"#;

#[test]
fn a_flag_beats_a_variable_beats_the_file_and_each_says_so() {
    let variables = [
        ("FIRMAN_ADMIN_LISTEN", "0.0.0.0:3"),
        ("FIRMAN_DATA__DIR", "from-variable"),
        ("FIRMAN_TOKENS__MAX_LIFETIME", "7200"),
        ("FIRMAN_ADMIN_TOKEN", "hunter2"),
        ("FIRMAN_LOG", "debug"),
    ];
    let flags = flags(&["--log", "error", "--log-format", "text"]);

    let config = load(FILE, &variables, &flags).unwrap();

    assert_eq!(config.kek.as_ref().unwrap().expose_secret(), "from a file");
    assert_eq!(
        config.admin_token.as_ref().unwrap().expose_secret(),
        "hunter2"
    );
    assert_eq!(
        config.database_url.expose(),
        "postgres://firman:hunter2@db/firman?sslpassword=hunter2"
    );
    assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
    let lines: Vec<String> = config
        .show()
        .into_iter()
        .map(|line| {
            let origin = line
                .origin
                .rsplit_once('/')
                .map_or(line.origin.as_str(), |(_, name)| name);
            format!("{} = {} <- {origin}", line.key, line.value)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "issuer.url = https://id.example.com <- firman.toml:3",
            "server.listen = 0.0.0.0:1 <- firman.toml:5",
            "server.max_connections = 1000 <- firman.toml:6",
            "server.drain_seconds = 10 <- default",
            "server.insecure_loopback_fetch = 0 <- default",
            "admin.listen = 0.0.0.0:3 <- environment variable FIRMAN_ADMIN_LISTEN",
            "admin.hosts = console.example.com,b.example <- firman.toml:9",
            "database.url = postgres://firman:***@db/firman?*** <- firman.toml:11",
            "data.dir = from-variable <- environment variable FIRMAN_DATA__DIR",
            "keys.dir = from-variable/keys <- default",
            "keys.kek = (set) <- firman.toml:15",
            "tokens.default_lifetime = 900 <- default",
            "tokens.max_lifetime = 7200 <- environment variable FIRMAN_TOKENS__MAX_LIFETIME",
            "tokens.default_algorithm = ES256 <- default",
            "log.level = error <- flag --log",
            "log.format = text <- flag --log-format",
            "client.url = http://127.0.0.1:3 <- default",
            "client.admin_token = (set) <- environment variable FIRMAN_ADMIN_TOKEN",
        ]
    );
}

#[test]
fn the_database_lies_in_the_data_directory_unless_said_otherwise() {
    let config = from_variable("FIRMAN_DATA_DIR", "/var/lib/firman").unwrap();
    assert_eq!(
        config.database_url.expose(),
        "sqlite:/var/lib/firman/firman.db"
    );
}

#[test]
fn every_setting_has_variables_of_its_own() {
    let mut names = Vec::new();
    for setting in Setting::ALL {
        names.push(setting.long_variable());
        names.extend(setting.short_variable().map(ToOwned::to_owned));
    }
    let total = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), total);
}

#[test]
fn the_token_for_claude_comes_from_its_variable_or_its_file_but_not_from_both() {
    use secrecy::ExposeSecret;

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    private(&file, "from-file\n");
    let file = file.to_str().unwrap();
    let token = |variables: &[(&str, &str)]| {
        let variables = variables.iter();
        let environment: BTreeMap<String, String> = variables
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        claude_admin_token(&environment)
    };
    let (plain, of_file) = ("ANTHROPIC_ADMIN_TOKEN", "ANTHROPIC_ADMIN_TOKEN_FILE");
    assert!(token(&[(plain, "a"), (of_file, file)]).is_err());
    assert!(token(&[(of_file, "no-such-file")]).is_err());
    assert!(token(&[(plain, "")]).unwrap().is_none());
    let text = |variables: &[(&str, &str)]| {
        let found = token(variables).unwrap().unwrap();
        found.expose_secret().to_owned()
    };
    assert_eq!(text(&[(plain, "a"), (of_file, "")]), "a");
    assert_eq!(text(&[(of_file, file)]), "from-file");
}
