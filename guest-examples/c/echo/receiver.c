// Publishes each message to the topic `out`, as it is.

#include "plugin.h"

bool exports_wasmpost_messaging_receiver_receive(wasmpost_messaging_types_borrow_message_t message,
                                                 exports_wasmpost_messaging_receiver_failure_t *failure) {
  plugin_string_t topic;
  plugin_list_u8_t body;
  wasmpost_messaging_topic_attributes_t attributes;
  wasmpost_messaging_topic_publish_error_t refused;
  plugin_string_set(&topic, "out");
  wasmpost_messaging_types_method_message_body(message, &body);
  wasmpost_messaging_types_method_message_attributes(message, &attributes);
  bool is_empty = body.len == 0;
  bool is_published = !is_empty && wasmpost_messaging_topic_publish(&topic, &attributes, &body, &refused);
  if (is_empty) {
    failure->tag = WASMPOST_MESSAGING_TYPES_FAILURE_REJECT;
    plugin_string_dup(&failure->val.reject, "the body is empty");
  } else if (!is_published) {
    failure->tag = WASMPOST_MESSAGING_TYPES_FAILURE_RETRY;
    plugin_string_dup(&failure->val.retry, "not published");
    wasmpost_messaging_topic_publish_error_free(&refused);
  }
  // An instance may be kept for other messages: all is given back, and so is the message, which is lent for the call.
  plugin_list_u8_free(&body);
  wasmpost_messaging_topic_attributes_free(&attributes);
  wasmpost_messaging_types_message_drop_borrow(message);
  return is_published;
}
