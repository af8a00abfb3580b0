// Child processes of `cairn bench`: modules of this folder that answer calls, so that load generator, ceilings and log each
// run in a process of their own. A child ends when its parent does.

import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { CairnError } from "../../core/errors.ts";

/** What a child answers: methods of one argument. Arguments and results are copied by the structured clone algorithm. */
export type Handlers<Methods> = {
  readonly [Name in keyof Methods]: Methods[Name] extends (argument: infer Argument) => infer Result
    ? (argument: Argument) => Result | Promise<Result>
    : never;
};

interface Call {
  readonly id: number;
  readonly method: string;
  readonly argument: unknown;
}

type Answer =
  | { readonly id: number; readonly value: unknown }
  | { readonly id: number; readonly error: string };

/** How Node is started on a module of ours: as built, or from the sources with the TypeScript loader. */
export function nodeArguments(): readonly string[] {
  if (!import.meta.url.endsWith(".ts")) return [];
  return ["--import", createRequire(import.meta.url).resolve("tsx")];
}

/** The file of a module beside this one, such as `./generator` or `../main`. */
export function modulePath(name: string): string {
  return fileURLToPath(new URL(`${name}${import.meta.url.endsWith(".ts") ? ".ts" : ".js"}`, import.meta.url));
}

export class Child<Methods> {
  readonly #name: string;
  readonly #process: ChildProcess;
  readonly #waiting = new Map<number, { done: (value: unknown) => void; fail: (error: Error) => void }>();
  readonly #exited: Promise<unknown>;
  #lastId = 0;
  #gone: CairnError | null = null;

  /** Starts the module `name` of this folder. What it writes to standard error passes through. */
  constructor(name: string) {
    this.#name = name;
    this.#process = fork(modulePath(`./${name}`), {
      execArgv: [...nodeArguments()],
      serialization: "advanced",
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    this.#process.on("message", (answer: Answer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if ("error" in answer)
        waiting?.fail(new CairnError("bench_failed", { detail: `${name}: ${answer.error}` }));
      else waiting?.done(answer.value);
    });
    this.#exited = once(this.#process, "exit");
    this.#process.on("error", (error) => this.#lose(String(error)));
    this.#process.on("exit", (code, signal) => this.#lose(`it ended with ${signal ?? `code ${code}`}`));
  }

  call<Name extends keyof Methods & string>(
    method: Name,
    argument: Methods[Name] extends (argument: infer Argument) => unknown ? Argument : never,
  ): Promise<Methods[Name] extends (argument: never) => infer Result ? Result : never> {
    if (this.#gone !== null) return Promise.reject(this.#gone);
    const id = ++this.#lastId;
    return new Promise((done, fail) => {
      this.#waiting.set(id, { done: done as (value: unknown) => void, fail });
      this.#process.send({ id, method, argument } satisfies Call, (error) => {
        if (error !== null) this.#lose(String(error));
      });
    });
  }

  async stop(): Promise<void> {
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    this.#process.kill("SIGTERM");
    await this.#exited;
  }

  #lose(why: string): void {
    this.#gone ??= new CairnError("bench_failed", { detail: `${this.#name}: ${why}` });
    for (const { fail } of this.#waiting.values()) fail(this.#gone);
    this.#waiting.clear();
  }
}

/** The child's side: answers calls until the parent is gone. */
export function answerCalls<Methods>(handlers: Handlers<Methods>): void {
  const send = (answer: Answer): void => {
    process.send?.(answer);
  };
  process.on("disconnect", () => process.exit());
  process.on("message", ({ id, method, argument }: Call) => {
    const handler = handlers[method as keyof Methods] as (argument: unknown) => unknown;
    Promise.resolve()
      .then(() => handler(argument))
      .then(
        (value) => send({ id, value }),
        (error: unknown) => send({ id, error: error instanceof Error ? error.message : String(error) }),
      );
  });
}
