// A log's events as remarks of a command: trouble as lines, what takes long as progress.

import type { LogEvents } from "../log/options.ts";
import type { Output } from "./output.ts";

export function remarkedEvents(out: Output): LogEvents {
  return {
    trouble: (what, detail, error) => {
      const why = error instanceof Error ? `: ${error.message}` : "";
      void out.remark(`${what}: ${detail}${why}`);
    },
    note: (what, details) =>
      out.progress(() =>
        [what, ...Object.entries(details).map(([name, value]) => `${name} ${value}`)].join("  "),
      ),
    commit: () => undefined,
    duplicate: () => undefined,
    round: () => undefined,
  };
}
