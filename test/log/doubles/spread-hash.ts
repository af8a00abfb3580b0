// Leaf hashes for tests that need many and do not care of what: spread like SHA-256's, at a fraction of its price.

/** A hash that is different for every 32-bit number. */
export function spreadHash(number: number): Uint8Array {
  const hash = new Uint8Array(32);
  const view = new DataView(hash.buffer);
  let state = number >>> 0;
  for (let at = 0; at < 32; at += 4) {
    // splitmix32
    state = (state + 0x9e3779b9) >>> 0;
    let z = state ^ (state >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z ^= z >>> 15;
    z = Math.imul(z, 0x735a2d97);
    view.setUint32(at, (z ^ (z >>> 15)) >>> 0);
  }
  view.setUint32(12, number >>> 0);
  return hash;
}
