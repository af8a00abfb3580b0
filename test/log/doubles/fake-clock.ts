// Time turned by hand: nothing in a test waits, and a test knows which timers are left over.

import type { Clock } from "../../../src/log/clock.ts";

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly run: () => void;
}

/** Where the fake calendar begins: any moment will do, as long as it is the same one each time. */
const EPOCH = Date.UTC(2026, 0, 1);

export class FakeClock implements Clock {
  #elapsed = 0;
  #calendar = EPOCH;
  #order = 0;
  readonly #timers = new Set<Timer>();

  now(): number {
    return this.#calendar + this.#elapsed;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  after(ms: number, run: () => void): () => void {
    const timer: Timer = { at: this.#elapsed + Math.max(0, ms), order: this.#order++, run };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Timers that have neither run nor been cancelled. */
  get pending(): number {
    return this.#timers.size;
  }

  /** The time until the next timer, or null where there is none. */
  get untilNext(): number | null {
    let next: number | null = null;
    for (const { at } of this.#timers) next = Math.min(next ?? at, at);
    return next === null ? null : next - this.#elapsed;
  }

  /** Moves time on and runs what is due on the way, in order; timers set meanwhile run too if they are due. */
  advance(ms: number): void {
    const end = this.#elapsed + ms;
    for (;;) {
      let due: Timer | null = null;
      for (const timer of this.#timers) {
        if (timer.at > end) continue;
        if (due === null || timer.at < due.at || (timer.at === due.at && timer.order < due.order))
          due = timer;
      }
      if (due === null) break;
      this.#timers.delete(due);
      this.#elapsed = Math.max(this.#elapsed, due.at);
      due.run();
    }
    this.#elapsed = end;
  }

  /** Sets the calendar back, as an operator or NTP may; monotonic time goes on. */
  stepBack(ms: number): void {
    this.#calendar -= ms;
  }
}

/** Lets everything run that needs no time: promises, and the immediates that they schedule. */
export async function turns(count = 10): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise<void>((resolve) => setImmediate(resolve));
}

/** The fake time that `until` grants before it gives up. */
const PATIENCE_MS = 300_000;
/** Turns of the event loop without a result before time moves on: files and locks are real and take some. */
const TURNS_A_STEP = 4;
const STEP_MS = 20;
/** The real time after which a test is stuck. */
const REAL_PATIENCE_MS = 20_000;

/** Lets work go on, and time pass on these clocks, until `done`; fails with `what` when it never is. */
export async function until(
  what: string,
  clocks: readonly FakeClock[],
  done: () => boolean,
  patienceMs = PATIENCE_MS,
): Promise<void> {
  const realEnd = performance.now() + REAL_PATIENCE_MS;
  for (let passed = 0; ; passed += STEP_MS) {
    for (let turn = 0; turn < TURNS_A_STEP; turn++) {
      if (done()) return;
      await turns(1);
    }
    if (done()) return;
    if (passed > patienceMs) throw new Error(`not after ${patienceMs} ms of the test's time: ${what}`);
    if (performance.now() > realEnd) throw new Error(`not after ${REAL_PATIENCE_MS} ms: ${what}`);
    await filesIdle(realEnd);
    for (const clock of clocks) clock.advance(STEP_MS);
  }
}

/** Files are real and take real time, in which none of the test's passes: 16 MiB of them would take minutes of it. */
async function filesIdle(realEnd: number): Promise<void> {
  while (performance.now() < realEnd) {
    if (!process.getActiveResourcesInfo().some((resource) => resource.startsWith("FSReq"))) return;
    await turns(1);
  }
}

/** As `until`, for a promise. */
export async function settled<T>(
  what: string,
  clocks: readonly FakeClock[],
  promise: Promise<T>,
  patienceMs?: number,
): Promise<T> {
  let isDone = false;
  const watched = promise.finally(() => {
    isDone = true;
  });
  watched.catch(() => undefined);
  await until(what, clocks, () => isDone, patienceMs);
  return watched;
}
