// The publisher's side: who gets in, what an acknowledgement looks like, and proofs that hold without the log.

import { createHash } from "node:crypto";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { expect, inject, test } from "vitest";
import { add, addBatch, addForProof, addJson, entries, ready, untilPublished } from "./client.ts";
import { cairn, create, newPlace, ORIGIN, run, temporaryFolder } from "./server.ts";
import { exchange } from "./socket.ts";

test("a client that sends no content type gets in, and so does one that sends any other", async () => {
  const server = await create(await newPlace());
  const types = [
    "text/plain",
    "application/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "application/vnd.no-one-knows+x; a=b",
    "not a type at all",
    "",
  ];
  for (const [i, type] of types.entries()) {
    const entry = Buffer.from(`entry ${i}`);
    const response = await fetch(`${server.url}/add`, {
      method: "POST",
      headers: { "Content-Type": type },
      body: entry,
    });
    expect([response.status, await response.text()], type).toEqual([200, `${i}`]);
  }
  const answer = await exchange(
    server,
    "POST /add HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nConnection: close\r\n\r\nplain",
  );
  expect(answer.status).toBe(200);
  expect(answer.body).toBe(`${types.length}`);
});

test("the answer to /add is exactly the digits of the index, as text", async () => {
  const server = await create(await newPlace());
  for (const [i, entry] of entries(12).entries()) {
    const response = await fetch(`${server.url}/add`, { method: "POST", body: Buffer.from(entry) });
    expect(response.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    expect(response.headers.get("content-length")).toBe(`${String(i).length}`);
    expect(await response.text()).toBe(`${i}`);
  }
});

test("bytes that are no text are logged as they are, from one byte to 65,535", async () => {
  const place = await newPlace();
  const server = await create(place);
  const odd = [
    Buffer.from([0]),
    Buffer.from([0xff, 0xfe, 0x00, 0x0a, 0x0d]),
    Buffer.from("\r\n\r\nPOST /add HTTP/1.1\r\n\r\n"),
    Buffer.alloc(65_535, 0x0a),
  ];
  for (const [i, entry] of odd.entries()) expect(await add(server, entry)).toBe(i);
  await untilPublished(server, odd.length);
  const bundle = Buffer.from(await (await fetch(`${server.url}/tile/entries/000.p/4`)).arrayBuffer());
  const expected = odd.flatMap((entry) => [Buffer.from([entry.length >> 8, entry.length & 0xff]), entry]);
  expect(bundle.equals(Buffer.concat(expected))).toBe(true);
});

test("Accept: application/json gets index, leaf hash and whether the entry was known; proof=true wins over it", async () => {
  const server = await create(await newPlace());
  // RFC 6962, section 2.1: the hash of a zero byte and the entry.
  const leafHash = createHash("sha256").update("\0hello").digest("base64");
  expect(await addJson(server, "hello")).toEqual({ index: 0, leafHash, duplicate: false });
  expect(await addJson(server, "hello")).toEqual({ index: 0, leafHash, duplicate: true });
  const response = await fetch(`${server.url}/add?proof=true`, {
    method: "POST",
    headers: { Accept: "application/json" },
    body: "hello",
  });
  expect(response.headers.get("content-type")).toBe("text/plain; charset=utf-8");
  expect(await response.text()).toMatch(/^c2sp\.org\/tlog-proof@v1\n/);
});

test("the same entry posted a hundred times at once has one index, and is one entry", async () => {
  const server = await create(await newPlace());
  const receipts = await Promise.all(Array.from({ length: 100 }, () => addJson(server, "again")));
  expect(new Set(receipts.map(({ index }) => index))).toEqual(new Set([0]));
  expect(receipts.filter(({ duplicate }) => !duplicate)).toHaveLength(1);
  expect((await ready(server)).next_index).toBe(1);
});

test("a proof verifies offline when the log is gone", async () => {
  const place = await newPlace();
  const server = await create(place);
  await addBatch(server, entries(300));
  const files = await proofFiles(await addForProof(server, "the entry"), "the entry");
  await server.stop();
  const verified = await cairn(["verify", files.proof, files.entry, "--key", place.vkey, "--json"]);
  expect(verified.code).toBe(0);
  expect(JSON.parse(verified.stdout)).toMatchObject({ verified: true, origin: ORIGIN, index: 300 });

  await writeFile(files.entry, "another entry");
  const other = await cairn(["verify", files.proof, files.entry, "--key", place.vkey]);
  expect(other.code).toBe(1);
  expect(other.stderr).toContain("[inclusion_failed]");
});

test("a proof is refused with each of its bytes flipped, with each of its lines gone, doubled or cut short", async () => {
  const place = await newPlace();
  const server = await create(place);
  // So that the proof has several hashes.
  await addBatch(server, entries(5));
  const proof = Buffer.from(await addForProof(server, "the entry"));
  const files = await proofFiles(proof, "the entry");

  const damaged: Buffer[] = [];
  for (let at = 0; at < proof.length; at++) {
    for (const flip of [0x01, 0x20, 0x80]) {
      const copy = Buffer.from(proof);
      copy[at] = (copy[at] as number) ^ flip;
      damaged.push(copy);
    }
  }
  const lines = proof.toString().split(/(?<=\n)/);
  for (const [i, line] of lines.entries()) {
    const put = (...instead: string[]) => Buffer.from(lines.toSpliced(i, 1, ...instead).join(""));
    damaged.push(
      put(),
      put(line.slice(0, line.length >> 1), "\n"),
      put(` ${line}`),
      put(line.trimEnd(), " \n"),
    );
    // A signature that stands there twice is still a signature.
    if (!line.startsWith("\u2014 ")) damaged.push(put(line, line));
  }
  damaged.push(Buffer.alloc(0), Buffer.concat([proof, proof]), Buffer.concat([proof, Buffer.from("\n")]));

  const different = damaged.filter((bytes) => !bytes.equals(proof));
  const codes = await verifyMany([proof, ...different], files, place.vkey);
  expect(codes[0]).toBe(0);
  const accepted = different.filter((_, i) => codes[i + 1] !== 1);
  expect(accepted.map((bytes) => bytes.toString("latin1"))).toEqual([]);
});

test("a proof is refused under another log's key, and without a key it is not looked at", async () => {
  const server = await create(await newPlace());
  const files = await proofFiles(await addForProof(server, "the entry"), "the entry");
  const stranger = await newPlace();
  const refused = await cairn(["verify", files.proof, files.entry, "--key", stranger.vkey]);
  expect(refused).toMatchObject({ code: 1, stdout: "" });
  expect(refused.stderr).toContain("[unsigned]");
  expect(await cairn(["verify", files.proof, files.entry])).toMatchObject({ code: 2, stdout: "" });
});

interface ProofFiles {
  readonly folder: string;
  readonly proof: string;
  readonly entry: string;
}

async function proofFiles(proof: Uint8Array, entry: string): Promise<ProofFiles> {
  const folder = await temporaryFolder();
  const files = { folder, proof: join(folder, "entry.tlog-proof"), entry: join(folder, "entry") };
  await writeFile(files.proof, proof);
  await writeFile(files.entry, entry);
  return files;
}

/** The exit codes of `cairn verify` on each proof: the program itself, run over and over in one process. */
async function verifyMany(
  proofs: readonly Uint8Array[],
  { folder, entry }: ProofFiles,
  vkey: string,
): Promise<number[]> {
  const input = join(folder, "proofs.json");
  await writeFile(input, JSON.stringify(proofs.map((proof) => Buffer.from(proof).toString("base64"))));
  const dist = pathToFileURL(join(inject("cairnPackage"), "dist/cli/")).href;
  const script = `
    import { readFileSync, writeFileSync } from "node:fs";
    import { cairn } from "${dist}dispatch.js";
    import { processIo } from "${dist}process-io.js";
    const quiet = { isTerminal: false, write: async () => {} };
    const io = { ...processIo(), stdout: quiet, stderr: quiet };
    const codes = [];
    for (const proof of JSON.parse(readFileSync(${JSON.stringify(input)}, "utf8"))) {
      writeFileSync("damaged", Buffer.from(proof, "base64"));
      codes.push(await cairn.run(["verify", "damaged", ${JSON.stringify(entry)}, "--key", "${vkey}"], io));
    }
    process.stdout.write(JSON.stringify(codes));
  `;
  const ran = await run(["--input-type=module", "--eval", script], { cwd: folder });
  expect(ran, ran.stderr).toMatchObject({ code: 0 });
  return JSON.parse(ran.stdout) as number[];
}
