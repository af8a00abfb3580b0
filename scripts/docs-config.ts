// Writes docs/configuration.md from the table in src/cli/config.ts; with --check it only says whether the page is current.
//   npx tsx scripts/docs-config.ts [--check]

import { readFileSync, writeFileSync } from "node:fs";
import { NOT_IN_THIS_VERSION, VARIABLES, type Variable } from "../src/cli/config.ts";

const PAGE = new URL("../docs/configuration.md", import.meta.url);

const page = configurationPage();
if (!process.argv.includes("--check")) {
  writeFileSync(PAGE, page);
} else if (readPage() !== page) {
  process.stderr.write(
    "docs/configuration.md is not what scripts/docs-config.ts writes; run it and commit the page.\n",
  );
  process.exitCode = 1;
}

function configurationPage(): string {
  const rows = Object.entries(VARIABLES as Record<string, Variable<unknown>>).map(([name, variable]) => {
    const { default: standard, otherwise = "", secret, about } = variable;
    const label = secret === true ? `\`${name}\`, \`${name}_FILE\`` : `\`${name}\``;
    return `| ${label} | ${standard === null ? otherwise : `\`${standard}\``} | ${about} |`;
  });
  const later = Object.keys(NOT_IN_THIS_VERSION)
    .map((name) => `\`${name}\``)
    .join(", ");
  return `# Configuration

<!-- Written by scripts/docs-config.ts from src/cli/config.ts; change it there. -->

A server is configured by environment variables alone. They are read once, at the start; all problems are reported
together, and nothing starts until there are none. A variable that is set and empty counts as not set. Names that Cairn
does not know are left alone.

Secrets can come from a file instead: \`<NAME>_FILE\` names it, and white space at its end is ignored. To set both is
refused. Private keys and API keys are never taken from a command line, where others on the machine can read them.

| Variable | Default | Meaning |
|---|---|---|
${rows.join("\n")}

What is not in this version yet is refused where it is set, and not ignored: ${later}.

The commands that own a log's data read the same variables as the server; \`cairn keys\` reads \`DATABASE_URL\` only, and
\`cairn add\` sends the \`API_KEY\` (or \`API_KEY_FILE\`) that it finds.
`;
}

function readPage(): string | null {
  try {
    return readFileSync(PAGE, "utf8");
  } catch {
    return null;
  }
}
