// Makes ed25519-edge.json: signatures at the edges of Ed25519, each with the one answer that every implementation must give.
// `npx tsx test/vectors/ed25519-edge.generate.ts > test/vectors/ed25519-edge.json` writes it again, byte for byte. The
// answers are not asked of an implementation under test: each case says by its construction what is true of it.
import { createPublicKey, verify } from "node:crypto";
import { argv, stdout } from "node:process";
import { pathToFileURL } from "node:url";
import { getPublicKey, hashes, Point, sign, utils } from "@noble/ed25519";
import { sha512 } from "@noble/hashes/sha2.js";

export interface Ed25519Case {
  readonly name: string;
  /** Hexadecimal, as the two below. */
  readonly publicKey: string;
  readonly message: string;
  readonly signature: string;
  /** Whether a verifier may be configured with this key. */
  readonly acceptableKey: boolean;
  /** The answer. */
  readonly valid: boolean;
  /** What OpenSSL 3 answers through node:crypto without Cairn's checks; null where it does not take the arguments. */
  readonly opensslAlone: boolean | null;
}

hashes.sha512 = sha512;

const L = Point.CURVE().n;
const P = Point.CURVE().p;
const SEED = new Uint8Array(32).fill(7);
const SECRET = utils.getExtendedPublicKey(SEED).scalar;
const KEY = getPublicKey(SEED);
const NONCE = 0x1234567890abcdef1234567890abcdefn;
const TORSION = Point.fromHex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"); // of order 8
const IDENTITY = Point.ZERO.toBytes();

const SMALL_ORDER_KEYS = Array.from({ length: 8 }, (_, i) => TORSION.multiplyUnsafe(BigInt(i)).toBytes());
const NON_CANONICAL_SMALL_ORDER_KEYS = [
  "0100000000000000000000000000000000000000000000000000000000000080",
  "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
  "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
].map(bytes);

/** The cases of "Taming the many EdDSAs" (Chalkias, Garillot, Nikolaenko; github.com/novifinancial/ed25519-speccheck). */
const SPECCHECK: readonly (readonly [name: string, acceptableKey: boolean, valid: boolean, ...string[]])[] = [
  [
    "0: S = 0, small A and R",
    false,
    false,
    "8c93255d71dcab10e8f379c26200f3c7bd5f09d9bc3068d3ef4edeb4853022b6",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a0000000000000000000000000000000000000000000000000000000000000000",
  ],
  [
    "1: small A",
    false,
    false,
    "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43a5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
  ],
  [
    "2: small R",
    true,
    true,
    "aebf3f2601a0c8c5d39cc7d8911642f740b78168218da8471772b35f9d35b9ab",
    "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa8c4bd45aecaca5b24fb97bc10ac27ac8751a7dfe1baff8b953ec9f5833ca260e",
  ],
  [
    "3: mixed A and R, both equations hold",
    true,
    true,
    "9bd9f44f4dcc75bd531b56b2cd280b0bb38fc1cd6d1230e14861d861de092e79",
    "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
    "9046a64750444938de19f227bb80485e92b83fdb4b6506c160484c016cc1852f87909e14428a7a1d62e9f22f3d3ad7802db02eb2e688b6c52fcd6648a98bd009",
  ],
  [
    "4: only the cofactored equation holds",
    true,
    false,
    "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
    "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
    "160a1cb0dc9c0258cd0a7d23e94d8fa878bcb1925f2c64246b2dee1796bed5125ec6bc982a269b723e0668e540911a9a6a58921d6925e434ab10aa7940551a09",
  ],
  [
    "5: only the cofactored equation holds, without reducing first",
    true,
    false,
    "e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec4011eaccd55b53f56c",
    "cdb267ce40c5cd45306fa5d2f29731459387dbf9eb933b7bd5aed9a765b88d4d",
    "21122a84e0b5fca4052f5b1235c80a537878b38f3142356b2c2384ebad4668b7e40bc836dac0f71076f9abe3a53f9c03c1ceeeddb658d0030494ace586687405",
  ],
  [
    "6: S above L",
    true,
    false,
    "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
    "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
    "e96f66be976d82e60150baecff9906684aebb1ef181f67a7189ac78ea23b6c0e547f7690a0e2ddcd04d87dbc3490dc19b3b3052f7ff0538cb68afb369ba3a514",
  ],
  [
    "7: S far above L",
    true,
    false,
    "85e241a07d148b41e47d62c63f830dc7a6851a0b1f33ae4bb2f507fb6cffec40",
    "442aad9f089ad9e14647b1ef9099a1ff4798d78589e66f28eca69c11f582a623",
    "8ce5b96c8f26d0ab6c47958c9e68b937104cd36e13c33566acd2fe8d38aa19427e71f98a473474f2f13f06f97c20d58cc3f54b8bd0d272f42b695dd7e89a8c22",
  ],
  [
    "8: non-canonical R, reduced for the hash",
    true,
    false,
    "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
    "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff03be9678ac102edcd92b0210bb34d7428d12ffc5df5f37e359941266a4e35f0f",
  ],
  [
    "9: non-canonical R, not reduced for the hash",
    true,
    false,
    "9bedc267423725d473888631ebf45988bad3db83851ee85c85e241a07d148b41",
    "f7badec5b8abeaf699583992219b7b223f1df3fbbea919844e3f7c554a43dd43",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffca8c5b64cd208982aa38d4936621a4775aa233aa0505711d8fdcfdaa943d4908",
  ],
  [
    "10: non-canonical A, reduced for the hash",
    false,
    false,
    "e96b7021eb39c1a163b6da4e3093dcd3f21387da4cc4572be588fafae23c155b",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
  ],
  [
    "11: non-canonical A, not reduced for the hash",
    false,
    false,
    "39a591f5321bbe07fd5a23dc2f39d025d74526615746727ceefd6e82ae65c06f",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    "a9d55260f765261eb9b84e106f665e00b867287a761990d7135963ee0a7d59dca5bb704786be79fc476f91d3f3f89b03984d8068dcf1bb7dfc6637b45450ac04",
  ],
];

