;; Copies nearly 64 MiB of its memory within it, again and again.
(module
    (memory (export "memory") 1000)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "wasmpost:messaging/receiver@0.1.0#receive") (param $message i32) (result i32)
        (loop $again
            (memory.copy (i32.const 65536) (i32.const 0) (i32.const 65000000))
            (br $again))
        unreachable))
