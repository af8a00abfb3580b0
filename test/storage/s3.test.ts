import { describe, expect, it, onTestFinished, vi } from "vitest";
import { S3Requests, type S3Settings } from "../../src/storage/s3-client.ts";
import { openS3Store, type S3Timing } from "../../src/storage/s3.ts";
import { type ObjectStore, type ObjectVersion, StoreError } from "../../src/storage/store.ts";
import type { FaultForm } from "../doubles/faults.ts";
import {
  type FaultAnswer,
  type Outage,
  type S3Fault,
  S3Server,
  type S3ServerOptions,
} from "../doubles/s3-server.ts";
import { expectNotApplied, storageConformance } from "./conformance.ts";

storageConformance("a bucket that lists three keys at a time", async () => {
  const server = await S3Server.start({ pageKeys: 3 });
  return {
    open: () => openS3Store(server.settings(), { mode: "write" }),
    remove: () => server.stop(),
  };
});

storageConformance("a bucket that answers racing writes with 409", async () => {
  const server = await S3Server.start();
  server.conflicts = true;
  return {
    open: () => openS3Store(server.settings(), { mode: "write" }),
    remove: () => server.stop(),
  };
});

const BYTES = new TextEncoder().encode("some bytes");
const OTHER = new TextEncoder().encode("other bytes");
const KEY = "state/x";

/** A store that gives up soon enough for a test, and late enough for a busy machine. */
const SOON: S3Timing = { answerTimeoutMs: 300, openPatienceMs: 900, openPauseMs: 20, readPatienceMs: 400 };

async function startServer(options: S3ServerOptions = {}): Promise<S3Server> {
  const server = await S3Server.start(options);
  onTestFinished(() => server.stop());
  return server;
}

async function openStore(
  server: S3Server,
  { settings = {}, timing = {} }: { settings?: Partial<S3Settings>; timing?: S3Timing } = {},
): Promise<ObjectStore> {
  const store = await openS3Store(server.settings(settings), { mode: "write", timing });
  onTestFinished(() => store.close());
  return store;
}

describe("opening a bucket", () => {
  it("that does not exist is refused at once, by name, and makes none", async () => {
    const server = await startServer();
    const opening = openS3Store(server.settings({ bucket: "mistyped" }), { mode: "write" });
    await expect(opening).rejects.toMatchObject({
      code: "bucket_absent",
      message: expect.stringContaining("s3://mistyped"),
    });
    expect(server.requests).toHaveLength(1);
    expect(server.written()).toEqual([]);
  });

  it("with credentials that it does not know is refused at once, and they are not repeated", async () => {
    const server = await startServer();
    const credentials = { accessKeyId: "stranger", secretAccessKey: "stranger's secret" };
    const opening = openS3Store(server.settings({ credentials }), { mode: "write" });
    await expect(opening).rejects.toMatchObject({
      code: "store_refused",
      message: expect.stringMatching(
        /^(?!.*stranger).*s3:\/\/cairn-test: it answered 403 InvalidAccessKeyId/s,
      ),
    });
    expect(server.requests).toHaveLength(1);
  });

  it.each<[string, Outage]>([
    ["never answers", "silent"],
    ["breaks every connection", "resetting"],
    ["answers 503", { status: 503, code: "SlowDown" }],
  ])("that %s is waited for, and then given up in words", async (_, outage) => {
    const server = await startServer();
    server.outage = outage;
    const opening = openS3Store(server.settings(), { mode: "read", timing: SOON });
    await expect(opening).rejects.toMatchObject({
      code: "store_unreachable",
      message: expect.stringContaining("s3://cairn-test"),
    });
  });

  it("behind which nothing listens is waited for, and opened when it comes back", async () => {
    const server = await startServer();
    await server.goAway();
    const gone = openS3Store(server.settings(), { mode: "read", timing: SOON });
    await expect(gone).rejects.toMatchObject({ code: "store_unreachable" });
    const opening = openS3Store(server.settings(), {
      mode: "read",
      timing: { ...SOON, openPatienceMs: 20_000 },
    });
    await server.comeBack();
    await (await opening).close();
  });

  it("whose clock differs from ours goes on by its clock", async () => {
    const server = await startServer();
    server.skewMs = 3_600_000;
    const store = await openStore(server, { timing: SOON });
    expect((await store.create(KEY, BYTES)).outcome).toBe("written");
  });

  it("for reading writes nothing at all, and says so", async () => {
    const server = await startServer();
    const store = await openS3Store(server.settings(), { mode: "read" });
    onTestFinished(() => store.close());
    for (const write of [
      () => store.create("checkpoint", BYTES),
      () => store.createDurable("checkpoint", BYTES),
      () => store.replace("checkpoint", BYTES, "v" as ObjectVersion),
      () => store.overwrite("checkpoint", BYTES),
      () => store.remove("checkpoint"),
      () => store.probe(),
    ]) {
      const error = await expectNotApplied(write);
      expect(error.message).toContain("opened for reading only");
      expect(error.retryable).toBe(false);
    }
    expect(server.requests.every(({ operation }) => operation === "list")).toBe(true);
  });
});

