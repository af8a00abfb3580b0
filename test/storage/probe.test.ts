// A store that ignores conditions, in whichever way, is found out before a log is written to it.

import { describe, expect, it } from "vitest";
import { probeStore } from "../../src/storage/probe.ts";
import type { ObjectVersion, StoredObject, WriteResult } from "../../src/storage/store.ts";
import { FaultyStore } from "../doubles/faulty-store.ts";
import { MemoryStore } from "../doubles/memory-store.ts";

const WRITTEN: WriteResult = { outcome: "written", version: "any" as ObjectVersion };

describe("probing a store", () => {
  it.each([
    [
      "overwrites on create",
      "racing creates of one object succeeded",
      class extends MemoryStore {
        override async create(key: string, bytes: Uint8Array): Promise<WriteResult> {
          await this.overwrite(key, bytes);
          return WRITTEN;
        }
      },
    ],
    [
      "refuses every create",
      "0 of 4 racing creates",
      class extends MemoryStore {
        override async create(): Promise<WriteResult> {
          return { outcome: "refused" };
        }
      },
    ],
    [
      "tells a refused create that it was written",
      "racing creates of one object succeeded",
      class extends MemoryStore {
        override async create(key: string, bytes: Uint8Array): Promise<WriteResult> {
          await super.create(key, bytes);
          return WRITTEN;
        }
      },
    ],
    [
      "replaces whatever the version",
      "a version that was gone succeeded",
      class extends MemoryStore {
        override async replace(key: string, bytes: Uint8Array): Promise<WriteResult> {
          await this.overwrite(key, bytes);
          return WRITTEN;
        }
      },
    ],
    [
      "refuses every replacement",
      "the version just read was refused",
      class extends MemoryStore {
        override async replace(): Promise<WriteResult> {
          return { outcome: "refused" };
        }
      },
    ],
    [
      "says that it replaced and did not",
      "a version that was gone succeeded",
      class extends MemoryStore {
        override async replace(): Promise<WriteResult> {
          return WRITTEN;
        }
      },
    ],
    [
      "reads nothing back",
      "an object just created reads back otherwise",
      class extends MemoryStore {
        override async get(): Promise<StoredObject | null> {
          return null;
        }
      },
    ],
  ])("one that %s is refused as unsafe", async (_name, what, Store) => {
    const store = new Store();
    const error: unknown = await probeStore(store).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: "store_unsafe" });
    expect((error as Error).message).toContain(what);
    expect((error as Error).message).toContain(store.location);
  });

  it("one that reads stale after a replacement is refused as unsafe", async () => {
    const store = new FaultyStore(new MemoryStore());
    store.faults.inject({ operation: "get", form: "F8", nth: 2 });
    await expect(probeStore(store)).rejects.toThrow("an object just replaced reads back otherwise");
  });

  it("passes on what the store itself throws, and removes what it made where it can", async () => {
    const inner = new MemoryStore();
    const store = new FaultyStore(inner);
    store.faults.inject({ operation: "replace", form: "F1" });
    await expect(probeStore(store)).rejects.toThrow("injected fault");
    expect(inner.contents().size).toBe(0);
    store.faults.inject({ operation: "remove", form: "F1" });
    await probeStore(store);
  });
});
