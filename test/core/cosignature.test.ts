import { readFileSync } from "node:fs";
import fc from "fast-check";
import { expect, test } from "vitest";
import { nodeEd25519 } from "../../src/cli/node-ed25519.ts";
import { decodeBase64 } from "../../src/core/base64.ts";
import { concatBytes, decodeUtf8, encodeUtf8, toHex } from "../../src/core/bytes.ts";
import {
  cosignatureSigner,
  cosignatureTime,
  cosignatureVerifier,
  cosignatureVkey,
  ed25519Message,
  MAX_TIMESTAMP,
  noblePrimitives,
  signSubtree,
  type Subtree,
  subtreeMessage,
  subtreeVerifier,
  verifierFor,
} from "../../src/core/cosignature.ts";
import {
  type NoteVerifier,
  openNote,
  parseNote,
  parseSignatureLines,
  signNote,
} from "../../src/core/note.ts";
import { generatePrivateKey, noteSigner, parsePrivateKey, privateKeyVkey } from "../../src/core/note-key.ts";
import { parseVkey, printVkey, SIGNATURE_TYPE } from "../../src/core/vkey.ts";
import {
  checkpointText,
  codeOf,
  COSIGNED_AT,
  logKey,
  logMldsaKey,
  logSigner,
  seed,
  witnessKeys,
  witnessSigners,
} from "./signed-log.ts";

const go = JSON.parse(readFileSync(new URL("../vectors/go-notes.json", import.meta.url), "utf8"));
const primitives = { ...noblePrimitives, ed25519: nodeEd25519 };
const [edKey, , pqKey] = witnessKeys as [(typeof witnessKeys)[0], unknown, (typeof witnessKeys)[0]];
const [edSigner, , pqSigner] = witnessSigners as [
  (typeof witnessSigners)[0],
  unknown,
  (typeof witnessSigners)[0],
];
const edVerifier = cosignatureVerifier(cosignatureVkey(edKey), primitives);
const pqVerifier = cosignatureVerifier(cosignatureVkey(pqKey), primitives);
const text = encodeUtf8(checkpointText());

test("the specification's example carries its time, and its signed message is the one printed there", () => {
  const checkpoint = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";
  const note = parseNote(
    encodeUtf8(`${checkpoint}
— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==
`),
  );
  const time = cosignatureTime(note.signatures[1]?.signature as Uint8Array);
  expect(time).toBe(1679315147n);
  expect(decodeUtf8(ed25519Message(time, encodeUtf8(note.text)))).toBe(
    `cosignature/v1\ntime 1679315147\n${checkpoint}`,
  );
});

test("a note that Go signed as log, as Ed25519 witness and as ML-DSA-44 witness opens with all three keys", () => {
  const note = parseNote(encodeUtf8(go.note));
  const verifiers = [go.logVkey, go.witnessVkey, go.mldsaVkey].map((vkey) =>
    verifierFor(parseVkey(vkey), primitives),
  );
  expect(openNote(note, verifiers).verified).toHaveLength(3);
  // Ed25519 is deterministic, so signing the same again gives Go's bytes.
  const [ours, witness] = note.signatures;
  const time = cosignatureTime(witness?.signature as Uint8Array);
  const signed = signNote(note.text, [
    noteSigner(parsePrivateKey(go.logPrivateKey), nodeEd25519),
    cosignatureSigner(parsePrivateKey(go.witnessPrivateKey), primitives, () => time),
  ]);
  expect(signed.signatures).toEqual([ours, witness]);
});

test("a subtree that Go cosigned verifies, and as nothing else", () => {
  const verifier = subtreeVerifier(parseVkey(go.mldsaVkey), primitives.mldsa44);
  const signature = decodeBase64(go.subtree.signature);
  const subtree: Subtree = {
    origin: go.subtree.origin,
    start: BigInt(go.subtree.start),
    end: BigInt(go.subtree.end),
    hash: decodeBase64(go.subtree.hash),
  };
  expect(verifier.verify(subtree, signature)).toBe(true);
  for (const other of [
    { ...subtree, origin: "go.example/log2" },
    { ...subtree, start: 9n },
    { ...subtree, end: 13n },
    { ...subtree, hash: new Uint8Array(32) },
  ]) {
    expect(verifier.verify(other, signature)).toBe(false);
  }
});

test("one key file gives a log's key and a witness's key, with ids of their own", () => {
  const key = parsePrivateKey(go.witnessPrivateKey);
  expect(printVkey(privateKeyVkey(key))).toBe(go.witnessNoteVkey);
  expect(printVkey(cosignatureVkey(key))).toBe(go.witnessVkey);
  expect(cosignatureSigner(key, primitives, () => 0).vkey).toBe(go.witnessVkey);
  expect(cosignatureVkey(logMldsaKey)).toEqual(privateKeyVkey(logMldsaKey));
});

