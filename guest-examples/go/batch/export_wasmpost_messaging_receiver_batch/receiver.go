// Package export_wasmpost_messaging_receiver_batch is the receiver; the generated code wants this name.
package export_wasmpost_messaging_receiver_batch

import (
	"go.bytecodealliance.org/pkg/wit/types"

	"webhook-triage/bindings/wasmpost_messaging_types"
)

type failure = wasmpost_messaging_types.Failure
type result = wit_types.Result[wit_types.Unit, failure]

// ReceiveBatch publishes each message to the topic out, as it is, and has a result for each, in their order.
func ReceiveBatch(messages []*wasmpost_messaging_types.Message) []result {
	defer releaseMemory()

	results := make([]result, 0, len(messages))
	for _, message := range messages {
		results = append(results, handle(message))
	}
	return results
}

func handle(message *wasmpost_messaging_types.Message) result {
	// Those that are kept are of no use after the call.
	defer message.Drop()

	body := message.Body()
	if len(body) == 0 {
		return wit_types.Err[wit_types.Unit](wasmpost_messaging_types.MakeFailureReject("the body is empty"))
	}
	if message.Publish("out", message.Attributes(), body).IsErr() {
		return wit_types.Err[wit_types.Unit](wasmpost_messaging_types.MakeFailureRetry("not published"))
	}
	return wit_types.Ok[wit_types.Unit, failure](wit_types.Unit{})
}