describe("what is sent", () => {
  it("carries the condition of each write, and nothing that only some stores know", async () => {
    const server = await startServer();
    const store = await openStore(server);
    const created = await store.create(KEY, BYTES);
    if (created.outcome !== "written") throw new Error("refused");
    await store.replace(KEY, OTHER, created.version);
    await store.overwrite(KEY, new Uint8Array(3 * 1024 * 1024));
    const puts = server.requests.filter(({ operation }) => operation === "put");
    expect(puts.map(({ headers }) => [headers["if-none-match"], headers["if-match"]])).toEqual([
      ["*", undefined],
      [undefined, created.version],
      [undefined, undefined],
    ]);
    for (const { headers } of server.requests) {
      const names = Object.keys(headers).join(" ");
      expect(names).not.toMatch(/checksum|trailer|content-encoding|expect|x-amz-acl|tigris/);
    }
  });

  it("is one request for a write that goes through, over connections that are kept", async () => {
    const server = await startServer();
    const store = await openStore(server);
    const before = server.requests.length;
    for (let i = 0; i < 20; i++) await store.create(`tile/0/${String(i).padStart(3, "0")}`, BYTES);
    expect(server.requests).toHaveLength(before + 20);
    expect(server.connections).toBe(1);
  });

  it("labels each class of object so that the bucket can serve it", async () => {
    const server = await startServer();
    const store = await openStore(server);
    const tile = {
      "content-type": "application/octet-stream",
      "cache-control": "public, max-age=31536000, immutable",
    };
    const hidden = { "content-type": "application/octet-stream", "cache-control": "private, no-store" };
    const expected = {
      checkpoint: { "content-type": "text/plain; charset=utf-8", "cache-control": "public, max-age=2" },
      "state/head": hidden,
      "state/notes/256": hidden,
      "tile/0/000": tile,
      "tile/0/000.p/5": tile,
      "tile/entries/x001/000": tile,
    };
    for (const key of Object.keys(expected)) await store.create(key, BYTES);
    const version = (await store.get("checkpoint"))?.version as ObjectVersion;
    await store.replace("checkpoint", OTHER, version);
    for (const [key, labels] of Object.entries(expected)) expect(server.labels(key), key).toEqual(labels);
  });

  it.each([
    ["https://fly.storage.tigris.dev", "true"],
    ["https://t3.storage.dev", "true"],
    ["https://s3.example.com", undefined],
    ["https://nottigris.dev", undefined],
  ])(
    "asks %s for the newest, where it would answer from the nearest region: %s",
    async (endpoint, header) => {
      const server = await startServer();
      const requests = await S3Requests.open(server.settings({ endpoint }));
      onTestFinished(() => requests.close());
      const sent: unknown[] = [];
      requests.client.middlewareStack.add(
        () =>
          ({ request }) => {
            sent.push((request as { headers: Record<string, string> }).headers["x-tigris-consistent"]);
            throw new Error("far enough");
          },
        { step: "finalizeRequest", priority: "low", name: "capture" },
      );
      const command = new requests.library.GetObjectCommand({ Bucket: "b", Key: "checkpoint" });
      await expect(requests.client.send(command)).rejects.toThrow("far enough");
      expect(sent).toEqual([header]);
    },
  );
});

