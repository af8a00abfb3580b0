// One command: its declaration, and the body that runs with parsed options. What every command does alike is here: --help,
// --json, one sentence for an error, and the exit code that an error stands for.

import { type ErrorCode, isCairnError } from "../core/errors.ts";
import { type CommandSpec, helpText, type OptionSpecs, type ParsedArgs, parseCommandLine } from "./args.ts";
import { missingDependency, type Runnable } from "./group.ts";
import { EXIT, type ExitCode, type Io } from "./io.ts";
import { misplaced } from "./misplaced.ts";
import { createOutput, errorLine, errorValue, type Output } from "./output.ts";

export interface Command extends Runnable {
  readonly spec: CommandSpec;
}

export interface CommandContext<O extends OptionSpecs> {
  readonly args: ParsedArgs<O>;
  readonly io: Io;
  readonly out: Output;
}

/** Errors that answer the question with no: what was looked at is wrong. All others mean that it could not be looked at. */
const VERDICTS: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "bad_note",
  "bad_signature",
  "unsigned",
  "bad_checkpoint",
  "bad_proof",
  "bad_bundle",
  "bad_tile",
  "wrong_tile",
  "wrong_origin",
  "inclusion_failed",
  "inconsistent",
  "head_smaller",
  "quorum_not_met",
  "too_old",
  "entry_too_large",
  "key_unknown",
]);

/** `exitOf` says with which code an error ends the command, where it is another than for most. */
export function defineCommand<const O extends OptionSpecs>(
  spec: CommandSpec<O>,
  body: (context: CommandContext<O>) => Promise<ExitCode>,
  exitOf: (error: unknown) => ExitCode = verdict,
): Command {
  return {
    spec,
    async run(argv, io) {
      // An error in the command line itself is printed as JSON too where that was asked for.
      let out = createOutput(io, argv.includes("--json"));
      try {
        const args = parseCommandLine(spec, argv);
        if (args.help) {
          await io.stdout.write(helpText(spec));
          return EXIT.ok;
        }
        out = createOutput(io, args.json);
        return await body({ args, io, out });
      } catch (cause) {
        const error = missingDependency(cause) ?? misplaced(cause) ?? cause;
        await out.endProgress();
        await out.value({ error: errorValue(error) });
        await out.remark(`cairn ${spec.name}: ${errorLine(error)}`);
        return exitOf(error);
      }
    },
  };
}

function verdict(error: unknown): ExitCode {
  return isCairnError(error) && VERDICTS.has(error.code) ? EXIT.no : EXIT.failed;
}
