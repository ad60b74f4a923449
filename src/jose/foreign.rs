//! Verification as other parties do it: the nine algorithms of RFC 7518 §3.1 with a public key, to judge a
//! token as a relying party would that accepts more of them than firman. It has its own list and its own keys:
//! nothing that firman accepts for itself (client assertions, discovery) uses this module, and
//! [`super::SigningAlgorithm`] stays a closed list.

use std::fmt;

use aws_lc_rs::rsa::PublicKeyComponents;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    VerificationAlgorithm,
};
use serde_json::{Map, Value};

use super::compact::{JwsError, UnverifiedJws, VerifiedJws};
use super::json::JsonError;
use super::jwk_error::JwkError;
use super::jwk_error::SkippedKey;
use super::jwk_members::{number, optional_string, public_kty, required_string, signature_kid};
use super::jwk_set::{as_registered, published_entries};
use super::weakness::check_rsa_numbers;

/// A signature algorithm that others accept. `none`, the HMAC family and EdDSA cannot be named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ForeignAlgorithm {
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// ECDSA over P-521 with SHA-512.
    Es512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
}

/// The algorithms that an RSA key verifies.
const RSA: [(ForeignAlgorithm, &RsaParameters); 6] = [
    (ForeignAlgorithm::Rs256, &RSA_PKCS1_2048_8192_SHA256),
    (ForeignAlgorithm::Rs384, &RSA_PKCS1_2048_8192_SHA384),
    (ForeignAlgorithm::Rs512, &RSA_PKCS1_2048_8192_SHA512),
    (ForeignAlgorithm::Ps256, &RSA_PSS_2048_8192_SHA256),
    (ForeignAlgorithm::Ps384, &RSA_PSS_2048_8192_SHA384),
    (ForeignAlgorithm::Ps512, &RSA_PSS_2048_8192_SHA512),
];

impl ForeignAlgorithm {
    /// Every one of them.
    pub const ALL: [Self; 9] = [
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
    ];

    /// The `alg` value.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
        }
    }

    /// The algorithm spelled `name`; names are case-sensitive (RFC 7515 §4.1.1).
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.as_str() == name)
    }
}

impl fmt::Display for ForeignAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A public key that others would verify with.
#[derive(Clone)]
pub struct ForeignKey {
    kid: Option<String>,
    /// None for an Ed25519 key, which is kept so that its `kid` is known.
    verifiers: Vec<(ForeignAlgorithm, ParsedPublicKey)>,
}

impl ForeignKey {
    fn from_value(value: &Value) -> Result<Self, JwkError> {
        let members = value
            .as_object()
            .ok_or(JwkError::Json(JsonError::NotAnObject))?;
        let kty = public_kty(members)?;
        let kid = signature_kid(members)?;
        let mut verifiers = match kty {
            "EC" => vec![ec(members)?],
            "RSA" => rsa(members)?,
            "OKP" if required_string(members, "crv")? == "Ed25519" => {
                return Ok(Self {
                    kid,
                    verifiers: Vec::new(),
                });
            }
            "OKP" => return Err(JwkError::Curve),
            _ => return Err(JwkError::KeyType),
        };
        if let Some(stated) = optional_string(members, "alg")? {
            let stated = ForeignAlgorithm::parse(stated).ok_or(JwkError::Algorithm)?;
            verifiers.retain(|(algorithm, _)| *algorithm == stated);
            if verifiers.is_empty() {
                return Err(JwkError::Algorithm);
            }
        }
        Ok(Self { kid, verifiers })
    }

    /// Its `kid`.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The algorithms that it may verify: its `alg` if stated, else all of its kind.
    pub fn algorithms(&self) -> impl Iterator<Item = ForeignAlgorithm> {
        self.verifiers.iter().map(|(algorithm, _)| *algorithm)
    }
}

impl fmt::Debug for ForeignKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ForeignKey({:?})", self.kid)
    }
}

