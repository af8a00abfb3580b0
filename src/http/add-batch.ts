// POST /add-batch: up to 10,000 entries in one request. What is wrong with the request refuses all of it before any
// commit; what is wrong with an entry is that entry's own result, and the others commit.

import type { FastifyInstance, onRequestAsyncHookHandler } from "fastify";
import { type CairnError, isCairnError } from "../core/errors.ts";
import type { LogAppend, Receipt } from "../log/api.ts";
import { receiptJson } from "./add.ts";
import type { WriteAccess } from "./auth.ts";
import { batchEntries, batchForm } from "./batch-body.ts";
import { type BodyRules, checkBodyHeaders, readBody } from "./body.ts";
import { BATCH_MAX_BYTES, BATCH_RECEIVE_MAX_BYTES, BATCH_RECEIVE_MAX_BYTES_PER_CLIENT } from "./limits.ts";
import { detailOf, publicError } from "./problem.ts";
import { ReceiveBudget } from "./receive-budget.ts";
import type { Refuse } from "./refuse.ts";
import { JSON_TYPE, send } from "./send.ts";

/** As `addRoute`. Bodies still being received have a budget of their own, so that slow batches never hold single adds. */
export function addBatchRoute(
  app: FastifyInstance,
  log: LogAppend,
  access: WriteAccess,
  rate: onRequestAsyncHookHandler | null,
  refuse: Refuse,
  /** Told the code of each entry that was refused while others were logged. */
  count: (code: string) => void,
): void {
  const rules: BodyRules = {
    maxBytes: BATCH_MAX_BYTES,
    tooLarge: "batch_too_large",
    budget: new ReceiveBudget(BATCH_RECEIVE_MAX_BYTES, BATCH_RECEIVE_MAX_BYTES_PER_CLIENT),
  };

  app.post("/add-batch", rate === null ? {} : { onRequest: rate }, (request, reply) => {
    reply.hijack();
    const raw = request.raw;
    const res = reply.raw;
    try {
      access.authorize(raw);
      checkBodyHeaders(raw, rules);
      const form = batchForm(raw.headers["content-type"]);
      log.checkAdmission();

      readBody(
        raw,
        res,
        rules,
        () => access.client(raw),
        (error, body) => {
          addAll(log, error, body, form, count)
            .then((json) => send(res, 200, ["Content-Type", JSON_TYPE], json))
            .catch((cause) => refuse(raw, res, cause));
        },
      );
    } catch (error) {
      refuse(raw, res, error);
    }
  });
}

async function addAll(
  log: LogAppend,
  error: CairnError | null,
  body: Uint8Array,
  form: ReturnType<typeof batchForm>,
  count: (code: string) => void,
): Promise<Uint8Array> {
  if (error !== null) throw error;
  const results = await log.addBatch(batchEntries(body, form));
  for (const result of results) if (isCairnError(result)) count(publicError(result).code);
  // To bytes here, since an error's detail may quote the entry and need not be ASCII.
  return Buffer.from(`{"results":[${results.map(resultJson).join(",")}]}`, "utf8");
}

function resultJson(result: Receipt | CairnError): string {
  if (!isCairnError(result)) return receiptJson(result);
  const error = publicError(result);
  return JSON.stringify({ error: { code: error.code, detail: detailOf(error) } });
}
