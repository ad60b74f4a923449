//! `firman config check`: what `firman serve` would find, without starting it and without changing anything.

use std::collections::BTreeMap;

use firman::jose::digest::base64url;
use insta::assert_snapshot;

use super::*;

const CHECK: [&str; 6] = [
    "config",
    "check",
    "--listen",
    FREE_PORT,
    "--admin-listen",
    FREE_PORT,
];

/// Checks, and makes sure that nothing was changed or made.
fn checked(site: &Site, further: &[&str]) -> String {
    let before = files(site.dir.path());
    let outcome = site.run(&[&CHECK, further].concat());
    let after = files(site.dir.path());
    let changed: Vec<&PathBuf> = before
        .keys()
        .chain(after.keys())
        .filter(|path| before.get(*path) != after.get(*path))
        .collect();
    assert!(changed.is_empty(), "it changed {changed:?}");
    outcome
        .to_string()
        .replace(&site.dir.path().display().to_string(), "[DIR]")
}

/// Every file below a directory, with its content; but for the index of a write-ahead log, in which SQLite
/// notes each reader.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with("-shm") {
            continue;
        }
        if path.is_dir() {
            found.insert(path.clone(), Vec::new());
            found.extend(files(&path));
        } else {
            found.insert(path.clone(), std::fs::read(&path).unwrap());
        }
    }
    found
}

fn stopped() -> Site {
    let site = Site::new();
    assert_eq!(site.start().stop().code, Some(0));
    site
}

/// The line about `what`.
fn line(outcome: &str, what: &str) -> String {
    let line = outcome.lines().find(|line| line.contains(what));
    let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
    words.join(" ")
}

