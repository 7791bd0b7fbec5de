//! The templates: what the build found in `guest-examples`.

use super::Example;

/// An example as a template.
#[derive(Debug)]
pub(super) struct Template {
    /// The name of its directory, which is that of the language.
    pub(super) language: &'static str,
    /// The example that it is.
    pub(super) example: Example,
    /// The paths of the contract in it.
    pub(super) contracts: &'static [&'static str],
    /// Its files.
    pub(super) files: &'static [TemplateFile],
}

/// A file of a template.
#[derive(Debug)]
pub(super) struct TemplateFile {
    /// The path in the directory.
    pub(super) path: &'static str,
    /// The content.
    pub(super) content: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// The languages in which a project can be made.
pub fn languages() -> impl Iterator<Item = &'static str> {
    let of_each = |template: &&Template| template.example == Example::Echo;
    TEMPLATES.iter().filter(of_each).map(|template| template.language)
}

pub(super) fn find(language: &str, example: Example) -> Option<&'static Template> {
    TEMPLATES.iter().find(|template| template.language == language && template.example == example)
}

impl Template {
    /// The cases that its receiver passes, whatever its language.
    pub(super) fn cases(&self) -> &'static [TemplateFile] {
        match self.example {
            Example::Echo => CASES_ECHO,
            Example::Batch => CASES_BATCH,
            Example::Webhooks => CASES_WEBHOOKS,
        }
    }

    /// A file as text.
    pub(super) fn text(&self, path: &str) -> Option<&'static str> {
        let file = self.files.iter().find(|file| file.path == path)?;
        std::str::from_utf8(file.content).ok()
    }

    /// Whether a package of this name is among those that it depends on.
    pub(super) fn depends_on(&self, name: &str) -> bool {
        let cargo = format!("name = \"{name}\"");
        let npm = format!("\"node_modules/{}\"", name.to_lowercase());
        self.text("Cargo.lock").is_some_and(|lock| lock.lines().any(|line| line == cargo))
            || self.text("package-lock.json").is_some_and(|lock| lock.contains(&npm))
    }
}
