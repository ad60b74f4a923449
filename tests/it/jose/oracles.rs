//! A second implementation must verify what we sign, be verified by us, and agree on the numbers of the
//! public key, its thumbprint and the file formats: RustCrypto's `p256` and `rsa`.

use std::collections::BTreeMap;

use firman::jose::digest::{base64url, decode_base64url};
use firman::jose::{KeyType, PublicJwk, SigningAlgorithm, SigningKey, UnverifiedJws};
use p256::pkcs8::{EncodePrivateKey as _, LineEnding};
use rsa::pkcs1::EncodeRsaPrivateKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePublicKey as _};
use rsa::sha2::{Digest as _, Sha256};
use rsa::signature::{SignatureEncoding as _, Signer as _, Verifier as _};
use rsa::traits::{PrivateKeyParts as _, PublicKeyParts as _};
use rsa::{RsaPrivateKey, RsaPublicKey, pkcs1v15, pss};
use serde_json::{Value, json};

const CLAIMS: &[u8] = br#"{"iss":"https://id.example","sub":"agent:a"}"#;

#[test]
fn p256_verifies_what_we_sign_with_es256_and_we_verify_what_it_signs() {
    let ours = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
    let theirs = p256::ecdsa::SigningKey::from_pkcs8_der(&ours.to_pkcs8_der().unwrap()).unwrap();

    let token = ours.sign_compact("JWT", CLAIMS).unwrap();
    let (message, signature) = split(&token);
    let signature = p256::ecdsa::Signature::from_slice(&signature).unwrap();
    theirs.verifying_key().verify(message, &signature).unwrap();

    let signature: p256::ecdsa::Signature = theirs.sign(message);
    assert_verified(message, &signature.to_bytes(), ours.public_jwk());
}

#[test]
fn p256_refuses_our_signature_over_another_message() {
    let ours = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
    let theirs = p256::ecdsa::SigningKey::from_pkcs8_der(&ours.to_pkcs8_der().unwrap()).unwrap();
    let signature = ours.sign(b"one").unwrap();
    let signature = p256::ecdsa::Signature::from_slice(&signature).unwrap();
    assert!(theirs.verifying_key().verify(b"two", &signature).is_err());
}

#[test]
fn p256_agrees_on_the_public_key_its_thumbprint_and_its_files() {
    let ours = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
    let theirs = p256::SecretKey::from_pkcs8_pem(&ours.to_pkcs8_pem().unwrap()).unwrap();

    let point = theirs.public_key().to_sec1_bytes();
    let public = ours.public_jwk();
    assert_eq!(number(public, "x"), point[1..33]);
    assert_eq!(number(public, "y"), point[33..]);
    assert_eq!(
        public.thumbprint(),
        thumbprint_of(public, &["crv", "kty", "x", "y"])
    );

    let spki = theirs
        .public_key()
        .to_public_key_pem(LineEnding::CRLF)
        .unwrap();
    assert_same_key(&PublicJwk::from_pem(&spki).unwrap(), &ours, KeyType::P256);
    for pem in [
        theirs.to_sec1_pem(LineEnding::LF).unwrap(),
        theirs.to_pkcs8_pem(LineEnding::CRLF).unwrap(),
    ] {
        let read = SigningKey::from_file_content(None, pem.as_bytes()).unwrap();
        assert_same_key(read.public_jwk(), &ours, KeyType::P256);
    }
}

#[test]
fn rsa_verifies_what_we_sign_with_rs256_and_we_verify_what_it_signs() {
    let ours = SigningKey::generate(SigningAlgorithm::Rs256).unwrap();
    let theirs = RsaPrivateKey::from_pkcs8_der(&ours.to_pkcs8_der().unwrap()).unwrap();

    let token = ours.sign_compact("JWT", CLAIMS).unwrap();
    let (message, signature) = split(&token);
    let public = pkcs1v15::VerifyingKey::<Sha256>::new(RsaPublicKey::from(&theirs));
    let signature = pkcs1v15::Signature::try_from(signature.as_slice()).unwrap();
    public.verify(message, &signature).unwrap();
    assert!(public.verify(b"another", &signature).is_err());

    // PKCS#1 v1.5 has one signature for each message: theirs is ours.
    let again = pkcs1v15::SigningKey::<Sha256>::new(theirs).sign(message);
    assert_eq!(again.to_bytes(), signature.to_bytes());
    assert_verified(message, &again.to_bytes(), ours.public_jwk());
}

