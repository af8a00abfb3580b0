// A process for commands to run in: what they print is kept, the clock stands still, and each test has a folder of its own.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import type { Fetch } from "../../src/client/request.ts";
import type { Runnable } from "../../src/cli/group.ts";
import type { Io } from "../../src/cli/io.ts";
import { stillClock } from "../client/log-server.ts";

export interface RunOptions {
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** Chunks of standard input. */
  readonly stdin?: readonly (string | Uint8Array)[];
  readonly now?: number;
  readonly terminal?: boolean;
  readonly fetch?: Fetch;
}

export interface RunResult {
  readonly exit: number;
  readonly stdout: string;
  readonly stderr: string;
  /** Standard output, each line parsed as JSON. */
  json(): Record<string, unknown>[];
}

export async function run(
  command: Runnable,
  argv: readonly string[],
  options: RunOptions = {},
): Promise<RunResult> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  const stream = (parts: Buffer[], isTerminal: boolean) => ({
    isTerminal,
    write: async (data: string | Uint8Array) => {
      parts.push(Buffer.from(data as Uint8Array));
    },
  });
  const io: Io = {
    stdin: (async function* () {
      for (const chunk of options.stdin ?? []) yield new Uint8Array(Buffer.from(chunk as Uint8Array));
    })(),
    stdout: stream(stdout, options.terminal ?? false),
    stderr: stream(stderr, options.terminal ?? false),
    env: options.env ?? {},
    fetch: options.fetch ?? ((url, init) => fetch(url, init)),
    clock: stillClock(options.now),
  };
  const exit = await command.run(argv, io);
  const text = Buffer.concat(stdout).toString();
  return {
    exit,
    stdout: text,
    stderr: Buffer.concat(stderr).toString(),
    json: () =>
      text
        .trimEnd()
        .split("\n")
        .map((line) => JSON.parse(line)),
  };
}

/** A folder that is removed after the test. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "cairn-cli-"));
  folders.push(folder);
  return folder;
}

const folders: string[] = [];
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true });
});
