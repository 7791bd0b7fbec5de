//! `wasmpost new`: a project in every language, which is built and tried as the command says. And the examples
//! themselves, which all pass the same cases.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use libtest_mimic::{Arguments, Trial};
use wasmpost::scaffold::languages;
use wasmpost_tests::{Place, guest, program, root, target};

const NAME: &str = "My-receiver_2";

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
fn made(language: &str) -> (Place, PathBuf, Vec<String>) {
    let place = Place::default();
    let printed = place.run(&["new", NAME, "--lang", language]).exits(0).stdout();
    let project = place.path().join(NAME);
    (place, project, printed.lines().map(|line| line.trim().to_owned()).collect())
}

fn a_project_has_its_own_name_and_all_that_it_refers_to(language: &str) {
    let (_place, project, _) = made(language);
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
    assert!(files(&project).contains(".gitignore") && files(&project).contains("tests/wasmpost-test.toml"));
}

/// Nothing is embedded that the repository does not keep, and nothing that it keeps is missing.
fn a_template_is_what_the_repository_keeps(language: &str) {
    let listed =
        Command::new("git").args(["ls-files", "-z"]).current_dir(root().join("guest-examples").join(language)).output();
    let listed = String::from_utf8(listed.unwrap().stdout).unwrap();
    let links = ["wit", "wasmpost-guest/wit"];
    let kept: BTreeSet<_> =
        listed.split('\0').filter(|file| !file.is_empty() && !links.contains(file)).map(str::to_owned).collect();
    let (_place, project, _) = made(language);
    let added = |file: &String| {
        file.starts_with("tests/")
            || links.iter().any(|link| file.starts_with(&format!("{link}/")))
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
    let (stdout, stderr) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert!(ran.status.success(), "{commands:?}\nstdout: {stdout}\nstderr: {stderr}");
    stdout.into_owned()
}

fn a_project_is_built_and_tried_with_the_commands_that_are_printed(language: &str) {
    let (place, project, printed) = made(language);
    let tried = printed.iter().position(|command| command.starts_with("wasmpost ")).unwrap();
    assert_eq!((&*printed[0], &**printed.last().unwrap()), (&*format!("cd {NAME}"), "wasmpost run"));
    let build = &printed[1..tried];
    if language == "rust" {
        build_rust(&project, build);
    } else {
        runs(&project, build, &[]);
    }
    let cache = target().join("tests-cache");
    let commands = [&printed[..1], &printed[tried..printed.len() - 1]].concat();
    let told = runs(place.path(), &commands, &[("XDG_CACHE_HOME", &cache)]);
    assert!(told.contains(" 0 failed") && told.contains("verdict     ack"), "{told}");
    let publish = "echo '{}' | wasmpost publish webhooks --attribute X-Github-Event=ping -";
    let run = [publish, "wasmpost run --until-empty", "wasmpost queues"].map(str::to_owned);
    let queues = runs(&project, &run, &[("XDG_CACHE_HOME", &cache)]);
    assert!(queues.contains("github.ping"), "the configuration works: {queues}");
}

/// Builds as the other guests are built, with what was compiled for them: with rustup's target by the command that was
/// printed, and otherwise with Debian's compiler. The lock file has to be right.
fn build_rust(project: &Path, printed: &[String]) {
    let command = "cargo build --release --target wasm32-unknown-unknown";
    assert_eq!(printed, ["rustup target add wasm32-unknown-unknown", command]);
    let script = root().join("scripts/guest-cargo.sh");
    let build = format!("{} {}", script.display(), project.display());
    runs(project, &[build], &[("CARGO_TARGET_DIR", &target())]);
    let module = NAME.replace('-', "_") + ".wasm";
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

fn what_cannot_be_made_is_refused_by_name() {
    let place = Place::default();
    for name in ["2x", "a/b", "../a", "ünter"] {
        place.run(&["new", name, "--lang", "rust"]).fails(2, &["letters, digits, - or _", "starts with a letter"]);
    }
    let ran = place.run(&["new", "a", "--lang", "cobol"]).exits(2).stderr();
    for language in languages() {
        assert!(ran.contains(language), "{language} in {ran}");
    }
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
    let mut trials =
        vec![trial("what_cannot_be_made_is_refused_by_name".into(), Box::new(what_cannot_be_made_is_refused_by_name))];
    let is_repository = root().join(".git").exists() && Command::new("git").arg("--version").output().is_ok();
    for language in languages() {
        let component = built(language);
        // What built the example builds the project.
        let missing = component.is_none();
        trials.push(trial(
            format!("a_project_in_{language}_has_its_own_name_and_all_that_it_refers_to"),
            Box::new(|| a_project_has_its_own_name_and_all_that_it_refers_to(language)),
        ));
        let kept = trial(
            format!("the_template_in_{language}_is_what_the_repository_keeps"),
            Box::new(|| a_template_is_what_the_repository_keeps(language)),
        );
        trials.push(kept.with_ignored_flag(!is_repository));
        let builds = trial(
            format!("a_project_in_{language}_is_built_and_tried_with_the_commands_that_are_printed"),
            Box::new(|| a_project_is_built_and_tried_with_the_commands_that_are_printed(language)),
        );
        trials.push(builds.with_ignored_flag(missing));
        let passes = trial(
            format!("the_example_in_{language}_passes_the_cases"),
            Box::new(move || the_example_passes_the_cases(&component.unwrap())),
        );
        trials.push(passes.with_ignored_flag(missing));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}
