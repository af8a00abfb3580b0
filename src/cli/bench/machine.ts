// What a figure was measured on.

import { statfs } from "node:fs/promises";
import { availableParallelism, cpus, totalmem } from "node:os";

/** Types of statfs(2) that keep files in memory, where a sync tells nothing. */
const IN_MEMORY: ReadonlySet<number> = new Set([0x01021994, 0x858458f6]);

export interface Machine {
  readonly cpus: number;
  readonly cpu: string;
  readonly memory_bytes: number;
  readonly platform: string;
  readonly node: string;
  /** Whether the data folder is in memory, so that figures with a sync in them mean nothing. */
  readonly data_in_memory: boolean;
}

export async function describeMachine(folder: string): Promise<Machine> {
  return {
    cpus: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    memory_bytes: totalmem(),
    platform: `${process.platform} ${process.arch}`,
    node: process.version,
    data_in_memory: IN_MEMORY.has((await statfs(folder)).type),
  };
}
