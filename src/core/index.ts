// The public entry `cairn-log`: parsing, hashing, signing and verifying, without I/O, in Node and in a browser.
export { decodeBase64, encodeBase64 } from "./base64.ts";
export { bundleOffsets, decodeBundle, encodeBundle, ENTRY_FRAME_BYTES, ENTRY_MAX_BYTES } from "./bundle.ts";
export { compareBytes, concatBytes, decodeUtf8, encodeUtf8, equalBytes, fromHex, toHex } from "./bytes.ts";
export {
  type Checkpoint,
  parseCheckpoint,
  parseDecimal,
  printCheckpoint,
  toSafeSize,
} from "./checkpoint.ts";
export {
  cosignatureSigner,
  cosignatureTime,
  cosignatureVerifier,
  cosignatureVkey,
  MAX_TIMESTAMP,
  noblePrimitives,
  type SignaturePrimitives,
  signSubtree,
  type Subtree,
  type SubtreeVerifier,
  subtreeVerifier,
  verifierFor,
} from "./cosignature.ts";
export { checkPublicKey, type Ed25519, nobleEd25519 } from "./ed25519.ts";
export {
  CairnError,
  type CairnErrorOptions,
  ERROR_SENTENCES,
  type ErrorCode,
  isCairnError,
} from "./errors.ts";
export { asHash, type Hash, HASH_BYTES, type Sha256, type TreeHasher, treeHasher } from "./hash.ts";
export {
  type ConsistencyClaim,
  consistencyRanges,
  emptyRoot,
  type InclusionClaim,
  inclusionRanges,
  type LeafRange,
  MAX_TREE_SIZE,
  perfectRoot,
  verifyConsistency,
  verifyInclusion,
} from "./merkle.ts";
export { type MlDsa44, type MlDsa44KeyPair, nobleMlDsa44 } from "./mldsa.ts";
export { nobleHasher } from "./noble-hasher.ts";
export {
  type CheckedSignatures,
  checkSignatures,
  type Note,
  NOTE_MAX_BYTES,
  NOTE_MAX_SIGNATURES,
  type NoteSignature,
  type NoteSigner,
  type NoteVerifier,
  openNote,
  parseNote,
  parseSignatureLines,
  printNote,
  printSignatureLine,
  signNote,
} from "./note.ts";
export {
  generatePrivateKey,
  noteSigner,
  noteVerifier,
  parsePrivateKey,
  printPrivateKey,
  type PrivateKey,
  type PrivateKeyType,
  privateKeyVkey,
  SEED_BYTES,
} from "./note-key.ts";
export {
  type CheckpointTrust,
  type CosignatureTime,
  NO_QUORUM,
  parsePolicy,
  type Policy,
  POLICY_MAX_BYTES,
  POLICY_MAX_DEFINITIONS,
  policyFromQuorum,
  type PolicyGroup,
  type PolicyLog,
  policySatisfied,
  type PolicyWitness,
  printPolicy,
  trustPolicy,
  type VerifiedCheckpoint,
  verifyCheckpoint,
  type VerifyCheckpointOptions,
} from "./policy.ts";
export {
  MAX_TILE_LEVEL,
  partialTiles,
  TILE_HEIGHT,
  TILE_WIDTH,
  tileEnd,
  type TileSpan,
  tileWidthAt,
} from "./tile.ts";
export { entriesPath, parseTilePath, printTilePath, type TileCoordinate, tilePath } from "./tile-path.ts";
export { consistencyProof, inclusionProof, rootFromTiles, type TileReader } from "./tile-proof.ts";
export {
  MAX_PROOF_HASHES,
  type ParsedTlogProof,
  parseTlogProof,
  printTlogProof,
  TLOG_PROOF_MAX_BYTES,
  type TlogProof,
  type VerifiedTlogProof,
  verifyTlogProof,
} from "./tlog-proof.ts";
export {
  computeKeyId,
  isValidKeyName,
  parseVkey,
  printVkey,
  SIGNATURE_TYPE,
  type VerifierKey,
  verifierKey,
} from "./vkey.ts";