/** Where a request for `key` would go, and with whose signature. */
async function destination(
  settings: Partial<S3Settings>,
  key = "checkpoint",
): Promise<{ url: string; authorization: string; token: string | undefined }> {
  const server = await startServer();
  const requests = await S3Requests.open(server.settings(settings));
  onTestFinished(() => requests.close());
  const sent: { url: string; authorization: string; token: string | undefined }[] = [];
  requests.client.middlewareStack.add(
    () =>
      ({ request }) => {
        const { protocol, hostname, path, headers } = request as {
          protocol: string;
          hostname: string;
          path: string;
          headers: Record<string, string>;
        };
        sent.push({
          url: `${protocol}//${hostname}${path}`,
          authorization: headers.authorization ?? "",
          token: headers["x-amz-security-token"],
        });
        throw new Error("far enough");
      },
    { step: "deserialize", priority: "low", name: "capture" },
  );
  const command = new requests.library.GetObjectCommand({ Bucket: server.bucket, Key: key });
  await expect(requests.client.send(command)).rejects.toThrow("far enough");
  return sent[0] as { url: string; authorization: string; token: string | undefined };
}

describe("a bucket's address", () => {
  const AWS = { endpoint: null, region: "eu-west-1" };
  const OTHER_STORE = { endpoint: "https://s3.example.com", region: "auto" };
  it.each([
    ["AWS", false, AWS, "https://cairn-test.s3.eu-west-1.amazonaws.com/checkpoint"],
    ["AWS", true, AWS, "https://s3.eu-west-1.amazonaws.com/cairn-test/checkpoint"],
    ["an endpoint", false, OTHER_STORE, "https://cairn-test.s3.example.com/checkpoint"],
    ["an endpoint", true, OTHER_STORE, "https://s3.example.com/cairn-test/checkpoint"],
  ])("at %s, with the bucket in the path: %s", async (_, forcePathStyle, at, url) => {
    const { url: asked, authorization } = await destination({ ...at, forcePathStyle });
    expect(asked.replace(/\?.*$/, "")).toBe(url);
    expect(authorization).toContain(`/${at.region}/s3/aws4_request`);
  });

  it("keeps a key's slashes and dots as they are", async () => {
    const { url } = await destination({}, "tile/0/x001/x234/067.p/5");
    expect(url.replace(/\?.*$/, "")).toMatch(/\/cairn-test\/tile\/0\/x001\/x234\/067\.p\/5$/);
  });
});

describe("credentials", () => {
  it("that are given sign every request, whatever the environment has", async () => {
    vi.stubEnv("AWS_ACCESS_KEY_ID", "from-environment");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "secret");
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    expect((await destination({})).authorization).toContain("Credential=access-of-tests/");
  });

  it("that are not given come from AWS's own chain, with the session's token", async () => {
    vi.stubEnv("AWS_ACCESS_KEY_ID", "from-environment");
    vi.stubEnv("AWS_SECRET_ACCESS_KEY", "secret");
    vi.stubEnv("AWS_SESSION_TOKEN", "of-a-session");
    onTestFinished(() => {
      vi.unstubAllEnvs();
    });
    const { authorization, token } = await destination({ credentials: null });
    expect(authorization).toContain("Credential=from-environment/");
    expect(token).toBe("of-a-session");
  });
});

interface Write {
  readonly name: string;
  readonly call: (store: ObjectStore, version: ObjectVersion) => Promise<unknown>;
  readonly operation: "put" | "delete";
  /** The key's bytes where the write came about. */
  readonly after: Uint8Array | null;
  readonly conditional: boolean;
}

const NEW_KEY = "state/new";
const WRITES: readonly (Write & { readonly key: string })[] = [
  {
    name: "create",
    key: NEW_KEY,
    call: (s) => s.create(NEW_KEY, OTHER),
    operation: "put",
    after: OTHER,
    conditional: true,
  },
  {
    name: "createDurable",
    key: NEW_KEY,
    call: (s) => s.createDurable(NEW_KEY, OTHER),
    operation: "put",
    after: OTHER,
    conditional: true,
  },
  {
    name: "replace",
    key: KEY,
    call: (s, v) => s.replace(KEY, OTHER, v),
    operation: "put",
    after: OTHER,
    conditional: true,
  },
  {
    name: "overwrite",
    key: KEY,
    call: (s) => s.overwrite(KEY, OTHER),
    operation: "put",
    after: OTHER,
    conditional: false,
  },
  {
    name: "remove",
    key: KEY,
    call: (s) => s.remove(KEY),
    operation: "delete",
    after: null,
    conditional: false,
  },
];

