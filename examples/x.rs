//! x
fn main() { for f in serin::api::crd::files() { std::fs::write(format!("crds/{}", f.name), f.yaml).unwrap(); } }