function bytes(hex: string): Uint8Array {
  return Uint8Array.from(Buffer.from(hex, "hex"));
}

function hex(value: Uint8Array): string {
  return Buffer.from(value).toString("hex");
}

function littleEndian(value: bigint): Uint8Array {
  return bytes(value.toString(16).padStart(64, "0")).reverse();
}

function messageOf(counter: number): Uint8Array {
  return new TextEncoder().encode(`message ${counter}`);
}

function challenge(r: Uint8Array, key: Uint8Array, message: Uint8Array): bigint {
  return BigInt(`0x${hex(sha512(Buffer.concat([r, key, message])).reverse())}`) % L;
}

function opensslAlone(signature: Uint8Array, message: Uint8Array, key: Uint8Array): boolean | null {
  if (key.length !== 32) return null;
  const der = Buffer.concat([Buffer.from("302a300506032b6570032100", "hex"), key]);
  return verify(null, message, createPublicKey({ key: der, format: "der", type: "spki" }), signature);
}

/** All cases, in the order of the file. */
export function ed25519Cases(): Ed25519Case[] {
  const cases: Ed25519Case[] = [];

  function add(
    name: string,
    acceptableKey: boolean,
    valid: boolean,
    key: Uint8Array,
    message: Uint8Array,
    signature: Uint8Array,
  ): void {
    cases.push({
      name,
      publicKey: hex(key),
      message: hex(message),
      signature: hex(signature),
      acceptableKey,
      valid,
      opensslAlone: opensslAlone(signature, message, key),
    });
  }

  /**
   * A signature by SECRET under `key` = [SECRET]B + [keyTorsion]T with R = [nonce]B + [rTorsion]T, over the first message
   * whose k satisfies `wanted`. [S]B - [k]A is [nonce]B - [k keyTorsion]T, so the cofactorless equation holds exactly if
   * rTorsion = -k keyTorsion modulo 8; the cofactored one always does.
   */
  function addWithTorsion(
    name: string,
    nonce: bigint,
    keyTorsion: bigint,
    rTorsion: bigint,
    wanted: "holds" | "fails",
  ): void {
    const key = Point.BASE.multiplyUnsafe(SECRET).add(TORSION.multiplyUnsafe(keyTorsion)).toBytes();
    const r = Point.BASE.multiplyUnsafe(nonce).add(TORSION.multiplyUnsafe(rTorsion)).toBytes();
    for (let counter = 0; ; counter++) {
      const message = messageOf(counter);
      const k = challenge(r, key, message);
      const holds = (rTorsion + k * keyTorsion) % 8n === 0n;
      if (holds !== (wanted === "holds")) continue;
      const s = littleEndian((nonce + k * SECRET) % L);
      add(name, true, holds, key, message, Buffer.concat([r, s]));
      return;
    }
  }

  // RFC 8032, section 7.1.
  add(
    "RFC 8032 test 1, empty message",
    true,
    true,
    bytes("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"),
    new Uint8Array(0),
    bytes(
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
  );
  add(
    "RFC 8032 test 2",
    true,
    true,
    bytes("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"),
    bytes("72"),
    bytes(
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
  );
  add(
    "RFC 8032 test 3",
    true,
    true,
    bytes("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025"),
    bytes("af82"),
    bytes(
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
  );

  // An ordinary signature and what is nearly one.
  const message = messageOf(0);
  const good = sign(message, SEED);
  const r = good.subarray(0, 32);
  const s = BigInt(`0x${hex(good.slice(32).reverse())}`);
  add("ordinary", true, true, KEY, message, good);
  add("another message", true, false, KEY, messageOf(1), good);
  add("a bit of R flipped", true, false, KEY, message, flipped(good, 3));
  add("a bit of S flipped", true, false, KEY, message, flipped(good, 40));
  add("another key", true, false, getPublicKey(new Uint8Array(32).fill(8)), message, good);
  add("S + L", true, false, KEY, message, Buffer.concat([r, littleEndian(s + L)]));
  add("S + 8L", true, false, KEY, message, Buffer.concat([r, littleEndian(s + 8n * L)]));
  add("S = L", true, false, KEY, message, Buffer.concat([r, littleEndian(L)]));
  add("S = L - 1", true, false, KEY, message, Buffer.concat([r, littleEndian(L - 1n)]));
  add(
    "S with its top bit set",
    true,
    false,
    KEY,
    message,
    Buffer.concat([r, littleEndian(s | (1n << 255n))]),
  );
  add(
    "R is not on the curve",
    true,
    false,
    KEY,
    message,
    Buffer.concat([littleEndian(2n), good.subarray(32)]),
  );

  // Wrong lengths.
  add("an empty signature", true, false, KEY, message, new Uint8Array(0));
  add("a signature of 63 bytes", true, false, KEY, message, good.subarray(0, 63));
  add("a signature of 65 bytes", true, false, KEY, message, Buffer.concat([good, new Uint8Array(1)]));
  add("an empty key", false, false, new Uint8Array(0), message, good);
  add("a key of 31 bytes", false, false, KEY.subarray(0, 31), message, good);
  add("a key of 33 bytes", false, false, Buffer.concat([KEY, new Uint8Array(1)]), message, good);

  // Mixed order: what separates cofactored from cofactorless verification.
  for (const order of [8n, 4n, 2n]) {
    const torsion = 8n / order;
    addWithTorsion(`key with a part of order ${order}, equation holds`, NONCE, torsion, 0n, "holds");
    addWithTorsion(`key with a part of order ${order}, only cofactored holds`, NONCE, torsion, 0n, "fails");
    addWithTorsion(`R with a part of order ${order}, only cofactored holds`, NONCE, 0n, torsion, "fails");
    addWithTorsion(`key and R with parts of order ${order} that cancel`, NONCE, torsion, torsion, "holds");
    addWithTorsion(
      `key and R with parts of order ${order} that do not cancel`,
      NONCE,
      torsion,
      torsion,
      "fails",
    );
  }

  // R of small order: the equation alone decides.
  addWithTorsion("R is the identity, equation holds", 0n, 0n, 0n, "holds");
  addWithTorsion("R of order 8 under a mixed key, equation holds", 0n, 1n, 1n, "holds");
  addWithTorsion("R of order 8 under a mixed key, only cofactored holds", 0n, 1n, 1n, "fails");
  addWithTorsion("R of order 8 under an ordinary key, only cofactored holds", 0n, 0n, 1n, "fails");
  for (const encoding of NON_CANONICAL_SMALL_ORDER_KEYS) {
    const point = Point.fromBytes(encoding, true);
    // S fits the challenge over the non-canonical bytes, so an implementation that decodes R and compares points accepts
    // where R is the identity.
    const k = challenge(encoding, KEY, message);
    const signature = Buffer.concat([encoding, littleEndian((k * SECRET) % L)]);
    add(
      `non-canonical R ${hex(encoding)} (${point.is0() ? "the identity" : "small order"})`,
      true,
      false,
      KEY,
      message,
      signature,
    );
  }

  // Keys that no verifier may have: S = 0 and R = -[k]A would verify many messages.
  for (const key of [...SMALL_ORDER_KEYS, ...NON_CANONICAL_SMALL_ORDER_KEYS]) {
    const point = Point.fromBytes(key, true);
    for (let counter = 0; ; counter++) {
      const candidate = messageOf(counter);
      if (!point.multiplyUnsafe(challenge(IDENTITY, key, candidate)).is0()) continue;
      const signature = Buffer.concat([IDENTITY, new Uint8Array(32)]);
      add(`small-order key ${hex(key)}, equation holds`, false, false, key, candidate, signature);
      break;
    }
  }
  for (let y = 3n; y < 19n; y++) {
    const key = littleEndian(P + y);
    if (isOnCurve(key)) add(`key with y = p + ${y}`, false, false, key, message, good);
  }
  add("key that is not on the curve", false, false, littleEndian(2n), message, good);
  add("key of all ones", false, false, new Uint8Array(32).fill(0xff), message, good);

  for (const [name, acceptableKey, valid, text, key, signature] of SPECCHECK) {
    add(
      `speccheck ${name}`,
      acceptableKey,
      valid,
      bytes(key as string),
      bytes(text as string),
      bytes(signature as string),
    );
  }
  return cases;
}

function flipped(signature: Uint8Array, position: number): Uint8Array {
  const copy = Uint8Array.from(signature);
  copy[position] = (copy[position] as number) ^ 1;
  return copy;
}

function isOnCurve(encoding: Uint8Array): boolean {
  try {
    Point.fromBytes(encoding, true);
    return true;
  } catch {
    return false;
  }
}

export function printCases(cases: readonly Ed25519Case[]): string {
  return `${JSON.stringify(cases, null, 2)}\n`;
}

if (import.meta.url === pathToFileURL(argv[1] ?? "").href) stdout.write(printCases(ed25519Cases()));
