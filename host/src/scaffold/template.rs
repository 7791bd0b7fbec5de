//! The templates: what the build found in `guest-examples`.

/// An example as a template.
#[derive(Debug)]
pub(super) struct Template {
    /// The name of its directory, which is that of the language.
    pub(super) language: &'static str,
    /// Where it has the contract.
    pub(super) contracts: &'static [&'static str],
    /// Its files.
    pub(super) files: &'static [TemplateFile],
}

/// A file of a template.
#[derive(Debug)]
pub(super) struct TemplateFile {
    /// Where it lies in the directory.
    pub(super) path: &'static str,
    /// What is in it.
    pub(super) content: &'static [u8],
}

include!(concat!(env!("OUT_DIR"), "/templates.rs"));

/// The languages in which a project can be made.
pub fn languages() -> impl Iterator<Item = &'static str> {
    TEMPLATES.iter().map(|template| template.language)
}

pub(super) fn find(language: &str) -> Option<&'static Template> {
    TEMPLATES.iter().find(|template| template.language == language)
}

impl Template {
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
