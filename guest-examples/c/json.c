#define JSMN_STRICT
#define JSMN_PARENT_LINKS
#include "vendor/jsmn.h"

#include "json.h"

#include <stdlib.h>
#include <string.h>

// Ending a value costs jsmn as much as it lies deep.
enum { DEPTH_MAX = 128 };

// The bytes of one letter of UTF-8, or 0 if it is none.
static size_t letter_bytes(const unsigned char *at, size_t left) {
  if (*at < 0x80) return 1;
  size_t bytes = *at >= 0xF0 ? 4 : *at >= 0xE0 ? 3 : 2;
  if (*at < 0xC2 || *at > 0xF4 || bytes > left) return 0;
  for (size_t next = 1; next < bytes; next++) {
    if ((at[next] & 0xC0) != 0x80) return 0;
  }
  // Longer than it must be, half of a surrogate pair, or beyond the last letter.
  bool is_long = (*at == 0xE0 && at[1] < 0xA0) || (*at == 0xF0 && at[1] < 0x90);
  return is_long || (*at == 0xED && at[1] > 0x9F) || (*at == 0xF4 && at[1] > 0x8F) ? 0 : bytes;
}

// What jsmn does not look at: whether the text is UTF-8, as the host wants it, and how deep values lie.
static const char *check(const char *text, size_t bytes) {
  int depth = 0;
  bool in_string = false;
  for (size_t at = 0, length; at < bytes; at += length) {
    length = letter_bytes((const unsigned char *)text + at, bytes - at);
    if (length == 0) return "it is not UTF-8";
    char letter = text[at];
    if (letter == '"') in_string = !in_string;
    if (in_string && letter == '\\' && at + 1 < bytes && text[at + 1] > 0) length = 2;
    if (!in_string && (letter == '[' || letter == '{') && ++depth > DEPTH_MAX) return "it is nested too deep";
    if (!in_string && (letter == ']' || letter == '}')) depth--;
  }
  return NULL;
}

const char *json_parse(json_t *json, const char *text, size_t bytes) {
  const char *fault = check(text, bytes);
  if (fault) return fault;
  jsmn_parser parser;
  jsmn_init(&parser);
  int count = jsmn_parse(&parser, text, bytes, NULL, 0);
  if (count == 0) return "it is empty";
  if (count < 0) return count == JSMN_ERROR_PART ? "it ends too early" : "it is malformed";
  *json = (json_t){text, calloc((size_t)count, sizeof(jsmntok_t)), count};
  if (!json->tokens) abort();
  jsmn_init(&parser);
  // Only with tokens does it see that something was not closed.
  if (jsmn_parse(&parser, text, bytes, json->tokens, (unsigned)count) < 0) return "it ends too early";
  // One value and nothing behind it; each name with a value.
  for (int at = 0; at < count; at++) {
    if (at > 0 && json->tokens[at].parent < 0) return "it is malformed";
    int parent = json->tokens[at].parent;
    if (parent >= 0 && json->tokens[parent].type == JSMN_OBJECT && json->tokens[at].size != 1) return "it is malformed";
  }
  return NULL;
}

void json_free(json_t *json) { free(json->tokens); }

bool json_is_object(const json_t *json, int at) {
  return at >= 0 && at < json->count && json->tokens[at].type == JSMN_OBJECT;
}

static bool is_text(const json_t *json, int at, jsmntype_t type, const char *text) {
  const jsmntok_t *token = &json->tokens[at];
  size_t bytes = (size_t)(token->end - token->start);
  return token->type == type && strlen(text) == bytes && memcmp(json->text + token->start, text, bytes) == 0;
}

bool json_is_true(const json_t *json, int at) { return at >= 0 && is_text(json, at, JSMN_PRIMITIVE, "true"); }

int json_member(const json_t *json, int object, const char *name) {
  if (!json_is_object(json, object)) return -1;
  int found = -1;
  // Of several, the last counts.
  for (int at = object + 1; at + 1 < json->count; at++) {
    if (json->tokens[at].parent == object && is_text(json, at, JSMN_STRING, name)) found = at + 1;
  }
  return found;
}

static unsigned hex4(const char *at) {
  char digits[5] = {at[0], at[1], at[2], at[3], '\0'};
  return (unsigned)strtoul(digits, NULL, 16);
}

static char *put_utf8(char *to, unsigned code) {
  if (code < 0x80) return *to = (char)code, to + 1;
  if (code < 0x800) return to[0] = (char)(0xC0 | code >> 6), to[1] = (char)(0x80 | (code & 63)), to + 2;
  int more = code < 0x10000 ? 2 : 3;
  *to++ = (char)((more == 2 ? 0xE0 : 0xF0) | code >> (6 * more));
  while (more--) *to++ = (char)(0x80 | (code >> (6 * more) & 63));
  return to;
}

// One escape behind its backslash; jsmn has seen to it that it is whole.
static const char *unescape(const char *at, const char *end, char **to) {
  static const char FROM[] = "bfnrt", INTO[] = "\b\f\n\r\t";
  const char *known = strchr(FROM, *at);
  if (*at != 'u') return *(*to)++ = known && *at ? INTO[known - FROM] : *at, at + 1;
  unsigned code = hex4(at + 1);
  at += 5;
  if (code >= 0xD800 && code < 0xDC00 && end - at >= 6 && at[0] == '\\' && at[1] == 'u') {
    code = 0x10000 + ((code - 0xD800) << 10) + ((hex4(at + 2) - 0xDC00) & 0x3FF);
    at += 6;
  } else if (code >= 0xD800 && code < 0xE000) {
    code = 0xFFFD;
  }
  *to = put_utf8(*to, code);
  return at;
}

char *json_string(const json_t *json, int at) {
  if (at < 0 || json->tokens[at].type != JSMN_STRING) return NULL;
  const char *from = json->text + json->tokens[at].start, *end = json->text + json->tokens[at].end;
  char *text = malloc((size_t)(end - from) + 1), *to = text;
  if (!text) abort();
  while (from < end) {
    if (*from == '\\') from = unescape(from + 1, end, &to);
    else *to++ = *from++;
  }
  *to = '\0';
  return text;
}
