// Bad input on real sockets: each has its documented answer where the peer can still read, other clients notice nothing,
// and nothing is lost or half-done.

import { describe, expect, test } from "vitest";
import type { ErrorCode } from "../../src/core/errors.ts";
import {
  add,
  addBatchResults,
  addForProof,
  checkpoint,
  entries,
  expectCleanLog,
  problem,
  ready,
  untilPublished,
} from "./client.ts";
import { create, newPlace, type Place, type Server, serve } from "./server.ts";
import { within } from "../waiting.ts";
import {
  type Answer,
  exchange,
  exchangeAll,
  onlyAnswer,
  openSocket,
  parseAnswers,
  type Peer,
  problemIn,
} from "./socket.ts";

/** A server must answer or close within this; headers alone may take 10 s (architecture, section 4). */
const ANSWER_MS = 5000;
const HEADERS_TIMEOUT_MS = 10_000;
const LORISES = 300;

const OCTETS = "application/octet-stream";
const LINES = "application/x-ndjson";

/** A log with three published entries. */
async function running(env = {}): Promise<{ place: Place; server: Server }> {
  const place = await newPlace();
  const server = await create(place, env);
  for (const entry of entries(3)) await add(server, entry);
  await untilPublished(server, 3);
  return { place, server };
}

/** The log has `size` entries and no more, is clean, and starts again. */
async function expectUnharmed(place: Place, server: Server, size: number): Promise<void> {
  expect((await ready(server)).next_index).toBe(size);
  await untilPublished(server, size);
  expect(await expectCleanLog(server, place)).toBe(size);
  expect(await server.stop()).toMatchObject({ code: 0 });
  const again = await serve(place);
  expect((await ready(again)).next_index).toBe(size);
}

function expectProblem(answer: Answer, status: number, code: ErrorCode): void {
  expect(problemIn(answer), JSON.stringify(answer.body)).toMatchObject({ status, code });
  expect(answer.status).toBe(status);
  expect(answer.headers.get("cache-control")).toBe("no-store");
}

function request(head: string, body: string | Uint8Array = "", more = "Connection: close\r\n"): Buffer {
  return Buffer.concat([Buffer.from(`${head} HTTP/1.1\r\nHost: x\r\n${more}\r\n`), Buffer.from(body)]);
}

