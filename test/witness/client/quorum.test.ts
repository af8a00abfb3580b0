import { getEventListeners } from "node:events";
import { describe, expect, test } from "vitest";
import { bulkHasher } from "../../../src/core/bulk-hasher.ts";
import { decodeUtf8 } from "../../../src/core/bytes.ts";
import { printCheckpoint } from "../../../src/core/checkpoint.ts";
import { cosignatureVkey } from "../../../src/core/cosignature.ts";
import { nobleEd25519 } from "../../../src/core/ed25519.ts";
import { CairnError } from "../../../src/core/errors.ts";
import { HASH_BYTES } from "../../../src/core/hash.ts";
import { consistencyRanges, perfectRoot } from "../../../src/core/merkle.ts";
import { nobleHasher } from "../../../src/core/noble-hasher.ts";
import { generatePrivateKey, noteSigner, noteVerifier, privateKeyVkey } from "../../../src/core/note-key.ts";
import { MLDSA44_SIGNATURE_BYTES } from "../../../src/core/mldsa.ts";
import { parseNote, printNote, printSignatureLine, signNote } from "../../../src/core/note.ts";
import { policyFromQuorum } from "../../../src/core/policy.ts";
import { SIGNATURE_TYPE } from "../../../src/core/vkey.ts";
import { hasDisjointQuorums } from "../../../src/witness/client/overlap.ts";
import { Quorum, type QuorumOptions } from "../../../src/witness/client/quorum.ts";
import { FakeClock, turns } from "../../log/doubles/fake-clock.ts";
import { FakeWitness, network } from "./fake-witness.ts";

const ORIGIN = "log.example/one";
const LOG_KEY = generatePrivateKey(ORIGIN, new Uint8Array(32).fill(9));
const SIGNER = noteSigner(LOG_KEY, nobleEd25519);
const VERIFIER = noteVerifier(privateKeyVkey(LOG_KEY), nobleEd25519);
/** What stands before the signature proper. */
const TIMESTAMP_BYTES = 8;
const LEAVES = new Uint8Array(64 * HASH_BYTES).map((_, i) => (i * 37) ^ (i >> 5));
const hasher = bulkHasher(nobleHasher).tree;

function rootOf(size: number): Uint8Array {
  return size === 0 ? hasher.empty() : perfectRoot(LEAVES.subarray(0, size * HASH_BYTES), hasher);
}

function noteOf(size: number, root = rootOf(size)): Uint8Array {
  const text = printCheckpoint({ origin: ORIGIN, size: BigInt(size), root: root as never, extensions: [] });
  return printNote(signNote(text, [SIGNER]));
}

function setUp(quorum: number, witnesses: readonly FakeWitness[], more: Partial<QuorumOptions> = {}) {
  const clock = new FakeClock();
  const troubles: string[] = [];
  const remembered = new Map<string, number>();
  const asked = new Quorum({
    origin: ORIGIN,
    policy: policyFromQuorum(
      witnesses.map(({ name, key, url }) => ({ name, key: cosignatureVkey(key), url })),
      quorum,
    ),
    peers: witnesses.map(({ peer }) => peer),
    ignored: new Set(),
    surplusWaitMs: 0,
    fetch: network(witnesses),
    clock,
    sha256: hasher.sha256,
    logVerifiers: [VERIFIER],
    sizes: new Map(),
    remember: async (name, size) => {
      remembered.set(name, size);
    },
    consistencyProof: async (from, to) =>
      consistencyRanges(from, to).map(({ start, end }) =>
        perfectRoot(LEAVES.subarray(start * HASH_BYTES, end * HASH_BYTES), hasher),
      ),
    rootAt: async (size) => {
      if (size > 40) throw new CairnError("not_published");
      return rootOf(size);
    },
    requireOwnership: async () => {},
    onTrouble: (what, detail) => troubles.push(`${what}: ${detail}`),
    ...more,
  });
  return { quorum: asked, clock, troubles, remembered };
}

