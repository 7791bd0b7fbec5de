;; Publishes, then drops a resource of its own whose destructor traps.
(component
    (import "wasmpost:messaging/types@0.1.0" (instance $types
        (export "message" (type (sub resource)))
        (type $later (tuple u64 string))
        (type $failure (variant (case "retry" string) (case "retry-after" $later) (case "reject" string)))
        (export "failure" (type (eq $failure)))))
    (alias export $types "message" (type $message))
    (alias export $types "failure" (type $failure))
    (import "wasmpost:messaging/topic@0.1.0" (instance $topic
        (type $error (variant
            (case "closed") (case "denied" string) (case "too-large" u64) (case "limit-exceeded" string)
            (case "invalid-attribute" string)))
        (export "publish-error" (type $publish-error (eq $error)))
        (type $values (list string))
        (type $attribute (tuple string $values))
        (type $attributes (list $attribute))
        (type $bytes (list u8))
        (export "publish" (func
            (param "topic" string) (param "attributes" $attributes) (param "body" $bytes)
            (result (result (error $publish-error)))))))
    (core module $memory
        (memory (export "memory") 1)
        (data (i32.const 2048) "seen")
        (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 8192)))
    (core instance $memory (instantiate $memory))
    (core module $destructor (func (export "drop") (param i32) unreachable))
    (core instance $destructor (instantiate $destructor))
    (type $owned (resource (rep i32) (dtor (core func $destructor "drop"))))
    (core func $new (canon resource.new $owned))
    (core func $drop (canon resource.drop $owned))
    (core func $drop_message (canon resource.drop $message))
    (core func $publish
        (canon lower (func $topic "publish") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
    (core module $main
        (import "host" "publish" (func $publish (param i32 i32 i32 i32 i32 i32 i32)))
        (import "host" "new" (func $new (param i32) (result i32)))
        (import "host" "drop" (func $drop (param i32)))
        (import "host" "drop_message" (func $drop_message (param i32)))
        (import "host" "memory" (memory 1))
        (func (export "receive") (param $message i32) (result i32)
            (call $publish
                (i32.const 2048) (i32.const 4) (i32.const 0) (i32.const 0) (i32.const 2048) (i32.const 4) (i32.const 512))
            ;; It was published.
            (if (i32.load8_u (i32.const 512)) (then (loop $never (br $never))))
            (call $drop (call $new (i32.const 1)))
            ;; What follows would be ok.
            (call $drop_message (local.get $message))
            (i32.store8 (i32.const 1024) (i32.const 0))
            (i32.const 1024)))
    (core instance $main (instantiate $main (with "host" (instance
        (export "publish" (func $publish)) (export "new" (func $new)) (export "drop" (func $drop))
        (export "drop_message" (func $drop_message)) (export "memory" (memory $memory "memory"))))))
    (func $receive (param "message" (borrow $message)) (result (result (error $failure)))
        (canon lift (core func $main "receive") (memory (core memory $memory "memory")) (realloc (core func $memory "realloc"))))
    (instance $receiver (export "receive" (func $receive)))
    (export "wasmpost:messaging/receiver@0.1.0" (instance $receiver)))
