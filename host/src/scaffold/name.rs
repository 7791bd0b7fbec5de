//! The name of a project.

use std::str::FromStr;

/// The longest name, in bytes.
const BYTES_MAX: usize = 64;

/// The name of a project: one that every language takes for the name of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectName(String);

impl ProjectName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name where hyphens are not allowed.
    pub(super) fn with_underscores(&self) -> String {
        self.0.replace('-', "_")
    }
}

impl FromStr for ProjectName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let fits = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        if name.len() > BYTES_MAX
            || !name.starts_with(|first: char| first.is_ascii_alphabetic())
            || !name.chars().all(fits)
        {
            return Err(format!("a name is 1 to {BYTES_MAX} letters, digits, - or _, and starts with a letter"));
        }
        Ok(Self(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_starts_with_a_letter_and_has_no_letters_that_a_language_could_misread() {
        for name in ["triage", "my-receiver", "a", "Triage_2"] {
            assert_eq!(name.parse::<ProjectName>().unwrap().as_str(), name);
        }
        let long = "x".repeat(65);
        for name in ["", "-x", "2x", "_x", "a b", "a/b", "../a", "ünter", "a.b", &long] {
            assert!(name.parse::<ProjectName>().unwrap_err().contains("starts with a letter"), "{name:?}");
        }
    }
}
