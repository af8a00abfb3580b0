// The deduplication table on disk: saved every so often beside the database with the size it covers, so that a start
// reads only what came after. It may be lost, old or damaged: then it is made again from level-0 tiles and rows.
//
// Layout, big-endian: magic, database id, table key, covered size, segment count; then each segment's depth, prefix,
// capacity, count, CRC-32 and slots as they are in memory. A header of 88 bytes ends with its own CRC-32.

import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { writeFileDurable } from "../storage/durable.ts";
import { LeafTable, newSegment, segmentBytes } from "./leaf-table.ts";
import type { Segment } from "./leaf-table.ts";

const MAGIC = "CRNLEAF1";
const HEADER_BYTES = 88;
const SEGMENT_HEADER_BYTES = 24;
const MAX_SEGMENT_CAPACITY = 65_536;
/** 16-bit marker in the header: typed arrays are saved as this machine holds them. */
const NATIVE_ORDER = 0x0102;

export function tablePath(databasePath: string): string {
  return `${databasePath}.dedup`;
}

export interface SavedTable {
  readonly table: LeafTable;
  /** Every index below this is in the table. */
  readonly covered: number;
}

/** Saves the table as it stands; entries that are added meanwhile may or may not be in what is saved. */
export async function saveTable(
  path: string,
  table: LeafTable,
  databaseId: string,
  covered: number,
): Promise<void> {
  await writeFileDurable(path, chunks(table, databaseId, covered), { mode: 0o600 });
}

async function* chunks(table: LeafTable, databaseId: string, covered: number): AsyncGenerator<Uint8Array> {
  const header = Buffer.alloc(HEADER_BYTES);
  header.write(MAGIC, 0, "latin1");
  header.write(databaseId, 8, "hex");
  header.set(table.key, 24);
  header.writeBigUInt64BE(BigInt(covered), 56);
  header.set(new Uint8Array(Uint16Array.of(NATIVE_ORDER).buffer), 64);
  header.writeUInt32BE(crc32(header.subarray(0, HEADER_BYTES - 4)), HEADER_BYTES - 4);
  yield header;
  for (const segment of table.segments()) {
    // A copy, so that a chunk is one state of the segment however long its write takes.
    const slots = new Uint8Array(segment.buffer.slice(0));
    const head = Buffer.alloc(SEGMENT_HEADER_BYTES);
    head.writeUInt32BE(segment.depth, 0);
    head.writeUInt32BE(segment.prefix, 4);
    head.writeUInt32BE(segment.capacity, 8);
    head.writeUInt32BE(segment.count, 12);
    head.writeUInt32BE(crc32(slots), 16);
    head.writeUInt32BE(crc32(head.subarray(0, 20)), 20);
    yield head;
    yield slots;
  }
}

/** The saved table, or null where there is none that can be used for that database up to `nextIndex`. */
export async function loadTable(
  path: string,
  databaseId: string,
  nextIndex: number,
): Promise<SavedTable | null> {
  const handle = await open(path, "r").catch(() => null);
  if (handle === null) return null;
  try {
    const header = Buffer.alloc(HEADER_BYTES);
    if ((await handle.read(header, 0, HEADER_BYTES, 0)).bytesRead !== HEADER_BYTES) return null;
    if (header.readUInt32BE(HEADER_BYTES - 4) !== crc32(header.subarray(0, HEADER_BYTES - 4))) return null;
    if (header.toString("latin1", 0, 8) !== MAGIC || header.toString("hex", 8, 24) !== databaseId)
      return null;
    const order = new Uint8Array(Uint16Array.of(NATIVE_ORDER).buffer);
    if (header[64] !== order[0] || header[65] !== order[1]) return null;
    const covered = Number(header.readBigUInt64BE(56));
    // A table that knows more than the database belongs to a later state of it.
    if (covered > nextIndex) return null;
    const segments = await readSegments(path);
    if (segments === null) return null;
    return { table: new LeafTable(header.subarray(24, 56), segments), covered };
  } catch {
    return null;
  } finally {
    await handle.close();
  }
}

async function readSegments(path: string): Promise<Segment[] | null> {
  const segments: Segment[] = [];
  const head = Buffer.alloc(SEGMENT_HEADER_BYTES);
  let headFill = 0;
  let slots: Buffer | null = null;
  let slotsFill = 0;
  for await (const piece of createReadStream(path, { start: HEADER_BYTES, highWaterMark: 1024 * 1024 })) {
    const chunk = piece as Buffer;
    for (let at = 0; at < chunk.length; ) {
      if (slots === null) {
        const take = Math.min(SEGMENT_HEADER_BYTES - headFill, chunk.length - at);
        chunk.copy(head, headFill, at, at + take);
        headFill += take;
        at += take;
        if (headFill < SEGMENT_HEADER_BYTES) continue;
        if (head.readUInt32BE(20) !== crc32(head.subarray(0, 20))) return null;
        const capacity = head.readUInt32BE(8);
        if (capacity === 0 || capacity > MAX_SEGMENT_CAPACITY) return null;
        slots = Buffer.from(new ArrayBuffer(segmentBytes(capacity)));
        slotsFill = 0;
      }
      const take = Math.min(slots.length - slotsFill, chunk.length - at);
      chunk.copy(slots, slotsFill, at, at + take);
      slotsFill += take;
      at += take;
      if (slotsFill < slots.length) continue;
      if (crc32(slots) !== head.readUInt32BE(16)) return null;
      segments.push(
        newSegment(
          head.readUInt32BE(0),
          head.readUInt32BE(4),
          head.readUInt32BE(8),
          slots.buffer as ArrayBuffer,
          head.readUInt32BE(12),
        ),
      );
      slots = null;
      headFill = 0;
    }
  }
  return headFill === 0 && slots === null && segments.length > 0 ? segments : null;
}
