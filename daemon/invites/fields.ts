/** Longest text or run of bytes of one field. */
const MAX_FIELD = 4096

/** Puts fields one behind the other, big endian. */
export class FieldWriter {
  readonly #parts: Uint8Array[] = []

  byte(value: number): this {
    return this.bytes(Uint8Array.of(value))
  }

  u16(value: number): this {
    const bytes = Buffer.alloc(2)
    bytes.writeUInt16BE(value)
    return this.bytes(bytes)
  }

  u32(value: number): this {
    const bytes = Buffer.alloc(4)
    bytes.writeUInt32BE(value)
    return this.bytes(bytes)
  }

  /** Bytes whose number the reader knows. */
  bytes(value: Uint8Array): this {
    this.#parts.push(value)
    return this
  }

  /** Bytes behind their number: seven bits of it in a byte, the lowest first, the top bit set where more follow. */
  sized(value: Uint8Array): this {
    let size = value.length
    while (size > 127) {
      this.byte((size & 127) | 128)
      size >>>= 7
    }
    return this.byte(size).bytes(value)
  }

  text(value: string): this {
    return this.sized(Buffer.from(value))
  }

  toBuffer(): Buffer {
    return Buffer.concat(this.#parts)
  }
}

/** Takes fields off bytes that anybody may have made. Every method throws RangeError where there are none such. */
export class FieldReader {
  readonly #bytes: Buffer
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes)
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length
  }

  byte(): number {
    return this.bytes(1).readUInt8()
  }

  u16(): number {
    return this.bytes(2).readUInt16BE()
  }

  u32(): number {
    return this.bytes(4).readUInt32BE()
  }

  bytes(length: number): Buffer {
    const end = this.#at + length
    if (end > this.#bytes.length) throw new RangeError('the bytes end within a field')
    const field = this.#bytes.subarray(this.#at, end)
    this.#at = end
    return field
  }

  sized(): Buffer {
    let size = 0
    for (let shift = 0; ; shift += 7) {
      const byte = this.byte()
      size |= (byte & 127) << shift
      if (size > MAX_FIELD || shift > 14) throw new RangeError('a field is too long')
      if (byte < 128) return this.bytes(size)
    }
  }

  text(): string {
    return new TextDecoder('utf-8', { fatal: true }).decode(this.sized())
  }
}
