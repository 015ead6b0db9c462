//! Istio: what is drawn for each Canary in `istio/`, and what happens to objects that somebody else made.
//!
//! The real API server's word on every object of `istio/`, under Istio's own definitions, stands in
//! `../apiserver/istio.jsonl`.

use std::path::PathBuf;

use serde::Deserialize;
use serde_json::{Value, json};
use serin::{
    object::ORIGINAL,
    rollout::{Destination, Side},
};

use super::{Bench, applied, weight};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/suite/routing/istio");

/// A Canary's `spec.service`, and what is drawn for it at a weight.
#[derive(Debug, Deserialize)]
pub struct Fixture {
    /// The name of its file.
    #[serde(skip)]
    pub name: String,
    service: Value,
    weight: u8,
    /// The route, then what stands beside the primary's and the canary's Service.
    pub draws: Vec<Value>,
}

/// Every Canary of the folder, in the order of their names.
pub fn fixtures() -> Vec<Fixture> {
    let files = std::fs::read_dir(FOLDER).unwrap();
    let mut paths: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    let read = |path: &PathBuf| {
        let fixture: Fixture = serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        Fixture { name, ..fixture }
    };
    paths.iter().map(read).collect()
}

fn rule(bench: &Bench, side: Side) -> Value {
    bench.router.destinations().unwrap().create(&bench.cx(), side).unwrap()
}

#[test]
fn every_canary_of_the_folder_is_drawn_as_it_says() {
    for fixture in fixtures() {
        let bench = Bench::new("istio", &fixture.service);
        assert_eq!(bench.router.check(&bench.cx()), [], "{}", fixture.name);
        let drawn = [
            bench.router.create(&bench.cx(), weight(fixture.weight)).unwrap(),
            rule(&bench, Side::Primary),
            rule(&bench, Side::Canary),
        ];
        for (drawn, wanted) in drawn.iter().zip(&fixture.draws) {
            assert_eq!(drawn, wanted, "{}: {}", fixture.name, serde_saphyr::to_string(drawn).unwrap());
        }
        assert_eq!(fixture.draws.len(), drawn.len(), "{}: {}", fixture.name, serde_saphyr::to_string(&drawn).unwrap());
    }
}
