// Extism as a peer of the benchmark: handles as many messages as a line of standard input says, and answers with the
// nanoseconds that passed and those of CPU time.
// usage: extism PLUGIN.wasm FUNCTION fresh|reused BODY_BYTES
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct ExtismCompiledPlugin ExtismCompiledPlugin;
typedef struct ExtismPlugin ExtismPlugin;
typedef struct ExtismFunction ExtismFunction;
const char *extism_version(void);
ExtismCompiledPlugin *extism_compiled_plugin_new(const uint8_t *wasm, uint64_t wasm_size, const ExtismFunction **functions,
                                                 uint64_t n_functions, bool with_wasi, char **error);
ExtismPlugin *extism_plugin_new_from_compiled(const ExtismCompiledPlugin *compiled, char **error);
int32_t extism_plugin_call(ExtismPlugin *plugin, const char *function, const uint8_t *data, uint64_t data_len);
void extism_plugin_free(ExtismPlugin *plugin);

static void fail(const char *what, const char *why) {
  fprintf(stderr, "extism: %s: %s\n", what, why ? why : "?");
  exit(1);
}

static uint64_t nanoseconds(clockid_t clock) {
  struct timespec time;
  clock_gettime(clock, &time);
  return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static ExtismPlugin *instance(const ExtismCompiledPlugin *compiled) {
  char *error = NULL;
  ExtismPlugin *plugin = extism_plugin_new_from_compiled(compiled, &error);
  if (plugin == NULL) fail("no instance", error);
  return plugin;
}

int main(int count, char **arguments) {
  if (count != 5) fail("usage", "PLUGIN.wasm FUNCTION fresh|reused BODY_BYTES");
  FILE *file = fopen(arguments[1], "rb");
  if (file == NULL) fail("cannot be read", arguments[1]);
  static uint8_t wasm[1 << 16];
  uint64_t wasm_size = fread(wasm, 1, sizeof wasm, file);
  fclose(file);
  bool fresh = strcmp(arguments[3], "fresh") == 0;
  uint64_t body_bytes = strtoull(arguments[4], NULL, 10), messages;
  uint8_t *body = malloc(body_bytes);
  memset(body, 'x', body_bytes);

  char *error = NULL;
  ExtismCompiledPlugin *compiled = extism_compiled_plugin_new(wasm, wasm_size, NULL, 0, false, &error);
  if (compiled == NULL) fail("not compiled", error);
  ExtismPlugin *plugin = instance(compiled);
  printf("%s\n", extism_version());
  fflush(stdout);
  while (scanf("%lu", &messages) == 1) {
    uint64_t wall = nanoseconds(CLOCK_MONOTONIC), cpu = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
    for (uint64_t number = 0; number < messages; number++) {
      ExtismPlugin *used = fresh ? instance(compiled) : plugin;
      if (extism_plugin_call(used, arguments[2], body, body_bytes) != 0) fail("call failed", NULL);
      if (fresh) extism_plugin_free(used);
    }
    printf("%lu %lu\n", nanoseconds(CLOCK_MONOTONIC) - wall, nanoseconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
    fflush(stdout);
  }
  return 0;
}