function three(): [FakeWitness, FakeWitness, FakeWitness] {
  return [new FakeWitness("a", 1), new FakeWitness("b", 2), new FakeWitness("c", 3)];
}

function signersOf(note: Uint8Array): string[] {
  return parseNote(note).signatures.map(({ name }) => name);
}

describe("gathering", () => {
  test("publishes our lines first, then one line of each witness in the policy's order", async () => {
    const witnesses = three();
    const { quorum, remembered } = setUp(3, witnesses);
    const note = await quorum.gather(noteOf(5), 5);
    expect(signersOf(note)).toEqual([ORIGIN, "a.example", "b.example", "c.example"]);
    expect(decodeUtf8(note).startsWith(decodeUtf8(noteOf(5)))).toBe(true);
    expect(Object.fromEntries(remembered)).toEqual({ a: 5, b: 5, c: 5 });
  });

  test("sends a consistency proof from the size that each witness had", async () => {
    const witnesses = three();
    const { quorum } = setUp(3, witnesses);
    for (const size of [1, 2, 3, 7, 8, 9, 31, 33]) await quorum.gather(noteOf(size), size);
    expect(witnesses[0].asked.map(({ old, size }) => `${old}-${size}`)).toEqual([
      "0-1",
      "1-2",
      "2-3",
      "3-7",
      "7-8",
      "8-9",
      "9-31",
      "31-33",
    ]);
  });

  test("answers a 409 with a fresh proof in the same round", async () => {
    const witnesses = three();
    const before = setUp(3, witnesses);
    await before.quorum.gather(noteOf(6), 6);
    const { quorum } = setUp(3, witnesses, { sizes: new Map([["a", 3]]) });
    expect(signersOf(await quorum.gather(noteOf(11), 11))).toHaveLength(4);
    expect(witnesses[0].asked.slice(-2)).toEqual([
      { old: 3, size: 11 },
      { old: 6, size: 11 },
    ]);
  });

  test("cosigns the same size again, with a new time", async () => {
    const witnesses = three();
    const { quorum } = setUp(2, witnesses);
    const first = await quorum.gather(noteOf(5), 5);
    for (const witness of witnesses) witness.time += 600;
    const second = await quorum.gather(noteOf(5), 5);
    expect(decodeUtf8(second)).not.toBe(decodeUtf8(first));
  });

  test("drops a valid line by a key that is not pinned", async () => {
    const witnesses = three();
    const evil = new FakeWitness("evil", 99);
    const { quorum } = setUp(2, witnesses);
    witnesses[0].misbehave = ({ note }) => {
      const line = evil.cosign(note.text);
      return new Response(
        decodeUtf8(printNote({ text: note.text, signatures: [line] })).slice(note.text.length + 1),
      );
    };
    const note = await quorum.gather(noteOf(5), 5);
    expect(signersOf(note)).toEqual([ORIGIN, "b.example", "c.example"]);
    expect(quorum.status()[0]).toMatchObject({ name: "a", state: "failing" });
  });

  test.each<[string, () => Response | Promise<Response>]>([
    ["a forged line", () => new Response("— a.example AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\n")],
    ["no line", () => new Response("")],
    ["what is not text", () => new Response(new Uint8Array([0xff, 0xfe, 0x00]))],
    ["megabytes", () => new Response(new Uint8Array(4 * 1024 * 1024).fill(0x41))],
    ["a 500", () => new Response("oops", { status: 500 })],
    ["a 404", () => new Response(null, { status: 404 })],
    ["a 409 without a size", () => new Response("later", { status: 409 })],
    ["nothing", () => new Promise<Response>(() => {})],
    ["a broken connection", () => Promise.reject(new TypeError("fetch failed"))],
  ])("a witness that answers with %s costs its own vote and nothing else", async (_name, misbehave) => {
    const witnesses = three();
    witnesses[1].misbehave = misbehave;
    const { quorum } = setUp(2, witnesses);
    expect(signersOf(await quorum.gather(noteOf(5), 5))).toEqual([ORIGIN, "a.example", "c.example"]);
    quorum.close();
  });

  test("without a quorum nothing is given until one comes back, after a pause that doubles", async () => {
    const witnesses = three();
    witnesses[1].misbehave = () => new Response(null, { status: 503 });
    witnesses[2].misbehave = () => new Response(null, { status: 503 });
    const { quorum, clock } = setUp(2, witnesses);
    let given: Uint8Array | null = null;
    const gathering = quorum.gather(noteOf(5), 5).then((note) => {
      given = note;
    });
    await settle();
    expect(given).toBeNull();
    const before = witnesses[1].asked.length;
    await turn(clock, 999);
    expect(witnesses[1].asked).toHaveLength(before);
    await turn(clock, 1);
    expect(witnesses[1].asked).toHaveLength(before + 1);
    await turn(clock, 1999);
    expect(witnesses[1].asked).toHaveLength(before + 1);
    await turn(clock, 1);
    expect(witnesses[1].asked).toHaveLength(before + 2);
    witnesses[2].misbehave = null;
    await turn(clock, 4000);
    await gathering;
    expect(signersOf(given as never)).toEqual([ORIGIN, "a.example", "c.example"]);
  });

  test("waits for surplus cosignatures as long as it was told, once the quorum is met", async () => {
    const witnesses = three();
    const release = held(witnesses[2]);
    const { quorum, clock } = setUp(2, witnesses, { surplusWaitMs: 100 });
    const gathered = given(quorum.gather(noteOf(5), 5));
    await turn(clock, 99);
    expect(gathered.note).toBeNull();
    await turn(clock, 1);
    expect(signersOf(gathered.note as never)).toEqual([ORIGIN, "a.example", "b.example"]);
    release();
  });

  test("a surplus cosignature that comes in time is published, and the last one ends the wait", async () => {
    const witnesses = three();
    const release = held(witnesses[2]);
    const { quorum, clock } = setUp(2, witnesses, { surplusWaitMs: 60_000 });
    const gathered = given(quorum.gather(noteOf(5), 5));
    await turn(clock, 10);
    expect(gathered.note).toBeNull();
    release();
    await settle();
    expect(signersOf(gathered.note as never)).toEqual([ORIGIN, "a.example", "b.example", "c.example"]);
    // Nothing is left that would hold up the end of the process.
    expect(clock.pending).toBe(0);
  });

  test("rounds leave nothing behind with those who may end them", async () => {
    const { quorum } = setUp(2, three());
    const abandon = new AbortController();
    for (let size = 5; size < 25; size++) await quorum.gather(noteOf(size), size, abandon.signal);
    await settle();
    expect(getEventListeners(abandon.signal, "abort")).toEqual([]);
  });

  test("an ML-DSA-44 cosignature counts like an Ed25519 one, and a forged one like none", async () => {
    const pq = new FakeWitness("pq", 4, SIGNATURE_TYPE.mldsa44);
    const witnesses = [...three().slice(0, 2), pq];
    const { quorum } = setUp(3, witnesses);
    const note = parseNote(await quorum.gather(noteOf(5), 5));
    expect(note.signatures.map(({ name }) => name)).toEqual([ORIGIN, "a.example", "b.example", "pq.example"]);
    expect(note.signatures.at(-1)?.signature).toHaveLength(TIMESTAMP_BYTES + MLDSA44_SIGNATURE_BYTES);

    pq.misbehave = ({ note: asked }) => {
      const { signature, ...line } = pq.cosign(asked.text);
      return new Response(
        printSignatureLine({ ...line, signature: signature.with(-1, 0xff ^ (signature.at(-1) ?? 0)) }),
      );
    };
    const second = setUp(2, witnesses).quorum;
    expect(signersOf(await second.gather(noteOf(6), 6))).toEqual([ORIGIN, "a.example", "b.example"]);
    expect(second.status()[2]).toMatchObject({ name: "pq", state: "failing" });
    second.close();
  });

  test("an abandoned gathering ends, and gives nothing", async () => {
    const witnesses = three();
    for (const witness of witnesses) witness.misbehave = () => new Response(null, { status: 403 });
    const { quorum } = setUp(2, witnesses);
    const abandon = new AbortController();
    const gathering = quorum.gather(noteOf(0), 0, abandon.signal);
    abandon.abort();
    await expect(gathering).rejects.toMatchObject({ code: "draining" });
  });

  test("an ignored witness is not asked and has no vote", async () => {
    const witnesses = three();
    const { quorum } = setUp(2, witnesses, { ignored: new Set(["b"]) });
    expect(signersOf(await quorum.gather(noteOf(5), 5))).toEqual([ORIGIN, "a.example", "c.example"]);
    expect(witnesses[1].asked).toEqual([]);
    expect(quorum.status()[1]).toMatchObject({ state: "ignored" });
  });

  test("a policy that cannot be met without the ignored ones is refused, naming the variables", () => {
    expect(() => setUp(3, three(), { ignored: new Set(["b"]) })).toThrow(/WITNESS_QUORUM or WITNESS_POLICY/);
  });
});

