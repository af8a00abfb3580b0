import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { verify } from "../../src/cli/verify.ts";
import { decodeUtf8 } from "../../src/core/bytes.ts";
import { printNote, signNote } from "../../src/core/note.ts";
import { printPolicy } from "../../src/core/policy.ts";
import { printTlogProof } from "../../src/core/tlog-proof.ts";
import { testSigner, textEntry } from "../client/build-log.ts";
import { type LogServer, startLogServer } from "../client/log-server.ts";
import { COSIGNED_AT, entries, logSigner, policy, proofOf } from "../core/signed-log.ts";
import { run, type RunOptions, temporaryFolder } from "./test-io.ts";

describe("a proof, offline", () => {
  const NOW = (COSIGNED_AT[2] + 3000) * 1000;

  function files() {
    const folder = temporaryFolder();
    const paths = {
      folder,
      proof: join(folder, "entry.tlog-proof"),
      entry: join(folder, "entry"),
      policy: join(folder, "log.policy"),
    };
    writeFileSync(paths.proof, printTlogProof(proofOf(2)));
    writeFileSync(paths.entry, entries[2] as Uint8Array);
    writeFileSync(paths.policy, printPolicy(policy));
    return paths;
  }

  const offline = (argv: readonly string[], options: RunOptions = {}) =>
    run(verify, argv, { now: NOW, ...options });

  test("verifies with a policy, and says when it was cosigned", async () => {
    const { proof, entry, policy: file } = files();
    const result = await offline([proof, entry, "--policy", file]);
    expect(result).toMatchObject({ exit: 0, stderr: "" });
    expect(result.stdout).toMatch(/^verified: entry 2 of log\.example\/cairn, in its checkpoint of size 7\n/);
    expect(result.stdout).toContain("cosigned by a at 2023-11-14T22:13:20.000Z");
    const [value] = (await offline([proof, entry, "--policy", file, "--json"])).json();
    expect(value).toMatchObject({ verified: true, index: 2, size: 7, origin: "log.example/cairn" });
    expect(value?.cosignatures).toHaveLength(3);
  });

  test("verifies with the log's key alone, which asks for no witness", async () => {
    const { proof, entry } = files();
    expect(await offline([proof, entry, "--key", logSigner.vkey])).toMatchObject({ exit: 0 });
  });

  test("takes either file from standard input", async () => {
    const { proof, entry, policy: file } = files();
    const stdin = [entries[2] as Uint8Array];
    expect((await offline([proof, "-", "--policy", file], { stdin })).exit).toBe(0);
    const halves = [readFileSync(proof).subarray(0, 50), readFileSync(proof).subarray(50)];
    expect((await offline(["-", entry, "--policy", file], { stdin: halves })).exit).toBe(0);
    expect((await offline(["-", "-", "--policy", file])).exit).toBe(2);
  });

  test("is refused with any byte of the proof or the entry changed", async () => {
    const { proof, entry, policy: file } = files();
    for (const path of [proof, entry]) {
      const bytes = readFileSync(path);
      for (let at = 0; at < bytes.length; at += path === proof ? 97 : 1) {
        const damaged = Buffer.from(bytes);
        damaged[at] = (damaged[at] as number) ^ 1;
        writeFileSync(path, damaged);
        // A changed name or key id of a witness makes its line a stranger's, which two others make up for.
        const result = await offline([proof, entry, "--policy", file, "--json"]);
        if (result.exit === 0) expect(result.json()[0]?.cosignatures).toHaveLength(2);
        else expect(result).toMatchObject({ exit: 1 });
      }
      writeFileSync(path, bytes);
    }
  });

  test("is refused by another key, another log's policy and a quorum that is not met", async () => {
    const { folder, proof, entry } = files();
    const stranger = await offline([
      proof,
      entry,
      "--key",
      testSigner(9, "log.example/cairn").vkey,
      "--json",
    ]);
    expect(stranger).toMatchObject({ exit: 1 });
    expect(stranger.json()).toMatchObject([{ error: { code: "unsigned" } }]);
    const other = await offline([proof, entry, "--key", testSigner().vkey, "--json"]);
    expect(other.json()).toMatchObject([{ error: { code: "wrong_origin" } }]);
    const alone = join(folder, "alone.tlog-proof");
    writeFileSync(
      alone,
      printTlogProof({ ...proofOf(2), checkpoint: signNote(proofOf(2).checkpoint.text, [logSigner]) }),
    );
    const policyFile = join(folder, "log.policy");
    const unwitnessed = await offline([alone, entry, "--policy", policyFile, "--json"]);
    expect(unwitnessed).toMatchObject({ exit: 1 });
    expect(unwitnessed.json()).toMatchObject([{ error: { code: "quorum_not_met" } }]);
  });

  test("is too old beyond --max-age, and young enough within it", async () => {
    const { proof, entry, policy: file } = files();
    expect((await offline([proof, entry, "--policy", file, "--max-age", "1h"])).exit).toBe(0);
    const old = await offline([proof, entry, "--policy", file, "--max-age", "49m", "--json"]);
    expect(old).toMatchObject({ exit: 1 });
    expect(old.json()).toMatchObject([{ error: { code: "too_old" } }]);
  });

  test("a policy without a log takes --key as its log, and one with a log takes none", async () => {
    const { folder, proof, entry, policy: file } = files();
    const witnessesOnly = join(folder, "witnesses.policy");
    writeFileSync(witnessesOnly, printPolicy({ ...policy, logs: [] }));
    expect((await offline([proof, entry, "--policy", witnessesOnly, "--key", logSigner.vkey])).exit).toBe(0);
    expect((await offline([proof, entry, "--policy", witnessesOnly])).exit).toBe(2);
    expect((await offline([proof, entry, "--policy", file, "--key", logSigner.vkey])).exit).toBe(2);
  });

  test.each([
    ["no proof", []],
    ["no entry", ["PROOF"]],
    ["a file too many", ["PROOF", "ENTRY", "ENTRY"]],
    ["no key", ["PROOF", "ENTRY", "-nokey"]],
    ["an age without witnesses", ["PROOF", "ENTRY", "--max-age", "1h"]],
    ["an age in words", ["PROOF", "ENTRY", "--max-age", "soon"]],
    ["--remember without --log", ["PROOF", "ENTRY", "--remember", "x"]],
    ["a proof and a log", ["PROOF", "ENTRY", "--log", "http://127.0.0.1:1", "--remember", "x"]],
    ["a log without --remember", ["--log", "http://127.0.0.1:1"]],
    ["an age with a log", ["--log", "http://127.0.0.1:1", "--remember", "x", "--max-age", "1h"]],
  ])("%s is a usage error", async (_what, argv) => {
    const { proof, entry } = files();
    const given = argv.filter((item) => item !== "-nokey");
    const keys = argv.includes("-nokey") ? [] : ["--key", logSigner.vkey];
    const paths = given.map((item) => (item === "PROOF" ? proof : item === "ENTRY" ? entry : item));
    const result = await offline([...paths, ...keys, "--json"]);
    expect(result.json()).toMatchObject([{ error: { code: "usage" } }]);
    expect(result.exit).toBe(2);
  });

  test("a file that is not there, a damaged policy and a damaged key could not be checked", async () => {
    const { folder, proof, entry, policy: file } = files();
    writeFileSync(file, "nonsense\n");
    for (const [argv, code] of [
      [[join(folder, "absent"), entry, "--key", logSigner.vkey], "file_unreadable"],
      [[proof, folder, "--key", logSigner.vkey], "file_unreadable"],
      [[proof, entry, "--policy", file], "bad_policy"],
      [[proof, entry, "--key", `${logSigner.vkey}A`], "bad_vkey"],
    ] as const) {
      const result = await offline([...argv, "--json"]);
      expect(result.exit).toBe(2);
      expect(result.json()).toMatchObject([{ error: { code } }]);
    }
  });

  test("a file too large for an entry is no entry", async () => {
    const { proof, entry } = files();
    writeFileSync(entry, new Uint8Array(65_536));
    const result = await offline([proof, entry, "--key", logSigner.vkey, "--json"]);
    expect(result).toMatchObject({ exit: 1 });
    expect(result.json()).toMatchObject([{ error: { code: "entry_too_large" } }]);
  });
});

