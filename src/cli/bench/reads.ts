// Reads of a published log: level-0 tiles at random from a set that its cache holds, the checkpoint, and proofs.

import { TILE_WIDTH } from "../../core/tile.ts";
import { tilePath } from "../../core/tile-path.ts";
import type { LoadResult } from "./load.ts";
import type { LogUnderLoad } from "./log-under-load.ts";
import { milliseconds, type Reads } from "./results.ts";
import type { BenchRun } from "./run.ts";
import { latencies } from "./statistics.ts";
import { perSecond, rate, ratio } from "./turns.ts";

const CONNECTIONS = 64;
/** 34 MB with what an entry of the cache costs beside its 8 KiB: well within the 64 MiB of the log's cache. */
const TILE_SET = 4000;
const PROOF_SET = 4000;

export async function measureReads(run: BenchRun, log: LogUnderLoad): Promise<Reads> {
  const { turns, seconds, connections } = run.settings;
  const bounds = { connections: Math.min(CONNECTIONS, connections), seconds };
  await log.settle();
  const size = (await log.server.progress()).publishedSize ?? 0;
  const tiles = Array.from(
    { length: Math.min(TILE_SET, Math.floor(size / TILE_WIDTH)) },
    (_, i) => `/${tilePath(0, i)}`,
  );
  const proofs = Array.from({ length: Math.min(PROOF_SET, size) }, (_, i) => {
    return `/proof/${Math.floor((i * size) / Math.min(PROOF_SET, size))}`;
  });

  const ceilingTurns: LoadResult[] = [];
  const tileTurns: LoadResult[] = [];
  const loadCeiling = () => run.loadCeiling("", { kind: "get", paths: ["/tile"] }, bounds);
  run.say("tiles: warm-up");
  await loadCeiling();
  await log.read(tiles, bounds);
  ceilingTurns.push(await loadCeiling());
  for (let turn = 1; turn <= turns; turn++) {
    run.say(`tiles, turn ${turn}`);
    tileTurns.push(await log.read(tiles, bounds));
    ceilingTurns.push(await loadCeiling());
  }
  run.say("checkpoint and proofs");
  const checkpointTurns: LoadResult[] = [];
  const proofTurns: LoadResult[] = [];
  for (let turn = 1; turn <= turns; turn++) {
    checkpointTurns.push(await log.read(["/checkpoint"], bounds));
    proofTurns.push(await log.read(proofs, bounds));
  }

  const latency = (loads: readonly LoadResult[]) =>
    milliseconds(latencies(...loads.map((load) => load.latencies)));
  return {
    tile_ceiling: rate(ceilingTurns.map(perSecond)),
    tiles: rate(tileTurns.map(perSecond)),
    tile_set: tiles.length,
    tile_latency: latency(tileTurns),
    tiles_to_ceiling: ratio(tileTurns.map(perSecond), ceilingTurns.map(perSecond)),
    checkpoint: rate(checkpointTurns.map(perSecond)),
    checkpoint_latency: latency(checkpointTurns),
    proofs: rate(proofTurns.map(perSecond)),
    proof_latency: latency(proofTurns),
  };
}
