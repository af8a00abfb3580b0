// Key files: one private key in Go's note format and a newline, readable by its owner only. Written once, durably, read
// back, and never overwritten, since a lost key ends its log.

import { randomBytes } from "node:crypto";
import { decodeUtf8, encodeUtf8, equalBytes } from "../core/bytes.ts";
import { CairnError } from "../core/errors.ts";
import {
  generatePrivateKey,
  parsePrivateKey,
  printPrivateKey,
  type PrivateKey,
  type PrivateKeyType,
  SEED_BYTES,
} from "../core/note-key.ts";
import { readSmallFile, writeNewFile } from "./files.ts";

/** Readable and writable by the owner, by nobody else. */
const KEY_FILE_MODE = 0o600;

/** Makes a key and its file. Throws `file_exists`, `file_unwritable`, `bad_private_key` for a name that no key can have. */
export async function createKeyFile(path: string, name: string, type: PrivateKeyType): Promise<PrivateKey> {
  const key = generatePrivateKey(name, randomBytes(SEED_BYTES), type);
  const bytes = encodeUtf8(`${printPrivateKey(key)}\n`);
  await writeNewFile(path, bytes, KEY_FILE_MODE);
  if (!equalBytes(await readSmallFile(path), bytes)) {
    throw new CairnError("file_unwritable", { detail: `${path}: it reads back as something else` });
  }
  return key;
}

/** The key in a file. Throws `file_unreadable`, `bad_private_key`. */
export async function readKeyFile(path: string): Promise<PrivateKey> {
  return parsePrivateKey(decodeUtf8(await readSmallFile(path)).trimEnd());
}
