//! Starts that cannot work: each ends with one plain sentence, at most one hint and exit code 1, and leaves
//! everything unchanged.

use std::fs::{Permissions, set_permissions};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use firman::jose::digest::base64url;
use insta::assert_snapshot;
use sqlx::{Connection as _, PgConnection, SqliteConnection};

use super::*;

/// The user and group that own nothing.
const NOBODY: u32 = 65_534;
/// A migration that this program does not know.
const NEWER: &str = "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) \
     VALUES (99990101000000, 'from a later version', TRUE, '', 0)";

/// Starts it where it must refuse: its whole outcome, with paths and ports left out.
fn refused(site: &Site, args: &[&str]) -> String {
    let asks_for_ports = args.iter().any(|arg| arg.ends_with("listen"));
    let start: &[&str] = if asks_for_ports {
        &["serve"]
    } else {
        &SERVE_ON_FREE_PORTS
    };
    let outcome = site.run(&[start, args].concat());
    redacted(site, &outcome)
}

fn redacted(site: &Site, outcome: &Outcome) -> String {
    let lines: Vec<&str> = outcome.stderr.lines().collect();
    let is_fault_with_hint = match lines.as_slice() {
        [fault] => fault.starts_with("error: "),
        [fault, hint] => fault.starts_with("error: ") && hint.starts_with("hint: "),
        _ => false,
    };
    assert!(is_fault_with_hint, "{outcome}");
    outcome
        .to_string()
        .replace(&site.dir.path().display().to_string(), "[DIR]")
}

/// One with data of an issuer that has stopped.
fn stopped(site: Site) -> Site {
    let outcome = site.start().stop();
    assert_eq!(outcome.code, Some(0), "{outcome}");
    site
}

