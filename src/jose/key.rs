//! Private keys: made, read from common formats, kept parsed, used to sign, all by aws-lc-rs. Secret bytes that
//! pass through here are wiped; a key never prints itself.

use std::fmt;

use aws_lc_rs::encoding::{
    AsBigEndian as _, AsDer as _, Curve25519SeedBin, EcPrivateKeyBin, Pkcs8V1Der,
};
use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PSS_SHA256,
    RsaEncoding, RsaKeyPair,
};
use serde::Serialize;
use zeroize::Zeroizing;

use super::algorithm::{KeyType, SigningAlgorithm};
use super::digest::{base64url_length, push_base64url};
use super::jwk::PublicJwk;
use super::jwk_error::MAX_KEY_BYTES;
use super::jwk_members::KeyMeta;
use super::key_error::KeyError;
use super::pem::{self, PemError};

pub(super) enum KeyPair {
    Ecdsa(EcdsaKeyPair),
    Rsa(RsaKeyPair),
    Ed25519(Ed25519KeyPair),
}

/// A private key that signs with one algorithm, parsed once.
pub struct SigningKey {
    pair: KeyPair,
    algorithm: SigningAlgorithm,
    public: PublicJwk,
}

/// The DER structure of a private key.
#[derive(Clone, Copy)]
enum Container {
    /// PrivateKeyInfo (RFC 5208, RFC 5958).
    Pkcs8,
    /// ECPrivateKey (RFC 5915) or RSAPrivateKey (RFC 8017 appendix A.1.2).
    Traditional,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: SigningAlgorithm,
    kid: &'a str,
    typ: &'a str,
}

