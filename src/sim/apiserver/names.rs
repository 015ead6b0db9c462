//! Names, uids and the server's randomness, all from one seed.

use super::errors::FieldError;

/// Characters of generated name endings: no vowels, so that no word appears.
const ENDINGS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// A generated name is cut so that its ending still fits into 63 characters.
const LONGEST_BASE: usize = 58;

/// A small seeded generator (splitmix64); good enough to vary names and delays.
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number in `0..bound`; 0 for an empty range.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next().checked_rem(bound).unwrap_or(0)
    }

    /// A uid in the form of a version 4 UUID.
    pub(super) fn uid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        let version = (high & 0xffff_ffff_ffff_0fff) | 0x4000;
        let variant = (low & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
        format!(
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            version >> 32,
            (version >> 16) & 0xffff,
            version & 0xffff,
            variant >> 48,
            variant & 0xffff_ffff_ffff
        )
    }

    /// A name from `metadata.generateName`.
    pub(super) fn name(&mut self, base: &str) -> String {
        let mut name: String = base.chars().take(LONGEST_BASE).collect();
        for _ in 0..5 {
            let index = usize::try_from(self.below(ENDINGS.len() as u64)).unwrap_or(0);
            name.push(char::from(ENDINGS[index]));
        }
        name
    }
}

/// Which rule the names of a kind follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NameRule {
    /// RFC 1123 subdomain: most kinds.
    Subdomain,
    /// RFC 1123 label: Namespaces and, since 1.34, Services.
    Label,
}

/// Checks `metadata.name`.
pub(super) fn check(name: &str, rule: NameRule) -> Option<FieldError> {
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let label = |part: &str| {
        !part.is_empty()
            && part.chars().all(|c| lower(c) || c == '-')
            && part.starts_with(lower)
            && part.ends_with(lower)
    };
    if rule == NameRule::Label && name.contains('.') {
        return Some(FieldError::invalid("metadata.name", name, "must not contain dots"));
    }
    let (valid, longest, detail) = match rule {
        NameRule::Label => (
            label(name),
            63,
            "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start \
             and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?')",
        ),
        NameRule::Subdomain => (
            name.split('.').all(label),
            253,
            "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must \
             start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
             '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
        ),
    };
    if name.len() > longest {
        let detail = format!("must be no more than {longest} characters");
        return Some(FieldError::invalid("metadata.name", name, detail));
    }
    (!valid).then(|| FieldError::invalid("metadata.name", name, detail))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uids_look_like_uuids_and_repeat_with_the_seed() {
        let (mut one, mut two) = (Random::new(7), Random::new(7));
        let uid = one.uid();
        assert_eq!(uid, two.uid());
        assert_ne!(uid, one.uid());
        let parts: Vec<usize> = uid.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&uid[14..15], "4");
    }

    #[test]
    fn names_follow_the_rule_of_their_kind() {
        let cases = [
            ("web", true, true),
            ("web.v1", true, false),
            ("Web", false, false),
            ("-web", false, false),
            ("web..v1", false, false),
            ("", false, false),
        ];
        for (name, subdomain, label) in cases {
            assert_eq!(
                check(name, NameRule::Subdomain).is_none(),
                subdomain,
                "{name:?} as a subdomain"
            );
            assert_eq!(check(name, NameRule::Label).is_none(), label, "{name:?} as a label");
        }
    }
}
