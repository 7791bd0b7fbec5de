;; Grows a table until it gets no more, and goes on as if it had got it.
(module
    (memory (export "memory") 1)
    (table $wide 1 funcref)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "wasmpost:messaging/receiver@0.1.0#receive") (param $message i32) (result i32)
        (loop $again
            (br_if $again (i32.ne (table.grow $wide (ref.null func) (i32.const 1000)) (i32.const -1))))
        unreachable))
