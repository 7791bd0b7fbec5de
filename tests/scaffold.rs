//! `wasmpost new`: a project in every language and of every example, which is built and tried as its README and the command
//! say. And the examples themselves, which all pass the same cases.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Trial};
use wasmpost::scaffold::languages;
use wasmpost_tests::{Place, guest, program, root, target};

/// The place of an example in the directory of its language, and the expected properties of a project made from it.
#[derive(Debug, Clone, Copy)]
struct Example {
    name: &'static str,
    directory: &'static str,
    /// The name of the projects: those in Rust are built side by side.
    project: &'static str,
    cases: usize,
    topic: &'static str,
}

const ECHO: Example = Example { name: "echo", directory: "echo", project: "My-receiver_2", cases: 3, topic: "out" };
const BATCH: Example = Example { name: "batch", directory: "batch", project: "My-receiver_4", cases: 3, topic: "out" };
const WEBHOOKS: Example =
    Example { name: "webhooks", directory: "", project: "My-receiver_3", cases: 18, topic: "github.ping" };

impl Example {
    fn directory(&self, language: &str) -> PathBuf {
        root().join("guest-examples").join(language).join(self.directory)
    }
}

/// Every file below a directory, by its path from there.
fn files(directory: &Path) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(!path.is_symlink(), "{} is a link out of the project", path.display());
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|file| format!("{name}/{file}")));
        } else {
            found.insert(name);
        }
    }
    found
}

/// A project in a language, with the commands that were printed.
fn made(language: &str, example: Example) -> (Place, PathBuf, Vec<String>) {
    let place = Place::default();
    let mut arguments = vec!["new", example.project, "--lang", language];
    // One is made unless another is asked for.
    if example.name != ECHO.name {
        arguments.extend(["--example", example.name]);
    }
    let printed = place.run(&arguments).exits(0).stdout();
    let project = place.path().join(example.project);
    (place, project, printed.lines().map(|line| line.trim().to_owned()).collect())
}

fn a_project_has_its_own_name_and_all_that_it_refers_to(language: &str, example: Example) {
    let (_place, project, _) = made(language, example);
    for file in files(&project) {
        let path = project.join(&file);
        let Ok(text) = std::fs::read_to_string(&path) else { continue };
        assert!(
            !text.contains("webhook-triage") && !text.contains("webhook_triage"),
            "{file} has the name of the example"
        );
        for wrong in ["../../wit", "guest-examples", "make guests"] {
            assert!(!text.contains(wrong), "{file} refers to {wrong}");
        }
        for link in text.split("](").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            let leads = link.starts_with("https://") || path.parent().unwrap().join(link).exists();
            assert!(leads || !file.ends_with(".md"), "{file} has the link {link:?}, which leads nowhere");
        }
    }
    let contract = std::fs::read(root().join("wit/deps/logging/logging.wit")).unwrap();
    assert_eq!(std::fs::read(project.join("wit/deps/logging/logging.wit")).unwrap(), contract);
    let cases: Vec<_> = files(&project).into_iter().filter(|file| file.starts_with("tests/")).collect();
    assert_eq!(cases.len(), example.cases + 1, "{cases:?}");
    for own in [".gitignore", "README.md", "wasmpost.toml", "tests/wasmpost-test.toml"] {
        assert!(files(&project).contains(own), "{own} is there");
    }
}

/// The files of a directory that the repository keeps, by their path from there. The contract is a link to the same files
/// everywhere; other links lead to what a template shares.
fn kept(directory: &Path) -> BTreeSet<String> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(directory).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let mut kept = BTreeSet::new();
    for file in listed.split('\0').filter(|file| !file.is_empty()) {
        let leads_to = directory.join(file).canonicalize().unwrap();
        if leads_to == root().join("wit") {
            continue;
        } else if leads_to.is_dir() {
            kept.extend(self::kept(&leads_to).into_iter().map(|inner| format!("{file}/{inner}")));
        } else {
            kept.insert(file.to_owned());
        }
    }
    kept
}

