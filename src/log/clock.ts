// Time as a value, so that tests turn it by hand. Nothing in log/ asks the system for the time or for a timer.

export interface Clock {
  /** Milliseconds since the epoch. May step backwards; use it for what people read. */
  now(): number;
  /** Milliseconds that never go backwards, for intervals. */
  monotonic(): number;
  /** Calls `run` once after `ms`; the answer cancels it. */
  after(ms: number, run: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  after(ms, run) {
    const timer = setTimeout(run, ms);
    return () => clearTimeout(timer);
  },
};

/** Resolves after `ms`, or at once when `stop` is aborted. */
export function pause(clock: Clock, ms: number, stop?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (stop?.aborted === true) return resolve();
    const finish = (): void => {
      cancel();
      stop?.removeEventListener("abort", finish);
      resolve();
    };
    const cancel = clock.after(ms, finish);
    stop?.addEventListener("abort", finish);
  });
}
