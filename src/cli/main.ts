#!/usr/bin/env node
// The program `cairn`: gives the process to a command and takes its exit code.

import { readFileSync } from "node:fs";
import type { Writable } from "node:stream";
import { cairn } from "./dispatch.ts";
import { EXIT, type Io, type TextStream } from "./io.ts";

const io: Io = {
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

// A reader that has seen enough (head, less) closes the pipe: that ends the command, and is not a fault to report.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit();
  throw error;
});

const argv = process.argv.slice(2);
process.exitCode = argv[0] === "--version" ? await printVersion() : await cairn.run(argv, io);

async function printVersion(): Promise<number> {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8"));
  await io.stdout.write(`${version}\n`);
  return EXIT.ok;
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
