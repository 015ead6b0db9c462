//! A person's word: what somebody asks of a release by an annotation of the Canary, and what is remembered of it.
//!
//! An annotation reads `serin.dev/abort: revision#nonce[,reason]`. It is bound to a revision, so that what was said about one never
//! hits a later one, and its nonce makes it count once: the annotation may stay, and a tool may apply it again, also after somebody
//! said another word. A word that makes no sense at the moment is told and done with; nothing is kept for later. What to do about a
//! word says `advance/word.rs`.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::mark;
use super::size;
use super::state::{Block, Fingerprint, Stage};
use super::weight::Weight;

/// What the annotations begin with.
const PREFIX: &str = "serin.dev/";
/// The longest nonce.
const LONGEST_NONCE: usize = 64;
/// Digits of a revision that are enough to name it: as many as texts for people show.
const SHORTEST_REVISION: usize = 10;
/// What is kept of a reason, a field manager or an answer, in bytes.
const PHRASE: usize = 128;
/// Words that are remembered with who said them and why.
pub(super) const MOST_WORDS: usize = 8;
/// Words that are remembered only so that they are not heard again. Each takes some twenty bytes of the status.
const MOST_SPENT: usize = 32;

/// What can be asked of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    // Of words that were said at the same time the first one here is heard first: what is safe comes before what moves on.
    /// End the run as failed; the same revision is not tried again.
    Abort,
    /// Say no to the gate that is awaited.
    Reject,
    /// Hold the run at its weight.
    Pause,
    /// Give the canary this weight.
    Goto,
    /// End a pause.
    Resume,
    /// Say yes to the gate that is awaited.
    Approve,
    /// Skip what is left of the present step.
    Promote,
    /// Skip all steps.
    PromoteFull,
    /// Try a failed revision again.
    Retry,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Abort,
        Self::Reject,
        Self::Pause,
        Self::Goto,
        Self::Resume,
        Self::Approve,
        Self::Promote,
        Self::PromoteFull,
        Self::Retry,
    ];

    /// The verb as annotations and the command line spell it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Reject => "reject",
            Self::Pause => "pause",
            Self::Goto => "goto",
            Self::Resume => "resume",
            Self::Approve => "approve",
            Self::Promote => "promote",
            Self::PromoteFull => "promote-full",
            Self::Retry => "retry",
        }
    }

    /// The annotation that says it, such as `serin.dev/abort`.
    pub fn annotation(self) -> String {
        format!("{PREFIX}{}", self.as_str())
    }

    const fn form(self) -> &'static str {
        match self {
            Self::Goto => "revision#nonce,weight[,reason]",
            _ => "revision#nonce[,reason]",
        }
    }
}

/// An annotation as it stands on the Canary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Which annotation.
    pub verb: Verb,
    /// Its value.
    pub value: String,
    /// The field manager that set it, where `managedFields` tell.
    pub by: Option<String>,
    /// When that manager last wrote, where they tell.
    pub at: Option<DateTime<Utc>>,
}

impl Said {
    /// What is remembered of a word that was heard, so that it is not heard again: its nonce, or for one that cannot be read, a sum.
    pub fn mark(&self) -> String {
        Word::parse(self).map_or_else(|_| format!("!{}", mark::sum_of(&self.value)), |word| word.nonce)
    }

    /// What tells it from every other word: its verb, its revision and its mark. How the revision is spelled does not matter.
    fn sum(&self) -> String {
        let revision = Word::parse(self).map_or_else(|_| String::new(), |word| word.revision().to_owned());
        mark::sum_of(&format!("{} {revision} {}", self.verb.as_str(), self.mark()))
    }
}

/// A word that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// What is asked.
    pub verb: Verb,
    /// The revision that it is about: a fingerprint, or the beginning of its digits.
    revision: String,
    /// What makes it count once.
    pub nonce: String,
    /// The weight of a `goto`; zero for every other verb.
    pub weight: Weight,
    /// Why, in the person's words.
    pub reason: Option<String>,
}

