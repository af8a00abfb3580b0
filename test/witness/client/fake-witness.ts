// A witness in memory that answers as tlog-witness says, and one that misbehaves on demand: a `fetch` for the client.

import { decodeBase64 } from "../../../src/core/base64.ts";
import { decodeUtf8, encodeUtf8 } from "../../../src/core/bytes.ts";
import { parseCheckpoint } from "../../../src/core/checkpoint.ts";
import {
  cosignatureSigner,
  cosignatureVerifier,
  cosignatureVkey,
  noblePrimitives,
} from "../../../src/core/cosignature.ts";
import { verifyConsistency } from "../../../src/core/merkle.ts";
import { nobleHasher } from "../../../src/core/noble-hasher.ts";
import { generatePrivateKey } from "../../../src/core/note-key.ts";
import { parseNote, printNote, printSignatureLine, signNote } from "../../../src/core/note.ts";
import type { Note } from "../../../src/core/note.ts";
import type { SIGNATURE_TYPE } from "../../../src/core/vkey.ts";
import type { WitnessPeer } from "../../../src/witness/client/quorum.ts";

export type Misbehaviour = (request: {
  readonly body: string;
  readonly note: Note;
}) => Response | Promise<Response | null> | null;

export class FakeWitness {
  readonly name: string;
  readonly url: string;
  readonly key;
  /** Requests that came, oldest first. */
  readonly asked: { readonly old: number; readonly size: number }[] = [];
  size = 0;
  root: Uint8Array = nobleHasher.empty();
  /** What the monitoring endpoint shows; null: what was cosigned last. */
  shows: Uint8Array | null = null;
  #newest: Uint8Array | null = null;
  /** Answers in place of the witness where it does not return null. */
  misbehave: Misbehaviour | null = null;
  time = 1_700_000_000;

  constructor(name: string, seed: number, type?: typeof SIGNATURE_TYPE.mldsa44) {
    this.name = name;
    this.url = `http://${name}.example`;
    this.key = generatePrivateKey(`${name}.example`, new Uint8Array(32).fill(seed), type);
  }

  get peer(): WitnessPeer {
    const verifier = cosignatureVerifier(cosignatureVkey(this.key), noblePrimitives);
    return { name: this.name, url: this.url, monitorUrl: null, verifier };
  }

  async answer(path: string, body: string): Promise<Response> {
    if (path.endsWith("/checkpoint")) {
      const shown = this.shows ?? this.#newest;
      return shown === null
        ? new Response(null, { status: 404 })
        : new Response(shown as Uint8Array<ArrayBuffer>);
    }
    const split = body.indexOf("\n\n");
    const [first = "", ...proof] = body.slice(0, split).split("\n");
    const note = parseNote(encodeUtf8(body.slice(split + 2)));
    const checkpoint = parseCheckpoint(note.text);
    const old = Number(first.slice("old ".length));
    this.asked.push({ old, size: Number(checkpoint.size) });
    const odd = await this.misbehave?.({ body, note });
    if (odd !== null && odd !== undefined) return odd;
    if (old !== this.size) {
      return new Response(`${this.size}\n`, { status: 409, headers: { "Content-Type": "text/x.tlog.size" } });
    }
    const fits = verifyConsistency(
      {
        size1: this.size,
        root1: this.root,
        size2: checkpoint.size,
        root2: checkpoint.root,
        proof: proof.map((line) => decodeBase64(line)),
      },
      nobleHasher,
    );
    if (!fits) return new Response("inconsistent\n", { status: 422 });
    this.size = Number(checkpoint.size);
    this.root = checkpoint.root;
    const line = this.cosign(note.text);
    this.#newest = printNote({ text: note.text, signatures: [...note.signatures, line] });
    return new Response(printSignatureLine(line));
  }

  cosign(text: string) {
    const signer = cosignatureSigner(this.key, noblePrimitives, () => this.time);
    const [line] = signNote(text, [signer]).signatures;
    if (line === undefined) throw new Error("no line");
    return line;
  }
}

/** A `fetch` that reaches these witnesses and nobody else. */
export function network(
  witnesses: readonly FakeWitness[],
): (url: string, init?: RequestInit) => Promise<Response> {
  return async (url, init) => {
    const witness = witnesses.find((each) => url.startsWith(`${each.url}/`));
    if (witness === undefined) throw new TypeError(`fetch failed: ${url}`);
    const body = init?.body === undefined || init.body === null ? "" : decodeUtf8(init.body as Uint8Array);
    return await witness.answer(url.slice(witness.url.length), body);
  };
}
