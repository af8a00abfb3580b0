// The faulty state does what its forms say, and refuses the pairs that cannot be.

import { beforeEach, describe, expect, it } from "vitest";
import type { Row, State } from "../../src/state/state.ts";
import { FAULT_FORMS, type FaultForm, Killed } from "./faults.ts";
import { FaultyState, impossibleStateFault, type StateOperation } from "./faulty-state.ts";

const ROW: Row = { first: 0, count: 1, hashes: new Uint8Array(32), bytes: new Uint8Array([0, 1, 7]) };

/** As much of a state as the faults are about. */
class Rows {
  readonly location = "rows:";
  readonly rows: Row[] = [];

  async commit(row: Row): Promise<Row> {
    this.rows.push(row);
    return row;
  }

  async readRows(): Promise<Row[]> {
    return this.rows;
  }

  async close(): Promise<void> {}
}

let inner: Rows;
let faulty: FaultyState;
let state: State;

beforeEach(() => {
  inner = new Rows();
  faulty = new FaultyState(inner as unknown as State);
  state = faulty.state;
});

describe("a faulty state", () => {
  it("does what the inner one does where no fault was injected", async () => {
    expect(state.location).toBe("rows:");
    expect(await state.commit(ROW)).toBe(ROW);
    expect(await state.readRows(0, 1)).toEqual([ROW]);
    await state.close();
  });

  it.each([
    ["F1", 0],
    ["F2", 1],
  ] as const)("%s: an error, with %i rows applied", async (form, rows) => {
    faulty.faults.inject({ operation: "commit", form });
    await expect(state.commit(ROW)).rejects.toMatchObject({ outcome: "unknown", noSpace: false });
    expect(inner.rows).toHaveLength(rows);
  });

  it("F1 says what it was told to: not applied, for want of room", async () => {
    faulty.faults.inject({ operation: "commit", form: "F1", reported: "not_applied", noSpace: true });
    await expect(state.commit(ROW)).rejects.toMatchObject({ outcome: "not_applied", noSpace: true });
  });

  it("F3: never returns, until it is released", async () => {
    faulty.faults.inject({ operation: "commit", form: "F3" });
    const hanging = state.commit(ROW);
    await new Promise((resolve) => setImmediate(resolve));
    expect(faulty.faults.hanging).toBe(1);
    faulty.faults.releaseHung();
    await expect(hanging).rejects.toThrow("released");
    expect(inner.rows).toHaveLength(0);
  });

  it("F4: an error, and applied when the test says so", async () => {
    faulty.faults.inject({ operation: "commit", form: "F4" });
    await expect(state.commit(ROW)).rejects.toMatchObject({ outcome: "unknown" });
    expect(inner.rows).toHaveLength(0);
    await faulty.applyLate();
    expect(inner.rows).toHaveLength(1);
  });

  it.each([
    ["F5", 0],
    ["F6", 1],
  ] as const)("%s: killed, with %i rows applied, and everything after is dead", async (form, rows) => {
    faulty.faults.inject({ operation: "commit", form });
    await expect(state.commit(ROW)).rejects.toThrow(Killed);
    await expect(state.readRows(0, 1)).rejects.toThrow(Killed);
    expect(inner.rows).toHaveLength(rows);
    faulty.faults.revive();
    expect(await state.readRows(0, 1)).toHaveLength(rows);
  });

  it("F7: success reported, nothing applied", async () => {
    faulty.faults.inject({ operation: "commit", form: "F7" });
    expect(await state.commit(ROW)).toBe(ROW);
    expect(inner.rows).toHaveLength(0);
  });

  it("F9: rows that are flipped or cut, and whole ones underneath", async () => {
    await state.commit(ROW);
    faulty.faults.inject({ operation: "readRows", form: "F9" });
    expect((await state.readRows(0, 1))[0]?.bytes).toEqual(new Uint8Array([0, 0, 7]));
    faulty.faults.inject({ operation: "readRows", form: "F9", damage: "truncate" });
    expect((await state.readRows(0, 1))[0]?.bytes).toEqual(new Uint8Array([0]));
    expect(await state.readRows(0, 1)).toEqual([ROW]);
  });

  it("refuses the pairs that cannot be, with the reason", () => {
    const possible: string[] = [];
    for (const operation of ["commit", "readRows", "dropRows", "snapshot"] as StateOperation[]) {
      for (const form of Object.keys(FAULT_FORMS) as FaultForm[]) {
        if (impossibleStateFault({ operation, form }) === null) possible.push(`${operation} ${form}`);
        else expect(() => faulty.faults.inject({ operation, form })).toThrow("cannot meet");
      }
    }
    expect(possible).toEqual([
      ...["F1", "F2", "F3", "F4", "F5", "F6", "F7"].map((form) => `commit ${form}`),
      ...["F1", "F3", "F5", "F6", "F9"].map((form) => `readRows ${form}`),
      ...["F1", "F2", "F3", "F4", "F5", "F6"].map((form) => `dropRows ${form}`),
      ...["F1", "F3", "F5", "F6"].map((form) => `snapshot ${form}`),
    ]);
  });
});
