// Why a request gets no cosignature: the status that tlog-witness names and one line for whoever sent it. A value, not an
// exception: a refusal is an ordinary answer of a witness.

export type RefusalStatus = 400 | 403 | 404 | 409 | 422 | 429 | 503;

export class Refusal {
  readonly status: RefusalStatus;
  /** One line without a newline at its end. With 409, what the specification asks for: the size in decimal. */
  readonly reason: string;

  constructor(status: RefusalStatus, reason: string) {
    this.status = status;
    this.reason = reason;
  }
}

export function malformed(reason: string): Refusal {
  return new Refusal(400, reason);
}
