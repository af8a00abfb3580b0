#!/usr/bin/env node
// The program `cairn`: gives the process to a command and takes its exit code.

import { readFileSync } from "node:fs";
import { cairn } from "./dispatch.ts";
import { EXIT } from "./io.ts";
import { processIo } from "./process-io.ts";

const io = processIo();

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
