import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { parseHead } from "../../../src/cli/bench/connection.ts";
import { ENTRY_BYTES, entryNumber } from "../../../src/cli/bench/entries.ts";
import { type Load, readIndices, runLoad } from "../../../src/cli/bench/load.ts";

const noise = new Uint8Array(randomBytes(ENTRY_BYTES));
const servers: Server[] = [];

afterEach(() => {
  for (const server of servers.splice(0)) server.close();
});

type Reply = (body: Buffer, head: string, socket: Socket) => void;

/** A server that answers each request, once it is here as a whole, with what `reply` writes. */
async function serve(reply: Reply): Promise<number> {
  const server = createServer((socket) => {
    let received = Buffer.alloc(0);
    socket.on("error", () => {});
    socket.on("data", (chunk) => {
      received = Buffer.concat([received, chunk]);
      const end = received.indexOf("\r\n\r\n") + 4;
      if (end < 4) return;
      const head = received.subarray(0, end).toString("latin1");
      const length = Number(/content-length: ([0-9]+)/i.exec(head)?.[1] ?? 0);
      if (received.length < end + length) return;
      const body = received.subarray(end, end + length);
      received = Buffer.alloc(0);
      reply(body, head, socket);
    });
  });
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

function load(port: number, changes: Partial<Load> = {}): Load {
  return {
    host: "127.0.0.1",
    port,
    path: "/add",
    connections: 4,
    subject: { kind: "entry", noise, first: 100 },
    seconds: Number.POSITIVE_INFINITY,
    requests: 20,
    acknowledges: true,
    ...changes,
  };
}

function answer(socket: Socket, body: string, status = "200 OK"): void {
  socket.write(`HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\n\r\n${body}`);
}

test("every entry is sent once, and the index that acknowledges it is kept", async () => {
  const numbers: number[] = [];
  const port = await serve((body, head, socket) => {
    expect(head.startsWith("POST /add HTTP/1.1\r\n")).toBe(true);
    const number = entryNumber(noise, body) as number;
    numbers.push(number);
    answer(socket, String(number * 10));
  });
  const result = await runLoad(load(port));
  expect(numbers.sort((a, b) => a - b)).toEqual(Array.from({ length: 20 }, (_, i) => 100 + i));
  expect(result).toMatchObject({ answered: 20, errors: 0, first: 100, next: 120 });
  expect([...result.indices]).toEqual(Array.from({ length: 20 }, (_, i) => (100 + i) * 10));
  expect(result.latencies).toHaveLength(20);
  expect(result.endedAt).toBeGreaterThan(result.startedAt);
});

test("a load that is bounded by time sends nothing after it and awaits what is under way", async () => {
  const port = await serve((_body, _head, socket) => answer(socket, "1"));
  const result = await runLoad(load(port, { seconds: 0.05, requests: Number.POSITIVE_INFINITY }));
  expect(result.errors).toBe(0);
  expect(result.answered).toBe(result.next - 100);
});

test("answers may come byte by byte, and may name their length as they like", async () => {
  const port = await serve((_body, _head, socket) => {
    const text = "HTTP/1.1 200 OK\r\nDate: today\r\ncOnTeNt-LeNgTh:  3\r\nX: y\r\n\r\n123";
    void (async () => {
      for (const character of text) {
        socket.write(character);
        await new Promise((resolve) => setImmediate(resolve));
      }
    })();
  });
  const result = await runLoad(load(port, { requests: 6, connections: 2 }));
  expect(result).toMatchObject({ answered: 6, errors: 0 });
  expect([...result.indices]).toEqual([123, 123, 123, 123, 123, 123]);
});

test("a body much longer than a read is skipped, or kept, to its last byte", async () => {
  const long = "x".repeat(1_000_000);
  const port = await serve((_body, head, socket) => {
    expect(/^GET \/[ab] /.test(head)).toBe(true);
    answer(socket, long);
  });
  const subject = { kind: "get", paths: ["/a", "/b"] } as const;
  const result = await runLoad(load(port, { subject, requests: 8, connections: 2 }));
  expect(result).toMatchObject({ answered: 8, errors: 0 });
});

describe("an error is counted", () => {
  test.each<[string, Reply]>([
    ["a refusal", (_body, _head, socket) => answer(socket, "no room", "503 Service Unavailable")],
    ["an answer that is no index", (_body, _head, socket) => answer(socket, "12a")],
    ["an answer without a length", (_body, _head, socket) => socket.write("HTTP/1.1 200 OK\r\n\r\n")],
    ["a closed connection", (_body, _head, socket) => socket.destroy()],
  ])("%s", async (_, reply) => {
    const port = await serve(reply);
    const result = await runLoad(load(port, { requests: 3, connections: 3 }));
    expect(result).toMatchObject({ answered: 0, errors: 3 });
    expect(result.indices.every((index) => index === -1)).toBe(true);
    expect(result.errorSamples.length).toBeGreaterThan(0);
  });

  test("a server that refuses everything is not asked for ever", async () => {
    const port = await serve((_body, _head, socket) => answer(socket, "", "503 Service Unavailable"));
    const result = await runLoad(load(port, { requests: Number.POSITIVE_INFINITY }));
    expect(result.errors).toBeLessThan(200);
  });
});

test("a batch's entries and their indices belong together", async () => {
  const port = await serve((body, _head, socket) => {
    const first = entryNumber(noise, body.subarray(2, 2 + ENTRY_BYTES)) as number;
    answer(socket, results([first + 7, first + 8, first + 9]));
  });
  const subject = { kind: "batch", noise, first: 0, size: 3 } as const;
  const result = await runLoad(load(port, { subject, requests: 5, path: "/add-batch" }));
  expect(result).toMatchObject({ answered: 5, errors: 0, next: 15 });
  expect([...result.indices]).toEqual(Array.from({ length: 15 }, (_, i) => i + 7));
});

describe("the answer to a batch", () => {
  const read = (text: string, size = 2): [boolean, number[]] => {
    const found: number[] = [];
    const bytes = Buffer.from(`before${text}after`);
    return [readIndices(bytes, 6, 6 + text.length, size, (_, index) => found.push(index)), found];
  };

  test("gives its indices", () => {
    expect(read(results([5, 123_456_789]))).toEqual([true, [5, 123_456_789]]);
  });

  test.each([
    ["an error in it", `{"results":[{"error":{"code":"entry_empty"}},${results([5]).slice(12)}`],
    ["fewer entries", results([5])],
    ["more entries", results([5, 6, 7])],
    ["a duplicate", results([5, 6]).replace("false", "true")],
    ["another form", "[5,6]"],
    ["its end missing", results([5, 6]).slice(0, -1)],
  ])("is refused with %s", (_, text) => {
    expect(read(text)[0]).toBe(false);
  });
});

test("a head is read once it is whole, and only then", () => {
  const bytes = Buffer.from("HTTP/1.1 404 Not Found\r\nContent-Length: 12\r\n\r\nbody");
  const head = { status: 0, length: -1, end: -1 };
  for (let length = 0; length < bytes.indexOf("body"); length++) {
    expect(parseHead(bytes, length, head)).toBe(false);
  }
  expect(parseHead(bytes, bytes.length, head)).toBe(true);
  expect(head).toEqual({ status: 404, length: 12, end: bytes.indexOf("body") });
});

function results(indices: readonly number[]): string {
  const leafHash = Buffer.alloc(32, 1).toString("base64");
  return JSON.stringify({ results: indices.map((index) => ({ index, leafHash, duplicate: false })) });
}
