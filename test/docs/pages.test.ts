// What can be checked in pages by a program: that links lead somewhere, that commands, options, error codes, variables and
// npm scripts which they name exist, and that the promise stands in its own words.

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { VARIABLES } from "../../src/cli/config.ts";
import { cairn } from "../../src/cli/dispatch.ts";
import { FATAL_CODES } from "../../src/cli/exit-classes.ts";
import { ERROR_SENTENCES } from "../../src/core/errors.ts";
import { run } from "../cli/test-io.ts";
import { composeVariables } from "../deploy/compose.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const PAGES = [
  ...readdirSync(ROOT).filter((name) => name.endsWith(".md")),
  ...readdirSync(join(ROOT, "docs"), { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".md"))
    .map((name) => join("docs", name)),
];

const PROMISE =
  "An acknowledgement survives process and power failure, not the loss of the database volume, nor a second running copy of it. A proof survives all three. Publishers who must survive them ask for the proof, or resubmit.";

function textOf(page: string): string {
  return readFileSync(join(ROOT, page), "utf8");
}

/** The anchors of a page's headings, as GitHub makes them. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    (heading as string)
      .toLowerCase()
      .replace(/[^\p{L}\p{N}\s_-]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/** What stands between backticks, and the lines of fenced blocks with their continuations. */
function codeOf(text: string): string[] {
  const fenced = [...text.matchAll(/^ *```[^\n]*\n([\s\S]*?)^ *```/gm)].flatMap(([, block]) =>
    (block as string).replaceAll(/\\\n\s*/g, " ").split("\n"),
  );
  const inline = text.replaceAll(/^ *```[\s\S]*?^ *```/gm, "").matchAll(/`([^`]+)`/g);
  return [...fenced, ...[...inline].map(([, code]) => (code as string).replaceAll(/\s+/g, " "))];
}

describe.each(PAGES)("%s", (page) => {
  const text = textOf(page);

  test("its links lead somewhere", () => {
    const dead = [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link]) => {
      if (/^[a-z]+:/.test(link as string)) return [];
      const [path = "", anchor] = (link as string).split("#");
      const file = path === "" ? join(ROOT, page) : resolve(ROOT, dirname(page), path);
      if (!existsSync(file)) return [link];
      return anchor === undefined || anchorsOf(readFileSync(file, "utf8")).includes(anchor) ? [] : [link];
    });
    expect(dead).toEqual([]);
  });

  test("the commands and options that it names exist", async () => {
    const unknown: string[] = [];
    for (const code of codeOf(text)) {
      for (const [whole, words = "", rest = ""] of code.matchAll(
        /(?:^|\s)(?:cairn|node dist\/cli\/main\.js|node \S+\/dist\/cli\/main\.js) ((?:[a-z-]+ ?)+)([^|;>#]*)/g,
      )) {
        const names = words.trim().split(" ");
        // `cairn --help` and `cairn --version`.
        if (words.startsWith("--")) continue;
        const help = await helpOf(names);
        if (help === null) unknown.push(whole.trim());
        else {
          const options = [...`${words}${rest}`.matchAll(/(?:^|\s)(--[a-z-]+)/g)].map(
            ([, option]) => option as string,
          );
          unknown.push(
            ...options
              .filter((option) => !help.includes(`  ${option}`))
              .map((option) => `${whole.trim()}: ${option}`),
          );
        }
      }
    }
    expect(unknown).toEqual([]);
  });

  test("the npm scripts that it names exist", () => {
    const { scripts } = JSON.parse(textOf("package.json")) as { scripts: Record<string, string> };
    const named = codeOf(text).flatMap((code) => [
      ...code.matchAll(/npm (?:run |(?=test|start))([a-z0-9:]+)/g),
    ]);
    expect(named.map(([, name]) => name as string).filter((name) => !(name in scripts))).toEqual([]);
  });

  test("the variables that it sets exist", () => {
    const set = codeOf(text).flatMap((code) => [...code.matchAll(/(?:^|\s)([A-Z][A-Z0-9_]{3,})=/g)]);
    const unknown = set.filter(([, name]) => {
      const bare = (name as string).replace(/_FILE$/, "");
      return !(bare in VARIABLES) && !OTHER_VARIABLES.includes(bare);
    });
    expect(unknown.map(([, name]) => name)).toEqual([]);
  });
});

/** Of tests, of the witness, which is configured by options, and what docs/deploy/compose.yaml puts in. */
const OTHER_VARIABLES = ["CAIRN_REQUIRE_ALL", "WITNESS_PRIVATE_KEY", ...composeVariables()];

/** The help of the command that `names` begin with, or null where there is none. */
async function helpOf(names: readonly string[]): Promise<string | null> {
  const first = names[0] as string;
  const overview = (await run(cairn, ["--help"])).stdout;
  if (!new RegExp(`^  ${first} `, "m").test(overview)) return null;
  let help = "";
  // A command of two or three words has each of them in the overview of the words before.
  for (let depth = 1; depth <= names.length; depth++) {
    const { stdout, exit } = await run(cairn, [...names.slice(0, depth), "--help"]);
    if (exit !== 0) return depth === 1 ? null : help;
    if (stdout === help) return help;
    help = stdout;
    if (help.includes("options:")) return help;
  }
  return help;
}

test.each(["README.md", "docs/operator.md", "docs/publisher.md"])(
  "the promise stands in %s in its own words",
  (page) => {
    expect(textOf(page).replaceAll(/\s+/g, " ")).toContain(PROMISE);
  },
);

test("the events that docs/operator.md explains are those that a log warns of, all of them", () => {
  const sources = readdirSync(join(ROOT, "src"), { recursive: true, encoding: "utf8" })
    .filter((name) => /^(?:log|witness\/client)\/.*\.ts$/.test(name) && !name.endsWith("log/recover.ts"))
    .map((name) => textOf(join("src", name)));
  const warned = sources.flatMap((source) =>
    [...source.matchAll(/\b(?:trouble|onTrouble)\(\s*"([a-z_]+)"/g)].map(([, event]) => event as string),
  );
  const table =
    textOf("docs/operator.md").split("| Events at level 40 and above |")[1]?.split("\n\n", 1)[0] ?? "";
  const explained = [...table.matchAll(/^\| (`[^|]*) \|/gm)].flatMap(([, cell]) =>
    [...(cell as string).matchAll(/`([a-z_]+)`/g)].map(([, event]) => event as string),
  );
  // Said by `cairn serve` itself, when it does not end in time.
  expect(new Set(explained)).toEqual(new Set([...warned, "stop_timeout"]));
});

