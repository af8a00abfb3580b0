// Rows that are acknowledged and not yet integrated, in order. Up to 32 MiB are held in memory; what comes beyond that
// is left to the database and read back over its second connection when its turn comes.

import type { BulkHasher } from "../core/bulk-hasher.ts";
import { bundleOffsets } from "../core/bundle.ts";
import { equalBytes } from "../core/bytes.ts";
import { CairnError } from "../core/errors.ts";
import { HASH_BYTES } from "../core/hash.ts";
import type { Row, State } from "../state/state.ts";

/** Bytes of rows held in memory at most. */
export const BACKLOG_MEMORY_BYTES = 32 * 1024 * 1024;
const READ_BACK_BYTES = 8 * 1024 * 1024;
/** Entries and bytes of a row that are checked before requests get a turn. */
const CHECK_ENTRIES = 1000;
const CHECK_BYTES = 512 * 1024;
const LENGTH_BYTES = 2;

export class Backlog {
  readonly #state: Pick<State, "readRows">;
  readonly #hasher: BulkHasher;
  /** Consecutive rows; the first one holds the next index to be integrated. */
  readonly #rows: Row[] = [];
  #bytes = 0;
  /** Where the rows in memory end. Below `#end`, the rows in between are in the database only. */
  #held: number;
  /** One past the newest acknowledged entry. */
  #end: number;

  constructor(state: Pick<State, "readRows">, nextIndex: number, hasher: BulkHasher) {
    this.#state = state;
    this.#hasher = hasher;
    this.#held = nextIndex;
    this.#end = nextIndex;
  }

  /** Rows from `index` on are still to be integrated, although they were committed before this process. */
  resumeAt(index: number): void {
    if (index < this.#end) this.#held = index;
  }

  get end(): number {
    return this.#end;
  }

  /** Takes a committed row. */
  push(row: Row): void {
    if (row.first !== this.#end)
      throw new CairnError("internal", { detail: `row ${row.first} after ${this.#end}` });
    this.#end = row.first + row.count;
    if (this.#held !== row.first || this.#bytes >= BACKLOG_MEMORY_BYTES) return;
    this.#hold(row);
  }

  /**
   * The row that holds `index`, from memory or read back; `index` is below `end`. Throws `row_damaged` where what was
   * read back is not what was committed: nobody else would notice before its bundle is public for ever.
   */
  async rowAt(index: number): Promise<Row> {
    for (;;) {
      const first = this.#rows[0];
      if (first !== undefined && index >= first.first + first.count) {
        this.#rows.shift();
        this.#bytes -= held(first);
        continue;
      }
      if (first !== undefined && index >= first.first) return first;
      if (first !== undefined)
        throw new CairnError("internal", { detail: `index ${index} was integrated before` });
      const read = await this.#state.readRows(index, READ_BACK_BYTES);
      for (const row of read) await checkRow(row, this.#hasher);
      // Rows that were committed while this read was under way may have been held since.
      if (this.#rows.length > 0) continue;
      if (read[0] === undefined) throw new CairnError("internal", { detail: `no row holds index ${index}` });
      for (const row of read) this.#hold(row);
    }
  }

  /** The leaf hash of an index that a held row has, else null. */
  leafHash(index: number): Uint8Array | null {
    let low = 0;
    let high = this.#rows.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const row = this.#rows[middle] as Row;
      if (index < row.first) high = middle - 1;
      else if (index >= row.first + row.count) low = middle + 1;
      else return row.hashes.subarray((index - row.first) * HASH_BYTES, (index - row.first + 1) * HASH_BYTES);
    }
    return null;
  }

  #hold(row: Row): void {
    this.#rows.push(row);
    this.#bytes += held(row);
    this.#held = row.first + row.count;
  }
}

/** True where the leaf hash at `offset` of `hashes` is `hash`. */
export function sameLeaf(hashes: Uint8Array, offset: number, hash: Uint8Array): boolean {
  return equalBytes(hashes.subarray(offset, offset + HASH_BYTES), hash);
}

/** Hashes the entries of a row again, in slices. */
async function checkRow(row: Row, hasher: BulkHasher): Promise<void> {
  const damaged = (index: number, cause?: unknown): CairnError =>
    new CairnError("row_damaged", { detail: `index ${index}`, cause });
  let offsets: ArrayLike<number>;
  try {
    offsets = bundleOffsets(row.bytes, row.count);
  } catch (cause) {
    throw damaged(row.first, cause);
  }
  const hash = Buffer.alloc(HASH_BYTES);
  let sliceBytes = 0;
  for (let i = 0; i < row.count; i++) {
    const start = offsets[i] as number;
    const end = offsets[i + 1] as number;
    hasher.leafInto(row.bytes, start + LENGTH_BYTES, end, hash, 0);
    if (!sameLeaf(row.hashes, i * HASH_BYTES, hash)) throw damaged(row.first + i);
    sliceBytes += end - start;
    if (sliceBytes < CHECK_BYTES && (i + 1) % CHECK_ENTRIES !== 0) continue;
    sliceBytes = 0;
    await new Promise<void>((resolve) => setImmediate(resolve));
  }
}

function held(row: Row): number {
  return row.bytes.buffer.byteLength + row.hashes.buffer.byteLength;
}
