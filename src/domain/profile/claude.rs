//! Claude Workload Identity Federation, as its reference documents it: EdDSA is not supported, `typ` is the one
//! that its supported providers send, the lifetime limit is the registered maximum.

use crate::jose::algorithm::SigningAlgorithm;

use super::Demands;
use crate::domain::token_typ::TokenTyp;

pub(super) const DEMANDS: Demands = Demands {
    typs: &[TokenTyp::Jwt],
    algorithms: &[SigningAlgorithm::Es256, SigningAlgorithm::Rs256],
    default_lifetime: Some(600),
    max_lifetime: Some(3600),
    default_identifier: Some("https://api.anthropic.com"),
    // A static rule at Claude cannot match `act`: a rule that pins `sub` alone would accept every actor for that
    // subject.
    allow_delegation: false,
    // Claude's token endpoint accepts the JWT alone, so a bound token would be usable there as a bearer token.
    takes_bound_tokens: false,
};
