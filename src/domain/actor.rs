//! The `act` claim (RFC 8693 §4.1): the current actor and the previous ones. A chain is only extended at the
//! outermost actor, never shortened or rewritten. An actor is the pair of issuer and subject.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

/// Most actors in a chain: more is a mistake or a loop, and each makes the token longer.
pub const ACTORS_MAX: usize = 4;
/// Longest `iss` or `sub` of an actor, in bytes.
const NAME_MAX_BYTES: usize = 512;

/// One actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `iss`: the issuer of its subject.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `sub_profile`: the kind of actor; `ai_agent` for agents. Empty, and omitted from the claim, when a foreign
    /// issuer does not state it.
    pub profile: String,
}

/// The actors of a token, newest first. Empty: the subject acts for itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActorChain(Vec<Actor>);

/// Why a chain cannot be read or extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActorError {
    /// An `act` is not an object with `iss`, `sub` and `sub_profile`, or has other members.
    #[error(
        "`act` must be an object with `iss`, `sub`, `sub_profile` and at most one further `act`"
    )]
    Shape,
    /// An `act` of another issuer is not an object with a `sub`.
    #[error(
        "each `act` must be an object with `sub`, a string of 1 to {NAME_MAX_BYTES} bytes without control characters, and an optional `sub_profile` of the same kind"
    )]
    ForeignShape,
    /// An actor's issuer is not the issuer of the token.
    #[error(
        "`act` names an actor of another issuer than the token's own; leave out its `iss`, or use the token's"
    )]
    OtherIssuer,
    /// The chain would have more than [`ACTORS_MAX`] actors.
    #[error("the chain of actors would have more than {0} links")]
    TooDeep(usize),
}

impl ActorChain {
    /// The actors, newest first.
    #[must_use]
    pub fn actors(&self) -> &[Actor] {
        &self.0
    }

    /// True when the subject acts for itself.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses an `act` claim of this issuer; `None` is the empty chain.
    ///
    /// # Errors
    /// [`ActorError`]; a chain is never read in part.
    pub fn parse(act: Option<&Value>) -> Result<Self, ActorError> {
        let mut actors = Vec::new();
        let mut next = act;
        while let Some(value) = next {
            if actors.len() == ACTORS_MAX {
                return Err(ActorError::TooDeep(ACTORS_MAX));
            }
            let members = value.as_object().ok_or(ActorError::Shape)?;
            let known = ["iss", "sub", "sub_profile", "act"];
            if !members.keys().all(|name| known.contains(&name.as_str())) {
                return Err(ActorError::Shape);
            }
            actors.push(Actor {
                issuer: text(members, "iss")?,
                subject: text(members, "sub")?,
                profile: profile(members)?,
            });
            next = members.get("act");
        }
        Ok(Self(actors))
    }

    /// Parses an `act` claim of another issuer, `issuer`. Each actor becomes an actor of `issuer`, the only party
    /// that asserts it. An actor with another `iss` is rejected, because `issuer` is not trusted to name subjects
    /// of a third issuer, nor of this one. Only `sub` and `sub_profile` of an actor are kept: by RFC 8693 §4.1
    /// other members do not identify the actor.
    ///
    /// # Errors
    /// [`ActorError`]; a chain is never read in part.
    pub fn parse_foreign(act: &Value, issuer: &str) -> Result<Self, ActorError> {
        let mut actors = Vec::new();
        let mut next = Some(act);
        while let Some(value) = next {
            if actors.len() == ACTORS_MAX {
                return Err(ActorError::TooDeep(ACTORS_MAX));
            }
            let members = value.as_object().ok_or(ActorError::ForeignShape)?;
            match members.get("iss") {
                None => {}
                Some(Value::String(own)) if own == issuer => {}
                Some(Value::String(_)) => return Err(ActorError::OtherIssuer),
                Some(_) => return Err(ActorError::ForeignShape),
            }
            let is_plain = |text: &String| !text.chars().any(char::is_control);
            let subject = text(members, "sub").ok().filter(is_plain);
            let profile = profile(members).ok().filter(is_plain);
            actors.push(Actor {
                issuer: issuer.to_owned(),
                subject: subject.ok_or(ActorError::ForeignShape)?,
                profile: profile.ok_or(ActorError::ForeignShape)?,
            });
            next = members.get("act");
        }
        Ok(Self(actors))
    }

