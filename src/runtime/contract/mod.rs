//! What every runtime must do: one set of cases, run on each backend.
//!
//! On Docker each case works in a cluster of its own, whose containers, networks and images go when the case ends,
//! also when it fails. Where no engine answers, the Docker cases say so and are left out, except with `CI=true`: there
//! that is a failure.

mod bench;
mod cases;
mod docker_only;

use bench::{Bench, Kind};

/// Makes one test per case and backend.
macro_rules! contract {
    ($($case:ident),+ $(,)?) => {
        mod on_sim {
            use super::*;
            $(#[tokio::test]
            async fn $case() {
                let bench = Bench::open(Kind::Sim).await.expect("the simulated runtime is always there");
                cases::$case(&bench).await;
            })+
        }
        mod on_docker {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(bench) = Bench::open(Kind::Docker).await else { return };
                cases::$case(&bench).await;
            })+
        }
    };
}

contract!(
    the_engine_describes_itself,
    a_container_lives_and_leaves_its_exit,
    a_new_handle_finds_everything,
    others_containers_do_not_exist,
    a_repeated_create_is_noticed,
    a_missing_image_is_told_apart,
    a_stop_asks_first_and_kills_after_the_grace,
    signals_reach_the_program,
    a_program_that_cannot_start_is_told,
    out_of_memory_is_told,
    logs_keep_streams_apart_and_can_be_cut,
    a_followed_log_ends_with_its_container,
    exec_runs_beside_the_program,
    exec_has_an_input_and_an_end_of_it,
    exec_with_a_terminal_can_be_resized,
    attach_joins_the_program,
    events_tell_what_happens,
    a_busy_port_is_told,
    a_port_of_a_pod_can_be_dialed,
    stopping_and_removing_may_be_repeated,
    a_sweep_takes_all_nodes_of_one_cluster,
);

/// Cases about what really runs.
mod real {
    use super::*;

    macro_rules! docker_only {
        ($($case:ident),+ $(,)?) => {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                let Some(bench) = Bench::open(Kind::Docker).await else { return };
                docker_only::$case(&bench).await;
            })+
        };
    }

    docker_only!(
        pods_of_two_nodes_reach_each_other,
        containers_of_a_pod_share_localhost_hostname_and_hosts,
        containers_of_a_pod_share_their_ipc,
        the_sandbox_reaps_orphans_and_stops_at_once,
        mounts_and_limits_arrive,
        host_networking_has_no_address,
        nodes_that_start_together_agree_on_one_network,
        a_mapped_port_leads_into_the_pod,
    );
}
