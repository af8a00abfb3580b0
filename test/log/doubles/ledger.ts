// A signer that remembers every head it signed and refuses a second root for a size: the invariant of a log, checked
// where it would be broken.

import { nodeEd25519 } from "../../../src/cli/node-ed25519.ts";
import { toHex } from "../../../src/core/bytes.ts";
import { parseCheckpoint } from "../../../src/core/checkpoint.ts";
import { generatePrivateKey, noteSigner, noteVerifier, privateKeyVkey } from "../../../src/core/note-key.ts";
import type { LogKeys } from "../../../src/log/options.ts";

export const ORIGIN = "example.com/log";

export interface SignedHead {
  readonly size: number;
  readonly root: string;
}

export class Ledger {
  /** Every head that was ever signed, in order, each time. */
  readonly signed: SignedHead[] = [];
  readonly #roots = new Map<number, string>();
  /** A second root that was asked for; a test ends by finding this empty. */
  readonly violations: SignedHead[] = [];

  /** Keys that sign through this ledger. */
  keys(origin = ORIGIN, seedByte = 7): LogKeys {
    const key = generatePrivateKey(origin, new Uint8Array(32).fill(seedByte));
    const signer = noteSigner(key, nodeEd25519);
    return {
      origin,
      signers: [
        {
          ...signer,
          sign: (text) => {
            this.#record(text);
            return signer.sign(text);
          },
        },
      ],
      verifiers: [noteVerifier(privateKeyVkey(key), nodeEd25519)],
    };
  }

  /** What was signed by an earlier one, remembered here too. */
  remember(earlier: Ledger): void {
    for (const head of earlier.signed) {
      this.#roots.set(head.size, head.root);
      this.signed.push(head);
    }
  }

  /** A signed head that never left its process may be signed otherwise by the next, where the test allows it. */
  forget(size: number): void {
    this.#roots.delete(size);
  }

  #record(text: Uint8Array): void {
    const checkpoint = parseCheckpoint(new TextDecoder().decode(text));
    const head = { size: Number(checkpoint.size), root: toHex(checkpoint.root) };
    const known = this.#roots.get(head.size);
    if (known !== undefined && known !== head.root) {
      this.violations.push(head);
      throw new Error(`a second root for size ${head.size}`);
    }
    this.#roots.set(head.size, head.root);
    this.signed.push(head);
  }
}
