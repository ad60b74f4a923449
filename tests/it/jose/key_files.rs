//! Key files as `openssl` and `ssh-keygen` make them: accepted, or refused with the command that converts
//! exactly that, which is run here.

use std::path::Path;
use std::process::Command;

use firman::jose::{PublicJwk, SigningKey};
use tempfile::TempDir;

use crate::process::faults::disk::skipped;

/// A directory with keys of every kind, each in a file of its kind's name.
struct Keys(TempDir);

impl Keys {
    /// `None`, counted as skipped, where a tool is missing.
    fn make(test: &str) -> Option<Self> {
        for tool in ["openssl", "ssh-keygen"] {
            if Command::new(tool).arg("--help").output().is_err() {
                skipped(test, &format!("there is no `{tool}`"));
                return None;
            }
        }
        let keys = Self(tempfile::tempdir().unwrap());
        keys.sh(
            "openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out p256
             openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-384 -out p384
             openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out rsa
             openssl genpkey -quiet -algorithm ed25519 -out ed25519",
        );
        Some(keys)
    }

    fn sh(&self, script: &str) -> String {
        let output = Command::new("sh")
            .args(["-ec", script])
            .current_dir(self.0.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{script}: {said}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn read(&self, file: &str) -> Vec<u8> {
        std::fs::read(self.0.path().join(file)).unwrap()
    }

    fn private(&self, file: &str) -> Result<String, String> {
        SigningKey::from_file_content(None, &self.read(file))
            .map(|key| key.public_jwk().thumbprint().to_owned())
            .map_err(|error| format!("{error}\nhint: {}", error.hint().unwrap_or_default()))
    }

    fn public(&self, file: &str) -> Result<String, String> {
        PublicJwk::from_file_content(&self.read(file))
            .map(|key| key.thumbprint().to_owned())
            .map_err(|error| format!("{error}\nhint: {}", error.hint().unwrap_or_default()))
    }

    /// Runs the command between backticks in a refusal's hint on `file`.
    fn follow(&self, refusal: &str, file: &str) -> String {
        let (_, hint) = refusal.split_once("\nhint: ").expect("a hint");
        let command = hint.split('`').nth(1).expect("a command");
        self.sh(&command.replace("FILE", file))
    }

    fn write(&self, file: &str, content: &str) {
        std::fs::write(Path::new(self.0.path()).join(file), content).unwrap();
    }
}

#[test]
fn a_public_key_is_read_from_every_format_that_the_tools_write() {
    let Some(keys) = Keys::make("a_public_key_is_read_from_every_format_that_the_tools_write")
    else {
        return;
    };
    for kind in ["p256", "p384", "rsa", "ed25519"] {
        let expected = keys.private(kind);
        assert!(expected.is_ok(), "{kind}: {expected:?}");
        keys.sh(&format!("openssl pkey -in {kind} -pubout -out {kind}.pub"));
        assert_eq!(keys.public(&format!("{kind}.pub")), expected, "{kind}");
    }
    keys.sh("openssl rsa -in rsa -RSAPublicKey_out -out rsa.pkcs1");
    assert_eq!(keys.public("rsa.pkcs1"), keys.private("rsa"));
    for (name, options) in [
        ("ssh-ed25519", "-t ed25519"),
        ("ssh-p256", "-t ecdsa -b 256"),
        ("ssh-p384", "-t ecdsa -b 384"),
        ("ssh-rsa", "-t rsa -b 2048"),
    ] {
        keys.sh(&format!(
            "ssh-keygen -q {options} -N '' -C 'the mailer' -f {name}"
        ));
        let public = keys.public(&format!("{name}.pub"));
        assert!(public.is_ok(), "{name}: {public:?}");
        if name != "ssh-rsa" {
            assert_eq!(public, keys.private(name), "{name}");
        }
        keys.sh(&format!("ssh-keygen -e -f {name}.pub >{name}.rfc4716"));
        let refusal = keys.public(&format!("{name}.rfc4716")).unwrap_err();
        let converted = keys.follow(&refusal, &format!("{name}.rfc4716"));
        keys.write("converted", &converted);
        assert_eq!(keys.public("converted"), public);
    }
}

#[test]
fn a_certificate_is_refused_with_the_command_that_prints_its_key() {
    let Some(keys) = Keys::make("a_certificate_is_refused_with_the_command_that_prints_its_key")
    else {
        return;
    };
    keys.sh("openssl req -x509 -key p256 -subj /CN=mailer -days 1 -out certificate");
    let refusal = keys.public("certificate").unwrap_err();
    assert_eq!(
        refusal,
        "the text contains a certificate, not a public key\nhint: run `openssl x509 -pubkey -noout -in FILE` to print its public key"
    );
    let converted = keys.follow(&refusal, "certificate");
    keys.write("converted", &converted);
    assert_eq!(keys.public("converted"), keys.private("p256"));
}

#[test]
fn a_request_and_keys_in_der_are_refused_with_the_command_for_each() {
    let test = "a_request_and_keys_in_der_are_refused_with_the_command_for_each";
    let Some(keys) = Keys::make(test) else {
        return;
    };
    for kind in ["p256", "rsa"] {
        keys.sh(&format!(
            "openssl req -new -key {kind} -subj /CN=mailer -out request
             openssl pkey -in {kind} -pubout -outform DER -out public.der
             openssl pkey -in {kind} -outform DER -out private.der
             openssl req -x509 -key {kind} -subj /CN=mailer -days 1 -outform DER -out certificate.der"
        ));
        for file in ["request", "public.der", "private.der", "certificate.der"] {
            let refusal = keys.public(file).unwrap_err();
            let converted = keys.follow(&refusal, file);
            keys.write("converted", &converted);
            assert_eq!(keys.public("converted"), keys.private(kind), "{file}");
        }
        let refusal = keys.private("private.der").unwrap_err();
        keys.follow(&refusal, "private.der");
        assert_eq!(keys.private("private.der.pem"), keys.private(kind));
    }
}

#[test]
fn a_private_key_is_read_from_older_formats_too() {
    let Some(keys) = Keys::make("a_private_key_is_read_from_older_formats_too") else {
        return;
    };
    for (kind, command) in [("rsa", "rsa"), ("p256", "ec"), ("p384", "ec")] {
        keys.sh(&format!(
            "openssl pkey -in {kind} -traditional -out {kind}.old"
        ));
        assert!(
            keys.sh(&format!("cat {kind}.old"))
                .contains(&format!("BEGIN {} PRIVATE KEY", command.to_uppercase()))
        );
        assert_eq!(keys.private(&format!("{kind}.old")), keys.private(kind));
    }
    keys.sh("openssl ecparam -name prime256v1 -genkey -out with-parameters");
    assert!(keys.private("with-parameters").is_ok());
}

#[test]
fn a_private_key_that_cannot_be_read_is_refused_with_the_command_that_converts_it() {
    let test = "a_private_key_that_cannot_be_read_is_refused_with_the_command_that_converts_it";
    let Some(keys) = Keys::make(test) else {
        return;
    };
    keys.sh(
        "openssl pkcs8 -topk8 -in p256 -passout pass:x -out encrypted
         openssl ec -in p256 -aes256 -passout pass:x -out old-encrypted
         ssh-keygen -q -t rsa -b 2048 -N '' -f ssh-rsa
         ssh-keygen -q -t ed25519 -N phrase -f ssh-encrypted",
    );
    for file in ["encrypted", "old-encrypted"] {
        let refusal = keys.private(file).unwrap_err();
        keys.follow(
            &refusal.replace("pkey -in", "pkey -passin pass:x -in"),
            file,
        );
        assert_eq!(keys.private(&format!("{file}.plain")), keys.private("p256"));
    }
    let refusal = keys.private("ssh-rsa").unwrap_err();
    keys.follow(&refusal, "ssh-rsa");
    assert_eq!(keys.private("ssh-rsa"), keys.public("ssh-rsa.pub"));
    let refusal = keys.private("ssh-encrypted").unwrap_err();
    keys.follow(
        &refusal.replace("-p -N", "-p -P phrase -N"),
        "ssh-encrypted",
    );
    assert_eq!(
        keys.private("ssh-encrypted"),
        keys.public("ssh-encrypted.pub")
    );
}

#[test]
fn a_key_is_read_whatever_its_way_left_around_it() {
    let Some(keys) = Keys::make("a_key_is_read_whatever_its_way_left_around_it") else {
        return;
    };
    let expected = keys.private("p256");
    let text = keys.sh("cat p256");
    let utf16: Vec<u8> = [0xFEFF]
        .into_iter()
        .chain(text.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    std::fs::write(keys.0.path().join("utf16"), utf16).unwrap();
    assert_eq!(keys.private("utf16"), expected);
    for changed in [
        format!("\u{feff}{}", text.replace('\n', "\r\n")),
        format!("  {}\n\n", text.replace('\n', "  \n  ")),
        format!("'{text}'\n"),
        format!("\"{}\"", text.replace('\n', r"\n")),
        text.replace('\n', r"\n"),
        text.replace('\n', " "),
    ] {
        keys.write("changed", &changed);
        assert_eq!(keys.private("changed"), expected, "{changed}");
    }
    let jwk = SigningKey::generate(firman::jose::SigningAlgorithm::Es256).unwrap();
    let jwk = jwk.public_jwk();
    keys.write("set", &format!("{{\"keys\":[{}]}}", jwk.to_value()));
    assert_eq!(keys.public("set"), Ok(jwk.thumbprint().to_owned()));
}
