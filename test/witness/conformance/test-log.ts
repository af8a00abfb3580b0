// The logs that the cases play: made from a seed and a number, so that the witness under test can be told their keys before
// anything runs. Each case has logs of its own, and so no state that another case left.

import { createHash } from "node:crypto";
import { nodeEd25519 } from "../../../src/cli/node-ed25519.ts";
import { encodeBase64 } from "../../../src/core/base64.ts";
import { concatBytes } from "../../../src/core/bytes.ts";
import { cosignatureSigner, cosignatureVkey, noblePrimitives } from "../../../src/core/cosignature.ts";
import type { NoteSigner } from "../../../src/core/note.ts";
import { generatePrivateKey, noteSigner } from "../../../src/core/note-key.ts";
import { parseVkey, printVkey, SIGNATURE_TYPE } from "../../../src/core/vkey.ts";
import { ChainTree } from "./chain-tree.ts";

/** What a case asks of one of its logs. */
export interface LogShape {
  /** The types of its keys, all under one name. */
  readonly keys: readonly ("ed25519" | "mldsa44")[];
  /** The keys' name, where it is not the origin. */
  readonly keyName?: string;
  /** The log exists, and the witness is not told of it. */
  readonly unknown?: true;
}

export const PLAIN: LogShape = { keys: ["ed25519"] };

export interface CheckpointOptions {
  readonly tree?: ChainTree;
  readonly root?: Uint8Array;
  readonly extensions?: readonly string[];
  /** Instead of the log's first key; none: unsigned lines have to come from `lines`. */
  readonly signers?: readonly LineSigner[];
  /** Further signature lines, with their newlines: those of others. */
  readonly before?: string;
  readonly after?: string;
}

/** Signs text as it is, also where it is no checkpoint. */
export interface LineSigner {
  readonly name: string;
  readonly keyId: number;
  sign(text: Uint8Array): Uint8Array;
}

export class TestLog {
  readonly origin: string;
  readonly vkeys: readonly string[];
  readonly signers: readonly NoteSigner[];
  readonly tree: ChainTree;
  readonly unknown: boolean;

  constructor(origin: string, shape: LogShape, secret: string) {
    const name = shape.keyName ?? origin;
    const keys = shape.keys.map((type, i) =>
      generatePrivateKey(name, sha256(`${secret} key ${i}`), type === "ed25519" ? 0x01 : 0x06),
    );
    const primitives = { ...noblePrimitives, ed25519: nodeEd25519 };
    this.origin = origin;
    this.unknown = shape.unknown === true;
    this.signers = keys.map((key) =>
      key.type === SIGNATURE_TYPE.mldsa44
        ? cosignatureSigner(key, primitives, () => 0)
        : noteSigner(key, nodeEd25519),
    );
    this.vkeys = keys.map((key, i) =>
      key.type === SIGNATURE_TYPE.mldsa44
        ? printVkey(cosignatureVkey(key))
        : (this.signers[i] as NoteSigner).vkey,
    );
    this.tree = new ChainTree(origin);
  }

  /** The first key's signer. */
  get signer(): NoteSigner {
    return this.signers[0] as NoteSigner;
  }

  text(size: bigint | number, { tree = this.tree, root, extensions = [] }: CheckpointOptions = {}): string {
    return [this.origin, size, encodeBase64(root ?? tree.root(size)), ...extensions]
      .map((line) => `${line}\n`)
      .join("");
  }

  /** A signed checkpoint. */
  checkpoint(size: bigint | number, options: CheckpointOptions = {}): string {
    const { signers = [this.signer], before = "", after = "" } = options;
    return note(this.text(size, options), signers, before, after);
  }

  /** The body of add-checkpoint from size `from` to `to`, with the proof that belongs there unless another is given. */
  request(
    from: bigint | number,
    to: bigint | number,
    options: CheckpointOptions & { readonly proof?: readonly (Uint8Array | string)[] } = {},
  ): string {
    const proof =
      options.proof ?? (BigInt(from) <= BigInt(to) ? (options.tree ?? this.tree).consistency(from, to) : []);
    return body(`old ${from}`, proof, this.checkpoint(to, options));
  }

  /** SHA-256 of the origin, in hexadecimal. */
  get originHash(): string {
    return Buffer.from(sha256(this.origin)).toString("hex");
  }
}

/** A signed note of whatever text. */
export function note(text: string, signers: readonly LineSigner[], before = "", after = ""): string {
  const bytes = new TextEncoder().encode(text);
  const lines = signers.map((signer) => line(signer.name, signer.keyId, signer.sign(bytes)));
  return `${text}\n${before}${lines.join("")}${after}`;
}

/** A signature line, with its newline. */
export function line(name: string, keyId: number, signature: Uint8Array): string {
  const id = Buffer.alloc(4);
  id.writeUInt32BE(keyId);
  return `\u2014 ${name} ${encodeBase64(concatBytes(id, signature))}\n`;
}

/** First lines, proof lines, an empty line and a checkpoint. */
export function body(first: string, proof: readonly (Uint8Array | string)[], checkpoint: string): string {
  const lines = proof.map((hash) => (typeof hash === "string" ? hash : encodeBase64(hash)));
  return `${[first, ...lines].join("\n")}\n\n${checkpoint}`;
}

/** Signs with another log's key under this name and id: a line that names a key and is not by it. */
export function forged(signer: NoteSigner, bytes?: Uint8Array): LineSigner {
  return {
    name: signer.name,
    keyId: signer.keyId,
    sign: (text) => bytes ?? signer.sign(concatBytes(text, Uint8Array.of(0x0a))).map((byte) => byte ^ 0x55),
  };
}

/** `count` bytes that are always the same. */
export function filler(count: number, seed = "filler"): Uint8Array {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count; at += 32) bytes.set(sha256(`${seed} ${at}`).subarray(0, count - at), at);
  return bytes;
}

export function sha256(text: string): Uint8Array {
  return new Uint8Array(createHash("sha256").update(text).digest());
}

/** A list of logs in the witness network's form. */
export function logList(logs: readonly TestLog[]): string {
  const lines = ["logs/v0"];
  for (const { origin, vkeys } of logs) {
    for (const vkey of vkeys) {
      lines.push("", `vkey ${vkey}`);
      if (parseVkey(vkey).name !== origin) lines.push(`origin ${origin}`);
      lines.push("qpd 86400", "contact nobody");
    }
  }
  return `${lines.join("\n")}\n`;
}

/** The same in omniwitness' form, which holds one key a log. */
export function logYaml(logs: readonly TestLog[]): string {
  const items = logs.map(
    ({ origin, vkeys }) =>
      `  - Origin: ${JSON.stringify(origin)}\n    PublicKey: ${JSON.stringify(vkeys[0])}\n`,
  );
  return `Logs:\n${items.join("")}`;
}
