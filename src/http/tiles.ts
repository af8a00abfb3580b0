// Tiles and entry bundles, after tlog-tiles: strict paths, immutable bytes. The hottest reads of a log, so the way from
// the request to cached bytes has no promise, hook or serialisation in it.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";
import { CairnError, isCairnError } from "../core/errors.ts";
import { parseTilePath, type TileCoordinate } from "../core/tile-path.ts";
import type { LogRead, ReadObject } from "../log/api.ts";
import { etagMatches, gzipEtag, prefersGzip } from "./negotiate.ts";
import { pathOf } from "./parameters.ts";
import type { Refuse } from "./refuse.ts";
import { SEND_STALL_MS } from "./limits.ts";
import { BYTES_TYPE, CORS, send, sendNotModified } from "./send.ts";

const IMMUTABLE = "public, max-age=31536000, immutable";

/** `GET /tile/<L>/<N>[.p/<W>]` and `GET /tile/entries/<N>[.p/<W>]`. */
export function tileRoutes(app: FastifyInstance, log: LogRead, refuse: Refuse): void {
  app.get("/tile/*", (request, reply) => {
    reply.hijack();
    const raw = request.raw;
    const res = reply.raw;
    try {
      const coordinate = parseTarget(raw.url ?? "");
      const level = coordinate.kind === "tile" ? coordinate.level : 0;
      const object = log.read(coordinate.kind, level, coordinate.index, coordinate.width);
      if (object instanceof Promise) {
        object
          .then((bytes) => serve(raw, res, coordinate, bytes, refuse))
          .catch((error) => refuse(raw, res, error));
      } else {
        serve(raw, res, coordinate, object, refuse);
      }
    } catch (error) {
      refuse(raw, res, error);
    }
  });
}

/** Whether `path` is within the tile tree, where a malformed path is `bad_path`. */
export function isTilePath(path: string): boolean {
  return path.startsWith("/tile/");
}

// The router decodes what it matches, and a path has one spelling: so it is parsed as it was sent.
function parseTarget(url: string): TileCoordinate {
  const path = pathOf(url).slice(1);
  try {
    return parseTilePath(path);
  } catch (error) {
    // The specification sets no end to indices, so one of 2^53 or more is well-formed and merely beyond every log.
    if (isCairnError(error, "bad_path") && LARGE_INDEX.test(path)) throw new CairnError("not_published");
    throw error;
  }
}

const LARGE_INDEX =
  /^tile\/(?:entries|[0-9]|[1-5][0-9]|6[0-3])\/x(?!000)[0-9]{3}\/(?:x[0-9]{3}\/){4,}[0-9]{3}(?:\.p\/(?:[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5]))?$/;

function serve(
  raw: IncomingMessage,
  res: ServerResponse,
  coordinate: TileCoordinate,
  object: ReadObject,
  refuse: Refuse,
): void {
  if (coordinate.kind === "entries") {
    serveBundle(raw, res, object, refuse);
    return;
  }
  const { bytes, etag } = object;
  if (etagMatches(raw.headers["if-none-match"], etag)) {
    sendNotModified(res, ["Cache-Control", IMMUTABLE, "ETag", etag]);
    return;
  }
  // Written out, since this is the route that a CDN or a thousand monitors ask.
  res.writeHead(200, [
    "Content-Type",
    BYTES_TYPE,
    "Content-Length",
    String(bytes.length),
    "Cache-Control",
    IMMUTABLE,
    "ETag",
    etag,
    ...CORS,
  ]);
  res.end(bytes);
}

function serveBundle(raw: IncomingMessage, res: ServerResponse, object: ReadObject, refuse: Refuse): void {
  const compress = object.gzip !== undefined && prefersGzip(raw.headers["accept-encoding"]);
  const etag = compress ? gzipEtag(object.etag) : object.etag;
  const headers = ["Cache-Control", IMMUTABLE, "ETag", etag, "Vary", "Accept-Encoding"];
  if (etagMatches(raw.headers["if-none-match"], etag)) {
    sendNotModified(res, headers);
    return;
  }
  headers.push("Content-Type", BYTES_TYPE);
  // A bundle can have 16 MiB, and what a client does not read is held for it: one that stops reading is cut off.
  res.setTimeout(SEND_STALL_MS, () => res.destroy());
  if (!compress || object.gzip === undefined) {
    send(res, 200, headers, object.bytes);
    return;
  }
  object
    .gzip()
    .then((bytes) => send(res, 200, [...headers, "Content-Encoding", "gzip"], bytes))
    .catch((error) => refuse(raw, res, error));
}