/// An annotation that makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("annotation {annotation}: {wrong}; it must read {form}")]
pub struct WordError {
    annotation: String,
    wrong: Wrong,
    form: &'static str,
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Wrong {
    #[error("there is no `#` behind a revision")]
    NoNonce,
    #[error(
        "{0:?} is no revision: it is the one of status.lastAppliedSpec, or its first {SHORTEST_REVISION} digits or more"
    )]
    Revision(String),
    #[error("{0:?} is no nonce: it has 1 to {LONGEST_NONCE} letters, digits, `-`, `_` and `.`, other ones each time")]
    Nonce(String),
    #[error("{0:?} is no weight from 0 to 100")]
    Weight(String),
}

impl Word {
    /// Reads an annotation.
    ///
    /// # Errors
    /// It has not the form that its verb asks for; the error names the annotation.
    pub fn parse(said: &Said) -> Result<Self, WordError> {
        Self::read(said.verb, &said.value).map_err(|wrong| WordError {
            annotation: said.verb.annotation(),
            wrong,
            form: said.verb.form(),
        })
    }

    fn read(verb: Verb, value: &str) -> Result<Self, Wrong> {
        let excerpt = |text: &str| size::cut(text, LONGEST_NONCE);
        let (revision, rest) = value.split_once('#').ok_or(Wrong::NoNonce)?;
        let revision = revision.trim();
        if !is_revision(revision) {
            return Err(Wrong::Revision(excerpt(revision)));
        }
        let mut parts = rest.splitn(if verb == Verb::Goto { 3 } else { 2 }, ',').map(str::trim);
        let nonce = parts.next().unwrap_or_default();
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if nonce.is_empty() || nonce.len() > LONGEST_NONCE || !nonce.chars().all(fits) {
            return Err(Wrong::Nonce(excerpt(nonce)));
        }
        let weight = if verb == Verb::Goto {
            let text = parts.next().unwrap_or_default();
            let percent = text
                .parse::<u8>()
                .ok()
                .and_then(|percent| Weight::try_from(percent).ok());
            percent.ok_or_else(|| Wrong::Weight(excerpt(text)))?
        } else {
            Weight::ZERO
        };
        let reason = parts.next().filter(|reason| !reason.is_empty());
        Ok(Self {
            verb,
            revision: revision.to_owned(),
            nonce: nonce.to_owned(),
            weight,
            reason: reason.map(|reason| size::cut(reason, PHRASE)),
        })
    }

    /// Whether it is about this revision.
    pub fn is_about(&self, fingerprint: &Fingerprint) -> bool {
        fingerprint.0 == self.revision || digits(&fingerprint.0).starts_with(digits(&self.revision))
    }

    /// The revision that it is about, for people.
    pub fn revision(&self) -> &str {
        let digits = digits(&self.revision);
        digits.get(..SHORTEST_REVISION).unwrap_or(digits)
    }
}

/// A fingerprint or the beginning of its digits.
fn is_revision(text: &str) -> bool {
    let digits = digits(text);
    digits.len() >= SHORTEST_REVISION && digits.len() <= 64 && digits.chars().all(|c| c.is_ascii_hexdigit())
}

/// A fingerprint without its version.
fn digits(text: &str) -> &str {
    text.split_once(':').map_or(text, |(_, digits)| digits)
}

/// What persons said about a Canary, as its status remembers it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Words {
    /// The last word of each verb that was heard: its nonce.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub heard: BTreeMap<Verb, String>,
    /// Sums of the last words that were heard, the newest at the end. An annotation holds one word of a verb; a tool that applies again
    /// what stands in Git brings back one that another took the place of. Absent in a block of a Serin that remembered `heard` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    spent: Vec<String>,
    /// The last words, the newest at the end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Heard>,
    /// Since when a person holds the run at its weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<DateTime<Utc>>,
    /// A person said that the run goes straight to its promotion.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
}