/// Nothing is embedded that the repository does not keep, and nothing that it keeps is missing.
fn a_template_is_what_the_repository_keeps(language: &str, example: Example) {
    let mut kept = kept(&example.directory(language));
    kept.retain(|file| !file.starts_with("echo/") && !file.starts_with("batch/"));
    let (_place, project, _) = made(language, example);
    let added = |file: &String| {
        ["tests/", "wit/", "wasmpost-guest/wit/"].iter().any(|place| file.starts_with(place))
            || file == "wasmpost.toml"
            || file == ".gitignore"
    };
    let own: BTreeSet<_> = files(&project).into_iter().filter(|file| !added(file)).collect();
    assert_eq!(own, kept, "touch host/build.rs if a file is new");
}

/// Runs commands one after the other, which all have to succeed, and tells what they printed.
fn runs(directory: &Path, commands: &[String], environment: &[(&str, &Path)]) -> String {
    let paths = std::env::var_os("PATH").unwrap();
    let paths = [program().parent().unwrap().to_owned()].into_iter().chain(std::env::split_paths(&paths));
    let mut command = Command::new("bash");
    command.args(["-e", "-o", "pipefail", "-c", &commands.join("\n")]).current_dir(directory);
    command.env("PATH", std::env::join_paths(paths).unwrap()).envs(environment.iter().copied());
    let ran = command.output().unwrap();
    let stdout = String::from_utf8_lossy(&ran.stdout);
    let stderr = String::from_utf8_lossy(&ran.stderr);
    assert!(ran.status.success(), "{commands:?}\nstdout: {stdout}\nstderr: {stderr}");
    stdout.into_owned()
}

/// The commands that the README of a project shows.
fn commands_of_the_readme(project: &Path) -> Vec<String> {
    let readme = std::fs::read_to_string(project.join("README.md")).unwrap();
    let blocks = readme.split("```\n").skip(1).step_by(2);
    blocks.flat_map(|block| block.lines().map(str::to_owned)).collect()
}

fn a_project_is_built_and_tried_with_the_commands_that_are_printed(language: &str, example: Example) {
    let (_place, project, printed) = made(language, example);
    let tried = printed.iter().position(|command| command.starts_with("wasmpost ")).unwrap();
    assert_eq!((&*printed[0], &**printed.last().unwrap()), (&*format!("cd {}", example.project), "wasmpost run"));
    let build = &printed[1..tried];
    if language == "rust" {
        build_rust(&project, build, example);
    } else {
        runs(&project, build, &[]);
    }
    let mut commands = printed[tried..printed.len() - 1].to_vec();
    if example.name != WEBHOOKS.name {
        let shown = commands_of_the_readme(&project);
        assert_eq!(shown[..printed.len() - 2], printed[1..printed.len() - 1], "the README says the same");
        commands.extend_from_slice(&shown[printed.len() - 2..]);
    } else {
        let publish = "echo '{}' | wasmpost publish webhooks --attribute X-Github-Event=ping -";
        commands.extend([publish, "wasmpost run --until-empty", "wasmpost queues"].map(str::to_owned));
    }
    let cache = target().join("tests-cache");
    let told = runs(&project, &commands, &[("XDG_CACHE_HOME", &cache)]);
    let passed = format!("{0} cases: {0} passed, 0 failed", example.cases);
    assert!(told.contains(&passed) && told.contains("verdict     ack"), "{told}");
    let queue = told.lines().find(|line| line.starts_with(example.topic)).unwrap_or_default();
    assert_eq!(queue.split_whitespace().nth(1), Some("1"), "the configuration works: {told}");
}

/// Builds as the other guests are built, with what was compiled for them: with rustup's target by the command that was
/// printed, and otherwise with Debian's compiler. The lock file has to be right.
fn build_rust(project: &Path, printed: &[String], example: Example) {
    let command = "cargo build --release --target wasm32-unknown-unknown";
    assert_eq!(printed, ["rustup target add wasm32-unknown-unknown", command]);
    let script = root().join("scripts/guest-cargo.sh");
    let build = format!("{} {}", script.display(), project.display());
    runs(project, &[build], &[("CARGO_TARGET_DIR", &target())]);
    let module = example.project.replace('-', "_") + ".wasm";
    let release = project.join("target/wasm32-unknown-unknown/release");
    std::fs::create_dir_all(&release).unwrap();
    let built = target().join("guests/wasm32-unknown-unknown/release").join(&module);
    std::fs::copy(built, release.join(module)).unwrap();
}

