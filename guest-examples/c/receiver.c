// Sorts the webhooks of GitHub: each is published to the topic of its event, `github.<event>`.

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"
#include "plugin.h"

typedef exports_wasmpost_messaging_receiver_failure_t failure_t;
typedef wasmpost_messaging_types_borrow_message_t message_t;

// Attributes that go on to the next topic.
static const char *const FORWARDED[] = {"Content-Type", "X-Github-Delivery", "X-Github-Event", "X-Github-Tag"};
enum { FORWARDED_COUNT = sizeof FORWARDED / sizeof *FORWARDED, FOUND_MAX = 2 };

// The texts of a failure are freed by the generated code: they are copied onto the heap.
static plugin_string_t text_of(const char *format, const char *detail) {
  char *text = NULL;
  if (asprintf(&text, format, detail) < 0) abort();
  return (plugin_string_t){(uint8_t *)text, strlen(text)};
}

static bool fail(failure_t *failure, uint8_t tag, const char *format, const char *detail) {
  failure->tag = tag;
  failure->val.retry = text_of(format, detail);
  return false;
}

static bool reject(failure_t *failure, const char *format, const char *detail) {
  return fail(failure, WASMPOST_MESSAGING_TYPES_FAILURE_REJECT, format, detail);
}

static void log_line(wasi_logging_logging_level_t level, const char *context, const char *line) {
  plugin_string_t where, what;
  plugin_string_set(&where, context);
  plugin_string_set(&what, line);
  wasi_logging_logging_log(level, &where, &what);
}

// The first value of an attribute as a C string, or NULL.
static char *attribute(message_t message, const char *name) {
  plugin_string_t key, value;
  plugin_string_set(&key, name);
  if (!wasmpost_messaging_types_method_message_attribute(message, &key, &value)) return NULL;
  char *text = strndup((char *)value.ptr, value.len);
  plugin_string_free(&value);
  return text;
}

// The event of the webhook, such as `pull_request`, which becomes part of a topic's name.
static bool event_of(message_t message, char **event, failure_t *failure) {
  *event = attribute(message, "X-Github-Event");
  if (!*event) return reject(failure, "attribute X-Github-Event is missing", NULL);
  bool is_event = **event != '\0';
  for (const char *at = *event; *at; at++) is_event &= isalnum((unsigned char)*at) || *at == '_';
  if (!is_event) return reject(failure, "attribute X-Github-Event is no event: \"%s\"", *event);
  for (char *at = *event; *at; at++) *at = (char)tolower((unsigned char)*at);
  return true;
}

// Puts a webhook of a fork off once, as a receiver does that waits for another system.
static bool put_off(failure_t *failure) {
  plugin_string_t key;
  plugin_option_string_t given;
  wasi_config_store_error_t error;
  unsigned long long millis = 2000;
  plugin_string_set(&key, "retry_after_ms");
  if (!wasi_config_store_get(&key, &given, &error)) {
    wasi_config_store_error_free(&error);
    return fail(failure, WASMPOST_MESSAGING_TYPES_FAILURE_RETRY, "the configuration cannot be read", NULL);
  }
  if (given.is_some) {
    char *text = strndup((char *)given.val.ptr, given.val.len), *end = NULL;
    plugin_string_free(&given.val);
    errno = 0;
    millis = strtoull(text, &end, 10);
    bool is_number = isdigit((unsigned char)*text) && !*end && errno == 0 && millis < ULLONG_MAX / 1000000;
    if (!is_number) reject(failure, "retry_after_ms is no number: \"%s\"", text);
    free(text);
    if (!is_number) return false;
  }
  failure->tag = WASMPOST_MESSAGING_TYPES_FAILURE_RETRY_AFTER;
  failure->val.retry_after.f0 = millis * 1000000;
  failure->val.retry_after.f1 = text_of("fork is not ready yet", NULL);
  return false;
}

static bool is_forwarded(plugin_string_t name) {
  for (size_t at = 0; at < FORWARDED_COUNT; at++) {
    if (strlen(FORWARDED[at]) == name.len && memcmp(FORWARDED[at], name.ptr, name.len) == 0) return true;
  }
  return false;
}

// Adds an attribute if there is a value for it.
static void add_found(wasmpost_messaging_topic_attributes_t *to, const char *name, char *value) {
  if (!value) return;
  plugin_string_t *values = malloc(sizeof *values);
  *values = (plugin_string_t){(uint8_t *)value, strlen(value)};
  plugin_tuple2_string_list_string_t *added = &to->ptr[to->len++];
  plugin_string_dup(&added->f0, name);
  added->f1 = (plugin_list_string_t){values, 1};
}

