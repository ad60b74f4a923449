//! A resource server that follows RFC 9068 (JWT profile for access tokens).

use crate::jose::algorithm::SigningAlgorithm;

use super::Demands;

pub(super) const DEMANDS: Demands = Demands {
    typ: "at+jwt", // RFC 9068 §2.1
    algorithms: &[SigningAlgorithm::Es256, SigningAlgorithm::Rs256],
    default_lifetime: None,
    max_lifetime: None,
    default_identifier: None,
    allow_delegation: true,
    takes_bound_tokens: true,
};
