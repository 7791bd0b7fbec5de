//! Publishes each message to the topic `out`, as it is.

const wit = @cImport(@cInclude("plugin.h"));

const Message = wit.wasmpost_messaging_types_borrow_message_t;
const Failure = wit.exports_wasmpost_messaging_receiver_failure_t;

export fn exports_wasmpost_messaging_receiver_receive(message: Message, failure: *Failure) bool {
    // The message is lent for the call, and has to be given back.
    defer wit.wasmpost_messaging_types_message_drop_borrow(message);
    var body: wit.plugin_list_u8_t = undefined;
    wit.wasmpost_messaging_types_method_message_body(message, &body);
    defer wit.plugin_list_u8_free(&body);
    var attributes: wit.wasmpost_messaging_topic_attributes_t = undefined;
    wit.wasmpost_messaging_types_method_message_attributes(message, &attributes);
    defer wit.wasmpost_messaging_topic_attributes_free(&attributes);
    if (body.len == 0) {
        failure.tag = wit.WASMPOST_MESSAGING_TYPES_FAILURE_REJECT;
        wit.plugin_string_dup(&failure.val.reject, "the body is empty");
        return false;
    }
    var topic: wit.plugin_string_t = undefined;
    wit.plugin_string_set(&topic, "out");
    var refused: wit.wasmpost_messaging_topic_publish_error_t = undefined;
    if (!wit.wasmpost_messaging_topic_publish(&topic, &attributes, &body, &refused)) {
        wit.wasmpost_messaging_topic_publish_error_free(&refused);
        failure.tag = wit.WASMPOST_MESSAGING_TYPES_FAILURE_RETRY;
        wit.plugin_string_dup(&failure.val.retry, "not published");
        return false;
    }
    return true;
}
