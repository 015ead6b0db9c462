//! Keeps the block below its 16 KiB, whatever users name their metrics and whatever hooks answer (`design.md`, "The status").

use super::notice::Notice;
use super::state::{Block, GateState, SampleRecord, TEXT_LIMIT};
use super::word::MOST_WORDS;

/// What the block may have as JSON; the rest is for the server's spelling of it.
const LIMIT: usize = 15 * 1024;
/// Hooks that are remembered. Those beyond are asked again, which is harmless.
const MOST_GATES: usize = 64;
/// Notices that one write announces.
const MOST_NOTICES: usize = 24;

/// Cuts what the block can do without, as little as will do: few samples and notices keep their words, many are cut.
pub fn fit(block: &mut Block) {
    let excess = block.gates.len().saturating_sub(MOST_GATES);
    let mut forgotten = 0;
    block.gates.retain(|_, state| {
        let goes = *state == GateState::Passed && forgotten < excess;
        forgotten += usize::from(goes);
        !goes
    });
    keep_what_matters(&mut block.notices, MOST_NOTICES, |notice| notice.alert.is_some());
    keep_what_matters(&mut block.samples, MOST_GATES, |sample| !sample.passed);
    for share in [1, 2, 4, 8, 16] {
        let limit = TEXT_LIMIT / share;
        block.samples.truncate(MOST_GATES / share);
        block.words.keep(MOST_WORDS / share);
        block.samples.iter_mut().for_each(|sample| shorten(sample, limit / 2));
        for notice in &mut block.notices {
            notice.text = cut(&notice.text, limit);
            if let Some(alert) = &mut notice.alert {
                alert.message = cut(&alert.message, limit);
            }
        }
        if serde_json::to_string(block).is_ok_and(|json| json.len() <= LIMIT) {
            return;
        }
    }
}

/// The block with what was announced before and is not told yet: a successor tells all that the status names.
pub fn with_untold(block: &Block, untold: Vec<Notice>) -> Block {
    let mut block = block.clone();
    let mut notices = untold;
    notices.retain(|notice| !block.notices.iter().any(|news| news.id == notice.id));
    if !notices.is_empty() {
        notices.append(&mut block.notices);
        block.notices = notices;
        fit(&mut block);
    }
    block
}

/// Keeps that many: those that matter, and of the others the first.
fn keep_what_matters<T>(list: &mut Vec<T>, most: usize, matters: impl Fn(&T) -> bool) {
    let room = most.saturating_sub(list.iter().filter(|one| matters(one)).count());
    let mut others = 0;
    list.retain(|one| {
        others += usize::from(!matters(one));
        matters(one) || others <= room
    });
    list.truncate(most);
}

fn shorten(sample: &mut SampleRecord, limit: usize) {
    for text in [&mut sample.metric, &mut sample.value, &mut sample.limit] {
        *text = cut(text, limit);
    }
}

/// Cuts a text at a character, and spells what JSON would need six bytes for as a space.
pub fn cut(text: &str, limit: usize) -> String {
    let text = text.replace(char::is_control, " ");
    if text.len() <= limit {
        return text;
    }
    let end = text.floor_char_boundary(limit.saturating_sub('…'.len_utf8()));
    format!("{}…", &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_matters_stays_and_the_order_too() {
        let mut list: Vec<u32> = (0..40).collect();
        keep_what_matters(&mut list, 5, |n| *n >= 38);
        assert_eq!(list, [0, 1, 2, 38, 39]);
    }

    #[test]
    fn a_text_is_cut_at_a_character() {
        assert_eq!(cut("ééé", 5), "é…");
        assert_eq!(cut("a\nb", 5), "a b");
    }
}
