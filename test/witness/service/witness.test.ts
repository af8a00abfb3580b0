// The witness over a real database file: what it records, what leaves it, and what happens when recording fails.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { nodeEd25519 } from "../../../src/cli/node-ed25519.ts";
import { encodeUtf8 } from "../../../src/core/bytes.ts";
import { cosignatureTime, noblePrimitives, verifierFor } from "../../../src/core/cosignature.ts";
import { nobleHasher } from "../../../src/core/noble-hasher.ts";
import { openNote, parseNote, parseSignatureLines } from "../../../src/core/note.ts";
import { generatePrivateKey, type PrivateKey } from "../../../src/core/note-key.ts";
import { parseVkey } from "../../../src/core/vkey.ts";
import { StateError } from "../../../src/state/state.ts";
import { openWitnessState } from "../../../src/state/witness-sqlite.ts";
import type { CosignedCheckpoint, WitnessState } from "../../../src/state/witness-state.ts";
import type { ListedLog } from "../../../src/witness/service/log-list.ts";
import { KnownLogs } from "../../../src/witness/service/logs.ts";
import { Refusal } from "../../../src/witness/service/refusal.ts";
import { type Answer, Witness } from "../../../src/witness/service/witness.ts";
import { refusal } from "../../core/refusal.ts";
import { body, filler, line, PLAIN, sha256, TestLog } from "../conformance/test-log.ts";

const NOW = 1_700_000_000;
const primitives = { ...noblePrimitives, ed25519: nodeEd25519 };
const ed25519Key = generatePrivateKey("witness.example/w", sha256("ed25519"));
const mldsaKey = generatePrivateKey("witness.example/w", sha256("mldsa44"), 0x06);

let folder: string;
let state: WitnessState;
let inconsistent: [origin: string, reason: string, note: string][];
let log: TestLog;

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "cairn-witness-"));
  ({ state } = await openWitnessState(join(folder, "w.db"), "witness"));
  inconsistent = [];
  log = new TestLog("log.example/one", PLAIN, "one");
});
afterEach(() => {
  state.close();
  rmSync(folder, { recursive: true, force: true });
});

interface Made {
  readonly keys?: readonly PrivateKey[];
  readonly given?: readonly ListedLog[];
  readonly state?: WitnessState;
  readonly now?: () => number;
}

function witness(options: Made = {}): Witness {
  const first = { origin: log.origin, vkey: log.vkeys[0] as string, qpd: null, contact: null };
  const { given = [first] } = options;
  const remembered = options.state ?? state;
  return new Witness({
    keys: options.keys ?? [ed25519Key, mldsaKey],
    logs: new KnownLogs(given, remembered, primitives),
    state: remembered,
    primitives,
    hasher: nobleHasher,
    now: options.now ?? (() => NOW),
    events: {
      inconsistent: (...event) => inconsistent.push(event),
      failed: () => {},
    },
  });
}

function lines(answer: Answer): string {
  if (answer instanceof Refusal) throw new Error(`${answer.status}: ${answer.reason}`);
  return answer.lines;
}

const add = (w: Witness, text: string) => w.addCheckpoint(encodeUtf8(text));

test("every key signs with the same time, and the note for monitors holds just what was verified and signed", () => {
  const w = witness();
  const stranger = line("stranger.example", 7, filler(64));
  const answer = lines(add(w, log.request(0, 5, { before: stranger })));
  const signatures = parseSignatureLines(answer);
  expect(signatures.map(({ signature }) => cosignatureTime(signature))).toEqual([BigInt(NOW), BigInt(NOW)]);

  const note = parseNote(w.checkpoint(sha256(log.origin)) as Uint8Array);
  expect(note.text).toBe(log.text(5));
  const verifiers = [...log.vkeys, ...w.keys.vkeys].map((vkey) => verifierFor(parseVkey(vkey), primitives));
  expect(openNote(note, verifiers)).toMatchObject({ unverified: [], verified: { length: 3 } });
  expect(note.signatures.slice(1)).toEqual(signatures);
});

test("what was cosigned is remembered by a witness that starts on the same file", async () => {
  lines(add(witness(), log.request(0, 5)));
  state.close();
  ({ state } = await openWitnessState(join(folder, "w.db"), "witness"));
  expect(add(witness(), log.request(0, 9))).toMatchObject({ status: 409, reason: "5" });
  lines(add(witness(), log.request(5, 9)));
});

test("a refused checkpoint changes nothing and is reported with what the log signed, and nothing else", () => {
  const w = witness();
  lines(add(w, log.request(0, 5)));
  const before = w.checkpoint(sha256(log.origin));
  const tree = log.tree.fork(2);
  const stranger = line("stranger.example", 7, filler(64));
  expect(add(w, log.request(5, 5, { tree, before: stranger }))).toMatchObject({ status: 422 });
  expect(w.checkpoint(sha256(log.origin))).toEqual(before);
  expect(inconsistent).toEqual([
    [log.origin, expect.stringMatching(/another root/), log.checkpoint(5, { tree })],
  ]);
});

