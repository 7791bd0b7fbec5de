//! Files that no component is built from: those that builds, tools and editors leave.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::project::Project;

/// Directories of these names, wherever they are.
const ANYWHERE: &[&str] = &["target", "node_modules", "__pycache__", "zig-cache"];
/// Directories of these names in that of the project.
const AT_TOP: &[&str] = &["bindings", "build", "dist", "out", "zig-out"];
/// Hidden directories that are looked at.
const HIDDEN_TAKEN: &[&str] = &[".cargo"];
/// The ends of files that editors and queues leave.
const ENDS: &[&str] = &["~", ".swp", ".swx", ".tmp", ".db", ".db-shm", ".db-wal", ".db.sock"];
/// The file that Vim writes to see whether it can.
const PROBE: &str = "4913";
/// The largest `.gitignore` that is looked at, in lines.
const LINES_MAX: usize = 1000;

/// Files and directories that are not looked at.
#[derive(Debug, Default)]
pub(super) struct Ignored {
    directory: PathBuf,
    components: BTreeSet<PathBuf>,
    /// Directories that components are built into.
    outputs: BTreeSet<PathBuf>,
    /// Names that `.gitignore` has: anywhere, and in its own directory.
    names: BTreeSet<String>,
    top_names: BTreeSet<String>,
    /// Ends of names that it has.
    ends: Vec<String>,
}

impl Ignored {
    /// The files and directories of a project that are ignored. Of its `.gitignore`, lines that are a name or `*` with
    /// an end count.
    pub(super) fn of(project: &Project) -> Self {
        let directory = project.directory.clone();
        let components = project.components();
        let below = |output: &&Path| output.starts_with(&directory) && **output != directory;
        let outputs = components.iter().filter_map(|component| component.parent()).filter(below);
        let outputs = outputs.map(Path::to_owned).collect();
        let mut ignored = Self { components, outputs, directory, ..Self::default() };
        let text = std::fs::read_to_string(ignored.directory.join(".gitignore")).unwrap_or_default();
        text.lines().take(LINES_MAX).for_each(|line| ignored.add(line.trim()));
        ignored
    }

    fn add(&mut self, line: &str) {
        let is_plain = |text: &str| !text.is_empty() && !text.contains(['*', '?', '[', '/', '!', '#', '\\']);
        let name = line.strip_suffix('/').unwrap_or(line);
        match (name.strip_prefix('/'), name.strip_prefix('*')) {
            (Some(name), _) if is_plain(name) => drop(self.top_names.insert(name.to_owned())),
            (_, Some(end)) if is_plain(end) => self.ends.push(end.to_owned()),
            _ if is_plain(name) => drop(self.names.insert(name.to_owned())),
            _ => {}
        }
    }

    /// Whether a directory is not looked at.
    pub(super) fn directory(&self, path: &Path) -> bool {
        let name = name_of(path);
        let is_hidden = name.starts_with('.') && !HIDDEN_TAKEN.contains(&&*name);
        self.is_named(path)
            || is_hidden
            || ANYWHERE.contains(&&*name)
            || self.is_at_top(path) && AT_TOP.contains(&&*name)
            || self.outputs.contains(path)
    }

    /// Whether a file is not looked at.
    pub(super) fn file(&self, path: &Path) -> bool {
        let name = name_of(path);
        self.is_named(path)
            || name.starts_with('.')
            || name == PROBE
            || ENDS.iter().any(|end| name.ends_with(end))
            || self.ends.iter().any(|end| name.ends_with(&**end))
            || self.components.contains(path)
    }

    /// Whether `.gitignore` has its name.
    fn is_named(&self, path: &Path) -> bool {
        let name = name_of(path);
        self.names.contains(&*name) || self.is_at_top(path) && self.top_names.contains(&*name)
    }

    fn is_at_top(&self, path: &Path) -> bool {
        path.parent() == Some(&self.directory)
    }
}

fn name_of(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ignored(lines: &[&str]) -> Ignored {
        let mut ignored = Ignored { directory: "/p".into(), ..Ignored::default() };
        ignored.components.insert("/p/out.wasm".into());
        ignored.outputs.insert("/p/made".into());
        lines.iter().for_each(|line| ignored.add(line));
        ignored
    }

    #[test]
    fn sources_are_looked_at_and_what_builds_and_editors_leave_is_not() {
        let ignored = ignored(&["/lib/", "gen/", "*.log", "!kept", "# note", "a/b"]);
        for directory in ["/p/target", "/p/a/target", "/p/build", "/p/.git", "/p/made", "/p/lib", "/p/a/gen"] {
            assert!(ignored.directory(Path::new(directory)), "{directory}");
        }
        for directory in ["/p/src", "/p/src/build", "/p/.cargo", "/p/a/lib", "/p/tests"] {
            assert!(!ignored.directory(Path::new(directory)), "{directory}");
        }
        for file in ["/p/out.wasm", "/p/.lib.rs.swp", "/p/lib.rs~", "/p/4913", "/p/w.db", "/p/a/x.log"] {
            assert!(ignored.file(Path::new(file)), "{file}");
        }
        for file in ["/p/src/lib.rs", "/p/Cargo.toml", "/p/src/target", "/p/b.wasm"] {
            assert!(!ignored.file(Path::new(file)), "{file}");
        }
    }
}
