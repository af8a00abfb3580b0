// What an operator of a log on a bucket meets, with processes on a real S3 server: a cloned volume, a wrong bucket, a volume
// that is not mounted, readers that come to the bucket itself, and the commands that work on it.

import { cp, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, inject, onTestFinished, test } from "vitest";
import { EXIT_CLASSES } from "../../src/cli/exit-classes.ts";
import { entriesPath, tilePath } from "../../src/core/tile-path.ts";
import { S3Requests } from "../../src/storage/s3-client.ts";
import { objectLabels } from "../../src/storage/s3-object-class.ts";
import { addBatch, entries, expectClean, readEntries, ready, untilPublished } from "../e2e/client.ts";
import { checkpointFile, entriesOf, expectWhole, headFile, newLog, readHead, template } from "../e2e/log.ts";
import { expectRefused } from "../e2e/refusal.ts";
import {
  cairn,
  create,
  type Environment,
  eventually,
  newPlace,
  PATIENCE_MS,
  type Place,
  type Server,
  serve,
} from "../e2e/server.ts";
import { within } from "../waiting.ts";
import { bucketEnv, bucketSettings, endpoint, makeBucket, startGateway } from "./versitygw.ts";

const gateway = inject("s3Gateway");

/** Two full bundles and a partial one. */
const ENTRIES = entries(600);
const RACES = 3;
/** Publication resumes this soon after a store is back (architecture, section 2, Signing). */
const BACK_MS = 10_000;

const filled = template(() => newLog(ENTRIES));

/** A copy of the database, as another machine has it that was started from a snapshot of the volume. */
async function cloneDatabase(place: Place): Promise<Environment> {
  const folder = join(place.folder, "clone");
  await mkdir(folder);
  const database = join(folder, "log.db");
  await cp(place.database, database);
  return { DATABASE_URL: `sqlite:${database}` };
}

/** The server ends by itself because another one has taken the log over. */
async function expectFenced(server: Server): Promise<void> {
  const exit = await within(PATIENCE_MS, () => `the end; it wrote:\n${server.stderr()}`, server.exited);
  expect(exit, server.stderr()).toMatchObject({ code: EXIT_CLASSES.violated.exit });
  expect(server.log().at(-1)).toMatchObject({ event: "stopped", code: "fenced" });
}

describe("a cloned volume", () => {
  test("runs once: the other stops before it signs, and what it acknowledged is listed by recover and added with --resubmit", async () => {
    const place = await filled();
    const clone = await cloneDatabase(place);
    const first = await serve(place);
    await untilPublished(first, ENTRIES.length);
    const second = await serve(place, clone);
    const taken = await readFile(headFile(place));
    const published = await readFile(checkpointFile(place));

    const lost = entries(7, "lost");
    const receipts = await addBatch(first, lost);
    expect(receipts.map(({ index }) => index)).toEqual(lost.map((_, i) => ENTRIES.length + i));
    await expectFenced(first);
    expect(await readFile(headFile(place))).toEqual(taken);
    expect(await readFile(checkpointFile(place))).toEqual(published);

    const later = entries(300, "later");
    await addBatch(second, later);
    await untilPublished(second, ENTRIES.length + later.length);
    expect(await second.stop()).toMatchObject({ code: 0 });

    expect(await expectRefused(place, "database_older")).toContain("cairn recover");
    const recovered = await cairn(["recover", "--from-head"], place.env);
    expect(recovered.code, recovered.stdout + recovered.stderr).toBe(0);
    expect(recovered.stdout).toContain("entries acknowledged as 600 to 606");
    const resubmitted = await cairn(["recover", "--resubmit"], place.env);
    expect(resubmitted.code, resubmitted.stdout + resubmitted.stderr).toBe(0);
    expect(resubmitted.stdout).toContain("600 is now 900");
    await expectWhole(place, [...ENTRIES, ...later, ...lost]);
  });

  test("started at the same moment runs once too, and the log is one history", async () => {
    for (let race = 0; race < RACES; race++) {
      const place = await filled();
      const variables = [{}, await cloneDatabase(place)];
      const started = await Promise.allSettled(variables.map((env) => serve(place, env)));
      const servers = started.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
      // One that was refused the head again and again may have given up by itself.
      expect(servers.length).toBeGreaterThan(0);
      const added = await Promise.allSettled(
        servers.map((server, i) => addBatch(server, entries(300, `writer ${i}`))),
      );
      const ended = await within(
        PATIENCE_MS,
        () => servers.map((server) => server.stderr()).join("\n"),
        settledWriters(servers, ENTRIES.length + 300),
      );
      expect(ended.running).toHaveLength(1);
      for (const server of ended.stopped) await expectFenced(server);
      const [running] = ended.running as [Server];
      expect(added[servers.indexOf(running)]).toMatchObject({ status: "fulfilled" });
      expect(await readEntries(running)).toHaveLength(900);
      expect(await running.stop()).toMatchObject({ code: 0 });
      expect(await expectClean(place.tiles, place.vkey)).toBe(900);
    }
  });

  /** Waits until all but one have ended, and that one has published `size` entries. */
  async function settledWriters(
    servers: readonly Server[],
    size: number,
  ): Promise<{ running: Server[]; stopped: Server[] }> {
    const stopped = new Set<Server>();
    for (const server of servers) void server.exited.then(() => stopped.add(server));
    while (stopped.size < servers.length - 1) await new Promise((done) => setTimeout(done, 10));
    const running = servers.filter((server) => !stopped.has(server));
    for (const server of running) await untilPublished(server, size);
    return { running, stopped: [...stopped] };
  }
});

