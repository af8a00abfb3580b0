// Command lines: what a command takes is declared once, and parsing and --help both come from it. Unknown options, missing
// values and repeated single options are refused, and so is anything that looks like a private key.

import { type ParseArgsConfig, parseArgs } from "node:util";
import { CairnError } from "../core/errors.ts";

interface OptionSpec {
  readonly type: "string" | "boolean";
  /** May be given several times; its value is then a list. */
  readonly multiple?: true;
  /** What stands for the value in the help text, such as FILE. */
  readonly value?: string;
  readonly about: string;
  /** Its value may be a private key: the one exception to what no command line may hold, for a command that warns of it. */
  readonly takesPrivateKey?: true;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

export interface CommandSpec<O extends OptionSpecs = OptionSpecs> {
  readonly name: string;
  /** Command lines without the leading `cairn`. */
  readonly usage: readonly string[];
  /** Paragraphs for --help. */
  readonly about: readonly string[];
  readonly options: O;
  /** What the exit codes 0, 1 and 2 mean here. */
  readonly exit: readonly [string, string, string];
  /** Exit codes of this command alone, beyond those three. */
  readonly furtherExits?: readonly { readonly exit: number; readonly means: string }[];
}

type OptionValues<O extends OptionSpecs> = {
  readonly [K in keyof O]: O[K] extends { readonly multiple: true }
    ? readonly string[]
    : O[K]["type"] extends "boolean"
      ? boolean
      : string | undefined;
};

export interface ParsedArgs<O extends OptionSpecs> {
  readonly options: OptionValues<O>;
  readonly positionals: readonly string[];
  readonly help: boolean;
  readonly json: boolean;
}

/** Every command has these two. */
const COMMON_OPTIONS = {
  json: { type: "boolean", about: "Print the result as JSON, one object a line." },
  help: { type: "boolean", about: "Print this text." },
} as const satisfies OptionSpecs;

const HELP_WIDTH = 100;
const OPTION_COLUMN = 24;

/** Throws `usage`. */
export function parseCommandLine<O extends OptionSpecs>(
  spec: CommandSpec<O>,
  argv: readonly string[],
): ParsedArgs<O> {
  if (argv.some((argument, i) => argument.includes("PRIVATE+KEY+") && !mayHoldKey(spec, argv, i))) {
    // Others on the machine see the command line; the key is not repeated here.
    throw usageError("a private key stands on the command line, where others can read it; give a file");
  }
  const all: OptionSpecs = { ...spec.options, ...COMMON_OPTIONS };
  const options: NonNullable<ParseArgsConfig["options"]> = {};
  // All are collected as lists, so that a single option given twice is seen and not silently the last one.
  for (const [name, { type }] of Object.entries(all)) options[name] = { type, multiple: true };

  let parsed: { values: Record<string, unknown>; positionals: string[] };
  try {
    parsed = parseArgs({ args: [...argv], options, allowPositionals: true, strict: true });
  } catch (cause) {
    throw usageError(cause instanceof Error ? firstSentence(cause.message) : String(cause));
  }
  const values: Record<string, unknown> = {};
  for (const [name, option] of Object.entries(all)) {
    const given = (parsed.values[name] ?? []) as readonly (string | boolean)[];
    if (option.type === "string" && option.multiple !== true && given.length > 1) {
      throw usageError(`--${name} is given ${given.length} times`);
    }
    if (option.multiple === true) values[name] = given;
    else values[name] = option.type === "boolean" ? given.length > 0 : given[0];
  }
  const { json, help } = values;
  return {
    options: values as OptionValues<O>,
    positionals: parsed.positionals,
    help: help === true,
    json: json === true,
  };
}

/** The text of --help. */
export function helpText(spec: CommandSpec): string {
  const lines = spec.usage.map((usage, i) => `${i === 0 ? "usage: " : "       "}cairn ${usage}`);
  for (const paragraph of spec.about) lines.push("", ...wrap(paragraph, HELP_WIDTH));
  lines.push("", "options:");
  for (const [name, option] of Object.entries({ ...spec.options, ...COMMON_OPTIONS })) {
    lines.push(...optionLines(name, option));
  }
  lines.push("", "exit codes:", ...spec.exit.map((meaning, code) => `  ${code}  ${meaning}`));
  for (const { exit, means } of spec.furtherExits ?? []) lines.push(`  ${exit} ${means}`);
  return `${lines.join("\n")}\n`;
}

export function usageError(detail: string): CairnError {
  return new CairnError("usage", { detail });
}

/** The value of an option that must be given. Throws `usage`. */
export function requireOption(name: string, value: string | undefined): string {
  if (value === undefined) throw usageError(`--${name} is missing`);
  return value;
}

/** True for the value of an option that takes a private key, as `--name VALUE` or `--name=VALUE`. */
function mayHoldKey(spec: CommandSpec, argv: readonly string[], index: number): boolean {
  return Object.entries(spec.options).some(
    ([name, { takesPrivateKey }]) =>
      takesPrivateKey === true &&
      (argv[index - 1] === `--${name}` || argv[index]?.startsWith(`--${name}=`) === true),
  );
}

function optionLines(name: string, option: OptionSpec): string[] {
  const head = `  --${name}${option.type === "string" ? ` ${option.value ?? "TEXT"}` : ""}`;
  const about = wrap(option.about, HELP_WIDTH - OPTION_COLUMN);
  const indented = about.map((line) => `${" ".repeat(OPTION_COLUMN)}${line}`);
  if (head.length >= OPTION_COLUMN) return [head, ...indented];
  return [`${head.padEnd(OPTION_COLUMN)}${about[0] ?? ""}`, ...indented.slice(1)];
}

function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else {
      line = line === "" ? word : `${line} ${word}`;
    }
  }
  lines.push(line);
  return lines;
}

// Node appends advice about "--" to some messages, which helps nobody here.
function firstSentence(message: string): string {
  return message.split(/\. |\n/)[0] as string;
}
