//! The events of audit entries: one table with their names and the kind of object that each concerns.

/// The event of an entry. Closed: a new audited action is a new variant and a row of the table below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AuditEvent {
    /// An issuer was created.
    IssuerCreated,
    /// An issuer's settings changed.
    IssuerChanged,
    /// An administrator was created.
    AdministratorCreated,
    /// An administrator's role or expiry changed.
    AdministratorChanged,
    /// An administrator got a new token; the old one ended.
    AdministratorRotated,
    /// An administrator's token was revoked.
    AdministratorRevoked,
    /// A call to the admin API was refused; unauthenticated callers are counted per interval.
    AdminRefused,
    /// An agent was registered.
    AgentCreated,
    /// An agent was edited.
    AgentChanged,
    /// An agent was suspended.
    AgentSuspended,
    /// An agent was resumed.
    AgentResumed,
    /// An agent was removed; its name is never reused.
    AgentRemoved,
    /// A credential was added to an agent.
    CredentialAdded,
    /// A credential was replaced; the old one expires after an overlap.
    CredentialRotated,
    /// A credential was revoked.
    CredentialRevoked,
    /// A group was created.
    GroupCreated,
    /// A group was edited.
    GroupChanged,
    /// A group was removed.
    GroupRemoved,
    /// A role was created.
    RoleCreated,
    /// A role was edited.
    RoleChanged,
    /// A role was removed.
    RoleRemoved,
    /// A resource was created.
    ResourceCreated,
    /// A resource was edited.
    ResourceChanged,
    /// A resource was removed.
    ResourceRemoved,
    /// A signing key was generated and published.
    KeyPrepared,
    /// A signing key started signing; its predecessor is retiring.
    KeyActivated,
    /// A signing key left the JWKS after its last token had expired.
    KeyRetired,
    /// A signing key was revoked at once.
    KeyRevoked,
    /// A key consumer (which holds a copy of the keys) was registered.
    KeyConsumerAdded,
    /// A key consumer was removed.
    KeyConsumerRemoved,
    /// A key consumer acknowledged that it holds some keys.
    KeyAcknowledged,
    /// An agent was linked to its objects at Claude, or the link changed.
    ClaudeLinked,
    /// The link of an agent to its objects at Claude was removed.
    ClaudeUnlinked,
    /// A trusted issuer was added.
    TrustedIssuerAdded,
    /// The definition of a trusted issuer changed.
    TrustedIssuerChanged,
    /// A trusted issuer was removed.
    TrustedIssuerRemoved,
    /// A delegation was added: an agent may act for a subject.
    DelegationAdded,
    /// The expiry of a delegation changed.
    DelegationChanged,
    /// A delegation was suspended.
    DelegationSuspended,
    /// A delegation was resumed.
    DelegationResumed,
    /// A delegation was revoked.
    DelegationRevoked,
    /// A token was revoked, with every token made from it.
    TokenRevoked,
    /// All tokens issued so far to a subject were revoked.
    SubjectRevoked,
    /// An access token was issued.
    TokenIssued,
    /// An ID token was issued.
    IdTokenIssued,
    /// A token was refused to an authenticated agent; equal refusals are folded per interval.
    TokenRefused,
    /// Unauthenticated clients were refused, counted per interval.
    ClientRefused,
    /// Refusals without an entry of their own, because it could not be written or too many were waiting.
    RefusalsLost,
}

/// One event.
struct Row {
    event: AuditEvent,
    /// The name on the wire and in the database.
    name: &'static str,
    /// The prefix of an entry's `target`, before the colon. `None`: the target is a subject, a request or a
    /// claimed client id.
    target: Option<&'static str>,
}

impl Row {
    const fn new(event: AuditEvent, name: &'static str, target: Option<&'static str>) -> Self {
        Self {
            event,
            name,
            target,
        }
    }
}

