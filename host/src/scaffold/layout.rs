//! The files of a project: the example, the contract, the cases, the configuration, and instructions to build it.

use std::io;
use std::path::Path;

use super::rename::renamed;
use super::template::CONTRACT;
use super::{Example, Project};
use crate::fixture::SUITE_FILE;

/// The file in which a template explains itself.
const README: &str = "README.md";
/// The files that builds and hosts leave in the directory.
const IGNORED: &str = "\
/build/
/target/
/bindings/
/node_modules/
/.venv/
__pycache__/
.zig-cache/
zig-cache/
*.db
*.db-shm
*.db-wal
*.db.sock
";

/// A file of a project.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProjectFile {
    /// The path in the project.
    pub path: String,
    /// The content.
    pub content: Vec<u8>,
}

impl Project {
    /// The files of the project, in no particular order.
    pub fn files(&self) -> Vec<ProjectFile> {
        let own = self.template.files.iter().map(|file| {
            let text = std::str::from_utf8(file.content).map(|text| renamed(file.path, text, &self.name));
            let text = text.map(|text| if file.path == README { text + &self.usage() } else { text });
            ProjectFile::new(file.path, text.map_or_else(|_| file.content.to_vec(), String::into_bytes))
        });
        let contract = self.template.contracts.iter().flat_map(|place| {
            CONTRACT.iter().map(move |file| ProjectFile::new(format!("{place}/{}", file.path), file.content))
        });
        let fixtures = self.template.cases().iter().filter(|file| file.path != README).map(|file| {
            let content = if file.path == SUITE_FILE { self.suite(file.content) } else { file.content.to_vec() };
            ProjectFile::new(format!("tests/{}", file.path), content)
        });
        let own_files =
            [ProjectFile::new(".gitignore", IGNORED), ProjectFile::new("wasmpost.toml", self.configuration())];
        own.chain(contract).chain(fixtures).chain(own_files).collect()
    }

    /// The commands that build the component, in the directory of the project.
    pub fn build_commands(&self) -> Vec<String> {
        if self.template.text("build.sh").is_some() {
            return vec!["./build.sh".to_owned()];
        }
        const TARGET: &str = "wasm32-unknown-unknown";
        vec![format!("rustup target add {TARGET}"), format!("cargo build --release --target {TARGET}")]
    }

    /// The path of the built component in the project.
    pub fn component(&self) -> String {
        if self.template.text("build.sh").is_some() {
            return "build/receiver.wasm".to_owned();
        }
        format!("target/wasm32-unknown-unknown/release/{}.wasm", self.name.with_underscores())
    }

    /// The command that hands a first message to the component.
    pub fn invoke_command(&self) -> String {
        let component = self.component();
        let example = self.example();
        let sample = example.sample();
        let topics = quoted(example.topics());
        let attributes = example.sample_attributes();
        format!("echo {sample} | wasmpost invoke {component} --publish {topics} {attributes}--body -")
    }

    /// The command that publishes a first message to the queue of the configuration.
    pub fn publish_command(&self) -> String {
        let example = self.example();
        let sample = example.sample();
        let queue = example.queue();
        let attributes = example.sample_attributes();
        format!("echo {sample} | wasmpost publish {queue} {attributes}-")
    }

    fn example(&self) -> Example {
        self.template.example
    }

    fn configuration(&self) -> String {
        let component = self.component();
        let publish = self.publish_command();
        let queue = self.example().queue();
        let topics = self.example().topics();
        format!(
            "# Each message of the queue goes to the component. Start it with: wasmpost run\n\
             # and give it a message: {publish}\n\
             [[receivers]]\nqueue = \"{queue}\"\ncomponent = \"{component}\"\npublish = [\"{topics}\"]\n"
        )
    }

    /// How the project is built, tried and run, for the README of a template that leaves it out: it is the same in every
    /// language.
    fn usage(&self) -> String {
        if self.example() == Example::Webhooks {
            return String::new();
        }
        let component = self.component();
        let queue = self.example().queue();
        let topics = self.example().topics();
        let build = self.build_commands().join("\n");
        let invoke = self.invoke_command();
        let publish = self.publish_command();
        format!(
            "\n## Build it and test it\n\n```\n{build}\nwasmpost test tests\n```\n\n\
             The component is `{component}`. Each file in `tests/` is a case: a message, and what has to become of it. One\n\
             message without a case:\n\n```\n{invoke}\n```\n\n\
             ## Run it\n\n\
             `wasmpost.toml` gives the component the messages of the queue `{queue}`, and lets it publish to `{topics}`:\n\n\
             ```\n{publish}\nwasmpost run --until-empty\nwasmpost queues\n```\n\n\
             The queue is the file `wasmpost.db`. Without `--until-empty` the host serves until it is told to stop.\n\
             `wit/messaging.wit` is the contract: what a component is given, and what it may ask for.\n\n\
             ## Change it\n\n\
             `wasmpost dev` builds the component whenever a source is saved, sends it the messages of the cases in `tests/`, and\n\
             shows how it handles them.\n"
        )
    }

    /// How the component runs in the cases, which do not name one in the repository.
    fn suite(&self, text: &[u8]) -> Vec<u8> {
        let component = self.component();
        let named = format!("component = \"../{component}\"\n");
        [named.as_bytes(), text].concat()
    }
}

/// A word of a command, in quotes where a shell would read it differently without.
fn quoted(word: &str) -> String {
    if word.contains('*') { format!("'{word}'") } else { word.to_owned() }
}

impl ProjectFile {
    fn new(path: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self { path: path.into(), content: content.into() }
    }

    /// Writes the file; scripts can be run then.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(path, &self.content)?;
        #[cfg(unix)]
        if self.content.starts_with(b"#!") {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755))?;
        }
        Ok(())
    }
}
