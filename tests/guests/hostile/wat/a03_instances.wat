;; Consists of 200 instances of one module.
(component
    (import "wasmpost:messaging/types@0.1.0" (instance $types
        (export "message" (type (sub resource)))
        (type $later (tuple u64 string))
        (type $failure (variant (case "retry" string) (case "retry-after" $later) (case "reject" string)))
        (export "failure" (type (eq $failure)))))
    (alias export $types "message" (type $message))
    (alias export $types "failure" (type $failure))
    (component $hundred
        (component $ten
            (core module $one)
            (core instance (instantiate $one)) (core instance (instantiate $one)) (core instance (instantiate $one)) (core instance (instantiate $one)) (core instance (instantiate $one))
            (core instance (instantiate $one)) (core instance (instantiate $one)) (core instance (instantiate $one)) (core instance (instantiate $one)) (core instance (instantiate $one)))
        (instance (instantiate $ten)) (instance (instantiate $ten)) (instance (instantiate $ten)) (instance (instantiate $ten)) (instance (instantiate $ten))
        (instance (instantiate $ten)) (instance (instantiate $ten)) (instance (instantiate $ten)) (instance (instantiate $ten)) (instance (instantiate $ten)))
    (instance (instantiate $hundred)) (instance (instantiate $hundred))
    (core module $main
        (memory (export "memory") 1)
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable)
        (func (export "receive") (param i32) (result i32) unreachable))
    (core instance $main (instantiate $main))
    (func $receive (param "message" (borrow $message)) (result (result (error $failure)))
        (canon lift (core func $main "receive") (memory (core memory $main "memory")) (realloc (core func $main "realloc"))))
    (instance $receiver (export "receive" (func $receive)))
    (export "wasmpost:messaging/receiver@0.1.0" (instance $receiver)))
