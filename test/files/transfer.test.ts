import { createHash, randomBytes } from 'node:crypto'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { type ReceiveEvent, type ReceiveOptions, receiveFiles } from '../../ipc/files/receiver.ts'
import { type SendEvent, sendFiles } from '../../ipc/files/sender.ts'
import { FakeLan, QUICK } from './fake-daemons.ts'

let lan: FakeLan
let root: string
let from: string
let inbox: string

beforeEach(() => {
  lan = new FakeLan()
  root = mkdtempSync(join(tmpdir(), 'partyline-files-'))
  from = join(root, 'from')
  inbox = join(root, 'inbox')
  mkdirSync(from)
})

afterEach(() => {
  lan.close()
  rmSync(root, { recursive: true, force: true })
})

function write(path: string, content: Buffer | string): string {
  const full = join(from, path)
  mkdirSync(join(full, '..'), { recursive: true })
  writeFileSync(full, content)
  return full
}

async function all<T>(events: AsyncIterable<T>): Promise<T[]> {
  const seen: T[] = []
  for await (const event of events) seen.push(event)
  return seen
}

function send(...paths: string[]): Promise<SendEvent[]> {
  return all(sendFiles(lan.a.client(), { peer: lan.b.id, paths, timing: QUICK }))
}

function receive(options: Partial<ReceiveOptions> = {}): AsyncGenerator<ReceiveEvent, void, undefined> {
  return receiveFiles(lan.b.client(), { dir: inbox, accept: 'all', once: true, timing: QUICK, ...options })
}

async function transfer(...paths: string[]): Promise<{ sent: SendEvent[]; received: ReceiveEvent[] }> {
  const [sent, received] = await Promise.all([send(...paths), all(receive())])
  return { sent, received }
}

/** Every file and folder below, with its content. */
function tree(folder: string): Record<string, string> {
  const entries = readdirSync(folder, { recursive: true, withFileTypes: true }).map((entry) => {
    const path = join(entry.parentPath, entry.name)
    const what = entry.isDirectory() ? 'folder' : createHash('sha256').update(readFileSync(path)).digest('hex')
    return [relative(folder, path), what] as const
  })
  return Object.fromEntries(entries.sort(([a], [b]) => a.localeCompare(b)))
}

