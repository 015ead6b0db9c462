//! The checksum in a hook's payload: equal for all hooks of one configuration of a run, different for any other.
//!
//! Receivers compare it and may have stored it, so it is Flagger's, byte for byte (`spec/core.md` Appendix A): 32-bit
//! FNV-1a over a printed form of what the run is made of, then written in letters that form no words.

use std::collections::BTreeMap;

/// The alphabet of Kubernetes' safe encoding.
const LETTERS: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";

/// The checksum over `status.trackedConfigs` and `status.lastAppliedSpec`.
pub fn checksum(tracked_configs: Option<&BTreeMap<String, String>>, last_applied_spec: &str) -> String {
    let configs = tracked_configs.map_or_else(
        || "<nil>".to_owned(),
        |configs| {
            let pairs: Vec<String> = configs.iter().map(|(name, sum)| format!("{name}:{sum}")).collect();
            format!("map[{}]", pairs.join(" "))
        },
    );
    let printed = format!(
        "(struct {{ TrackedConfigs *map[string]string; LastAppliedSpec string }})\
         {{TrackedConfigs:(*map[string]string){configs} LastAppliedSpec:(string){last_applied_spec}}}"
    );
    let number = fnv_1a(printed.as_bytes()).to_string();
    number
        .bytes()
        .map(|digit| char::from(LETTERS[usize::from(digit) % LETTERS.len()]))
        .collect()
}

/// 32-bit FNV-1a.
fn fnv_1a(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_flaggers_for_its_golden_vectors() {
        let map = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
        };
        for (configs, spec, expected) in [
            (None, "", "758df7c9fc"),
            (None, "4cb74184589", "7c9d467496"),
            (Some(map(&[])), "", "68bf6f479b"),
            (
                Some(map(&[("test-config-map", "484637c76acaa7c6")])),
                "4cb74184589",
                "569bdb7cb9",
            ),
            (
                Some(map(&[("configmap/b", "2"), ("configmap/a", "1")])),
                "5f56684589",
                "7947c4db78",
            ),
        ] {
            assert_eq!(checksum(configs.as_ref(), spec), expected, "{configs:?} {spec}");
        }
    }
}
