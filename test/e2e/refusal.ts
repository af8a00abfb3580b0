// Starts that must be refused: at once, in a sentence with its code, without a stack, and with nothing changed on disk.

import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect } from "vitest";
import type { ErrorCode } from "../../src/core/errors.ts";
import { cairn, type Environment, type Place, type Ran } from "./server.ts";
import { isInBucket } from "./store.ts";

/**
 * The longest that a refusal may take (architecture, section 3, One writer and S3): one that needs no remote answer, and
 * one over a bucket.
 */
const REFUSAL_MS = 3000;
const BUCKET_REFUSAL_MS = 10_000;

/**
 * What a refused start may touch: the locks, and SQLite's own files, which come with a look into a database and go with
 * the last one who has it open.
 */
const MAY_CHANGE = /(\.lock|(^|\/)state\/lock)(-wal|-shm)?$|^[^/]*-(wal|shm)$|(^|\/)state\/\.tmp(\/|$)/;

/**
 * `cairn serve` (or another command) is refused with `code` within 3 s, exit code 2, and nothing on disk is changed.
 * Answers the sentence.
 */
export async function expectRefused(
  place: Pick<Place, "env" | "folder">,
  code: ErrorCode,
  { env = {}, args = ["serve"] }: { readonly env?: Environment; readonly args?: readonly string[] } = {},
): Promise<string> {
  const before = await filesIn(place.folder);
  const crashed = (await readdir(place.folder)).flatMap((name) => /^(.*)-wal$/.exec(name)?.[1] ?? []);
  const ran = await cairn(args, { ...place.env, ...env });
  const sentence = expectSentence(ran, `cairn ${args[0]}`, code);
  expect(ran.ms).toBeLessThan(isInBucket() ? BUCKET_REFUSAL_MS : REFUSAL_MS);
  const after = await filesIn(place.folder);
  // What a crash left in the write-ahead log is brought into the database file before anything is judged.
  for (const name of crashed) delete after[name];
  for (const name of crashed) delete before[name];
  expect(after).toEqual(before);
  return sentence;
}

/** The command ended with exit code 2 (or `exit`) and one sentence for a person; answers it. */
export function expectSentence(ran: Ran, who: string, code: ErrorCode, exit = 2): string {
  const said = ran.stdout + ran.stderr;
  expect(ran.code, said).toBe(exit);
  expect(said).not.toMatch(/^ {4}at /m);
  const sentences = ran.stderr.split("\n").filter((line) => line.startsWith(`${who}: `));
  expect(sentences, said).toHaveLength(1);
  expect(sentences[0]).toMatch(new RegExp(` \\[${code}\\]$`));
  return (sentences[0] as string).slice(`${who}: `.length);
}

/** Every file under a folder with the hash of its bytes, and every folder, but for what a refusal may touch. */
export async function filesIn(folder: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name).slice(folder.length + 1);
    if (MAY_CHANGE.test(path)) continue;
    found[path] = entry.isDirectory()
      ? "folder"
      : createHash("sha256")
          .update(await readFile(join(folder, path)))
          .digest("hex");
  }
  return found;
}
