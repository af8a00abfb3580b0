// The public entry `cairn-log/client`: reading, verifying, checking and submitting to a log over HTTP, in Node and in a
// browser. Hashing and signatures are values handed in: `cairn-log` exports portable ones.
export {
  type Difference,
  DEFAULT_CONCURRENCY,
  DEFAULT_MAX_DIFFERENCES,
  fsck,
  type FsckOptions,
  type FsckProgress,
  type FsckReport,
} from "./fsck.ts";
export {
  describeLog,
  type HttpLog,
  httpLog,
  type HttpLogOptions,
  httpTileSource,
  type LogDescription,
  openHead,
  type TrustedHead,
} from "./http-log.ts";
export {
  type Clock,
  DEFAULT_RETRY,
  DEFAULT_TIMEOUT_MS,
  type Fetch,
  type RequestOptions,
  type RetryPolicy,
} from "./request.ts";
export {
  BATCH_MAX_BYTES,
  BATCH_MAX_ENTRIES,
  batches,
  type Receipt,
  type Submitter,
  submitter,
  type SubmitterOptions,
} from "./submit.ts";
export { createTileCache, DEFAULT_CACHE_BYTES, type TileCache } from "./tile-cache.ts";
export type { TileSource } from "./tile-source.ts";
export { type CheckedHead, checkHead } from "./verify.ts";
export { type TreeHead, type VerifiedTree, verifiedTree, type VerifiedTreeOptions } from "./verified-tree.ts";