test("a store that dies under load stops no acknowledgement, and all is published soon after it is back", async () => {
  const own = await startGateway(gateway.program);
  onTestFinished(() => own.stop());
  const place = await newPlace();
  const store = bucketEnv(own, makeBucket(own, place.tiles));
  const server = await create(place, { ...store, READY_MAX_LAG: "0.5" });
  const acknowledged: number[] = [];
  const load = async (label: string): Promise<void> => {
    const receipts = await addBatch(server, entries(300, label));
    acknowledged.push(...receipts.map(({ index }) => index));
  };
  await Promise.all([load("before"), own.kill()]);
  for (let i = 0; i < 5; i++) await load(`without it ${i}`);
  await eventually("it says that publication is late", async () => {
    const { ready: isReady, reasons } = await ready(server);
    return !isReady && JSON.stringify(reasons).includes("publication_late");
  });
  await own.restart();
  const back = performance.now();
  await untilPublished(server, 1800);
  expect(performance.now() - back).toBeLessThan(BACK_MS);
  expect(acknowledged).toEqual(Array.from({ length: 1800 }, (_, index) => index));
  expect(await readEntries(server)).toHaveLength(1800);
  expect(await server.stop()).toMatchObject({ code: 0 });
  expect(await expectClean(place.tiles, place.vkey)).toBe(1800);
});

describe("a bucket or a volume that is not this log's", () => {
  test("a mistyped bucket is refused by its name, by every command, and none is made", async () => {
    const place = await filled();
    for (const [command, create] of [
      ["serve", "false"],
      ["serve", "true"],
      ["recover", "false"],
      ["gc", "false"],
    ] as const) {
      const env = { S3_BUCKET: "mistyped-name", LOG_CREATE: create };
      const sentence = await expectRefused(place, "bucket_absent", { env, args: [command] });
      expect(sentence).toContain("s3://mistyped-name");
    }
    expect(await readdir(gateway.root)).not.toContain("mistyped-name");
    await expectWhole(place, ENTRIES);
  });

  test("an empty bucket is refused beside a database, and nothing is laid into it", async () => {
    const place = await filled();
    const empty = makeBucket(gateway);
    for (const create of ["false", "true"]) {
      const sentence = await expectRefused(place, "head_damaged", {
        env: { S3_BUCKET: empty, LOG_CREATE: create },
      });
      expect(sentence).toContain("state/head");
    }
    expect(await readdir(join(gateway.root, empty), { recursive: true })).toEqual([]);
  });

  test("a volume that is not mounted is refused beside the bucket of its log, and no database is made on what is there", async () => {
    const place = await filled();
    const elsewhere = join(place.folder, "not-mounted");
    await mkdir(elsewhere);
    const env = { DATABASE_URL: `sqlite:${elsewhere}/log.db` };
    const sentence = await expectRefused(place, "database_lost", { env });
    expect(sentence).toContain(`there is no ${elsewhere}/log.db`);
    expect(sentence).toContain(`s3://${place.env.S3_BUCKET}`);
    await expectRefused(place, "log_exists", { env: { ...env, LOG_CREATE: "true" } });
    expect((await readdir(elsewhere)).filter((name) => !name.includes(".lock"))).toEqual([]);
  });
});

