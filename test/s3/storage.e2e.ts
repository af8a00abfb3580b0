// The storage conformance suite on a real S3 server, unchanged, and what a double could not show: that the driver and the
// server understand each other's requests, labels and conditions.

import { rmSync } from "node:fs";
import { join } from "node:path";
import { expect, inject, test } from "vitest";
import { openS3Store } from "../../src/storage/s3.ts";
import { storageConformance } from "../storage/conformance.ts";
import { bucketSettings, endpoint, makeBucket } from "./versitygw.ts";

const gateway = inject("s3Gateway");

storageConformance("a bucket of versitygw", async () => {
  const bucket = makeBucket(gateway);
  return {
    open: () => openS3Store(bucketSettings(gateway, bucket), { mode: "write" }),
    remove: async () => rmSync(join(gateway.root, bucket), { recursive: true, force: true }),
  };
});

test("its conditions hold, by the probe that every start makes", async () => {
  const store = await openS3Store(bucketSettings(gateway, makeBucket(gateway)), { mode: "write" });
  await store.probe();
  const left: string[] = [];
  for await (const key of store.list("")) left.push(key);
  expect(left).toEqual([]);
  await store.close();
});

test("a bucket that does not exist, and credentials that it does not know, are refused by name", async () => {
  const settings = bucketSettings(gateway, "mistyped");
  await expect(openS3Store(settings, { mode: "write" })).rejects.toMatchObject({ code: "bucket_absent" });
  const stranger = {
    ...bucketSettings(gateway, makeBucket(gateway)),
    credentials: { accessKeyId: "stranger", secretAccessKey: "stranger" },
  };
  await expect(openS3Store(stranger, { mode: "write" })).rejects.toMatchObject({
    code: "store_refused",
    message: expect.stringContaining(stranger.bucket),
  });
  expect(await (await fetch(`${endpoint(gateway)}/mistyped`)).text()).toContain("<Code>");
});
