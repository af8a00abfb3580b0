// Writes a folder with a whole log in it, for measuring `fsck` and readers:
//   npx tsx test/client/make-folder.ts FOLDER [ENTRIES] [BYTES PER ENTRY]
// Prints the verifier key. The entries are a counter and pseudo-random letters, the same ones every time.

import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { buildLog, testSigner } from "./build-log.ts";

const [folder, count = "1000000", bytes = "300"] = process.argv.slice(2);
if (folder === undefined) {
  process.stderr.write("usage: make-folder.ts FOLDER [ENTRIES] [BYTES PER ENTRY]\n");
  process.exit(2);
}

const made = new Set<string>();
buildLog(
  Number(count),
  (path, object) => {
    const file = join(folder, path);
    const parent = dirname(file);
    if (!made.has(parent)) {
      mkdirSync(parent, { recursive: true });
      made.add(parent);
    }
    writeFileSync(file, object);
  },
  (index) => entryOf(index, Number(bytes)),
);
process.stdout.write(`${testSigner().vkey}\n`);

function entryOf(index: number, length: number): Uint8Array {
  const entry = new Uint8Array(length);
  const { written } = new TextEncoder().encodeInto(`${index} `, entry);
  let state = index + 1;
  for (let i = written; i < length; i++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    entry[i] = 97 + ((state >>> 24) % 26);
  }
  return entry;
}
