// Durations on the command line: a whole number and a unit, such as 90s, 15m, 1h or 7d.

import { usageError } from "./args.ts";

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 };

/** Seconds. Throws `usage` naming the option. */
export function parseDuration(option: string, text: string): number {
  const match = /^([1-9][0-9]{0,8})([smhd])$/.exec(text);
  if (match === null) throw usageError(`--${option} is a number and a unit, such as 90s, 15m, 1h or 7d`);
  return Number(match[1]) * (SECONDS[match[2] as string] as number);
}
