// A component that sorts the webhooks of GitHub. What it does is in export_wasmpost_messaging_receiver; this package
// is what the linker begins with.
package main

import _ "webhook-triage/bindings/wit_exports"

// main is not called: the host calls the receiver.
func main() {}
