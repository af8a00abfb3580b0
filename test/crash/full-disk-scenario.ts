// A log on a disk that really fills up. Runs inside a mount namespace of its own (full-disk.crash.ts starts it there), so
// that the small file systems that it makes vanish with it: node --import tsx full-disk-scenario.ts PROGRAM FOLDER SCENARIO
// Prints JSON; ends with 1 and the reason when a promise was broken.

import { execFileSync } from "node:child_process";
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { join } from "node:path";
import { History, signedHead } from "./folder.ts";
import { Place, eventually } from "./place.ts";
import { Acknowledgements, Publishers } from "./publishers.ts";
import { Random } from "./random.ts";

/**
 * Well above the log's reserve of 256 MiB, so that it takes entries while nothing else lies there, and again when what was
 * acknowledged until it saw that the disk is full lies there too. In memory, which is given back when the namespace ends.
 */
const DISK_BYTES = 768 * 1024 * 1024;
const MEBIBYTE = 1024 * 1024;
const WORKERS = 8;

interface Problem {
  readonly status: number;
  readonly type: string | null;
  readonly body: { readonly code: string; readonly detail?: string; readonly title?: string };
}

const [program, base = "", scenario] = process.argv.slice(2);
if (program === undefined || scenario === undefined) throw new Error("PROGRAM FOLDER SCENARIO");

const run = {
  "one disk": oneDisk,
  "a disk of tiles": diskOfTiles,
  "a start without room": startWithoutRoom,
}[scenario];
if (run === undefined) throw new Error(`no scenario ${scenario}`);
process.stdout.write(`${JSON.stringify(await run(program))}\n`);

/** Database and tiles on one disk, which something else fills to the last byte under load, and empties again. */
async function oneDisk(built: string): Promise<object> {
  const disk = mount("data");
  const place = await Place.make(built, disk);
  const acknowledgements = new Acknowledgements();
  const history = new History(place);
  const { child, url } = await place.serve({ LOG_CREATE: "true" });
  const publishers = load(url, acknowledgements, "one");
  await eventually("some are acknowledged", () => acknowledgements.indices.size > 200);

  const full = fill(disk);
  const problem = await eventually("the log says that its disk is full", () => refusal(url, "storage_low"));
  // It stays up and readable, and says of itself why it takes nothing.
  const ready = (await (await fetch(`${url}/ready`)).json()) as { reasons: { code: string }[] };
  if (!ready.reasons.some(({ code }) => code === "storage_low"))
    throw new Error(`/ready says ${JSON.stringify(ready)}`);
  if ((await fetch(`${url}/health`)).status !== 200) throw new Error("/health");
  if ((await fetch(`${url}/checkpoint`)).status !== 200) throw new Error("/checkpoint");
  const during = acknowledgements.indices.size;

  full.remove();
  await eventually("it takes entries again", () => acknowledgements.indices.size > during + 200);
  await publishers.stop();
  await published(url, acknowledgements);
  await child.kill("SIGTERM");
  if (child.process.exitCode !== 0)
    throw new Error(`it ended with ${child.process.exitCode}:\n${child.output()}`);
  refuseStackTraces(child.output());
  history.saw(await signedHead(place));
  await history.check(acknowledgements);
  await place.fsck();
  await place.remove();
  return { problem, acknowledged: acknowledgements.indices.size, others: otherCodes(publishers) };
}

/** Only the disk of the tiles is full: acknowledging goes on until the log looks, publication when there is room. */
async function diskOfTiles(built: string): Promise<object> {
  const disk = mount("tiles");
  const place = await Place.make(built);
  const env = { FS_ROOT: join(disk, "tiles"), LOG_CREATE: "true" };
  const acknowledgements = new Acknowledgements();
  const { child, url } = await place.serve(env);
  const publishers = load(url, acknowledgements, "tiles");
  await eventually("some are acknowledged", () => acknowledgements.indices.size > 200);
  const full = fill(disk);
  await eventually("the log says that its disk is full", () => refusal(url, "storage_low"));
  full.remove();
  const during = acknowledgements.indices.size;
  await eventually("it takes entries again", () => acknowledgements.indices.size > during + 200);
  await publishers.stop();
  await published(url, acknowledgements);
  await child.kill("SIGTERM");
  refuseStackTraces(child.output());
  const fsck = await place.run(["fsck", join(disk, "tiles"), "--vkey", place.vkey]);
  if (fsck.code !== 0) throw new Error(fsck.output);
  await place.remove();
  return { acknowledged: acknowledgements.indices.size, others: otherCodes(publishers) };
}

