// Entries by their number, for tests that care only that each is itself.

export function entryOf(index: number): Uint8Array {
  return new TextEncoder().encode(`entry ${index}`);
}

export function entriesOf(from: number, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, i) => entryOf(from + i));
}
