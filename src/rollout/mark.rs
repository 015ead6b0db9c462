//! Names of hooks as keys of `Block::gates`: short, whatever users call their hooks, and one for each entry of the list.

use crate::api::{Canary, HookType, Webhook};

/// Names up to this many bytes stand in a mark as they are.
const PLAIN: usize = 48;

/// The mark of a run whose `post-rollout` hooks have not all answered yet.
pub const OWED: &str = "owed/post-rollout";

/// The hooks of a canary, in list order.
pub fn hooks(canary: &Canary) -> &[Webhook] {
    canary
        .spec
        .analysis
        .as_ref()
        .map_or(&[][..], |analysis| &analysis.webhooks)
}

/// The mark of the hook at this place: its kind and name, and a number when another of that kind and name stands before it.
pub fn mark(canary: &Canary, index: usize) -> String {
    let list = hooks(canary);
    let Some(hook) = list.get(index) else {
        return String::new();
    };
    let same = |other: &&Webhook| other.type_() == hook.type_() && other.name == hook.name;
    let name = short(&hook.name);
    match list[..index].iter().filter(same).count() {
        0 => format!("{}/{name}", hook.type_()),
        before => format!("{}/{name}#{}", hook.type_(), before + 1),
    }
}

/// Whether the mark is of a hook that runs once a run, or of something that is said once a run: it outlives the step.
pub fn is_of_the_run(mark: &str) -> bool {
    if mark.starts_with("told/run/") {
        return true;
    }
    let kind = HookType::PreRollout.as_str();
    mark.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/'))
}

/// The name, or what begins it and a sum of all of it.
pub fn short(name: &str) -> String {
    let is_plain = |c: char| c == ' ' || (c.is_ascii_graphic() && c != '"' && c != '\\');
    if name.len() <= PLAIN && name.chars().all(is_plain) {
        return name.to_owned();
    }
    let beginning: String = name.chars().filter(|c| is_plain(*c)).take(PLAIN / 2).collect();
    format!("{beginning}~{}", sum_of(name))
}

/// A text of any length as 16 digits.
pub fn sum_of(text: &str) -> String {
    format!("{:016x}", sum(text))
}

/// FNV-1a, 64 bits: it must say the same in each process and version, since it stands in the status.
pub fn sum(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_names_stand_and_others_are_told_apart() {
        assert_eq!(short("load test (5 rps)"), "load test (5 rps)");
        let (one, other) = ("x".repeat(300) + "1", "x".repeat(300) + "2");
        assert_ne!(short(&one), short(&other));
        assert!(short(&one).len() < 64 && short("\u{1}\u{1}").is_ascii());
    }
}
