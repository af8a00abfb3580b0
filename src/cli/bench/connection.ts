// One keep-alive HTTP/1.1 connection of the load generator, with one request in flight. It reads of an answer what a
// measure needs, status and Content-Length, so that the generator costs much less than the server that it measures.

import { connect, type Socket } from "node:net";

/** `bytes[start, end)` is the body, valid during the call; where the body is not kept, `start` equals `end`. */
export type OnAnswer = (
  connection: Connection,
  status: number,
  bytes: Uint8Array,
  start: number,
  end: number,
) => void;

export interface ConnectionOptions {
  readonly host: string;
  readonly port: number;
  /** Whether the caller reads bodies of answers with status 200. Others are always kept. */
  readonly keepBody: boolean;
  /** Memory to read into, shared by connections: each read is dealt with before the next. */
  readonly readBuffer: Buffer;
  readonly onAnswer: OnAnswer;
  /** The connection is of no more use, in words. */
  readonly onLost: (connection: Connection, why: string) => void;
}

export class Connection {
  /** For its owner: the request in flight, when it was sent, and the number of its (first) entry. */
  request: Buffer = Buffer.alloc(0);
  sentAt = 0;
  number = 0;

  readonly #o: ConnectionOptions;
  readonly #socket: Socket;
  readonly #head: Head = { status: 0, length: -1, end: -1 };
  /** An answer whose head has not come as a whole. */
  #partialHead: Buffer | null = null;
  #body: Buffer | null = null;
  #bodyLeft = 0;
  #closed = false;

  /** Resolves when it is connected. */
  static open(options: ConnectionOptions): Promise<Connection> {
    return new Promise((resolve, reject) => {
      const connection = new Connection(options, () => {
        connection.#socket.off("error", reject);
        connection.#socket.on("error", (error) => connection.#lose(error.message));
        resolve(connection);
      });
      connection.#socket.once("error", reject);
    });
  }

  private constructor(options: ConnectionOptions, onConnect: () => void) {
    this.#o = options;
    this.#socket = connect(
      {
        host: options.host,
        port: options.port,
        noDelay: true,
        onread: {
          buffer: options.readBuffer,
          callback: (count, buffer) => {
            this.#read(buffer as Buffer, count);
            return true;
          },
        },
      },
      onConnect,
    );
    this.#socket.on("close", () => this.#lose("the server closed the connection"));
  }

  /** Sends the whole of `request`, whose memory must not change before the answer is here. */
  send(): void {
    this.#socket.write(this.request);
  }

  /** Whether the last request has left for the kernel, so that its memory may change. */
  get isSent(): boolean {
    return this.#socket.writableLength === 0;
  }

  close(): void {
    this.#closed = true;
    this.#socket.destroy();
  }

  #read(shared: Buffer, count: number): void {
    if (this.#closed) return;
    if (this.#bodyLeft > 0) {
      this.#readBody(shared, 0, count);
      return;
    }
    let bytes = shared;
    let length = count;
    if (this.#partialHead !== null) {
      bytes = Buffer.concat([this.#partialHead, shared.subarray(0, count)]);
      length = bytes.length;
      this.#partialHead = null;
    }
    const head = this.#head;
    if (!parseHead(bytes, length, head)) {
      this.#partialHead = Buffer.from(bytes.subarray(0, length));
      return;
    }
    if (head.status === 0 || head.length < 0) {
      this.#lose("an answer without a status or a Content-Length");
      return;
    }
    if (length - head.end >= head.length) {
      // No second request is sent before the answer to the first, so there is nothing behind it.
      this.#o.onAnswer(this, head.status, bytes, head.end, head.end + head.length);
      return;
    }
    this.#bodyLeft = head.length;
    this.#body = this.#o.keepBody || head.status !== 200 ? Buffer.allocUnsafe(head.length) : null;
    this.#readBody(bytes, head.end, length);
  }

  #readBody(bytes: Buffer, from: number, to: number): void {
    const { length, status } = this.#head;
    this.#body?.set(bytes.subarray(from, to), length - this.#bodyLeft);
    this.#bodyLeft -= to - from;
    if (this.#bodyLeft > 0) return;
    const body = this.#body;
    this.#body = null;
    this.#bodyLeft = 0;
    this.#o.onAnswer(this, status, body ?? bytes, 0, body?.length ?? 0);
  }

  #lose(why: string): void {
    if (this.#closed) return;
    this.close();
    this.#o.onLost(this, why);
  }
}

interface Head {
  status: number;
  /** Content-Length, or -1. */
  length: number;
  /** The byte after the head. */
  end: number;
}

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const STATUS_AT = "HTTP/1.1 ".length;
const CONTENT_LENGTH = "content-length:";
const LOWER_CASE = 0x20;

/** Reads an answer's head into `into`; false where it has not come as a whole. */
export function parseHead(bytes: Uint8Array, length: number, into: Head): boolean {
  into.status = 0;
  into.length = -1;
  let lineStart = 0;
  for (let at = 0; at < length; at++) {
    if (bytes[at] !== LINE_FEED) continue;
    if (lineStart === 0) into.status = digits(bytes, STATUS_AT, STATUS_AT + 3);
    else if (at - lineStart <= 1) {
      into.end = at + 1;
      return true;
    } else if (isContentLength(bytes, lineStart)) {
      let from = lineStart + CONTENT_LENGTH.length;
      while (bytes[from] === 0x20) from++;
      into.length = digits(bytes, from, bytes[at - 1] === CARRIAGE_RETURN ? at - 1 : at);
    }
    lineStart = at + 1;
  }
  return false;
}

function isContentLength(bytes: Uint8Array, at: number): boolean {
  for (let i = 0; i < CONTENT_LENGTH.length; i++) {
    if (((bytes[at + i] as number) | LOWER_CASE) !== CONTENT_LENGTH.charCodeAt(i)) return false;
  }
  return true;
}

/** The number that the bytes spell in decimal digits, or -1. */
export function digits(bytes: Uint8Array, start: number, end: number): number {
  if (start >= end) return -1;
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = (bytes[at] as number) - 0x30;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}
