// What the machine itself can do, in a process of its own: bare Fastify routes without hooks, and appends to a file. The
// log's figures are divided by these, measured in the same run with the same load generator.

import { hash } from "node:crypto";
import { closeSync, fdatasyncSync, openSync, unlinkSync, writeSync } from "node:fs";
import { join } from "node:path";
import fastify, { type FastifyReply } from "fastify";
import { answerCalls } from "./child.ts";

const HOLD_MS = 5;
const TILE_BYTES = 8192;
const APPEND_BYTES = 4096;
const BODY_LIMIT = 8 * 1024 * 1024;
const LENGTH_BYTES = 2;

export interface CeilingMethods {
  /** Starts the routes `POST /held`, `POST /hashed` and `GET /tile` on loopback; answers the port. */
  listen(host: string): number;
  /** Appends 4 KiB with fdatasync to a new file, for so many seconds; answers milliseconds an append. */
  append(options: { readonly folder: string; readonly seconds: number }): Float64Array;
}

answerCalls<CeilingMethods>({ listen, append });

async function listen(host: string): Promise<number> {
  const app = fastify({ logger: false, bodyLimit: BODY_LIMIT });
  app.removeAllContentTypeParsers();
  app.addContentTypeParser("*", { parseAs: "buffer" }, (_request, body, done) => done(null, body));

  // As a group commit does: the first to come starts the wait, and all that came meanwhile are answered together.
  let held: FastifyReply[] = [];
  app.post("/held", (_request, reply) => {
    held.push(reply);
    if (held.length > 1) return;
    setTimeout(() => {
      const answered = held;
      held = [];
      for (const each of answered) each.send("123456");
    }, HOLD_MS);
  });

  app.post("/hashed", (request, reply) => {
    const body = request.body as Buffer;
    const hashes: Buffer[] = [];
    for (let at = 0; at < body.length; ) {
      const start = at + LENGTH_BYTES;
      at = start + body.readUInt16BE(at);
      hashes.push(hash("sha256", body.subarray(start, at), "buffer"));
    }
    reply.send(String(hashes.length));
  });

  const tile = Buffer.alloc(TILE_BYTES, 0x5a);
  app.get("/tile", (_request, reply) => {
    reply.send(tile);
  });

  await app.listen({ host, port: 0 });
  const address = app.server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

function append({ folder, seconds }: { readonly folder: string; readonly seconds: number }): Float64Array {
  const path = join(folder, "append");
  const bytes = Buffer.alloc(APPEND_BYTES, 0xa5);
  const file = openSync(path, "wx");
  const latencies: number[] = [];
  try {
    const end = performance.now() + seconds * 1000;
    for (let now = performance.now(); now < end || latencies.length === 0; ) {
      writeSync(file, bytes);
      fdatasyncSync(file);
      const after = performance.now();
      latencies.push(after - now);
      now = after;
    }
  } finally {
    closeSync(file);
    unlinkSync(path);
  }
  return Float64Array.from(latencies);
}
