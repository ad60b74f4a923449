//! A resource server that follows RFC 9068 (JWT profile for access tokens).

use crate::jose::algorithm::SigningAlgorithm;

use super::Demands;
use crate::domain::token_typ::TokenTyp;

pub(super) const DEMANDS: Demands = Demands {
    // RFC 9068 §2.1, or the type that verifiers without support for it require.
    typs: &[TokenTyp::AccessToken, TokenTyp::Jwt],
    algorithms: &[SigningAlgorithm::Es256, SigningAlgorithm::Rs256],
    default_lifetime: None,
    max_lifetime: None,
    default_identifier: None,
    allow_delegation: true,
    takes_bound_tokens: true,
};