describe("entries", () => {
  test("an empty one is refused, however its length is said", async () => {
    const { place, server } = await running();
    const forms = ["", "Content-Length: 0\r\n", "Transfer-Encoding: chunked\r\n"];
    for (const form of forms) {
      const body = form.startsWith("Transfer") ? "0\r\n\r\n" : "";
      const answer = await exchange(server, request("POST /add", body, `${form}Connection: close\r\n`));
      expectProblem(answer, 400, "entry_empty");
    }
    await expectUnharmed(place, server, 3);
  });

  test("one of 65,536 bytes is refused on its Content-Length alone, before any of it is sent", async () => {
    const { place, server } = await running();
    for (const length of [65_536, 1e9, Number.MAX_SAFE_INTEGER]) {
      const peer = await openSocket(server);
      peer.send(request("POST /add", "", `Content-Length: ${length}\r\n`));
      await within(ANSWER_MS, () => "an answer", new Promise((resolve) => peer.socket.once("data", resolve)));
      expectProblem(onlyAnswer(parseAnswers(peer.received())), 413, "entry_too_large");
      peer.socket.destroy();
    }
    await expectUnharmed(place, server, 3);
  });

  test("a too large one that is sent all the same gets its answer, chunked too", async () => {
    const { place, server } = await running();
    for (const length of [65_536, 1_000_000, 20_000_000]) {
      const response = await fetch(`${server.url}/add`, { method: "POST", body: Buffer.alloc(length, 1) });
      expect(await problem(response)).toMatchObject({ status: 413, code: "entry_too_large" });
      const chunks = new ReadableStream<Uint8Array>({
        start(controller) {
          for (let at = 0; at < length; at += 16_384) {
            controller.enqueue(new Uint8Array(Math.min(16_384, length - at)));
          }
          controller.close();
        },
      });
      const options = { method: "POST", body: chunks, duplex: "half" } as RequestInit;
      const chunked = await fetch(`${server.url}/add`, options);
      expect(await problem(chunked)).toMatchObject({ status: 413, code: "entry_too_large" });
    }
    await expectUnharmed(place, server, 3);
  });

  test("a body cut in half commits nothing, whether its sender closes or resets", async () => {
    const { place, server } = await running();
    const half = Buffer.alloc(500, "half");
    const heads = ["Content-Length: 1000\r\n", "Transfer-Encoding: chunked\r\n"];
    for (const path of ["/add", "/add?proof=true", "/add-batch"]) {
      for (const head of heads) {
        const body = head.startsWith("T") ? Buffer.concat([Buffer.from("3e8\r\n"), half]) : half;
        const bytes = request(`POST ${path}`, body, `${head}Content-Type: application/x-ndjson\r\n`);
        const closing = await openSocket(server);
        closing.send(bytes);
        closing.finish();
        const answer = onlyAnswer(
          parseAnswers(await within(ANSWER_MS, () => "the server closes", closing.closed)),
        );
        expectProblem(answer, 400, "bad_request");
        const resetting = await openSocket(server);
        resetting.send(bytes);
        resetting.socket.resetAndDestroy();
      }
    }
    await expectUnharmed(place, server, 3);
  });

  test("a compressed one is refused, since its bytes would be logged as they came", async () => {
    const { place, server } = await running();
    for (const path of ["/add", "/add-batch"]) {
      for (const encoding of ["gzip", "identity", "x"]) {
        const more = `Content-Encoding: ${encoding}\r\nContent-Length: 3\r\nConnection: close\r\nContent-Type: application/x-ndjson\r\n`;
        const answer = await exchange(server, request(`POST ${path}`, "abc", more));
        expectProblem(answer, 415, "unsupported_encoding");
      }
    }
    await expectUnharmed(place, server, 3);
  });

  test("the shape of an index anchor is refused", async () => {
    const { place, server } = await running();
    const anchor = `${"0a".repeat(32)}\nexample.com/log\n7\n`;
    const response = await fetch(`${server.url}/add`, { method: "POST", body: anchor });
    expect(await problem(response)).toMatchObject({ status: 422, code: "reserved_shape" });
    await expectUnharmed(place, server, 3);
  });
});

