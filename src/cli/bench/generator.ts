// The load generator's process.

import { answerCalls } from "./child.ts";
import { type Load, type LoadResult, runLoad } from "./load.ts";

export interface GeneratorMethods {
  run(load: Load): LoadResult;
}

answerCalls<GeneratorMethods>({ run: runLoad });
