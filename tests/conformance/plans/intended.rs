//! What each statement may do. The lists of exceptions may only shrink: an entry that is needed no longer
//! fails the test.

/// Tables that grow with agents and tokens: each way to their rows is intended, and stands here.
pub(super) const LARGE: [&str; 9] = [
    "agents",
    "audit",
    "credentials",
    "delegations",
    "end_marks",
    "federated_credentials",
    "revoked_tokens",
    "token_lineage",
    "used_assertions",
];

/// Tables with one row for each issuer: `issuer_id` is the whole key.
pub(super) const ONE_ROW_EACH: [&str; 2] = ["audit_head", "write_proofs"];

/// The way of each statement on a large table to its rows: the names in the statement with the columns of
/// the index that narrow them down. On PostgreSQL an index may narrow down further.
pub(super) const ACCESSES: &[(&str, &[&str])] = &[
    ("agents BY_ID", &["agent(issuer_id, id)"]),
    ("agents BY_NAME", &["agent(issuer_id, name)"]),
    ("agents CHANGED", &["agents(issuer_id, version)"]),
    (
        "agents COUNT_HOLDERS",
        &[
            "agent(issuer_id, id)",
            "assignment(issuer_id, role_id)",
            "assignment(issuer_id, role_id)",
            "team(issuer_id, id)",
        ],
    ),
    (
        "agents COUNT_MEMBERS",
        &["agent(issuer_id, id)", "membership(issuer_id, group_id)"],
    ),
    ("agents NAMES_OF", &["agents(issuer_id, id)"]),
    ("agents NAME_BY_SUBJECT", &["agents(issuer_id, subject)"]),
    // A page walks the names, and reads past agents that the filter leaves out.
    ("agents PAGE", &["agent(issuer_id, name)"]),
    // A page walks the members of a group, whatever other agents there are.
    (
        "agents PAGE_OF_GROUP",
        &[
            "agent(issuer_id, id)",
            "assignment(issuer_id, agent_id, role_id)",
            "held(issuer_id, group_id, agent_id)",
            "membership(issuer_id, agent_id)",
            "passed(issuer_id, group_id, role_id)",
        ],
    ),
    // For a role that many groups pass on: a page walks all agents.
    (
        "agents PAGE_OF_HOLDERS",
        &[
            "agent(issuer_id, id)",
            "assignment(issuer_id, agent_id, role_id)",
            "membership(issuer_id, agent_id)",
            "passed(issuer_id, group_id, role_id)",
        ],
    ),
    (
        "agents PAGE_OF_ROLE",
        &["agent(issuer_id, id)", "held(issuer_id, role_id, agent_id)"],
    ),
    ("agents TOUCH", &["agents(issuer_id, id)"]),
    ("agents UPDATE", &["agents(issuer_id, id)"]),
    ("agents VERSION", &["agents(issuer_id, id)"]),
    ("agents VERSIONS", &["agents(issuer_id, id)"]),
    (
        "assertions PURGE",
        &[
            "used_assertions(issuer_id, digest)",
            "used_assertions(issuer_id, expires_at)",
        ],
    ),
    (
        "assertions TOKENS_OF",
        &["used_assertions(issuer_id, digest)"],
    ),
    // Both read past entries that the filter leaves out, but no further than the bounds that they are given.
    ("audit FOLLOWING", &["audit(issuer_id, seq, seq)"]),
    ("audit PAGE", &["audit(issuer_id, seq, seq)"]),
    ("audit FROM", &["audit(issuer_id, seq)"]),
    ("audit ISSUED", &["audit(issuer_id, token_id)"]),
    ("audit LAST_TOKEN", &["audit(issuer_id, agent_id)"]),
    (
        "audit PAGE_BY_ACTOR",
        &["audit(issuer_id, actor, seq, seq)"],
    ),
    (
        "audit PAGE_BY_AGENT",
        &[
            "audit(issuer_id, agent_id, seq, seq)",
            "audit(issuer_id, agent_id, seq, seq)",
        ],
    ),
    (
        "audit PAGE_BY_TARGET",
        &["audit(issuer_id, target, seq, seq)"],
    ),
    (
        "audit PAGE_BY_TOKEN",
        &["audit(issuer_id, token_id, seq, seq)"],
    ),
    (
        "audit PAGE_BY_TOKENS_OF_AGENT",
        &["audit(issuer_id, agent_id, seq, seq)"],
    ),
    (
        "claude_links OF_AGENT",
        &["agents(issuer_id, id)", "claude_links(issuer_id, agent_id)"],
    ),
    (
        "claude_links PAGE",
        &[
            "agents(issuer_id, name)",
            "claude_links(issuer_id, agent_id)",
        ],
    ),
    // By an index of each half, in the order of the agents, so that no more are read than are compared.
    (
        "credentials AGENTS_OF_TOKEN",
        &[
            "agent(issuer_id, id)",
            "held(issuer_id, trusted_issuer_id)",
            "held(issuer_id, trusted_issuer_id, subject)",
        ],
    ),
    ("credentials BY_ID", &["credentials(issuer_id, id)"]),
    (
        "credentials COUNT_OF_TRUSTED_ISSUER",
        &[
            "agent(issuer_id, id)",
            "held(issuer_id, trusted_issuer_id, <expr>)",
        ],
    ),
    (
        "credentials FEDERATED_BY_ID",
        &["federated_credentials(issuer_id, id)"],
    ),
    (
        "credentials FEDERATED_OF_AGENT",
        &["federated_credentials(issuer_id, agent_id)"],
    ),
    (
        "credentials FEDERATED_PAGE",
        &["agent(issuer_id, id)", "held(issuer_id, id)"],
    ),
    (
        "credentials OF_AGENT",
        &["credentials(issuer_id, agent_id)"],
    ),
    (
        "credentials OF_TRUSTED_ISSUER",
        &["federated_credentials(issuer_id, trusted_issuer_id, <expr>)"],
    ),
    (
        "credentials PAGE",
        &["agent(issuer_id, id)", "held(issuer_id, id)"],
    ),
    ("credentials UPDATE", &["credentials(issuer_id, id)"]),
    (
        "credentials UPDATE_FEDERATED",
        &["federated_credentials(issuer_id, id)"],
    ),
    ("delegations BY_ID", &["delegations(issuer_id, id)"]),
    (
        "delegations COUNT_OF_TRUSTED_ISSUER",
        &["delegations(issuer_id, trusted_issuer_id, expires_at)"],
    ),
    (
        "delegations NAMES_OF",
        &[
            "agents(issuer_id, id)",
            "delegations(issuer_id, id)",
            "resources(issuer_id, id)",
            "resources(issuer_id, id)",
            "trusted_issuers(issuer_id, id)",
        ],
    ),
    (
        "delegations OF_ACTOR",
        &["delegations(issuer_id, actor_id)"],
    ),
    (
        "delegations OF_RESOURCE",
        &["delegations(issuer_id, resource_id, expires_at)"],
    ),
    (
        "delegations OF_TRUSTED_ISSUER",
        &["delegations(issuer_id, trusted_issuer_id, expires_at)"],
    ),
    // A page walks the ids, and reads past delegations that the filter leaves out.
    ("delegations PAGE", &["delegations(issuer_id, id)"]),
    (
        "delegations PAGE_OF_ACTOR",
        &["delegations(issuer_id, actor_id, id)"],
    ),
    ("delegations UPDATE", &["delegations(issuer_id, id)"]),
    (
        "ended HOLDS_ENDED",
        &[
            "delegations(issuer_id, expires_at)",
            "federated_credentials(issuer_id, expires_at)",
            "federated_credentials(issuer_id, revoked_at)",
        ],
    ),
    (
        "ended PURGE_DELEGATIONS",
        &[
            "delegations(issuer_id, expires_at)",
            "delegations(issuer_id, id)",
        ],
    ),
    (
        "ended PURGE_FEDERATED",
        &[
            "federated_credentials(issuer_id, expires_at)",
            "federated_credentials(issuer_id, id)",
        ],
    ),
    (
        "ended PURGE_REVOKED",
        &[
            "federated_credentials(issuer_id, id)",
            "federated_credentials(issuer_id, revoked_at)",
        ],
    ),
    // Upward, one row at a time.
    (
        "lineage ANCESTRY",
        &[
            "above(issuer_id, token_id)",
            "token_lineage(issuer_id, token_id)",
        ],
    ),
    ("lineage CHILDREN", &["token_lineage(issuer_id, parent_id)"]),
    (
        "lineage HOLDS_EXPIRED",
        &[
            "end_marks(issuer_id, expires_at)",
            "revoked_tokens(issuer_id, expires_at)",
            "token_lineage(issuer_id, expires_at)",
            "used_assertions(issuer_id, expires_at)",
        ],
    ),
    // Pages walk the keys: what has expired is purged, so that few rows are read past.
    ("lineage MARKS", &["end_marks(issuer_id, kind, key)"]),
    ("lineage MARKS_AMONG", &["end_marks(issuer_id, key)"]),
    ("lineage OF_TOKEN", &["token_lineage(issuer_id, token_id)"]),
    (
        "lineage PURGE",
        &[
            "token_lineage(issuer_id, expires_at)",
            "token_lineage(issuer_id, token_id)",
        ],
    ),
    (
        "lineage PURGE_MARKS",
        &[
            "end_marks(issuer_id, expires_at)",
            "end_marks(issuer_id, kind, key)",
        ],
    ),
    (
        "lineage PURGE_REVOKED",
        &[
            "revoked_tokens(issuer_id, expires_at)",
            "revoked_tokens(issuer_id, token_id)",
        ],
    ),
    ("lineage REVOKED", &["revoked_tokens(issuer_id, token_id)"]),
    (
        "lineage REVOKED_AMONG",
        &["revoked_tokens(issuer_id, token_id)"],
    ),
];

