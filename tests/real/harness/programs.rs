//! Where every program of a run is: `tests/cluster/build.sh` says it, and builds what is lacking.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::harness::process::output_of;
use crate::harness::{Outcome, checkout};

/// The programs, found once at the start.
pub struct Programs {
    places: BTreeMap<String, PathBuf>,
    /// What is under test.
    pub product: Product,
}

/// The controller that drives the releases.
pub enum Product {
    /// `serin controller`, from this checkout or from a given path.
    Serin(PathBuf),
    /// Flagger, the control experiment: what goes wrong with it too may be the harness's fault.
    Flagger(PathBuf),
}

impl Product {
    /// The name of the product.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Serin(_) => "Serin",
            Self::Flagger(_) => "Flagger",
        }
    }
}

/// Runs the build script for some parts and gives its answer. The first time that takes minutes, and its progress is shown.
pub fn build(parts: &[&str]) -> Outcome<String> {
    let output = Command::new("bash")
        .arg(checkout().join("tests/cluster/build.sh"))
        .args(parts)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot start bash: {error}"))?;
    if output.status.success() {
        Ok(String::from_utf8(output.stdout)?)
    } else {
        Err(format!("tests/cluster/build.sh ended with {}", output.status).into())
    }
}

impl Programs {
    /// Reads what [`build`] found. The product is Flagger, or Serin from `serin` or of this checkout.
    pub fn find(places: &str, flagger: bool, serin: Option<&Path>) -> Outcome<Self> {
        let places: BTreeMap<String, PathBuf> = places
            .lines()
            .filter_map(|line| line.split_once('='))
            .map(|(name, path)| (name.to_owned(), PathBuf::from(path)))
            .collect();
        let product = if flagger {
            Product::Flagger(place(&places, "flagger")?.to_owned())
        } else {
            let built = Path::new(env!("CARGO_BIN_EXE_serin"));
            // It is started from another folder than the one that the path was given in.
            let given = serin.map(|path| {
                path.canonicalize()
                    .map_err(|error| format!("{}: {error}", path.display()))
            });
            Product::Serin(given.transpose()?.unwrap_or_else(|| built.to_owned()))
        };
        Ok(Self { places, product })
    }

    /// Where a program or a source folder is.
    pub fn place(&self, name: &str) -> Outcome<&Path> {
        place(&self.places, name)
    }

    /// Names and versions for the page, in the order in which requests and decisions pass through them.
    pub fn versions(&self) -> Vec<(String, String)> {
        // A folder of the cache is named `<part>-<version>`.
        let of_part = |program: &str| {
            let folder = self.places.get(program)?.parent()?.file_name()?.to_str()?;
            Some(folder.split_once('-')?.1.to_owned())
        };
        let parts = [
            ("etcd", "etcd"),
            (
                "kube-apiserver, kube-controller-manager, kube-scheduler",
                "kube-apiserver",
            ),
            ("Contour", "contour"),
            ("Envoy", "envoy"),
            ("Prometheus", "prometheus"),
            ("Vegeta", "vegeta"),
        ];
        let product = match &self.product {
            Product::Serin(program) => last_word(Command::new(program).arg("version")),
            Product::Flagger(_) => of_part("flagger"),
        };
        std::iter::once((self.product.name().to_owned(), product))
            .chain(
                parts
                    .into_iter()
                    .map(|(name, program)| (name.to_owned(), of_part(program))),
            )
            .map(|(name, version)| (name, version.unwrap_or_else(|| "unknown".to_owned())))
            .collect()
    }
}

fn place<'a>(places: &'a BTreeMap<String, PathBuf>, name: &str) -> Outcome<&'a Path> {
    places
        .get(name)
        .map(PathBuf::as_path)
        .ok_or_else(|| format!("tests/cluster/build.sh did not say where {name} is").into())
}

/// The version in what a program says about itself, such as `serin 0.1.0`.
fn last_word(command: &mut Command) -> Option<String> {
    let text = output_of(command).ok()?;
    text.split_whitespace().last().map(str::to_owned)
}
