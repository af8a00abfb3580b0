// Writing a response in one go: status, headers and body reach the socket together, past Fastify's reply, whose
// serialisation and hooks these routes do not use. HEAD needs nothing: Node drops the body and keeps its length.

import type { ServerResponse } from "node:http";

export const TEXT_TYPE = "text/plain; charset=utf-8";
export const JSON_TYPE = "application/json";
export const BYTES_TYPE = "application/octet-stream";

/** Every answer may be read by any page: nothing here depends on a cookie or on where the request comes from. */
export const CORS = ["Access-Control-Allow-Origin", "*"] as const;

/**
 * Sends `body` with `headers` (names and values in turn; Content-Length and CORS are added). A peer that is gone gets
 * nothing, and that is no error. A string must be ASCII.
 */
export function send(
  res: ServerResponse,
  status: number,
  headers: readonly string[],
  body: Uint8Array | string,
): void {
  res.writeHead(status, [...headers, "Content-Length", String(body.length), ...CORS]);
  res.end(body, "latin1");
}

/** 304: the headers that a 200 would have had, without those of the body. */
export function sendNotModified(res: ServerResponse, headers: readonly string[]): void {
  res.writeHead(304, [...headers, ...CORS]);
  res.end();
}

/** JSON with the given status. */
export function sendJson(
  res: ServerResponse,
  status: number,
  headers: readonly string[],
  value: unknown,
): void {
  send(res, status, ["Content-Type", JSON_TYPE, ...headers], Buffer.from(JSON.stringify(value)));
}
