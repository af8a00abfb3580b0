// What a command prints: results on standard output, as text or with --json as JSON lines; progress on standard error and
// only on a terminal; an error as one sentence with its code. Text from outside cannot steer the terminal.

import { isCairnError } from "../core/errors.ts";
import type { Io } from "./io.ts";

/** Redrawing more often costs more than it tells. */
const PROGRESS_INTERVAL_MS = 100;

// Escape sequences, carriage returns and the like. Newline and tab are left: they structure our own text.
const CONTROL_CHARACTERS = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f]/g;
const CLEAR_LINE = "\r\u001b[K";

export interface Output {
  readonly json: boolean;
  /** A line of the result; not printed with --json. */
  line(text: string): Promise<void>;
  /** A result with --json: one line of JSON; not printed without. */
  value(value: unknown): Promise<void>;
  /** A line for people on standard error; not printed with --json. */
  remark(text: string): Promise<void>;
  /** Bytes of the result as they are, in either mode. */
  bytes(bytes: Uint8Array): Promise<void>;
  /** Shows how far a long run has come; each text replaces the last. Only on a terminal. */
  progress(text: () => string): void;
  /** Takes the progress away again. */
  endProgress(): Promise<void>;
}

export function createOutput(io: Io, json: boolean): Output {
  let drawnAt = Number.NEGATIVE_INFINITY;
  let drawn = false;
  const shows = io.stderr.isTerminal && !json;

  async function clear(): Promise<void> {
    if (!drawn) return;
    drawn = false;
    await io.stderr.write(CLEAR_LINE);
  }

  return {
    json,
    async line(text) {
      if (json) return;
      await clear();
      await io.stdout.write(`${printable(text)}\n`);
    },
    async value(value) {
      if (json) await io.stdout.write(`${JSON.stringify(value)}\n`);
    },
    async remark(text) {
      if (json) return;
      await clear();
      await io.stderr.write(`${printable(text)}\n`);
    },
    async bytes(bytes) {
      await clear();
      await io.stdout.write(bytes);
    },
    progress(text) {
      if (!shows || io.clock.now() - drawnAt < PROGRESS_INTERVAL_MS) return;
      drawnAt = io.clock.now();
      drawn = true;
      // Progress that cannot be written is no reason to fail.
      io.stderr.write(`${CLEAR_LINE}${printable(text())}`).catch(() => {});
    },
    endProgress: clear,
  };
}

/** `text` with control characters made visible, for file names and what a log answers. */
export function printable(text: string): string {
  return text.replace(
    CONTROL_CHARACTERS,
    (character) => `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`,
  );
}

export interface PrintedError {
  readonly code: string;
  readonly message: string;
  readonly detail?: string;
}

/** An error as --json prints it. An error without a code is a fault of ours or of the system, and has its message. */
export function errorValue(error: unknown): PrintedError {
  if (!isCairnError(error)) {
    return { code: "internal", message: error instanceof Error ? error.message : String(error) };
  }
  const { code, message, detail } = error;
  return detail === undefined ? { code, message } : { code, message, detail };
}

/** An error as one line for people: the sentence, what it was about, and the code to look up. */
export function errorLine(error: unknown): string {
  const { code, message } = errorValue(error);
  return code === "internal" ? `${message}` : `${message} [${code}]`;
}

/** A count with separators, as in 1,234,567. */
export function count(value: number): string {
  return value.toLocaleString("en-US");
}