describe("a bucket", () => {
  /** The policy that docs/s3.md gives, for another bucket's name. */
  async function documentedPolicy(bucket: string): Promise<string> {
    const page = await readFile(fileURLToPath(new URL("../../docs/s3.md", import.meta.url)), "utf8");
    const [, block] = /```json\n([^`]*)```/.exec(page) as RegExpExecArray;
    return (block as string).trim().replaceAll("my-log", bucket);
  }

  test("with the documented policy serves readers itself, and shows nobody what is private", async () => {
    const place = await filled();
    const bucket = place.env.S3_BUCKET as string;
    const requests = await S3Requests.open(bucketSettings(gateway, bucket));
    const url = `${endpoint(gateway)}/${bucket}`;
    for (const path of ["checkpoint", tilePath(0, 0), "state/head"]) {
      expect((await fetch(`${url}/${path}`)).status, path).toBe(403);
    }
    const { PutBucketPolicyCommand } = requests.library;
    await requests.client.send(
      new PutBucketPolicyCommand({ Bucket: bucket, Policy: await documentedPolicy(bucket) }),
    );
    await requests.close();

    for (const path of ["checkpoint", tilePath(0, 0), entriesPath(2, 88)]) {
      const answer = await fetch(`${url}/${path}`);
      expect(answer.status, path).toBe(200);
      expect(answer.headers.get("content-type"), path).toBe(objectLabels(path).contentType);
      expect(answer.headers.get("cache-control"), path).toBe(objectLabels(path).cacheControl);
      expect(Buffer.from(await answer.arrayBuffer()), path).toEqual(await readFile(join(place.tiles, path)));
    }
    for (const path of ["state/head", "?list-type=2", "?list-type=2&prefix=state/"]) {
      expect((await fetch(`${url}/${path}`)).status, path).toBe(403);
    }
    for (const method of ["PUT", "DELETE"]) {
      const refused = await fetch(`${url}/checkpoint`, {
        method,
        ...(method === "PUT" ? { body: "x" } : {}),
      });
      expect(refused.status, method).toBe(403);
    }
    expect(await expectClean(url, place.vkey)).toBe(ENTRIES.length);
    await expectWhole(place, ENTRIES);
  });

  test("is cleaned by cairn gc of the partial objects that full ones replaced", async () => {
    const place = await filled();
    const logged = await entriesOf(place);
    const superseded = [
      [tilePath(0, 0, 100), (await readFile(join(place.tiles, tilePath(0, 0)))).subarray(0, 3200)],
      [tilePath(0, 1, 7), (await readFile(join(place.tiles, tilePath(0, 1)))).subarray(0, 224)],
    ] as const;
    for (const [path, bytes] of superseded) {
      await mkdir(join(place.tiles, path, ".."), { recursive: true });
      await writeFile(join(place.tiles, path), bytes);
    }
    const counted = await cairn(["gc", "--dry-run"], place.env);
    expect(counted.stdout, counted.stderr).toContain("would remove 2 partial objects");
    const removed = await cairn(["gc"], place.env);
    expect(removed, removed.stderr).toMatchObject({ code: 0 });
    expect(removed.stdout).toContain("removed 2 partial objects");
    const head = await readHead(place);
    expect(head.note).toContain(`\n${ENTRIES.length}\n`);
    for (const [path] of superseded) {
      await expect(readFile(join(place.tiles, path)), path).rejects.toMatchObject({ code: "ENOENT" });
    }
    await expectWhole(place, logged);
  });
});