#[test]
fn an_unknown_key_is_reported_with_file_line_and_what_was_meant() {
    let site = Site::new();
    site.write(
        "firman.toml",
        "[server]\nlisten = \"127.0.0.1:8080\"\nmax_conections = 5\n",
    );
    assert_snapshot!(refused(&site, &["--config", "firman.toml"]), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: firman.toml:3: unknown key `server.max_conections`
    hint: did you mean `server.max_connections`?
    ");
}

#[test]
fn a_bad_value_is_reported_with_file_line_and_the_fix() {
    let site = Site::new();
    site.write("firman.toml", "# comment\n[tokens]\ndefault_lifetime = 0\n");
    assert_snapshot!(refused(&site, &["--config", "firman.toml"]), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    error: firman.toml:3: `tokens.default_lifetime` is not a lifetime in seconds: `0`
    hint: use a whole number from 60 to 43200 (12 hours)
    "#);
}

#[test]
fn a_file_that_is_not_toml_is_reported_with_its_line() {
    let site = Site::new();
    site.write("firman.toml", "[server]\nlisten: 127.0.0.1:8080\n");
    assert_snapshot!(refused(&site, &["--config", "firman.toml"]), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    error: firman.toml:2: key with no value, expected `=`
    hint: write TOML, like `[server]` and below it `listen = "127.0.0.1:8080"`
    "#);
}

#[test]
fn an_unknown_variable_is_reported_with_what_was_meant() {
    let site = Site::new().with("FIRMAN_ISUER_URL", "https://id.example.com");
    assert_snapshot!(refused(&site, &[]), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: unknown environment variable `FIRMAN_ISUER_URL`
    hint: did you mean `FIRMAN_ISSUER_URL`?
    ");
}

#[test]
fn an_issuer_that_others_reach_must_know_its_url() {
    let site = Site::new();
    let outcome = refused(
        &site,
        &["--listen", "0.0.0.0:0", "--admin-listen", "127.0.0.1:0"],
    );
    let port = outcome
        .split("0.0.0.0:")
        .nth(1)
        .unwrap()
        .split('`')
        .next()
        .unwrap();
    assert_snapshot!(outcome.replace(port, "[PORT]"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: `issuer.url` is not set, and other machines can reach `0.0.0.0:[PORT]`
    hint: set `FIRMAN_ISSUER_URL` to the https URL that relying parties use, like `https://id.example.com`
    ");
}

#[test]
fn fa_012_a_wrong_key_encryption_key_is_refused_and_nothing_overwritten() {
    let site = stopped(Site::new());
    let right = std::fs::read(site.path("keys/kek")).unwrap();
    let database = std::fs::read(site.path("data/firman.db")).unwrap();
    site.write("keys/kek", base64url(&[7; 32]));
    assert_snapshot!(refused(&site, &[]), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot decrypt pepper: the key-encryption key is not the one it was sealed with, or the database was changed
    hint: restore the key that belongs to this database
    ");
    assert_eq!(
        std::fs::read(site.path("data/firman.db")).unwrap(),
        database
    );
    site.write("keys/kek", right);
    stopped(site);
}

#[test]
fn fa_013_a_missing_key_encryption_key_is_refused_and_none_made_in_its_place() {
    let site = stopped(Site::new());
    std::fs::remove_file(site.path("keys/kek")).unwrap();
    assert_snapshot!(refused(&site, &[]), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the key-encryption key `keys/kek` does not exist
    hint: restore the key that belongs to this database, or name it with `FIRMAN_KEYS_DIR`, `FIRMAN_KEK` or `FIRMAN_KEK_FILE`
    ");
    assert!(!site.path("keys/kek").exists());
}

#[test]
fn a_truncated_key_encryption_key_is_refused() {
    let site = stopped(Site::new());
    let kek = std::fs::read(site.path("keys/kek")).unwrap();
    site.write("keys/kek", &kek[..20]);
    assert_snapshot!(refused(&site, &[]), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the key-encryption key in `keys/kek` is not 43 base64url characters (32 bytes)
    hint: restore the key from your backup
    ");
}

#[test]
fn a_key_encryption_key_that_is_none_is_refused_without_repeating_it() {
    let site = Site::new().with("FIRMAN_KEK", "correct horse battery staple");
    assert_snapshot!(refused(&site, &[]), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the key-encryption key in `FIRMAN_KEK` is not 43 base64url characters (32 bytes)
    hint: restore the key from your backup
    ");
}

#[test]
fn fa_008_a_second_process_on_the_same_sqlite_file_is_refused() {
    let site = Site::new();
    let first = site.start();
    assert_snapshot!(refused(&site, &[]), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: another firman process uses the database file `data/firman.db`
    hint: stop that process, or use PostgreSQL to run several
    ");
    first.wait_until_healthy();
    // Nor did it redirect commands to itself.
    let url = std::fs::read_to_string(site.path("data/admin-url")).unwrap();
    assert_eq!(url, format!("http://{}\n", first.private));
}

#[test]
fn a_public_port_in_use_is_reported() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = refused(
        &Site::new(),
        &["--listen", &address, "--admin-listen", "127.0.0.1:0"],
    );
    assert_snapshot!(outcome.replace(&address, "[ADDRESS]"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot listen on `[ADDRESS]`: address already in use
    hint: stop the other process, or choose another address with `FIRMAN_LISTEN` (public) or `FIRMAN_ADMIN_LISTEN` (private)
    ");
}

#[test]
fn a_private_port_in_use_is_reported() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let outcome = refused(
        &Site::new(),
        &["--listen", "127.0.0.1:0", "--admin-listen", &address],
    );
    assert_snapshot!(outcome.replace(&address, "[ADDRESS]"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot listen on `[ADDRESS]`: address already in use
    hint: stop the other process, or choose another address with `FIRMAN_LISTEN` (public) or `FIRMAN_ADMIN_LISTEN` (private)
    ");
}

/// An address without a listener: bound once, so that it was free, and released again.
fn no_listener() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
}

#[test]
fn an_unreachable_postgresql_is_reported_without_the_password() {
    let address = no_listener();
    let url = format!("postgres://firman:hunter2@{address}/firman");
    let site = Site::new().with("FIRMAN_DATABASE_URL", &url);
    assert_snapshot!(refused(&site, &[]).replace(&address.to_string(), "[ADDRESS]"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot use the PostgreSQL database `firman` at `[ADDRESS]`: connection refused
    hint: check that the server runs, and that `FIRMAN_DATABASE_URL` names it, a user and a database that exist
    ");
}

#[test]
fn an_absent_postgresql_database_is_reported() {
    let server = postgres_server();
    let (base, _) = server.rsplit_once('/').unwrap();
    let site = Site::new().with("FIRMAN_DATABASE_URL", &format!("{base}/absent"));
    let address = base.rsplit_once('@').unwrap().1;
    assert_snapshot!(refused(&site, &[]).replace(address, "[ADDRESS]"), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot use the PostgreSQL database `absent` at `[ADDRESS]`: database "absent" does not exist
    hint: check that the server runs, and that `FIRMAN_DATABASE_URL` names it, a user and a database that exist
    "#);
}

#[test]
fn a_wrong_postgresql_password_is_reported_without_it() {
    // The server for tests accepts any password; this one accepts none.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            refuse_password(stream.unwrap());
        }
    });
    let url = format!("postgres://firman:hunter2@{address}/firman");
    let site = Site::new().with("FIRMAN_DATABASE_URL", &url);
    assert_snapshot!(refused(&site, &[]).replace(&address.to_string(), "[ADDRESS]"), @r#"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot use the PostgreSQL database `firman` at `[ADDRESS]`: password authentication failed for user "firman"
    hint: check that the server runs, and that `FIRMAN_DATABASE_URL` names it, a user and a database that exist
    "#);
}

/// PostgreSQL's protocol as far as it goes when a password is wrong: no TLS, then an error.
fn refuse_password(mut stream: TcpStream) {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];
    let mut message = [0; 1024];
    let read = stream.read(&mut message).unwrap();
    if message[..read] == SSL_REQUEST {
        stream.write_all(b"N").unwrap();
        assert_ne!(stream.read(&mut message).unwrap(), 0);
    }
    let fields = b"SFATAL\0VFATAL\0C28P01\0Mpassword authentication failed for user \"firman\"\0\0";
    let length = u32::try_from(fields.len() + 4).unwrap().to_be_bytes();
    stream
        .write_all(&[b"E".as_slice(), &length, fields].concat())
        .unwrap();
}

#[test]
fn fa_006_a_read_only_data_directory_is_reported() {
    let site = Site::new();
    std::fs::create_dir(site.path("data")).unwrap();
    assert_snapshot!(refused_to_write(&site), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot use the database file `data/firman.db`: permission denied
    hint: allow firman to write to that file and to its directory
    ");
}

#[test]
fn fa_006_a_database_in_a_read_only_directory_is_reported() {
    let site = stopped(Site::new());
    assert_snapshot!(refused_to_write(&site), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot use the database file `data/firman.db`: permission denied
    hint: allow firman to write to that file and to its directory
    ");
}

#[test]
fn a_working_directory_where_no_data_directory_can_be_made_is_reported() {
    assert_snapshot!(refused_to_write(&Site::new()), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot create `data`: permission denied
    ");
}

/// Starts it as a user who may read everything in the site and write nothing.
fn refused_to_write(site: &Site) -> String {
    let is_root = site.dir.path().metadata().unwrap().uid() == 0;
    let program = site.path("firman");
    // By another process: a descriptor that is open for writing here could be inherited by what another test
    // starts at that moment, and a file that is being written cannot be run.
    let copied = Command::new("cp")
        .arg(super::program())
        .arg(&program)
        .status();
    assert!(copied.unwrap().success());
    let mut command = site.command(&program, &SERVE_ON_FREE_PORTS);
    if is_root {
        command.uid(NOBODY).gid(NOBODY);
    }
    set_modes(site.dir.path(), (0o555, 0o444));
    set_permissions(&program, Permissions::from_mode(0o555)).unwrap();
    let outcome = site.outcome(command);
    // So that it can be deleted.
    set_modes(site.dir.path(), (0o755, 0o644));
    redacted(site, &outcome)
}

fn set_modes(directory: &Path, modes: (u32, u32)) {
    let (for_directories, for_files) = modes;
    set_permissions(directory, Permissions::from_mode(0o755)).unwrap();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            set_modes(&path, modes);
        } else {
            set_permissions(&path, Permissions::from_mode(for_files)).unwrap();
        }
    }
    set_permissions(directory, Permissions::from_mode(for_directories)).unwrap();
}

#[test]
fn a_file_that_is_not_a_database_is_reported_and_left_as_it_is() {
    let site = Site::new();
    let content = "Dear diary, ".repeat(1000);
    site.write("data/firman.db", &content);
    assert_snapshot!(refused(&site, &[]), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot use the database file `data/firman.db`: file is not a database
    hint: name another database with `FIRMAN_DATABASE_URL`, or restore a backup
    ");
    let left = std::fs::read_to_string(site.path("data/firman.db")).unwrap();
    assert_eq!(left, content);
}

#[test]
fn a_database_url_of_an_unknown_kind_is_reported_without_its_password() {
    let site = Site::new().with(
        "FIRMAN_DATABASE_URL",
        "mysql://firman:hunter2@localhost/firman",
    );
    assert_snapshot!(refused(&site, &[]), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: environment variable `FIRMAN_DATABASE_URL`: `database.url` is neither a SQLite nor a PostgreSQL URL
    hint: use a URL like `sqlite:data/firman.db` or `postgres://user:password@host/database`
    ");
}

#[test]
fn another_url_for_an_issuer_that_others_trust_is_refused() {
    let site = stopped(Site::new().with("FIRMAN_ISSUER_URL", ISSUER));
    let site = site.with("FIRMAN_ISSUER_URL", "https://login.example.com");
    assert_snapshot!(refused(&site, &[]), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the database belongs to the issuer `https://id.example.com`, not to the configured `https://login.example.com`
    hint: start with `FIRMAN_ISSUER_URL=https://id.example.com`, or use another database
    ");
    stopped(site.with("FIRMAN_ISSUER_URL", ISSUER));
}

fn tamper(connection: impl Future<Output = Result<(), sqlx::Error>>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(connection).unwrap();
}

#[test]
fn fa_029_a_newer_schema_is_refused_on_sqlite() {
    let site = stopped(Site::new());
    tamper(async {
        let url = format!("sqlite:{}", site.path("data/firman.db").display());
        let mut connection = SqliteConnection::connect(&url).await?;
        sqlx::raw_sql(NEWER).execute(&mut connection).await?;
        connection.close().await
    });
    assert_snapshot!(refused(&site, &[]), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the database belongs to a newer version of firman
    hint: start that version, or restore a backup from before the upgrade
    ");
}

#[test]
fn fa_029_a_newer_schema_is_refused_on_postgresql() {
    let site = stopped(Site::on_postgres());
    tamper(async {
        let mut connection = PgConnection::connect(&site.variables["FIRMAN_DATABASE_URL"]).await?;
        sqlx::raw_sql(NEWER).execute(&mut connection).await?;
        connection.close().await
    });
    assert_snapshot!(refused(&site, &[]), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: the database belongs to a newer version of firman
    hint: start that version, or restore a backup from before the upgrade
    ");
}

#[test]
fn a_first_start_that_cannot_be_recorded_leaves_no_token_and_keeps_the_one_that_was_there() {
    let site = stopped(Site::new());
    let first = std::fs::read_to_string(site.path("data/admin-token")).unwrap();
    let on_database = |sql: &'static str| {
        tamper(async {
            let url = format!("sqlite:{}", site.path("data/firman.db").display());
            let mut connection = SqliteConnection::connect(&url).await?;
            sqlx::raw_sql(sql).execute(&mut connection).await?;
            connection.close().await
        });
    };
    on_database(
        "DELETE FROM administrators; \
         CREATE TRIGGER no_entry BEFORE INSERT ON audit WHEN NEW.event = 'administrator.created' \
         BEGIN SELECT RAISE(ABORT, 'no entry'); END",
    );
    for _ in 0..2 {
        assert_eq!(site.run(&SERVE_ON_FREE_PORTS).code, Some(1));
        assert!(!site.path("data/admin-token").exists());
    }
    let kept: Vec<_> = std::fs::read_dir(site.path("data"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.display().to_string().contains("admin-token"))
        .collect();
    assert_eq!(kept.len(), 1, "{kept:?}");
    assert_eq!(std::fs::read_to_string(&kept[0]).unwrap(), first);

    on_database("DROP TRIGGER no_entry");
    let site = stopped(site);
    let second = std::fs::read_to_string(site.path("data/admin-token")).unwrap();
    assert_ne!(second, first);
}
