//! SHA-256 and base64url without padding. Decoding is strict: one byte string has exactly one spelling, so that
//! a signed token has too.

use base64::engine::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Why a text is not base64url (RFC 7515 §2). Names only the kind of fault, never a character of the input,
/// which may be part of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Base64Error {
    /// A character outside `A-Z a-z 0-9 - _`, such as padding, white space, `+` and `/`.
    #[error("not base64url: only A-Z a-z 0-9 - _ are allowed, without padding or white space")]
    Character,
    /// No byte string has a spelling of that length.
    #[error("not base64url: the text is cut short")]
    Length,
    /// Unused bits of the last character are set: a second spelling (RFC 4648 §3.5).
    #[error("not canonical base64url: unused bits of the last character are set")]
    UnusedBits,
}

/// The SHA-256 digest of `bytes`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

/// `bytes` in base64url without padding.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Appends `bytes` in base64url without padding to `text`.
pub fn push_base64url(text: &mut String, bytes: &[u8]) {
    URL_SAFE_NO_PAD.encode_string(bytes, text);
}

/// The length of `length` bytes in base64url without padding.
#[must_use]
pub const fn base64url_length(length: usize) -> usize {
    (length * 4).div_ceil(3)
}

/// The bytes spelled by `text`.
///
/// # Errors
/// When `text` is not the one canonical spelling without padding.
pub fn decode_base64url(text: &str) -> Result<Vec<u8>, Base64Error> {
    use base64::DecodeError;
    URL_SAFE_NO_PAD.decode(text).map_err(|error| match error {
        DecodeError::InvalidByte(..) | DecodeError::InvalidPadding => Base64Error::Character,
        DecodeError::InvalidLength(_) => Base64Error::Length,
        DecodeError::InvalidLastSymbol { .. } => Base64Error::UnusedBits,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn second_spellings_and_foreign_characters_are_refused() {
        for (text, expected) in [
            ("Zg==", Base64Error::Character),
            ("Zg=", Base64Error::Character),
            ("Z g", Base64Error::Character),
            ("Zg\n", Base64Error::Character),
            (" Zg", Base64Error::Character),
            ("+w", Base64Error::Character),
            ("_/", Base64Error::Character),
            ("Zm9v.", Base64Error::Character),
            ("Zé", Base64Error::Character),
            ("Z\0", Base64Error::Character),
            ("Z", Base64Error::Length),
            ("Zm9vY", Base64Error::Length),
            ("Zh", Base64Error::UnusedBits),
            ("Zm9", Base64Error::UnusedBits),
        ] {
            assert_eq!(decode_base64url(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn the_empty_text_is_the_empty_byte_string() {
        assert_eq!(decode_base64url(""), Ok(Vec::new()));
        assert_eq!(base64url(&[]), "");
    }

    #[test]
    fn sha256_of_abc_is_the_one_in_fips_180_4() {
        assert_eq!(
            base64url(&sha256(b"abc")),
            "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"
        );
    }

    proptest! {
        #[test]
        fn what_was_encoded_decodes_and_what_decodes_was_spelled_so(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            text in "[A-Za-z0-9_-]{0,12}",
        ) {
            let encoded = base64url(&bytes);
            prop_assert_eq!(encoded.len(), base64url_length(bytes.len()));
            prop_assert_eq!(decode_base64url(&encoded), Ok(bytes));
            if let Ok(decoded) = decode_base64url(&text) {
                prop_assert_eq!(base64url(&decoded), text);
            }
        }
    }
}
