// Inclusion proofs as tlog-proof text, made from published tiles: for anyone who would rather not compute one.

import type { FastifyInstance } from "fastify";
import { CairnError } from "../core/errors.ts";
import type { LogRead } from "../log/api.ts";
import { FEW_SECONDS } from "./checkpoint.ts";
import { decimal, parameter, safeNumber } from "./parameters.ts";
import type { Refuse } from "./refuse.ts";
import { send, TEXT_TYPE } from "./send.ts";

/** `GET /proof/<index>`, with `?size=S` for a kept checkpoint. */
export function proofRoute(app: FastifyInstance, log: LogRead, refuse: Refuse): void {
  app.get<{ Params: { index: string } }>("/proof/:index", (request, reply) => {
    reply.hijack();
    const raw = request.raw;
    const res = reply.raw;
    proof(log, request.params.index, request.query)
      .then((text) => send(res, 200, ["Content-Type", TEXT_TYPE, "Cache-Control", FEW_SECONDS], text))
      .catch((error) => refuse(raw, res, error));
  });
}

async function proof(log: LogRead, indexText: string, query: unknown): Promise<Uint8Array> {
  const index = decimal(indexText, "index");
  const sizeText = parameter(query, "size");
  const size = sizeText === undefined ? undefined : decimal(sizeText, "size");
  if (size !== undefined && size <= index) {
    throw new CairnError("bad_parameter", { detail: "a tree of that size does not hold that index" });
  }

  const safeIndex = safeNumber(index);
  if (size === undefined) {
    if (safeIndex !== null) return log.proof(safeIndex);
    throw new CairnError("not_published", { members: { published_size: log.published()?.size ?? 0 } });
  }
  const safeSize = safeNumber(size);
  if (safeIndex === null || safeSize === null) throw new CairnError("checkpoint_not_kept");
  return log.proof(safeIndex, safeSize);
}