describe("batches", () => {
  test("one bad entry among good ones gets its own error in its place, and the others commit", async () => {
    const { place, server } = await running();
    const bad = [
      ["entry_empty", Buffer.alloc(0)],
      ["reserved_shape", Buffer.from(`${"0a".repeat(32)}\nexample.com/log\n`)],
    ] as const;
    let next = 3;
    for (const [code, entry] of bad) {
      const batch = [Buffer.from(`before ${code}`), entry, Buffer.from(`after ${code}`)];
      const results = await addBatchResults(server, batch);
      expect(results).toEqual([
        expect.objectContaining({ index: next, duplicate: false }),
        { error: { code, detail: expect.any(String) } },
        expect.objectContaining({ index: next + 1, duplicate: false }),
      ]);
      next += 2;
    }
    const lines = [Buffer.from("line"), Buffer.alloc(0), Buffer.alloc(65_536, "x"), Buffer.from("entry 0")];
    expect(await addBatchResults(server, lines, "lines")).toEqual([
      expect.objectContaining({ index: next, duplicate: false }),
      { error: { code: "entry_empty", detail: expect.any(String) } },
      { error: { code: "entry_too_large", detail: expect.any(String) } },
      expect.objectContaining({ index: 0, duplicate: true }),
    ]);
    await expectUnharmed(place, server, next + 1);
  });

  test("torn, empty, too large or of another type, they are refused as a whole", async () => {
    const { place, server } = await running();
    const refused: readonly [string, ErrorCode, number, string | undefined, Uint8Array][] = [
      ["torn in a length", "bad_framing", 400, OCTETS, Buffer.from([0, 1, 65, 0])],
      ["torn in an entry", "bad_framing", 400, OCTETS, Buffer.from([0, 1, 65, 0, 9, 66])],
      ["empty", "bad_framing", 400, OCTETS, Buffer.alloc(0)],
      ["of 10,001 entries", "batch_too_large", 413, LINES, Buffer.from("x\n".repeat(10_001))],
      ["over 8 MiB", "batch_too_large", 413, LINES, Buffer.alloc(8 * 1024 * 1024 + 1, "x")],
      ["without a type", "unsupported_type", 415, undefined, Buffer.from("x\n")],
      ["of JSON", "unsupported_type", 415, "application/json", Buffer.from('["x"]')],
    ];
    for (const [name, code, status, type, body] of refused) {
      const response = await fetch(`${server.url}/add-batch`, {
        method: "POST",
        ...(type === undefined ? {} : { headers: { "Content-Type": type } }),
        body: Buffer.from(body),
      });
      expect(await problem(response), name).toMatchObject({ status, code });
    }
    await expectUnharmed(place, server, 3);
  });

  test("slow ones are bounded for each client, and never hold single adds", async () => {
    const { place, server } = await running();
    const body = Buffer.alloc(7 * 1024 * 1024, "x\n");
    const head = request(
      "POST /add-batch",
      "",
      `Content-Type: ${LINES}\r\nContent-Length: ${body.length + 2}\r\n`,
    );
    const slow = await Promise.all(Array.from({ length: 4 }, () => openSocket(server)));
    for (const peer of slow) {
      peer.send(head);
      peer.send(body);
    }
    const answered = slow.map(
      (peer) => new Promise<Peer>((resolve) => peer.socket.once("data", () => resolve(peer))),
    );
    const refused = await within(ANSWER_MS, () => "a refusal", Promise.race(answered));
    const answer = onlyAnswer(parseAnswers(refused.received()));
    expectProblem(answer, 503, "queue_full");
    expect(answer.headers.get("retry-after")).toMatch(/^[1-9][0-9]*$/);
    for (const entry of entries(20, "meanwhile")) await add(server, entry);
    for (const peer of slow) peer.socket.destroy();
    await expectUnharmed(place, server, 23);
  });
});

describe("keys", () => {
  test("a missing, wrong or misshapen token is 401 before the body is read, and the right one gets in", async () => {
    const place = await newPlace();
    const key = "correct-horse";
    const server = await create(place, { ALLOW_PUBLIC_WRITES: "false", API_KEY: key });
    const tokens = [
      "",
      "Authorization: \r\n",
      "Authorization: Bearer\r\n",
      "Authorization: Bearer \r\n",
      "Authorization: Bearer wrong\r\n",
      `Authorization: Bearer ${key}x\r\n`,
      `Authorization: Bearer ${key.slice(0, -1)}\r\n`,
      `Authorization: Bearer ${key.toUpperCase()}\r\n`,
      `Authorization: Basic ${Buffer.from(`x:${key}`).toString("base64")}\r\n`,
      `Authorization: ${key}\r\n`,
      `Authorization: Bearer ${"A".repeat(8000)}\r\n`,
      "Authorization: Bearer \u00ff\u00fe\r\n",
      `X-Authorization: Bearer ${key}\r\n`,
    ];
    for (const token of tokens) {
      for (const path of ["/add", "/add?proof=true", "/add-batch"]) {
        const more = `${token}Content-Length: 4\r\nContent-Type: ${LINES}\r\nConnection: close\r\n`;
        const answer = await exchange(server, request(`POST ${path}`, "text", more));
        expectProblem(answer, 401, "unauthorized");
        expect(answer.headers.get("www-authenticate")).toBe("Bearer");
      }
    }
    const right = `Authorization: Bearer ${key}\r\nContent-Length: 4\r\nConnection: close\r\n`;
    expect(await exchange(server, request("POST /add", "text", right))).toMatchObject({
      status: 200,
      body: "0",
    });
    expect(server.stderr()).not.toContain(key);
    await expectUnharmed(place, server, 1);
  });
});

