//! What a scenario found: sentences that should be true, and whether they were.

/// A sentence about a run that should be true.
#[derive(Clone, Debug)]
pub struct Expectation {
    /// The sentence, with what was seen.
    pub text: String,
    /// Whether it was.
    pub held: bool,
}

impl Expectation {
    /// A sentence and whether it held.
    pub fn new(text: impl Into<String>, held: bool) -> Self {
        Self {
            text: text.into(),
            held,
        }
    }

    /// The same about a part of the run, which is named in front.
    pub fn about(self, part: &str) -> Self {
        Self {
            text: format!("{part}: {}", self.text),
            held: self.held,
        }
    }
}

/// As a list in Markdown.
pub fn listed(expectations: &[Expectation]) -> String {
    let word = |held| if held { "yes:" } else { "**NO:**" };
    let lines = expectations
        .iter()
        .map(|each| format!("- {} {}\n", word(each.held), each.text));
    lines.collect()
}

/// The closing line of a scenario, in the words of Rust's own test programs, so that one sum counts both.
pub fn closing_line(expectations: &[Expectation]) -> String {
    let failed = expectations.iter().filter(|each| !each.held).count();
    let word = if failed == 0 { "ok" } else { "FAILED" };
    let passed = expectations.len() - failed;
    format!("test result: {word}. {passed} passed; {failed} failed; 0 ignored")
}
