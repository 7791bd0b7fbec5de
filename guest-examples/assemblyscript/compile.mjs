// Compiles with the arguments of asc. While `wasmpost dev` runs, a compiler stays ready for the next build, which it does
// in a fourth of the time: starting one and warming it up takes the rest. It ends when the directory of `wasmpost dev` is
// gone, after ten minutes without work, or after a hundred builds.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, rmSync, statSync } from "node:fs";
import { connect, createServer } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

const IDLE_MAX_MS = 600_000;
const BUILDS_MAX = 100;
const START_MAX_MS = 20_000;
const itself = fileURLToPath(import.meta.url);

/** All that the other side of a connection sends. */
function received(connection) {
  return new Promise((resolve, reject) => {
    let text = "";
    connection.setEncoding("utf8").on("data", (chunk) => (text += chunk));
    connection.on("end", () => resolve(text)).on("error", reject);
  });
}

/** Compiles in this process. */
async function compile({ args, colours }) {
  const { default: asc } = await import("assemblyscript/asc");
  let output = "";
  const stream = { isTTY: colours, write: (chunk) => (output += chunk, true) };
  const { error } = await asc.main(args, { stdout: stream, stderr: stream });
  return { output, failed: error !== null };
}

/** Compiles for builds, one after the other, until there is no more use for it. */
function serve(socket) {
  let builds = 0;
  let last = Date.now();
  let before = Promise.resolve();
  const end = () => { rmSync(socket, { force: true }); process.exit(); };
  const answer = async (connection) => {
    const result = await compile(JSON.parse(await received(connection)));
    last = Date.now();
    connection.end(JSON.stringify(result), () => { if (++builds >= BUILDS_MAX) end(); });
  };
  const server = createServer({ allowHalfOpen: true }, (connection) => {
    before = before.then(() => answer(connection)).catch(() => connection.destroy());
  });
  rmSync(socket, { force: true });
  server.on("error", () => process.exit(1)).listen(socket);
  setInterval(() => { if (!existsSync(dirname(socket)) || Date.now() - last > IDLE_MAX_MS) end(); }, 500);
}

/** The answer of the compiler at a socket. */
async function ask(socket, request) {
  const connection = connect({ path: socket, allowHalfOpen: true });
  connection.end(JSON.stringify(request));
  return JSON.parse(await received(connection));
}

/** Compiles by the compiler that stays ready, which is started if there is none. */
async function compileReadily(socket, request) {
  const deadline = Date.now() + START_MAX_MS;
  for (let isStarted = false; Date.now() < deadline; isStarted = true) {
    try {
      return await ask(socket, request);
    } catch (error) {
      if (error.code !== "ENOENT" && error.code !== "ECONNREFUSED") {
        console.error(`the compiler that stays ready failed (${error.message}); compiling without it`);
        break;
      }
      if (!isStarted) spawn(process.execPath, [itself, "--serve", socket], { detached: true, stdio: "ignore" }).unref();
      await sleep(20);
    }
  }
  return compile(request);
}

const args = process.argv.slice(2);
if (args[0] === "--serve") {
  serve(args[1]);
} else {
  // Another version of the compiler, or of this file, is another compiler.
  const files = ["compile.mjs", "names.mjs", "package-lock.json"].map((file) => statSync(file).mtimeMs);
  const key = createHash("sha256").update(JSON.stringify([process.cwd(), files])).digest("hex").slice(0, 8);
  const request = { args, colours: process.stderr.isTTY === true };
  const directory = process.env.WASMPOST_DEV_DIR;
  const result = await (directory ? compileReadily(join(directory, `asc-${key}.sock`), request) : compile(request));
  process.stderr.write(result.output);
  process.exitCode = result.failed ? 1 : 0;
}
