//! An error in a configuration file, and its place.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

/// An error in a configuration file, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    path: PathBuf,
    /// Line and column, from 1.
    place: Option<(usize, usize)>,
    text: String,
}

impl ConfigError {
    pub(crate) fn unreadable(path: &Path, error: &dyn fmt::Display) -> Self {
        Self { path: path.to_owned(), place: None, text: format!("could not be read: {error}") }
    }

    pub(crate) fn syntax(path: &Path, text: &str, error: &toml::de::Error) -> Self {
        let place = error.span().map(|span| place(text, span.start));
        Self { path: path.to_owned(), place, text: error.message().trim().replace('\n', "; ") }
    }

    pub(crate) fn at(path: &Path, text: &str, span: Range<usize>, fault: impl Into<String>) -> Self {
        Self { path: path.to_owned(), place: Some(place(text, span.start)), text: fault.into() }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.path.display())?;
        if let Some((line, column)) = self.place {
            write!(formatter, ":{line}:{column}")?;
        }
        write!(formatter, ": {}", self.text)
    }
}

impl std::error::Error for ConfigError {}

/// Line and column of a byte, from 1.
fn place(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..text.floor_char_boundary(byte)).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |end| end + 1);
    (before.matches('\n').count() + 1, before.get(line_start..).map_or(0, |line| line.chars().count()) + 1)
}