impl SigningKey {
    /// Makes a new key, with the crypto library's own randomness; RSA keys have 2048 bits.
    ///
    /// # Errors
    /// When the crypto library fails.
    pub fn generate(algorithm: SigningAlgorithm) -> Result<Self, KeyError> {
        let failed = |_| KeyError::Generation(algorithm);
        let pair = match KeyType::of(algorithm) {
            KeyType::P256 => KeyPair::Ecdsa(
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?,
            ),
            KeyType::P384 => KeyPair::Ecdsa(
                EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).map_err(failed)?,
            ),
            KeyType::Rsa => KeyPair::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).map_err(failed)?),
            KeyType::Ed25519 => KeyPair::Ed25519(Ed25519KeyPair::generate().map_err(failed)?),
        };
        Self::assemble(pair, algorithm, None)
    }

    /// Reads an unencrypted PKCS#8 private key, to sign with `algorithm`.
    ///
    /// # Errors
    /// When the bytes are not a key for `algorithm`, or its public half is refused.
    pub fn from_pkcs8_der(algorithm: SigningAlgorithm, der: &[u8]) -> Result<Self, KeyError> {
        Self::from_der(algorithm, der, Container::Pkcs8)
    }

    /// Reads an unencrypted private key from PEM text: `PRIVATE KEY`, and also `EC PRIVATE KEY` and
    /// `RSA PRIVATE KEY`, which older tools write, and `OPENSSH PRIVATE KEY` unless it is an RSA key. Without `algorithm`, the usual one of the key's kind
    /// (RSA: RS256).
    ///
    /// # Errors
    /// When the text does not contain such a key, or contains an encrypted one or several, or the key is
    /// refused.
    pub fn from_pkcs8_pem(
        algorithm: Option<SigningAlgorithm>,
        text: &str,
    ) -> Result<Self, KeyError> {
        if text.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLarge);
        }
        let blocks = pem::blocks(text).map_err(|error| match error {
            PemError::Content if text.contains("ENCRYPTED") => KeyError::Encrypted,
            PemError::NoBlock | PemError::Unclosed | PemError::Content => KeyError::Pem(error),
        })?;
        let mut keys = blocks
            .iter()
            .filter(|block| block.label.ends_with("PRIVATE KEY"));
        let key = keys.next().ok_or(KeyError::NoPrivateKey)?;
        if keys.next().is_some() {
            return Err(KeyError::SeveralKeys);
        }
        let container = match key.label.as_str() {
            "PRIVATE KEY" => Container::Pkcs8,
            "EC PRIVATE KEY" | "RSA PRIVATE KEY" => Container::Traditional,
            "ENCRYPTED PRIVATE KEY" => return Err(KeyError::Encrypted),
            "OPENSSH PRIVATE KEY" => return Self::from_openssh(algorithm, &key.bytes),
            _ => return Err(KeyError::Kind),
        };
        if let Some(algorithm) = algorithm {
            return Self::from_der(algorithm, &key.bytes, container);
        }
        for algorithm in [
            SigningAlgorithm::Es256,
            SigningAlgorithm::Es384,
            SigningAlgorithm::EdDsa,
            SigningAlgorithm::Rs256,
        ] {
            match Self::from_der(algorithm, &key.bytes, container) {
                Err(KeyError::Rejected(_)) => {}
                outcome => return outcome,
            }
        }
        Err(KeyError::Kind)
    }

    fn from_der(
        algorithm: SigningAlgorithm,
        der: &[u8],
        container: Container,
    ) -> Result<Self, KeyError> {
        let ecdsa = |kind: &'static EcdsaSigningAlgorithm| {
            match container {
                Container::Pkcs8 => EcdsaKeyPair::from_pkcs8(kind, der),
                Container::Traditional => EcdsaKeyPair::from_private_key_der(kind, der),
            }
            .map(KeyPair::Ecdsa)
        };
        let pair = match KeyType::of(algorithm) {
            KeyType::P256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
            KeyType::P384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
            KeyType::Rsa => match container {
                Container::Pkcs8 => RsaKeyPair::from_pkcs8(der),
                Container::Traditional => RsaKeyPair::from_der(der),
            }
            .map(KeyPair::Rsa),
            KeyType::Ed25519 => Ed25519KeyPair::from_pkcs8(der).map(KeyPair::Ed25519),
        }
        .map_err(|_: KeyRejected| KeyError::Rejected(algorithm))?;
        Self::assemble(pair, algorithm, None)
    }

    pub(super) fn assemble(
        pair: KeyPair,
        algorithm: SigningAlgorithm,
        kid: Option<String>,
    ) -> Result<Self, KeyError> {
        let meta = KeyMeta {
            kid: None,
            algorithm: Some(algorithm),
        };
        let public = match &pair {
            KeyPair::Ecdsa(pair) => {
                // SEC 1 §2.3.3, uncompressed: 4, x, y.
                let coordinates = &pair.public_key().as_ref()[1..];
                let (x, y) = coordinates.split_at(coordinates.len() / 2);
                PublicJwk::from_ec(KeyType::of(algorithm), x, y, meta)?
            }
            KeyPair::Rsa(pair) => {
                let key = pair.public_key();
                PublicJwk::from_rsa(
                    key.modulus().big_endian_without_leading_zero(),
                    key.exponent().big_endian_without_leading_zero(),
                    meta,
                )?
            }
            KeyPair::Ed25519(pair) => PublicJwk::from_ed25519(pair.public_key().as_ref(), meta)?,
        };
        Ok(Self {
            pair,
            algorithm,
            public: public.named(kid),
        })
    }

    /// The key as unencrypted PKCS#8, wiped when dropped. Seal it before it is stored.
    ///
    /// # Errors
    /// When the crypto library fails.
    pub fn to_pkcs8_der(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let failed = |_| KeyError::Export(self.algorithm);
        let bytes = match &self.pair {
            KeyPair::Ecdsa(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
            KeyPair::Rsa(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
                der.as_ref().to_vec()
            }
            KeyPair::Ed25519(pair) => pair.to_pkcs8v1().map_err(failed)?.as_ref().to_vec(),
        };
        Ok(Zeroizing::new(bytes))
    }

    /// The private number `d` of a JWK (RFC 7518 §6.2.2, RFC 8037 §2), wiped when dropped.
    pub(super) fn private_number(&self) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        let failed = |_| KeyError::Export(self.algorithm);
        let number = match &self.pair {
            KeyPair::Ecdsa(pair) => {
                let number: EcPrivateKeyBin<'_> =
                    pair.private_key().as_be_bytes().map_err(failed)?;
                number.as_ref().to_vec()
            }
            KeyPair::Ed25519(pair) => {
                let seed = pair.seed().map_err(failed)?;
                let seed: Curve25519SeedBin<'_> = seed.as_be_bytes().map_err(failed)?;
                seed.as_ref().to_vec()
            }
            KeyPair::Rsa(_) => return Err(KeyError::Export(self.algorithm)),
        };
        Ok(Zeroizing::new(number))
    }

    /// The key as PEM `PRIVATE KEY`, unencrypted, wiped when dropped.
    ///
    /// # Errors
    /// When the crypto library fails.
    pub fn to_pkcs8_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        Ok(pem::encode("PRIVATE KEY", &self.to_pkcs8_der()?))
    }

    /// The algorithm that it signs with.
    #[must_use]
    pub fn algorithm(&self) -> SigningAlgorithm {
        self.algorithm
    }

    /// Its `kid`: the RFC 7638 thumbprint, unless it was read from a JWK that states another.
    #[must_use]
    pub fn kid(&self) -> &str {
        self.public
            .kid()
            .unwrap_or_else(|| self.public.thumbprint())
    }

    /// Its public half, with `kid` and `alg`.
    #[must_use]
    pub fn public_jwk(&self) -> &PublicJwk {
        &self.public
    }

    /// The signature over `message`, in the form of JWS (RFC 7518 §3.3 to §3.5, RFC 8037 §3.1).
    ///
    /// # Errors
    /// When the crypto library fails.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let failed = |_| KeyError::Signing(self.algorithm);
        match &self.pair {
            KeyPair::Ecdsa(pair) => {
                let signature = pair.sign(&SystemRandom::new(), message).map_err(failed)?;
                Ok(signature.as_ref().to_vec())
            }
            KeyPair::Rsa(pair) => {
                let encoding: &'static dyn RsaEncoding = match self.algorithm {
                    SigningAlgorithm::Rs256 => &RSA_PKCS1_SHA256,
                    SigningAlgorithm::Ps256 => &RSA_PSS_SHA256,
                    SigningAlgorithm::Es256 | SigningAlgorithm::Es384 | SigningAlgorithm::EdDsa => {
                        return Err(KeyError::Signing(self.algorithm));
                    }
                };
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(encoding, &SystemRandom::new(), message, &mut signature)
                    .map_err(failed)?;
                Ok(signature)
            }
            KeyPair::Ed25519(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
        }
    }

    /// The compact JWS over `claims_json`, with the header `alg`, `kid` and `typ` (RFC 7515 §7.1).
    ///
    /// # Errors
    /// When the crypto library fails.
    pub fn sign_compact(&self, typ: &str, claims_json: &[u8]) -> Result<String, KeyError> {
        let header = Header {
            alg: self.algorithm,
            kid: self.kid(),
            typ,
        };
        // Three strings always serialise; the error is mapped so that nothing here panics.
        let header = serde_json::to_vec(&header).map_err(|_| KeyError::Signing(self.algorithm))?;
        self.sign_parts(&header, claims_json)
    }

    /// The compact JWS over `claims_json` under the caller's header, which is used unchanged, even if wrong:
    /// for tokens that test a verifier.
    ///
    /// # Errors
    /// When the crypto library fails.
    pub fn sign_parts(&self, header_json: &[u8], claims_json: &[u8]) -> Result<String, KeyError> {
        let capacity = base64url_length(header_json.len())
            + base64url_length(claims_json.len())
            + base64url_length(self.signature_length())
            + 2;
        let mut token = String::with_capacity(capacity);
        push_base64url(&mut token, header_json);
        token.push('.');
        push_base64url(&mut token, claims_json);
        let signature = self.sign(token.as_bytes())?;
        token.push('.');
        push_base64url(&mut token, &signature);
        Ok(token)
    }

    fn signature_length(&self) -> usize {
        match &self.pair {
            KeyPair::Ecdsa(pair) => pair.public_key().as_ref().len() - 1,
            KeyPair::Rsa(pair) => pair.public_modulus_len(),
            KeyPair::Ed25519(_) => 64,
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "SigningKey({}, {})",
            self.algorithm,
            self.public.thumbprint()
        )
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::encoding::PublicKeyX509Der;
    use serde_json::{Value, json};

    use super::*;
    use crate::jose::compact::UnverifiedJws;
    use crate::jose::digest::{base64url, decode_base64url};
    use crate::jose::jwk_error::JwkError;

    const MAX: usize = 8 * 1024;

    /// RFC 8037 appendix A.1.
    fn ed25519() -> Value {
        json!({
            "kty": "OKP", "crv": "Ed25519",
            "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
            "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo",
        })
    }

    /// RFC 7515 appendix A.3.
    fn p256() -> Value {
        json!({
            "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
            "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI",
        })
    }

    fn with(mut jwk: Value, name: &str, value: impl Into<Value>) -> Value {
        jwk[name] = value.into();
        jwk
    }

    fn without(mut jwk: Value, name: &str) -> Value {
        jwk.as_object_mut().unwrap().remove(name);
        jwk
    }

    fn from_jwk(jwk: &Value) -> Result<SigningKey, KeyError> {
        SigningKey::from_jwk(None, jwk.to_string().as_bytes())
    }

    #[test]
    fn bytes_that_are_no_key_for_the_algorithm_are_refused() {
        let keys: Vec<_> = SigningAlgorithm::ALL
            .into_iter()
            .map(|algorithm| SigningKey::generate(algorithm).unwrap())
            .collect();
        for algorithm in SigningAlgorithm::ALL {
            for der in [&b""[..], b"x", &[0x30; 200]] {
                let refused = SigningKey::from_pkcs8_der(algorithm, der).err();
                assert_eq!(refused, Some(KeyError::Rejected(algorithm)));
            }
            for key in &keys {
                let der = key.to_pkcs8_der().unwrap();
                let outcome = SigningKey::from_pkcs8_der(algorithm, &der);
                if KeyType::of(algorithm) == KeyType::of(key.algorithm()) {
                    assert_eq!(outcome.unwrap().public_jwk().thumbprint(), key.kid());
                } else {
                    assert_eq!(outcome.err(), Some(KeyError::Rejected(algorithm)));
                }
                let cut = SigningKey::from_pkcs8_der(algorithm, &der[..der.len() - 1]);
                assert_eq!(cut.err(), Some(KeyError::Rejected(algorithm)));
            }
        }
    }

    #[test]
    fn pem_texts_without_exactly_one_plain_private_key_are_refused() {
        let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let private = key.to_pkcs8_pem().unwrap();
        let legacy = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,00\n\nZm9v\n\
                      -----END EC PRIVATE KEY-----\n";
        for (text, expected) in [
            ("", KeyError::Pem(PemError::NoBlock)),
            (&pem::encode("PUBLIC KEY", b"x"), KeyError::NoPrivateKey),
            (
                &pem::encode("ENCRYPTED PRIVATE KEY", b"x"),
                KeyError::Encrypted,
            ),
            (legacy, KeyError::Encrypted),
            (&pem::encode("PRIVATE KEY", b"x"), KeyError::Kind),
            (&pem::encode("DSA PRIVATE KEY", b"x"), KeyError::Kind),
            (&private.repeat(2), KeyError::SeveralKeys),
            (&" ".repeat(MAX_KEY_BYTES + 1), KeyError::TooLarge),
        ] {
            assert_eq!(SigningKey::from_pkcs8_pem(None, text).err(), Some(expected));
        }
        let other = SigningKey::from_pkcs8_pem(Some(SigningAlgorithm::Rs256), &private);
        assert_eq!(
            other.err(),
            Some(KeyError::Rejected(SigningAlgorithm::Rs256))
        );
        assert_eq!(
            SigningKey::from_file_content(None, &[0xff]).err(),
            Some(KeyError::NotText)
        );
    }

    #[test]
    fn private_jwks_that_do_not_hold_together_are_refused() {
        let zero = base64url(&[0; 32]);
        let rsa = json!({
            "kty": "RSA", "e": "AQAB",
            "n": base64url(&[&[0xff; 255][..], &[1]].concat()),
            "d": "AA", "p": "AA", "q": "AA", "dp": "AA", "dq": "AA", "qi": "AA",
        });
        for (jwk, expected) in [
            (
                json!({"kty": "oct", "k": "AA"}),
                KeyError::Public(JwkError::Symmetric),
            ),
            (
                without(p256(), "d"),
                KeyError::Public(JwkError::Missing("d")),
            ),
            (
                without(p256(), "x"),
                KeyError::Public(JwkError::Missing("x")),
            ),
            (
                with(p256(), "d", "AA"),
                KeyError::Public(JwkError::CoordinateLength("d", 32)),
            ),
            (with(p256(), "d", zero.clone()), KeyError::Inconsistent),
            (
                with(p256(), "d", base64url(&[7; 32])),
                KeyError::Inconsistent,
            ),
            (
                with(p256(), "d", base64url(&[0xff; 32])),
                KeyError::Inconsistent,
            ),
            (with(p256(), "key_ops", json!(["verify"])), KeyError::KeyOps),
            (with(p256(), "use", "enc"), KeyError::Public(JwkError::Use)),
            (
                with(p256(), "alg", "HS256"),
                KeyError::Public(JwkError::Algorithm),
            ),
            (
                without(ed25519(), "d"),
                KeyError::Public(JwkError::Missing("d")),
            ),
            (
                with(ed25519(), "d", base64url(&[0; 64])),
                KeyError::Public(JwkError::CoordinateLength("d", 32)),
            ),
            (with(ed25519(), "d", zero), KeyError::Inconsistent),
            (rsa.clone(), KeyError::Inconsistent),
            (
                without(rsa.clone(), "qi"),
                KeyError::Public(JwkError::Missing("qi")),
            ),
            (with(rsa, "e", "Aw"), KeyError::Public(JwkError::Exponent)),
        ] {
            assert_eq!(from_jwk(&jwk).err(), Some(expected), "{jwk}");
        }
        let text = p256().to_string();
        assert_eq!(
            SigningKey::from_jwk(Some(SigningAlgorithm::Es384), text.as_bytes()).err(),
            Some(KeyError::Public(JwkError::AlgorithmMismatch(
                SigningAlgorithm::Es384,
                KeyType::P256
            )))
        );
    }

    #[test]
    fn every_algorithm_signs_what_its_public_key_verifies_also_after_a_round_trip() {
        for algorithm in SigningAlgorithm::ALL {
            let key = SigningKey::generate(algorithm).unwrap();
            let der = SigningKey::from_pkcs8_der(algorithm, &key.to_pkcs8_der().unwrap()).unwrap();
            let pem =
                SigningKey::from_pkcs8_pem(Some(algorithm), &key.to_pkcs8_pem().unwrap()).unwrap();
            for signer in [&key, &der, &pem] {
                assert_eq!(signer.public_jwk(), key.public_jwk());
                let token = signer.sign_compact("at+jwt", br#"{"sub":"a"}"#).unwrap();
                assert_eq!(
                    token.capacity(),
                    token.len(),
                    "the token is built without growing"
                );
                let jws = UnverifiedJws::parse(&token, MAX).unwrap();
                let verified = jws.verify(key.public_jwk()).unwrap();
                assert_eq!(verified.payload(), br#"{"sub":"a"}"#);
                assert_eq!(verified.header().algorithm, algorithm);
                assert_eq!(
                    verified.header().kid.as_deref(),
                    Some(key.public_jwk().thumbprint())
                );
                assert_eq!(verified.header().typ.as_deref(), Some("at+jwt"));
            }
        }
    }

    #[test]
    fn the_usual_algorithm_of_a_pem_key_is_found_and_its_public_pem_is_the_same_key() {
        for (algorithm, usual) in [
            (SigningAlgorithm::Es256, SigningAlgorithm::Es256),
            (SigningAlgorithm::Es384, SigningAlgorithm::Es384),
            (SigningAlgorithm::Rs256, SigningAlgorithm::Rs256),
            (SigningAlgorithm::Ps256, SigningAlgorithm::Rs256),
            (SigningAlgorithm::EdDsa, SigningAlgorithm::EdDsa),
        ] {
            let key = SigningKey::generate(algorithm).unwrap();
            let pem = key.to_pkcs8_pem().unwrap();
            let read = SigningKey::from_file_content(None, pem.as_bytes()).unwrap();
            assert_eq!((read.algorithm(), read.kid()), (usual, key.kid()));

            let spki: PublicKeyX509Der<'_> = match &key.pair {
                KeyPair::Ecdsa(pair) => pair.public_key().as_der(),
                KeyPair::Rsa(pair) => pair.public_key().as_der(),
                KeyPair::Ed25519(pair) => pair.public_key().as_der(),
            }
            .unwrap();
            let public = PublicJwk::from_pem(&pem::encode("PUBLIC KEY", spki.as_ref())).unwrap();
            assert_eq!((public.kid(), public.stated_algorithm()), (None, None));
            assert_eq!(public.thumbprint(), key.kid());
        }
    }

    #[test]
    fn private_jwks_are_read_with_the_kid_and_alg_they_state() {
        let key = from_jwk(&p256()).unwrap();
        assert_eq!(key.kid(), key.public_jwk().thumbprint());
        let named = with(
            with(with(p256(), "kid", "mailer-1"), "alg", "ES256"),
            "key_ops",
            json!(["sign"]),
        );
        let named = SigningKey::from_file_content(None, format!(" {named}\n").as_bytes()).unwrap();
        assert_eq!(
            (named.kid(), named.algorithm()),
            ("mailer-1", SigningAlgorithm::Es256)
        );
        let token = named.sign_compact("JWT", b"{}").unwrap();
        let jws = UnverifiedJws::parse(&token, MAX).unwrap();
        assert_eq!(jws.unverified_kid(), Some("mailer-1"));
        assert!(jws.verify(named.public_jwk()).is_ok());
    }

    #[test]
    fn the_ed25519_example_of_rfc_8037_is_reproduced_byte_for_byte() {
        let key = from_jwk(&ed25519()).unwrap();
        assert_eq!(
            key.sign_parts(br#"{"alg":"EdDSA"}"#, b"Example of Ed25519 signing")
                .unwrap(),
            "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
             hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
        );
    }

    #[test]
    fn a_key_prints_its_algorithm_and_thumbprint_only() {
        let key = from_jwk(&with(ed25519(), "kid", "name")).unwrap();
        assert_eq!(
            format!("{key:?}"),
            "SigningKey(EdDSA, kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k)"
        );
        assert_eq!(
            key.to_pkcs8_der().unwrap()[16..],
            decode_base64url("nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A").unwrap()
        );
    }

    #[test]
    fn names_with_quotes_are_escaped_in_the_header() {
        let key = from_jwk(&with(ed25519(), "kid", "a\"b\\")).unwrap();
        let token = key.sign_compact("J\"WT", b"{}").unwrap();
        let jws = UnverifiedJws::parse(&token, MAX).unwrap();
        assert_eq!(
            (jws.unverified_kid(), jws.unverified_typ()),
            (Some("a\"b\\"), Some("J\"WT"))
        );
    }
}