#[test]
fn an_empty_directory_is_good_and_stays_empty() {
    let site = Site::new();
    assert_snapshot!(checked(&site, &[]), @r"
    exit code 0
    ----- stdout
    RESULT  CHECK               DETAIL
    ok      configuration       every setting is valid
    ok      public listener     `127.0.0.1:0` is free
    ok      private listener    `127.0.0.1:0` is free
    ok      data directory      `data` does not exist; the first start creates it
    ok      database            the database file `data/firman.db` does not exist; the first start creates it
    ok      key-encryption key  `keys/kek` does not exist; the first start creates it
    ok      admin token         `data/admin-token` does not exist; the first start creates it
    ----- stderr
    The configuration is valid.
    ");
}

#[test]
fn a_stopped_issuer_is_good() {
    let site = stopped();
    assert_snapshot!(checked(&site, &[]), @r"
    exit code 0
    ----- stdout
    RESULT  CHECK               DETAIL
    ok      configuration       every setting is valid
    ok      public listener     `127.0.0.1:0` is free
    ok      private listener    `127.0.0.1:0` is free
    ok      data directory      `data` is writable
    ok      database            the database file `data/firman.db` is up to date
    ok      issuer              http://127.0.0.1:0
    ok      key-encryption key  `keys/kek` decrypts what is sealed in the database
    ok      admin token         `data/admin-token` is readable by its owner only
    ----- stderr
    The configuration is valid.
    ");
}

#[test]
fn a_running_issuer_is_not_a_fault() {
    let site = Site::new();
    let server = site.start();
    let (public, private) = (server.public.to_string(), server.private.to_string());
    let listen = [
        "--listen",
        &public,
        "--admin-listen",
        &private,
        "-o",
        "json",
    ];
    let outcome = site.run(&[&["config", "check"], &listen[..]].concat());
    assert_eq!(outcome.code, Some(0), "{outcome}");
    let told = outcome.json();
    assert_eq!(told["ok"], true, "{told}");
    let results: Vec<&str> = told["checks"]
        .as_array()
        .unwrap()
        .iter()
        .map(|check| check["result"].as_str().unwrap())
        .collect();
    assert_eq!(
        results,
        ["ok", "warning", "warning", "ok", "ok", "ok", "ok", "ok"],
        "{told}"
    );
}

#[test]
fn an_address_that_a_start_cannot_have_fails() {
    let site = Site::new().with("FIRMAN_ISSUER_URL", "https://id.example.com");
    let taken = std::net::TcpListener::bind(FREE_PORT).unwrap();
    let foreign = taken.local_addr().unwrap().to_string();
    let check = |public: &str, private: &str| {
        let listen = ["--listen", public, "--admin-listen", private];
        let outcome = site.run(&[&["config", "check"], &listen[..]].concat());
        assert_eq!(outcome.code, Some(1), "{outcome}");
        outcome.to_string().replace(&foreign, "[ADDRESS]")
    };
    let told = check(&foreign, FREE_PORT);
    assert_eq!(
        line(&told, "public listener"),
        "failed public listener another program uses `[ADDRESS]`"
    );
    let told = check(FREE_PORT, &foreign);
    assert!(
        line(&told, "private listener").starts_with("failed private listener"),
        "{told}"
    );
    drop(taken);
    let told = check(&foreign, &foreign);
    assert_eq!(
        line(&told, "private listener"),
        "failed private listener `[ADDRESS]` is also the address of the public listener"
    );
    assert_eq!(
        line(&told, "--admin-listen"),
        "hint: choose another address with `--admin-listen` or `FIRMAN_ADMIN_LISTEN`"
    );
    let every = foreign.replace("127.0.0.1", "0.0.0.0");
    let told = check(&every, &foreign);
    assert!(
        line(&told, "private listener").starts_with("failed private listener"),
        "{told}"
    );
}

#[test]
fn a_wrong_missing_or_readable_key_encryption_key_fails() {
    let site = stopped();
    let right = std::fs::read(site.path("keys/kek")).unwrap();
    site.write("keys/kek", base64url(&[7; 32]));
    let outcome = checked(&site, &[]);
    assert!(outcome.starts_with("exit code 1\n"), "{outcome}");
    assert_eq!(
        line(&outcome, "key-encryption key"),
        "failed key-encryption key cannot decrypt pepper: the key-encryption key is not the one it was sealed with, or the database was changed"
    );
    assert_eq!(
        line(&outcome, "hint"),
        "hint: restore the key that belongs to this database"
    );
    assert!(!outcome.contains("is good"), "{outcome}");
    std::fs::remove_file(site.path("keys/kek")).unwrap();
    let outcome = checked(&site, &[]);
    assert!(
        line(&outcome, "key-encryption key").starts_with(
            "failed key-encryption key the key-encryption key `keys/kek` does not exist"
        ),
        "{outcome}"
    );
    site.write("keys/kek", right);
    set_mode(&site.path("keys/kek"), 0o644);
    set_mode(&site.path("data/admin-token"), 0o640);
    let outcome = checked(&site, &[]);
    assert_eq!(
        line(&outcome, "key-encryption key"),
        "failed key-encryption key cannot use the key-encryption key: other users can access `keys/kek` (mode 0644)"
    );
    assert_eq!(
        line(&outcome, "600 keys/kek"),
        "hint: run `chmod 600 keys/kek`"
    );
    assert_eq!(
        line(&outcome, "admin token"),
        "failed admin token other users can access `data/admin-token` (mode 0640)"
    );
}

#[test]
fn a_database_that_cannot_be_used_fails() {
    let site = Site::new();
    site.write(
        "data/firman.db",
        "this is not a database, whatever its name says",
    );
    let outcome = checked(&site, &[]);
    assert!(outcome.starts_with("exit code 1\n"), "{outcome}");
    assert!(
        line(&outcome, "database ").contains("file is not a database"),
        "{outcome}"
    );
    let outcome = checked(
        &Site::new(),
        &[
            "--database-url",
            "postgres://firman:secret@127.0.0.1:9/firman",
        ],
    );
    let told = line(&outcome, "database ");
    assert!(
        told.starts_with(
            "failed database cannot use the PostgreSQL database `firman` at `127.0.0.1:9`: "
        ),
        "{outcome}"
    );
    assert!(!outcome.contains("secret"), "{outcome}");
}

#[test]
fn another_issuers_database_fails() {
    let site = stopped();
    let outcome = checked(&site, &["--issuer-url", "https://id.example.com"]);
    assert!(
        line(&outcome, "issuer ")
            .starts_with("failed issuer the database belongs to the issuer `http://127.0.0.1:"),
        "{outcome}"
    );
}

#[test]
fn an_address_of_another_machine_fails() {
    let site = Site::new();
    let args = [
        "config",
        "check",
        "--listen",
        FREE_PORT,
        "--admin-listen",
        "192.0.2.1:8081",
    ];
    let outcome = site.run(&args).to_string();
    assert!(
        line(&outcome, "private listener")
            .starts_with("failed private listener cannot listen on `192.0.2.1:8081`: "),
        "{outcome}"
    );
}

#[test]
fn a_database_on_postgresql_is_read_and_not_migrated() {
    let site = Site::on_postgres();
    assert_eq!(site.start().stop().code, Some(0));
    let outcome = checked(&site, &[]);
    assert!(
        line(&outcome, "database ").ends_with("is up to date"),
        "{outcome}"
    );
    assert!(
        line(&outcome, "key-encryption key").ends_with("decrypts what is sealed in the database"),
        "{outcome}"
    );
}
