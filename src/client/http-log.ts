// A log read over HTTP (c2sp.org/tlog-tiles): its checkpoint, verified with the keys and the policy that the reader trusts,
// and trees of which every hash and entry leads to a verified root.

import { toSafeSize } from "../core/checkpoint.ts";
import { CairnError } from "../core/errors.ts";
import type { Hash, TreeHasher } from "../core/hash.ts";
import { NOTE_MAX_BYTES, parseNote } from "../core/note.ts";
import {
  type CheckpointTrust,
  type CosignatureTime,
  verifyCheckpoint,
  type VerifyCheckpointOptions,
} from "../core/policy.ts";
import { TILE_WIDTH } from "../core/tile.ts";
import { ENTRY_FRAME_BYTES, ENTRY_MAX_BYTES } from "../core/bundle.ts";
import { isRecord, parseJson, requester, type RequestOptions } from "./request.ts";
import { createTileCache, DEFAULT_CACHE_BYTES } from "./tile-cache.ts";
import type { TileSource } from "./tile-source.ts";
import { type TreeHead, type VerifiedTree, verifiedTree } from "./verified-tree.ts";

export interface HttpLogOptions extends RequestOptions {
  readonly trust: CheckpointTrust;
  readonly hasher: TreeHasher;
  /** The origin to accept; without it, every log of the policy. */
  readonly origin?: string;
  /** For full tiles that were verified. */
  readonly cacheBytes?: number;
}

/** A checkpoint that was verified, with the bytes of its note. */
export interface TrustedHead extends TreeHead {
  readonly origin: string;
  readonly size: number;
  readonly root: Hash;
  /** As the log sent it. */
  readonly note: Uint8Array;
  /** The witnesses of the policy that cosigned it. */
  readonly cosignatures: readonly CosignatureTime[];
}

export interface HttpLog {
  /** The URL prefix, without a final slash. */
  readonly url: string;
  /**
   * The newest checkpoint. Throws `not_published_yet` where the log has none, whatever `verifyCheckpoint` throws where it
   * is not to be trusted, `unsafe_integer` for a size of 2^53 or more, `unreachable` and what the log itself refused with.
   */
  head(): Promise<TrustedHead>;
  /** The tree of a head of this log, read tile by tile as it is asked for. */
  tree(head: TreeHead): VerifiedTree;
}

const BUNDLE_MAX_BYTES = TILE_WIDTH * (ENTRY_FRAME_BYTES + ENTRY_MAX_BYTES);
const LOG_JSON_MAX_BYTES = 2 * 1024 * 1024;

// Node's fetch asks for gzip by itself, which costs more processor time than it saves where bundles are read in bulk.
const PLAIN = { "accept-encoding": "identity" };

export function httpLog(options: HttpLogOptions): HttpLog {
  const { trust, hasher, origin, cacheBytes = DEFAULT_CACHE_BYTES } = options;
  const source = httpTileSource(options);
  const cache = createTileCache(cacheBytes);
  return {
    url: requester(options).url,
    async head() {
      const note = await source.get("checkpoint");
      if (note === null) throw new CairnError("not_published_yet");
      return openHead(note, trust, origin === undefined ? {} : { origin });
    },
    tree: (head) => verifiedTree({ head, source, cache, hasher }),
  };
}

/**
 * The objects of a log over HTTP, as they come and unverified: for `httpLog`, and for `fsck`, which checks them all. 404 is
 * null; a log that does not answer, or refuses, throws.
 */
export function httpTileSource(options: RequestOptions): TileSource {
  const http = requester(options);
  return {
    async get(path) {
      const maxBytes = path.startsWith("tile/") ? BUNDLE_MAX_BYTES : NOTE_MAX_BYTES;
      return await http.find(path, { headers: PLAIN, maxBytes });
    },
  };
}

/** A signed note as a trusted head. Throws like `HttpLog.head`, from `bad_note` on. */
export function openHead(
  note: Uint8Array,
  trust: CheckpointTrust,
  options: VerifyCheckpointOptions = {},
): TrustedHead {
  const { checkpoint, cosignatures } = verifyCheckpoint(parseNote(note), trust, options);
  const { origin, root } = checkpoint;
  return { origin, size: toSafeSize(checkpoint.size), root, note, cosignatures };
}

/** What a log says of itself at `/log.json`: to be compared with what its operator publishes elsewhere, then pinned. */
export interface LogDescription {
  readonly origin: string;
  readonly vkeys: readonly string[];
  /** A tlog-policy, or null where the log has no witnesses. */
  readonly policy: string | null;
}

/** Throws `unexpected_answer` where the answer is not a log's description, `unreachable`. */
export async function describeLog(options: RequestOptions): Promise<LogDescription> {
  const http = requester(options);
  const { bytes } = await http.request("log.json", { maxBytes: LOG_JSON_MAX_BYTES });
  const value = parseJson(bytes);
  if (isRecord(value)) {
    const { origin, vkeys, policy } = value;
    const keysAreText = Array.isArray(vkeys) && vkeys.every((vkey) => typeof vkey === "string");
    if (typeof origin === "string" && keysAreText && (policy === null || typeof policy === "string")) {
      return { origin, vkeys, policy };
    }
  }
  throw new CairnError("unexpected_answer", { detail: `${http.url}/log.json` });
}