/** A log is killed on a full disk, and starts there: the file kept for need is given up, and it goes on when room is made. */
async function startWithoutRoom(built: string): Promise<object> {
  const disk = mount("data");
  const place = await Place.make(built, disk);
  const acknowledgements = new Acknowledgements();
  const history = new History(place);
  const first = await place.serve({ LOG_CREATE: "true" });
  const publishers = load(first.url, acknowledgements, "first");
  await eventually("some are acknowledged", () => acknowledgements.indices.size > 200);
  const full = fill(disk);
  await eventually("the log says that its disk is full", () => refusal(first.url, "storage_low"));
  await first.child.kill("SIGKILL");
  await publishers.stop();
  full.rest();

  const second = await place.serve();
  await eventually("it reads", async () => (await fetch(`${second.url}/checkpoint`)).status === 200);
  const refused = await eventually("it says that its disk is full", () => refusal(second.url, "storage_low"));
  full.remove();
  const again = load(second.url, acknowledgements, "second");
  const before = acknowledgements.indices.size;
  await eventually("it takes entries again", () => acknowledgements.indices.size > before + 200);
  await again.stop();
  await published(second.url, acknowledgements);
  await second.child.kill("SIGTERM");
  refuseStackTraces(`${first.child.output()}${second.child.output()}`);
  history.saw(await signedHead(place));
  await history.check(acknowledgements);
  await place.fsck();
  await place.remove();
  return { problem: refused, acknowledged: acknowledgements.indices.size };
}

function mount(name: string): string {
  const folder = join(base, name);
  mkdirSync(folder);
  execFileSync("mount", ["-t", "tmpfs", "-o", `size=${DISK_BYTES}`, "tmpfs", folder]);
  return folder;
}

/** Takes all the room there is, quickly: in one file of whole mebibytes, and byte by byte to the end. */
function fill(disk: string): { rest(): void; remove(): void } {
  const path = join(disk, "somebody-elses");
  const fd = openSync(path, "w");
  const rest = (): void => {
    for (const bytes of [MEBIBYTE, 4096, 1]) {
      const block = Buffer.alloc(bytes, 1);
      try {
        for (;;) writeSync(fd, block);
      } catch (error) {
        if ((error as { code?: string }).code !== "ENOSPC") throw error;
      }
    }
  };
  rest();
  if (statfsSync(disk).bavail > 1) throw new Error("the disk is not full");
  return {
    rest,
    remove(): void {
      closeSync(fd);
      rmSync(path);
    },
  };
}

function load(url: string, acknowledgements: Acknowledgements, label: string): Publishers {
  return new Publishers({ url, acknowledgements, random: new Random(1), label, workers: WORKERS });
}

/** The refusal of one entry, if it has that code. */
async function refusal(url: string, code: string): Promise<Problem | null> {
  const response = await fetch(`${url}/add`, { method: "POST", body: "is there room?" });
  const text = await response.text();
  if (response.status === 200) return null;
  const problem = {
    status: response.status,
    type: response.headers.get("content-type"),
    body: JSON.parse(text) as Problem["body"],
  };
  return problem.body.code === code ? problem : null;
}

async function published(url: string, acknowledgements: Acknowledgements): Promise<void> {
  // One of the questions above may have got in.
  acknowledgements.submitted.add("is there room?");
  await eventually("all is published", async () => {
    const { pending_count, published_size } = (await (await fetch(`${url}/ready`)).json()) as {
      pending_count: number;
      published_size: number;
    };
    return pending_count === 0 && published_size > acknowledgements.largest;
  });
}

function refuseStackTraces(output: string): void {
  if (/^\s+at .+:[0-9]+:[0-9]+/m.test(output)) throw new Error(`a stack trace:\n${output}`);
}

function otherCodes(publishers: Publishers): string[] {
  return [...new Set(publishers.refusals.map(({ status, code }) => `${status} ${code}`))].sort();
}
