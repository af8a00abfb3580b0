// Receipts: who gets one, when, and what is verified before it is given.

import { describe, expect, it } from "vitest";
import { nodeEd25519 } from "../../src/cli/node-ed25519.ts";
import { nodeHasher } from "../../src/cli/node-hasher.ts";
import { printCheckpoint } from "../../src/core/checkpoint.ts";
import type { CairnError } from "../../src/core/errors.ts";
import { type Hash, asHash } from "../../src/core/hash.ts";
import { verifyInclusion } from "../../src/core/merkle.ts";
import { generatePrivateKey, noteSigner, noteVerifier, privateKeyVkey } from "../../src/core/note-key.ts";
import { printNote, signNote } from "../../src/core/note.ts";
import { parseTlogProof } from "../../src/core/tlog-proof.ts";
import type { PublishedCheckpoint, ReadObject } from "../../src/log/api.ts";
import { PROOF_WAITERS_MAX, Proofs } from "../../src/log/proofs.ts";
import { publishedCheckpoint } from "../../src/log/publisher.ts";
import { naiveLeaf, naiveTree } from "../core/naive.ts";
import { FakeClock, turns } from "./doubles/fake-clock.ts";
import { entriesOf } from "./doubles/entries.ts";

const ORIGIN = "example.com/log";
const key = generatePrivateKey(ORIGIN, new Uint8Array(32).fill(3));
const signer = noteSigner(key, nodeEd25519);
const leaves = entriesOf(0, 600).map(naiveLeaf);
const tree = naiveTree(leaves);

function checkpointOf(size: number): PublishedCheckpoint {
  const root = asHash(tree.root(0, size));
  const text = printCheckpoint({ origin: ORIGIN, size: BigInt(size), root, extensions: [] });
  return publishedCheckpoint(printNote(signNote(text, [signer])), size, root, 0);
}

interface RigOptions {
  readonly published?: number | null;
  readonly read?: (bytes: Uint8Array) => Uint8Array;
  /** The store, where tiles are not in memory. */
  readonly store?: () => Promise<void>;
}

function rig(options: RigOptions = {}) {
  const clock = new FakeClock();
  let published = options.published === null ? null : checkpointOf(options.published ?? 500);
  let verified = 0;
  const verifier = noteVerifier(privateKeyVkey(key), nodeEd25519);
  const kept = new Map<number, Uint8Array>();
  const proofs = new Proofs({
    clock,
    hasher: nodeHasher,
    verifiers: [
      {
        ...verifier,
        verify: (text, signature) => {
          verified++;
          return verifier.verify(text, signature);
        },
      },
    ],
    timeoutMs: 30_000,
    published: () => published,
    checkpointAt: async (size) => kept.get(size) ?? null,
    read: (level, index, width): ReadObject | Promise<ReadObject> => {
      const bytes = tree.tile(level, index, width);
      const object = { bytes: options.read?.(bytes) ?? bytes, etag: '""' };
      return options.store === undefined ? object : options.store().then(() => object);
    },
  });
  return {
    proofs,
    clock,
    kept,
    verified: () => verified,
    publish(size: number): void {
      published = checkpointOf(size);
      proofs.wake();
    },
    /** Waits for the proof of an entry; what became of it. */
    wait(index: number, leafHash = leaves[index] as Uint8Array) {
      const outcome: { proof: Uint8Array | null; error: CairnError | null } = { proof: null, error: null };
      const ticket = proofs.reserve();
      proofs.wait(ticket, { index, leafHash: leafHash as Hash, duplicate: false }).then(
        (proof) => {
          outcome.proof = proof;
        },
        (error: CairnError) => {
          outcome.error = error;
        },
      );
      return outcome;
    },
  };
}

function expectProof(text: Uint8Array | null, index: number, size: number): void {
  const proof = parseTlogProof(text as Uint8Array);
  expect(proof.index).toBe(BigInt(index));
  const leafHash = leaves[index] as Hash;
  const root = asHash(tree.root(0, size));
  expect(verifyInclusion({ leafHash, index, size, proof: proof.path, root }, nodeHasher)).toBe(true);
  expect(proof.checkpoint.text).toContain(`\n${size}\n`);
}

describe("a proof that is asked for", () => {
  it("is one in the newest checkpoint, or in a kept one of the size that was named", async () => {
    const log = rig();
    log.kept.set(300, checkpointOf(300).note);
    expectProof(await log.proofs.proof(499), 499, 500);
    expectProof(await log.proofs.proof(0), 0, 500);
    expectProof(await log.proofs.proof(7, 500), 7, 500);
    expectProof(await log.proofs.proof(7, 300), 7, 300);
  });

  it("is refused beyond what is published, and in checkpoints that are not kept, larger ones too", async () => {
    const log = rig();
    await expect(log.proofs.proof(500)).rejects.toMatchObject({
      code: "not_published",
      members: { published_size: 500 },
    });
    await expect(log.proofs.proof(7, 300)).rejects.toMatchObject({ code: "checkpoint_not_kept" });
    await expect(log.proofs.proof(7, 501)).rejects.toMatchObject({ code: "checkpoint_not_kept" });
  });

  it("is refused before the first publication as it is beyond one: nothing is published, and nothing kept", async () => {
    const { proofs } = rig({ published: null });
    await expect(proofs.proof(0)).rejects.toMatchObject({
      code: "not_published",
      members: { published_size: 0 },
    });
    await expect(proofs.proof(0, 1)).rejects.toMatchObject({ code: "checkpoint_not_kept" });
  });

  it("has its checkpoint's signatures verified, once a checkpoint", async () => {
    const log = rig();
    for (let i = 0; i < 20; i++) await log.proofs.proof(i);
    expect(log.verified()).toBe(1);
    log.publish(501);
    await log.proofs.proof(500);
    expect(log.verified()).toBe(2);
  });
});

