//! Public keys in PEM, as `openssl pkey -pubout` prints it (RFC 7468 §13), around a DER SubjectPublicKeyInfo.
//! The bytes before the numbers are compared as a whole, so that ASN.1 need not be parsed; aws-lc-rs extracts
//! RSA numbers, also from the older `RSA PUBLIC KEY`. Certificates are rejected: firman checks neither their
//! dates nor their issuer.

use aws_lc_rs::rsa::PublicKey as RsaPublicKey;

use super::algorithm::KeyType;
use super::jwk::PublicJwk;
use super::jwk_error::{JwkError, MAX_KEY_BYTES};
use super::jwk_members::KeyMeta;
use super::pem;

impl PublicJwk {
    /// Parses a PEM text with one `PUBLIC KEY` (RFC 7468 §13), as `openssl pkey -pubout` prints it, or one
    /// `RSA PUBLIC KEY` (RFC 8017 appendix A.1.1). The key has no `kid` and no `alg`.
    ///
    /// # Errors
    /// When the text is not PEM or contains a private key, or the key is rejected.
    pub fn from_pem(text: &str) -> Result<Self, JwkError> {
        if text.len() > MAX_KEY_BYTES {
            return Err(JwkError::TooLarge);
        }
        let blocks = pem::blocks(text)?;
        let has = |end: &str| blocks.iter().any(|block| block.label.ends_with(end));
        if has("OPENSSH PRIVATE KEY") {
            return Err(JwkError::PrivateSsh);
        }
        if has("PRIVATE KEY") {
            return Err(JwkError::PrivatePem);
        }
        match blocks.as_slice() {
            [block] if block.label == "PUBLIC KEY" => Self::from_spki_der(&block.bytes),
            [block] if block.label == "RSA PUBLIC KEY" => Self::from_rsa_der(&block.bytes),
            _ if has("CERTIFICATE REQUEST") => Err(JwkError::RequestPem),
            _ if has("CERTIFICATE") => Err(JwkError::CertificatePem),
            _ => Err(JwkError::PemKind),
        }
    }

    /// The key in a DER RSAPublicKey or SubjectPublicKeyInfo (RFC 8017 appendix A.1.1).
    fn from_rsa_der(der: &[u8]) -> Result<Self, JwkError> {
        let key = RsaPublicKey::from_der(der).map_err(|_| JwkError::RsaRejected)?;
        Self::from_rsa(
            key.modulus().big_endian_without_leading_zero(),
            key.exponent().big_endian_without_leading_zero(),
            KeyMeta::default(),
        )
    }

    /// The key in a DER SubjectPublicKeyInfo (RFC 5480, RFC 8410, RFC 8017 appendix A.1).
    fn from_spki_der(der: &[u8]) -> Result<Self, JwkError> {
        // SubjectPublicKeyInfos of one curve differ only in their last bytes, the point: the bytes before are
        // compared as a whole, and ASN.1 need not be parsed.
        const P256: &[u8] = b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\
                              \x07\x03\x42\x00\x04";
        const P384: &[u8] =
            b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00\x04";
        const ED25519: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";
        // AlgorithmIdentifier of rsaEncryption; RSASSA-PSS keys (RFC 4055) are not accepted.
        const RSA: &[u8] = b"\x30\x0d\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00";
        if let Some(point) = der.strip_prefix(P256).filter(|point| point.len() == 64) {
            return Self::from_ec(
                KeyType::P256,
                &point[..32],
                &point[32..],
                KeyMeta::default(),
            );
        }
        if let Some(point) = der.strip_prefix(P384).filter(|point| point.len() == 96) {
            return Self::from_ec(
                KeyType::P384,
                &point[..48],
                &point[48..],
                KeyMeta::default(),
            );
        }
        if let Some(point) = der.strip_prefix(ED25519).filter(|point| point.len() == 32) {
            return Self::from_ed25519(point, KeyMeta::default());
        }
        let header = &der[..der.len().min(24)];
        if !header.windows(RSA.len()).any(|window| window == RSA) {
            return Err(JwkError::PemKind);
        }
        Self::from_rsa_der(der)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::algorithm::SigningAlgorithm;
    use crate::jose::key::SigningKey;
    use crate::jose::pem::PemError;

    #[test]
    fn pem_texts_without_exactly_one_usable_public_key_are_refused() {
        let key = SigningKey::generate(SigningAlgorithm::Es256).unwrap();
        let private = key.to_pkcs8_pem().unwrap();
        let unknown = pem::encode("PUBLIC KEY", b"\x30\x03\x02\x01\x01");
        let certificate = pem::encode("CERTIFICATE", b"\x30\x00");
        for (text, expected) in [
            ("", JwkError::Pem(PemError::NoBlock)),
            (private.as_str(), JwkError::PrivatePem),
            (
                &format!("{}{}", unknown.as_str(), private.as_str()),
                JwkError::PrivatePem,
            ),
            (&unknown, JwkError::PemKind),
            (&unknown.repeat(2), JwkError::PemKind),
            (&pem::encode("PUBLIC KEY", b""), JwkError::PemKind),
            (&certificate, JwkError::CertificatePem),
            (&" ".repeat(MAX_KEY_BYTES + 1), JwkError::TooLarge),
        ] {
            assert_eq!(PublicJwk::from_pem(text), Err(expected));
        }
    }
}