describe("claims", () => {
  test("a larger size without our signature is an alarm, and the log goes on with the others", async () => {
    const witnesses = three();
    witnesses[0].misbehave = () => new Response("1000\n", { status: 409 });
    const { quorum, troubles } = setUp(2, witnesses);
    expect(signersOf(await quorum.gather(noteOf(5), 5))).toEqual([ORIGIN, "b.example", "c.example"]);
    await settle();
    expect(quorum.status()[0]).toMatchObject({ state: "claims_larger" });
    expect(troubles.some((line) => line.startsWith("witness_claims_larger: a"))).toBe(true);
  });

  test("our own signature on a larger head is proof, and stops the log", async () => {
    const witnesses = three();
    witnesses[0].misbehave = () => new Response("50\n", { status: 409 });
    witnesses[0].shows = noteOf(50);
    const { quorum } = setUp(3, witnesses);
    await expect(quorum.gather(noteOf(5), 5)).rejects.toMatchObject({ code: "overtaken" });
  });

  test("our own signature on another root of a size of ours is proof too", async () => {
    const witnesses = three();
    witnesses[0].misbehave = () => new Response("no", { status: 422 });
    witnesses[0].shows = noteOf(3, rootOf(7));
    const { quorum } = setUp(3, witnesses, { sizes: new Map([["a", 3]]) });
    await expect(quorum.gather(noteOf(5), 5)).rejects.toMatchObject({ code: "overtaken" });
  });

  test("a note that somebody else signed proves nothing", async () => {
    const witnesses = three();
    const forger = noteSigner(generatePrivateKey(ORIGIN, new Uint8Array(32).fill(77)), nobleEd25519);
    const text = printCheckpoint({ origin: ORIGIN, size: 50n, root: rootOf(50) as never, extensions: [] });
    witnesses[0].misbehave = () => new Response("50\n", { status: 409 });
    witnesses[0].shows = printNote(signNote(text, [forger]));
    const { quorum } = setUp(2, witnesses);
    expect(signersOf(await quorum.gather(noteOf(5), 5))).toHaveLength(3);
  });

  test("where the head is no longer ours, that is what is said", async () => {
    const witnesses = three();
    witnesses[0].misbehave = () => new Response("50\n", { status: 409 });
    const { quorum } = setUp(3, witnesses, {
      requireOwnership: () => Promise.reject(new CairnError("fenced")),
    });
    await expect(quorum.gather(noteOf(5), 5)).rejects.toMatchObject({ code: "fenced" });
  });
});

