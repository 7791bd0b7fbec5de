//! Text made fit to be shown, once, where it is printed: text from outside, and counts of things.

use std::borrow::Cow;

/// The mark for the rest of a text that was cut.
const CUT: &str = "\u{2026}";

/// The letters of Unicode's category Cf beyond the first plane and below it: they change how others look, or look like
/// nothing.
const FORMATS: &[(char, char)] = &[
    ('\u{ad}', '\u{ad}'),
    ('\u{600}', '\u{605}'),
    ('\u{61c}', '\u{61c}'),
    ('\u{6dd}', '\u{6dd}'),
    ('\u{70f}', '\u{70f}'),
    ('\u{890}', '\u{891}'),
    ('\u{8e2}', '\u{8e2}'),
    ('\u{180e}', '\u{180e}'),
    ('\u{200b}', '\u{200f}'),
    ('\u{202a}', '\u{202e}'),
    ('\u{2060}', '\u{2064}'),
    ('\u{2066}', '\u{206f}'),
    ('\u{feff}', '\u{feff}'),
    ('\u{fff9}', '\u{fffb}'),
    ('\u{110bd}', '\u{110bd}'),
    ('\u{110cd}', '\u{110cd}'),
    ('\u{13430}', '\u{1343f}'),
    ('\u{1bca0}', '\u{1bca3}'),
    ('\u{1d173}', '\u{1d17a}'),
    ('\u{e0001}', '\u{e0001}'),
    ('\u{e0020}', '\u{e007f}'),
];

/// Whether a terminal would obey a letter, or hide it, instead of showing it: controls (a tab is none here), formats, and
/// the two separators that end a line.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::is_obeyed;
///
/// assert!(is_obeyed('\u{1b}') && is_obeyed('\n'));
/// assert!(!is_obeyed('\t') && !is_obeyed('\u{e4}'));
/// ```
pub fn is_obeyed(letter: char) -> bool {
    match letter {
        '\t' => false,
        ' '..='~' => false,
        letter if letter.is_control() || matches!(letter, '\u{2028}' | '\u{2029}') => true,
        letter => FORMATS.iter().any(|(first, last)| (*first..=*last).contains(&letter)),
    }
}

/// A text with everything replaced that a terminal would obey, by its escape in Rust, such as `\u{1b}` or `\n`. Quotes,
/// apostrophes and backslashes stay as they are.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::shown;
///
/// assert_eq!(shown("plain \"text\""), "plain \"text\"");
/// assert_eq!(shown("\u{1b}[31mred\n"), r"\u{1b}[31mred\n");
/// ```
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        match is_obeyed(letter) {
            true => shown.extend(letter.escape_default()),
            false => shown.push(letter),
        }
    }
    Cow::Owned(shown)
}

/// A text that is cut at a letter where it is longer than `bytes_max`, with a sign that it was.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::cut;
///
/// assert_eq!(cut("abc", 3), "abc");
/// assert_eq!(cut("abcd", 3), "abc\u{2026}");
/// ```
pub fn cut(text: &str, bytes_max: usize) -> Cow<'_, str> {
    if text.len() <= bytes_max {
        return Cow::Borrowed(text);
    }
    let kept = text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default();
    Cow::Owned(format!("{kept}{CUT}"))
}

/// A count with its noun, in the singular or with an `s` or `ies` as its plural.
///
/// # Examples
///
/// ```
/// use wasmpost_msg::counted;
///
/// assert_eq!(counted(1, "receiver"), "1 receiver");
/// assert_eq!(counted(0, "dead letter"), "0 dead letters");
/// assert_eq!(counted(2, "delivery"), "2 deliveries");
/// ```
pub fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    match noun.strip_suffix('y') {
        _ if count == 1 => format!("{count} {noun}"),
        Some(stem) => format!("{count} {stem}ies"),
        None => format!("{count} {noun}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_replaced_and_nothing_else() {
        for plain in ["it's C:\\tmp \"q\"\t\u{e4}\u{1f600}", "", "e\u{301}"] {
            assert!(matches!(shown(plain), Cow::Borrowed(text) if text == plain), "{plain:?}");
        }
        for (text, expected) in [
            ("\u{1b}[31m\n\r\0\u{7f}\u{9b}2J", r"\u{1b}[31m\n\r\u{0}\u{7f}\u{9b}2J"),
            ("a\u{202e}b\u{2066}\u{61c}\u{180e}\u{fff9}\u{ad}", r"a\u{202e}b\u{2066}\u{61c}\u{180e}\u{fff9}\u{ad}"),
            ("\u{2028}\u{2029}\u{e0041}\u{200b}\u{feff}", r"\u{2028}\u{2029}\u{e0041}\u{200b}\u{feff}"),
        ] {
            assert_eq!(shown(text), expected);
        }
    }

    #[test]
    fn a_text_is_cut_at_a_letter() {
        assert_eq!(cut("abc", 3), "abc");
        assert_eq!(cut("ab\u{e4}", 3), "ab\u{2026}");
        assert_eq!(cut("abcd", 0), "\u{2026}");
    }
}
