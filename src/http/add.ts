// POST /add: one entry, its bytes as the body. Answers when the entry is durable in the log's database, with its index;
// or, where a proof is asked for, when a published checkpoint covers it.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyInstance, onRequestAsyncHookHandler } from "fastify";
import { ENTRY_MAX_BYTES } from "../core/bundle.ts";
import { CairnError } from "../core/errors.ts";
import type { LogAppend, Receipt } from "../log/api.ts";
import type { WriteAccess } from "./auth.ts";
import { type BodyRules, checkBodyHeaders, readBody } from "./body.ts";
import { ADD_RECEIVE_MAX_BYTES } from "./limits.ts";
import { namesJson } from "./negotiate.ts";
import { booleanParameter } from "./parameters.ts";
import { ReceiveBudget } from "./receive-budget.ts";
import type { Refuse } from "./refuse.ts";
import { JSON_TYPE, send, TEXT_TYPE } from "./send.ts";

const TEXT_HEADERS = ["Content-Type", TEXT_TYPE];
const JSON_HEADERS = ["Content-Type", JSON_TYPE];

/** `rate` is the hook that counts writes, or null; refused in order of rate, key, headers, back-pressure, content. */
export function addRoute(
  app: FastifyInstance,
  log: LogAppend,
  access: WriteAccess,
  rate: onRequestAsyncHookHandler | null,
  refuse: Refuse,
): void {
  const rules: BodyRules = {
    maxBytes: ENTRY_MAX_BYTES,
    tooLarge: "entry_too_large",
    // No bound for each client: behind a proxy without a configured header all clients are one.
    budget: new ReceiveBudget(ADD_RECEIVE_MAX_BYTES, ADD_RECEIVE_MAX_BYTES),
  };

  app.post("/add", rate === null ? {} : { onRequest: rate }, (request, reply) => {
    reply.hijack();
    const raw = request.raw;
    const res = reply.raw;
    try {
      access.authorize(raw);
      checkBodyHeaders(raw, rules);
      log.checkAdmission();
      const withProof = booleanParameter(request.query, "proof");
      // Only looked at, since a slow body must not hold a place: it is taken when the body is here.
      if (withProof) log.reserveProof().release();

      readBody(
        raw,
        res,
        rules,
        () => access.client(raw),
        (error, entry) => {
          try {
            if (error !== null) throw error;
            if (entry.length === 0) throw new CairnError("entry_empty");
            if (withProof) addWithProof(log, entry, raw, res, refuse);
            else addEntry(log, entry, raw, res, refuse);
          } catch (cause) {
            refuse(raw, res, cause);
          }
        },
      );
    } catch (error) {
      refuse(raw, res, error);
    }
  });
}

function addEntry(
  log: LogAppend,
  entry: Uint8Array,
  raw: IncomingMessage,
  res: ServerResponse,
  refuse: Refuse,
): void {
  log.add(entry, (error, receipt) => {
    if (receipt === null) refuse(raw, res, error);
    else if (namesJson(raw.headers.accept)) send(res, 200, JSON_HEADERS, receiptJson(receipt));
    else send(res, 200, TEXT_HEADERS, String(receipt.index));
  });
}

function addWithProof(
  log: LogAppend,
  entry: Uint8Array,
  raw: IncomingMessage,
  res: ServerResponse,
  refuse: Refuse,
): void {
  const ticket = log.reserveProof();
  try {
    log.add(entry, (error, receipt) => {
      if (receipt === null) {
        ticket.release();
        refuse(raw, res, error);
        return;
      }
      log
        .awaitProof(ticket, receipt)
        .then((proof) => send(res, 200, TEXT_HEADERS, proof))
        .catch((cause) => refuse(raw, res, cause));
    });
  } catch (error) {
    ticket.release();
    throw error;
  }
}

/** A receipt as JSON. Written out, since a batch has thousands. */
export function receiptJson(receipt: Receipt): string {
  const { index, leafHash, duplicate } = receipt;
  const bytes = Buffer.from(leafHash.buffer, leafHash.byteOffset, leafHash.length);
  return `{"index":${index},"leafHash":"${bytes.toString("base64")}","duplicate":${duplicate}}`;
}
