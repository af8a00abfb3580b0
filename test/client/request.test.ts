import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ERROR_SENTENCES } from "../../src/core/errors.ts";
import { requester, type RequestOptions, retryAfterMs } from "../../src/client/request.ts";
import { refusal } from "../core/refusal.ts";
import { answerProblem, type LogServer, startLogServer, stillClock } from "./log-server.ts";

let server: LogServer;
let clock: ReturnType<typeof stillClock>;

beforeEach(async () => {
  server = await startLogServer();
  clock = stillClock();
});
afterEach(async () => await server.close());

function client(options: Partial<RequestOptions> = {}) {
  return requester({ url: server.url, clock, ...options });
}

const SMALL = { maxBytes: 1000 };

/** Answers the first requests with `statuses`, then as the log would. */
function failFirst(statuses: readonly number[], headers: Record<string, string> = {}): void {
  const left = [...statuses];
  server.intercept = (_request, response) => {
    const status = left.shift();
    if (status === undefined) return false;
    answerProblem(response, status, "queue_full", headers);
    return true;
  };
}

describe("retries", () => {
  test("503 and 429 are asked again after the seconds in Retry-After", async () => {
    failFirst([503, 429], { "retry-after": "7" });
    await client().request("log.json", SMALL);
    expect(clock.waits).toEqual([7000, 7000]);
    expect(server.requests).toHaveLength(3);
  });

  test("a date in Retry-After is waited for", async () => {
    failFirst([503], { "retry-after": new Date(clock.now() + 12_000).toUTCString() });
    await client().request("log.json", SMALL);
    expect(clock.waits).toEqual([12_000]);
  });

  test("without Retry-After the wait doubles up to the longest", async () => {
    failFirst([503, 502, 504, 503]);
    await client({ retry: { firstDelayMs: 100, maxDelayMs: 300 } }).request("log.json", SMALL);
    expect(clock.waits).toEqual([100, 200, 300, 300]);
  });

  test("a Retry-After beyond the longest wait is not waited for, nor cut short", async () => {
    failFirst([503], { "retry-after": "3600" });
    await expect(client().request("log.json", SMALL)).rejects.toThrow(refusal("queue_full"));
    expect(clock.waits).toEqual([]);
  });

  test("exhausted retries end in the error that the log named, after exactly that many tries", async () => {
    failFirst([503, 503, 503, 503]);
    const asked = client({ retry: { attempts: 3 } }).request("log.json", SMALL);
    await expect(asked).rejects.toThrow(refusal("queue_full"));
    expect(server.requests).toHaveLength(3);
  });

  test("404 is an answer and never asked again", async () => {
    expect(await client().find("tile/0/000", SMALL)).toBeNull();
    await expect(client().request("tile/0/000", SMALL)).rejects.toThrow(refusal("not_found"));
    expect(server.requests).toHaveLength(2);
  });

  test.each([400, 401, 413, 500])("status %d is not asked again", async (status) => {
    server.intercept = (_request, response) => {
      answerProblem(response, status, "unauthorized");
      return true;
    };
    await expect(client().find("checkpoint", SMALL)).rejects.toThrow(refusal("unauthorized"));
    expect(server.requests).toHaveLength(1);
  });

  test("a body cut in half is asked for again", async () => {
    let cut = true;
    server.intercept = (_request, response) => {
      if (!cut) return false;
      cut = false;
      response.writeHead(200, { "content-length": "100" });
      response.write("half");
      setImmediate(() => response.destroy());
      return true;
    };
    const { bytes } = await client().request("log.json", SMALL);
    expect(JSON.parse(new TextDecoder().decode(bytes)).origin).toBe("log.example/test");
  });

  test("a log that is not there is one clear error with the reason", async () => {
    const { url } = server;
    await server.close();
    const asked = requester({ url, clock, retry: { attempts: 2, firstDelayMs: 5 } }).request(
      "log.json",
      SMALL,
    );
    await expect(asked).rejects.toThrow(/ECONNREFUSED/);
    await expect(asked).rejects.toThrow(refusal("unreachable"));
    expect(clock.waits).toEqual([5]);
    server = await startLogServer();
  });

  test("a log that never answers is given up after the time limit", async () => {
    server.intercept = () => true;
    const asked = client({ timeoutMs: 20, retry: { attempts: 2 } }).request("log.json", SMALL);
    await expect(asked).rejects.toThrow(/no answer in time/);
    expect(server.requests).toHaveLength(2);
  });
});

