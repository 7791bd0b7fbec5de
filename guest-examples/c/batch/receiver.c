// Publishes each message of a batch to the topic `out`, as it is.

#include <stdlib.h>

#include "batch_plugin.h"

// Handles one message. False says that it has not been processed, and `failure` what becomes of it.
static bool handle(wasmpost_messaging_types_borrow_message_t message,
                   exports_wasmpost_messaging_receiver_batch_failure_t *failure) {
  batch_plugin_string_t topic;
  batch_plugin_list_u8_t body;
  wasmpost_messaging_types_attributes_t attributes;
  wasmpost_messaging_types_publish_error_t refused;
  batch_plugin_string_set(&topic, "out");
  wasmpost_messaging_types_method_message_body(message, &body);
  wasmpost_messaging_types_method_message_attributes(message, &attributes);
  bool is_empty = body.len == 0;
  bool is_published =
      !is_empty && wasmpost_messaging_types_method_message_publish(message, &topic, &attributes, &body, &refused);
  if (is_empty) {
    failure->tag = WASMPOST_MESSAGING_TYPES_FAILURE_REJECT;
    batch_plugin_string_dup(&failure->val.reject, "the body is empty");
  } else if (!is_published) {
    failure->tag = WASMPOST_MESSAGING_TYPES_FAILURE_RETRY;
    batch_plugin_string_dup(&failure->val.retry, "not published");
    wasmpost_messaging_types_publish_error_free(&refused);
  }
  batch_plugin_list_u8_free(&body);
  wasmpost_messaging_types_attributes_free(&attributes);
  return is_published;
}

void exports_wasmpost_messaging_receiver_batch_receive_batch(
    exports_wasmpost_messaging_receiver_batch_list_own_message_t *messages,
    exports_wasmpost_messaging_receiver_batch_list_result_void_failure_t *results) {
  // One result for each message, in their order.
  results->len = messages->len;
  results->ptr = calloc(messages->len, sizeof *results->ptr);
  for (size_t at = 0; at < messages->len; at++) {
    wasmpost_messaging_types_borrow_message_t message = wasmpost_messaging_types_borrow_message(messages->ptr[at]);
    results->ptr[at].is_err = !handle(message, &results->ptr[at].val.err);
  }
  // Gives all messages back.
  exports_wasmpost_messaging_receiver_batch_list_own_message_free(messages);
}
