//! Two minutes of campaign on the real masters, and the proof that it would have found something: masters with a planted
//! fault. `make chaos` runs the same for longer.

use std::process::Command;

/// Runs the chaos program; what it prints is shown when it does not end with 0.
fn chaos(arguments: &[&str]) {
    let program = chaos::program_beside("chaos").unwrap_or_else(|error| panic!("{error}"));
    let output = Command::new(program).args(arguments).output().expect("the chaos program starts");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "chaos {}: {}\n{}{}",
        arguments.join(" "),
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
}

#[test]
fn two_minutes_of_faults_break_nothing() {
    chaos(&["campaign", "--minutes", "2"]);
}

#[test]
fn a_planted_stale_read_is_found() {
    chaos(&["planted", "stale-read"]);
}

#[test]
fn a_planted_early_acknowledgement_is_found() {
    chaos(&["planted", "early-acknowledgement"]);
}

#[test]
fn a_thawed_leader_without_the_tenure_check_is_found() {
    chaos(&["planted", "unfenced-duty"]);
}

#[test]
fn a_thawed_leader_within_the_tenure_check_does_no_harm() {
    chaos(&["planted", "slow-duty"]);
}
