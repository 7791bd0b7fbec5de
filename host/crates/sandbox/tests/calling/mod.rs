//! Guests that make one call of the host, of a size and as often as their message says.
//!
//! The attempt of the message is the size, `$n`; its highest bit asks for the call again and again. The memory of the
//! guest has results of calls at 512, lists at [`LIST`], six mebibytes of the letter `x` at [`TEXT`], and after that
//! values that the host hands out.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

pub(crate) mod rows;

use crate::guest::{Import, contract, embed, imports};

/// Where lists are made.
pub(crate) const LIST: u32 = 0x1_0000;
/// Where text lies.
pub(crate) const TEXT: u32 = 0x40_0000;
/// The bit of an attempt that asks for the call without end.
pub(crate) const ENDLESS: u32 = 1 << 31;

/// The interfaces of WASI, as far as guests of these tests import them.
const WASI: &str = "
package tested:calls;

world plugin {
    include wasmpost:messaging/plugin@0.1.0;
    import wasi:messaging/request-reply@0.2.0-draft;
    import wasi:messaging/producer@0.2.0-draft;
    import wasmcloud:messaging/consumer@0.2.0;
    import wasi:io/poll@0.2.0;
    import wasi:clocks/monotonic-clock@0.2.0;
    import wasi:cli/stdout@0.2.0;
    import wasi:http/types@0.2.0;
}

world command {
    import wasi:cli/environment@0.2.0;
    export wasi:cli/run@0.2.0;
}

package wasi:io@0.2.0 {
    interface error { resource error; }
    interface poll {
        resource pollable;
        poll: func(in: list<borrow<pollable>>) -> list<u32>;
    }
    interface streams {
        use error.{error};
        variant stream-error { last-operation-failed(error), closed }
        resource output-stream {
            check-write: func() -> result<u64, stream-error>;
            write: func(contents: list<u8>) -> result<_, stream-error>;
        }
    }
}

package wasi:clocks@0.2.0 {
    interface monotonic-clock {
        use wasi:io/poll@0.2.0.{pollable};
        subscribe-duration: func(when: u64) -> pollable;
    }
}

package wasi:cli@0.2.0 {
    interface stdout {
        use wasi:io/streams@0.2.0.{output-stream};
        get-stdout: func() -> output-stream;
    }
    interface environment {
        get-environment: func() -> list<tuple<string, string>>;
        get-arguments: func() -> list<string>;
    }
    interface run { run: func() -> result; }
}

package wasi:http@0.2.0 {
    interface types {
        variant header-error { invalid-syntax, forbidden, immutable }
        variant method { get, head, post, put, delete, connect, options, trace, patch, other(string) }
        resource fields {
            constructor();
            from-list: static func(entries: list<tuple<string, list<u8>>>) -> result<fields, header-error>;
            set: func(name: string, value: list<list<u8>>) -> result<_, header-error>;
            append: func(name: string, value: list<u8>) -> result<_, header-error>;
            entries: func() -> list<tuple<string, list<u8>>>;
        }
        resource outgoing-request {
            constructor(headers: fields);
            set-method: func(method: method) -> result;
            set-path-with-query: func(path-with-query: option<string>) -> result;
            set-authority: func(authority: option<string>) -> result;
        }
    }
}
";

const MESSAGES: &str = "wasi:messaging/types@0.2.0-draft";
const CLOUD: &str = "wasmcloud:messaging/consumer@0.2.0";
const HTTP: &str = "wasi:http/types@0.2.0";

/// The functions of the host beyond those of the contract.
const MORE_IMPORTS: &[Import] = &[
    ("$poll", "wasi:io/poll@0.2.0", "poll", "ppp"),
    ("$subscribe", "wasi:clocks/monotonic-clock@0.2.0", "subscribe-duration", "(param i64) (result i32)"),
    ("$stdout", "wasi:cli/stdout@0.2.0", "get-stdout", "(result i32)"),
    ("$check_write", "wasi:io/streams@0.2.0", "[method]output-stream.check-write", "pp"),
    ("$write_out", "wasi:io/streams@0.2.0", "[method]output-stream.write", "pppp"),
    ("$environment", "wasi:cli/environment@0.2.0", "get-environment", "p"),
    ("$arguments", "wasi:cli/environment@0.2.0", "get-arguments", "p"),
    ("$connect", MESSAGES, "[static]client.connect", "ppp"),
    ("$drop_client", MESSAGES, "[resource-drop]client", "p"),
    ("$new_message", MESSAGES, "[constructor]message", "(param i32 i32) (result i32)"),
    ("$drop_made", MESSAGES, "[resource-drop]message", "p"),
    ("$data", MESSAGES, "[method]message.data", "pp"),
    ("$set_data", MESSAGES, "[method]message.set-data", "ppp"),
    ("$set_content_type", MESSAGES, "[method]message.set-content-type", "ppp"),
    ("$content_type", MESSAGES, "[method]message.content-type", "pp"),
    ("$metadata", MESSAGES, "[method]message.metadata", "pp"),
    ("$add_metadata", MESSAGES, "[method]message.add-metadata", "ppppp"),
    ("$set_metadata", MESSAGES, "[method]message.set-metadata", "ppp"),
    ("$remove_metadata", MESSAGES, "[method]message.remove-metadata", "ppp"),
    ("$send", "wasi:messaging/producer@0.2.0-draft", "send", "ppppp"),
    ("$request", "wasi:messaging/request-reply@0.2.0-draft", "request", "ppppppp"),
    ("$cloud_request", CLOUD, "request", "pppppp"),
    ("$cloud_publish", CLOUD, "publish", "pppppppp"),
    ("$new_fields", HTTP, "[constructor]fields", "(result i32)"),
    ("$fields_of", HTTP, "[static]fields.from-list", "ppp"),
    ("$set_field", HTTP, "[method]fields.set", "pppppp"),
    ("$append_field", HTTP, "[method]fields.append", "pppppp"),
    ("$entries", HTTP, "[method]fields.entries", "pp"),
    ("$drop_fields", HTTP, "[resource-drop]fields", "p"),
    ("$new_request", HTTP, "[constructor]outgoing-request", "(param i32) (result i32)"),
    ("$set_method", HTTP, "[method]outgoing-request.set-method", "(param i32 i32 i32 i32) (result i32)"),
    ("$set_path", HTTP, "[method]outgoing-request.set-path-with-query", "(param i32 i32 i32 i32) (result i32)"),
    ("$set_authority", HTTP, "[method]outgoing-request.set-authority", "(param i32 i32 i32 i32) (result i32)"),
];

