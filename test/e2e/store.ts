// Where the logs of these tests keep their tiles: in their folder, or, where vitest.s3.config.ts provides a gateway, in a
// bucket that is that folder. So the same tests run on a filesystem and on an S3 server.

import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { inject } from "vitest";
import type {} from "../s3/setup.ts";
import { bucketEnv, makeBucket } from "../s3/versitygw.ts";

/** Variables beside FS_ROOT, for a log whose tiles lie in the folder `tiles`. */
export function storeEnv(tiles: string): Readonly<Record<string, string>> {
  const gateway = inject("s3Gateway");
  // Nothing is provided where the tests run on a filesystem.
  if ((gateway as unknown) === undefined) return {};
  return bucketEnv(gateway, makeBucket(gateway, tiles));
}

/** Copies a folder with what an S3 server remembers of its files beside them. */
export async function copyFolder(from: string, to: string): Promise<void> {
  await promisify(execFile)("cp", ["-a", `${from}/.`, to]);
}