describe('a transfer', () => {
  test('brings a file with its content, time and mode, and tells both ends its hash', async () => {
    const content = randomBytes(3_000_000)
    const path = write('tool.bin', content)
    chmodSync(path, 0o755)
    utimesSync(path, 1_600_000_000, 1_600_000_000)
    const { sent, received } = await transfer(path)
    expect(readFileSync(join(inbox, 'tool.bin'))).toEqual(content)
    const facts = statSync(join(inbox, 'tool.bin'))
    expect(facts.mtimeMs).toBe(1_600_000_000_000)
    expect(facts.mode & 0o100).toBe(0o100)
    const sha256 = createHash('sha256').update(content).digest('hex')
    const file = { kind: 'file', file: 'tool.bin', bytes: content.length, sha256 }
    expect(sent).toContainEqual(expect.objectContaining(file))
    expect(received).toContainEqual(expect.objectContaining({ ...file, path: expect.stringContaining('tool.bin') }))
    expect(sent.at(-1)).toMatchObject({ kind: 'done', file: 'tool.bin', sha256, files: 1, bytes: content.length })
    expect(received.at(-1)).toMatchObject({ kind: 'done', files: 1, bytes: content.length })
  })

  test('brings folders whole: nested, empty, with empty files and names of every script', async () => {
    write('album/a/b/c/deep.txt', 'deep')
    write('album/empty.txt', '')
    write('album/ünïcödé 日本語 🎉.txt', 'hello')
    write('album/many dots...txt', 'dots')
    mkdirSync(join(from, 'album/hollow/inner'), { recursive: true })
    await transfer(join(from, 'album'))
    expect(tree(inbox)).toEqual(tree(from))
  })

  test('brings several paths, two of the same name among them', async () => {
    const paths = [write('x/notes.txt', 'one'), write('y/notes.txt', 'two')]
    await transfer(...paths)
    expect(readFileSync(join(inbox, 'notes.txt'), 'utf8')).toBe('one')
    expect(readFileSync(join(inbox, 'notes (1).txt'), 'utf8')).toBe('two')
  })

  test('brings a thousand tiny files in few streams', async () => {
    for (let index = 0; index < 1000; index++) write(`many/${index}.txt`, `${index}`)
    let streams = 0
    lan.onStream = () => streams++
    await transfer(join(from, 'many'))
    expect(tree(inbox)).toEqual(tree(from))
    expect(streams).toBeLessThan(20)
  })

  test('never overwrites: another file of the name stays, the new one gets a number', async () => {
    mkdirSync(inbox)
    writeFileSync(join(inbox, 'notes.txt'), 'mine')
    await transfer(write('notes.txt', 'theirs'))
    expect(readFileSync(join(inbox, 'notes.txt'), 'utf8')).toBe('mine')
    expect(readFileSync(join(inbox, 'notes (1).txt'), 'utf8')).toBe('theirs')
  })

  test('does not carry what is here already, and does not double it', async () => {
    const path = write('big.bin', randomBytes(2_000_000))
    await transfer(path)
    let carried = 0
    lan.onStream = (socket) => socket.on('data', (chunk: Buffer) => (carried += chunk.length))
    const { received } = await transfer(path)
    expect(received.at(-1)).toMatchObject({ kind: 'done', bytes: 2_000_000 })
    expect(readdirSync(inbox)).toEqual(['big.bin'])
    expect(carried).toBeLessThan(10_000)
  })

  test('brings a changed file of the same size and time beside the old one', async () => {
    const path = write('same.bin', 'old content')
    utimesSync(path, 1_600_000_000, 1_600_000_000)
    await transfer(path)
    writeFileSync(path, 'new content')
    utimesSync(path, 1_600_000_000, 1_600_000_000)
    await transfer(path)
    expect(readFileSync(join(inbox, 'same.bin'), 'utf8')).toBe('old content')
    expect(readFileSync(join(inbox, 'same (1).bin'), 'utf8')).toBe('new content')
  })

  test('leaves out symbolic links and says so', async () => {
    write('box/real.txt', 'real')
    symlinkSync('/etc/passwd', join(from, 'box/link'))
    const { sent } = await transfer(join(from, 'box'))
    expect(tree(inbox)).toEqual({ box: 'folder', 'box/real.txt': expect.any(String) })
    expect(sent[0]).toMatchObject({ kind: 'warning', message: expect.stringContaining('symbolic link') })
  })

  test('goes around a link in the inbox that leads out of it', async () => {
    mkdirSync(inbox)
    mkdirSync(join(root, 'outside'))
    symlinkSync(join(root, 'outside'), join(inbox, 'box'))
    write('box/file.txt', 'content')
    await transfer(join(from, 'box'))
    expect(readdirSync(join(root, 'outside'))).toEqual([])
    expect(readFileSync(join(inbox, 'box (1)/file.txt'), 'utf8')).toBe('content')
  })

  test('fails with a clear reason when a file changed after it was offered, and brings the others', async () => {
    const paths = [write('stays.txt', 'stays'), write('changes.txt', 'before')]
    const sender = sendFiles(lan.a.client(), { peer: lan.b.id, paths, timing: QUICK })
    const sent: SendEvent[] = [await sender.next().then(({ value }) => value as SendEvent)]
    writeFileSync(join(from, 'changes.txt'), 'after, and longer')
    const sending = (async () => {
      for await (const event of sender) sent.push(event)
    })()
    const [outcome, received] = await Promise.all([sending.catch((error) => error), all(receive())])
    expect(outcome).toMatchObject({ code: 'peer.reset' })
    expect(received).toContainEqual(
      expect.objectContaining({ kind: 'file-failed', file: 'changes.txt', code: 'peer.reset' }),
    )
    expect(received.at(-1)).toMatchObject({ kind: 'failed' })
    expect(tree(inbox)).toEqual({ 'stays.txt': expect.any(String) })
  })

  test('is refused when the receiver says no', async () => {
    const receiver = receive({ accept: 'ask', ask: async () => false, once: false })
    const receiving = (async () => {
      for await (const event of receiver) if (event.kind === 'refused') return event
      return undefined
    })()
    await expect(send(write('a.txt', 'a'))).rejects.toMatchObject({ code: 'policy.refused' })
    expect(await receiving).toMatchObject({ kind: 'refused' })
    expect(readdirSync(inbox)).toEqual([])
  })

  test('asks about one offer at a time', async () => {
    let asking = 0
    let most = 0
    const ask = async (): Promise<boolean> => {
      most = Math.max(most, ++asking)
      await new Promise((resolve) => setTimeout(resolve, 20))
      asking--
      return true
    }
    const stop = new AbortController()
    const receiving = all(receive({ accept: 'ask', ask, once: false, signal: stop.signal }))
    await Promise.all([send(write('a.txt', 'a')), send(write('b.txt', 'b')), send(write('c.txt', 'c'))])
    stop.abort()
    await receiving
    expect(most).toBe(1)
    expect(Object.keys(tree(inbox))).toEqual(['a.txt', 'b.txt', 'c.txt'])
  })

  test('of the same file offered twice at once brings it once or twice, whole each time', async () => {
    const content = randomBytes(3_000_000)
    const path = write('big.bin', content)
    const stop = new AbortController()
    const receiving = all(receive({ once: false, signal: stop.signal }))
    await Promise.all([send(path), send(path)])
    stop.abort()
    await receiving
    const names = readdirSync(inbox)
    expect(names).toContain('big.bin')
    for (const name of names) expect(readFileSync(join(inbox, name)).equals(content)).toBe(true)
  })

  test('waits for trust when only trusted peers are accepted', async () => {
    const receiver = receive({ accept: 'trusted' })
    const sending = send(write('a.txt', 'a'))
    const kinds: string[] = []
    for await (const event of receiver) {
      kinds.push(event.kind)
      if (event.kind === 'offer') lan.b.trusted.add(lan.a.id)
    }
    await sending
    expect(kinds).toEqual(expect.arrayContaining(['offer', 'accepted', 'done']))
  })

  test('ends when the sender takes the offer back', async () => {
    const stop = new AbortController()
    const path = write('big.bin', randomBytes(1_000_000))
    lan.onStream = (_socket, meta) => {
      if (meta.includes('manifest')) stop.abort()
    }
    const sending = all(
      sendFiles(lan.a.client(), { peer: lan.b.id, paths: [path], timing: QUICK, signal: stop.signal }),
    )
    const received = await all(receive())
    expect((await sending).some(({ kind }) => kind === 'done')).toBe(false)
    expect(received.at(-1)).toMatchObject({ kind: 'failed', code: 'peer.no-offer' })
  })

  test('cannot offer what is not there', async () => {
    await expect(send(join(from, 'missing'))).rejects.toMatchObject({ code: 'local.file' })
  })

  test('fails with local.file where the folder cannot be used', async () => {
    const blocked = write('file', '')
    await expect(all(receive({ dir: join(blocked, 'inbox') }))).rejects.toMatchObject({ code: 'local.file' })
  })

  test('tells the rate and the time left while it goes on', async () => {
    const { received } = await transfer(write('big.bin', randomBytes(5_000_000)))
    const progress = received.find(({ kind }) => kind === 'progress')
    expect(progress).toMatchObject({ file: 'big.bin', index: 1, files: 1, total: 5_000_000 })
  })
})

