//! The `act` claim (RFC 8693 §4.1): who acts, and who acted before. A chain is only ever extended at its
//! outside, never shortened or rewritten; an actor is the pair of issuer and subject.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

/// Most actors in a chain: more is a mistake or a loop, and each makes the token longer.
pub const ACTORS_MAX: usize = 4;
/// Longest `iss` or `sub` of an actor, in bytes.
const NAME_MAX_BYTES: usize = 512;

/// One actor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// `iss`: whose subject it is.
    pub issuer: String,
    /// `sub`.
    pub subject: String,
    /// `sub_profile`: what it is; `ai_agent` for agents.
    pub profile: String,
}

/// The actors of a token, newest first. Empty: nobody acts for the subject but itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActorChain(Vec<Actor>);

/// Why a chain cannot be read or extended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ActorError {
    /// An `act` is not an object with `iss`, `sub` and `sub_profile`, or holds something else.
    #[error("`act` must be an object of `iss`, `sub`, `sub_profile` and at most one further `act`")]
    Shape,
    /// There would be more than [`ACTORS_MAX`] actors.
    #[error("the chain of actors would have more than {0} links")]
    TooDeep(usize),
}

impl ActorChain {
    /// The actors, newest first.
    #[must_use]
    pub fn actors(&self) -> &[Actor] {
        &self.0
    }

    /// True when nobody acts.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Reads an `act` claim that this issuer wrote; `None` is the empty chain.
    ///
    /// # Errors
    /// [`ActorError`]; a chain is read whole or not at all.
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
                profile: text(members, "sub_profile")?,
            });
            next = members.get("act");
        }
        Ok(Self(actors))
    }

    /// The chain with `actor` at its outside. The same actor twice in a row adds no link.
    ///
    /// # Errors
    /// [`ActorError::TooDeep`] when there would be more than `max` links; nothing is cut off.
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

    /// The subjects of this issuer that act, newest first.
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

impl Serialize for ActorChain {
    /// The `act` claim: `null` for the empty chain, which a claim set leaves out.
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
        map.serialize_entry("sub_profile", &newest.profile)?;
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
            json!({"iss": "i", "sub": "s"}),
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
