//! Claude Workload Identity Federation, as its reference documents it: EdDSA is not on its list,
//! `typ` is what its supported providers send, the lifetime cap is the issuer's registered maximum.

use crate::jose::algorithm::SigningAlgorithm;

use super::Demands;
use crate::domain::token_typ::TokenTyp;

pub(super) const DEMANDS: Demands = Demands {
    typs: &[TokenTyp::Jwt],
    algorithms: &[SigningAlgorithm::Es256, SigningAlgorithm::Rs256],
    default_lifetime: Some(600),
    max_lifetime: Some(3600),
    default_identifier: Some("https://api.anthropic.com"),
    // A static rule there cannot see `act`: a rule that pins `sub` alone would take whoever acts for it.
    allow_delegation: false,
    // Its token endpoint takes the JWT alone: a bound token would be used there like any other.
    takes_bound_tokens: false,
};