/** What the caller of a write is told, and whether it is applied, for each form of a fault. */
const OUTCOMES: readonly {
  readonly form: FaultForm;
  readonly answer?: FaultAnswer;
  readonly told: "unknown" | "not_applied" | "pretended" | "refused";
  readonly applied: boolean;
}[] = [
  { form: "F1", told: "unknown", applied: false },
  { form: "F1", answer: { status: 503, code: "SlowDown" }, told: "unknown", applied: false },
  { form: "F1", answer: "reset", told: "unknown", applied: false },
  { form: "F1", answer: { status: 429, code: "TooManyRequests" }, told: "not_applied", applied: false },
  { form: "F1", answer: { status: 403, code: "AccessDenied" }, told: "not_applied", applied: false },
  { form: "F1", answer: { status: 400, code: "RequestTimeout" }, told: "not_applied", applied: false },
  { form: "F2", told: "unknown", applied: true },
  { form: "F2", answer: "reset", told: "unknown", applied: true },
  { form: "F3", told: "unknown", applied: false },
  { form: "F4", told: "unknown", applied: false },
  { form: "F7", told: "pretended", applied: false },
  { form: "F10", told: "refused", applied: true },
];

describe.each(WRITES)("$name", ({ call, operation, key, after, conditional }) => {
  async function prepared(fault: S3Fault) {
    const server = await startServer();
    const store = await openStore(server, { timing: SOON });
    const created = await store.create(KEY, BYTES);
    if (created.outcome !== "written") throw new Error("refused");
    server.inject({ ...fault });
    const before = server.contents().get(key) ?? null;
    return { server, store, version: created.version, before };
  }

  const possible = OUTCOMES.filter(({ form }) => conditional || form !== "F10");
  it.each(possible)("tells the truth at $form ($answer): $told", async ({ form, answer, told, applied }) => {
    const fault = { form, operation, ...(answer === undefined ? {} : { answer }) };
    const { server, store, version, before } = await prepared(fault);
    const outcome = await call(store, version).catch((error: unknown) => error);
    if (told === "refused") expect(outcome).toEqual({ outcome: "refused" });
    else if (told === "pretended") expect(outcome).not.toBeInstanceOf(Error);
    else {
      expect(outcome).toBeInstanceOf(StoreError);
      expect(outcome).toMatchObject({ outcome: told, retryable: true, noSpace: false });
      expect((outcome as Error).message).toContain(`s3://cairn-test: could not`);
      expect((outcome as Error).message).toContain(key);
    }
    expect(server.contents().get(key) ?? null).toEqual(applied ? after : before);
    // One request and no more: a second one would be refused by what the first one wrote.
    expect(
      server.requests.filter((request) => request.operation === operation && request.key === key).length,
    ).toBeLessThanOrEqual(key === KEY && operation === "put" ? 2 : 1);
  });

  it("says that nothing was applied where nothing listens", async () => {
    const server = await startServer();
    const store = await openStore(server, { timing: SOON });
    await server.goAway();
    // The connection that is kept from before may break under the first request.
    await store.get(KEY).catch(() => {});
    const error = await expectNotApplied(() => call(store, "v" as ObjectVersion));
    expect(error).toMatchObject({ retryable: true });
    expect(error.message).toContain("ECONNREFUSED");
  });

  it("says that nothing was applied, and never will be, where the bucket is gone", async () => {
    const server = await startServer();
    const store = await openStore(server);
    server.inject({ form: "F1", operation, answer: { status: 404, code: "NoSuchBucket" } });
    const error = await expectNotApplied(() => call(store, "v" as ObjectVersion));
    expect(error).toMatchObject({ retryable: false });
    expect(error.message).toContain("there is no such bucket");
  });
});

