// One gateway for all tests of vitest.s3.config.ts, so that each needs only a bucket of its own.

import type { TestProject } from "vitest/node";
import { buildVersitygw, type GatewayPlace, startGateway } from "./versitygw.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Where it is provided, every log of test/e2e and test/crash keeps its tiles in a bucket of it. */
    s3Gateway: GatewayPlace;
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const gateway = await startGateway(await buildVersitygw());
  const { program, root, port } = gateway;
  project.provide("s3Gateway", { program, root, port });
  return () => gateway.stop();
}
