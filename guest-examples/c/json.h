// The little that the receiver wants of JSON, over the tokens of jsmn. A value is told by its token; -1 is none.
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define JSMN_HEADER
#include "vendor/jsmn.h"

typedef struct {
  const char *text;
  jsmntok_t *tokens;
  int count;
} json_t;

// Takes a text apart, which has to stay where it is. Says what is wrong with it, or NULL.
const char *json_parse(json_t *json, const char *text, size_t bytes);
void json_free(json_t *json);
bool json_is_object(const json_t *json, int at);
bool json_is_true(const json_t *json, int at);
// The value of a name in an object, or -1.
int json_member(const json_t *json, int object, const char *name);
// A string on the heap, without its escapes, or NULL if the value is no string.
char *json_string(const json_t *json, int at);
