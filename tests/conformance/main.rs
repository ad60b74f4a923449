//! The contract of the store: each case once per engine, on a fresh database. What only one engine can
//! do wrong is in `opening.rs`.

#![expect(clippy::unwrap_used, reason = "a case that cannot go on has failed")]

mod administrators;
mod agents;
mod assertions;
mod audit;
mod claude_links;
mod credentials;
mod delegations;
mod groups;
mod issuers;
mod key_consumers;
mod keys;
mod lineage;
mod opening;
mod plans;
mod resources;
mod roles;
mod support;
mod transactions;
mod trusted_issuers;

/// Makes a test of every case for every engine. A case that is not listed is an unused function, and so
/// a warning.
macro_rules! conformance {
    ($($module:ident: $($case:ident),+ $(,)?;)+) => {
        conformance!(@engine sqlite: $($($module $case,)+)+);
        conformance!(@engine postgres: $($($module $case,)+)+);
    };
    (@engine $engine:ident: $($module:ident $case:ident,)+) => {
        mod $engine {
            $(
                #[tokio::test]
                async fn $case() {
                    let database = super::support::$engine().await;
                    super::$module::$case(&database.store).await;
                    database.store.close().await;
                }
            )+
        }
    };
}

conformance! {
    transactions:
        a_failed_statement_spoils_the_commit,
        a_reader_cannot_write,
        a_reader_sees_one_moment,
        what_is_not_committed_is_gone,
        what_a_failed_transaction_leaves_behind_is_outside_it,
        strangers_reads_leave_connections_for_the_rest,
        who_waited_for_the_head_sees_the_suspension,
        heads_of_two_issuers_do_not_wait_for_each_other;
    issuers:
        a_slug_and_a_url_are_given_out_once,
        settings_change_but_never_take_the_url_of_another,
        assertions_not_before_only_moves_forward,
        an_unknown_issuer_has_no_head,
        the_head_keeps_what_it_is_given;
    agents:
        an_agents_name_is_never_given_out_twice,
        an_agents_subject_is_never_given_out_twice,
        an_agent_cannot_be_in_a_group_that_is_not_there,
        an_agent_of_another_issuer_is_not_found,
        names_are_case_sensitive_and_nul_matches_nothing,
        an_agents_update_on_a_stale_version_changes_nothing,
        a_removed_agent_stays_removed,
        a_page_asked_for_with_a_nul_is_no_failure,
        an_agent_reads_back_whole,
        an_agent_changes_all_but_its_name_and_subject,
        changed_agents_come_by_version,
        agents_come_in_byte_order_page_by_page,
        agents_are_filtered,
        members_of_a_group_and_holders_of_a_role_are_found,
        holders_of_a_role_are_filtered,
        holders_of_a_role_come_page_by_page_each_once,
        percent_and_underscore_stand_for_themselves,
        members_and_holders_are_counted;
    groups:
        a_groups_name_is_never_given_out_twice,
        a_groups_update_on_a_stale_version_changes_nothing,
        groups_read_back_whole;
    roles:
        a_roles_name_is_never_given_out_twice,
        a_roles_update_on_a_stale_version_changes_nothing,
        roles_read_back_whole,
        roles_granting_a_resource_are_named;
    resources:
        a_live_resources_name_and_identifier_are_given_out_once,
        a_removed_resources_name_and_identifier_are_free,
        a_resources_update_on_a_stale_version_changes_nothing,
        resources_read_back_whole;
    credentials:
        a_public_key_proves_one_agent,
        a_kid_names_one_key_of_an_agent,
        a_credential_needs_its_agent,
        a_revoked_credential_stays_revoked,
        credentials_come_newest_last,
        live_credentials_of_all_agents_come_by_id;
    keys:
        one_key_of_an_algorithm_is_active_and_one_prepared,
        a_key_moves_only_from_where_it_is,
        a_key_does_not_move_where_another_is,
        a_retired_key_loses_its_private_half,
        a_sealed_secret_is_never_replaced;
    key_consumers:
        a_key_consumers_name_is_one_consumers_until_it_is_removed,
        a_key_is_acknowledged_once_by_a_consumer_that_is_there,
        an_acknowledgement_is_taken_back_alone,
        a_key_that_is_not_there_is_not_acknowledged;
    claude_links:
        an_agent_has_at_most_one_claude_link,
        a_claude_link_needs_its_agent,
        a_claude_links_change_on_a_stale_version_changes_nothing,
        claude_links_read_back_whole_by_the_agents_name;
    trusted_issuers:
        a_trusted_issuers_name_is_never_given_out_twice,
        a_trusted_issuers_update_on_a_stale_version_changes_nothing,
        trusted_issuers_read_back_whole_by_name,
        a_federated_credential_is_found_by_its_subject,
        federated_credentials_that_are_over_rest_on_nothing,
        agents_that_a_token_could_prove_are_found_up_to_a_limit,
        keys_are_kept_of_a_trusted_issuer_as_it_is_now_alone;
    delegations:
        a_delegation_needs_its_actor,
        a_revoked_delegation_stays_revoked,
        delegations_read_back_whole_with_their_actor,
        delegations_that_are_over_are_not_counted_and_crowd_out_none,
        what_ended_long_ago_is_noticed_and_purged_in_portions,
        delegations_are_found_by_the_subjects_that_they_take,
        what_a_delegation_speaks_of_has_a_name_removed_or_not;
    lineage:
        a_root_that_two_tokens_bring_is_one_row,
        a_line_is_read_upward_to_its_root,
        a_revoked_token_is_found_by_its_id,
        a_mark_only_moves_forward_and_is_of_one_kind,
        revocations_go_when_the_tokens_would_have_expired,
        revocations_and_marks_are_read_in_pages,
        lineage_reads_back_whole,
        what_has_expired_is_noticed_and_lineage_purged_in_portions;
    administrators:
        an_administrators_name_and_token_are_never_given_out_twice,
        an_administrator_is_revoked_once,
        an_administrators_update_on_a_stale_version_changes_nothing,
        administrators_read_back_whole;
    assertions:
        an_assertion_is_used_once,
        of_many_assertions_only_the_used_ones_lose,
        digests_and_token_ids_compare_byte_by_byte,
        an_issuers_assertions_are_its_own,
        expired_assertions_are_purged_in_portions;
    audit:
        a_number_in_the_chain_is_given_out_once,
        an_entry_with_a_nul_is_refused,
        entries_read_back_whole_and_in_order,
        entries_are_filtered,
        entries_are_filtered_by_several_things_at_once,
        an_agents_tokens_and_other_entries_are_one_page,
        what_was_done_to_an_object_or_by_someone_is_found,
        a_part_of_the_audit_is_read_in_either_direction,
        the_entry_with_which_a_token_left_is_found,
        the_last_token_of_an_agent_is_found;
}
