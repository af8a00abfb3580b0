// The process itself as a command's Io.

import type { Writable } from "node:stream";
import type { Io, TextStream } from "./io.ts";

export function processIo(): Io {
  return {
    stdin: process.stdin,
    stdout: textStream(process.stdout),
    stderr: textStream(process.stderr),
    env: process.env,
    fetch: (url, init) => fetch(url, init),
    clock: {
      now: () => Date.now(),
      sleep: (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds)),
    },
  };
}

function textStream(stream: Writable & { isTTY?: boolean }): TextStream {
  return {
    isTerminal: stream.isTTY === true,
    write: (data) =>
      new Promise((resolve, reject) => {
        stream.write(data, (error) => (error ? reject(error) : resolve()));
      }),
  };
}
