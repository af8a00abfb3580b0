import { describe, expect, test } from "vitest";
import { parseEndpoint, readStorage, type StorageVariables } from "../../src/cli/storage-config.ts";

const NONE: StorageVariables = {
  backend: "fs",
  root: "./data/tiles",
  bucket: undefined,
  endpoint: undefined,
  region: undefined,
  accessKey: undefined,
  secretKey: undefined,
  forcePathStyle: undefined,
};
const BUCKET: StorageVariables = { ...NONE, backend: "s3", bucket: "tiles" };

function read(given: StorageVariables) {
  const problems: string[] = [];
  return { storage: readStorage(given, problems), problems };
}

describe("a folder", () => {
  test("is FS_ROOT", () => {
    expect(read(NONE)).toEqual({ storage: { backend: "fs", root: "./data/tiles" }, problems: [] });
  });

  test("is refused beside the name of a bucket, which would not be used", () => {
    expect(read({ ...NONE, bucket: "tiles", endpoint: "https://s3.example.com" }).problems).toEqual([
      "S3_BUCKET is set, and STORAGE_BACKEND is fs",
      "S3_ENDPOINT is set, and STORAGE_BACKEND is fs",
    ]);
  });
});

describe("a bucket", () => {
  test("alone is AWS's, by AWS's own configuration", () => {
    expect(read(BUCKET).storage).toEqual({
      backend: "s3",
      bucket: { bucket: "tiles", endpoint: null, region: null, credentials: null, forcePathStyle: false },
    });
  });

  test("with an endpoint is in the path, in the region of one's own stores", () => {
    const endpoint = "https://s3.example.com";
    const given = { ...BUCKET, endpoint, accessKey: "id", secretKey: "secret" };
    expect(read(given).storage).toEqual({
      backend: "s3",
      bucket: {
        bucket: "tiles",
        endpoint,
        region: "us-east-1",
        credentials: { accessKeyId: "id", secretAccessKey: "secret" },
        forcePathStyle: true,
      },
    });
    expect(read({ ...given, region: "auto", forcePathStyle: false }).storage).toMatchObject({
      bucket: { region: "auto", forcePathStyle: false },
    });
  });

  test("is missing where it is not named, and half a key is refused without repeating it", () => {
    expect(read({ ...NONE, backend: "s3" })).toEqual({
      storage: null,
      problems: ["S3_BUCKET is missing, and STORAGE_BACKEND is s3"],
    });
    expect(read({ ...BUCKET, accessKey: "id" }).problems).toEqual([
      "S3_ACCESS_KEY is set and S3_SECRET_KEY is not",
    ]);
    expect(read({ ...BUCKET, secretKey: "hush" }).problems).toEqual([
      "S3_SECRET_KEY is set and S3_ACCESS_KEY is not",
    ]);
  });
});

test("an endpoint is a plain http or https URL, with a path where the store has one", () => {
  expect(parseEndpoint("https://s3.example.com/")).toBe("https://s3.example.com");
  expect(parseEndpoint("http://127.0.0.1:7070")).toBe("http://127.0.0.1:7070");
  expect(parseEndpoint("https://example.com/s3/")).toBe("https://example.com/s3");
  for (const text of ["s3.example.com", "ftp://x", "https://u@x", "https://x?a", "https://x#a"]) {
    expect(parseEndpoint(text), text).toBeNull();
  }
});
