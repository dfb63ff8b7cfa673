//! The step types against two servers with the same functions: the sandbox's stand-in, and Kubernetes' own control
//! plane. What they agree on, the stand-in may be trusted for.

mod conformance;
mod faults;
mod line;
mod place;
mod probes;
mod quiesce;
mod resume;
mod rollouts;
mod server;

/// Makes a test on either server of each function.
macro_rules! on_both_servers {
    ($($module:ident::$case:ident),+ $(,)?) => {
        mod on_the_stand_in {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::$module::$case(&crate::server::Server::stand_in().await).await;
            })+
        }
        mod on_a_control_plane {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                crate::$module::$case(&crate::server::Server::control_plane().await).await;
            })+
        }
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
    resume::a_fallback_is_for_what_nobody_knows,
    resume::an_autoscaler_is_not_undercut,
    resume::put_back_and_stopped_again,
    resume::an_image_that_cannot_be_pulled_fails_fast,
    resume::a_crash_loop_fails_with_the_way_to_its_log,
    rollouts::scale_goes_up_and_down,
    rollouts::a_rollout_is_followed_to_its_end,
    rollouts::a_cluster_says_what_it_lacks,
    faults::a_viewer_may_look_and_not_stop,
    faults::an_api_server_that_comes_back_is_waited_for,
    faults::a_stalled_api_server_does_not_hold_up_a_stop,
    faults::an_api_server_that_is_away_is_unavailable,
    probes::quiesce_is_told_at_every_point,
    probes::resume_and_scale_are_told_at_every_point,
    conformance::previews_write_nothing_and_say_what_runs_do,
    conformance::twice_equals_once,
    conformance::each_save_can_be_gone_on_from,
    conformance::a_stop_is_heard,
}
