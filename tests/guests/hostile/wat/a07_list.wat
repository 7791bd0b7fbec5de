;; Publishes a message with ten million attributes, all of them empty.
(module
    (import "wasmpost:messaging/topic@0.1.0" "publish" (func $publish (param i32 i32 i32 i32 i32 i32 i32)))
    (memory (export "memory") 2500)
    (data (i32.const 2048) "seen")
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "wasmpost:messaging/receiver@0.1.0#receive") (param $message i32) (result i32)
        (call $publish
            (i32.const 2048) (i32.const 4) (i32.const 65536) (i32.const 10000000) (i32.const 0) (i32.const 0)
            (i32.const 512))
        unreachable))