test.each([
  ["Ed25519", edSigner, edVerifier, 8 + 64],
  ["ML-DSA-44", pqSigner, pqVerifier, 8 + 2420],
] as const)(
  "%s: what a witness signs verifies, with its time, and nothing near it does",
  (_, signer, verifier, length) => {
    const signature = signer.sign(text);
    expect(signature).toHaveLength(length);
    expect([verifier.name, verifier.keyId]).toEqual([signer.name, signer.keyId]);
    expect(verifier.verify(text, signature)).toBe(true);
    expect(COSIGNED_AT).toContain(Number(cosignatureTime(signature)));
    expect(verifier.verify(encodeUtf8(checkpointText(6)), signature)).toBe(false);
    expect(verifier.verify(encodeUtf8(checkpointText(7, "another.example")), signature)).toBe(false);
    for (const position of [0, 7, 8, 40, length - 1]) {
      const copy = Uint8Array.from(signature);
      copy[position] = (copy[position] as number) ^ 1;
      expect(verifier.verify(text, copy), `byte ${position}`).toBe(false);
    }
    for (const other of [
      new Uint8Array(0),
      signature.subarray(1),
      signature.subarray(0, 8),
      concatBytes(signature, Uint8Array.of(0)),
    ]) {
      expect(verifier.verify(text, other)).toBe(false);
    }
  },
);

test("an Ed25519 cosignature covers extension lines, an ML-DSA-44 one does not", () => {
  const extended = encodeUtf8(`${checkpointText()}extension\n`);
  expect(edVerifier.verify(extended, edSigner.sign(text))).toBe(false);
  expect(edVerifier.verify(extended, edSigner.sign(extended))).toBe(true);
  expect(pqVerifier.verify(extended, pqSigner.sign(text))).toBe(true);
});

test("an ML-DSA-44 cosignature commits to the cosigner's name", () => {
  const renamed = generatePrivateKey("witness.example/other", pqKey.seed, SIGNATURE_TYPE.mldsa44);
  expect(renamed.publicKey).toEqual(pqKey.publicKey);
  const verifier = cosignatureVerifier(cosignatureVkey(renamed), primitives);
  expect(verifier.verify(text, pqSigner.sign(text))).toBe(false);
});

test("a log's ML-DSA-44 line stands beside its Ed25519 one under the same name", () => {
  const note = signNote(checkpointText(), [logSigner, cosignatureSigner(logMldsaKey, primitives, () => 1n)]);
  expect(new Set(note.signatures.map(({ name }) => name)).size).toBe(1);
  const verifiers = [logKey, logMldsaKey].map((key) => verifierFor(privateKeyVkey(key), primitives));
  expect(openNote(note, verifiers).verified).toHaveLength(2);
});

test("times reach from 0 to 2^63 - 1, as number or bigint, and no further", () => {
  for (const time of [0, 1, 1_700_000_000, Number.MAX_SAFE_INTEGER, 2n ** 53n + 1n, MAX_TIMESTAMP]) {
    const signature = cosignatureSigner(edKey, primitives, () => time).sign(text);
    expect(cosignatureTime(signature)).toBe(BigInt(time));
    expect(edVerifier.verify(text, signature)).toBe(true);
  }
  for (const time of [-1, -1n, MAX_TIMESTAMP + 1n, 1.5, Number.NaN]) {
    expect(() => cosignatureSigner(edKey, primitives, () => time).sign(text)).toThrow(RangeError);
  }
});

test("a time above 2^63 - 1 does not verify, even where the signature over it is right", () => {
  const time = MAX_TIMESTAMP + 1n;
  const bytes = Uint8Array.from([0x80, 0, 0, 0, 0, 0, 0, 0]);
  const signed = nodeEd25519.sign(ed25519Message(time, text), edKey.seed);
  expect(edVerifier.verify(text, concatBytes(bytes, signed))).toBe(false);
  expect(codeOf(() => cosignatureTime(concatBytes(bytes, signed)))).toBe("bad_signature");
  expect(codeOf(() => cosignatureTime(new Uint8Array(8)))).toBe("bad_signature");
});

test("a cosigner signs checkpoints only", () => {
  for (const signer of [edSigner, pqSigner]) {
    for (const other of ["text\n", "o\n01\nx\n", `${checkpointText()}\n`]) {
      expect(codeOf(() => signer.sign(encodeUtf8(other)))).toBe("bad_checkpoint");
    }
  }
  expect(pqVerifier.verify(encodeUtf8("text\n"), pqSigner.sign(text))).toBe(false);
  expect(pqVerifier.verify(Uint8Array.of(0xff), pqSigner.sign(text))).toBe(false);
});