/// Statements on the other tables that read all rows of an issuer, and why that is meant.
pub(super) const WHOLE: &[(&str, &str)] = &[
    (
        "administrators ALL",
        "people and their automations: a list of a few",
    ),
    ("administrators HOLDS_ANY", "ends at the first row"),
    ("groups LIVE", "the policy in memory holds all groups"),
    ("issuers ALL", "all issuers are asked for"),
    (
        "key_consumers ACKNOWLEDGED",
        "a few consumers of a few keys",
    ),
    ("key_consumers LIVE", "a list of a few"),
    ("keys ALL", "the key ring in memory holds all keys"),
    (
        "keys MOVE",
        "compares with the other keys of the issuer, which are a few",
    ),
    (
        "read_only APPLIED",
        "one row a migration, read by a check before a start",
    ),
    ("resources LIVE", "the policy in memory holds all resources"),
    (
        "roles GRANTING",
        "the policy in memory holds all roles; this is asked when a resource is removed",
    ),
    ("roles LIVE", "the policy in memory holds all roles"),
    (
        "trusted_issuers LIVE",
        "the policy in memory holds all trusted issuers",
    ),
];

/// Statements that sort what they found, and why that is little.
pub(super) const SORTS: &[(&str, &str)] = &[
    ("audit PAGE_BY_AGENT", "two halves of at most a page each"),
    (
        "credentials AGENTS_OF_TOKEN",
        "two halves of at most as many agents as are compared become one set, by name",
    ),
    (
        "credentials FEDERATED_OF_AGENT",
        "the credentials of one agent, and only those of one second",
    ),
    (
        "credentials OF_AGENT",
        "the credentials of one agent, and only those of one second",
    ),
    ("keys ALL", "the key ring is small"),
    (
        "lineage ANCESTRY",
        "a line is as long as there were exchanges since its root, which are bounded",
    ),
    (
        "roles GRANTING",
        "the names of the roles that grant one resource",
    ),
];

/// On PostgreSQL the best plan depends on what is bound, and the server keeps planning these for their
/// values, because its plan for any values costs more: they are looked at with these.
pub(super) const PLANNED_FOR: &[(&str, &str)] = &[
    ("ended HOLDS_ENDED", "'home', 10"),
    ("ended PURGE_DELEGATIONS", "'home', 10, 1000"),
    ("ended PURGE_FEDERATED", "'home', 10, 1000"),
    ("ended PURGE_REVOKED", "'home', 10, 1000"),
    ("lineage HOLDS_EXPIRED", "'home', 10"),
    ("assertions PURGE", "'home', 10, 1000"),
    (
        "audit PAGE",
        "'home', 9000000000000000000, NULL, NULL, NULL, NULL, -9000000000000000000, 9000000000000000000, 3, NULL, 0",
    ),
    ("lineage PURGE", "'home', 10, 1000"),
    ("lineage PURGE_MARKS", "'home', 10, 1000"),
    ("lineage PURGE_REVOKED", "'home', 10, 1000"),
];