describe("answers", () => {
  test("a code of the catalogue comes through with its detail and members", async () => {
    server.intercept = (_request, response) => {
      response.writeHead(404, { "content-type": "application/problem+json" });
      response.end(JSON.stringify({ code: "not_published", detail: "it is", published_size: 5, other: [] }));
      return true;
    };
    const error = await client()
      .request("proof/9", SMALL)
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: "not_published", detail: "it is", members: { published_size: 5 } });
  });

  test("a detail that begins with the code's own sentence is not said twice", async () => {
    const sentence = ERROR_SENTENCES.unauthorized;
    for (const [detail, message] of [
      [sentence, sentence],
      [`${sentence} (the key is revoked)`, `${sentence} (the key is revoked)`],
    ]) {
      server.intercept = (_request, response) => {
        response.writeHead(401, { "content-type": "application/problem+json" });
        response.end(JSON.stringify({ code: "unauthorized", detail }));
        return true;
      };
      await expect(client().request("log.json", SMALL)).rejects.toThrow(message);
      const error = await client()
        .request("log.json", SMALL)
        .catch((caught: Error) => caught);
      expect((error as Error).message).toBe(message);
    }
  });

  test.each([
    ["an unknown code", '{"code":"made_up"}'],
    ["a name of Object.prototype", '{"code":"constructor"}'],
    ["a proxy's page", "<html>nope</html>"],
    ["nothing", ""],
  ])("an error with %s is an unexpected answer", async (_what, body) => {
    server.intercept = (_request, response) => {
      response.writeHead(418).end(body);
      return true;
    };
    await expect(client().request("log.json", SMALL)).rejects.toThrow(refusal("unexpected_answer"));
  });

  test("an answer of more bytes than asked for is refused, with and without its length announced", async () => {
    for (const chunked of [false, true]) {
      server.intercept = (_request, response) => {
        if (chunked) response.write("x".repeat(600));
        response.end("x".repeat(401));
        return true;
      };
      const asked = client().request("log.json", { maxBytes: chunked ? 1000 : 400 });
      await expect(asked).rejects.toThrow(refusal("unexpected_answer"));
    }
  });

  test("a compressed answer is bounded by what it unpacks to", async () => {
    const { gzipSync } = await import("node:zlib");
    server.intercept = (_request, response) => {
      response.setHeader("content-encoding", "gzip").end(gzipSync(new Uint8Array(1_000_000)));
      return true;
    };
    await expect(client().request("log.json", SMALL)).rejects.toThrow(refusal("unexpected_answer"));
  });

  test("a POST is not carried to another address", async () => {
    server.intercept = ({ path }, response) => {
      if (path !== "/add") return false;
      response.writeHead(307, { location: `${server.url}/elsewhere` }).end();
      return true;
    };
    const posted = client({ retry: { attempts: 1 } }).request("add", { method: "POST", maxBytes: 100 });
    await expect(posted).rejects.toThrow(refusal("unreachable"));
    expect(server.requests.map(({ path }) => path)).toEqual(["/add"]);
  });
});

describe("addresses", () => {
  test("a path in the prefix is kept and a final slash does not double", async () => {
    await client({ url: `${server.url}/a/b/` }).find("checkpoint", SMALL);
    expect(server.requests[0]?.path).toBe("/a/b/checkpoint");
  });

  test.each(["", "log.example", "ftp://log.example", "file:///etc/passwd", "http://h/?a=1", "http://h/#a"])(
    "%j is refused",
    (url) => {
      expect(() => client({ url })).toThrow(refusal("bad_url"));
    },
  );

  test("a password in an address is refused and not repeated", () => {
    let message = "";
    try {
      client({ url: "https://user:hunter2@log.example" });
    } catch (error) {
      message = (error as Error).message;
    }
    expect(message).toMatch(/credentials/);
    expect(message).not.toMatch(/hunter2/);
  });
});

test("Retry-After is seconds or a date, and nothing else", () => {
  expect(retryAfterMs("0", 0)).toBe(0);
  expect(retryAfterMs("120", 0)).toBe(120_000);
  expect(retryAfterMs("Thu, 01 Jan 1970 00:00:10 GMT", 4000)).toBe(6000);
  expect(retryAfterMs("Thu, 01 Jan 1970 00:00:10 GMT", 40_000)).toBe(0);
  expect(retryAfterMs("soon", 0)).toBeNull();
  expect(retryAfterMs(null, 0)).toBeNull();
});