describe("a log's head against the remembered one", () => {
  let server: LogServer;
  beforeEach(async () => {
    server = await startLogServer(Array.from({ length: 300 }, (_, i) => textEntry(i)));
  });
  afterEach(async () => await server.close());

  const against = (file: string, ...more: string[]) =>
    run(verify, ["--log", server.url, "--key", testSigner().vkey, "--remember", file, ...more]);
  const published = () => Buffer.from(server.objects.get("checkpoint") as Uint8Array);

  test("is taken at its word first, then must extend it, and is saved each time", async () => {
    const folder = temporaryFolder();
    const file = join(folder, "head");
    expect((await against(file)).stdout).toMatch(/^taken at its word/);
    expect(readFileSync(file)).toEqual(published());
    server.append(textEntry(300));
    const [value] = (await against(file, "--json")).json();
    expect(value).toMatchObject({ verified: true, relation: "extends", size: 301, previous_size: 300 });
    expect(readFileSync(file)).toEqual(published());
    expect((await against(file)).stdout).toMatch(/^unchanged/);
    expect(readdirSync(folder)).toEqual(["head"]);
  });

  test("that shrank or forked is refused with both as evidence, and what is remembered stays", async () => {
    const file = join(temporaryFolder(), "head");
    await against(file);
    const remembered = readFileSync(file);
    server.publish(299);
    const smaller = await against(file, "--json");
    server.entries[0] = textEntry(1000);
    server.publish();
    const forked = await against(file, "--json");
    for (const [result, code] of [
      [smaller, "head_smaller"],
      [forked, "inconsistent"],
    ] as const) {
      expect(result.exit).toBe(1);
      expect(result.json()).toMatchObject([
        { error: { code }, evidence: { remembered: remembered.toString() } },
      ]);
    }
    expect(forked.json()[0]?.evidence).toMatchObject({ shown: published().toString() });
    const text = await against(file);
    expect(text.exit).toBe(1);
    expect(text.stdout).toContain(remembered.toString());
    expect(text.stdout).toContain(published().toString());
    expect(text.stderr).toMatch(/\[inconsistent\]/);
    expect(readFileSync(file)).toEqual(remembered);
  });

  test("is not taken at its word where the remembered one is damaged or another key's", async () => {
    const file = join(temporaryFolder(), "head");
    await against(file);
    const good = readFileSync(file, "utf8");
    for (const bad of [
      "",
      good.slice(0, -20),
      good.replace("\n300\n", "\n299\n"),
      decodeUtf8(printNote(signNote(good.slice(0, good.indexOf("\n\n") + 1), [testSigner(9)]))),
    ]) {
      writeFileSync(file, bad);
      const result = await against(file, "--json");
      expect(result.exit).toBe(2);
      expect(result.json()).toMatchObject([{ error: { code: "bad_remembered" } }]);
      expect(readFileSync(file, "utf8")).toBe(bad);
    }
    expect(server.requests.filter(({ path }) => path === "/checkpoint")).toHaveLength(1);
  });

  test("is checked again where another process saved a newer one meanwhile", async () => {
    const file = join(temporaryFolder(), "head");
    server.publish(10);
    await against(file);
    server.publish(200);
    const newer = published();
    let raced = false;
    server.intercept = ({ path }) => {
      if (path === "/checkpoint" && !raced) {
        raced = true;
        server.publish(100);
        writeFileSync(file, newer);
      }
      return false;
    };
    // The other process remembers 200; what this one was shown, 100, must not replace it.
    const result = await against(file, "--json");
    expect(result.json()).toMatchObject([{ error: { code: "head_smaller" } }]);
    expect(readFileSync(file)).toEqual(newer);
  });

  test("that does not answer, or has no checkpoint, could not be checked", async () => {
    const file = join(temporaryFolder(), "head");
    server.objects.delete("checkpoint");
    const absent = await against(file, "--json");
    expect(absent.json()).toMatchObject([{ error: { code: "not_published_yet" } }]);
    const { url } = server;
    await server.close();
    const gone = await run(verify, ["--log", url, "--key", testSigner().vkey, "--remember", file, "--json"]);
    expect(gone.json()).toMatchObject([{ error: { code: "unreachable" } }]);
    expect([absent.exit, gone.exit]).toEqual([2, 2]);
    server = await startLogServer();
  });
});
