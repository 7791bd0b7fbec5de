// Publishes each message of a batch to the topic `out`, as it is.

import { Failure, Message } from './wasmpost';

// The host calls what is exported here.
export { cabi_realloc, receiveBatch } from './wasmpost';

/** Handles one message of the batch. Null says that it has been processed. */
export function handle(message: Message): Failure | null {
  const body = message.body();
  if (body.length == 0) {
    return Failure.reject('the body is empty');
  }
  const refused = message.publish('out', message.attributes(), body);
  return refused === null ? null : Failure.retry(`not published: ${refused}`);
}
