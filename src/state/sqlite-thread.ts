// Calls between the main thread and a thread that holds a database connection: one message a call and one an answer, in
// order. Buffers named with a message are moved, not copied. Errors arrive as what they were thrown as.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { type MessagePort, Worker } from "node:worker_threads";
import type Esbuild from "esbuild";
import { CairnError, type ErrorCode } from "../core/errors.ts";
import { StateError } from "./state.ts";

interface Call {
  readonly id: number;
  readonly method: string;
  readonly args: readonly unknown[];
}

type Answer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: SentError };

/** Errors lose their class on the way between threads, so what they say travels as data. */
type SentError =
  | { readonly kind: "cairn"; readonly code: ErrorCode; readonly detail: string | undefined }
  | {
      readonly kind: "state";
      readonly message: string;
      readonly outcome: "not_applied" | "unknown";
      readonly noSpace: boolean;
      readonly busy: boolean;
    }
  | { readonly kind: "other"; readonly message: string };

/** The methods of an interface of promises, as the thread carries them out: at once. */
export type Handlers<Methods> = {
  readonly [Name in keyof Methods]: Methods[Name] extends (...args: infer Args) => Promise<infer Result>
    ? (...args: Args) => Result
    : never;
};

/** The thread's side. */
export interface ThreadService<Methods> {
  readonly handlers: Handlers<Methods>;
  /** The buffers that go with an answer, moved. */
  buffersOf(method: keyof Methods, value: unknown): readonly ArrayBuffer[];
  /** An error of a handler's as what its caller is to see. */
  explain(error: unknown): unknown;
  /** Runs after every answer, when its receiver no longer waits for this thread. */
  afterAnswer(): void;
  close(): void;
}

const OPEN = "open";
const CLOSE = "close";

/** Opens a service when told to, with the data that come with it, and answers calls until it is told to close. */
export function serveCalls<Data, Methods>(
  port: MessagePort,
  open: (data: Data) => Promise<ThreadService<Methods>>,
): void {
  let service: ThreadService<Methods> | null = null;
  const reply = (answer: Answer, move: readonly ArrayBuffer[] = []): void =>
    port.postMessage(answer, [...new Set(move)]);
  port.on("message", ({ id, method, args }: Call) => {
    if (service === null) {
      open(args[0] as Data).then(
        (opened) => {
          service = opened;
          reply({ id, value: undefined });
        },
        (error: unknown) => reply({ id, error: toSent(error) }),
      );
      return;
    }
    if (method === CLOSE) {
      service.close();
      reply({ id, value: undefined });
      port.close();
      return;
    }
    try {
      const name = method as keyof Methods;
      const handler = service.handlers[name] as (...args: readonly unknown[]) => unknown;
      const value = handler(...args);
      reply({ id, value }, service.buffersOf(name, value));
    } catch (error) {
      reply({ id, error: toSent(service.explain(error)) });
    }
    service.afterAnswer();
  });
}

/** The main thread's side of one such thread. */
export class DatabaseThread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, { done: (value: unknown) => void; fail: (error: Error) => void }>();
  #lastId = 0;
  #gone: Error | null = null;
  readonly #exited: Promise<void>;

  /** Starts the module `name` of this folder (no extension). To be opened before anything else is called. */
  constructor(name: string) {
    const worker = startWorker(name);
    this.#worker = worker;
    worker.on("message", (answer: Answer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if ("error" in answer) waiting?.fail(fromSent(answer.error));
      else waiting?.done(answer.value);
    });
    worker.on("error", (error) => this.#lose(error));
    worker.on("messageerror", (error) => this.#lose(error));
    this.#exited = new Promise((resolve) => {
      worker.on("exit", (code) => {
        this.#lose(new Error(`it ended with code ${code}`));
        resolve();
      });
    });
  }

  /** Opens the thread's database. Where that fails the thread has ended. */
  async open(data: unknown): Promise<void> {
    try {
      await this.call(OPEN, [data]);
    } catch (error) {
      await this.terminate();
      throw error;
    }
  }

  call(method: string, args: readonly unknown[], move: readonly ArrayBuffer[] = []): Promise<unknown> {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    const id = ++this.#lastId;
    try {
      this.#worker.postMessage({ id, method, args } satisfies Call, [...new Set(move)]);
    } catch (cause) {
      const message = cause instanceof Error ? cause.message : String(cause);
      return Promise.reject(new StateError(message, { outcome: "not_applied", cause }));
    }
    return new Promise((done, fail) => this.#waiting.set(id, { done, fail }));
  }

  /** Closes the database after the calls before it, and ends the thread. Later calls are refused. */
  async close(): Promise<void> {
    if (this.#gone === null) {
      const closed = this.call(CLOSE, []);
      this.#gone = new StateError("the database is closed", { outcome: "not_applied" });
      await closed;
    }
    await this.#exited;
  }

  /** Ends a thread that holds nothing open. */
  async terminate(): Promise<void> {
    await this.#worker.terminate();
  }

  /** The thread died: nobody knows what became of the calls it had. */
  #lose(cause: Error): void {
    const error = new StateError(`the database's thread is gone: ${cause.message}`, {
      outcome: "unknown",
      cause,
    });
    this.#gone ??= error;
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    for (const { fail } of waiting) fail(error);
  }
}

function startWorker(name: string): Worker {
  if (!import.meta.url.endsWith(".ts")) return new Worker(new URL(`./${name}.js`, import.meta.url));
  // From the sources, in tests: threads know no TypeScript, and a loader in each costs five times what a bundle does.
  const { buildSync } = createRequire(import.meta.url)("esbuild") as typeof Esbuild;
  const { outputFiles } = buildSync({
    entryPoints: [fileURLToPath(new URL(`./${name}.ts`, import.meta.url))],
    bundle: true,
    write: false,
    platform: "node",
    format: "cjs",
    packages: "external",
    define: { "import.meta.url": JSON.stringify(import.meta.url) },
  });
  return new Worker(outputFiles[0]?.text ?? "", { eval: true });
}

function toSent(error: unknown): SentError {
  if (error instanceof CairnError) return { kind: "cairn", code: error.code, detail: error.detail };
  if (error instanceof StateError) {
    const { message, outcome, noSpace, busy } = error;
    return { kind: "state", message, outcome, noSpace, busy };
  }
  return { kind: "other", message: error instanceof Error ? error.message : String(error) };
}

function fromSent(sent: SentError): Error {
  switch (sent.kind) {
    case "cairn":
      return new CairnError(sent.code, sent.detail === undefined ? {} : { detail: sent.detail });
    case "state":
      return new StateError(sent.message, {
        outcome: sent.outcome,
        noSpace: sent.noSpace,
        busy: sent.busy,
      });
    case "other":
      return new StateError(sent.message, { outcome: "unknown" });
  }
}