describe("before the first signature of a process", () => {
  test("every witness is asked with old size 0, and a smaller size is answered with a proof", async () => {
    const witnesses = three();
    await setUp(3, witnesses).quorum.gather(noteOf(4), 4);
    const { quorum } = setUp(2, witnesses);
    await quorum.settle(noteOf(9), 9);
    expect(witnesses.map(({ asked }) => asked.slice(-2))).toEqual(
      witnesses.map(() => [
        { old: 0, size: 9 },
        { old: 4, size: 9 },
      ]),
    );
  });

  test("with two of three, one that claims without proof cannot stop the log", async () => {
    const witnesses = three();
    witnesses[2].misbehave = () => new Response("1000\n", { status: 409 });
    await setUp(2, witnesses).quorum.settle(noteOf(9), 9);
  });

  test("with two of three, two silent ones hold the signature until one answers", async () => {
    const witnesses = three();
    const silent = () => new Response(null, { status: 502 });
    witnesses[1].misbehave = silent;
    witnesses[2].misbehave = silent;
    const { quorum, clock } = setUp(2, witnesses);
    let settled = false;
    const settling = quorum.settle(noteOf(9), 9).then(() => {
      settled = true;
    });
    await settle();
    await turn(clock, 1000);
    expect(settled).toBe(false);
    witnesses[1].misbehave = null;
    await turn(clock, 30_000);
    await settling;
    expect(settled).toBe(true);
  });

  test("a restored copy is stopped by the proof that a witness holds", async () => {
    const witnesses = three();
    const original = setUp(2, witnesses);
    await original.quorum.gather(noteOf(50), 50);
    await settle();
    await expect(setUp(2, witnesses).quorum.settle(noteOf(9), 9)).rejects.toMatchObject({
      code: "overtaken",
    });
  });

  test("an empty tree is refused where the others cannot meet the policy, and silence is no refusal", async () => {
    const witnesses = three();
    const { quorum, clock } = setUp(2, witnesses);
    const refusing = () => new Response("no empty logs\n", { status: 400 });
    const silent = () => {
      throw new TypeError("fetch failed");
    };
    witnesses[0].misbehave = refusing;
    witnesses[1].misbehave = silent;
    witnesses[2].misbehave = silent;
    const abandon = new AbortController();
    const gathering = quorum.gather(noteOf(0), 0, abandon.signal).catch(() => {});
    const again = async (): Promise<boolean> => {
      for (let i = 0; i < 20; i++) {
        clock.advance(5000);
        await turns(10);
      }
      return quorum.refusesEmpty;
    };
    expect(await again()).toBe(false);
    witnesses[1].misbehave = refusing;
    expect(await again()).toBe(true);
    witnesses[0].misbehave = silent;
    expect(await again()).toBe(false);
    abandon.abort();
    await gathering;
  });

  test("any answer to a note of size 0 counts as an answer", async () => {
    const witnesses = three();
    for (const witness of witnesses) witness.misbehave = () => new Response(null, { status: 400 });
    await setUp(3, witnesses).quorum.settle(noteOf(0), 0);
  });
});

