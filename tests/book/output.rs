//! Compares the output of a command with the output that a page shows.

/// Stands for any text within a line; alone on a line, for any lines.
const ANYTHING: &str = "…";

/// Whether lines are as they are said to be.
pub(crate) fn fits(said: &[&str], printed: &[&str]) -> bool {
    match (said.split_first(), printed.split_first()) {
        (None, None) => true,
        (Some((line, rest)), _) if *line == ANYTHING => (0..=printed.len()).any(|from| fits(rest, &printed[from..])),
        (Some((line, rest)), Some((found, others))) => {
            line_fits(line.trim_end(), found.trim_end()) && fits(rest, others)
        }
        _ => false,
    }
}

fn line_fits(said: &str, printed: &str) -> bool {
    let parts: Vec<&str> = said.split(ANYTHING).map(str::trim_end).collect();
    let [first, between @ .., last] = &parts[..] else { return said == printed };
    let Some(mut rest) = printed.strip_prefix(first) else { return false };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Tests of the comparison itself.
pub(crate) fn an_ellipsis_stands_for_any_text_and_any_lines() {
    let printed = ["ID  QUEUE", "a   orders", "b   webhooks"];
    assert!(fits(&printed, &printed));
    assert!(fits(&["ID …", "…"], &printed));
    assert!(fits(&["…", "b …hooks"], &printed));
    assert!(!fits(&["ID  QUEUE"], &printed));
    assert!(!fits(&["ID  QUEUE", "…", "c …"], &printed));
    assert!(fits(&["…"], &[]) && fits(&[], &[]) && !fits(&[], &["a"]));
}
