//! Where the admin API is and which token it gets: from options, the environment, the configuration file and the files
//! that `firman serve` leaves in its data directory.

use std::collections::BTreeMap;
use std::fs;
use std::io;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::error::CliError;
use super::http;
use super::keyfile;
use super::options::Globals;
use crate::config::{Config, Overrides};
use crate::domain::remedy::Remedy;
use crate::ports::secret_file::{self, Readers, SecretFileError};

/// The configuration from the flags, the environment and its file.
pub(super) fn load_config(
    globals: &Globals,
    environment: &BTreeMap<String, String>,
) -> Result<Config, CliError> {
    let flags = Overrides::default().with_data_dir(globals.data_dir.as_deref());
    Config::load(globals.config.as_deref(), environment, &flags).map_err(CliError::from)
}

/// The address of the admin API: the flag, the setting, the address that the running server recorded, or the
/// default, in this order.
pub(super) fn find_url(globals: &Globals, config: &Config) -> Result<Url, CliError> {
    if let Some(url) = &globals.url {
        return http::parse_url(url, "`--url`");
    }
    if is_set(config, "client.url") {
        return http::parse_url(&config.client_url, "`client.url`");
    }
    let path = config.data_dir.join("admin-url");
    match fs::read_to_string(&path) {
        Ok(url) => http::parse_url(url.trim(), &format!("`{}`", path.display())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            http::parse_url(&config.client_url, "`client.url`")
        }
        Err(error) => Err(CliError::file(&path, "read", &error)),
    }
}

/// Whether `key` is set, so that its default does not apply.
fn is_set(config: &Config, key: &str) -> bool {
    let shown = config.show();
    shown
        .iter()
        .any(|setting| setting.key == key && setting.origin != "default")
}

/// The setting, or the file that the server made at its first start.
pub(super) fn find_token(config: &Config) -> Result<SecretString, CliError> {
    if let Some(token) = &config.admin_token {
        return bearer(token.expose_secret(), &token_source(config));
    }
    let path = config.data_dir.join("admin-token");
    match secret_file::read_text(&path, Readers::OwnerOnly) {
        Ok(token) => bearer(&token, &token_source(config)),
        Err(SecretFileError::Unreadable { source: error, .. }) => Err(CliError::failed(
            "no_token",
            format!(
                "no admin token: `FIRMAN_ADMIN_TOKEN` and `FIRMAN_ADMIN_TOKEN_FILE` are not set, and `{}` cannot be read ({})",
                path.display(),
                super::error::reason(&error)
            ),
        )
        .with_remedy(&Remedy::action(
            "run this in the directory where `firman serve` runs, or name its data directory with `--data-dir`",
        ))),
        Err(
            error @ (SecretFileError::TooLarge { .. }
            | SecretFileError::NotText { .. }
            | SecretFileError::Exposed { .. }),
        ) => Err(keyfile::refused(error)),
    }
}

pub(super) fn token_source(config: &Config) -> String {
    match &config.admin_token {
        Some(_) => {
            "`client.admin_token` (`FIRMAN_ADMIN_TOKEN` or `FIRMAN_ADMIN_TOKEN_FILE`)".to_owned()
        }
        None => format!("`{}`", config.data_dir.join("admin-token").display()),
    }
}

/// A token with the characters that a header may have (RFC 6750 §2.1).
fn bearer(text: &str, source: &str) -> Result<SecretString, CliError> {
    let token = text.trim();
    if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(CliError::failed(
            "no_token",
            format!("{source} is not an admin token: expected one word of printable ASCII"),
        ));
    }
    Ok(token.to_owned().into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn config(data_dir: &Path, pairs: &[(&str, &str)]) -> Config {
        let environment = pairs
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        let globals = Globals {
            data_dir: Some(data_dir.to_str().unwrap().to_owned()),
            ..Globals::for_test()
        };
        load_config(&globals, &environment).unwrap()
    }

    #[test]
    fn a_missing_token_names_every_place_that_was_tried() {
        let error = find_token(&config(Path::new("no-such-dir"), &[])).unwrap_err();
        insta::assert_snapshot!(error.text().unwrap(), @r"
        error: no admin token: `FIRMAN_ADMIN_TOKEN` and `FIRMAN_ADMIN_TOKEN_FILE` are not set, and `no-such-dir/admin-token` cannot be read (no such file or directory)
        hint: run this in the directory where `firman serve` runs, or name its data directory with `--data-dir`
        ");
    }

    #[test]
    fn a_token_that_cannot_stand_in_a_header_is_refused_without_showing_it() {
        let config = config(Path::new("x"), &[("FIRMAN_ADMIN_TOKEN", "top secret")]);
        insta::assert_snapshot!(find_token(&config).unwrap_err().text().unwrap(), @"error: `client.admin_token` (`FIRMAN_ADMIN_TOKEN` or `FIRMAN_ADMIN_TOKEN_FILE`) is not an admin token: expected one word of printable ASCII");
    }

    #[test]
    fn the_url_comes_from_the_flag_then_the_environment_then_the_file_then_the_default() {
        let dir = tempfile::tempdir().unwrap();
        let with = |url: Option<&str>, pairs: &[(&str, &str)]| {
            let globals = Globals {
                url: url.map(str::to_owned),
                ..Globals::for_test()
            };
            find_url(&globals, &config(dir.path(), pairs))
                .unwrap()
                .to_string()
        };
        assert_eq!(with(None, &[]), "http://127.0.0.1:8081/");
        assert_eq!(
            with(None, &[("FIRMAN_ADMIN_LISTEN", "0.0.0.0:9000")]),
            "http://127.0.0.1:9000/"
        );
        fs::write(dir.path().join("admin-url"), "http://127.0.0.1:9001\n").unwrap();
        assert_eq!(with(None, &[]), "http://127.0.0.1:9001/");
        let variable = [("FIRMAN_URL", "http://127.0.0.1:9002")];
        assert_eq!(with(None, &variable), "http://127.0.0.1:9002/");
        assert_eq!(
            with(Some("http://127.0.0.1:9003"), &variable),
            "http://127.0.0.1:9003/"
        );
    }

    #[test]
    fn the_token_comes_from_the_environment_then_from_the_data_directory() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("token");
        let write = |path: &Path, text: &str| keyfile::write_atomically(path, text.as_bytes());
        write(&file, "from-file\n").unwrap();
        write(&dir.path().join("admin-token"), "from-data\n").unwrap();
        let with = |pairs: &[(&str, &str)]| {
            find_token(&config(dir.path(), pairs))
                .unwrap()
                .expose_secret()
                .to_owned()
        };
        assert_eq!(with(&[]), "from-data");
        assert_eq!(
            with(&[("FIRMAN_ADMIN_TOKEN_FILE", file.to_str().unwrap())]),
            "from-file"
        );
        assert_eq!(with(&[("FIRMAN_ADMIN_TOKEN", "direct")]), "direct");
    }
}
