//! Identifiers as types, so that a group's id does not compile as an agent's. All are UUID version 7 (RFC 9562
//! §5.7) as text: ordered by time, so that indexes on them stay efficient.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ports::random::{Random, random_bytes};
use crate::ports::time::UnixMillis;

fn uuid_v7(now: UnixMillis, random: &dyn Random) -> String {
    let millis = u64::try_from(now.0).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random_bytes::<10>(random))
        .into_uuid()
        .to_string()
}

macro_rules! id_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// A new id, ordered by `now`.
            pub fn new(now: UnixMillis, random: &dyn Random) -> Self {
                Self(uuid_v7(now, random))
            }

            /// An id from the database or from a caller; an unknown id matches no row.
            pub fn from_text(text: impl Into<String>) -> Self {
                Self(text.into())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

id_type!(
    /// An issuer.
    IssuerId
);
id_type!(
    /// An agent.
    AgentId
);
id_type!(
    /// A group of agents.
    GroupId
);
id_type!(
    /// A role.
    RoleId
);
id_type!(
    /// A resource.
    ResourceId
);
id_type!(
    /// A credential of an agent.
    CredentialId
);
id_type!(
    /// An administrator.
    AdministratorId
);
id_type!(
    /// A trusted issuer.
    TrustedIssuerId
);
id_type!(
    /// A delegation.
    DelegationId
);