/// The verifier of an elliptic-curve key, whose curve settles its algorithm (RFC 7518 §3.4).
fn ec(members: &Map<String, Value>) -> Result<(ForeignAlgorithm, ParsedPublicKey), JwkError> {
    let (algorithm, length, verification): (_, _, &'static dyn VerificationAlgorithm) =
        match required_string(members, "crv")? {
            "P-256" => (ForeignAlgorithm::Es256, 32, &ECDSA_P256_SHA256_FIXED),
            "P-384" => (ForeignAlgorithm::Es384, 48, &ECDSA_P384_SHA384_FIXED),
            "P-521" => (ForeignAlgorithm::Es512, 66, &ECDSA_P521_SHA512_FIXED),
            _ => return Err(JwkError::Curve),
        };
    // SEC 1 §2.3.3, uncompressed.
    let mut point = vec![4];
    for name in ["x", "y"] {
        let coordinate = number(members, name)?;
        if coordinate.len() != length {
            return Err(JwkError::CoordinateLength(name, length));
        }
        point.extend(coordinate);
    }
    let key = ParsedPublicKey::new(verification, point).map_err(|_| JwkError::NotOnCurve)?;
    Ok((algorithm, key))
}

/// The verifiers of an RSA key.
fn rsa(members: &Map<String, Value>) -> Result<Vec<(ForeignAlgorithm, ParsedPublicKey)>, JwkError> {
    let (n, e) = (number(members, "n")?, number(members, "e")?);
    check_rsa_numbers(&n, &e)?;
    let components = PublicKeyComponents { n: &n, e: &e };
    RSA.into_iter()
        .map(|(algorithm, parameters)| {
            let key = components.to_parsed_public_key(parameters);
            Ok((algorithm, key.map_err(|_| JwkError::RsaRejected)?))
        })
        .collect()
}

/// A published key set, read with the algorithms of others.
#[derive(Clone, Debug)]
pub struct ForeignKeySet {
    keys: Vec<ForeignKey>,
}

impl ForeignKeySet {
    /// Parses a published set, by the rules of [`super::PublicJwkSet::parse_published`].
    ///
    /// # Errors
    /// When the set has a private or symmetric key, too many entries, or no signature key.
    pub fn parse_published(json: &[u8]) -> Result<Self, JwkError> {
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (index, entry) in published_entries(json)?.iter().enumerate() {
            match ForeignKey::from_value(&as_registered(entry)) {
                Ok(key) => keys.push(key),
                Err(reason) => skipped.push(SkippedKey::of(index, entry, reason)),
            }
        }
        match (keys.is_empty(), skipped.is_empty()) {
            (true, true) => Err(JwkError::SetEmpty),
            (true, false) => Err(JwkError::NoneUsable(skipped)),
            (false, _) => Ok(Self { keys }),
        }
    }

    /// The keys, in the order of the set.
    #[must_use]
    pub fn keys(&self) -> &[ForeignKey] {
        &self.keys
    }
}

impl<'t> UnverifiedJws<'t, ForeignAlgorithm> {
    /// Reads `token` like [`UnverifiedJws::parse`], but accepts the algorithms of others.
    ///
    /// # Errors
    /// As there.
    pub fn parse_foreign(token: &'t str, max_bytes: usize) -> Result<Self, JwsError> {
        Self::read(token, max_bytes, ForeignAlgorithm::parse)
    }

    /// Checks the signature with `key`. The caller checks that it is the key of the token's `kid`.
    ///
    /// # Errors
    /// [`JwsError::OtherKey`] when the key may not verify the token's algorithm (RFC 8725 §3.1),
    /// [`JwsError::Signature`] when the signature is not the key's.
    pub fn verify_foreign(
        &self,
        key: &ForeignKey,
    ) -> Result<VerifiedJws<ForeignAlgorithm>, JwsError> {
        let wanted = self.unverified_alg();
        let verifier = key
            .verifiers
            .iter()
            .find(|(algorithm, _)| *algorithm == wanted);
        let (_, verifier) = verifier.ok_or(JwsError::OtherKey)?;
        self.verified_if(|_, message, signature| verifier.verify_sig(message, signature).is_ok())
    }
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::rsa::KeySize;
    use aws_lc_rs::signature::{
        ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING,
        ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair, EcdsaSigningAlgorithm, KeyPair as _,
        RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384,
        RSA_PSS_SHA512, RsaEncoding, RsaKeyPair,
    };
    use serde_json::json;

    use super::*;
    use crate::jose::digest::base64url;
    use crate::jose::{PublicJwk, PublicJwkSet, SigningAlgorithm};

    const MAX: usize = 8 * 1024;

    /// A foreign key that signs with any algorithm.
    enum Stranger {
        Ec(EcdsaKeyPair, &'static str),
        Rsa(RsaKeyPair),
    }

    impl Stranger {
        fn of(algorithm: ForeignAlgorithm) -> Self {
            let ec = |kind: &'static EcdsaSigningAlgorithm, crv| {
                Self::Ec(EcdsaKeyPair::generate(kind).unwrap(), crv)
            };
            match algorithm {
                ForeignAlgorithm::Es256 => ec(&ECDSA_P256_SHA256_FIXED_SIGNING, "P-256"),
                ForeignAlgorithm::Es384 => ec(&ECDSA_P384_SHA384_FIXED_SIGNING, "P-384"),
                ForeignAlgorithm::Es512 => ec(&ECDSA_P521_SHA512_FIXED_SIGNING, "P-521"),
                ForeignAlgorithm::Rs256
                | ForeignAlgorithm::Rs384
                | ForeignAlgorithm::Rs512
                | ForeignAlgorithm::Ps256
                | ForeignAlgorithm::Ps384
                | ForeignAlgorithm::Ps512 => {
                    Self::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
                }
            }
        }

        fn jwk(&self) -> Value {
            match self {
                Self::Ec(pair, crv) => {
                    let point = &pair.public_key().as_ref()[1..];
                    let (x, y) = point.split_at(point.len() / 2);
                    json!({"kty": "EC", "crv": crv, "kid": "k", "x": base64url(x), "y": base64url(y)})
                }
                Self::Rsa(pair) => {
                    let n = pair.public_key().modulus();
                    json!({"kty": "RSA", "kid": "k", "n": base64url(n.big_endian_without_leading_zero()), "e": "AQAB"})
                }
            }
        }

        fn token(&self, algorithm: ForeignAlgorithm) -> String {
            let header = json!({"alg": algorithm.as_str(), "kid": "k"}).to_string();
            let input = format!(
                "{}.{}",
                base64url(header.as_bytes()),
                base64url(br#"{"sub":"a"}"#)
            );
            let signature = match self {
                Self::Ec(pair, _) => {
                    let signature = pair.sign(&SystemRandom::new(), input.as_bytes());
                    signature.unwrap().as_ref().to_vec()
                }
                Self::Rsa(pair) => {
                    let mut signature = vec![0; pair.public_modulus_len()];
                    let encoding = encoding(algorithm);
                    pair.sign(
                        encoding,
                        &SystemRandom::new(),
                        input.as_bytes(),
                        &mut signature,
                    )
                    .unwrap();
                    signature
                }
            };
            format!("{input}.{}", base64url(&signature))
        }
    }

    fn encoding(algorithm: ForeignAlgorithm) -> &'static dyn RsaEncoding {
        match algorithm {
            ForeignAlgorithm::Rs256 => &RSA_PKCS1_SHA256,
            ForeignAlgorithm::Rs384 => &RSA_PKCS1_SHA384,
            ForeignAlgorithm::Rs512 => &RSA_PKCS1_SHA512,
            ForeignAlgorithm::Ps256 => &RSA_PSS_SHA256,
            ForeignAlgorithm::Ps384 => &RSA_PSS_SHA384,
            ForeignAlgorithm::Ps512 => &RSA_PSS_SHA512,
            ForeignAlgorithm::Es256 | ForeignAlgorithm::Es384 | ForeignAlgorithm::Es512 => {
                panic!("no algorithm of RSA")
            }
        }
    }

    fn set(keys: &[Value]) -> Result<ForeignKeySet, JwkError> {
        ForeignKeySet::parse_published(json!({ "keys": keys }).to_string().as_bytes())
    }

    fn only(key: &Value) -> ForeignKey {
        set(std::slice::from_ref(key)).unwrap().keys()[0].clone()
    }

    #[test]
    fn none_hmac_and_eddsa_cannot_be_named() {
        for name in [
            "", "none", "HS256", "HS384", "HS512", "EdDSA", "Ed25519", "es512",
        ] {
            let header = json!({ "alg": name }).to_string();
            let token = format!("{}.e30.AA", base64url(header.as_bytes()));
            let refused = UnverifiedJws::parse_foreign(&token, MAX).err();
            assert_eq!(refused, Some(JwsError::Algorithm), "{name}");
        }
    }

    #[test]
    fn each_algorithm_is_verified_with_its_key_and_with_no_other() {
        for algorithm in ForeignAlgorithm::ALL {
            let (signer, other) = (Stranger::of(algorithm), Stranger::of(algorithm));
            let token = signer.token(algorithm);
            let jws = UnverifiedJws::parse_foreign(&token, MAX).unwrap();
            let verified = jws.verify_foreign(&only(&signer.jwk())).unwrap();
            assert_eq!(verified.payload(), br#"{"sub":"a"}"#);
            let refused = jws.verify_foreign(&only(&other.jwk())).err();
            assert_eq!(refused, Some(JwsError::Signature), "{algorithm}");
        }
    }

    #[test]
    fn a_signature_of_one_algorithm_is_none_of_another_and_a_stated_alg_is_the_only_one() {
        let signer = Stranger::of(ForeignAlgorithm::Rs256);
        for (made, _) in RSA {
            let token = signer.token(made);
            let signature = token.rsplit_once('.').unwrap().1;
            for (claimed, _) in RSA.into_iter().filter(|(claimed, _)| *claimed != made) {
                // The input of the other algorithm, under this algorithm's signature.
                let forged = signer.token(claimed);
                let forged = format!("{}.{signature}", forged.rsplit_once('.').unwrap().0);
                let jws = UnverifiedJws::parse_foreign(&forged, MAX).unwrap();
                assert!(jws.verify_foreign(&only(&signer.jwk())).is_err());
                let mut stated = signer.jwk();
                stated["alg"] = json!(claimed.as_str());
                let jws = UnverifiedJws::parse_foreign(&token, MAX).unwrap();
                let refused = jws.verify_foreign(&only(&stated)).err();
                assert_eq!(refused, Some(JwsError::OtherKey), "{made} {claimed}");
            }
        }
        let curve = Stranger::of(ForeignAlgorithm::Es512);
        let token = signer.token(ForeignAlgorithm::Rs512);
        let jws = UnverifiedJws::parse_foreign(&token, MAX).unwrap();
        let refused = jws.verify_foreign(&only(&curve.jwk())).err();
        assert_eq!(refused, Some(JwsError::OtherKey));
    }

    /// RFC 7515 appendix A.4.
    #[test]
    fn the_es512_example_of_the_standard_verifies() {
        let key = json!({
            "kty": "EC", "crv": "P-521",
            "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
            "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
        });
        let token = "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA.AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn";
        let jws = UnverifiedJws::parse_foreign(token, MAX).unwrap();
        let verified = jws.verify_foreign(&only(&key)).unwrap();
        assert_eq!(verified.payload(), b"Payload");
    }

    #[test]
    fn sets_that_nobody_should_publish_are_refused() {
        let key = Stranger::of(ForeignAlgorithm::Es512).jwk();
        let with = |name: &str, value: Value| {
            let mut key = key.clone();
            key[name] = value;
            key
        };
        let oct = json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"});
        let none = |reason| {
            JwkError::NoneUsable(vec![SkippedKey {
                place: 1,
                kid: Some("k".to_owned()),
                reason,
            }])
        };
        for (keys, expected) in [
            (vec![], JwkError::SetEmpty),
            (vec![with("use", json!("enc"))], none(JwkError::Use)),
            (vec![with("alg", json!("ES256"))], none(JwkError::Algorithm)),
            (vec![with("d", json!("AA"))], JwkError::Private("d")),
            (vec![key.clone(), oct], JwkError::Symmetric),
            (
                vec![with("x", json!("AA"))],
                none(JwkError::CoordinateLength("x", 66)),
            ),
        ] {
            assert_eq!(set(&keys).err(), Some(expected));
        }
        let odd = with("x", json!("AA"));
        assert_eq!(set(&[odd, key.clone(), key]).unwrap().keys().len(), 2);
    }

    /// An algorithm that is accepted here must not become one that firman itself accepts.
    #[test]
    fn none_of_it_is_accepted_by_firman_itself() {
        for algorithm in ForeignAlgorithm::ALL {
            let signer = Stranger::of(algorithm);
            let token = signer.token(algorithm);
            let is_ours = SigningAlgorithm::parse(algorithm.as_str()).is_some();
            assert_eq!(UnverifiedJws::parse(&token, MAX).is_ok(), is_ours);
            let mut stated = signer.jwk();
            stated["alg"] = json!(algorithm.as_str());
            assert_eq!(PublicJwk::from_value(&stated).is_ok(), is_ours);
        }
        let curve = Stranger::of(ForeignAlgorithm::Es512).jwk();
        assert_eq!(PublicJwk::from_value(&curve).err(), Some(JwkError::Curve));
        let published = json!({ "keys": [curve] }).to_string();
        let refused = PublicJwkSet::parse_published(published.as_bytes()).err();
        assert!(matches!(refused, Some(JwkError::NoneUsable(_))));
    }
}
