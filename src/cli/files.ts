// The files that a command reads and writes for its user. Whatever goes wrong with one is an error that names it; what is
// written is durable and never replaces a file that the user did not ask to replace.

import { open } from "node:fs/promises";
import { CairnError } from "../core/errors.ts";
import { errorCode, writeFileDurable } from "../storage/durable.ts";
import type { Io } from "./io.ts";

/** Keys, policies, proofs and heads are small; a larger file was named by mistake. */
const TEXT_FILE_MAX_BYTES = 2 * 1024 * 1024;

const STANDARD_INPUT = "-";

/** At most `maxBytes` + 1 bytes of a file, so that the caller sees one that is larger. Throws `file_unreadable`. */
export async function readUpTo(path: string, maxBytes: number): Promise<Uint8Array> {
  try {
    const file = await open(path, "r");
    try {
      const buffer = new Uint8Array(maxBytes + 1);
      let length = 0;
      while (length < buffer.length) {
        const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
        if (bytesRead === 0) break;
        length += bytesRead;
      }
      return buffer.slice(0, length);
    } finally {
      await file.close();
    }
  } catch (cause) {
    throw unreadable(path, cause);
  }
}

/** A small file as a whole. Throws `file_unreadable`, also for one over `TEXT_FILE_MAX_BYTES`. */
export async function readSmallFile(path: string): Promise<Uint8Array> {
  const bytes = await readUpTo(path, TEXT_FILE_MAX_BYTES);
  if (bytes.length > TEXT_FILE_MAX_BYTES) {
    throw new CairnError("file_unreadable", { detail: `${path}: over ${TEXT_FILE_MAX_BYTES} bytes` });
  }
  return bytes;
}

/** As `readSmallFile`, null where there is no such file. */
export async function findSmallFile(path: string): Promise<Uint8Array | null> {
  try {
    return await readSmallFile(path);
  } catch (error) {
    if (error instanceof CairnError && errorCode(error.cause) === "ENOENT") return null;
    throw error;
  }
}

/** As `readUpTo`; `-` is standard input. */
export async function readFileOrInput(path: string, maxBytes: number, io: Io): Promise<Uint8Array> {
  if (path !== STANDARD_INPUT) return await readUpTo(path, maxBytes);
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of io.stdin) {
    parts.push(part);
    length += part.length;
    if (length > maxBytes) break;
  }
  return new Uint8Array(Buffer.concat(parts));
}

/** Makes a file that must not exist yet, durably. Throws `file_exists`, `file_unwritable`. */
export async function writeNewFile(path: string, bytes: Uint8Array, mode?: number): Promise<void> {
  const options = { exclusive: true, ...(mode === undefined ? {} : { mode }) };
  const outcome = await write(path, bytes, options);
  if (outcome === "refused") throw new CairnError("file_exists", { detail: path });
}

/** Puts a file at `path`, whatever stands there, atomically and durably. Throws `file_unwritable`. */
export async function replaceFile(path: string, bytes: Uint8Array): Promise<void> {
  await write(path, bytes, {});
}

/**
 * A secret from the file that an option names, else from the environment variable `name` or the file that `name_FILE`
 * names; undefined where none is given. White space at the end is ignored. Throws `file_unreadable`, `usage` for two.
 */
export async function readSecret(
  io: Io,
  name: string,
  file: string | undefined,
): Promise<string | undefined> {
  const fromEnvironment = io.env[name];
  const fileVariable = io.env[`${name}_FILE`];
  if (fromEnvironment && fileVariable) {
    throw new CairnError("usage", { detail: `both ${name} and ${name}_FILE are set` });
  }
  const path = file ?? (fromEnvironment ? undefined : fileVariable || undefined);
  const text = path === undefined ? fromEnvironment : new TextDecoder().decode(await readSmallFile(path));
  return text?.trimEnd() || undefined;
}

async function write(path: string, bytes: Uint8Array, options: { exclusive?: boolean; mode?: number }) {
  try {
    return await writeFileDurable(path, bytes, options);
  } catch (cause) {
    throw unwritable(path, cause);
  }
}

/** `file_unreadable` with the path and the system's reason. */
export function unreadable(path: string, cause: unknown): CairnError {
  return new CairnError("file_unreadable", {
    detail: `${path}: ${errorCode(cause) ?? String(cause)}`,
    cause,
  });
}

/** `file_unwritable` likewise; an error that has a code of its own keeps it. */
export function unwritable(path: string, cause: unknown): CairnError {
  if (cause instanceof CairnError) return cause;
  return new CairnError("file_unwritable", {
    detail: `${path}: ${errorCode(cause) ?? String(cause)}`,
    cause,
  });
}
