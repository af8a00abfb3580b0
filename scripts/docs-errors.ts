// Writes docs/errors.md from the catalogue in src/core/errors.ts, the statuses in src/http/problem.ts and the classes in
// src/cli/exit-classes.ts; with --check it only says whether the page is current. The page's sections are the catalogue's
// own comments.
//   npx tsx scripts/docs-errors.ts [--check]

import { readFileSync, writeFileSync } from "node:fs";
import { EXIT_CLASSES, FATAL_CODES } from "../src/cli/exit-classes.ts";
import { CairnError, ERROR_SENTENCES, type ErrorCode } from "../src/core/errors.ts";
import { publicError, retryAfterOf, statusOf } from "../src/http/problem.ts";

const PAGE = new URL("../docs/errors.md", import.meta.url);
const CATALOGUE = new URL("../src/core/errors.ts", import.meta.url);

interface Section {
  readonly title: string;
  readonly codes: ErrorCode[];
}

const page = errorsPage();
if (!process.argv.includes("--check")) {
  writeFileSync(PAGE, page);
} else if (readPage() !== page) {
  process.stderr.write(
    "docs/errors.md is not what scripts/docs-errors.ts writes; run it and commit the page.\n",
  );
  process.exitCode = 1;
}

function errorsPage(): string {
  const tables = sections().map(({ title, codes }) => {
    const rows = codes.map((code) => {
      return `| \`${code}\` | ${httpStatus(code)} | ${ERROR_SENTENCES[code].replaceAll("|", "\\|")} |`;
    });
    return `## ${title}\n\n| Code | HTTP | What it says |\n|---|---|---|\n${rows.join("\n")}\n`;
  });
  return `# Error codes

<!-- Written by scripts/docs-errors.ts from src/core/errors.ts, src/http/problem.ts and src/cli/exit-classes.ts; change it
there. -->

Every refusal carries one of these codes, and codes do not change: match on them, not on sentences or on statuses.

- **Over HTTP** a refusal is problem+json (RFC 9457) with the members \`title\`, \`status\`, \`code\`, \`detail\` and
  \`request_id\`; some have further ones, such as \`published_size\` with \`not_published\`, or \`index\` and \`retry\` with
  \`proof_timeout\`. The HTTP column gives the status, and in brackets the seconds that \`Retry-After\` names where the
  server has no better number. Each result of \`POST /add-batch\` that is a refusal has \`error\` with \`code\` and
  \`detail\`. A code without a status never leaves the server: its client gets \`internal\` with a request id, and the
  server's own log has the rest.
- **On a command line** the sentence, what it was about and the code stand on standard error; with \`--json\` they are
  \`error.code\`, \`error.message\` and \`error.detail\` on standard output. Each command's \`--help\` says what its exit
  codes mean.
- **In the library** it is \`CairnError.code\`.

${tables.join("\n")}
## How a server ends

\`cairn serve\` and \`npm start\` end with the exit code of the class that the error belongs to. An error that is not listed
is a fault.

| Exit code | Restart | What is the case, and what to do | Codes |
|---|---|---|---|
${exitRows().join("\n")}
`;
}

function exitRows(): string[] {
  return Object.entries(EXIT_CLASSES).map(([name, { exit, restart, means, advice }]) => {
    const codes = Object.entries(FATAL_CODES).filter(([, each]) => each === name);
    const listed = codes.map(([code]) => `\`${code}\``).join(", ");
    return `| ${exit} | ${restart ? "yes" : "no"} | ${means} ${advice} | ${listed} |`;
  });
}

/** The catalogue in its own order, under its own comments. */
function sections(): Section[] {
  const found: Section[] = [];
  let inside = false;
  for (const line of readFileSync(CATALOGUE, "utf8").split("\n")) {
    if (line.startsWith("export const ERROR_SENTENCES")) inside = true;
    else if (line.startsWith("}")) inside = false;
    if (!inside) continue;
    const title = /^ {2}\/\/ (.*?)\.?$/.exec(line)?.[1];
    if (title !== undefined) found.push({ title, codes: [] });
    const code = /^ {2}([a-z0-9_]+):/.exec(line)?.[1];
    if (code !== undefined) found.at(-1)?.codes.push(code as ErrorCode);
  }
  const listed = found.reduce((sum, { codes }) => sum + codes.length, 0);
  if (listed !== Object.keys(ERROR_SENTENCES).length) {
    throw new Error("src/core/errors.ts is laid out in a way that scripts/docs-errors.ts does not read");
  }
  return found;
}

function httpStatus(code: ErrorCode): string {
  // What the server does not pass on has no status, and `internal` stands for it.
  if (publicError(new CairnError(code)).code !== code) return "";
  const retryAfter = retryAfterOf(code);
  return retryAfter === null ? String(statusOf(code)) : `${statusOf(code)} (${retryAfter})`;
}

function readPage(): string | null {
  try {
    return readFileSync(PAGE, "utf8");
  } catch {
    return null;
  }
}