/** What docs/operator.md need not explain: codes of commands that are no log, and what the sentence says already. */
const SELF_EXPLAINING = new Set(["usage", "file_exists", "store_unavailable"]);

test("docs/operator.md says what to do about every code that ends a server", () => {
  const page = textOf("docs/operator.md");
  const silent = Object.keys(FATAL_CODES).filter((code) => !page.includes(`\`${code}\``));
  expect(silent.filter((code) => !SELF_EXPLAINING.has(code))).toEqual([]);
});

test("every code that a page lists as an error is in the catalogue", () => {
  const listed = PAGES.filter((page) => !page.endsWith("errors.md")).flatMap((page) =>
    [...textOf(page).matchAll(/`([a-z]+(?:_[a-z]+)+)`/g)].map(([, code]) => ({
      page: relative(".", page),
      code: code as string,
    })),
  );
  const events = textOf("docs/operator.md").split("| Events at level 40 and above |")[1]?.split("\n\n", 1)[0];
  const unknown = listed.filter(
    ({ code }) =>
      !(code in ERROR_SENTENCES) && !OTHER_NAMES.has(code) && events?.includes(`\`${code}\``) !== true,
  );
  expect(unknown).toEqual([]);
});

/** Names in the same spelling that are no error codes: reasons of /ready, members, tables, states, events. */
const OTHER_NAMES = new Set([
  "api_keys",
  "checkpoint_old",
  "claims_larger",
  "entry_rows",
  "key_ids",
  "no_witness",
  "publication_late",
  "published_notes",
  "published_size",
  "request_id",
  "set_aside",
  "user_version",
  "waiting_for_first_entry",
  "witness_sizes",
]);