describe('a hostile sender', () => {
  /** Serves whatever is asked for with these bytes. */
  async function offerRaw(answer: (meta: string) => Buffer): Promise<void> {
    const client = lan.a.client()
    const { offer } = await client.call('files.offer', { peer: lan.b.id, name: 'x', files: 1, bytes: 1 })
    for (;;) {
      const { socket, meta } = await client.serveOffer(offer)
      socket.end(answer(meta))
    }
  }

  function manifest(...lines: string[]): Buffer {
    const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''))
    const length = Buffer.alloc(4)
    length.writeUInt32BE(bytes.length)
    return Buffer.concat([length, bytes])
  }

  test.for([
    ['a path that leads out of the folder', manifest('["../../x",1,1,0]'), 'peer.malformed'],
    ['a list longer than it may be', Buffer.from([0xff, 0xff, 0xff, 0xff]), 'peer.oversized'],
    ['bytes that are no list', manifest('hello'), 'peer.malformed'],
    ['an answer that never is complete', Buffer.from([0, 0, 1, 0, 1]), 'peer.reset'],
  ] as const)('with %s only fails its own offer', async ([, bytes, code]) => {
    const offering = offerRaw(() => bytes).catch(() => {})
    const received = await all(receive({ timing: { ...QUICK, patience: 100 } }))
    await offering
    expect(received.at(-1)).toMatchObject({ kind: 'failed', code })
    expect(readdirSync(inbox)).toEqual([])
  })

  test('with an unknown answer only fails its own offer', async () => {
    const list = manifest('["a.bin",10,1,0]')
    const offering = offerRaw((meta) => (meta.includes('manifest') ? list : Buffer.alloc(64, 77))).catch(() => {})
    const received = await all(receive())
    await offering
    expect(received.at(-1)).toMatchObject({ kind: 'failed', code: 'peer.malformed' })
    expect(readdirSync(inbox)).toEqual([])
  })

  test('cannot fill a disk that has no room for what it lists', async () => {
    const list = manifest(`["a.bin",${2 ** 52},1,0]`)
    const offering = offerRaw(() => list).catch(() => {})
    const received = await all(receive())
    await offering
    expect(received.at(-1)).toMatchObject({ kind: 'failed', code: 'local.file' })
  })
})

