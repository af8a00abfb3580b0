// What the kernel says a process has used. Linux only: elsewhere everything is null, and reported as not measured.

import { readFile } from "node:fs/promises";

/** The unit of times in /proc, 10 ms (USER_HZ, which is 100 on every architecture that Node runs on). */
const TICKS_PER_SECOND = 100;
/** Places after the command's name in /proc/<pid>/stat; see proc(5). */
const USER_TIME = 11;
const SYSTEM_TIME = 12;
const KIBIBYTE = 1024;

/** CPU seconds of all threads of a process, in user and kernel mode, in steps of 10 ms. */
export async function cpuSeconds(pid: number): Promise<number | null> {
  const stat = await readProc(pid, "stat");
  if (stat === null) return null;
  // The command's name is in parentheses and may hold anything, parentheses too.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[USER_TIME]) + Number(fields[SYSTEM_TIME])) / TICKS_PER_SECOND;
}

/** Bytes resident now and at most so far. */
export async function residentBytes(pid: number): Promise<{ now: number; peak: number } | null> {
  const status = await readProc(pid, "status");
  if (status === null) return null;
  const field = (name: string): number => {
    const value = new RegExp(`^${name}:\\s+([0-9]+) kB$`, "m").exec(status)?.[1];
    return value === undefined ? Number.NaN : Number(value) * KIBIBYTE;
  };
  return { now: field("VmRSS"), peak: field("VmHWM") };
}

async function readProc(pid: number, file: string): Promise<string | null> {
  try {
    return await readFile(`/proc/${pid}/${file}`, "utf8");
  } catch {
    return null;
  }
}