// What later receivers can tell webhooks apart by without parsing them again.
static wasmpost_messaging_topic_attributes_t attributes(message_t message, const json_t *webhook) {
  wasmpost_messaging_topic_attributes_t all, kept = {NULL, 0};
  wasmpost_messaging_types_method_message_attributes(message, &all);
  kept.ptr = calloc(all.len + FOUND_MAX, sizeof *kept.ptr);
  for (size_t at = 0; at < all.len; at++) {
    if (is_forwarded(all.ptr[at].f0)) kept.ptr[kept.len++] = all.ptr[at];
    else plugin_tuple2_string_list_string_free(&all.ptr[at]);
  }
  free(all.ptr);
  add_found(&kept, "Action", json_string(webhook, json_member(webhook, 0, "action")));
  int repository = json_member(webhook, 0, "repository");
  add_found(&kept, "Repository", json_string(webhook, json_member(webhook, repository, "full_name")));
  return kept;
}

// Why a publish was refused, in the words of the contract.
static const char *refusal(const wasmpost_messaging_topic_publish_error_t *error) {
  static const char *const KINDS[] = {"closed", "denied", "too-large", "limit-exceeded", "invalid-attribute"};
  return error->tag < sizeof KINDS / sizeof *KINDS ? KINDS[error->tag] : "unknown";
}

static void crash(const char *text) {
  // abort() ends the instance without a word; the log then tells why.
  log_line(WASI_LOGGING_LOGGING_LEVEL_ERROR, "crash", text);
  abort();
}

static bool parse(message_t message, const plugin_list_u8_t *body, json_t *webhook, failure_t *failure) {
  char *content_type = attribute(message, "Content-Type");
  bool is_binary = content_type && strcmp(content_type, "application/octet-stream") == 0;
  free(content_type);
  if (is_binary) return true;
  const char *fault = json_parse(webhook, (const char *)body->ptr, body->len);
  if (fault) return reject(failure, "body is not JSON: %s", fault);
  return json_is_object(webhook, 0) || reject(failure, "body is JSON, but no object", NULL);
}

static bool forward(message_t message, const char *event, const json_t *webhook, plugin_list_u8_t *body, failure_t *failure) {
  plugin_string_t topic = text_of("github.%s", event), id;
  wasmpost_messaging_topic_attributes_t told = attributes(message, webhook);
  wasmpost_messaging_topic_publish_error_t error;
  bool published = wasmpost_messaging_topic_publish(&topic, &told, body, &error);
  wasmpost_messaging_topic_attributes_free(&told);
  if (published) {
    wasmpost_messaging_types_method_message_id(message, &id);
    char *line = NULL;
    if (asprintf(&line, "%.*s to %.*s", (int)id.len, (char *)id.ptr, (int)topic.len, (char *)topic.ptr) < 0) abort();
    log_line(WASI_LOGGING_LOGGING_LEVEL_INFO, "triage", line);
    free(line), plugin_string_free(&id);
  } else {
    fail(failure, WASMPOST_MESSAGING_TYPES_FAILURE_RETRY, "not published: %s", refusal(&error));
    wasmpost_messaging_topic_publish_error_free(&error);
  }
  plugin_string_free(&topic);
  return published;
}

static bool triage(message_t message, const char *event, const json_t *webhook, plugin_list_u8_t *body, failure_t *failure) {
  if (json_is_true(webhook, json_member(webhook, 0, "poison"))) crash("poison message");
  bool is_put_off = strcmp(event, "fork") == 0 && wasmpost_messaging_types_method_message_attempt(message) == 1;
  return is_put_off ? put_off(failure) : forward(message, event, webhook, body, failure);
}

bool exports_wasmpost_messaging_receiver_receive(message_t message, failure_t *failure) {
  char *event = NULL;
  plugin_list_u8_t body;
  json_t webhook = {0};
  wasmpost_messaging_types_method_message_body(message, &body);
  bool processed = event_of(message, &event, failure) && parse(message, &body, &webhook, failure) &&
                   triage(message, event, &webhook, &body, failure);
  // An instance may be kept for other messages: all is given back, and so is the message, which is lent for the call.
  free(event), json_free(&webhook), plugin_list_u8_free(&body);
  wasmpost_messaging_types_message_drop_borrow(message);
  return processed;
}
