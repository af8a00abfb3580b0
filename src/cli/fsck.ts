// `cairn fsck`: rebuilds a whole log from its entries, over HTTP or from a folder, and compares. Runs beside a live log.

import { stat } from "node:fs/promises";
import { fsck as check, type FsckReport } from "../client/fsck.ts";
import { httpTileSource } from "../client/http-log.ts";
import type { TileSource } from "../client/tile-source.ts";
import { CairnError } from "../core/errors.ts";
import { usageError } from "./args.ts";
import { defineCommand } from "./command.ts";
import { unreadable } from "./files.ts";
import { folderSource } from "./folder.ts";
import { EXIT, type ExitCode, type Io } from "./io.ts";
import { nodeHasher } from "./node-hasher.ts";
import { count, errorLine, errorValue, type Output } from "./output.ts";
import { readTrust } from "./trust.ts";

const MAX_CONCURRENCY = 256;

export const fsck = defineCommand(
  {
    name: "fsck",
    usage: ["fsck URL|FOLDER (--vkey VKEY | --policy FILE)"],
    about: [
      "Reads every entry bundle up to the published checkpoint, rebuilds every tile of every level and the root from them, and compares all with what the log serves or the folder (FS_ROOT, or a copy) holds. Needs neither the database nor a private key, changes nothing, and may run beside a live log. In a folder, superseded partial tiles are compared too.",
    ],
    options: {
      vkey: {
        type: "string",
        multiple: true,
        value: "VKEY",
        about: "A verifier key of the log; may be repeated.",
      },
      policy: {
        type: "string",
        value: "FILE",
        about: "A policy instead, whose quorum the checkpoint must meet.",
      },
      concurrency: { type: "string", value: "N", about: "Bundles read at a time, 1 to 256; default 16." },
    },
    exit: [
      "Clean: all that the checkpoint covers is there and equal.",
      "Something differs or is missing.",
      "Could not check: usage, no answer, unreadable files.",
    ],
  },
  async ({ args: { options, positionals }, io, out }) => {
    const [place, ...rest] = positionals;
    if (place === undefined || rest.length > 0) throw usageError("give one URL or folder");
    const trust = await readTrust({ keys: options.vkey, policy: options.policy, keyOption: "vkey" });
    const concurrency = parseConcurrency(options.concurrency);
    const source = await openSource(place, io);

    const started = io.clock.now();
    const report = await check({
      source,
      trust,
      hasher: nodeHasher,
      ...(concurrency === undefined ? {} : { concurrency }),
      onProgress: ({ entries, size, differences }) =>
        out.progress(() => {
          const part = Math.floor((100 * entries) / size);
          return `${count(entries)} of ${count(size)} entries (${part}%), differences: ${count(differences)}`;
        }),
    });
    await out.endProgress();
    return await printReport(report, (io.clock.now() - started) / 1000, out);
  },
);

async function openSource(place: string, io: Io): Promise<TileSource> {
  if (/^https?:\/\//i.test(place)) {
    return httpTileSource({ url: place, fetch: io.fetch, clock: io.clock });
  }
  try {
    if ((await stat(place)).isDirectory()) return folderSource(place);
  } catch (cause) {
    throw unreadable(place, cause);
  }
  throw new CairnError("file_unreadable", { detail: `${place} is not a folder` });
}

async function printReport(report: FsckReport, seconds: number, out: Output): Promise<ExitCode> {
  const { outcome, origin, size, root, entries, differences, differenceCount, unread, unreadCount, failure } =
    report;
  for (const { path, detail } of differences) await out.line(`${path}: ${detail}`);
  if (differenceCount > differences.length) {
    await out.line(`and ${count(differenceCount - differences.length)} more`);
  }
  for (const { path, detail } of unread) await out.line(`${path}: not read: ${detail}`);
  if (unreadCount > unread.length) await out.line(`and ${count(unreadCount - unread.length)} more not read`);
  const speed = seconds > 0 ? `, ${count(Math.round(entries / seconds))} entries/s` : "";
  const extent = `${count(entries)} entries in ${seconds.toFixed(1)} s${speed}`;
  if (failure !== null) await out.remark(`cairn fsck: ${errorLine(failure)}`);
  if (outcome === "clean") await out.line(`clean: ${origin} at size ${size}, root ${root}; ${extent}`);
  const left = `${count(unreadCount)} not read`;
  const found = `${count(differenceCount)} found${unreadCount === 0 ? "" : `, ${left}`}`;
  if (outcome === "differs") await out.line(`differs: ${found}; ${extent}`);
  if (outcome === "could_not_check") {
    await out.line(`could not check: ${unreadCount === 0 ? "stopped after" : `${left};`} ${extent}`);
  }
  await out.value({
    outcome,
    origin,
    size,
    root,
    entries,
    seconds,
    differences,
    difference_count: differenceCount,
    unread,
    unread_count: unreadCount,
    ...(failure === null ? {} : { error: errorValue(failure) }),
  });
  return outcome === "clean" ? EXIT.ok : outcome === "differs" ? EXIT.no : EXIT.failed;
}

function parseConcurrency(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^[1-9][0-9]{0,2}$/.test(text) || value > MAX_CONCURRENCY) {
    throw usageError(`--concurrency is 1 to ${MAX_CONCURRENCY}`);
  }
  return value;
}
