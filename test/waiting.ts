// Waiting for what other processes do, with a limit and words for what did not come.

const POLL_MS = 5;

/** Waits until `look` answers something but null or false; what it throws ends the wait. */
export async function eventually<T>(
  what: string,
  look: () => T | null | false | Promise<T | null | false>,
  patienceMs: number,
): Promise<T> {
  const end = performance.now() + patienceMs;
  for (;;) {
    const found = await look();
    if (found !== null && found !== false) return found;
    if (performance.now() > end) throw new Error(`not within ${patienceMs} ms: ${what}`);
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

/** `promise`, or a failure that says what did not come. */
export async function within<T>(ms: number, what: () => string, promise: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${ms} ms: ${what()}`)), ms);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
