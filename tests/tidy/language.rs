//! Sentences and statements are plain: a comment begins with its subject, and a line binds one thing.

use crate::{expect_none, sources};

/// Words with which no comment begins: a riddle follows.
const RIDDLES: &[&str] = &["What", "Who", "Whoever", "Whom", "Whose"];

/// The lines on which a comment, or a sentence in one, begins with a riddle.
fn riddles(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let comment = ["/// ", "//! ", "// "].iter().find_map(|mark| line.strip_prefix(mark));
        let begins = |sentence: &str| {
            let word = sentence.split(|letter: char| !letter.is_alphabetic()).next();
            word.is_some_and(|word| RIDDLES.contains(&word)) && !sentence.contains('?')
        };
        if comment.is_some_and(|comment| comment.split(". ").any(begins)) {
            found.push(number + 1);
        }
    }
    found
}

/// The lines that bind several things at once, each to an expression of its own.
fn pairs(text: &str) -> Vec<usize> {
    let is_pair = |line: &str| {
        let parts = line.trim_start().strip_prefix("let (").and_then(|rest| rest.split_once(") = ("));
        parts.is_some_and(|(names, values)| !names.contains('(') && values.ends_with(");") && is_tuple(values))
    };
    text.lines().enumerate().filter(|(_, line)| is_pair(line)).map(|(number, _)| number + 1).collect()
}

/// Whether the parenthesis before `values` ends at its end: it is a tuple, not the beginning of an expression.
fn is_tuple(values: &str) -> bool {
    let mut depth = 1;
    let end = values.char_indices().find(|(_, letter)| {
        depth += match letter {
            '(' => 1,
            ')' => -1,
            _ => 0,
        };
        depth == 0
    });
    end.is_some_and(|(at, _)| at + 2 == values.len())
}

#[test]
fn no_sentence_of_a_comment_begins_with_a_riddle() {
    let found = sources()
        .into_iter()
        .flat_map(|(name, text)| riddles(&text).into_iter().map(move |line| format!("{name}:{line}: say what it is")));
    expect_none("comments that begin with \"What\" or \"Who\"", found.collect());
}

#[test]
fn no_line_binds_two_unrelated_things() {
    let found = sources().into_iter().flat_map(|(name, text)| {
        pairs(&text).into_iter().map(move |line| format!("{name}:{line}: write a line for each"))
    });
    expect_none("lines that bind several things", found.collect());
}

#[test]
fn riddles_and_pairs_are_found_and_other_lines_are_not() {
    assert_eq!(
        riddles("/// What it is.\n/// A thing. Who has it\n// Whatever it is.\nlet what = 1; // What?\n"),
        [1, 2]
    );
    assert_eq!(pairs("let (a, b) = (1, 2);\nlet (a, b) = split(x);\nlet (a, b) = (x.y()).z(1);\n"), [1]);
}
