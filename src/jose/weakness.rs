//! Public numbers that are well-formed but not trustworthy (RFC 8725 §3.5).

use super::jwk_error::{JwkError, MAX_RSA_BITS, MIN_RSA_BITS};
use super::roca;

/// 65537 as JWK spells it. Small exponents (1 does not encrypt, 3 invites forgeries) are obsolete, and no tool
/// makes keys with others.
const RSA_EXPONENT: &[u8] = &[1, 0, 1];

/// Checks modulus and exponent, both big-endian.
pub(super) fn check_rsa_numbers(n: &[u8], e: &[u8]) -> Result<(), JwkError> {
    let Some((&first, &last)) = n.first().zip(n.last()) else {
        return Err(JwkError::ModulusTooShort);
    };
    if first == 0 {
        return Err(JwkError::LeadingZero);
    }
    let bits = n.len() * 8 - first.leading_zeros() as usize;
    if bits < MIN_RSA_BITS {
        return Err(JwkError::ModulusTooShort);
    }
    if bits > MAX_RSA_BITS {
        return Err(JwkError::ModulusTooLong);
    }
    if last % 2 == 0 {
        return Err(JwkError::EvenModulus);
    }
    if e != RSA_EXPONENT {
        return Err(JwkError::Exponent);
    }
    if roca::has_fingerprint(n) {
        return Err(JwkError::Roca);
    }
    Ok(())
}

/// Whether an Ed25519 point has an order that divides 8: the y coordinates of those points, also the two with a
/// spelling beyond the field (RFC 8032 §5.1.7 leaves them to the verifier). The last bit is the sign of x.
pub(super) fn is_small_order(mut point: [u8; 32]) -> bool {
    const ORDER_8: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ];
    const ORDER_8_NEGATED: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ];
    point[31] &= 0x7f;
    let is_near_prime = point[31] == 0x7f && point[1..31].iter().all(|&byte| byte == 0xff);
    let is_zero_or_one = point[0] <= 1 && point[1..].iter().all(|&byte| byte == 0);
    // p - 1, p and p + 1 end in ec, ed and ee.
    is_zero_or_one
        || (is_near_prime && (0xec..=0xee).contains(&point[0]))
        || point == ORDER_8
        || point == ORDER_8_NEGATED
}
