// Many requests at once, and processes that die: one history, whatever happens.

import assert from "node:assert/strict";
import { type CaseContext, type ConformanceCase, type Response, Skip } from "../case.ts";
import { PLAIN, type TestLog } from "../test-log.ts";

const ATOMIC =
  "The witness MUST persist the new checkpoint before responding. Note that checking the old size against the latest checkpoint and persisting the new checkpoint must be performed atomically, otherwise the following race can occur:";
const ROLLBACK = "The stored size is updated to N for request A, *rolling back K leaves*.";
const PERSIST = "The witness MUST persist the new checkpoint before responding.";

/** So many conflicting checkpoints at once. */
const RACERS = 24;
/** So many times is a race cut short by SIGKILL; each time after another number of answers. */
const KILLS = 8;

/** Requests that each show another history of the same size. */
function conflicting(log: TestLog, from: number, to: number): string[] {
  return Array.from({ length: RACERS }, (_, i) => log.request(from, to, { tree: log.tree.fork(to - 1 - i) }));
}

/** Sends all at once; a request whose connection broke has no answer. */
async function race(
  c: CaseContext,
  bodies: readonly string[],
  onAnswer: (response: Response) => void = () => {},
): Promise<(Response | null)[]> {
  return await Promise.all(
    bodies.map(async (body) => {
      try {
        const response = await c.add(body);
        onAnswer(response);
        return response;
      } catch {
        return null;
      }
    }),
  );
}

function winners(
  c: CaseContext,
  log: TestLog,
  to: number,
  responses: readonly (Response | null)[],
): number[] {
  return responses.flatMap((response, i) => {
    if (response?.status !== 200) return [];
    c.cosigned(response, log.text(to, { tree: log.tree.fork(to - 1 - i) }));
    return [i];
  });
}

function oneWinner(name: string, from: number): ConformanceCase {
  return {
    name,
    level: "MUST",
    spec: "tlog-witness",
    sentence: ATOMIC,
    async run(c) {
      const to = from + 100;
      if (from > 0) await c.grow(0, from);
      const responses = await race(c, conflicting(c.log, from, to));
      assert.equal(
        winners(c, c.log, to, responses).length,
        1,
        "not exactly one of the histories was cosigned",
      );
      for (const response of responses)
        if (response?.status !== 200) c.refused(response as Response, 409, 422);
    },
  };
}