#[test]
fn rsa_verifies_what_we_sign_with_ps256_and_we_verify_what_it_signs() {
    let ours = SigningKey::generate(SigningAlgorithm::Ps256).unwrap();
    let theirs = RsaPrivateKey::from_pkcs8_der(&ours.to_pkcs8_der().unwrap()).unwrap();

    let token = ours.sign_compact("JWT", CLAIMS).unwrap();
    let (message, signature) = split(&token);
    // `new` demands a salt as long as the digest, as RFC 7518 §3.5 does.
    let public = pss::VerifyingKey::<Sha256>::new(RsaPublicKey::from(&theirs));
    let signature = pss::Signature::try_from(signature.as_slice()).unwrap();
    public.verify(message, &signature).unwrap();
    assert!(public.verify(b"another", &signature).is_err());

    let signer = pss::SigningKey::<Sha256>::new(theirs);
    let signature = signer.sign(message);
    assert_verified(message, &signature.to_bytes(), ours.public_jwk());
}

#[test]
fn rsa_agrees_on_the_public_key_its_thumbprint_and_its_files() {
    let ours = SigningKey::generate(SigningAlgorithm::Rs256).unwrap();
    let theirs = RsaPrivateKey::from_pkcs8_pem(&ours.to_pkcs8_pem().unwrap()).unwrap();

    let public = ours.public_jwk();
    assert_eq!(number(public, "n"), *theirs.n_bytes());
    assert_eq!(number(public, "e"), *theirs.e_bytes());
    assert_eq!(
        public.thumbprint(),
        thumbprint_of(public, &["e", "kty", "n"])
    );

    let spki = RsaPublicKey::from(&theirs)
        .to_public_key_pem(LineEnding::LF)
        .unwrap();
    assert_same_key(&PublicJwk::from_pem(&spki).unwrap(), &ours, KeyType::Rsa);
    let pkcs1 = theirs.to_pkcs1_pem(LineEnding::LF).unwrap();
    let read = SigningKey::from_file_content(None, pkcs1.as_bytes()).unwrap();
    assert_same_key(read.public_jwk(), &ours, KeyType::Rsa);
}

#[test]
fn a_private_rsa_jwk_with_the_numbers_of_the_oracle_is_read() {
    let ours = SigningKey::generate(SigningAlgorithm::Ps256).unwrap();
    let theirs = RsaPrivateKey::from_pkcs8_der(&ours.to_pkcs8_der().unwrap()).unwrap();
    let mut jwk = ours.public_jwk().to_value();
    let primes = theirs.primes();
    for (name, bytes) in [
        ("d", theirs.d().to_be_bytes()),
        ("p", primes[0].to_be_bytes()),
        ("q", primes[1].to_be_bytes()),
        ("dp", theirs.dp().unwrap().to_be_bytes()),
        ("dq", theirs.dq().unwrap().to_be_bytes()),
        ("qi", theirs.crt_coefficient().unwrap().to_be_bytes()),
    ] {
        jwk[name] = base64url(&bytes).into();
    }
    let read = SigningKey::from_jwk(None, jwk.to_string().as_bytes()).unwrap();
    assert_eq!(read.algorithm(), SigningAlgorithm::Ps256);
    assert_same_key(read.public_jwk(), &ours, KeyType::Rsa);

    jwk["alg"] = json!("RS256");
    let read =
        SigningKey::from_jwk(Some(SigningAlgorithm::Rs256), jwk.to_string().as_bytes()).unwrap();
    assert_eq!(read.algorithm(), SigningAlgorithm::Rs256);
}

fn split(token: &str) -> (&[u8], Vec<u8>) {
    let (message, signature) = token.rsplit_once('.').unwrap();
    (message.as_bytes(), decode_base64url(signature).unwrap())
}

fn assert_verified(message: &[u8], signature: &[u8], key: &PublicJwk) {
    let token = format!(
        "{}.{}",
        std::str::from_utf8(message).unwrap(),
        base64url(signature)
    );
    let jws = UnverifiedJws::parse(&token, 8 * 1024).unwrap();
    assert_eq!(jws.verify(key).unwrap().payload(), CLAIMS);
}

fn assert_same_key(read: &PublicJwk, ours: &SigningKey, key_type: KeyType) {
    assert_eq!((read.key_type(), read.thumbprint()), (key_type, ours.kid()));
}

fn number(key: &PublicJwk, name: &str) -> Vec<u8> {
    decode_base64url(key.to_value()[name].as_str().unwrap()).unwrap()
}

/// RFC 7638 §3, by other means: a sorted map through serde_json, and RustCrypto's SHA-256.
fn thumbprint_of(key: &PublicJwk, members: &[&str]) -> String {
    let value = key.to_value();
    let required: BTreeMap<&str, &Value> =
        members.iter().map(|name| (*name, &value[*name])).collect();
    base64url(&Sha256::digest(serde_json::to_vec(&required).unwrap()))
}
