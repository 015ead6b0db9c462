//! From flags to a client of the API server, and what is said when there is none.

use std::path::Path;
use std::time::Duration;

use http::Uri;
use kube::config::{InClusterError, KubeConfigOptions, Kubeconfig, KubeconfigError};
use kube::{Client, Config};

use crate::tls;

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(10);

/// How long the first answer may take.
const FIRST_ANSWER: Duration = Duration::from_secs(15);

/// The oldest Kubernetes that Serin is made for, by minor version.
const OLDEST_MINOR: u32 = 31;

/// A cluster that answers.
pub(super) struct Connection {
    pub client: Client,
    /// The namespace of the pod that this process runs in, where it does.
    pub home: Option<String>,
    /// The namespace that the kubeconfig's context names, or the pod's own.
    pub namespace: String,
    /// What people should know about the cluster.
    pub note: Option<String>,
}

/// The API server cannot be talked to.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectError {
    /// The file is not there, or not readable.
    #[error("cannot read the kubeconfig {path}: {cause}; check -kubeconfig")]
    Unreadable { path: String, cause: String },
    /// The file says something that makes no sense.
    #[error("the kubeconfig {path} cannot be used: {cause}")]
    Unusable { path: String, cause: String },
    /// The pod's account is not mounted.
    #[error("the account of the pod cannot be used: {0}; check automountServiceAccountToken")]
    Pod(#[source] InClusterError),
    /// Neither a kubeconfig nor a pod.
    #[error(
        "there is no cluster to talk to: this is no pod, and no kubeconfig was found ({0}); name one with -kubeconfig"
    )]
    Nowhere(String),
    /// `-master` is no address.
    #[error("-master={master} is no address: {cause}")]
    Master { master: String, cause: String },
    /// No client can be made of it.
    #[error("cannot make a client for {server}: {cause}")]
    Client { server: String, cause: String },
    /// Nobody answers.
    #[error("the API server {server} does not answer: {cause}; check address, certificate and network")]
    Silent { server: String, cause: String },
    /// It does not know us.
    #[error("the API server {server} does not accept the credentials: {cause}")]
    Refused { server: String, cause: String },
}

/// Connects as `-kubeconfig` and `-master` say; without them as a pod does, and outside a cluster as kubectl does.
pub(super) async fn connect(kubeconfig: Option<&str>, master: Option<&str>) -> Result<Connection, ConnectError> {
    tls::init();
    let (mut config, home) = match (kubeconfig, master) {
        (Some(path), _) => (from_file(path).await?, None),
        (None, Some(_)) => (Config::new(Uri::default()), None),
        (None, None) => from_surroundings().await?,
    };
    if let Some(master) = master {
        config.cluster_url = master
            .parse()
            .map_err(|error: http::uri::InvalidUri| ConnectError::Master {
                master: master.into(),
                cause: error.to_string(),
            })?;
    }
    // A write that the client repeats by itself may be one that was decided a long time ago.
    config.default_retry = false;
    config.connect_timeout = Some(CONNECT);
    let server = config.cluster_url.to_string();
    let namespace = config.default_namespace.clone();
    let client = Client::try_from(config).map_err(|error| ConnectError::Client {
        server: server.clone(),
        cause: error.to_string(),
    })?;
    let note = greet(&client, server).await?;
    Ok(Connection {
        client,
        home,
        namespace,
        note,
    })
}

async fn from_file(path: &str) -> Result<Config, ConnectError> {
    let unusable = |error: &KubeconfigError| ConnectError::Unusable {
        path: path.into(),
        cause: error.to_string(),
    };
    let text = std::fs::read_to_string(Path::new(path)).map_err(|error| ConnectError::Unreadable {
        path: path.into(),
        cause: error.to_string(),
    })?;
    if text.trim().is_empty() {
        return Err(ConnectError::Unusable {
            path: path.into(),
            cause: "it is empty".into(),
        });
    }
    // Read by path: files that it names are relative to it.
    let kubeconfig = Kubeconfig::read_from(path).map_err(|error| unusable(&error))?;
    let options = KubeConfigOptions::default();
    Config::from_custom_kubeconfig(kubeconfig, &options)
        .await
        .map_err(|error| unusable(&error))
}

async fn from_surroundings() -> Result<(Config, Option<String>), ConnectError> {
    if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() {
        let config = Config::incluster().map_err(ConnectError::Pod)?;
        let home = config.default_namespace.clone();
        return Ok((config, Some(home)));
    }
    let options = KubeConfigOptions::default();
    let config = Config::from_kubeconfig(&options)
        .await
        .map_err(|error| ConnectError::Nowhere(error.to_string()))?;
    Ok((config, None))
}

/// Asks for the version, so that a wrong address or credential shows at once and not in the middle of a release.
async fn greet(client: &Client, server: String) -> Result<Option<String>, ConnectError> {
    let version = match tokio::time::timeout(FIRST_ANSWER, client.apiserver_version()).await {
        Ok(Ok(version)) => version,
        Ok(Err(kube::Error::Api(status))) if matches!(status.code, 401 | 403) => {
            return Err(ConnectError::Refused {
                server,
                cause: status.message,
            });
        }
        Ok(Err(error)) => {
            return Err(ConnectError::Silent {
                server,
                cause: chain(&error),
            });
        }
        Err(_) => {
            return Err(ConnectError::Silent {
                server,
                cause: format!("no answer within {} s", FIRST_ANSWER.as_secs()),
            });
        }
    };
    // Some providers write `31+`.
    let minor = version.minor.trim_end_matches('+').parse().unwrap_or(OLDEST_MINOR);
    Ok((version.major == "1" && minor < OLDEST_MINOR).then(|| {
        format!(
            "Kubernetes {} is older than 1.{OLDEST_MINOR}, the oldest that Serin is made for",
            version.git_version
        )
    }))
}

/// An error with its causes, since the outermost one often says only that something went wrong.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let words = cause.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn error(path: &Path) -> String {
        let path = path.to_str().expect("it is text");
        connect(Some(path), None)
            .await
            .map(|_| ())
            .expect_err("it must not work")
            .to_string()
    }

    fn file(name: &str, text: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("serin-{}-{name}", std::process::id()));
        std::fs::write(&path, text).expect("a file must be writable");
        path
    }

    #[tokio::test]
    async fn a_wrong_kubeconfig_is_named_with_what_is_wrong() {
        let missing = error(Path::new("/nowhere/kubeconfig")).await;
        assert!(
            missing.contains("/nowhere/kubeconfig") && missing.contains("-kubeconfig"),
            "{missing}"
        );
        for (name, text, words) in [
            ("empty", "", "it is empty"),
            ("garbage", "{ not yaml", "parse kubeconfig"),
            ("no-context", "apiVersion: v1\nkind: Config\n", "current context"),
            (
                "bad-context",
                "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts: []\n",
                "x",
            ),
        ] {
            let path = file(name, text);
            let said = error(&path).await;
            assert!(said.contains(words) && said.contains(name), "{said}");
            std::fs::remove_file(path).expect("the file must be there");
        }
    }
}
