// The deduplication table: from a fingerprint of a leaf hash to the indices that may hold it. It only ever suggests; a
// hit is confirmed against all 32 bytes of the log's own leaf hash, so a lost or stale table costs time, never truth.
//
// Extendible hashing over small open-addressed segments: growing touches one segment (8,192 slots at most), and each has
// thresholds of its own, so that not all of them grow within the same few thousand entries. No step stands out, and memory
// follows the entries instead of doubling: 14 bytes a slot at about two thirds full, some 21 B an entry.

import { CairnError } from "../core/errors.ts";

const FIRST_CAPACITY = 1024;
const MAX_CAPACITY = 8192;
/** A segment grows above a fill from this one on, up to the spread above it: which one, its place in the table says. */
const MAX_FILL = 0.66;
const MAX_FILL_SPREAD = 0.16;
const GROWTH = 1.25;
/** The fill of the two halves right after a split, likewise. */
const SPLIT_FILL = 0.56;
const SPLIT_FILL_SPREAD = 0.1;
const MAX_INDEX = 2 ** 48;
const KEY_WORDS = 8;
export const TABLE_KEY_BYTES = KEY_WORDS * 4;
const SLOT_BYTES = 14;

/** 64 bits as two unsigned words. `high` chooses the segment, `low` the place in it. */
export interface Fingerprint {
  high: number;
  low: number;
}

/** The slots of all fingerprints whose first `depth` bits are those of `prefix` (left-aligned). */
export interface Segment {
  readonly depth: number;
  readonly prefix: number;
  readonly capacity: number;
  count: number;
  /** All slots in one buffer, so that a segment is saved and loaded as it is. */
  readonly buffer: ArrayBuffer;
  readonly high: Uint32Array;
  readonly low: Uint32Array;
  readonly indexLow: Uint32Array;
  readonly indexHigh: Uint16Array;
}

export class LeafTable {
  /** 32 random bytes: without them nobody can choose entries whose fingerprints collide. */
  readonly key: Uint8Array;
  readonly #words: Uint32Array;
  #directory: Segment[];
  #depth = 0;
  #count = 0;

  constructor(key: Uint8Array, segments?: readonly Segment[]) {
    if (key.length !== TABLE_KEY_BYTES) throw new RangeError(`a table key is ${TABLE_KEY_BYTES} bytes`);
    this.key = key.slice();
    const view = new DataView(this.key.buffer, this.key.byteOffset, TABLE_KEY_BYTES);
    this.#words = Uint32Array.from({ length: KEY_WORDS }, (_, i) => view.getUint32(i * 4) | 1);
    this.#directory = [newSegment(0, 0, FIRST_CAPACITY)];
    if (segments !== undefined) this.#load(segments);
  }

  /** Fingerprints in the table. */
  get count(): number {
    return this.#count;
  }

  /** Bytes of all slots, for metrics and tests. */
  get bytes(): number {
    let sum = 0;
    for (const segment of this.segments()) sum += segment.buffer.byteLength;
    return sum;
  }

  /** Each segment once, by ascending prefix. Segments may split while a caller iterates: none is then missed. */
  *segments(): Generator<Segment> {
    for (let position = 0; position < 2 ** 32; ) {
      const segment = this.#segment(position);
      yield segment;
      position = segment.prefix + 2 ** (32 - segment.depth);
    }
  }

  /**
   * Writes to `into` the keyed fingerprint of the 32-byte leaf hash at `offset`: two multilinear hashes of its first 16
   * bytes under secret odd multipliers. (0, 0) marks an empty slot and is never given.
   */
  fingerprint(hashes: Uint8Array, offset: number, into: Fingerprint): void {
    const k = this.#words;
    let high = 0;
    let low = 0;
    for (let i = 0; i < 4; i++) {
      const at = offset + i * 4;
      const word =
        ((hashes[at] as number) << 24) |
        ((hashes[at + 1] as number) << 16) |
        ((hashes[at + 2] as number) << 8) |
        (hashes[at + 3] as number);
      high = (high + Math.imul(word, k[i] as number)) | 0;
      low = (low + Math.imul(word, k[4 + i] as number)) | 0;
    }
    into.high = high >>> 0;
    into.low = high === 0 && low === 0 ? 1 : low >>> 0;
  }

  /** The first index under that fingerprint at or after `skip` earlier ones; -1 where there is none. */
  find(fingerprint: Fingerprint, skip: number): number {
    const segment = this.#segment(fingerprint.high);
    const { capacity, high, low } = segment;
    let left = skip;
    for (let slot = slotOf(fingerprint.low, capacity); ; slot = slot + 1 === capacity ? 0 : slot + 1) {
      const slotHigh = high[slot] as number;
      const slotLow = low[slot] as number;
      if (slotHigh === 0 && slotLow === 0) return -1;
      if (slotHigh === fingerprint.high && slotLow === fingerprint.low && left-- === 0)
        return indexAt(segment, slot);
    }
  }

  /** Adds an index. The same pair again changes nothing, so a replay may overlap what a saved table holds. */
  insert(fingerprint: Fingerprint, index: number): void {
    if (!(index >= 0 && index < MAX_INDEX))
      throw new CairnError("unsafe_integer", { detail: `index ${index}` });
    let segment = this.#segment(fingerprint.high);
    if (segment.count + 1 > segment.capacity * maxFill(segment)) {
      this.#grow(segment);
      segment = this.#segment(fingerprint.high);
    }
    if (put(segment, fingerprint.high, fingerprint.low, index)) this.#count++;
  }

