// The state in memory passes what every driver passes, so that what holds on it holds on the real one.

import { stateConformance } from "../../state/conformance.ts";
import { MemoryState } from "./memory-state.ts";

stateConformance("the memory state", async () => {
  let state = new MemoryState();
  return {
    async open() {
      state = state.reopen();
      return state;
    },
    remove: async () => {},
  };
});