fn the_example_passes_the_cases(component: &Path) {
    let fixtures = root().join("guest-examples/fixtures");
    let place = Place::default();
    let arguments = ["test", fixtures.to_str().unwrap(), "--component", component.to_str().unwrap()];
    let ran = place.run(&arguments).exits(0).stdout();
    assert!(ran.contains(" 0 failed"), "{ran}");
}

fn projects_that_cannot_be_made_are_refused_by_name() {
    let place = Place::default();
    for name in ["2x", "a/b", "../a", "ünter"] {
        place.run(&["new", name, "--lang", "rust"]).fails(2, &["letters, digits, - or _", "starts with a letter"]);
    }
    let ran = place.run(&["new", "a", "--lang", "cobol"]).exits(2).stderr();
    for language in languages() {
        assert!(ran.contains(language), "{language} in {ran}");
    }
    let ran = place.run(&["new", "a", "--lang", "rust", "--example", "nothing"]).exits(2).stderr();
    assert!(["echo", "batch", "webhooks"].iter().all(|name| ran.contains(name)), "{ran}");
    place.run(&["new", "serde_json", "--lang", "rust"]).fails(2, &["\"serde_json\"", "another name"]);
    place.run(&["new", "TypeScript", "--lang", "typescript"]).fails(2, &["\"TypeScript\"", "another name"]);
    std::fs::create_dir(place.path().join("full")).unwrap();
    place.write("full/kept", "kept");
    place.run(&["new", "full", "--lang", "rust"]).fails(2, &["full is not an empty directory", "--directory"]);
    place.run(&["new", "a", "--lang", "rust", "--directory", "full/kept"]).fails(2, &["full/kept is not"]);
    assert_eq!(files(&place.path().join("full")).len(), 1);
    std::fs::create_dir(place.path().join("empty")).unwrap();
    place.run(&["new", "a", "--lang", "rust", "--directory", "empty"]).exits(0);
    place.run(&["new", "a", "--lang", "rust", "--directory", "deep/er"]).exits(0);
    assert_eq!(files(&place.path().join("empty")), files(&place.path().join("deep/er")));
    assert!(!place.path().join("a").exists());
}

/// The component of an example, if it was built.
fn built(language: &str) -> Option<PathBuf> {
    let guests = guest("noop").parent().unwrap().to_owned();
    let names = [format!("triage-{language}.wasm"), "webhook-triage.wasm".to_owned()];
    let names = if language == "rust" { &names[..] } else { &names[..1] };
    names.iter().map(|name| guests.join(name)).find(|component| component.exists())
}

fn main() {
    let trial = |name: String, test: Box<dyn FnOnce() + Send>| {
        Trial::test(format!("scaffold::{name}"), move || {
            test();
            Ok(())
        })
    };
    let mut trials = vec![trial(
        "projects_that_cannot_be_made_are_refused_by_name".into(),
        Box::new(projects_that_cannot_be_made_are_refused_by_name),
    )];
    let is_repository = root().join(".git").exists() && Command::new("git").arg("--version").output().is_ok();
    for language in languages() {
        let component = built(language);
        // The tools that built the example build the project.
        let missing = component.is_none();
        for example in [ECHO, BATCH, WEBHOOKS] {
            let called = format!("{}_in_{language}", example.name);
            trials.push(trial(
                format!("a_project_of_{called}_has_its_own_name_and_all_that_it_refers_to"),
                Box::new(move || a_project_has_its_own_name_and_all_that_it_refers_to(language, example)),
            ));
            let kept = trial(
                format!("the_template_of_{called}_is_what_the_repository_keeps"),
                Box::new(move || a_template_is_what_the_repository_keeps(language, example)),
            );
            trials.push(kept.with_ignored_flag(!is_repository));
            let builds = trial(
                format!("a_project_of_{called}_is_built_and_tried_with_the_commands_that_are_printed"),
                Box::new(move || a_project_is_built_and_tried_with_the_commands_that_are_printed(language, example)),
            );
            trials.push(builds.with_ignored_flag(missing));
        }
        let passes = trial(
            format!("the_example_in_{language}_passes_the_cases"),
            Box::new(move || the_example_passes_the_cases(&component.unwrap())),
        );
        trials.push(passes.with_ignored_flag(missing));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
