// Package export_wasmpost_messaging_receiver is the receiver; the generated code wants this name.
package export_wasmpost_messaging_receiver

import (
	"go.bytecodealliance.org/pkg/wit/types"

	"webhook-triage/bindings/wasmpost_messaging_topic"
	"webhook-triage/bindings/wasmpost_messaging_types"
)

type failure = wasmpost_messaging_types.Failure

// Receive publishes each message to the topic out, as it is. A panic is a crash, which the log tells.
func Receive(message *wasmpost_messaging_types.Message) wit_types.Result[wit_types.Unit, failure] {
	defer releaseMemory()
	// The message is lent for the call, and has to be given back.
	defer message.Drop()

	body := message.Body()
	if len(body) == 0 {
		return wit_types.Err[wit_types.Unit](wasmpost_messaging_types.MakeFailureReject("the body is empty"))
	}
	if wasmpost_messaging_topic.Publish("out", message.Attributes(), body).IsErr() {
		return wit_types.Err[wit_types.Unit](wasmpost_messaging_types.MakeFailureRetry("not published"))
	}
	return wit_types.Ok[wit_types.Unit, failure](wit_types.Unit{})
}
