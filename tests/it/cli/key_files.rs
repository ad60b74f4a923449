//! Files with keys and secrets as people have them: what surrounds the text does not matter, what cannot be
//! used is refused before anything is sent, and what other users may read is not read.

use firman::jose::{SigningAlgorithm, SigningKey};
use insta::assert_snapshot;

use super::live::Live;
use super::{SECRET, Shell};
use crate::process::{Site, set_mode};

const ASK: &str = "token get --issuer http://127.0.0.1:9 --client-id mailer";

#[test]
fn a_secret_is_read_whatever_its_way_left_around_it() {
    let live = Live::with_mail();
    let made = live.json("agent add mailer --owner ops --role reader --secret");
    let secret = made["client_secret"].as_str().unwrap();
    let utf16: Vec<u8> = [0xFEFF]
        .into_iter()
        .chain(secret.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let contents = [
        format!("\u{feff}{secret}\r\n").into_bytes(),
        format!("  \"{secret}\"  \n").into_bytes(),
        format!("'{secret}'").into_bytes(),
        format!("{secret}\\n\n").into_bytes(),
        utf16,
    ];
    for content in contents {
        live.site.write("secret", &content);
        let line = format!(
            "token get --issuer {} --client-id mailer --secret-file secret",
            live.issuer()
        );
        assert!(live.run(&line).contains("[JWT]"), "{content:?}");
    }
}

#[test]
fn a_secret_that_cannot_be_one_is_refused_before_anything_is_sent() {
    let shell = Shell::new();
    for (content, told) in [
        (
            "hunter2",
            "is not a client secret of firman, which begins with `fmn_`",
        ),
        (
            "fma_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8",
            "is not a client secret of firman, which begins with `fmn_`",
        ),
        (
            &SECRET[..50],
            "has 50 characters; a client secret has 53, so it was cut off or something was added",
        ),
        (
            &SECRET.replace("AAEC", "AAEc"),
            "has a client secret whose checksum does not match: at least one character of it was changed",
        ),
    ] {
        shell.write("secret", content);
        assert_eq!(
            shell.run(&format!("{ASK} --secret-file secret")),
            format!("exit code 1\n----- stdout\n----- stderr\nerror: `secret` {told}\n")
        );
    }
}

#[test]
fn a_private_key_offered_as_a_public_one_is_answered_with_the_command_for_its_public_half() {
    let live = Live::with_mail();
    let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
    live.site
        .write("my key", key.to_pkcs8_pem().unwrap().as_bytes());
    let add = "agent add mailer --owner ops --public-key";
    assert_snapshot!(live.run(&format!("{add} 'my key'")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot use `my key`: it is a private key and was not sent
    hint: register the public key, which `openssl pkey -in 'my key' -pubout` prints
    ");
    live.site.write(
        "id",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n-----END OPENSSH PRIVATE KEY-----\n",
    );
    assert_snapshot!(live.run(&format!("{add} id")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot use `id`: it is a private key and was not sent
    hint: register the public key, which `ssh-keygen -y -f id` prints
    ");
    let mut jwk = key.public_jwk().to_value();
    jwk["d"] = "AAAA".into();
    live.site.write("key.jwk", format!("{{\"keys\":[{jwk}]}}"));
    assert_snapshot!(live.run(&format!("{add} key.jwk")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot use `key.jwk`: it is a private key and was not sent
    hint: register the public key, which `jq 'del(.d,.p,.q,.dp,.dq,.qi,.key_ops)' key.jwk` prints
    ");
    live.site.write(
        "cert.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    assert_snapshot!(live.run(&format!("{add} cert.pem")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot use `cert.pem`: the text contains a certificate, not a public key
    hint: run `openssl x509 -pubkey -noout -in cert.pem` to print its public key
    ");
}

#[test]
fn an_agents_key_and_secret_that_others_may_read_are_not_used() {
    let shell = Shell::new();
    let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
    shell.write("mailer key.pem", &key.to_pkcs8_pem().unwrap());
    shell.write("secret", SECRET);
    set_mode(&shell.path("mailer key.pem"), 0o644);
    set_mode(&shell.path("secret"), 0o640);
    assert_snapshot!(shell.run(&format!("{ASK} --key 'mailer key.pem'")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: other users can access `mailer key.pem` (mode 0644)
    hint: run `chmod 600 'mailer key.pem'`
    ");
    assert_snapshot!(shell.run(&format!("{ASK} --secret-file secret")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: other users can access `secret` (mode 0640)
    hint: run `chmod 600 secret`
    ");
    set_mode(&shell.path("secret"), 0o400);
    assert_snapshot!(shell.run(&format!("{ASK} --secret-file secret")), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot reach `http://127.0.0.1:9/.well-known/openid-configuration` (connection refused)
    hint: check `--issuer`, and that the issuer runs
    ");
}

#[test]
fn a_token_of_a_platform_may_be_read_by_others() {
    let shell = Shell::new();
    // {"alg":"RS256"} with {"sub":"repo:a/b:ref:x"}
    shell.write(
        "jwt",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZXBvOmEvYjpyZWY6eCJ9.AA",
    );
    set_mode(&shell.path("jwt"), 0o644);
    let said = shell.run(&format!("{ASK} --assertion-file jwt"));
    assert!(said.contains("cannot reach `http://127.0.0.1:9/"), "{said}");
}

#[test]
fn an_admin_token_that_others_may_read_is_not_used() {
    let shell = Shell::new().with("FIRMAN_ADMIN_TOKEN_FILE", "token");
    shell.write("token", "fma_x");
    set_mode(&shell.path("token"), 0o644);
    assert_snapshot!(shell.run("agent list"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: environment variable `FIRMAN_ADMIN_TOKEN_FILE`: other users can access `token` (mode 0644)
    hint: run `chmod 600 token`
    ");
    let shell = Shell::new();
    std::fs::create_dir(shell.path("data")).unwrap();
    shell.write("data/admin-token", "fma_x");
    set_mode(&shell.path("data/admin-token"), 0o604);
    assert_snapshot!(shell.run("agent list"), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: other users can access `data/admin-token` (mode 0604)
    hint: run `chmod 600 data/admin-token`
    ");
}

#[test]
fn a_key_encryption_key_or_database_url_that_others_may_read_stops_the_start() {
    let site = Site::new();
    site.start().stop();
    set_mode(&site.path("keys/kek"), 0o644);
    let serve = [
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    assert_snapshot!(site.run(&serve), @r"
    exit code 1
    ----- stdout
    ----- stderr
    error: cannot use the key-encryption key: other users can access `keys/kek` (mode 0644)
    hint: run `chmod 600 keys/kek`
    ");
    set_mode(&site.path("keys/kek"), 0o600);
    for (variable, file) in [
        ("FIRMAN_KEK_FILE", "keys/kek"),
        ("FIRMAN_DATABASE_URL_FILE", "url"),
    ] {
        let site = Site::new().with(variable, file);
        site.write(file, "x");
        set_mode(&site.path(file), 0o660);
        assert_eq!(
            site.run(&serve).to_string(),
            format!(
                "exit code 1\n----- stdout\n----- stderr\nerror: environment variable `{variable}`: other users can access `{file}` (mode 0660)\nhint: run `chmod 600 {file}`\n"
            )
        );
    }
}

#[test]
fn a_key_encryption_key_is_read_whatever_its_way_left_around_it() {
    let site = Site::new();
    site.start().stop();
    let kek = std::fs::read_to_string(site.path("keys/kek")).unwrap();
    site.write("keys/kek", format!("\u{feff}\"{}\"\r\n", kek.trim()));
    site.start().stop();
    let site = site.with("FIRMAN_KEK", &format!("'{}'", kek.trim()));
    std::fs::remove_file(site.path("keys/kek")).unwrap();
    site.start().stop();
}