describe("recording", () => {
  /** The state with `advance` replaced. */
  function failing(advance: WitnessState["advance"]): WitnessState {
    return new Proxy(state, {
      get: (target, name) => {
        if (name === "advance") return advance;
        const value = Reflect.get(target, name);
        return typeof value === "function" ? value.bind(target) : value;
      },
    });
  }

  test("no cosignature leaves before the checkpoint is recorded", () => {
    let recorded: bigint | null = null;
    const w = witness({
      state: failing((origin, originHash, from, to) => {
        const advanced = state.advance(origin, originHash, from, to);
        recorded = state.cosigned(origin)?.size ?? null;
        return advanced;
      }),
    });
    lines(add(w, log.request(0, 5)));
    expect(recorded).toBe(5n);
  });

  test("a checkpoint that is overtaken in between is a conflict, and gets no cosignature", () => {
    const w = witness({
      state: failing((origin, originHash, from, to) => {
        const tree = log.tree.fork(1);
        const theirs = { size: 7n, root: tree.root(7) as typeof to.root, note: filler(10) };
        expect(state.advance(origin, originHash, from, theirs)).toBe(true);
        return state.advance(origin, originHash, from, to);
      }),
    });
    expect(add(w, log.request(0, 5))).toMatchObject({ status: 409, reason: "7" });
    expect(w.checkpoint(sha256(log.origin))).toEqual(Buffer.from(filler(10)));
  });

  test("where another process wrote, what it wrote is the newest from then on", async () => {
    const w = witness();
    lines(add(w, log.request(0, 5)));
    const { state: other } = await openWitnessState(join(folder, "w.db"), "beside");
    const theirs = { size: 7n, root: log.tree.root(7) as CosignedCheckpoint["root"], note: filler(10) };
    expect(other.advance(log.origin, sha256(log.origin), state.cosigned(log.origin), theirs)).toBe(true);
    other.close();
    expect(add(w, log.request(5, 9))).toMatchObject({ status: 409, reason: "7" });
    lines(add(w, log.request(7, 9)));
  });

  test("where nothing was written, the witness goes on", async () => {
    let full = true;
    const w = witness({
      state: failing((...args) => {
        if (full) throw new StateError("the disk is full", { outcome: "not_applied", noSpace: true });
        return state.advance(...args);
      }),
    });
    expect(add(w, log.request(0, 5))).toMatchObject({ status: 503 });
    full = false;
    lines(add(w, log.request(0, 5)));
    expect(await Promise.race([w.failed, Promise.resolve("running")])).toBe("running");
  });

  test("where it is unknown what was written, nothing is ever answered again", async () => {
    let broken = true;
    const w = witness({
      state: failing((...args) => {
        if (broken) throw new StateError("the disk failed", { outcome: "unknown" });
        return state.advance(...args);
      }),
    });
    expect(add(w, log.request(0, 5))).toMatchObject({ status: 503 });
    broken = false;
    expect(add(w, log.request(0, 5))).toMatchObject({ status: 503 });
    expect(w.signSubtree(encodeUtf8(""))).toMatchObject({ status: 503 });
    expect(await w.failed).toMatchObject({ code: "commit_unknown" });
  });
});

describe("keys", () => {
  test("one of each type, or one alone", () => {
    for (const keys of [[ed25519Key], [mldsaKey], [ed25519Key, mldsaKey]]) {
      const w = witness({ keys });
      expect(w.keys.vkeys).toHaveLength(keys.length);
      expect(w.keys.signsSubtrees).toBe(keys.includes(mldsaKey));
    }
  });

  test("several of one type", () => {
    const second = generatePrivateKey("witness.example/w", sha256("a second one"));
    const w = witness({ keys: [ed25519Key, second] });
    expect(parseSignatureLines(lines(add(w, log.request(0, 1))))).toHaveLength(2);
  });

  test("none, or one twice, even under another name, is refused", () => {
    expect(() => witness({ keys: [] })).toThrow(refusal("bad_config"));
    expect(() => witness({ keys: [ed25519Key, ed25519Key] })).toThrow(refusal("bad_config"));
    const renamed = generatePrivateKey("other.example", ed25519Key.seed);
    expect(() => witness({ keys: [ed25519Key, renamed] })).toThrow(refusal("bad_config"));
  });

  test("an origin that ML-DSA-44 cannot state is cosigned with the other key alone", () => {
    log = new TestLog(`long.example/${"x".repeat(300)}`, PLAIN, "long");
    expect(parseSignatureLines(lines(add(witness(), log.request(0, 1))))).toHaveLength(1);
    expect(add(witness({ keys: [mldsaKey] }), log.request(1, 1))).toMatchObject({ status: 400 });
  });

  test("a clock before 1970 signs nothing, since a time of zero would be no time", () => {
    expect(() => add(witness({ now: () => 0 }), log.request(0, 1))).toThrow(RangeError);
    expect(state.cosigned(log.origin)).toBeNull();
  });
});

