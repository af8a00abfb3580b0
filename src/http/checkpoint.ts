// The newest published checkpoint, and kept earlier ones by their size (tlog-checkpoint, served after tlog-tiles).

import { hash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";
import { CairnError } from "../core/errors.ts";
import type { LogRead } from "../log/api.ts";
import { etagMatches } from "./negotiate.ts";
import { isDecimal, safeNumber } from "./parameters.ts";
import type { Refuse } from "./refuse.ts";
import { send, sendNotModified, TEXT_TYPE } from "./send.ts";

/** "Its headers SHOULD prevent caching beyond a few seconds" (tlog-tiles). */
export const FEW_SECONDS = "public, max-age=2";

/** `GET /checkpoint` and `GET /checkpoint/<size>`. */
export function checkpointRoutes(app: FastifyInstance, log: LogRead, refuse: Refuse): void {
  app.get("/checkpoint", (request, reply) => {
    reply.hijack();
    const published = log.published();
    if (published === null) refuse(request.raw, reply.raw, new CairnError("not_published_yet"));
    else serveNote(request.raw, reply.raw, published.note, published.etag);
  });

  app.get<{ Params: { size: string } }>("/checkpoint/:size", (request, reply) => {
    reply.hijack();
    const raw = request.raw;
    const res = reply.raw;
    keptNote(log, request.params.size)
      .then((note) => serveNote(raw, res, note, etagOf(note)))
      .catch((error) => refuse(raw, res, error));
  });
}

async function keptNote(log: LogRead, text: string): Promise<Uint8Array> {
  // What is no size is not kept either: the path names no object of this log.
  const size = isDecimal(text) ? safeNumber(BigInt(text)) : null;
  const note = size === null ? null : await log.checkpointAt(size);
  if (note === null) throw new CairnError("checkpoint_not_kept");
  return note;
}

function serveNote(raw: IncomingMessage, res: ServerResponse, note: Uint8Array, etag: string): void {
  const headers = ["Cache-Control", FEW_SECONDS, "ETag", etag];
  if (etagMatches(raw.headers["if-none-match"], etag)) sendNotModified(res, headers);
  else send(res, 200, ["Content-Type", TEXT_TYPE, ...headers], note);
}

// An idle log is cosigned again at the same size, so the size alone is no tag.
function etagOf(note: Uint8Array): string {
  return `"${hash("sha256", note, "hex").slice(0, 32)}"`;
}
