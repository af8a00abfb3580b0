// The keys that a witness signs with: cosignatures of checkpoints with all of them, of subtrees with those whose format can
// state one (ML-DSA-44). C2SP tlog-cosignature, types 0x04 and 0x06.

import { encodeUtf8, equalBytes } from "../../core/bytes.ts";
import {
  cosignatureSigner,
  cosignatureVerifier,
  cosignatureVkey,
  type SignaturePrimitives,
  signSubtree,
  type Subtree,
} from "../../core/cosignature.ts";
import { CairnError } from "../../core/errors.ts";
import type { NoteSignature, NoteSigner, NoteVerifier } from "../../core/note.ts";
import type { PrivateKey } from "../../core/note-key.ts";
import { printVkey, SIGNATURE_TYPE } from "../../core/vkey.ts";

export interface WitnessKeys {
  /** The verifier keys, in the order of the keys. */
  readonly vkeys: readonly string[];
  /** For cosignatures by these keys. */
  readonly verifiers: readonly NoteVerifier[];
  /** True where one of the keys can sign subtrees. */
  readonly signsSubtrees: boolean;
  /**
   * A cosignature by every key whose format can state this origin (0x06 holds 255 bytes of it), all with one time; none
   * where no key's can.
   */
  cosign(text: string, origin: string): NoteSignature[];
  /**
   * A subtree cosignature by those keys of `among`, or where it has none that can, by every key that can; none where the
   * origin is too long for the format.
   */
  signSubtree(subtree: Subtree, among: readonly NoteSignature[]): NoteSignature[];
}

interface Signer extends NoteSigner {
  readonly key: PrivateKey;
  readonly signsSubtrees: boolean;
}

/** What a type 0x06 signature can hold of an origin. */
const SUBTREE_ORIGIN_MAX_BYTES = 255;

/** `now` gives POSIX seconds. Throws `bad_config` where there is no key, or one stands twice. */
export function createWitnessKeys(
  keys: readonly PrivateKey[],
  primitives: SignaturePrimitives,
  now: () => number,
): WitnessKeys {
  checkDistinct(keys);
  let time = 0;
  const signers = keys.map((key): Signer => {
    const signer = cosignatureSigner(key, primitives, () => time);
    return { ...signer, key, signsSubtrees: key.type === SIGNATURE_TYPE.mldsa44 };
  });
  const { mldsa44 } = primitives;
  // Expanding a seed costs as much as signing, and signSubtree does it for each signature.
  const expanded = new Map<Uint8Array, ReturnType<typeof mldsa44.keyPair>>();
  for (const { key, signsSubtrees } of signers) {
    if (signsSubtrees) expanded.set(key.seed, mldsa44.keyPair(key.seed));
  }
  const prepared = { ...mldsa44, keyPair: (seed: Uint8Array) => expanded.get(seed) ?? mldsa44.keyPair(seed) };

  return {
    vkeys: signers.map(({ vkey }) => vkey),
    verifiers: keys.map((key) => cosignatureVerifier(cosignatureVkey(key), primitives)),
    signsSubtrees: signers.some(({ signsSubtrees }) => signsSubtrees),
    cosign(text, origin) {
      time = now();
      // Zero would mean that no time is stated, which a checkpoint's cosignature must not.
      if (time <= 0) throw new RangeError("the clock stands before 1970");
      const bytes = encodeUtf8(text);
      const short = isShort(origin);
      return signers
        .filter(({ signsSubtrees }) => short || !signsSubtrees)
        .map((signer) => ({ name: signer.name, keyId: signer.keyId, signature: signer.sign(bytes) }));
    },
    signSubtree(subtree, among) {
      const able = signers.filter(({ signsSubtrees }) => signsSubtrees && isShort(subtree.origin));
      const asked = able.filter(({ name, keyId }) =>
        among.some((line) => line.name === name && line.keyId === keyId),
      );
      return (asked.length > 0 ? asked : able).map(({ key }) => signSubtree(key, subtree, prepared));
    },
  };
}

function isShort(origin: string): boolean {
  return encodeUtf8(origin).length <= SUBTREE_ORIGIN_MAX_BYTES;
}

// Ed25519 cosignatures do not state the cosigner's name, so one key must not be two cosigners (tlog-cosignature).
function checkDistinct(keys: readonly PrivateKey[]): void {
  if (keys.length === 0) throw new CairnError("bad_config", { detail: "a witness needs a private key" });
  for (const [i, key] of keys.entries()) {
    if (keys.slice(0, i).some(({ publicKey }) => equalBytes(publicKey, key.publicKey))) {
      const vkey = printVkey(cosignatureVkey(key));
      throw new CairnError("bad_config", { detail: `the private key of ${vkey} is given twice` });
    }
  }
}
