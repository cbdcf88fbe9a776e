/**
 * Finds where a MessagePack value ends, without a length before it and without reading any byte twice: it counts the values still to come
 * (a container adds its members), and goes on where it stopped when more bytes arrive.
 */
export class MessagePackScanner {
  #at = 0
  #remaining = 1

  /** The length of the first value in `bytes`, or undefined while it is not all there. Starts anew after each value found. */
  scan(bytes: Buffer): number | undefined {
    while (this.#remaining > 0) {
      const step = headerAndBody(bytes, this.#at)
      if (!step || this.#at + step.length > bytes.length) return undefined
      this.#at += step.length
      this.#remaining += step.members - 1
    }
    const length = this.#at
    this.#at = 0
    this.#remaining = 1
    return length
  }
}

interface Step {
  /** Bytes of the header and of a body that holds no values. */
  readonly length: number
  /** Values that follow as its members. */
  readonly members: number
}

/** How many bytes after the type byte tell a length, by type byte (MessagePack specification, "Formats"). */
const LENGTHS: Readonly<Record<number, { width: 1 | 2 | 4; extra: number; per: 0 | 1 | 2 }>> = {
  196: { width: 1, extra: 0, per: 0 },
  197: { width: 2, extra: 0, per: 0 },
  198: { width: 4, extra: 0, per: 0 },
  199: { width: 1, extra: 1, per: 0 },
  200: { width: 2, extra: 1, per: 0 },
  201: { width: 4, extra: 1, per: 0 },
  217: { width: 1, extra: 0, per: 0 },
  218: { width: 2, extra: 0, per: 0 },
  219: { width: 4, extra: 0, per: 0 },
  220: { width: 2, extra: 0, per: 1 },
  221: { width: 4, extra: 0, per: 1 },
  222: { width: 2, extra: 0, per: 2 },
  223: { width: 4, extra: 0, per: 2 },
}

/** Sizes of the fixed formats 0xca to 0xd8, type byte included. */
const FIXED = [5, 9, 2, 3, 5, 9, 2, 3, 5, 9, 3, 4, 6, 10, 18]

function headerAndBody(bytes: Buffer, at: number): Step | undefined {
  const type = bytes[at]
  if (type === undefined) return undefined
  if (type < 0x80 || type >= 0xe0) return { length: 1, members: 0 }
  if (type < 0x90) return { length: 1, members: (type & 15) * 2 }
  if (type < 0xa0) return { length: 1, members: type & 15 }
  if (type < 0xc0) return { length: 1 + (type & 31), members: 0 }
  const fixed = FIXED[type - 0xca]
  if (fixed !== undefined) return { length: fixed, members: 0 }
  const variable = LENGTHS[type]
  if (!variable) return { length: 1, members: 0 }
  if (at + 1 + variable.width > bytes.length) return undefined
  const count = bytes.readUIntBE(at + 1, variable.width)
  if (variable.per > 0) return { length: 1 + variable.width, members: count * variable.per }
  return { length: 1 + variable.width + variable.extra + count, members: 0 }
}
