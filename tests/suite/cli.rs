//! The binary as a person meets it: exit codes, and what is said when something is wrong.

use std::process::{Command, Output};

fn serin(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_serin"));
    // No cluster of the machine that runs the tests is touched.
    command
        .env_clear()
        .env("HOME", "/nowhere")
        .env("KUBECONFIG", "/nowhere/config");
    command.args(arguments).output().expect("the binary must start")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn the_version_is_printed_in_each_spelling() {
    for arguments in [["version"], ["-version"], ["--version"]] {
        let output = serin(&arguments);
        assert!(output.status.success());
        assert_eq!(printed(&output).trim(), concat!("serin ", env!("CARGO_PKG_VERSION")));
    }
}

#[test]
fn without_a_command_the_help_is_shown() {
    let output = serin(&[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("controller") && said(&output).contains("demo"),
        "{}",
        said(&output)
    );
}

#[test]
fn an_unknown_flag_is_named() {
    let output = serin(&["-mesh-povider=contour"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        said(&output).contains("mesh-povider") && said(&output).contains("mesh-provider"),
        "{}",
        said(&output)
    );
}

#[test]
fn flags_alone_mean_the_controller_which_says_that_there_is_no_cluster() {
    let output = serin(&[
        "-log-level=info",
        "-mesh-provider=contour",
        "-leader-election-namespace=x",
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("no cluster to talk to") && said(&output).contains("-kubeconfig"),
        "{}",
        said(&output)
    );
}

#[test]
fn an_api_server_that_does_not_answer_is_named() {
    // Port 9 of this host: nobody listens there.
    let output = serin(&["-master=http://127.0.0.1:9", "-leader-election-namespace=x"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("http://127.0.0.1:9") && said(&output).contains("does not answer"),
        "{}",
        said(&output)
    );
}

#[test]
fn the_definitions_are_printed_and_written_alike() {
    let output = serin(&["crds"]);
    assert!(output.status.success());
    assert_eq!(printed(&output), serin::api::crd::yaml());
    let missing = serin(&["crds", "--dir", "/nowhere"]);
    assert_eq!(missing.status.code(), Some(1));
    assert!(said(&missing).contains("/nowhere"), "{}", said(&missing));
}

#[test]
fn the_role_names_what_the_guard_checks() {
    let output = serin(&["rbac"]);
    assert!(output.status.success());
    for resource in [
        "canaries/status",
        "controllerrevisions",
        "httpproxies",
        "httproutes",
        "leases",
    ] {
        assert!(printed(&output).contains(resource), "{}", printed(&output));
    }
}

#[test]
fn the_charts_role_is_the_one_that_is_printed() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/charts/serin/files/clusterrole.yaml");
    let chart = std::fs::read_to_string(path).expect("the chart must have a role");
    assert_eq!(
        chart,
        printed(&serin(&["rbac"])),
        "serin rbac > charts/serin/files/clusterrole.yaml"
    );
}

#[test]
fn a_word_without_a_cluster_is_told_apart_from_one_that_is_not_followed() {
    for line in [vec!["abort", "app"], vec!["get"], vec!["wait", "app", "-n", "test"]] {
        let output = serin(&line);
        assert_eq!(output.status.code(), Some(6), "{line:?}: {}", said(&output));
    }
    let output = serin(&["goto", "app", "101"]);
    assert_eq!(output.status.code(), Some(2), "{}", said(&output));
    let help = printed(&serin(&["wait", "--help"]));
    assert!(
        help.contains("3 failed or rolled back, 4 timeout, 5 no such Canary"),
        "{help}"
    );
}

/// As in a pipe, or in a log of somebody's CI: lines, and a last word that it went well.
#[test]
fn the_demo_plays_through_a_pipe_and_ends_by_itself() {
    let output = serin(&["demo", "--speed", "20"]);
    let (told, wrong) = (printed(&output), said(&output));
    assert_eq!(output.status.code(), Some(0), "{wrong}\n{told}");
    assert!(
        !told.contains('\u{1b}') && !told.contains('\r'),
        "no terminal, no escape sequences: {told}"
    );
    let line = |start: &str, part: &str| {
        let mut lines = told.lines().map(str::trim);
        lines.any(|line| line.starts_with(start) && line.contains(part))
    };
    assert!(line("1.1.0", "promoted"), "{told}");
    assert!(line("1.2.0", "rolled back"), "{told}");
    assert!(line("0 of ", "requests lost"), "{told}");
    assert!(line("Users have 1.1.0, and it is healthy", ""), "{told}");
}
