;; Has a table that is too wide from the beginning.
(module
    (memory (export "memory") 1)
    (table 100000 funcref)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "wasmpost:messaging/receiver@0.1.0#receive") (param $message i32) (result i32)
        unreachable))
