import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { toPartylineError } from '../../daemon/errors.ts'
import type { AppStream } from '../../ipc/index.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { allSeeAll, Guest } from './party.ts'

const missing = labMissing()
/** Messages on their way at a time. */
const WINDOW = 64

/** Numbered messages from one guest to another, as fast as they are acknowledged, until it is stopped. */
class Numbered {
  readonly received: number[] = []
  readonly unreliable: number[] = []
  /** Those of them that came as sealed datagrams. */
  datagrams = 0
  #sent = 0
  #isStopped = false
  #ending: Promise<void> | undefined

  static async between(from: Guest, to: Guest): Promise<Numbered> {
    const numbered = new Numbered()
    const messages = await to.client.messages(`numbers-${from.host}`)
    void (async () => {
      for await (const { data, reliable, via } of messages) {
        const list = reliable ? numbered.received : numbered.unreliable
        list.push(Number(Buffer.from(data).toString()))
        if (via === 'datagram') numbered.datagrams++
      }
    })()
    const lane = async () => {
      while (!numbered.#isStopped) {
        const data = String(++numbered.#sent)
        const sent = from.client.send(to.id, `numbers-${from.host}`, data)
        void from.client.send(to.id, `numbers-${from.host}`, data, { reliable: false }).catch(() => {})
        await sent
      }
    }
    numbered.#ending = Promise.all(Array.from({ length: WINDOW }, lane)).then(() => {})
    return numbered
  }

  /** Resolves when so many have arrived in all. */
  async until(count: number): Promise<void> {
    while (this.received.length < count) await sleep(20)
  }

  /** Resolves when so many more have arrived, and as many datagrams. */
  async goesOn(more: number): Promise<void> {
    const datagrams = this.datagrams + more
    await this.until(this.received.length + more)
    while (this.datagrams < datagrams) await sleep(20)
  }

  /** Resolves when the last is acknowledged; every one of them has to have arrived once, in order. */
  async end(): Promise<void> {
    this.#isStopped = true
    await this.#ending
    await this.until(this.#sent)
    expect(this.received).toEqual(Array.from({ length: this.#sent }, (_, i) => i + 1))
    expect(new Set(this.unreliable).size).toBe(this.unreliable.length)
  }
}

/** Opens a stream as soon as somebody accepts. */
async function opened(from: Guest, to: Guest, service: string): Promise<AppStream> {
  for (;;) {
    try {
      return await from.client.openStream(to.id, service)
    } catch (error) {
      if (toPartylineError(error).code !== 'peer.no-service') throw error
    }
  }
}

/** Bytes without end from one guest to another, and what came out. */
class Pouring {
  readonly #written = createHash('sha256')
  readonly #read = createHash('sha256')
  #isStopped = false
  #ending: Promise<void> | undefined
  bytes = 0

  static async between(from: Guest, to: Guest): Promise<Pouring> {
    const pouring = new Pouring()
    const service = `pour-${from.host}`
    const accepting = to.client.acceptStream(service)
    const { socket } = await opened(from, to, service)
    const accepted = await accepting
    const ended = once(accepted.socket, 'end')
    accepted.socket.on('data', (chunk: Buffer) => {
      pouring.bytes += chunk.length
      pouring.#read.update(chunk)
    })
    const pour = async () => {
      while (!pouring.#isStopped) {
        const chunk = randomBytes(20_000)
        pouring.#written.update(chunk)
        if (!socket.write(chunk)) await once(socket, 'drain')
        else await turn()
      }
      socket.end()
      await ended
      accepted.socket.end()
      expect(await accepted.outcome).toMatchObject({ clean: true })
    }
    pouring.#ending = pour()
    return pouring
  }

  async end(): Promise<void> {
    this.#isStopped = true
    await this.#ending
    expect(this.#read.digest('hex')).toBe(this.#written.digest('hex'))
  }
}

/** What may happen to a LAN in the middle of a match. */
const FAULTS: Record<string, (lab: Lab, h2: Guest) => Promise<void>> = {
  'the cable is pulled for three seconds': async (lab) => {
    await lab.link('h2', 'down')
    await sleep(3000)
    await lab.link('h2', 'up')
  },
  'its switch drops everything for twelve seconds': async (lab) => {
    await lab.nft('h2', 'table inet cut { chain in { type filter hook input priority 0; policy drop; }; }')
    await sleep(12_000)
    await lab.exec('h2', ['nft', 'delete', 'table', 'inet', 'cut'])
  },
  'it gets another address': async (lab) => {
    await lab.exec('h2', ['ip', 'addr', 'del', '192.168.50.2/24', 'dev', 'eth0'])
    await lab.exec('h2', ['ip', 'addr', 'add', '192.168.50.77/24', 'dev', 'eth0'])
  },
  'its connections are reset': async (lab) => {
    const rules =
      'table inet cut { chain in { type filter hook input priority 0; meta l4proto tcp reject with tcp reset; }; }'
    await lab.nft('h2', rules)
    await sleep(500)
    await lab.exec('h2', ['nft', 'delete', 'table', 'inet', 'cut'])
  },
  'its daemon sleeps for twelve seconds': async (_, h2) => {
    h2.daemon.child.kill('SIGSTOP')
    await sleep(12_000)
    h2.daemon.child.kill('SIGCONT')
  },
}

describe.skipIf(missing)(`a session loses nothing${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test.each(Object.keys(FAULTS))('when %s', async (what) => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [h1, h2] = [await Guest.join(lab, 'h1'), await Guest.join(lab, 'h2')]
    await allSeeAll([h1, h2])
    const { peer } = await h1.client.call('sessions.open', { peer: h2.id })
    expect(peer).toBe(h2.id)
    const events = await h1.client.events(['sessions'])
    const names: string[] = []
    const listening = (async () => {
      for await (const { name } of events) names.push(name)
    })()
    const pourings = [await Pouring.between(h1, h2), await Pouring.between(h2, h1)]
    const flows = [await Numbered.between(h1, h2), await Numbered.between(h2, h1)] as const
    await Promise.all(flows.map((flow) => flow.goesOn(500)))
    await FAULTS[what]?.(lab, h2)
    await Promise.all(flows.map((flow) => flow.goesOn(500)))
    for (const flow of [...flows, ...pourings]) await flow.end()
    await events.return?.()
    await listening
    expect(names).not.toContain('sessions.closed')
    // TCP itself bears a cable that is out for a moment.
    if (!what.includes('cable')) expect(names).toContain('sessions.changed')
  })

  test('but what a restarted daemon had not acknowledged, and says that', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [h1, h2] = [await Guest.join(lab, 'h1'), await Guest.join(lab, 'h2')]
    await allSeeAll([h1, h2])
    const messages = await h2.client.messages('slow')
    await h1.client.send(h2.id, 'slow', 'first')
    await messages.next()
    // Nobody reads on: the daemon there has it, no app does.
    h2.daemon.child.kill('SIGSTOP')
    const sent = h1.client.send(h2.id, 'slow', 'second')
    const told = expect(sent).rejects.toMatchObject({ code: 'peer.restarted' })
    await h2.restart()
    await told
    await h1.untilSees(h2.id)
    expect(await h1.client.call('sessions.ping', { peer: h2.id })).toMatchObject({ route: 'lan' })
  })
})