describe("a write that is applied late", () => {
  it("loses to what replaced its version meanwhile", async () => {
    const server = await startServer();
    const store = await openStore(server);
    const first = await store.create(KEY, BYTES);
    if (first.outcome !== "written") throw new Error("refused");
    server.inject({ form: "F4", operation: "put" });
    await expect(store.replace(KEY, OTHER, first.version)).rejects.toMatchObject({ outcome: "unknown" });
    const newest = new TextEncoder().encode("newest");
    expect((await store.replace(KEY, newest, first.version)).outcome).toBe("written");
    server.applyLate();
    expect(server.contents().get(KEY)).toEqual(newest);
  });
});

describe("a conflict", () => {
  const CONFLICT: FaultAnswer = { status: 409, code: "ConditionalRequestConflict" };

  it("that passes is asked again, and the write goes through", async () => {
    const server = await startServer();
    const store = await openStore(server);
    server.inject({ form: "F1", operation: "put", answer: CONFLICT, times: 2 });
    const created = await store.create(KEY, BYTES);
    expect(created.outcome).toBe("written");
    server.inject({ form: "F1", operation: "put", answer: CONFLICT, times: 2 });
    if (created.outcome === "written") {
      expect((await store.replace(KEY, OTHER, created.version)).outcome).toBe("written");
    }
  });

  it("that another write decided is a refusal, and nothing is sent again", async () => {
    const server = await startServer();
    const store = await openStore(server);
    server.plant(KEY, BYTES);
    server.inject({ form: "F1", operation: "put", answer: CONFLICT, times: 2 });
    expect(await store.create(KEY, OTHER)).toEqual({ outcome: "refused" });
    expect(await store.replace(KEY, OTHER, '"another"' as ObjectVersion)).toEqual({ outcome: "refused" });
    expect(server.requests.filter(({ operation }) => operation === "put")).toHaveLength(2);
  });

  it("that does not end is an error, with nothing applied", async () => {
    const server = await startServer();
    const store = await openStore(server);
    server.inject({ form: "F1", operation: "put", answer: CONFLICT, times: Number.POSITIVE_INFINITY });
    const error = await expectNotApplied(() => store.create(KEY, BYTES));
    expect(error).toMatchObject({ retryable: true });
  });
});

describe("get", () => {
  async function prepared(fault: Partial<S3Fault> & { readonly form: FaultForm }) {
    const server = await startServer();
    const store = await openStore(server, { timing: SOON });
    await store.overwrite(KEY, OTHER);
    await store.overwrite(KEY, BYTES);
    server.inject({ operation: "get", ...fault });
    return { server, store };
  }

  it.each<[string, Partial<S3Fault> & { readonly form: FaultForm }]>([
    ["an error", { form: "F1" }],
    ["a broken connection", { form: "F1", answer: "reset" }],
    ["an overloaded store", { form: "F1", answer: { status: 503, code: "SlowDown" } }],
    ["a body cut short", { form: "F9", damage: "truncate" }],
  ])("is asked again after %s, and is told of it only where it lasts", async (_, fault) => {
    const { server, store } = await prepared(fault);
    expect((await store.get(KEY))?.bytes).toEqual(BYTES);
    server.inject({ operation: "get", ...fault, times: Number.POSITIVE_INFINITY });
    const error = await expectNotApplied(() => store.get(KEY));
    expect(error).toMatchObject({ retryable: true });
  });

  it("gives up on a store that never answers", async () => {
    const { store } = await prepared({ form: "F3", times: Number.POSITIVE_INFINITY });
    const error = await expectNotApplied(() => store.get(KEY));
    expect(error.message).toContain("did not answer in time");
  });

  it("gives a stale object for what it is: of another version", async () => {
    const { store } = await prepared({ form: "F8" });
    const stale = await store.get(KEY);
    expect(stale?.bytes).toEqual(OTHER);
    expect(stale?.version).not.toBe((await store.get(KEY))?.version);
  });

  it.each<[string, FaultAnswer]>([
    ["a bucket that is gone", { status: 404, code: "NoSuchBucket" }],
    ["an address where no store is", { status: 404, code: "" }],
    ["another error that is a 404", { status: 404, code: "NoSuchUpload" }],
    ["a refusal", { status: 403, code: "AccessDenied" }],
  ])("never takes %s for absence", async (_, answer) => {
    const { store } = await prepared({ form: "F1", answer, times: Number.POSITIVE_INFINITY });
    await expectNotApplied(() => store.get(KEY));
    await expectNotApplied(() => store.get("state/absent"));
  });

  it("refuses an object that is larger than any of a log, unread", async () => {
    const { server, store } = await prepared({ form: "F1" });
    server.sendsInstead = 33 * 1024 * 1024;
    const error = await expectNotApplied(() => store.get(KEY));
    expect(error.message).toContain("which none of a log's has");
  });
});