    /// The chain with `actor` as the new outermost actor. The same actor twice in a row adds no link.
    ///
    /// # Errors
    /// [`ActorError::TooDeep`] when the chain would have more than `max` links; it is never truncated.
    pub fn extended(&self, actor: Actor, max: usize) -> Result<Self, ActorError> {
        let max = max.min(ACTORS_MAX);
        let repeats = self
            .0
            .first()
            .is_some_and(|newest| newest.issuer == actor.issuer && newest.subject == actor.subject);
        let mut actors = Vec::with_capacity(self.0.len() + 1);
        if !repeats {
            actors.push(actor);
        }
        actors.extend(self.0.iter().cloned());
        if actors.len() > max {
            return Err(ActorError::TooDeep(max));
        }
        Ok(Self(actors))
    }

    /// The subjects of this issuer's actors, newest first.
    pub fn subjects_of<'c>(&'c self, issuer: &'c str) -> impl Iterator<Item = &'c str> {
        self.0
            .iter()
            .filter(move |actor| actor.issuer == issuer)
            .map(|actor| actor.subject.as_str())
    }
}

fn text(members: &Map<String, Value>, name: &str) -> Result<String, ActorError> {
    match members.get(name).and_then(Value::as_str) {
        Some(text) if !text.is_empty() && text.len() <= NAME_MAX_BYTES => Ok(text.to_owned()),
        Some(_) | None => Err(ActorError::Shape),
    }
}

/// `sub_profile`, which an actor of a foreign issuer may lack.
fn profile(members: &Map<String, Value>) -> Result<String, ActorError> {
    if members.contains_key("sub_profile") {
        text(members, "sub_profile")
    } else {
        Ok(String::new())
    }
}

impl Serialize for ActorChain {
    /// The `act` claim: `null` for the empty chain, which a claim set omits.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Link(&self.0).serialize(serializer)
    }
}

struct Link<'c>(&'c [Actor]);

