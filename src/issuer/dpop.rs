//! Proofs of key possession at this issuer's endpoints (RFC 9449): checks that a proof is for this request, is
//! recent, and has a nonce of this issuer. `jose/dpop.rs` has parsed it and verified its signature. The ledger
//! rejects replays.

use url::Url;

use crate::jose::dpop::DpopProof;
use crate::ports::time::UnixTime;

use super::Issuer;
use super::single_use::{Spent, SpentAssertion};

/// How far `iat` of a proof may differ from now, in seconds, in both directions: RFC 9449 §11.1 recommends seconds
/// to minutes. A clock may be a whole minute off, and the mark of a used proof is short-lived.
pub(crate) const PROOF_WINDOW_SECONDS: i64 = 60;
/// How long a nonce is the current one, in seconds. It is accepted for one more such period.
pub(crate) const NONCE_SECONDS: i64 = 300;

/// A key that a request proved to hold. Made in this file only.
#[derive(Clone, Debug)]
pub struct ProvenKey {
    jkt: String,
    spends: SpentAssertion,
}

impl ProvenKey {
    /// Its RFC 7638 thumbprint.
    #[must_use]
    pub fn jkt(&self) -> &str {
        &self.jkt
    }

    /// The mark of the proof.
    #[must_use]
    pub(crate) fn spends(&self) -> SpentAssertion {
        self.spends
    }
}

/// Why a proof is rejected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ProofRefused {
    /// It has a fault; the sentence is for the client.
    #[error("{0}")]
    Fault(String),
    /// It is valid, but has no nonce of this issuer that is recent enough (RFC 9449 §8).
    #[error("the proof has no nonce of this issuer, or an expired one")]
    Nonce,
}

impl Issuer {
    /// Checks the proof of a request with that method and URI (RFC 9449 §4.3).
    ///
    /// # Errors
    /// [`ProofRefused`]; a nonce is requested only when everything else is valid.
    pub(crate) fn check_proof(
        &self,
        unverified_proof: &str,
        method: &str,
        uri: &str,
        now: UnixTime,
    ) -> Result<ProvenKey, ProofRefused> {
        let fault = |problem: String| ProofRefused::Fault(problem);
        let proof =
            DpopProof::verify(unverified_proof).map_err(|error| fault(error.to_string()))?;
        if proof.htm != method {
            return Err(fault(format!("`htm` must be {method}")));
        }
        if !is_same_uri(&proof.htu, uri) {
            return Err(fault(format!("`htu` must be {uri}")));
        }
        if proof.issued_at.0.abs_diff(now.0) > PROOF_WINDOW_SECONDS.unsigned_abs() {
            return Err(fault(format!(
                "`iat` must be at most {PROOF_WINDOW_SECONDS} seconds from now; make a new proof for each request and check the clock"
            )));
        }
        // A restored database does not contain the marks of all used proofs.
        let not_before = self.policy().assertions_not_before;
        if proof.issued_at <= not_before {
            return Err(fault(format!(
                "`iat` must be later than {not_before}, when this issuer was restored from a backup; make a new proof"
            )));
        }
        if !proof
            .nonce
            .as_deref()
            .is_some_and(|nonce| self.is_dpop_nonce(nonce, now))
        {
            return Err(ProofRefused::Nonce);
        }
        let taken_until = proof.issued_at.plus(PROOF_WINDOW_SECONDS);
        let mark = SpentAssertion::of(["dpop", &proof.jkt], &proof.jti, taken_until);
        Ok(ProvenKey {
            jkt: proof.jkt,
            spends: mark.as_of(Spent::DpopProof),
        })
    }

    /// The nonce that new proofs must contain.
    #[must_use]
    pub fn dpop_nonce(&self, now: UnixTime) -> String {
        self.secrets.nonce(period(now))
    }

    /// Accepts the nonce of this period, of the previous one, and of the next, which another process whose clock
    /// is slightly ahead may already use: a client retries once, and two processes must not reject each other's
    /// nonces.
    fn is_dpop_nonce(&self, unverified_nonce: &str, now: UnixTime) -> bool {
        let present = period(now);
        [present, present - 1, present + 1]
            .into_iter()
            .any(|period| self.secrets.is_nonce(unverified_nonce, period))
    }
}

fn period(now: UnixTime) -> i64 {
    now.0.div_euclid(NONCE_SECONDS)
}

/// RFC 9449 §4.3 item 9: equal except for query and fragment, after the normalisation of RFC 3986 §6.2.2 and
/// §6.2.3. A text with a backslash, a space or a line end, which a browser's parser corrects, is not a URI.
fn is_same_uri(unverified: &str, uri: &str) -> bool {
    let plain = |text: &str| {
        let mut url = Url::parse(text).ok()?;
        url.set_query(None);
        url.set_fragment(None);
        Some(url)
    };
    let is_uri = unverified
        .bytes()
        .all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    is_uri && plain(unverified).is_some_and(|url| Some(url) == plain(uri))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_uri_is_refused_and_another_spelling_of_the_same_is_not() {
        let endpoint = "https://id.example/tenant/oauth2/token";
        for bad in [
            "",
            "/tenant/oauth2/token",
            "id.example/tenant/oauth2/token",
            "http://id.example/tenant/oauth2/token",
            "https://id.example:8443/tenant/oauth2/token",
            "https://id.example/oauth2/token",
            "https://id.example/tenant/oauth2/token/",
            "https://id.example/tenant/oauth2//token",
            "https://id.example/Tenant/oauth2/token",
            "https://id.example.evil.example/tenant/oauth2/token",
            "https://id.example@evil.example/tenant/oauth2/token",
            "https://user@id.example/tenant/oauth2/token",
            "https:\\\\id.example\\tenant\\oauth2\\token",
            " https://id.example/tenant/oauth2/token",
            "https://id.example/tenant/oauth2/to\nken",
        ] {
            assert!(!is_same_uri(bad, endpoint), "{bad:?}");
        }
        for good in [
            endpoint,
            "HTTPS://ID.example/tenant/oauth2/token",
            "https://id.example:443/tenant/oauth2/token",
            "https://id.example/tenant/x/../oauth2/./token",
            "https://id.example/tenant/oauth2/token?a=b",
            "https://id.example/tenant/oauth2/token#c",
        ] {
            assert!(is_same_uri(good, endpoint), "{good:?}");
        }
    }
}
