//! The step types against two servers with the same functions: the sandbox's stand-in, and Kubernetes' own control
//! plane. What they agree on, the stand-in may be trusted for.

#![expect(
    clippy::disallowed_methods,
    reason = "tests write what is applied, and keep the folders of their servers"
)]

mod added;
mod beside;
mod busy;
mod catalogue;
mod conformance;
mod cuts;
mod definitions;
mod faults;
mod images;
mod keepers;
mod kinds;
mod line;
mod manifests;
mod objects;
mod people;
mod place;
mod probes;
mod proxy;
mod quiesce;
mod refusals;
mod registry;
mod resume;
mod revisions;
mod rollouts;
mod server;
mod wire;
mod writers;

/// Makes a test on a server of each function.
macro_rules! on_server {
    ($module:ident, $server:ident: $($room:ident::$case:ident),+ $(,)?) => {
        mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::$room::$case(&crate::server::Server::$server().await).await;
            })+
        }
    };
}

/// Makes a test on either server of each function.
macro_rules! on_both_servers {
    ($($module:ident::$case:ident),+ $(,)?) => {
        on_server!(on_the_stand_in, stand_in: $($module::$case),+);
        on_server!(on_a_control_plane, control_plane: $($module::$case),+);
    };
}

on_both_servers! {
    quiesce::counts_are_written_down_before_the_stop,
    quiesce::a_mark_wins_over_a_count_of_zero,
    quiesce::what_is_not_there_is_named_with_its_namespace,
    quiesce::somebody_who_scales_it_up_again_is_noticed,
    quiesce::pods_of_another_workload_are_not_waited_for,
    resume::what_was_written_down_comes_back,
    resume::without_a_journal_the_mark_tells,
    resume::one_that_is_gone_keeps_no_other_stopped,
    resume::a_fallback_is_for_what_nobody_knows,
    resume::a_note_of_an_earlier_scale_does_not_count,
    resume::an_autoscaler_is_not_undercut,
    resume::put_back_and_stopped_again,
    resume::an_image_that_cannot_be_pulled_fails_fast,
    resume::a_crash_loop_fails_with_the_way_to_its_log,
    rollouts::scale_goes_up_and_down,
    rollouts::a_rollout_is_followed_to_its_end,
    rollouts::a_workload_that_wants_nothing_serves_nobody,
    rollouts::a_cluster_says_what_it_lacks,
    writers::a_cron_job_is_suspended_and_comes_back,
    writers::a_cron_job_that_rested_before_stays_so,
    writers::what_stays_stopped_is_told,
    writers::its_running_jobs_are_waited_for,
    writers::a_resume_by_itself_announces_what_it_does,
    writers::what_an_autoscaler_had_come_to_comes_back,
    writers::bounds_are_marked_for_who_has_no_journal,
    writers::bounds_that_were_raised_meanwhile_count,
    revisions::a_deployment_goes_there_and_back,
    revisions::a_stateful_set_goes_there_and_back,
    revisions::a_daemon_set_goes_there_and_back,
    revisions::a_paused_rollout_is_not_undone,
    revisions::a_container_that_is_not_there_is_not_made,
    revisions::a_bad_image_fails_fast_and_what_was_saved_leads_back,
    revisions::a_restart_renews_every_pod_once,
    revisions::a_stateful_set_comes_back_from_an_image_that_cannot_be_pulled,
    revisions::a_restart_is_no_revision_to_go_back_to,
    revisions::a_tag_is_recorded_by_the_digest_that_its_pods_run,
    revisions::a_deadline_that_an_older_rollout_missed_is_not_held_against_the_next,
    refusals::what_no_node_takes_is_told,
    images::a_tag_is_deployed_by_the_digest_that_it_names,
    images::the_latest_is_deployed_by_its_digest_where_it_is_allowed,
    images::another_run_takes_what_the_tag_names_by_then,
    images::a_registry_is_asked_with_the_login_that_its_nodes_have,
    images::a_token_is_fetched_where_the_registry_sends_for_one,
    images::a_registry_that_cannot_be_asked_leaves_a_way_open,
    keepers::who_will_undo_a_change_is_told,
    people::pods_are_listed_as_kubectl_does,
    people::what_is_described_helps_and_tells_no_secret,
    faults::a_viewer_may_look_and_not_stop,
    faults::an_api_server_that_comes_back_is_waited_for,
    faults::a_stalled_api_server_does_not_hold_up_a_stop,
    faults::an_api_server_that_is_away_is_unavailable,
    wire::whatever_fails_once_is_lived_through,
    wire::a_server_that_has_too_much_to_do_is_left_alone_as_long_as_it_asks,
    wire::a_list_whose_place_is_forgotten_is_begun_anew,
    wire::a_token_that_runs_out_is_read_anew,
    wire::a_program_that_tells_tokens_is_asked_again,
    probes::quiesce_is_told_at_every_point,
    probes::resume_and_scale_are_told_at_every_point,
    conformance::previews_write_nothing_and_say_what_runs_do,
    conformance::twice_equals_once,
    conformance::each_save_can_be_gone_on_from,
    conformance::a_stop_is_heard,
}

