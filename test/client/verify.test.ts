import { afterEach, beforeEach, expect, test } from "vitest";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import { httpLog, type TrustedHead } from "../../src/client/http-log.ts";
import { checkHead } from "../../src/client/verify.ts";
import type { ErrorCode } from "../../src/core/errors.ts";
import { refusal } from "../core/refusal.ts";
import { signedCheckpoint, testTrust, textEntry } from "./build-log.ts";
import { type LogServer, startLogServer, stillClock } from "./log-server.ts";

let server: LogServer;

beforeEach(async () => {
  server = await startLogServer(Array.from({ length: 300 }, (_, i) => textEntry(i)));
});
afterEach(async () => await server.close());

function reader() {
  return httpLog({ url: server.url, trust: testTrust(), hasher: nodeHasher, clock: stillClock() });
}

async function expectRefused(remembered: TrustedHead | null, code: ErrorCode): Promise<void> {
  const shown: TrustedHead[] = [];
  const checked = checkHead(reader(), remembered, nodeHasher, (head) => shown.push(head));
  await expect(checked).rejects.toThrow(refusal(code));
  // The evidence is what the log showed now.
  expect(shown.map(({ note }) => note)).toEqual([server.objects.get("checkpoint")]);
}

test("with nothing remembered the log is taken at its word", async () => {
  expect(await checkHead(reader(), null, nodeHasher)).toMatchObject({
    relation: "first",
    head: { size: 300 },
  });
});

test("a head that grew extends the remembered one, from every size", async () => {
  for (const size of [0, 1, 255, 256, 299]) {
    server.publish(size);
    const remembered = await reader().head();
    server.publish(300);
    expect(await checkHead(reader(), remembered, nodeHasher)).toMatchObject({
      relation: "extends",
      head: { size: 300 },
    });
  }
});

test("the same head again is the same", async () => {
  const remembered = await reader().head();
  expect((await checkHead(reader(), remembered, nodeHasher)).relation).toBe("same");
});

test("a smaller head is refused", async () => {
  const remembered = await reader().head();
  server.publish(299);
  await expectRefused(remembered, "head_smaller");
});

test("another root at the same size is refused", async () => {
  const remembered = await reader().head();
  server.entries[7] = textEntry(7777);
  server.publish();
  await expectRefused(remembered, "inconsistent");
});

test("a larger head that rewrote an entry is refused", async () => {
  const remembered = await reader().head();
  server.entries[7] = textEntry(7777);
  server.append(textEntry(300));
  await expectRefused(remembered, "inconsistent");
});

test("an empty tree with a root of its own is refused, also as the first head", async () => {
  server.objects.set("checkpoint", signedCheckpoint(0, new Uint8Array(32)));
  await expectRefused(null, "bad_checkpoint");
});

test("a log that cannot show its tiles is refused without calling it two histories", async () => {
  server.publish(10);
  const remembered = await reader().head();
  server.publish(300);
  for (const path of [...server.objects.keys()]) {
    if (path.startsWith("tile/0/")) server.objects.delete(path);
  }
  await expect(checkHead(reader(), remembered, nodeHasher)).rejects.toThrow(refusal("wrong_tile"));
});
