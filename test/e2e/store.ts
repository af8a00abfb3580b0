// Where the logs of these tests keep their tiles: in their folder, or, where vitest.s3.config.ts provides a gateway, in a
// bucket that is that folder. So the same tests run on a filesystem and on an S3 server.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { inject } from "vitest";
import type {} from "../s3/setup.ts";
import { bucketEnv, makeBucket } from "../s3/versitygw.ts";

/** The gateway answers in a few milliseconds, and writes no slower. */
const BUCKET_REST_MS = 300;

/** Whether logs keep their tiles in buckets here. */
export function isInBucket(): boolean {
  return (inject("s3Gateway") as unknown) !== undefined;
}

/** Variables beside FS_ROOT, for a log whose tiles lie in the folder `tiles`. */
export function storeEnv(tiles: string): Readonly<Record<string, string>> {
  if (!isInBucket()) return {};
  const gateway = inject("s3Gateway");
  return bucketEnv(gateway, makeBucket(gateway, tiles));
}

/** Variables that make another log use the tiles of the one whose variables are `env`. */
export function storeOf(env: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const named = ["FS_ROOT", "S3_BUCKET"].flatMap((name) => {
    const value = env[name];
    return value === undefined ? [] : [[name, value] as const];
  });
  return Object.fromEntries(named);
}

/** Waits until an S3 server has finished what a process that is gone had sent it; nothing says when that is. */
export async function bucketAtRest(): Promise<void> {
  if (isInBucket()) await new Promise((resolve) => setTimeout(resolve, BUCKET_REST_MS));
}

/** Copies a folder with what an S3 server remembers of its files beside them. */
export async function copyFolder(from: string, to: string): Promise<void> {
  await promisify(execFile)("cp", ["-a", `${from}/.`, to]);
}