/** Breaks the streams that carry files after so many bytes of each. */
function breakStreams(after: (number: number) => number, times: number): () => number {
  let broken = 0
  lan.onStream = (socket, meta) => {
    if (!meta.includes('from') || broken >= times) return
    const limit = after(broken++)
    let seen = 0
    const push = socket.push.bind(socket)
    socket.push = (chunk: Buffer | null) => {
      if (chunk === null) return push(null)
      seen += chunk.length
      if (seen < limit) return push(chunk)
      push(chunk.subarray(0, Math.max(0, chunk.length - (seen - limit))))
      setImmediate(() => socket.destroy())
      return false
    }
  }
  return () => broken
}

describe('a transfer that breaks', () => {
  const SIZES = [0, 1, 31, 4096, 65_536, 300_001, 1_048_577]

  test('goes on where it stopped, wherever that was', async () => {
    for (const [index, size] of SIZES.entries()) write(`set/${index}.bin`, randomBytes(size))
    let seed = 7
    const next = (): number => (seed = (seed * 48_271) % 2_147_483_647)
    const broken = breakStreams(() => next() % 400_000, 40)
    await transfer(join(from, 'set'))
    expect(broken()).toBeGreaterThan(3)
    expect(tree(inbox)).toEqual(tree(from))
  })

  test('does not carry again what has arrived', async () => {
    const size = 4_000_000
    const path = write('big.bin', randomBytes(size))
    const offsets: number[] = []
    breakStreams(() => 1_500_000, 2)
    const breaking = lan.onStream
    lan.onStream = (socket, meta) => {
      const { offset } = JSON.parse(meta) as { offset?: number }
      if (offset !== undefined) offsets.push(offset)
      breaking(socket, meta)
    }
    await transfer(path)
    expect(tree(inbox)).toEqual(tree(from))
    expect(offsets).toHaveLength(3)
    expect(offsets[1]).toBeGreaterThan(1_000_000)
    expect(offsets[2]).toBeGreaterThan(offsets[1] ?? size)
  })

  test.for([
    ['the cable is pulled', () => lan.unplug(), () => lan.plug()],
    ["the sender's daemon is killed", () => lan.a.kill(), () => lan.a.start()],
    ["the receiver's daemon is killed", () => lan.b.kill(), () => lan.b.start()],
    [
      'both daemons are killed',
      () => [lan.a, lan.b].map((host) => host.kill()),
      () => [lan.a, lan.b].map((host) => host.start()),
    ],
  ] as const)('arrives whole although %s in the middle', async ([, disturb, mend]) => {
    const path = write('big.bin', randomBytes(8_000_000))
    let disturbed = false
    lan.onStream = (socket, meta) => {
      if (!meta.includes('from')) return
      let seen = 0
      const push = socket.push.bind(socket)
      socket.push = (chunk: Buffer | null) => {
        seen += chunk?.length ?? 0
        if (seen > 2_000_000 && !disturbed) {
          disturbed = true
          setImmediate(() => {
            disturb()
            setTimeout(mend, 60)
          })
        }
        return push(chunk)
      }
    }
    const { received, sent } = await transfer(path)
    expect(disturbed).toBe(true)
    expect(received.at(-1)).toMatchObject({ kind: 'done' })
    expect(sent.at(-1)).toMatchObject({ kind: 'done' })
    expect(tree(inbox)).toEqual(tree(from))
  })

  test('goes on when the receiver itself is started again, with another offer of the same file', async () => {
    const size = 6_000_000
    const path = write('big.bin', randomBytes(size))
    const first = new AbortController()
    const sending = new AbortController()
    const send1 = all(
      sendFiles(lan.a.client(), { peer: lan.b.id, paths: [path], timing: QUICK, signal: sending.signal }),
    )
    let seen = 0
    lan.onStream = (socket) => {
      const push = socket.push.bind(socket)
      socket.push = (chunk: Buffer | null) => {
        seen += chunk?.length ?? 0
        if (seen > 3_000_000) first.abort()
        return push(chunk)
      }
    }
    await all(receive({ signal: first.signal }))
    sending.abort()
    await send1
    const [part] = readdirSync(inbox)
    expect(part).toMatch(/^big\.bin\.[0-9a-f]{16}\.partyline-part$/)
    const begun = statSync(join(inbox, part ?? '')).size
    expect(begun).toBeGreaterThan(1_000_000)

    let offset = -1
    lan.onStream = (_socket, meta) => {
      const request = JSON.parse(meta) as { offset?: number }
      if (request.offset !== undefined) offset = request.offset
    }
    await transfer(path)
    expect(offset).toBe(begun)
    expect(tree(inbox)).toEqual(tree(from))
  })

  test('throws away a part that is not what was sent, once, and fetches it again', async () => {
    const path = write('big.bin', randomBytes(3_000_000))
    const abort = new AbortController()
    const stop = new AbortController()
    const sending = all(
      sendFiles(lan.a.client(), { peer: lan.b.id, paths: [path], timing: QUICK, signal: stop.signal }),
    )
    breakStreams(() => 1_500_000, 1)
    const breaking = lan.onStream
    let streams = 0
    lan.onStream = (socket, meta) => {
      breaking(socket, meta)
      if (!meta.includes('from') || ++streams < 2) return
      socket.destroy()
      abort.abort()
    }
    await all(receive({ signal: abort.signal }))
    stop.abort()
    await sending
    const [part = ''] = readdirSync(inbox)
    expect(part).toMatch(/partyline-part$/)
    const spoilt = readFileSync(join(inbox, part))
    spoilt[10] = (spoilt[10] ?? 0) ^ 0xff
    writeFileSync(join(inbox, part), spoilt)
    lan.onStream = () => {}
    const { received } = await transfer(path)
    expect(received.at(-1)).toMatchObject({ kind: 'done' })
    expect(tree(inbox)).toEqual(tree(from))
  })

  test('fails when what arrives never is what was sent', async () => {
    const path = write('big.bin', randomBytes(100_000))
    let spoilt = 0
    lan.onStream = (socket, meta) => {
      if (!meta.includes('from')) return
      const push = socket.push.bind(socket)
      let seen = 0
      socket.push = (chunk: Buffer | null) => {
        if (chunk && seen <= 100 && seen + chunk.length > 100) {
          chunk[100 - seen] = (chunk[100 - seen] ?? 0) ^ 1
          spoilt++
        }
        seen += chunk?.length ?? 0
        return push(chunk)
      }
    }
    const [sent, received] = await Promise.all([send(path).catch((error) => error), all(receive())])
    expect(sent).toMatchObject({ code: 'peer.reset' })
    expect(received.at(-1)).toMatchObject({ kind: 'failed', code: 'peer.hash-mismatch' })
    expect(spoilt).toBe(2)
    expect(readdirSync(inbox)).toEqual([])
  })

  test('gives up when its patience ends', async () => {
    const path = write('big.bin', randomBytes(100_000))
    lan.onStream = (socket, meta) => {
      if (meta.includes('from')) socket.destroy()
    }
    const stop = new AbortController()
    const sending = all(
      sendFiles(lan.a.client(), { peer: lan.b.id, paths: [path], timing: QUICK, signal: stop.signal }),
    ).catch((error) => error)
    const received = await all(receive({ timing: { ...QUICK, patience: 100 } }))
    expect(received.at(-1)).toMatchObject({ kind: 'failed', code: 'peer.reset' })
    expect(received.some(({ kind }) => kind === 'waiting')).toBe(true)
    stop.abort()
    expect(await sending).toMatchObject({ code: 'peer.reset' })
    expect(existsSync(join(inbox, 'big.bin'))).toBe(false)
  })
})