describe("list", () => {
  it("is asked again where a page breaks, and goes on where it was", async () => {
    const server = await startServer({ pageKeys: 2 });
    const store = await openStore(server);
    const written = ["a", "b", "c", "d", "e"].map((name) => `state/${name}`);
    for (const key of written) await store.create(key, BYTES);
    server.inject({ form: "F1", operation: "list", nth: 2 });
    server.inject({ form: "F9", operation: "list", nth: 4, damage: "truncate" });
    expect(await keys(store)).toEqual(written);
  });

  it("leaves out what no key of a log can be", async () => {
    const server = await startServer();
    const store = await openStore(server);
    for (const key of ["tile/", "tile/.DS_Store", "tile/a b", "tile/0/000", "état"]) server.plant(key, BYTES);
    expect(await keys(store)).toEqual(["tile/0/000"]);
  });

  it("refuses a store that keeps no order rather than to give keys twice or not at all", async () => {
    const server = await startServer();
    const store = await openStore(server);
    for (const key of ["state/a", "state/b"]) server.plant(key, BYTES);
    server.unorderedLists = true;
    await expectNotApplied(() => keys(store));
  });
});

describe("the probe", () => {
  it.each(["if-none-match ignored", "if-match ignored", "all ignored", "unknown"] as const)(
    "refuses a store with its conditions %s, in a sentence that names it",
    async (conditions) => {
      const server = await startServer();
      server.conditions = conditions;
      const store = await openStore(server);
      await expect(store.probe()).rejects.toMatchObject({
        code: "store_unsafe",
        message: expect.stringContaining("s3://cairn-test"),
      });
      expect([...server.contents().keys()]).toEqual([]);
    },
  );

  it("accepts a store that answers races with 409, and writes below state/probe/ only", async () => {
    const server = await startServer();
    server.conflicts = true;
    const store = await openStore(server);
    await store.probe();
    for (const key of server.written()) expect(key).toMatch(/^state\/probe\/[0-9a-f]{16}$/);
    expect([...server.contents().keys()]).toEqual([]);
  });

  it("passes on what the store itself has to say", async () => {
    const server = await startServer();
    const store = await openStore(server);
    server.inject({ form: "F1", operation: "put", times: Number.POSITIVE_INFINITY });
    await expect(store.probe()).rejects.toBeInstanceOf(StoreError);
  });
});

describe("a store that does not say which version it made", () => {
  it("is read back, and only our own bytes give the version", async () => {
    const server = await startServer();
    const store = await openStore(server);
    server.withoutEtags = true;
    const created = await store.create(KEY, BYTES);
    if (created.outcome !== "written") throw new Error("refused");
    expect(created.version).toBe((await store.get(KEY))?.version);
    server.inject({ form: "F8", operation: "get" });
    await expect(store.overwrite("state/other", BYTES)).resolves.toBeUndefined();
    server.inject({ form: "F8", operation: "get" });
    await expect(store.replace(KEY, OTHER, created.version)).rejects.toMatchObject({ outcome: "unknown" });
  });
});

describe("close", () => {
  it("ends what hangs, with its outcome unknown, and refuses what comes after", async () => {
    const server = await startServer();
    const store = await openStore(server);
    server.inject({ form: "F3", operation: "put" });
    const hanging = store.create(KEY, BYTES).catch((error: unknown) => error);
    await until(() => server.faults.fired.length === 1);
    await store.close();
    expect(await hanging).toMatchObject({ outcome: "unknown", retryable: false });
    await expectNotApplied(() => store.get(KEY));
    const error = await expectNotApplied(() => store.create(KEY, BYTES));
    expect(error).toMatchObject({ retryable: false });
    expect(server.contents().size).toBe(0);
    await until(() => server.connections === 0);
  });
});

async function keys(store: ObjectStore): Promise<string[]> {
  const found: string[] = [];
  for await (const key of store.list("")) found.push(key);
  return found;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setImmediate(resolve));
}
