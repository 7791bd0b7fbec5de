// Package export_wasmpost_messaging_receiver is the receiver; the generated code wants this name. Each webhook is
// published to the topic of its event, github.<event>.
package export_wasmpost_messaging_receiver

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.bytecodealliance.org/pkg/wit/types"

	"webhook-triage/bindings/wasi_config_store"
	"webhook-triage/bindings/wasi_logging_logging"
	"webhook-triage/bindings/wasmpost_messaging_topic"
	"webhook-triage/bindings/wasmpost_messaging_types"
)

type (
	attribute = wit_types.Tuple2[string, []string]
	message   = wasmpost_messaging_types.Message
)

// Attributes that go on to the next topic.
var forwarded = []string{"Content-Type", "X-Github-Delivery", "X-Github-Event", "X-Github-Tag"}

var eventName = regexp.MustCompile(`^[A-Za-z0-9_]+$`)

// failure is an error that says what is to become of the message.
type failure struct {
	wasmpost_messaging_types.Failure
	text string
}

func (f *failure) Error() string { return f.text }

func retry(format string, arguments ...any) error {
	text := fmt.Sprintf(format, arguments...)
	return &failure{wasmpost_messaging_types.MakeFailureRetry(text), text}
}

func retryAfter(pause time.Duration, text string) error {
	after := wit_types.Tuple2[uint64, string]{F0: uint64(pause.Nanoseconds()), F1: text}
	return &failure{wasmpost_messaging_types.MakeFailureRetryAfter(after), text}
}

func reject(format string, arguments ...any) error {
	text := fmt.Sprintf(format, arguments...)
	return &failure{wasmpost_messaging_types.MakeFailureReject(text), text}
}

// Receive processes one message. A panic is a crash, which the log tells.
func Receive(message *message) wit_types.Result[wit_types.Unit, wasmpost_messaging_types.Failure] {
	defer releaseMemory()
	// The message is lent for the call, and has to be given back.
	defer message.Drop()

	err := triage(message)
	if err == nil {
		return wit_types.Ok[wit_types.Unit, wasmpost_messaging_types.Failure](wit_types.Unit{})
	}
	var told *failure
	if !errors.As(err, &told) {
		return wit_types.Err[wit_types.Unit](wasmpost_messaging_types.MakeFailureRetry(err.Error()))
	}
	return wit_types.Err[wit_types.Unit](told.Failure)
}

func triage(message *message) error {
	event, err := eventOf(message)
	if err != nil {
		return err
	}
	body := message.Body()
	var webhook webhook
	if message.Attribute("Content-Type").SomeOr("") != "application/octet-stream" {
		if webhook, err = parse(body); err != nil {
			return err
		}
	}
	if webhook.poison {
		panic("poison message")
	}
	if event == "fork" && message.Attempt() == 1 {
		return putOff()
	}

	topic := "github." + event
	if published := wasmpost_messaging_topic.Publish(topic, attributes(message, webhook), body); published.IsErr() {
		return retry("not published: %s", refusal(published.Err()))
	}
	wasi_logging_logging.Log(wasi_logging_logging.LevelInfo, "triage", message.Id()+" to "+topic)
	return nil
}

// eventOf is the event of the webhook, such as pull_request, which becomes part of a topic's name.
func eventOf(message *message) (string, error) {
	event := message.Attribute("X-Github-Event")
	if event.IsNone() {
		return "", reject("attribute X-Github-Event is missing")
	}
	if !eventName.MatchString(event.Some()) {
		return "", reject("attribute X-Github-Event is no event: %q", event.Some())
	}
	return strings.ToLower(event.Some()), nil
}

// webhook is what the receiver looks at.
type webhook struct {
	poison             bool
	action, repository *string
}

func parse(body []byte) (webhook, error) {
	if !utf8.Valid(body) {
		return webhook{}, reject("body is not JSON: it is not UTF-8")
	}
	if !json.Valid(body) {
		var any json.RawMessage
		return webhook{}, reject("body is not JSON: %v", json.Unmarshal(body, &any))
	}
	members := object(body)
	if members == nil {
		return webhook{}, reject("body is JSON, but no object")
	}
	return webhook{
		poison:     string(members["poison"]) == "true",
		action:     text(members["action"]),
		repository: text(object(members["repository"])["full_name"]),
	}, nil
}

// object is the members of a value, or nil if it is no object.
func object(value json.RawMessage) (members map[string]json.RawMessage) {
	if json.Unmarshal(value, &members) != nil {
		return nil
	}
	return members
}

// text is a value that is a string, or nil if it is none.
func text(value json.RawMessage) (text *string) {
	if json.Unmarshal(value, &text) != nil {
		return nil
	}
	return text
}

// putOff lets the webhook of a fork wait once, as a receiver does that waits for another system.
func putOff() error {
	given := wasi_config_store.Get("retry_after_ms")
	if given.IsErr() {
		return retry("the configuration cannot be read")
	}
	text := given.Ok().SomeOr("2000")
	millis, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return reject("retry_after_ms is no number: %q", text)
	}
	return retryAfter(time.Duration(millis)*time.Millisecond, "fork is not ready yet")
}

// attributes are what later receivers can tell webhooks apart by without parsing them again.
func attributes(message *message, webhook webhook) []attribute {
	told := slices.DeleteFunc(message.Attributes(), func(attribute attribute) bool {
		return !slices.Contains(forwarded, attribute.F0)
	})
	if webhook.action != nil {
		told = append(told, attribute{F0: "Action", F1: []string{*webhook.action}})
	}
	if webhook.repository != nil {
		told = append(told, attribute{F0: "Repository", F1: []string{*webhook.repository}})
	}
	return told
}

// refusal is why a message was not published, in the words of the contract.
func refusal(refused wasmpost_messaging_types.PublishError) string {
	switch refused.Tag() {
	case wasmpost_messaging_types.PublishErrorClosed:
		return "closed"
	case wasmpost_messaging_types.PublishErrorDenied:
		return "denied: " + refused.Denied()
	case wasmpost_messaging_types.PublishErrorTooLarge:
		return fmt.Sprintf("too-large: at most %d bytes", refused.TooLarge())
	case wasmpost_messaging_types.PublishErrorLimitExceeded:
		return "limit-exceeded: " + refused.LimitExceeded()
	default:
		return "invalid-attribute: " + refused.InvalidAttribute()
	}
}
