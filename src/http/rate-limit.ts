// Rate limits for writers, counted in windows of burst / rate seconds by @fastify/rate-limit: by key, else by address.
// Counted before the key is judged, so failed authentication counts too. Both write routes share one count, and a batch
// is one request.

import rateLimit from "@fastify/rate-limit";
import type { FastifyInstance, FastifyRequest, onRequestAsyncHookHandler } from "fastify";
import { CairnError } from "../core/errors.ts";
import type { KeyChecker, WriteAccess } from "./auth.ts";
import { RATE_LIMIT_CLIENTS } from "./limits.ts";

/** At most `burst` requests in each window of `burst / perSecond` seconds. Both above 0. */
export interface RateLimit {
  readonly perSecond: number;
  readonly burst: number;
}

/** The length of the windows that `limit` is counted in. */
export function windowMs(limit: RateLimit): number {
  return Math.max(1, Math.round((limit.burst / limit.perSecond) * 1000));
}

/** The hook that counts a write, or null where nothing is to be counted: then the routes carry no hook at all. */
export async function rateLimitHook(
  app: FastifyInstance,
  limit: RateLimit | null,
  keys: KeyChecker,
  access: WriteAccess,
): Promise<onRequestAsyncHookHandler | null> {
  if (limit === null && !keys.quotas) return null;
  const limitOf = (request: FastifyRequest) => access.identify(request.raw)?.quota ?? limit;

  await app.register(rateLimit, {
    global: false,
    cache: RATE_LIMIT_CLIENTS,
    // Retry-After says all that a client needs; counts on every answer would only cost bytes.
    addHeaders: { "x-ratelimit-limit": false, "x-ratelimit-remaining": false, "x-ratelimit-reset": false },
    addHeadersOnExceeding: {
      "x-ratelimit-limit": false,
      "x-ratelimit-remaining": false,
      "x-ratelimit-reset": false,
    },
  });
  return app.rateLimit({
    cache: RATE_LIMIT_CLIENTS,
    keyGenerator: (request) => access.client(request.raw),
    allowList: (request) => limitOf(request) === null,
    max: (request) => limitOf(request)?.burst ?? Number.POSITIVE_INFINITY,
    timeWindow: (request) => {
      const own = limitOf(request);
      return own === null ? 0 : windowMs(own);
    },
    errorResponseBuilder: () => new CairnError("rate_limited"),
  });
}
