import { describe, expect, it } from "vitest";
import { ReceiveBudget } from "../../src/http/receive-budget.ts";

describe("ReceiveBudget", () => {
  it("bounds each client and all of them, exactly", () => {
    const budget = new ReceiveBudget(10, 4);
    expect(budget.take("a", 4)).toBe(true);
    expect(budget.take("a", 1)).toBe(false);
    expect(budget.take("b", 4)).toBe(true);
    expect(budget.take("c", 3)).toBe(false);
    expect(budget.take("c", 2)).toBe(true);
    expect(budget.total).toBe(10);
  });

  it("takes nothing when it refuses, and has room again for what is given back", () => {
    const budget = new ReceiveBudget(10, 4);
    budget.take("a", 3);
    expect(budget.take("a", 2)).toBe(false);
    expect(budget.total).toBe(3);
    budget.give("a", 3);
    expect(budget.total).toBe(0);
    expect(budget.take("a", 4)).toBe(true);
  });
});
