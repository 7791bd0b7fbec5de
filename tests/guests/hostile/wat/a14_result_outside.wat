;; Publishes, then returns a result that lies outside of its memory.
(module
    (import "wasmpost:messaging/topic@0.1.0" "publish" (func $publish (param i32 i32 i32 i32 i32 i32 i32)))
    (import "wasmpost:messaging/types@0.1.0" "[resource-drop]message" (func $drop_message (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 2048) "seen")
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "wasmpost:messaging/receiver@0.1.0#receive") (param $message i32) (result i32)
        (call $publish
            (i32.const 2048) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 2048) (i32.const 4) (i32.const 512))
        ;; It was published.
        (if (i32.load8_u (i32.const 512)) (then (loop $never (br $never))))
        (call $drop_message (local.get $message))
        (i32.const 0xfffffff0)))