test("only keys of a cosignature's types make a cosignature verifier", () => {
  expect(codeOf(() => cosignatureVerifier(privateKeyVkey(edKey), primitives))).toBe("bad_vkey");
  expect(codeOf(() => subtreeVerifier(cosignatureVkey(edKey), primitives.mldsa44))).toBe("bad_vkey");
  expect(codeOf(() => verifierFor({ ...cosignatureVkey(edKey), type: 0x05 }, primitives))).toBe("bad_vkey");
  const smallOrder = { ...cosignatureVkey(edKey), publicKey: new Uint8Array(32) };
  expect(codeOf(() => cosignatureVerifier(smallOrder, primitives))).toBe("bad_vkey");
});

test("a subtree is cosigned without a time, and verifies as that subtree alone", () => {
  const verifier = subtreeVerifier(cosignatureVkey(pqKey), primitives.mldsa44);
  const subtree: Subtree = { origin: "log.example", start: 8n, end: 13n, hash: seed(5) };
  const signature = signSubtree(pqKey, subtree, primitives.mldsa44);
  expect([signature.name, signature.keyId]).toEqual([verifier.name, verifier.keyId]);
  expect(cosignatureTime(signature.signature)).toBe(0n);
  expect(verifier.verify(subtree, signature.signature)).toBe(true);
  expect(verifier.verify({ ...subtree, start: 12n }, signature.signature)).toBe(false);
  expect(codeOf(() => signSubtree(edKey, subtree, primitives.mldsa44))).toBe("bad_private_key");
  for (const bad of [
    { ...subtree, origin: "" },
    { ...subtree, origin: "ö".repeat(128) },
    { ...subtree, start: 14n },
    { ...subtree, start: -1n },
    { ...subtree, end: MAX_TIMESTAMP + 1n },
    { ...subtree, hash: new Uint8Array(31) },
  ]) {
    expect(codeOf(() => signSubtree(pqKey, bad, primitives.mldsa44))).toBe("bad_checkpoint");
    expect(verifier.verify(bad, signature.signature)).toBe(false);
  }
});

test("the subtree message is laid out as the specification says", () => {
  const message = subtreeMessage("ab", 0n, { origin: "xyz", start: 1n, end: 2n, hash: seed(0xee) });
  expect(toHex(message as Uint8Array)).toBe(
    [
      "737562747265652f76310a00", // "subtree/v1\n\0"
      "026162",
      "0000000000000000",
      "0378797a",
      "0000000000000001",
      "0000000000000002",
      "ee".repeat(32),
    ].join(""),
  );
  const subtree: Subtree = { origin: "xyz", start: 0n, end: 2n, hash: seed(0xee) };
  expect(subtreeMessage("ab", 1n, subtree)).not.toBeNull();
  expect(subtreeMessage("ab", 1n, { ...subtree, start: 1n })).toBeNull(); // a time beside a start
  expect(subtreeMessage("", 0n, subtree)).toBeNull();
  expect(subtreeMessage("a".repeat(255), 0n, subtree)).not.toBeNull();
  expect(subtreeMessage("a".repeat(256), 0n, subtree)).toBeNull();
});

test("names and origins over 255 bytes are refused where an ML-DSA-44 signature cannot hold them", () => {
  const long = generatePrivateKey("ö".repeat(128), seed(1), SIGNATURE_TYPE.mldsa44);
  expect(codeOf(() => cosignatureSigner(long, primitives, () => 0))).toBe("bad_private_key");
  expect(codeOf(() => cosignatureVerifier(cosignatureVkey(long), primitives))).toBe("bad_vkey");
  const origin = encodeUtf8(checkpointText(7, "o".repeat(256)));
  expect(codeOf(() => pqSigner.sign(origin))).toBe("bad_checkpoint");
  expect(pqVerifier.verify(origin, pqSigner.sign(text))).toBe(false);
  expect(edVerifier.verify(origin, edSigner.sign(origin))).toBe(true);
});

test("a witness's answer joins a note and opens with it", () => {
  const note = signNote(checkpointText(), [logSigner]);
  const answer = signNote(note.text, [edSigner, pqSigner]).signatures;
  const joined = { text: note.text, signatures: [...note.signatures, ...answer] };
  expect(openNote(joined, [edVerifier, pqVerifier]).verified).toEqual(answer);
  expect(parseSignatureLines(go.note.slice(go.note.indexOf("— ")))).toHaveLength(3);
});

test("verifiers answer false for any bytes, never with an exception", () => {
  const verifiers: NoteVerifier[] = [edVerifier, pqVerifier];
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 80 }),
    fc.uint8Array({ minLength: 2428, maxLength: 2428 }),
  );
  const message = fc.oneof(fc.constant(text), fc.uint8Array());
  fc.assert(
    fc.property(message, bytes, (anyText, signature) =>
      verifiers.every((v) => !v.verify(anyText, signature)),
    ),
    { numRuns: 60 },
  );
});
