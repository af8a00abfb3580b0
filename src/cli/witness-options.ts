// What the commands of the witness share: where its database is, its keys, and how a rate is written.

import { statSync } from "node:fs";
import { dirname } from "node:path";
import { CairnError } from "../core/errors.ts";
import { parsePrivateKey, type PrivateKey } from "../core/note-key.ts";
import { makeFolderDurable } from "../storage/durable.ts";
import type { RateLimit } from "../witness/service/rate-limit.ts";
import { usageError } from "./args.ts";
import { VARIABLES } from "./config.ts";
import { readSecret, unwritable } from "./files.ts";
import type { Io } from "./io.ts";
import { readKeyFile } from "./key-file.ts";

export const DATABASE_OPTION = {
  type: "string",
  value: "sqlite:FILE",
  about: "The witness's database; sqlite:./data/witness.db where it is not given.",
} as const;

export const KEY_FILE_OPTION = {
  type: "string",
  multiple: true,
  value: "FILE",
  about:
    "A private key, as cairn keygen writes it; repeat it for further keys, such as one of each type. Or WITNESS_PRIVATE_KEY or WITNESS_PRIVATE_KEY_FILE in the environment.",
} as const;

const DEFAULT_DATABASE = "sqlite:./data/witness.db";

/** The path of the witness's database. Throws `usage`. */
export function databasePath(url: string | undefined): string {
  const parsed = VARIABLES.DATABASE_URL.schema.safeParse(url ?? DEFAULT_DATABASE);
  if (!parsed.success)
    throw usageError("--database-url reads sqlite:PATH, such as sqlite:/var/lib/cairn/witness.db");
  return parsed.data;
}

/** The folder of a database, made where it is missing. Throws `file_unwritable`. */
export async function makeDatabaseFolder(path: string): Promise<void> {
  const folder = dirname(path);
  try {
    await makeFolderDurable(folder);
  } catch (cause) {
    throw unwritable(folder, cause);
  }
  if (!statSync(folder).isDirectory()) {
    throw new CairnError("file_unwritable", { detail: `${folder} is a file, and a folder is needed there` });
  }
}

/** The keys of the files, the texts and the environment, in that order. Throws `usage` where there is none. */
export async function readKeys(
  io: Io,
  files: readonly string[],
  texts: readonly string[] = [],
): Promise<PrivateKey[]> {
  const keys: PrivateKey[] = [];
  for (const file of files) keys.push(await readKeyFile(file));
  for (const text of texts) keys.push(parsePrivateKey(text.trimEnd()));
  const fromEnvironment = await readSecret(io, "WITNESS_PRIVATE_KEY", undefined);
  if (fromEnvironment !== undefined) keys.push(parsePrivateKey(fromEnvironment));
  if (keys.length === 0)
    throw usageError("a witness needs a key: --private-key-file FILE; cairn keygen makes one");
  return keys;
}

/** `N` or `N/BURST`: requests a second and at once. Throws `usage`. */
export function parseRate(name: string, text: string | undefined): RateLimit | null {
  if (text === undefined) return null;
  const match = /^([0-9]{1,9}(?:\.[0-9]{1,9})?)(?:\/([1-9][0-9]{0,8}))?$/.exec(text);
  const perSecond = Number(match?.[1]);
  if (match === null || perSecond <= 0) {
    throw usageError(`--${name} reads N or N/BURST, requests a second and at once, such as 2/10`);
  }
  const burst = match[2] === undefined ? Math.max(1, Math.ceil(2 * perSecond)) : Number(match[2]);
  return { perSecond, burst };
}

/** A public URL prefix without its final slash. Throws `usage`. */
export function parseUrlPrefix(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : null;
  const sound = url !== null && /^https?:$/.test(url.protocol) && url.search === "" && url.hash === "";
  if (!sound || /[\s,=]/.test(text))
    throw usageError("--url is the URL prefix of the witness, such as https://w.example");
  return text.replace(/\/+$/, "");
}