describe("a proof that is waited for", () => {
  it("times out too while its tiles are read from a store that does not answer, and later ones do not suffer", async () => {
    const asked: (() => void)[] = [];
    const answer = (): void => {
      for (const resolve of asked.splice(0)) resolve();
    };
    const log = rig({
      store: () =>
        new Promise<void>((resolve) => {
          asked.push(resolve);
        }),
    });
    const outcome = log.wait(499);
    await turns();
    log.clock.advance(30_000);
    await turns();
    expect(outcome.error).toMatchObject({ code: "proof_timeout", members: { index: 499, retry: "safe" } });
    answer();
    await turns();
    const next = log.wait(498);
    await turns();
    answer();
    await turns();
    expectProof(next.proof, 498, 500);
    expect(log.clock.pending).toBe(0);
  });

  it("is given at once where the entry is published, else with the checkpoint that covers it", async () => {
    const log = rig();
    const [there, next, later] = [log.wait(499), log.wait(500), log.wait(550)];
    await turns();
    expectProof(there.proof, 499, 500);
    expect([next.proof, later.proof]).toEqual([null, null]);
    log.publish(550);
    await turns();
    expectProof(next.proof, 500, 550);
    expect(later.proof).toBeNull();
    log.publish(551);
    await turns();
    expectProof(later.proof, 550, 551);
    expect(log.clock.pending).toBe(0);
  });

  it("is refused with proof_timeout and its index after that time, and not before", async () => {
    const log = rig();
    const waiter = log.wait(500);
    log.clock.advance(29_999);
    await turns();
    expect(waiter.error).toBeNull();
    log.clock.advance(1);
    await turns();
    expect(waiter.error).toMatchObject({ code: "proof_timeout", members: { index: 500, retry: "safe" } });
    log.publish(600);
    await turns();
    expect([waiter.proof, log.clock.pending]).toEqual([null, 0]);
  });

  it("is refused when nothing more will be published here, and to whoever comes then", async () => {
    const log = rig();
    const waiter = log.wait(500);
    log.proofs.close();
    const late = log.wait(500);
    await turns();
    for (const { error } of [waiter, late])
      expect(error).toMatchObject({ code: "proof_timeout", members: { index: 500 } });
    expect(log.clock.pending).toBe(0);
  });

  it("is never given where it does not lead to the root", async () => {
    const log = rig();
    const wrong = log.wait(3, leaves[4]);
    await turns();
    expect(wrong.error?.code).toBe("internal");
    const damaged = rig({
      read: (bytes) => {
        const copy = bytes.slice();
        copy[0] = (copy[0] as number) ^ 1;
        return copy;
      },
    });
    const waiters = [damaged.wait(1), damaged.wait(300)];
    await turns();
    expect(waiters.map(({ error }) => error?.code)).toEqual(["internal", "internal"]);
  });

  it("is given for each of many in slices, other work in between", async () => {
    const log = rig();
    const monotonic = log.clock.monotonic.bind(log.clock);
    // Every look at the time finds a slice over.
    log.clock.monotonic = () => {
      log.clock.advance(4);
      return monotonic();
    };
    const waiters = Array.from({ length: 40 }, (_, i) => log.wait(500 + i));
    log.publish(600);
    let slices = 0;
    while (waiters.some(({ proof }) => proof === null)) {
      if (++slices > 1000) expect.fail("some never get their proof");
      await turns(1);
    }
    expect(slices).toBeGreaterThan(20);
    await log.proofs.settled();
  });

  it("comes to whoever asks while a slice is under way", async () => {
    const log = rig();
    const first = log.wait(500);
    log.publish(600);
    const second = log.wait(501);
    await log.proofs.settled();
    await turns();
    expectProof(first.proof, 500, 600);
    expectProof(second.proof, 501, 600);
  });
});

describe("the places to wait", () => {
  it("are 10,000, refused beyond that, free again after release and after an answer, each once", async () => {
    const log = rig();
    const tickets = Array.from({ length: PROOF_WAITERS_MAX }, () => log.proofs.reserve());
    expect(PROOF_WAITERS_MAX).toBe(10_000);
    expect(() => log.proofs.reserve()).toThrow(expect.objectContaining({ code: "queue_full" }));
    tickets[0]?.release();
    tickets[0]?.release();
    const again = log.proofs.reserve();
    expect(() => log.proofs.reserve()).toThrow(expect.objectContaining({ code: "queue_full" }));
    const leafHash = leaves[1] as Hash;
    await log.proofs.wait(again, { index: 1, leafHash, duplicate: false });
    const [, second] = tickets;
    const timed = log.proofs.wait(second as (typeof tickets)[number], {
      index: 599,
      leafHash,
      duplicate: false,
    });
    timed.catch(() => undefined);
    log.clock.advance(30_000);
    await turns();
    log.proofs.reserve();
    log.proofs.reserve();
    expect(() => log.proofs.reserve()).toThrow(expect.objectContaining({ code: "queue_full" }));
  });
});
