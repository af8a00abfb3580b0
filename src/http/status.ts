// What the log says of itself: what to pin (/log.json), that the process is up (/health), and whether it does its work
// (/ready, for alerts and deploy gates; never for routing, since tiles stay readable when it says no).

import type { FastifyInstance } from "fastify";
import { ENTRY_MAX_BYTES } from "../core/bundle.ts";
import type { Log } from "../log/api.ts";
import {
  BATCH_MAX_BYTES,
  BATCH_MAX_ENTRIES,
  BATCH_RECEIVE_MAX_BYTES,
  BATCH_RECEIVE_MAX_BYTES_PER_CLIENT,
} from "./limits.ts";
import type { RateLimit } from "./rate-limit.ts";
import type { Refuse } from "./refuse.ts";
import { sendJson } from "./send.ts";

const NO_STORE = ["Cache-Control", "no-store"];
const READY_RETRY_AFTER_SECONDS = 1;

export interface LogDescription {
  readonly rateLimit: RateLimit | null;
  /** Free text about the log for those who pin it, or null. */
  readonly descriptor: string | null;
  readonly headersTimeoutMs: number;
  readonly requestTimeoutMs: number;
}

/** `GET /log.json`, `GET /health`, `GET /ready`. */
export function statusRoutes(
  app: FastifyInstance,
  log: Log,
  description: LogDescription,
  refuse: Refuse,
): void {
  app.get("/log.json", (_request, reply) => {
    reply.hijack();
    sendJson(reply.raw, 200, ["Cache-Control", "public, max-age=60"], {
      origin: log.origin,
      vkeys: log.vkeys,
      policy: log.policyText,
      limits: limits(description),
      descriptor: description.descriptor,
    });
  });

  app.get("/health", (_request, reply) => {
    reply.hijack();
    sendJson(reply.raw, 200, NO_STORE, { status: "ok" });
  });

  app.get("/ready", (request, reply) => {
    reply.hijack();
    try {
      const status = log.status();
      const headers = status.ready
        ? NO_STORE
        : [...NO_STORE, "Retry-After", String(READY_RETRY_AFTER_SECONDS)];
      sendJson(reply.raw, status.ready ? 200 : 503, headers, {
        ready: status.ready,
        integrated_size: status.integratedSize,
        next_index: status.nextIndex,
        pending_count: status.nextIndex - status.integratedSize,
        published_size: status.publishedSize,
        checkpoint_age_seconds: status.checkpointAgeSeconds,
        reasons: status.reasons.map(({ code, detail }) => ({ code, detail })),
        witnesses: status.witnesses.map((witness) => ({
          name: witness.name,
          state: witness.state,
          size: witness.size,
          last_success: witness.lastSuccess,
          last_error: witness.lastError,
        })),
      });
    } catch (error) {
      refuse(request.raw, reply.raw, error);
    }
  });
}

function limits({ rateLimit, headersTimeoutMs, requestTimeoutMs }: LogDescription): object {
  return {
    entry_max_bytes: ENTRY_MAX_BYTES,
    batch_max_bytes: BATCH_MAX_BYTES,
    batch_max_entries: BATCH_MAX_ENTRIES,
    batch_receive_max_bytes: BATCH_RECEIVE_MAX_BYTES,
    batch_receive_max_bytes_per_client: BATCH_RECEIVE_MAX_BYTES_PER_CLIENT,
    rate_limit_per_second: rateLimit?.perSecond ?? null,
    rate_limit_burst_size: rateLimit?.burst ?? null,
    headers_timeout_seconds: headersTimeoutMs / 1000,
    request_timeout_seconds: requestTimeoutMs / 1000,
  };
}