test("policies whose quorums need not meet are told from those whose quorums do", () => {
  const witnesses = three().map(({ name, key, url }) => ({ name, key: cosignatureVkey(key), url }));
  expect(hasDisjointQuorums(policyFromQuorum(witnesses, 1))).toBe(true);
  expect(hasDisjointQuorums(policyFromQuorum(witnesses, 2))).toBe(false);
  expect(hasDisjointQuorums(policyFromQuorum(witnesses, 3))).toBe(false);
  expect(hasDisjointQuorums(policyFromQuorum(witnesses.slice(0, 2), 1))).toBe(true);
});

/** Holds a witness's answers back until the function that it returns is called. */
function held(witness: FakeWitness): () => void {
  let release = (): void => {};
  const until = new Promise<null>((resolve) => {
    release = () => resolve(null);
  });
  witness.misbehave = () => until;
  return () => release();
}

/** What a gathering has given so far. */
function given(gathering: Promise<Uint8Array>): { readonly note: Uint8Array | null } {
  const state: { note: Uint8Array | null } = { note: null };
  void gathering.then((note) => {
    state.note = note;
  });
  return state;
}

/** Lets everything that is not waiting for the clock happen. */
async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve));
}

/** Turns the clock on, letting what each timer starts go as far as it can. */
async function turn(clock: FakeClock, ms: number): Promise<void> {
  for (let left = ms; ; ) {
    await settle();
    const next = clock.untilNext;
    if (next === null || next > left) {
      clock.advance(left);
      return settle();
    }
    clock.advance(next);
    left -= next;
  }
}