/// A word that was heard, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Heard {
    /// What was asked.
    pub verb: Verb,
    /// The revision that it was about, shortened; empty for a word that could not be read.
    pub revision: String,
    /// When it was heard.
    pub at: DateTime<Utc>,
    /// The field manager that set the annotation, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// Why it was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The weight of a `goto`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Weight>,
    /// Why it was not followed; absent when it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
}

impl Words {
    /// What a block begins with: whatever stands on the Canary by then was said about something that is past.
    pub fn past(said: &[Said]) -> Self {
        Self {
            heard: said.iter().map(|said| (said.verb, said.mark())).collect(),
            spent: said.iter().map(Said::sum).collect(),
            ..Self::default()
        }
    }

    /// Nobody said anything yet.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The words that were not heard yet, the first one first.
    pub fn news<'a>(&self, said: &'a [Said]) -> Vec<&'a Said> {
        let mut news: Vec<&Said> = said.iter().filter(|said| !self.has_heard(said)).collect();
        news.sort_by_key(|said| (said.at, said.verb));
        news
    }

    /// Whether this word was heard: it does not count again.
    pub fn has_heard(&self, said: &Said) -> bool {
        self.heard.get(&said.verb) == Some(&said.mark()) || self.spent.contains(&said.sum())
    }

    /// Takes note of a word, so that it does not count again.
    pub(super) fn note(&mut self, said: &Said, mut heard: Heard) {
        let short = |text: &str| size::cut(text, PHRASE);
        heard.by = heard.by.as_deref().map(short);
        heard.refused = heard.refused.as_deref().map(short);
        self.heard.insert(said.verb, said.mark());
        self.spent.push(said.sum());
        let excess = self.spent.len().saturating_sub(MOST_SPENT);
        self.spent.drain(..excess);
        self.history.push(heard);
        self.keep(MOST_WORDS);
    }

    /// Forgets all but the last words, and never the very last.
    pub(super) fn keep(&mut self, most: usize) {
        let excess = self.history.len().saturating_sub(most.max(1));
        self.history.drain(..excess);
    }

    /// The word that was followed between an earlier block and this one.
    pub fn followed_since(&self, before: &Self) -> Option<&Heard> {
        let last = self.history.last().filter(|last| before.history.last() != Some(*last));
        last.filter(|last| last.refused.is_none())
    }
}

impl Block {
    /// The revision that a word can be about: the one that runs, waits for a gate or a slot, or failed last.
    pub fn spoken_of(&self) -> Option<&Fingerprint> {
        match self.stage {
            Stage::Resting => self.in_line().or(self.last_failed.as_ref()),
            _ => self.running.as_ref(),
        }
    }