impl Serialize for Link<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some((newest, earlier)) = self.0.split_first() else {
            return serializer.serialize_none();
        };
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("iss", &newest.issuer)?;
        map.serialize_entry("sub", &newest.subject)?;
        if !newest.profile.is_empty() {
            map.serialize_entry("sub_profile", &newest.profile)?;
        }
        if !earlier.is_empty() {
            map.serialize_entry("act", &Link(earlier))?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn actor(subject: &str) -> Actor {
        Actor {
            issuer: "https://id.example.com".to_owned(),
            subject: subject.to_owned(),
            profile: "ai_agent".to_owned(),
        }
    }

    #[test]
    fn a_chain_that_is_not_wholly_understood_is_refused() {
        for bad in [
            json!(null),
            json!("agent:a"),
            json!([]),
            json!({}),
            json!({"iss": "i", "sub": "s", "sub_profile": ""}),
            json!({"iss": "i", "sub": "s", "sub_profile": null}),
            json!({"iss": "i", "sub": "", "sub_profile": "p"}),
            json!({"iss": "i", "sub": ["s"], "sub_profile": "p"}),
            json!({"iss": "i", "sub": "s", "sub_profile": "p", "client_profile": "x"}),
            json!({"iss": "i", "sub": "s", "sub_profile": "p", "act": null}),
            json!({"iss": "i", "sub": "x".repeat(513), "sub_profile": "p"}),
        ] {
            assert_eq!(
                ActorChain::parse(Some(&bad)),
                Err(ActorError::Shape),
                "{bad}"
            );
        }
        let link = |inner: Value| json!({"iss": "i", "sub": "s", "sub_profile": "p", "act": inner});
        let deep = (0..4).fold(
            json!({"iss": "i", "sub": "s", "sub_profile": "p"}),
            |inner, _| link(inner),
        );
        assert_eq!(ActorChain::parse(Some(&deep)), Err(ActorError::TooDeep(4)));
    }

    const PARTNER: &str = "https://partner.example";

    #[test]
    fn a_foreign_chain_that_is_not_of_its_issuer_or_not_of_actors_is_refused() {
        for (bad, expected) in [
            (json!(null), ActorError::ForeignShape),
            (json!("agent:a"), ActorError::ForeignShape),
            (json!([{"sub": "a"}]), ActorError::ForeignShape),
            (json!({}), ActorError::ForeignShape),
            (json!({"sub": ""}), ActorError::ForeignShape),
            (json!({"sub": 7}), ActorError::ForeignShape),
            (json!({"sub": "a\u{0}"}), ActorError::ForeignShape),
            (json!({"sub": "x".repeat(513)}), ActorError::ForeignShape),
            (
                json!({"sub": "a", "sub_profile": 7}),
                ActorError::ForeignShape,
            ),
            (json!({"sub": "a", "iss": 7}), ActorError::ForeignShape),
            (json!({"sub": "a", "act": null}), ActorError::ForeignShape),
            (
                json!({"sub": "a", "iss": "https://id.example.com"}),
                ActorError::OtherIssuer,
            ),
            (
                json!({"sub": "a", "act": {"sub": "b", "iss": "https://third.example"}}),
                ActorError::OtherIssuer,
            ),
        ] {
            let refused = ActorChain::parse_foreign(&bad, PARTNER);
            assert_eq!(refused, Err(expected), "{bad}");
        }
        let deep = (0..4).fold(
            json!({"sub": "s"}),
            |inner, _| json!({"sub": "s", "act": inner}),
        );
        let refused = ActorChain::parse_foreign(&deep, PARTNER);
        assert_eq!(refused, Err(ActorError::TooDeep(4)));
    }

    #[test]
    fn foreign_actors_are_their_issuers_and_never_ours_whatever_they_are_called() {
        let ours = "https://id.example.com";
        let act = json!({
            "sub": "agent:a", "sub_profile": "ai_agent", "client_id": "a",
            "act": {"iss": PARTNER, "sub": "agent:b"},
        });
        let foreign = ActorChain::parse_foreign(&act, PARTNER).unwrap();
        assert_eq!(foreign.subjects_of(ours).count(), 0);
        let chain = foreign.extended(actor("agent:a"), 4).unwrap();
        let written = serde_json::to_value(&chain).unwrap();
        assert_eq!(
            written,
            json!({
                "iss": ours, "sub": "agent:a", "sub_profile": "ai_agent",
                "act": {
                    "iss": PARTNER, "sub": "agent:a", "sub_profile": "ai_agent",
                    "act": {"iss": PARTNER, "sub": "agent:b"},
                },
            })
        );
        assert_eq!(ActorChain::parse(Some(&written)), Ok(chain.clone()));
        assert_eq!(chain.subjects_of(ours).collect::<Vec<_>>(), ["agent:a"]);
        assert_eq!(
            foreign.extended(actor("agent:a"), 2),
            Err(ActorError::TooDeep(2))
        );
    }

    #[test]
    fn a_chain_is_extended_at_its_outside_and_reads_back() {
        let one = ActorChain::default().extended(actor("agent:a"), 4).unwrap();
        let two = one.extended(actor("agent:b"), 4).unwrap();
        let written = serde_json::to_value(&two).unwrap();
        assert_eq!(
            written,
            json!({
                "iss": "https://id.example.com", "sub": "agent:b", "sub_profile": "ai_agent",
                "act": {"iss": "https://id.example.com", "sub": "agent:a", "sub_profile": "ai_agent"},
            })
        );
        assert_eq!(ActorChain::parse(Some(&written)), Ok(two.clone()));
        assert_eq!(two.extended(actor("agent:b"), 4), Ok(two.clone()));
        assert_eq!(
            two.extended(actor("agent:c"), 2),
            Err(ActorError::TooDeep(2))
        );
        assert_eq!(ActorChain::parse(None), Ok(ActorChain::default()));
        assert_eq!(
            two.subjects_of("https://id.example.com")
                .collect::<Vec<_>>(),
            ["agent:b", "agent:a"]
        );
    }
}
