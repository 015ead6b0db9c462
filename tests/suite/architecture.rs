//! The house keeps its shape: arrows point one way, the core is pure, files stay readable (`src/lib.rs`).

use std::path::{Path, PathBuf};

/// Lines that a file of the sources may have. A table of fields or a state machine may be longer, never a room with two purposes.
const LONGEST: usize = 600;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file is readable");
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&root().join(folder), &mut found);
    assert!(
        !found.is_empty(),
        "no sources in {folder}: the test would prove nothing"
    );
    found
}

/// The code of a file: without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let body = text.split("#[cfg(test)]").next().unwrap_or_default();
    body.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .collect::<Vec<_>>()
        .join("\n")
}

fn nowhere(folder: &str, words: &[&str]) {
    for (path, text) in sources(folder) {
        let code = code(&text);
        for word in words {
            assert!(!code.contains(word), "{} must not mention `{word}`", path.display());
        }
    }
}

#[test]
fn the_core_and_the_routers_are_pure() {
    for folder in ["src/rollout", "src/routing", "src/workload"] {
        nowhere(
            folder,
            &[
                "tokio",
                "reqwest",
                "kube::Client",
                "kube::Api",
                "async fn",
                "Utc::now",
                "SystemTime",
                "Instant::now",
                "rand::",
            ],
        );
    }
}

#[test]
fn the_core_knows_the_api_and_plain_data_only() {
    nowhere(
        "src/rollout",
        &[
            "crate::controller",
            "crate::workload",
            "crate::routing",
            "crate::metrics",
            "crate::hooks",
            "crate::notify",
            "crate::sim",
            "crate::cli",
            "crate::telemetry",
        ],
    );
}

#[test]
fn what_users_write_depends_on_nothing() {
    let others = [
        "rollout",
        "controller",
        "workload",
        "routing",
        "metrics",
        "hooks",
        "notify",
        "sim",
        "cli",
        "telemetry",
    ];
    for other in others {
        nowhere("src/api", &[&format!("crate::{other}::")]);
    }
}

#[test]
fn arrows_point_from_the_controller_downwards() {
    for folder in ["src/workload", "src/routing", "src/metrics", "src/hooks", "src/notify"] {
        nowhere(
            folder,
            &["crate::controller", "crate::cli", "crate::sim", "crate::telemetry"],
        );
    }
    for folder in ["src/controller", "src/telemetry"] {
        nowhere(folder, &["crate::sim", "crate::cli"]);
    }
}

#[test]
fn only_one_room_knows_the_unmaintained_crate() {
    for (path, text) in sources("src") {
        if !path.ends_with("src/retry.rs") {
            assert!(
                !code(&text).contains("backoff::"),
                "{} uses the crate backoff",
                path.display()
            );
        }
    }
}

#[test]
fn files_are_rooms_not_halls() {
    for (path, text) in sources("src") {
        let lines = text.lines().count();
        assert!(lines <= LONGEST, "{} has {lines} lines", path.display());
        assert!(
            text.starts_with("//!"),
            "{} does not say what it is for",
            path.display()
        );
    }
}
