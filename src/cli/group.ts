// Commands by name, as `cairn` has them and as `cairn keys` has its own: each is loaded when it is called, so that verifying
// a proof loads neither SQLite nor the server.

import { CairnError, isCairnError } from "../core/errors.ts";
import { EXIT, type ExitCode, type Io } from "./io.ts";
import { createOutput, errorLine, errorValue } from "./output.ts";

/** Whatever can be called by name: a command, or a group of them. */
export interface Runnable {
  /** Never rejects for what went wrong: that is printed. */
  run(argv: readonly string[], io: Io): Promise<ExitCode>;
}

export interface GroupEntry {
  /** One line for the list. */
  readonly summary: string;
  load(): Promise<Runnable>;
}

/** `path` is what stands in front of a command's name, such as `cairn` or `cairn keys`; entries in the order of --help. */
export function defineGroup(path: string, entries: Readonly<Record<string, GroupEntry>>): Runnable {
  return {
    async run([name, ...rest], io) {
      if (name === "--help" || name === "-h" || name === "help") {
        await io.stdout.write(overview(path, entries));
        return EXIT.ok;
      }
      try {
        const entry = name !== undefined && Object.hasOwn(entries, name) ? entries[name] : undefined;
        if (entry === undefined) {
          const detail = name === undefined ? "a command is missing" : `there is no command ${name}`;
          throw new CairnError("usage", { detail: `${detail}; ${path} --help lists them` });
        }
        const command = await load(entry);
        return await command.run(rest, io);
      } catch (error) {
        const out = createOutput(io, rest.includes("--json"));
        await out.value({ error: errorValue(error) });
        await out.remark(`${path}: ${errorLine(error)}`);
        return EXIT.failed;
      }
    },
  };
}

function overview(path: string, entries: Readonly<Record<string, GroupEntry>>): string {
  const width = Math.max(...Object.keys(entries).map((name) => name.length)) + 2;
  return [
    `usage: ${path} COMMAND [OPTIONS]`,
    "",
    "commands:",
    ...Object.entries(entries).map(([name, { summary }]) => `  ${name.padEnd(width)}${summary}`),
    "",
    `${path} COMMAND --help says more. Every command takes --json.`,
    "Exit codes: 0 done, or yes; 1 no, or refused; 2 it could not be done.",
    "",
  ].join("\n");
}

async function load(entry: GroupEntry): Promise<Runnable> {
  try {
    return await entry.load();
  } catch (cause) {
    throw missingDependency(cause) ?? cause;
  }
}

/** `missing_dependency` where an error says that an optional package is not installed, else null. */
export function missingDependency(error: unknown): CairnError | null {
  if (isCairnError(error, "missing_dependency")) return error;
  if (!(error instanceof Error) || !("code" in error) || error.code !== "ERR_MODULE_NOT_FOUND") return null;
  const name = /^Cannot find package '([^']+)'/.exec(error.message)?.[1];
  if (name === undefined) return null;
  return new CairnError("missing_dependency", {
    detail: `${name}: install cairn-log with its optional dependencies, or run npm install ${name}`,
    cause: error,
  });
}