    /// The revision whose gates have passed, and that waits for a slot.
    pub fn in_line(&self) -> Option<&Fingerprint> {
        self.queued.as_ref()?.revision.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn said(verb: Verb, value: &str) -> Said {
        Said {
            verb,
            value: value.into(),
            by: None,
            at: None,
        }
    }

    #[test]
    fn a_word_has_a_revision_a_nonce_and_perhaps_a_reason_with_commas() {
        let word = Word::parse(&said(Verb::Abort, &format!("v1:{HEX}#a-1, too slow, too dear "))).expect("a word");
        assert_eq!(
            (word.nonce.as_str(), word.reason.as_deref(), word.revision()),
            ("a-1", Some("too slow, too dear"), "0123456789")
        );
        let word = Word::parse(&said(Verb::Goto, "0123456789#2,30,careful, please")).expect("a word");
        assert_eq!(
            (word.weight.percent(), word.reason.as_deref()),
            (30, Some("careful, please"))
        );
        let full = Fingerprint(format!("v1:{HEX}"));
        assert!(word.is_about(&full));
        let other = Word::parse(&said(Verb::Goto, "0123456780#2,30")).expect("a word");
        assert!(!other.is_about(&full));
    }

    #[test]
    fn what_makes_no_sense_is_told_with_the_annotation_and_its_form() {
        for (verb, value, expected) in [
            (
                Verb::Abort,
                "now!",
                "annotation serin.dev/abort: there is no `#` behind a revision; it must read revision#nonce[,reason]",
            ),
            (Verb::Pause, "012345678#1", "\"012345678\" is no revision"),
            (Verb::Pause, "#1", "\"\" is no revision"),
            (Verb::Resume, "0123456789#", "\"\" is no nonce"),
            (Verb::Resume, "0123456789#a b", "\"a b\" is no nonce"),
            (
                Verb::Goto,
                "0123456789#1",
                "\"\" is no weight from 0 to 100; it must read revision#nonce,weight[,reason]",
            ),
            (Verb::Goto, "0123456789#1,101", "\"101\" is no weight"),
            (Verb::Goto, "0123456789#1,-1", "\"-1\" is no weight"),
        ] {
            let error = Word::parse(&said(verb, value)).expect_err(value).to_string();
            assert!(error.contains(expected), "{value}: {error}");
        }
    }

    #[test]
    fn a_word_counts_until_its_nonce_was_heard() {
        let mut words = Words::default();
        let first = said(Verb::Pause, "0123456789#1");
        let heard = |verb| Heard {
            verb,
            revision: String::new(),
            at: DateTime::UNIX_EPOCH,
            by: None,
            reason: None,
            weight: None,
            refused: None,
        };
        words.note(&first, heard(Verb::Pause));
        let amended = said(Verb::Pause, "0123456789#1,because");
        let next = said(Verb::Pause, "0123456789#2");
        let broken = said(Verb::Abort, "now!");
        assert_eq!(words.news(&[first.clone(), amended]), Vec::<&Said>::new());
        assert_eq!(
            words.news(&[next.clone(), broken.clone()]),
            [&broken, &next],
            "what is safe comes first"
        );
        words.note(&broken, heard(Verb::Abort));
        assert_eq!(words.news(std::slice::from_ref(&broken)), Vec::<&Said>::new());
        for _ in 0..20 {
            words.note(&next, heard(Verb::Pause));
        }
        assert_eq!(words.history.len(), MOST_WORDS);
        assert!(
            Words::past(std::slice::from_ref(&next))
                .news(std::slice::from_ref(&next))
                .is_empty()
        );
    }

    #[test]
    fn a_word_that_comes_back_after_another_one_was_heard_before() {
        let heard = |said: &Said| Heard {
            verb: said.verb,
            revision: String::new(),
            at: DateTime::UNIX_EPOCH,
            by: None,
            reason: None,
            weight: None,
            refused: None,
        };
        let mut words = Words::past(&[said(Verb::Promote, "0123456789#stood")]);
        let all: Vec<Said> = (0..MOST_SPENT)
            .map(|n| said(Verb::Promote, &format!("0123456789#{n}")))
            .collect();
        words.note(&all[0], heard(&all[0]));
        let stood = said(Verb::Promote, &format!("v1:{HEX}#stood,spelled in full"));
        assert!(words.news(std::slice::from_ref(&stood)).is_empty());
        for word in &all[1..] {
            words.note(word, heard(word));
        }
        assert!(words.news(&all).is_empty());
        // What is remembered has an end, and another verb, revision or nonce is another word.
        assert_eq!(words.news(std::slice::from_ref(&stood)), [&stood]);
        for other in [
            said(Verb::Approve, "0123456789#1"),
            said(Verb::Promote, "0123456780#1"),
            said(Verb::Promote, "0123456789#other"),
        ] {
            assert_eq!(words.news(std::slice::from_ref(&other)), [&other]);
        }
        let json = serde_json::to_string(&words).expect("JSON");
        assert_eq!(serde_json::from_str::<Words>(&json).expect("words"), words);
        assert!(json.len() < 2048, "{}", json.len());
    }

    #[test]
    fn what_an_earlier_serin_remembered_still_counts() {
        let words: Words = serde_json::from_str(r#"{"heard": {"promote": "1"}}"#).expect("words");
        let (old, new) = (said(Verb::Promote, "0123456789#1"), said(Verb::Promote, "0123456789#2"));
        assert_eq!(words.news(&[old, new.clone()]), [&new]);
    }
}
