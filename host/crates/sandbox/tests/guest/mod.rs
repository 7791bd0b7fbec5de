//! Guests in WebAssembly text, and what the tests need to run them.
//!
//! A guest is a core module with the world of `wit/` embedded, which the host turns into a component when it loads it.
//! Its text is the body of `receive`: it leaves the pointer to the result on the stack, for which `$ok`, `$fail` and
//! `$fail_after` are there; the result lies at 1024. Only the imports that the text names become imports of the component.
#![allow(dead_code, clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)] // Each test file uses a part.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;
use wasmpost_msg::{Attributes, Body, Context, Message, ReceiveError, Receiver};
use wasmpost_sandbox::{EngineOptions, LogRecord, LogSink, ReceiverOptions, Sandbox, WasmReceiver};
use wit_component::{ComponentEncoder, StringEncoding};
use wit_parser::{PackageId, Resolve};

/// Where the data of a guest lies in its memory.
pub(crate) const TEXT: u32 = 2048;

/// A function that a guest can import: its own name for it, the module, the name, and the signature, in which `p` stands
/// for a parameter of 32 bits.
pub(crate) type Import = (&'static str, &'static str, &'static str, &'static str);

const IMPORTS: &[Import] = &[
    ("$id", TYPES, "[method]message.id", "pp"),
    ("$attempt", TYPES, "[method]message.attempt", "(param i32) (result i32)"),
    ("$attributes", TYPES, "[method]message.attributes", "pp"),
    ("$attribute", TYPES, "[method]message.attribute", "pppp"),
    ("$read", TYPES, "[method]message.read", "ppp"),
    ("$body", TYPES, "[method]message.body", "pp"),
    ("$publish_through", TYPES, "[method]message.publish", "pppppppp"),
    ("$writer_of", TYPES, "[method]message.new-writer", "pppp"),
    ("$drop_message", TYPES, "[resource-drop]message", "p"),
    ("$new_writer", TOPIC, "new-writer", "ppp"),
    ("$publish", TOPIC, "publish", "ppppppp"),
    ("$write", TYPES, "[method]message-writer.write", "pppp"),
    ("$set_attribute", TYPES, "[method]message-writer.set-attribute", "pppppp"),
    ("$append_attribute", TYPES, "[method]message-writer.append-attribute", "pppppp"),
    ("$close", TYPES, "[method]message-writer.close", "pp"),
    ("$drop_writer", TYPES, "[resource-drop]message-writer", "p"),
    ("$log", "wasi:logging/logging@0.1.0-draft", "log", "ppppp"),
    ("$config", "wasi:config/store@0.2.0-rc.1", "get", "ppp"),
    ("$config_all", "wasi:config/store@0.2.0-rc.1", "get-all", "p"),
    ("$fd_write", "wasi_snapshot_preview1", "fd_write", "(param i32 i32 i32 i32) (result i32)"),
];
const TYPES: &str = "wasmpost:messaging/types@0.1.0";
const TOPIC: &str = "wasmpost:messaging/topic@0.1.0";

/// The core module of a guest. `data` lies at [`TEXT`]; `$length` in `receive` stands for its length, `$message` is the
/// parameter. Three locals, `$a`, `$b` and `$c`, are free.
pub(crate) fn core_module(data: &str, receive: &str) -> Vec<u8> {
    core_module_with("", data, receive)
}

/// The same with more items in the module.
pub(crate) fn core_module_with(items: &str, data: &str, receive: &str) -> Vec<u8> {
    let (contract, package) = contract();
    embed(&text(items, data, receive), &contract, package, "plugin")
}

/// The packages of `wit/`, and the one that guests implement.
pub(crate) fn contract() -> (Resolve, PackageId) {
    let mut contract = Resolve::default();
    let (package, _) = contract.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../wit")).unwrap();
    (contract, package)
}

/// A core module of text, with a world of a package.
pub(crate) fn embed(text: &str, packages: &Resolve, package: PackageId, world: &str) -> Vec<u8> {
    let mut wasm = wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"));
    let world = packages.select_world(&[package], Some(world)).unwrap();
    wit_component::embed_component_metadata(&mut wasm, packages, world, StringEncoding::UTF8, false).unwrap();
    wasm
}

/// The imports of a module: the functions of the contract, and `more` of them, that `text` names.
pub(crate) fn imports(text: &str, more: &[Import]) -> String {
    let is_word = |letter: char| letter.is_ascii_alphanumeric() || letter == '_' || letter == '$';
    let named = |name: &str| text.split(|letter| !is_word(letter)).any(|word| word == name);
    let signature = |short: &str| match short.bytes().all(|letter| letter == b'p') {
        true => format!("(param{})", " i32".repeat(short.len())),
        false => short.to_owned(),
    };
    let named = IMPORTS.iter().chain(more).filter(|(own, ..)| named(own));
    let import = |(own, module, name, short): &Import| {
        format!("(import {module:?} {name:?} (func {own} {}))\n", signature(short))
    };
    named.map(import).collect()
}

