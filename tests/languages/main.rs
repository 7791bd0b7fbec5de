//! The example receiver in every language: one table of behaviours, and each of them holds for each language.
//!
//! A language whose component is not there, because its toolchain is missing, is shown as ignored.
#![allow(clippy::unwrap_used, clippy::indexing_slicing)] // A fault fails the test.

mod behaviours;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};

use libtest_mimic::{Arguments, Trial};
use wasmpost_sandbox::{LoadedComponent, ReceiverOptions, WasmReceiver};
use wasmpost_tests::{find_guest, guest};
use wasmpost_tests_host::outcome::{Lines, sandbox};

/// A language, the limits that its receivers need beyond the defaults, and the text of its crashes.
#[derive(Clone, Copy)]
struct Language {
    name: &'static str,
    memory: &'static str,
    table_elements: u32,
    crash: &'static str,
}

const LANGUAGES: &[Language] = &[
    Language { name: "rust", memory: "64MiB", table_elements: 20_000, crash: "panicked at" },
    Language { name: "c", memory: "64MiB", table_elements: 20_000, crash: "poison message" },
    Language { name: "zig", memory: "64MiB", table_elements: 20_000, crash: "poison message" },
    Language { name: "go", memory: "64MiB", table_elements: 20_000, crash: "panic: poison message" },
    Language { name: "javascript", memory: "64MiB", table_elements: 20_000, crash: "Error: poison message" },
    Language { name: "typescript", memory: "64MiB", table_elements: 20_000, crash: "Error: poison message" },
    Language { name: "python", memory: "64MiB", table_elements: 200_000, crash: "RuntimeError: poison message" },
    Language { name: "assemblyscript", memory: "64MiB", table_elements: 20_000, crash: "poison message" },
];

impl Language {
    /// Its component, loaded once for all tests.
    fn loaded(&self) -> LoadedComponent {
        type Loading = HashMap<&'static str, Arc<OnceLock<LoadedComponent>>>;
        static LOADED: OnceLock<Mutex<Loading>> = OnceLock::new();
        let once = Arc::clone(LOADED.get_or_init(Mutex::default).lock().unwrap().entry(self.name).or_default());
        once.get_or_init(|| sandbox().load_file(&guest(&format!("triage-{}", self.name))).unwrap()).clone()
    }

    /// The options of its receivers: they may publish the messages that they sort, unless a test denies it.
    fn options(&self) -> ReceiverOptions {
        let mut options = ReceiverOptions::default();
        options.limits.memory = self.memory.parse().unwrap();
        options.limits.table_elements = self.table_elements;
        options.grants.publish.push("github.*".parse().unwrap());
        options.log = Arc::new(Lines::default());
        options
    }

    fn receiver(&self, options: ReceiverOptions) -> WasmReceiver {
        WasmReceiver::new(sandbox(), self.loaded(), options).unwrap()
    }
}

/// A test of a language.
type Behaviour = fn(&Language, &tokio::runtime::Runtime);

fn trial(language: Language, name: &str, behaviour: Behaviour) -> Trial {
    let is_missing = find_guest(&format!("triage-{}", language.name)).is_none();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        behaviour(&language, &runtime);
        Ok(())
    };
    Trial::test(format!("languages::{}::{name}", language.name), run).with_ignored_flag(is_missing)
}

fn main() {
    let trials = LANGUAGES
        .iter()
        .flat_map(|language| behaviours::ALL.iter().map(|(name, behaviour)| trial(*language, name, *behaviour)));
    libtest_mimic::run(&Arguments::from_args(), trials.collect()).exit();
}
