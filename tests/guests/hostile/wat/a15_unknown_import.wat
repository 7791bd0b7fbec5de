;; Imports what the host does not offer.
(component
    (import "wasmpost:messaging/moods@0.1.0" (instance (export "now" (func))))
    (import "wasmpost:messaging/types@0.1.0" (instance $types
        (export "message" (type (sub resource)))
        (type $later (tuple u64 string))
        (type $failure (variant (case "retry" string) (case "retry-after" $later) (case "reject" string)))
        (export "failure" (type (eq $failure)))))
    (alias export $types "message" (type $message))
    (alias export $types "failure" (type $failure))
    (core module $main
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "receive") (param i32) (result i32) unreachable))
    (core instance $main (instantiate $main))
    (func $receive (param "message" (borrow $message)) (result (result (error $failure)))
        (canon lift (core func $main "receive") (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
    (instance $receiver (export "receive" (func $receive)))
    (export "wasmpost:messaging/receiver@0.1.0" (instance $receiver)))
