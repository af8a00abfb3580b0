// Writes docs/openapi.json from src/http/contract.ts; with --check it only says whether the file is current.
//   npx tsx scripts/docs-openapi.ts [--check]

import { readFileSync, writeFileSync } from "node:fs";
import { openApiDocument } from "../src/http/contract.ts";

const FILE = new URL("../docs/openapi.json", import.meta.url);
const text = `${JSON.stringify(openApiDocument(), null, 2)}\n`;

if (!process.argv.includes("--check")) {
  writeFileSync(FILE, text);
} else if (readFileSync(FILE, "utf8") !== text) {
  process.stderr.write(
    "docs/openapi.json is not what scripts/docs-openapi.ts writes; run it and commit the file.\n",
  );
  process.exitCode = 1;
}