/// A guest that receives: `before` is done once, `call` leaves zero on the stack if the host did what it was asked.
pub(crate) fn plugin(before: &str, call: &str) -> Vec<u8> {
    let call = format!(
        "(local.set $n (i32.and (call $attempt (local.get $message)) (i32.const 0x7fffffff)))
        {before}
        (loop $again
            (global.set $heap (i32.const 0xa00000))
            (local.set $refused {call})
            (br_if $again (i32.lt_s (call $attempt (local.get $message)) (i32.const 0))))
        (call $drop_message (local.get $message))
        ;; A rejection without a text, if it was refused.
        (i32.store8 (i32.const 1024) (i32.ne (local.get $refused) (i32.const 0)))
        (i32.store8 (i32.const 1032) (i32.const 2))
        (i32.const 1024)"
    );
    module("plugin", "wasmpost:messaging/receiver@0.1.0#receive", "(param $message i32)", &call)
}

/// A command that makes a call, once or without end.
pub(crate) fn command(call: &str, endless: bool) -> Vec<u8> {
    let again = i32::from(endless);
    let call = format!(
        "(loop $again (global.set $heap (i32.const 0xa00000)) {call} (br_if $again (i32.const {again}))) (i32.const 0)"
    );
    module("command", "wasi:cli/run@0.2.0#run", "", &call)
}

fn module(world: &str, export: &str, parameter: &str, text: &str) -> Vec<u8> {
    let imports = imports(text, MORE_IMPORTS);
    let text = format!(
        r#"(module
        {imports}
        (memory (export "memory") 256)
        (global $heap (mut i32) (i32.const 0xa00000))
        (data (i32.const 2048) "orders")
        ;; Takes from a heap that the guest empties before each call.
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
            (local $at i32)
            (local.set $at (i32.and
                (i32.add (global.get $heap) (i32.sub (local.get 2) (i32.const 1)))
                (i32.sub (i32.const 0) (local.get 2))))
            (global.set $heap (i32.add (local.get $at) (local.get 3)))
            (local.get $at))
        ;; A list of so many elements of as many bytes, each of which begins with a text and ends with another.
        (func $list (param $count i32) (param $bytes i32) (param $first i32) (param $second i32)
            (local $at i32)
            (local.set $at (i32.const {LIST}))
            (block $done (loop $more
                (br_if $done (i32.eqz (local.get $count)))
                (i32.store (local.get $at) (i32.const {TEXT}))
                (i32.store offset=4 (local.get $at) (local.get $first))
                (if (i32.eq (local.get $bytes) (i32.const 16)) (then
                    (i32.store offset=8 (local.get $at) (i32.const {TEXT}))
                    (i32.store offset=12 (local.get $at) (local.get $second))))
                (local.set $at (i32.add (local.get $at) (local.get $bytes)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (br $more))))
        (func $handles (param $count i32) (param $handle i32)
            (block $done (loop $more
                (br_if $done (i32.eqz (local.get $count)))
                (local.set $count (i32.sub (local.get $count) (i32.const 1)))
                (i32.store (i32.add (i32.const {LIST}) (i32.shl (local.get $count) (i32.const 2))) (local.get $handle))
                (br $more))))
        (func (export "{export}") {parameter} (result i32)
            (local $n i32) (local $k i32) (local $held i32) (local $refused i32)
            (memory.fill (i32.const {TEXT}) (i32.const 0x78) (i32.const 0x600000))
            {text}))"#
    );
    let (mut packages, _) = contract();
    for wit in ["wit/wasi-messaging", "wit/wasmcloud-messaging"] {
        packages.push_dir(format!("{}/{wit}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    }
    let package = packages.push_str("calls.wit", WASI).unwrap();
    embed(&text, &packages, package, world)
}
