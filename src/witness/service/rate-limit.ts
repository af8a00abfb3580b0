// Rates by address or by origin, counted as tokens that come back steadily: a burst at once, then so many a second. Bounded
// in memory; time is handed in.

import { RATE_LIMIT_ENTRIES } from "./limits.ts";

export interface RateLimit {
  /** Above 0. */
  readonly perSecond: number;
  /** At once, at least 1. */
  readonly burst: number;
}

export class RateLimiter {
  readonly #limit: RateLimit;
  readonly #now: () => number;
  readonly #maxEntries: number;
  /** In the order in which they were last seen. */
  readonly #entries = new Map<string, { tokens: number; at: number }>();

  /** `now` gives milliseconds that never go backwards. */
  constructor(limit: RateLimit, now: () => number, maxEntries = RATE_LIMIT_ENTRIES) {
    this.#limit = limit;
    this.#now = now;
    this.#maxEntries = maxEntries;
  }

  /** Takes a token of `name`; false where it has none left. */
  take(name: string): boolean {
    const now = this.#now();
    const known = this.#entries.get(name);
    const { perSecond, burst } = this.#limit;
    const tokens =
      known === undefined ? burst : Math.min(burst, known.tokens + ((now - known.at) / 1000) * perSecond);
    const allowed = tokens >= 1;
    this.#entries.delete(name);
    this.#entries.set(name, { tokens: allowed ? tokens - 1 : tokens, at: now });
    if (this.#entries.size > this.#maxEntries) {
      for (const oldest of this.#entries.keys()) {
        this.#entries.delete(oldest);
        break;
      }
    }
    return allowed;
  }

  /** Whole seconds until a token has come back. */
  get retryAfter(): number {
    return Math.max(1, Math.ceil(1 / this.#limit.perSecond));
  }
}
