import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import fc from 'fast-check'
import { expect, onTestFinished, test } from 'vitest'
import { Output } from '../../ipc/output.ts'
import { temporaryFolder } from './socket-host.ts'

/** Both ends of a socket; and how often the near one was written to. */
async function socketPair(): Promise<{ near: Socket; far: Socket; writes: () => number }> {
  const path = join(await temporaryFolder(), 's')
  const accepted = Promise.withResolvers<Socket>()
  const server = createServer(accepted.resolve).listen(path)
  const near = connect(path)
  const far = await accepted.promise
  onTestFinished(() => {
    near.destroy()
    far.destroy()
    server.close()
  })
  let writes = 0
  const write = near._write.bind(near)
  near._write = (...given) => {
    writes++
    write(...given)
  }
  return { near, far, writes: () => writes }
}

async function read(far: Socket, length: number): Promise<Buffer> {
  const chunks: Buffer[] = []
  let got = 0
  for await (const chunk of far.iterator({ destroyOnReturn: false })) {
    chunks.push(chunk)
    got += chunk.length
    if (got >= length) break
  }
  return Buffer.concat(chunks)
}

test('what is gathered in a turn leaves in one write, in order, and is told taken together', async () => {
  const { near, far, writes } = await socketPair()
  const output = new Output(near, setImmediate)
  const piece = Buffer.from('a')
  output.write(piece)
  piece[0] = 0
  for (let i = 0; i < 1000; i++) output.write(Buffer.from(`${i},`))
  const taken = output.taken
  expect(output.taken).toBe(taken)
  const expected = `a${Array.from({ length: 1000 }, (_, i) => `${i},`).join('')}`
  expect(output.length).toBe(expected.length)
  await taken
  expect(writes()).toBe(1)
  expect(output.length).toBe(0)
  expect(String(await read(far, expected.length))).toBe(expected)
})

test('text leaves as UTF-8', async () => {
  const { near, far, writes } = await socketPair()
  const output = new Output(near, process.nextTick)
  output.write('♞')
  output.write('e4\n')
  expect(String(await read(far, 6))).toBe('♞e4\n')
  expect(writes()).toBe(1)
})

test('large bytes keep their place among small ones, whenever it is flushed', async () => {
  const { near, far } = await socketPair()
  const output = new Output(near, setImmediate)
  const piece = fc.record({ size: fc.integer({ min: 1, max: 3000 }), how: fc.constantFrom('copy', 'whole', 'flush') })
  let fill = 0
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { minLength: 1, maxLength: 30 }), async (pieces) => {
      const sent = pieces.map(({ size }) => Buffer.alloc(size, ++fill))
      pieces.forEach(({ how }, i) => {
        const bytes = sent[i] ?? Buffer.alloc(0)
        if (how === 'whole') output.writeWhole(bytes)
        else output.write(bytes)
        if (how === 'flush') output.flush()
      })
      const all = Buffer.concat(sent)
      expect((await read(far, all.length)).equals(all)).toBe(true)
    }),
    { numRuns: 100 },
  )
})

test('what cannot leave any more is told so', async () => {
  const { near } = await socketPair()
  const output = new Output(near, setImmediate)
  output.write('lost')
  const lost = expect(output.taken).rejects.toMatchObject({ code: 'local.closed' })
  near.destroy()
  await lost
  output.write(Buffer.from('x'))
  await expect(output.taken).rejects.toMatchObject({ code: 'local.closed' })
})