/// Every event, in the order of the variants.
const EVENTS: [Row; 48] = [
    Row::new(AuditEvent::IssuerCreated, "issuer.created", Some("issuer")),
    Row::new(AuditEvent::IssuerChanged, "issuer.changed", Some("issuer")),
    Row::new(
        AuditEvent::AdministratorCreated,
        "administrator.created",
        Some("administrator"),
    ),
    Row::new(
        AuditEvent::AdministratorChanged,
        "administrator.changed",
        Some("administrator"),
    ),
    Row::new(
        AuditEvent::AdministratorRotated,
        "administrator.rotated",
        Some("administrator"),
    ),
    Row::new(
        AuditEvent::AdministratorRevoked,
        "administrator.revoked",
        Some("administrator"),
    ),
    Row::new(AuditEvent::AdminRefused, "admin.refused", None),
    Row::new(AuditEvent::AgentCreated, "agent.created", Some("agent")),
    Row::new(AuditEvent::AgentChanged, "agent.changed", Some("agent")),
    Row::new(AuditEvent::AgentSuspended, "agent.suspended", Some("agent")),
    Row::new(AuditEvent::AgentResumed, "agent.resumed", Some("agent")),
    Row::new(AuditEvent::AgentRemoved, "agent.removed", Some("agent")),
    Row::new(
        AuditEvent::CredentialAdded,
        "credential.added",
        Some("agent"),
    ),
    Row::new(
        AuditEvent::CredentialRotated,
        "credential.rotated",
        Some("agent"),
    ),
    Row::new(
        AuditEvent::CredentialRevoked,
        "credential.revoked",
        Some("agent"),
    ),
    Row::new(AuditEvent::GroupCreated, "group.created", Some("group")),
    Row::new(AuditEvent::GroupChanged, "group.changed", Some("group")),
    Row::new(AuditEvent::GroupRemoved, "group.removed", Some("group")),
    Row::new(AuditEvent::RoleCreated, "role.created", Some("role")),
    Row::new(AuditEvent::RoleChanged, "role.changed", Some("role")),
    Row::new(AuditEvent::RoleRemoved, "role.removed", Some("role")),
    Row::new(
        AuditEvent::ResourceCreated,
        "resource.created",
        Some("resource"),
    ),
    Row::new(
        AuditEvent::ResourceChanged,
        "resource.changed",
        Some("resource"),
    ),
    Row::new(
        AuditEvent::ResourceRemoved,
        "resource.removed",
        Some("resource"),
    ),
    Row::new(AuditEvent::KeyPrepared, "key.prepared", Some("key")),
    Row::new(AuditEvent::KeyActivated, "key.activated", Some("key")),
    Row::new(AuditEvent::KeyRetired, "key.retired", Some("key")),
    Row::new(AuditEvent::KeyRevoked, "key.revoked", Some("key")),
    Row::new(
        AuditEvent::KeyConsumerAdded,
        "key_consumer.added",
        Some("key-consumer"),
    ),
    Row::new(
        AuditEvent::KeyConsumerRemoved,
        "key_consumer.removed",
        Some("key-consumer"),
    ),
    Row::new(
        AuditEvent::KeyAcknowledged,
        "key.acknowledged",
        Some("key-consumer"),
    ),
    Row::new(AuditEvent::ClaudeLinked, "claude.linked", Some("agent")),
    Row::new(AuditEvent::ClaudeUnlinked, "claude.unlinked", Some("agent")),
    Row::new(
        AuditEvent::TrustedIssuerAdded,
        "trusted_issuer.added",
        Some("trusted-issuer"),
    ),
    Row::new(
        AuditEvent::TrustedIssuerChanged,
        "trusted_issuer.changed",
        Some("trusted-issuer"),
    ),
    Row::new(
        AuditEvent::TrustedIssuerRemoved,
        "trusted_issuer.removed",
        Some("trusted-issuer"),
    ),
    Row::new(
        AuditEvent::DelegationAdded,
        "delegation.added",
        Some("delegation"),
    ),
    Row::new(
        AuditEvent::DelegationChanged,
        "delegation.changed",
        Some("delegation"),
    ),
    Row::new(
        AuditEvent::DelegationSuspended,
        "delegation.suspended",
        Some("delegation"),
    ),
    Row::new(
        AuditEvent::DelegationResumed,
        "delegation.resumed",
        Some("delegation"),
    ),
    Row::new(
        AuditEvent::DelegationRevoked,
        "delegation.revoked",
        Some("delegation"),
    ),
    Row::new(AuditEvent::TokenRevoked, "token.revoked", None),
    Row::new(AuditEvent::SubjectRevoked, "subject.revoked", None),
    Row::new(AuditEvent::TokenIssued, "token.issued", None),
    Row::new(AuditEvent::IdTokenIssued, "id_token.issued", None),
    Row::new(AuditEvent::TokenRefused, "token.refused", None),
    Row::new(AuditEvent::ClientRefused, "client.refused", None),
    Row::new(AuditEvent::RefusalsLost, "refusals.lost", None),
];

// A row in the wrong place would swap the names of events.
const _: () = {
    let mut at = 0;
    while at < EVENTS.len() {
        assert!(EVENTS[at].event as usize == at);
        at += 1;
    }
};

impl AuditEvent {
    /// All events.
    pub const ALL: [Self; EVENTS.len()] = {
        let mut all = [Self::IssuerCreated; EVENTS.len()];
        let mut at = 0;
        while at < EVENTS.len() {
            all[at] = EVENTS[at].event;
            at += 1;
        }
        all
    };

    /// The event's name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        EVENTS[self as usize].name
    }

    /// The event of that name.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|event| event.as_str() == text)
    }

    /// The kind of object that the event concerns, the prefix of its entries' targets: `agent` in `agent:mailer`.
    /// `None` when the target is not a named object: a subject, a request, a claimed client id.
    #[must_use]
    pub fn target_kind(self) -> Option<&'static str> {
        EVENTS[self as usize].target
    }

    /// Whether it issues a token. The SQL on the audit separates these events.
    #[must_use]
    pub fn is_issuance(self) -> bool {
        matches!(self, Self::TokenIssued | Self::IdTokenIssued)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_has_a_name_of_its_own() {
        for event in AuditEvent::ALL {
            assert_eq!(AuditEvent::parse(event.as_str()), Some(event));
        }
    }
}