/// The same as a component.
pub(crate) fn component(data: &str, receive: &str) -> Vec<u8> {
    let core = core_module(data, receive);
    ComponentEncoder::default().module(&core).unwrap().encode().unwrap()
}

fn text(items: &str, data: &str, receive: &str) -> String {
    let imports = imports(&format!("{items} {receive} $drop_message"), &[]);
    let escaped: String = data.bytes().map(|byte| format!("\\{byte:02x}")).collect();
    let receive = receive.replace("$length", &format!("(i32.const {})", data.len()));
    format!(
        r#"(module
        {imports}
        (memory (export "memory") 1)
        (global $heap (mut i32) (i32.const 16384))
        (data (i32.const {TEXT}) "{escaped}")
        {items}
        ;; Takes from a heap that only grows, and grows the memory where it has to.
        (func $realloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32) (local $missing i32)
            (local.set $at (i32.and
                (i32.add (global.get $heap) (i32.sub (local.get 2) (i32.const 1)))
                (i32.sub (i32.const 0) (local.get 2))))
            (global.set $heap (i32.add (local.get $at) (local.get 3)))
            (local.set $missing (i32.sub (global.get $heap) (i32.shl (memory.size) (i32.const 16))))
            (if (i32.gt_s (local.get $missing) (i32.const 0)) (then
                (if (i32.eq (i32.const -1) (memory.grow
                        (i32.shr_u (i32.add (local.get $missing) (i32.const 65535)) (i32.const 16))))
                    (then unreachable))))
            (local.get $at))
        (func $ok (result i32) (i32.store8 (i32.const 1024) (i32.const 0)) (i32.const 1024))
        ;; A failure of a kind, 0 for retry and 2 for reject, with a text.
        (func $fail (param $kind i32) (param $text i32) (param $bytes i32) (result i32)
            (i32.store8 (i32.const 1024) (i32.const 1))
            (i32.store8 (i32.const 1032) (local.get $kind))
            (i32.store (i32.const 1040) (local.get $text))
            (i32.store (i32.const 1044) (local.get $bytes))
            (i32.const 1024))
        (func $fail_after (param $nanoseconds i64) (param $text i32) (param $bytes i32) (result i32)
            (i32.store8 (i32.const 1024) (i32.const 1))
            (i32.store8 (i32.const 1032) (i32.const 1))
            (i64.store (i32.const 1040) (local.get $nanoseconds))
            (i32.store (i32.const 1048) (local.get $text))
            (i32.store (i32.const 1052) (local.get $bytes))
            (i32.const 1024))
        (func $receive (param $message i32) (result i32) (local $a i32) (local $b i32) (local $c i32)
            {receive})
        (func (export "wasmpost:messaging/receiver@0.1.0#receive") (param $message i32) (result i32)
            (call $receive (local.get $message))
            (call $drop_message (local.get $message)))
        )"#
    )
}

/// A sandbox for four instances at a time.
pub(crate) fn sandbox() -> Arc<Sandbox> {
    Sandbox::new(EngineOptions { pool_instances: 4, ..EngineOptions::default() }).unwrap()
}

/// Options with defaults and no grants.
pub(crate) fn options() -> ReceiverOptions {
    ReceiverOptions { name: "tested".to_owned(), ..ReceiverOptions::default() }
}

/// A receiver for the core module of a guest.
pub(crate) fn receiver(core: &[u8], options: ReceiverOptions) -> WasmReceiver {
    let sandbox = sandbox();
    let loaded = sandbox.load(core).unwrap();
    WasmReceiver::new(sandbox, loaded, options).unwrap()
}

/// A message with an id, its attempt and a body.
pub(crate) fn message(id: &str, attempt: u32, body: impl Into<Body>) -> Message {
    let mut message = Message::new(Attributes::new(), body);
    message.context = Context::new(id, attempt, CancellationToken::new());
    message
}

/// The result of a guest for one message.
pub(crate) async fn receive(core: &[u8], options: ReceiverOptions) -> Result<(), ReceiveError> {
    receiver(core, options).receive(message("m1", 1, "a body")).await
}

/// The log of a guest, as `source context text` with nothing escaped.
#[derive(Default)]
pub(crate) struct Lines(pub(crate) Mutex<Vec<String>>);

impl LogSink for Lines {
    fn record(&self, record: &LogRecord<'_>) {
        let line = format!("{:?} {} {}", record.source, record.context, record.text);
        self.0.lock().push(line);
    }
}

/// A guest that was built from its sources.
pub(crate) fn built(name: &str) -> Vec<u8> {
    std::fs::read(wasmpost_tests::guest(name)).unwrap()
}