// What only one of the two can be asked.
on_server! {
    on_the_stand_in_alone, stand_in:
    objects::what_is_made_of_a_member_is_no_member,
    rollouts::a_cordoned_node_takes_nothing,
    rollouts::what_is_not_ready_in_time_is_told_with_pods_events_and_logs,
    people::logs_are_read_and_masked,
    people::a_log_that_cannot_be_read_leaves_the_others,
    people::logs_are_followed_over_a_cut_until_the_pod_is_gone,
    people::a_container_that_no_pod_has_is_told_with_those_that_there_are,
    people::what_is_waited_for_while_following_is_told_once,
    people::following_ends_when_its_time_is_up_or_it_is_told_to_stop,
    conformance::logs_keep_what_a_step_type_promises,
}
on_server! {
    on_a_control_plane_alone, control_plane:
    writers::its_autoscaler_is_active_again,
    refusals::what_a_quota_refuses_fails_fast,
    refusals::a_quota_that_ending_pods_fill_is_waited_for,
    refusals::a_quota_that_is_full_still_once_pods_have_ended_is_told,
    refusals::a_node_that_was_ordered_is_waited_for,
    objects::whatever_was_there_comes_back,
    objects::no_value_of_a_secret_is_seen_anywhere,
    objects::a_conflict_names_field_and_manager,
    objects::a_restore_overwrites_nothing_that_somebody_keeps,
    objects::what_cannot_be_changed_is_known_of_each_kind,
    objects::who_may_not_list_applies_many_objects_all_the_same,
    objects::what_a_step_of_jm_has_set_is_not_in_the_way_of_an_apply,
    objects::what_cannot_be_changed_is_made_anew_only_where_that_is_allowed,
    objects::what_takes_its_claims_along_is_neither_made_anew_nor_pruned,
    objects::a_namespace_that_does_not_go_away_is_told_with_what_holds_it,
    objects::a_namespace_among_the_objects_is_made_once,
    objects::a_namespace_that_has_ended_is_the_failure_of_its_objects,
    objects::a_stop_tells_of_all_that_was_written,
    objects::what_is_not_of_the_set_any_more_goes_only_when_asked,
    objects::the_image_that_ran_comes_back,
    objects::a_kind_that_cannot_be_read_makes_the_run_degraded,
    objects::a_kind_that_cannot_be_read_in_one_namespace_is_read_in_the_others,
    objects::text_of_a_secret_conflicts_as_its_data_does,
    objects::nothing_is_deleted_for_what_would_not_be_taken,
    objects::a_stop_leaves_nothing_deleted,
    objects::a_count_outlives_the_attempt_that_deletes_what_has_it,
    objects::a_damaged_export_gives_way_to_the_one_before,
    objects::an_export_that_was_chosen_is_not_blamed_for_another_key,
    objects::an_export_keeps_what_a_step_type_promises,
    objects::an_apply_keeps_what_a_step_type_promises,
    objects::a_restore_keeps_what_a_step_type_promises,
    objects::an_import_keeps_what_a_step_type_promises,
    objects::what_was_quiesced_comes_back_running,
    objects::roles_that_a_role_is_put_together_from_are_kept,
    objects::what_nobody_would_make_again_is_kept,
    objects::bindings_in_other_namespaces_are_told,
    objects::classes_of_what_is_made_again_are_kept,
    objects::what_is_being_deleted_is_told,
    objects::secrets_of_some_types_are_left_out_where_that_is_said,
    objects::images_that_nobody_knows_are_told,
    objects::what_will_not_come_up_fails_fast_with_its_pods,
    objects::a_deadline_of_its_own_ends_no_wave,
    objects::what_is_late_is_told_with_its_pods,
    objects::results_are_kept_however_it_ends,
    objects::who_is_in_trouble_is_named_and_not_who_waits,
    objects::what_an_autoscaler_has_scaled_is_left_to_it,
    objects::a_count_that_nobody_names_stays,
    objects::what_an_export_of_two_namespaces_needs_is_given_in_both,
    objects::whatever_fails_once_leaves_nothing_deleted_or_undone,
    objects::what_comes_by_itself_or_is_left_out_is_not_kept,
    objects::who_will_undo_what_an_apply_or_a_restore_changes_is_told,
    objects::what_a_new_quota_counts_is_let_in,
    objects::what_jm_itself_has_changed_since_is_told,
    objects::what_newer_manifests_leave_out_is_shown_as_it_goes,
    objects::waves_come_back_one_after_the_other,
    objects::claims_come_back_with_their_own_of_equal_volumes,
    objects::a_volume_that_stayed_is_of_its_claim_again,
    objects::contents_that_no_export_holds_are_told,
    objects::a_kustomization_is_built_and_applied,
    objects::what_manifests_leave_open_is_told,
    objects::folders_in_folders_are_read_where_that_is_said,
    objects::a_set_that_was_cut_off_is_found_whole,
    objects::members_in_other_namespaces_are_found,
    objects::what_is_made_of_a_member_is_no_member,
    objects::policies_for_these_namespaces_are_kept_and_others_told,
    objects::a_range_of_addresses_comes_back_with_all,
    objects::a_namespace_that_goes_while_it_is_read_is_no_export,
    objects::large_objects_are_read_few_at_once,
    definitions::a_version_that_is_served_no_more_is_renewed,
    objects::what_holds_data_is_spared_and_who_keeps_what_goes_is_told,
    cuts::an_apply_whose_line_breaks_anywhere_is_taken_up_again,
    cuts::a_line_that_is_mended_soon_is_waited_for,
    cuts::an_export_whose_line_breaks_anywhere_is_whole_or_none,
    definitions::custom_resources_without_a_namespace_are_told_or_kept,
    definitions::definitions_that_a_role_names_are_kept,
    definitions::a_preview_knows_what_a_step_before_it_defines,
    definitions::a_value_that_looks_like_a_secret_is_not_told_where_it_is_refused,
    definitions::a_kind_whose_conversion_is_down_is_left_out_and_listed,
    definitions::a_resource_waits_for_its_definition,
    definitions::a_definition_of_any_wave_is_known_to_the_next,
    definitions::a_server_that_has_not_heard_of_a_definition_is_asked_again,
    definitions::a_definition_that_will_never_be_established_is_named,
}
on_server! {
    on_a_busy_control_plane, busy_control_plane:
    busy::what_a_busy_api_server_turns_away_is_asked_again,
    // Here, since an API that does not answer is told of by every export beside it.
    added::what_a_server_beside_the_api_server_has_comes_back_once_that_answers,
}
on_server! {
    on_an_older_control_plane, older_control_plane:
    writers::a_cron_job_is_suspended_and_comes_back,
    writers::its_running_jobs_are_waited_for,
    writers::what_an_autoscaler_had_come_to_comes_back,
    revisions::a_deployment_goes_there_and_back,
    revisions::a_stateful_set_goes_there_and_back,
    revisions::a_daemon_set_goes_there_and_back,
    revisions::a_restart_renews_every_pod_once,
    people::what_is_described_helps_and_tells_no_secret,
    rollouts::a_rollout_is_followed_to_its_end,
    refusals::what_a_quota_refuses_fails_fast,
    objects::whatever_was_there_comes_back,
}
