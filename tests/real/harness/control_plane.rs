//! etcd, the API server, the controller-manager and the scheduler.

use std::path::Path;
use std::process::Command;

use crate::harness::process::{Process, succeed};
use crate::harness::programs::Programs;
use crate::harness::{Outcome, checkout};

/// No limit of a client's own: thousands of objects must not wait for it.
const UNLIMITED: [&str; 2] = ["--kube-api-qps=1000", "--kube-api-burst=2000"];

/// The port of the API server; it is ours alone, as the network is.
const API_PORT: u16 = 16443;
/// Where etcd answers.
pub const ETCD: &str = "http://127.0.0.1:12379";

/// The administrator's.
const ADMIN_TOKEN: &str = "admin-of-the-test-cluster";

/// What the API server was asked and answered, in the state folder: a line of JSON for each request that
/// `tests/cluster/config/audit.yaml` picks.
pub const AUDIT_LOG: &str = "audit.log";

/// The kubeconfig of the cluster's administrator, in the state folder.
pub const ADMIN_KUBECONFIG: &str = "kubeconfig";

/// The kubeconfig of the controller under test, in the state folder.
pub const CONTROLLER_KUBECONFIG: &str = "kubeconfig-controller";

/// Writes a kubeconfig into the state folder, for whoever has the token.
pub fn write_kubeconfig(state: &Path, name: &str, token: &str) -> Outcome<()> {
    let pattern = checkout().join("tests/cluster/config/kubeconfig.yaml");
    let kubeconfig = std::fs::read_to_string(pattern)?;
    Ok(std::fs::write(
        state.join(name),
        kubeconfig.replace("{{token}}", token),
    )?)
}

/// Starts etcd and the API server, which answers a moment later, and writes the administrator's kubeconfig.
pub fn start_api_server(programs: &Programs, state: &Path) -> Outcome<[Process; 2]> {
    let peer = "http://127.0.0.1:12380";
    let mut etcd = Command::new(programs.place("etcd")?);
    etcd.args(["--data-dir", "etcd-data", "--log-level", "error"])
        // The data need not survive the machine, so waiting for the disk is time lost.
        .arg("--unsafe-no-fsync")
        .args(["--listen-client-urls", ETCD, "--advertise-client-urls", ETCD])
        .args(["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer])
        .args(["--initial-cluster", &format!("default={peer}")]);

    let openssl = |arguments: &[&str]| succeed(Command::new("openssl").args(arguments).current_dir(state));
    openssl(&["genrsa", "-out", "accounts.key", "2048"])?;
    openssl(&["rsa", "-in", "accounts.key", "-pubout", "-out", "accounts.pub"])?;
    std::fs::write(
        state.join("tokens.csv"),
        format!("{ADMIN_TOKEN},admin,admin,system:masters\n"),
    )?;
    write_kubeconfig(state, ADMIN_KUBECONFIG, ADMIN_TOKEN)?;

    let mut server = Command::new(programs.place("kube-apiserver")?);
    server
        .arg(format!("--etcd-servers={ETCD}"))
        .args(["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1"])
        .arg(format!("--secure-port={API_PORT}"))
        .args(["--cert-dir=certificates", "--token-auth-file=tokens.csv"])
        .arg("--authorization-mode=RBAC")
        .arg("--service-account-key-file=accounts.pub")
        .arg("--service-account-signing-key-file=accounts.key")
        .arg("--service-account-issuer=https://kubernetes.default.svc")
        .args([
            "--service-cluster-ip-range=10.0.0.0/16",
            "--endpoint-reconciler-type=none",
        ])
        .arg("--audit-policy-file")
        .arg(checkout().join("tests/cluster/config/audit.yaml"))
        // In one file, whatever it comes to, in megabytes.
        .args(["--audit-log-path", AUDIT_LOG, "--audit-log-maxsize=10000"])
        // No pod here uses a service account, and no controller takes the not-ready taint off the nodes.
        .arg("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition");
    Ok([
        Process::start("etcd", state, etcd)?,
        Process::start("kube-apiserver", state, server)?,
    ])
}

/// Starts the controller-manager and the scheduler, for an API server that answers.
pub fn start_controllers(programs: &Programs, state: &Path) -> Outcome<[Process; 2]> {
    let mut scheduler = Command::new(programs.place("kube-scheduler")?);
    scheduler
        .arg(format!("--kubeconfig={ADMIN_KUBECONFIG}"))
        .arg("--leader-elect=false")
        .args(UNLIMITED)
        .args(["--bind-address=127.0.0.1", "--secure-port=16445"])
        .arg("--cert-dir=certificates-scheduler");
    // The process kubelet keeps no node leases, so nobody may conclude from them that a node is dead.
    let controllers = "*,-nodeipam,-nodelifecycle,-cloud-node-lifecycle,-route,-service-lb-controller";
    Ok([
        start_manager(programs, state, controllers)?,
        Process::start("kube-scheduler", state, scheduler)?,
    ])
}

/// Starts the controller-manager with these of its controllers, in the words of its flag.
pub fn start_manager(programs: &Programs, state: &Path, controllers: &str) -> Outcome<Process> {
    let mut manager = Command::new(programs.place("kube-controller-manager")?);
    manager
        .arg(format!("--kubeconfig={ADMIN_KUBECONFIG}"))
        .arg("--service-account-private-key-file=accounts.key")
        .args(["--use-service-account-credentials=false", "--leader-elect=false"])
        .arg(format!("--controllers={controllers}"))
        .args(UNLIMITED)
        // A scaler acts within seconds on pods that are seconds old, where a real one takes minutes.
        .args([
            "--horizontal-pod-autoscaler-sync-period=2s",
            "--horizontal-pod-autoscaler-cpu-initialization-period=2s",
            "--horizontal-pod-autoscaler-initial-readiness-delay=1s",
            "--horizontal-pod-autoscaler-downscale-stabilization=2s",
        ])
        .args(["--bind-address=127.0.0.1", "--secure-port=16444"])
        .arg("--cert-dir=certificates-manager");
    Process::start("kube-controller-manager", state, manager)
}