export const atomicity: readonly ConformanceCase[] = [
  oneWinner("of 24 first checkpoints at once, one is cosigned", 0),
  oneWinner("of 24 histories of one size at once, one is cosigned", 37),
  {
    name: "of 24 same checkpoints at once, every one is cosigned or told the size",
    level: "MUST",
    spec: "tlog-witness",
    sentence: ATOMIC,
    async run(c) {
      await c.grow(0, 9);
      const responses = await race(
        c,
        Array.from({ length: RACERS }, () => c.log.request(9, 20)),
      );
      const cosigned = responses.filter((response) => response?.status === 200);
      assert.ok(cosigned.length >= 1);
      for (const response of responses) {
        if (response?.status === 200) c.cosigned(response, c.log.text(20));
        else c.conflict(response as Response, 20);
      }
    },
  },
  {
    name: "a smaller and a larger checkpoint at once never roll back",
    level: "MUST",
    spec: "tlog-witness",
    sentence: ROLLBACK,
    async run(c) {
      let size = 1n;
      await c.grow(0, size);
      for (let round = 0; round < 20; round++) {
        const targets = [size + 1n, size + 7n, size + 3n, size + 5n];
        const responses = await race(
          c,
          targets.map((to) => c.log.request(size, to)),
        );
        const taken = targets.filter((_, i) => responses[i]?.status === 200);
        assert.equal(taken.length, 1, "more than one extension of one checkpoint was cosigned");
        assert.equal(await c.newestSize(c.log), taken[0]);
        size = taken[0] as bigint;
      }
    },
  },
  {
    name: "many logs at once do not disturb each other",
    level: "MUST",
    spec: "tlog-witness",
    sentence: ATOMIC,
    logs: Array.from({ length: 12 }, () => PLAIN),
    async run(c) {
      await Promise.all(
        c.logs.map(async (log, i) => {
          for (let size = 0; size < 12; size++)
            await c.grow(size === 0 ? 0 : size * 5 + i, (size + 1) * 5 + i, { log });
        }),
      );
      for (const [i, log] of c.logs.entries()) assert.equal(await c.newestSize(log), BigInt(60 + i));
    },
  },
  {
    name: "a cosigned checkpoint is remembered after SIGKILL",
    level: "MUST",
    spec: "tlog-witness",
    sentence: PERSIST,
    kills: true,
    async run(c) {
      const { kill, start } = restarting(c);
      await c.grow(0, 9);
      for (const size of [10, 11, 24]) {
        const response = await c.add(c.log.request(await c.newestSize(c.log), size));
        kill();
        c.cosigned(response, c.log.text(size));
        await start();
        assert.equal(await c.newestSize(c.log), BigInt(size));
        c.refused(await c.add(c.log.request(size, size, { tree: c.log.tree.fork(0) })), 409, 422);
      }
      await c.grow(24, 31);
    },
  },
  {
    name: "SIGKILL between cosignatures never makes the witness forget one",
    level: "MUST",
    spec: "tlog-witness",
    sentence: PERSIST,
    kills: true,
    async run(c) {
      const { kill, start } = restarting(c);
      let acknowledged = 1;
      await c.grow(0, acknowledged);
      for (let round = 1; round <= KILLS; round++) {
        // The kill comes while the request after the last answer is somewhere between here and the disk.
        for (let i = 0; i < round; i++) {
          await c.grow(acknowledged, acknowledged + 1);
          acknowledged++;
        }
        const cut = race(c, [c.log.request(acknowledged, acknowledged + 1)]);
        if (round % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
        kill();
        const [response] = await cut;
        if (response?.status === 200) acknowledged++;
        await start();
        const newest = Number(await c.newestSize(c.log));
        assert.ok(newest === acknowledged || newest === acknowledged + 1, `${newest} after ${acknowledged}`);
        acknowledged = newest;
      }
    },
  },
  {
    name: "of 24 histories of one size, one is cosigned, also across SIGKILL",
    level: "MUST",
    spec: "tlog-witness",
    sentence: ATOMIC,
    logs: Array.from({ length: KILLS }, () => PLAIN),
    kills: true,
    async run(c) {
      const { kill, start } = restarting(c);
      for (const [round, log] of c.logs.entries()) {
        const from = 1 + round;
        const to = from + 100;
        await c.grow(0, from, { log });
        const ever = new Set<number>();
        const note = (responses: readonly (Response | null)[]) => {
          for (const winner of winners(c, log, to, responses)) ever.add(winner);
        };
        let answers = 0;
        // By turns: at the first cosignature, and after so many answers of whatever kind.
        const cut = race(c, conflicting(log, from, to), ({ status }) => {
          answers++;
          if (round % 2 === 1 ? status === 200 : answers === round * 3) kill();
        });
        if (round === 0) setImmediate(kill);
        note(await cut);
        kill();
        await start();
        // From the other end, so that one who lost before would win if the first winner were forgotten.
        note((await race(c, conflicting(log, from, to).toReversed())).toReversed());
        // Whoever won before the kill and got no answer is found by asking for the same size once more.
        note(await race(c, conflicting(log, to, to)));
        assert.equal(ever.size, 1, `${ever.size} histories of one size were cosigned`);
      }
    },
  },
];

function restarting(c: CaseContext): { kill: () => void; start: () => Promise<void> } {
  const { kill, start } = c.target;
  if (kill === null || start === null) throw new Skip("the witness was not started here");
  return { kill, start };
}
