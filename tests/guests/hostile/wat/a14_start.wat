;; Traps before it is asked anything.
(module
    (memory (export "memory") 1)
    (func $start unreachable)
    (start $start)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "wasmpost:messaging/receiver@0.1.0#receive") (param $message i32) (result i32)
        (loop $never (br $never))
        unreachable))
