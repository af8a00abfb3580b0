// The variables that say where tiles are kept, judged together: a bucket with half a key, or one that is named and not
// used, would go wrong only later.

import type { S3Settings } from "../storage/s3-client.ts";

/** Where tiles are kept. */
export type StorageConfig =
  | { readonly backend: "fs"; readonly root: string }
  | { readonly backend: "s3"; readonly bucket: S3Settings };

export interface StorageVariables {
  readonly backend: "fs" | "s3" | undefined;
  readonly root: string | undefined;
  readonly bucket: string | undefined;
  readonly endpoint: string | undefined;
  readonly region: string | undefined;
  readonly accessKey: string | undefined;
  readonly secretKey: string | undefined;
  readonly forcePathStyle: boolean | undefined;
}

/** What a store of one's own most often calls its region. */
const OWN_STORE_REGION = "us-east-1";

/** The place; each problem is added to `problems`, without a secret, and the answer is null. */
export function readStorage(given: StorageVariables, problems: string[]): StorageConfig | null {
  if (given.backend === undefined) return null;
  if (given.backend === "fs") {
    for (const [name, value] of [
      ["S3_BUCKET", given.bucket],
      ["S3_ENDPOINT", given.endpoint],
    ]) {
      if (value !== undefined) problems.push(`${name} is set, and STORAGE_BACKEND is fs`);
    }
    return given.root === undefined ? null : { backend: "fs", root: given.root };
  }
  if ((given.accessKey === undefined) !== (given.secretKey === undefined)) {
    const [set, missing] = given.secretKey === undefined ? ["ACCESS", "SECRET"] : ["SECRET", "ACCESS"];
    problems.push(`S3_${set}_KEY is set and S3_${missing}_KEY is not`);
  }
  if (given.bucket === undefined) {
    if (!problems.some((problem) => problem.startsWith("S3_BUCKET"))) {
      problems.push("S3_BUCKET is missing, and STORAGE_BACKEND is s3");
    }
    return null;
  }
  const { accessKey, secretKey, endpoint } = given;
  return {
    backend: "s3",
    bucket: {
      bucket: given.bucket,
      endpoint: endpoint ?? null,
      region: given.region ?? (endpoint === undefined ? null : OWN_STORE_REGION),
      credentials:
        accessKey === undefined || secretKey === undefined
          ? null
          : { accessKeyId: accessKey, secretAccessKey: secretKey },
      forcePathStyle: given.forcePathStyle ?? endpoint !== undefined,
    },
  };
}

/** An endpoint's URL without its final slash, or null where it is none. */
export function parseEndpoint(text: string): string | null {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    return null;
  }
  const isPlain = url.search === "" && url.hash === "" && url.username === "" && url.password === "";
  if (!isPlain || (url.protocol !== "https:" && url.protocol !== "http:")) return null;
  return url.href.replace(/\/$/, "");
}