  #segment(high: number): Segment {
    return this.#directory[this.#depth === 0 ? 0 : high >>> (32 - this.#depth)] as Segment;
  }

  #grow(segment: Segment): void {
    const larger = Math.ceil(segment.capacity * GROWTH);
    if (larger <= MAX_CAPACITY) {
      const grown = newSegment(segment.depth, segment.prefix, larger);
      for (let slot = 0; slot < segment.capacity; slot++) move(segment, slot, grown);
      this.#place(grown);
      return;
    }
    const capacity = Math.ceil(segment.count / 2 / splitFill(segment));
    const depth = segment.depth + 1;
    if (depth > 32)
      throw new CairnError("internal", { detail: "the deduplication table cannot split further" });
    const bit = 2 ** (32 - depth);
    const left = newSegment(depth, segment.prefix, capacity);
    const right = newSegment(depth, segment.prefix + bit, capacity);
    const unsplit: number[] = [];
    for (let slot = 0; slot < segment.capacity; slot++) {
      const to = (segment.high[slot] as number) >= right.prefix ? right : left;
      if (to.count < to.capacity * 0.95) move(segment, slot, to);
      else unsplit.push(slot);
    }
    if (depth > this.#depth) {
      // Every pointer stands twice in a directory of double length.
      this.#directory = this.#directory.flatMap((each) => [each, each]);
      this.#depth = depth;
    }
    this.#place(left);
    this.#place(right);
    // A very uneven split is next to impossible under a secret key; what did not fit goes the ordinary way.
    for (const slot of unsplit) {
      this.#count--;
      this.insert(
        { high: segment.high[slot] as number, low: segment.low[slot] as number },
        indexAt(segment, slot),
      );
    }
  }

  #place(segment: Segment): void {
    const span = 2 ** (this.#depth - segment.depth);
    const from = this.#depth === 0 ? 0 : segment.prefix >>> (32 - this.#depth);
    this.#directory.fill(segment, from, from + span);
  }

  #load(segments: readonly Segment[]): void {
    this.#depth = segments.reduce((depth, segment) => Math.max(depth, segment.depth), 0);
    this.#directory = new Array<Segment>(2 ** this.#depth);
    let position = 0;
    for (const segment of segments) {
      if (segment.prefix !== position) throw new RangeError("the segments do not follow one another");
      this.#place(segment);
      this.#count += segment.count;
      position += 2 ** (32 - segment.depth);
    }
    if (position !== 2 ** 32) throw new RangeError("the segments do not cover the table");
  }
}

/** A segment over `buffer` (as a saved one), or an empty one. */
export function newSegment(
  depth: number,
  prefix: number,
  capacity: number,
  buffer?: ArrayBuffer,
  count = 0,
): Segment {
  const slots = buffer ?? new ArrayBuffer(segmentBytes(capacity));
  if (slots.byteLength !== segmentBytes(capacity))
    throw new RangeError("the buffer does not fit the capacity");
  return {
    depth,
    prefix,
    capacity,
    count,
    buffer: slots,
    high: new Uint32Array(slots, 0, capacity),
    low: new Uint32Array(slots, capacity * 4, capacity),
    indexLow: new Uint32Array(slots, capacity * 8, capacity),
    indexHigh: new Uint16Array(slots, capacity * 12, capacity),
  };
}

export function segmentBytes(capacity: number): number {
  return capacity * SLOT_BYTES;
}

function maxFill(segment: Segment): number {
  return MAX_FILL + MAX_FILL_SPREAD * spread(segment, 0x9e3779b1);
}

function splitFill(segment: Segment): number {
  return SPLIT_FILL + SPLIT_FILL_SPREAD * spread(segment, 0x85ebca6b);
}

/** From 0 to below 1, evenly over the segments of a table, always the same for one. `factor` is odd. */
function spread({ prefix, depth }: Segment, factor: number): number {
  return (Math.imul((prefix >>> 8) + depth, factor) >>> 0) / 2 ** 32;
}

function slotOf(low: number, capacity: number): number {
  return Math.floor((low / 2 ** 32) * capacity);
}

function indexAt(segment: Segment, slot: number): number {
  return (segment.indexHigh[slot] as number) * 2 ** 32 + (segment.indexLow[slot] as number);
}

function move(from: Segment, slot: number, to: Segment): void {
  const high = from.high[slot] as number;
  const low = from.low[slot] as number;
  if (high !== 0 || low !== 0) put(to, high, low, indexAt(from, slot));
}

/** False where the pair was there already. */
function put(segment: Segment, high: number, low: number, index: number): boolean {
  const { capacity } = segment;
  for (let slot = slotOf(low, capacity); ; slot = slot + 1 === capacity ? 0 : slot + 1) {
    const slotHigh = segment.high[slot] as number;
    const slotLow = segment.low[slot] as number;
    if (slotHigh === 0 && slotLow === 0) {
      segment.high[slot] = high;
      segment.low[slot] = low;
      segment.indexLow[slot] = index % 2 ** 32;
      segment.indexHigh[slot] = Math.floor(index / 2 ** 32);
      segment.count++;
      return true;
    }
    if (slotHigh === high && slotLow === low && indexAt(segment, slot) === index) return false;
  }
}
