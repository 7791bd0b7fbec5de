//! New projects: the examples of `guest-examples`, which are part of the program, under another name.

mod example;
mod layout;
mod name;
mod rename;
mod template;

use std::io;
use std::path::{Path, PathBuf};

pub use example::Example;
pub use layout::ProjectFile;
pub use name::ProjectName;
pub use template::languages;

use template::Template;

/// A project that is to be made.
#[derive(Debug, Clone)]
pub struct Project {
    name: ProjectName,
    template: &'static Template,
}

/// The reason why a project was not made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ScaffoldError {
    /// There is no template for the language.
    #[error("no template for {0:?}; there are templates for {known}", known = languages().collect::<Vec<_>>().join(", "))]
    UnknownLanguage(String),
    /// The project would have the name of something that it depends on.
    #[error("{0:?} is the name of a package that the project depends on; choose another name")]
    NameOfDependency(String),
    /// There is something at the place of the project.
    #[error("{} is not an empty directory; name another one with --directory", .0.display())]
    InTheWay(PathBuf),
    /// A file could not be written.
    #[error("{} could not be written", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl Project {
    /// A project of this name in a language, which begins with an example.
    pub fn new(name: ProjectName, language: &str, example: Example) -> Result<Self, ScaffoldError> {
        let template =
            template::find(language, example).ok_or_else(|| ScaffoldError::UnknownLanguage(language.to_owned()))?;
        if template.depends_on(name.as_str()) {
            return Err(ScaffoldError::NameOfDependency(name.as_str().to_owned()));
        }
        Ok(Self { name, template })
    }

    /// Writes the project into a directory, which is made unless it is there and empty.
    pub fn write(&self, directory: &Path) -> Result<(), ScaffoldError> {
        let in_the_way = match std::fs::read_dir(directory) {
            Ok(mut entries) => entries.next().is_some(),
            Err(error) => error.kind() != io::ErrorKind::NotFound,
        };
        if in_the_way {
            return Err(ScaffoldError::InTheWay(directory.to_owned()));
        }
        for file in self.files() {
            let path = directory.join(&file.path);
            file.write(&path).map_err(|source| ScaffoldError::Write { path, source })?;
        }
        Ok(())
    }
}
