// What a command may touch of the process around it, as one value, so that tests hand in their own.

import type { Clock, Fetch } from "../client/request.ts";
import type { ServerExit } from "./exit-classes.ts";

export interface TextStream {
  readonly isTerminal: boolean;
  /** Resolves once the stream takes more, so that a slow reader slows the writer instead of filling memory. */
  write(data: string | Uint8Array): Promise<void>;
}

export interface Io {
  readonly stdin: AsyncIterable<Uint8Array>;
  /** Results, and nothing else. */
  readonly stdout: TextStream;
  /** Progress, remarks and errors. */
  readonly stderr: TextStream;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly fetch: Fetch;
  readonly clock: Clock;
}

/** The same three for every command; each command's help says what they mean there. */
export const EXIT = {
  /** Done, and the answer is yes. */
  ok: 0,
  /** The answer is no: it differs, does not verify, or was refused. */
  no: 1,
  /** It could not be done: usage, configuration, unreadable files, a log out of reach. */
  failed: 2,
} as const;

/** A server has some more: exit-classes.ts. */
export type ExitCode = (typeof EXIT)[keyof typeof EXIT] | ServerExit;
