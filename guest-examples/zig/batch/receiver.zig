//! Publishes each message of a batch to the topic `out`, as it is.

const std = @import("std");
const wit = @cImport(@cInclude("batch_plugin.h"));

const Message = wit.wasmpost_messaging_types_borrow_message_t;
const Messages = wit.exports_wasmpost_messaging_receiver_batch_list_own_message_t;
const Failure = wit.exports_wasmpost_messaging_receiver_batch_failure_t;
const Result = wit.exports_wasmpost_messaging_receiver_batch_result_void_failure_t;
const Results = wit.exports_wasmpost_messaging_receiver_batch_list_result_void_failure_t;

export fn exports_wasmpost_messaging_receiver_batch_receive_batch(messages: *Messages, results: *Results) void {
    // Gives all messages back at the end.
    defer wit.exports_wasmpost_messaging_receiver_batch_list_own_message_free(messages);
    // One result for each message, in their order. The host has it freed by `free` of C, which takes what `malloc` gave.
    const told = std.heap.raw_c_allocator.alloc(Result, messages.len) catch @panic("no memory");
    for (told, messages.ptr[0..messages.len]) |*result, message| {
        result.* = std.mem.zeroes(Result);
        result.is_err = !handle(wit.wasmpost_messaging_types_borrow_message(message), &result.val.err);
    }
    results.* = .{ .ptr = told.ptr, .len = told.len };
}

fn handle(message: Message, failure: *Failure) bool {
    var body: wit.batch_plugin_list_u8_t = undefined;
    wit.wasmpost_messaging_types_method_message_body(message, &body);
    defer wit.batch_plugin_list_u8_free(&body);
    var attributes: wit.wasmpost_messaging_types_attributes_t = undefined;
    wit.wasmpost_messaging_types_method_message_attributes(message, &attributes);
    defer wit.wasmpost_messaging_types_attributes_free(&attributes);
    if (body.len == 0) {
        failure.tag = wit.WASMPOST_MESSAGING_TYPES_FAILURE_REJECT;
        wit.batch_plugin_string_dup(&failure.val.reject, "the body is empty");
        return false;
    }
    var topic: wit.batch_plugin_string_t = undefined;
    wit.batch_plugin_string_set(&topic, "out");
    var refused: wit.wasmpost_messaging_types_publish_error_t = undefined;
    if (!wit.wasmpost_messaging_types_method_message_publish(message, &topic, &attributes, &body, &refused)) {
        wit.wasmpost_messaging_types_publish_error_free(&refused);
        failure.tag = wit.WASMPOST_MESSAGING_TYPES_FAILURE_RETRY;
        wit.batch_plugin_string_dup(&failure.val.retry, "not published");
        return false;
    }
    return true;
}