describe("addresses", () => {
  test("malformed tile paths are 400, well-formed ones beyond the tree 404, and no file outside is ever given", async () => {
    const { place, server } = await running();
    const malformed = [
      "/tile/0/0",
      "/tile/0/00",
      "/tile/0/0000",
      "/tile/00/000",
      "/tile/64/000",
      "/tile/-1/000",
      "/tile/+1/000",
      "/tile/0/x000/000",
      "/tile/0/x00/000",
      "/tile/0/001/000",
      "/tile/0/x001/x000",
      "/tile/0/000.p",
      "/tile/0/000.p/",
      "/tile/0/000.p/0",
      "/tile/0/000.p/256",
      "/tile/0/000.p/01",
      "/tile/0/000.p/3/",
      "/tile/0/000.P/3",
      "/tile/0/000/",
      "/tile//0/000",
      "/tile/0/000%00",
      "/tile/0/00%30",
      "/tile/%30/000",
      "/tile/0/000.p%2f3",
      "/tile/entries/000.p/0",
      "/tile/entries/",
      "/tile/entries",
      "/tile/ENTRIES/000",
      "/tile/data/000",
      "/tile/",
      "/tile/0/000;x",
    ];
    for (const path of malformed) {
      const answer = await exchange(server, request(`GET ${path}`));
      expectProblem(answer, 400, "bad_path");
    }
    const beyond = [
      "/tile/0/000",
      "/tile/0/000.p/4",
      "/tile/0/001",
      "/tile/1/000",
      "/tile/63/000",
      "/tile/entries/000",
      "/tile/entries/x001/x234/067",
      "/tile/0/x999/x999/x999/x999/x999/999",
    ];
    for (const path of beyond) {
      const answer = await exchange(server, request(`GET ${path}`));
      expectProblem(answer, 404, "not_published");
    }
    const outside = [
      "/state/head",
      "/tile/../state/head",
      "/tile/0/../../state/head",
      "/tile/%2e%2e/state/head",
      "/tile/..%2fstate%2fhead",
      "/tile/..%5cstate%5chead",
      "/tile/0/000.p/../../../../state/head",
      "//state/head",
      "/./state/head",
      "/tile/entries/../../../log.key",
      "/../log.key",
      "/%2e%2e/log.key",
      "/tile/\u0000/state/head",
      "/tile/0/\u0660\u0660\u0660",
      "http://x/state/head",
      "http://x/tile/../state/head",
    ];
    for (const path of outside) {
      const [answer] = await exchangeAll(server, request(`GET ${path}`));
      expect([400, 404], path).toContain(answer?.status);
      expect(problemIn(answer as Answer), path).not.toBeNull();
      expect(answer?.body).not.toMatch(/holder|PRIVATE/);
    }
    await expectUnharmed(place, server, 3);
  });

  test("proofs, checkpoints and routes that do not exist are refused, each with its code", async () => {
    const { place, server } = await running();
    const refused: readonly [string, number, ErrorCode][] = [
      ["/proof/3", 404, "not_published"],
      ["/proof/9007199254740993", 404, "not_published"],
      ["/proof/99999999999999999999999999999", 404, "not_published"],
      ["/proof/0?size=4", 404, "checkpoint_not_kept"],
      ["/proof/0?size=99999999999999999999", 404, "checkpoint_not_kept"],
      ["/proof/2?size=2", 400, "bad_parameter"],
      ["/proof/2?size=0", 400, "bad_parameter"],
      ["/proof/0?size=3&size=3", 400, "bad_parameter"],
      ["/proof/0?size=", 400, "bad_parameter"],
      ["/proof/0?size=+3", 400, "bad_parameter"],
      ["/proof/0?size=03", 400, "bad_parameter"],
      ["/proof/-1", 400, "bad_parameter"],
      ["/proof/00", 400, "bad_parameter"],
      ["/proof/0x1", 400, "bad_parameter"],
      ["/proof/1e0", 400, "bad_parameter"],
      ["/proof/%00", 400, "bad_parameter"],
      ["/checkpoint/4", 404, "checkpoint_not_kept"],
      ["/checkpoint/-0", 404, "checkpoint_not_kept"],
      ["/checkpoint/x", 404, "checkpoint_not_kept"],
      ["/nothing", 404, "not_found"],
      ["/", 404, "not_found"],
      ["/add", 405, "method_not_allowed"],
      ["/add-batch", 405, "method_not_allowed"],
    ];
    for (const [path, status, code] of refused) {
      const answer = await exchange(server, request(`GET ${path}`));
      expectProblem(answer, status, code);
      if (code === "not_published") expect(JSON.parse(answer.body)).toMatchObject({ published_size: 3 });
      if (code === "method_not_allowed") expect(answer.headers.get("allow")).toContain("POST");
    }
    await expectUnharmed(place, server, 3);
  });
});

