//! Private keys as JSON Web Keys (RFC 7518 §6, RFC 8037 §2): the public part is checked like any public key,
//! the private part must match it. Everything read here is wiped after use.

use aws_lc_rs::error::KeyRejected;
use aws_lc_rs::rsa::{KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, RsaKeyPair,
};
use serde_json::{Map, Value};
use zeroize::{Zeroize as _, Zeroizing};

use super::algorithm::{KeyType, SigningAlgorithm};
use super::digest::base64url;
use super::json;
use super::jwk::PublicJwk;
use super::jwk_error::{JwkError, MAX_KEY_BYTES};
use super::jwk_members::{PRIVATE_MEMBERS, number};
use super::key::{KeyPair, SigningKey};
use super::key_error::KeyError;

impl SigningKey {
    /// Reads a private JWK (RFC 7518 §6, RFC 8037 §2); an RSA one needs its primes and CRT members. Without
    /// `algorithm`, its `alg`, else the usual one of its kind. Its `kid` is kept.
    ///
    /// # Errors
    /// When it is not a private JWK, its parts do not belong together, or its public half is refused.
    pub fn from_jwk(algorithm: Option<SigningAlgorithm>, json: &[u8]) -> Result<Self, KeyError> {
        if json.len() > MAX_KEY_BYTES {
            return Err(KeyError::TooLarge);
        }
        let mut document = SecretMembers(json::parse_object(json)?);
        let secret = match document.0.get_mut("keys") {
            Some(Value::Array(keys)) => match keys.as_mut_slice() {
                [Value::Object(key)] => SecretMembers(std::mem::take(key)),
                _ => return Err(KeyError::SetOf(keys.len())),
            },
            Some(_) | None => document,
        };
        let mut public: Map<String, Value> = secret
            .0
            .iter()
            .filter(|(name, _)| !PRIVATE_MEMBERS.contains(&name.as_str()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        match public.remove("key_ops") {
            None => {}
            Some(Value::Array(operations)) if operations.as_slice() == ["sign"] => {}
            Some(_) => return Err(KeyError::KeyOps),
        }
        let public = PublicJwk::from_members(&public)?;
        let algorithm = algorithm.unwrap_or(public.algorithms()[0]);
        if !public.algorithms().contains(&algorithm) {
            return Err(JwkError::AlgorithmMismatch(algorithm, public.key_type()).into());
        }
        let pair = secret.pair(public.key_type())?;
        Self::assemble(pair, algorithm, public.kid().map(str::to_owned))
    }
}

impl SigningKey {
    /// The key as a private JWK with its `kid` and `alg`, wiped when dropped. RSA keys are not exported in this
    /// form: other programs read their PEM.
    ///
    /// # Errors
    /// For an RSA key, and when the crypto library fails.
    pub fn to_private_jwk(&self) -> Result<Zeroizing<String>, KeyError> {
        let number = self.private_number()?;
        let Value::Object(public) = self.public_jwk().to_value() else {
            return Err(KeyError::Export(self.algorithm()));
        };
        let mut secret = SecretMembers(public);
        secret
            .0
            .insert("d".to_owned(), Value::String(base64url(&number)));
        serde_json::to_string(&secret.0)
            .map(Zeroizing::new)
            .map_err(|_| KeyError::Export(self.algorithm()))
    }
}

/// The members of a private JWK, wiped when dropped.
struct SecretMembers(Map<String, Value>);

impl SecretMembers {
    fn number(&self, name: &'static str) -> Result<Zeroizing<Vec<u8>>, KeyError> {
        Ok(Zeroizing::new(number(&self.0, name)?))
    }

    /// The key pair, of a kind and with public numbers that were checked before.
    fn pair(&self, key_type: KeyType) -> Result<KeyPair, KeyError> {
        let inconsistent = |_: KeyRejected| KeyError::Inconsistent;
        match key_type {
            KeyType::P256 => self.ecdsa_pair(&ECDSA_P256_SHA256_FIXED_SIGNING, 32),
            KeyType::P384 => self.ecdsa_pair(&ECDSA_P384_SHA384_FIXED_SIGNING, 48),
            KeyType::Rsa => {
                let (n, e) = (self.number("n")?, self.number("e")?);
                let (d, p, q) = (self.number("d")?, self.number("p")?, self.number("q")?);
                let (dp, dq, qi) = (self.number("dp")?, self.number("dq")?, self.number("qi")?);
                let components = KeyPairComponents::<&[u8]> {
                    public_key: PublicKeyComponents { n: &n, e: &e },
                    d: &d,
                    p: &p,
                    q: &q,
                    dP: &dp,
                    dQ: &dq,
                    qInv: &qi,
                };
                RsaKeyPair::from_components(&components)
                    .map(KeyPair::Rsa)
                    .map_err(inconsistent)
            }
            KeyType::Ed25519 => {
                let seed = self.number("d")?;
                if seed.len() != 32 {
                    return Err(JwkError::CoordinateLength("d", 32).into());
                }
                Ed25519KeyPair::from_seed_and_public_key(&seed, &self.number("x")?)
                    .map(KeyPair::Ed25519)
                    .map_err(inconsistent)
            }
        }
    }

    fn ecdsa_pair(
        &self,
        kind: &'static EcdsaSigningAlgorithm,
        length: usize,
    ) -> Result<KeyPair, KeyError> {
        let scalar = self.number("d")?;
        if scalar.len() != length {
            return Err(JwkError::CoordinateLength("d", length).into());
        }
        let point = [
            &[4],
            self.number("x")?.as_slice(),
            self.number("y")?.as_slice(),
        ]
        .concat();
        EcdsaKeyPair::from_private_key_and_public_key(kind, &scalar, &point)
            .map(KeyPair::Ecdsa)
            .map_err(|_| KeyError::Inconsistent)
    }
}

impl Drop for SecretMembers {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