describe("subtrees", () => {
  const subtree = (reference: string, changed: { first?: string; hash?: Uint8Array } = {}) =>
    encodeUtf8(
      body(
        changed.first ?? "subtree 8 13",
        [changed.hash ?? log.tree.hash(8, 13), ...log.tree.subtreeProof(8, 13, 14)],
        reference,
      ),
    );

  test("are signed by the keys that signed the checkpoint, without a time", () => {
    const w = witness();
    const reference = `${log.text(14)}\n${lines(add(w, log.request(0, 14)))}`;
    const [signature] = parseSignatureLines(lines(w.signSubtree(subtree(reference))));
    expect(signature).toMatchObject({ name: mldsaKey.name, keyId: mldsaKey.keyId });
    expect(cosignatureTime((signature as { signature: Uint8Array }).signature)).toBe(0n);
  });

  test("are signed by the keys that can, where only another one signed the checkpoint", () => {
    const [ed25519Line = ""] = lines(add(witness({ keys: [ed25519Key] }), log.request(0, 14))).split(
      /(?<=\n)/,
    );
    const answer = lines(witness().signSubtree(subtree(`${log.text(14)}\n${ed25519Line}`)));
    expect(parseSignatureLines(answer)).toMatchObject([{ keyId: mldsaKey.keyId }]);
  });

  test("are refused in the order 404, 403, 422", () => {
    const w = witness();
    const reference = `${log.text(14)}\n${lines(add(w, log.request(0, 14)))}`;
    const hash = filler(32);
    expect(w.signSubtree(subtree(reference.replace(log.origin, "x"), { hash }))).toMatchObject({
      status: 404,
    });
    expect(w.signSubtree(subtree(log.checkpoint(14), { hash }))).toMatchObject({ status: 403 });
    expect(w.signSubtree(subtree(reference, { hash }))).toMatchObject({ status: 422 });
  });

  test("a damaged cosignature of ours beside a good one is refused", () => {
    const w = witness();
    const [good = "", second = ""] = lines(add(w, log.request(0, 14))).split(/(?<=\n)/);
    const own = parseSignatureLines(second)[0] as { name: string; keyId: number; signature: Uint8Array };
    const bad = line(
      own.name,
      own.keyId,
      own.signature.map((byte) => byte ^ 1),
    );
    expect(w.signSubtree(subtree(`${log.text(14)}\n${good}${bad}`))).toMatchObject({ status: 403 });
  });
});

test("whatever is damaged in a request is refused by one of the protocol's statuses, and never a fault", () => {
  log = new TestLog("log.example/two", { keys: ["ed25519", "mldsa44"] }, "two");
  const given = log.vkeys.map((vkey) => ({ origin: log.origin, vkey, qpd: null, contact: null }));
  lines(add(witness({ given }), log.request(0, 3)));
  const forgetful = new Proxy(state, {
    get: (target, name) => {
      const value = name === "advance" ? () => true : Reflect.get(target, name);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
  const whole = encodeUtf8(log.request(3, 5, { signers: log.signers }));
  const statuses = new Set<number>();
  for (let at = 0; at < whole.length; at += at < 300 ? 1 : 37) {
    for (const byte of [0x0a, 0x41, (whole[at] as number) ^ 1]) {
      const damaged = Uint8Array.from(whole);
      damaged[at] = byte;
      const answer = witness({ given, keys: [ed25519Key], state: forgetful }).addCheckpoint(damaged);
      // A line whose key's name is damaged is one by nobody that is known, and the other line is enough.
      statuses.add(answer instanceof Refusal ? answer.status : 200);
    }
  }
  expect([...statuses].toSorted((a, b) => a - b)).toEqual([200, 400, 403, 404, 409, 422]);
});

test("a rate is asked for once the log's signature is verified, and never by others' requests", () => {
  const w = witness();
  const asked: string[] = [];
  const admit = (origin: string) => {
    asked.push(origin);
    return false;
  };
  const other = new TestLog("other.example", PLAIN, "other");
  expect(w.addCheckpoint(encodeUtf8(other.request(0, 1)), admit)).toMatchObject({ status: 404 });
  expect(w.addCheckpoint(encodeUtf8(log.request(0, 1, { signers: [other.signer] })), admit)).toMatchObject({
    status: 403,
  });
  expect(asked).toEqual([]);
  expect(w.addCheckpoint(encodeUtf8(log.request(0, 1)), admit)).toMatchObject({ status: 429 });
  expect(asked).toEqual([log.origin]);
  expect(state.cosigned(log.origin)).toBeNull();
});