describe("requests that two readers could read differently", () => {
  /** What a lenient reader would take for a second request. */
  const SMUGGLED = "POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 8\r\n\r\nsmuggled";
  const post = (headers: string, body: string): string =>
    `POST /add HTTP/1.1\r\nHost: x\r\n${headers}\r\n${body}`;

  const refused: readonly [string, string][] = [
    [
      "a length and chunks",
      post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", `0\r\n\r\n${SMUGGLED}`),
    ],
    [
      "chunks and a length",
      post("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", `0\r\n\r\n${SMUGGLED}`),
    ],
    ["two lengths", post("Content-Length: 1\r\nContent-Length: 90\r\n", `x${SMUGGLED}`)],
    ["two equal lengths", post("Content-Length: 1\r\nContent-Length: 1\r\n", `x${SMUGGLED}`)],
    ["a list of lengths", post("Content-Length: 1, 1\r\n", `x${SMUGGLED}`)],
    ["a signed length", post("Content-Length: +1\r\n", `x${SMUGGLED}`)],
    ["a negative length", post("Content-Length: -1\r\n", SMUGGLED)],
    ["a hexadecimal length", post("Content-Length: 0x1\r\n", `x${SMUGGLED}`)],
    ["an empty length", post("Content-Length: \r\n", SMUGGLED)],
    ["a length beyond 64 bits", post("Content-Length: 18446744073709551617\r\n", `x${SMUGGLED}`)],
    ["a space before the colon", post("Transfer-Encoding : chunked\r\n", `0\r\n\r\n${SMUGGLED}`)],
    ["a folded header", post("Transfer-Encoding:\r\n chunked\r\n", `0\r\n\r\n${SMUGGLED}`)],
    ["a coding that is none", post("Transfer-Encoding: xchunked\r\n", `0\r\n\r\n${SMUGGLED}`)],
    ["a coding after chunked", post("Transfer-Encoding: chunked, identity\r\n", `0\r\n\r\n${SMUGGLED}`)],
    ["two codings", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", `0\r\n\r\n${SMUGGLED}`)],
    ["the identity coding", post("Transfer-Encoding: identity\r\n", SMUGGLED)],
    ["a compressed coding", post("Transfer-Encoding: gzip, chunked\r\n", `0\r\n\r\n${SMUGGLED}`)],
    ["a NUL in a header", post("X: a\0b\r\nContent-Length: 0\r\n", SMUGGLED)],
    ["a lone CR in a header", post("X: a\rContent-Length: 90\r\n", SMUGGLED)],
    [
      "a chunk's size with a prefix",
      post("Transfer-Encoding: chunked\r\n", `0x1\r\na\r\n0\r\n\r\n${SMUGGLED}`),
    ],
    ["a chunk's size with a sign", post("Transfer-Encoding: chunked\r\n", `+1\r\na\r\n0\r\n\r\n${SMUGGLED}`)],
    [
      "a chunk's size beyond 64 bits",
      post("Transfer-Encoding: chunked\r\n", `10000000000000001\r\na\r\n0\r\n\r\n`),
    ],
    [
      "a chunk longer than its size",
      post("Transfer-Encoding: chunked\r\n", `1\r\nab\r\n0\r\n\r\n${SMUGGLED}`),
    ],
    ["a chunk without its end", post("Transfer-Encoding: chunked\r\n", `1\r\na0\r\n\r\n${SMUGGLED}`)],
    ["no host", "POST /add HTTP/1.1\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx"],
    ["a third word after the address", `POST /add HTTP/1.1 x\r\nHost: x\r\n\r\n${SMUGGLED}`],
    ["an unknown method", `PORT /add HTTP/1.1\r\nHost: x\r\n\r\n${SMUGGLED}`],
    ["an unknown protocol", `POST /add HTPP/1.1\r\nHost: x\r\n\r\n${SMUGGLED}`],
    ["no protocol at all", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting"],
    ["headers without an end", post(`X: ${"a".repeat(100_000)}\r\n`, SMUGGLED)],
  ];

  test("are 400 on a connection that then closes, and nothing after them is read as a request", async () => {
    const { place, server } = await running();
    for (const [name, bytes] of refused) {
      const answers = await exchangeAll(server, Buffer.from(bytes, "latin1")).catch((cause: unknown) => {
        throw new Error(`${name}: no answer`, { cause });
      });
      expect(
        answers.map(({ status }) => status),
        name,
      ).toEqual([400]);
      expectProblem(onlyAnswer(answers), 400, "bad_request");
      expect((await ready(server)).next_index, name).toBe(3);
    }
    await expectUnharmed(place, server, 3);
  });

  test("a body that looks like a request is a body", async () => {
    const { place, server } = await running();
    for (const method of [
      "GET /checkpoint",
      "HEAD /checkpoint",
      "OPTIONS /add",
      "DELETE /add",
      "GET /nothing",
    ]) {
      const more = `Content-Length: ${SMUGGLED.length}\r\nConnection: close\r\n`;
      const peer = await openSocket(server);
      peer.send(request(method, SMUGGLED, more));
      const received = await within(ANSWER_MS, () => `${method} is answered`, peer.closed);
      expect(received.toString().match(/^HTTP\/1\.1 /gm)).toHaveLength(1);
    }
    await expectUnharmed(place, server, 3);
  });

  test("requests before a broken one on the same connection are answered and stay logged", async () => {
    const { place, server } = await running();
    const good = request("POST /add", "good one", "Content-Length: 8\r\n");
    const answers = await exchangeAll(server, Buffer.concat([good, Buffer.from("broken\r\n\r\n")]));
    expect(answers.map(({ status }) => status)).toEqual([200, 400]);
    expect(answers[0]?.body).toBe("3");
    await expectUnharmed(place, server, 4);
  });
});

describe("slow peers", () => {
  test("by the hundred are cut when their headers do not come, and others notice nothing meanwhile", async () => {
    const { place, server } = await running();
    const beginnings = [
      "POST /add HTTP/1.1\r\nHost: x\r\nX-Slow: ",
      "POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n",
    ];
    const slow = await Promise.all(
      Array.from({ length: LORISES }, async (_, i) => {
        const peer = await openSocket(server);
        const isBody = i % 2 === 1;
        peer.send(beginnings[i % 2] as string);
        const drip = setInterval(() => peer.send("x"), 500);
        void peer.closed.then(() => clearInterval(drip));
        return { peer, isBody, drip };
      }),
    );
    let logged = 3;
    const began = performance.now();
    while (performance.now() - began < HEADERS_TIMEOUT_MS) {
      const asked = performance.now();
      expect(await add(server, `meanwhile ${logged}`)).toBe(logged++);
      await addForProof(server, `proven meanwhile ${logged++}`);
      await checkpoint(server);
      expect(performance.now() - asked).toBeLessThan(ANSWER_MS);
      await new Promise((done) => setTimeout(done, 100));
    }
    const headers = slow.filter(({ isBody }) => !isBody);
    const cut = await within(
      ANSWER_MS,
      () => "connections without headers are cut",
      Promise.all(headers.map(({ peer }) => peer.closed)),
    );
    for (const bytes of cut) expectProblem(onlyAnswer(parseAnswers(bytes)), 408, "request_timeout");
    for (const { peer, drip } of slow) {
      clearInterval(drip);
      peer.socket.destroy();
    }
    await expectUnharmed(place, server, logged);
  });
});
