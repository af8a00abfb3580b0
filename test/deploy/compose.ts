// Reads docs/deploy/compose.yaml: the part of YAML that it is written in (maps and lists by indentation, flow lists as JSON
// has them, plain and double-quoted scalars), refusing whatever else it meets; and what Compose puts in for ${NAME}.

import { readFileSync } from "node:fs";

export type Yaml = string | null | readonly Yaml[] | { readonly [key: string]: Yaml };

export interface Service {
  readonly image: string;
  readonly build?: string;
  readonly restart: string;
  readonly stop_grace_period?: string;
  readonly command?: readonly string[];
  readonly entrypoint?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly volumes: readonly string[];
  readonly ports?: readonly string[];
  readonly depends_on?: Readonly<Record<string, { readonly condition: string }>>;
  readonly healthcheck?: { readonly test: readonly string[] };
}

export interface Compose {
  readonly name: string;
  readonly services: Readonly<Record<"log" | "witness" | "store" | "bucket", Service>>;
  readonly volumes: Readonly<Record<string, null>>;
}

const FILE = new URL("../../docs/deploy/compose.yaml", import.meta.url);

/** The file with `variables` put in, as Compose reads them from .env. */
export function readCompose(variables: Readonly<Record<string, string>> = {}): Compose {
  return parseYaml(interpolate(readFileSync(FILE, "utf8"), variables)) as unknown as Compose;
}

/** The names that stand in for values. */
export function composeVariables(): string[] {
  const text = readFileSync(FILE, "utf8").replaceAll(/^ *#.*$/gm, "");
  return [...new Set([...text.matchAll(/\$\{(\w+)/g)].map(([, name]) => name as string))].sort();
}

/** `${NAME:-default}` and `${NAME:?what is wrong}`: empty counts as not set. */
function interpolate(text: string, variables: Readonly<Record<string, string>>): string {
  return text.replaceAll(/\$\{(\w+):([-?])([^}]*)\}/g, (_, name: string, kind: string, rest: string) => {
    const value = variables[name] ?? "";
    if (value === "" && kind === "?") throw new Error(`${name} ${rest}`);
    return value === "" ? rest : value;
  });
}

interface Line {
  readonly indent: number;
  readonly text: string;
}

export function parseYaml(text: string): Yaml {
  const lines = text
    .split("\n")
    .map((line): Line => ({ indent: line.length - line.trimStart().length, text: line.trim() }))
    .filter(({ text: words }) => words !== "" && !words.startsWith("#"));
  const value = block(lines, 0);
  if (lines.length > 0) throw new Error(`not read: ${lines[0]?.text}`);
  return value;
}

/** The map or list whose first line is the next one; takes its lines. */
function block(lines: Line[], indent: number): Yaml {
  const list: Yaml[] = [];
  const map: Record<string, Yaml> = {};
  const isList = lines[0]?.text.startsWith("- ") === true;
  while (lines[0]?.indent === indent && lines[0].text.startsWith("- ") === isList) {
    const { text } = lines.shift() as Line;
    if (isList) {
      list.push(scalar(text.slice(2)));
      continue;
    }
    const [, key, rest] = /^([A-Za-z_][\w-]*):(?: (.*))?$/.exec(text) ?? [];
    if (key === undefined) throw new Error(`not read: ${text}`);
    if (Object.hasOwn(map, key)) throw new Error(`twice: ${key}`);
    const inner = lines[0]?.indent ?? 0;
    if (rest !== undefined) map[key] = scalar(rest);
    else map[key] = inner > indent ? block(lines, inner) : null;
  }
  return isList ? list : map;
}

function scalar(text: string): Yaml {
  if (text.startsWith("[") || text.startsWith('"')) return JSON.parse(text) as Yaml;
  // Nothing that YAML would read as more than these characters.
  if (!/^[A-Za-z0-9./][\w./:-]*$/.test(text) || /: |^(?:true|false|yes|no|on|off|null|[\d.]+)$/i.test(text)) {
    if (text === "true") return text;
    throw new Error(`not read: ${text}`);
  }
  return text;
}
