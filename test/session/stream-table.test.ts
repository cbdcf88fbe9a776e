import { PassThrough } from 'node:stream'
import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import type { Link } from '../../daemon/link/link.ts'
import type { Control } from '../../daemon/session/frame.ts'
import type { IncomingStream } from '../../daemon/session/session.ts'
import { StreamTable } from '../../daemon/session/stream-table.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { BERT, linkOver } from './loopback.ts'

function table(dialled: boolean, dialLink: (stream: string) => Promise<Link> = () => new Promise(() => {})) {
  const dialStream = async (stream: string) => ({ link: await dialLink(stream), received: 0 })
  const clock = new VirtualClock()
  const said: Control[] = []
  const offers: IncomingStream[] = []
  const streams = new StreamTable({
    session: 's',
    peer: BERT,
    isElector: dialled,
    dials: dialled,
    clock,
    dialStream,
    control: (control) => said.push(control),
    onStream: (stream) => offers.push(stream),
  })
  return { clock, said, offers, streams }
}

const link = (): Link => linkOver(new PassThrough(), BERT, false)
const open = (stream: string): Control & { kind: 'open' } => ({ kind: 'open', stream, service: 'x', meta: '' })

describe('opening a stream', () => {
  it('ends with the code of the refusal, and the link that was dialled meanwhile is closed', async () => {
    const dialled = link()
    const { streams, said } = table(true, () => Promise.resolve(dialled))
    const opening = streams.open('x', 'meta')
    expect(said).toEqual([{ kind: 'open', stream: 'e1', service: 'x', meta: 'meta' }])
    await turn()
    streams.take({ kind: 'refuse', stream: 'e1', code: 'peer.no-service' })
    await expect(opening).rejects.toMatchObject({ code: 'peer.no-service' })
    expect(dialled.socket.destroyed).toBe(true)
    expect(streams.size).toBe(0)
  })

  it('closes a link that is dialled after the refusal', async () => {
    const dial = Promise.withResolvers<Link>()
    const { streams } = table(true, () => dial.promise)
    const opening = streams.open('x', '')
    streams.take({ kind: 'refuse', stream: 'e1', code: 'nonsense' })
    await expect(opening).rejects.toMatchObject({ code: 'policy.refused' })
    const late = link()
    dial.resolve(late)
    await turn()
    expect(late.socket.destroyed).toBe(true)
  })

  it('fails when no link comes about, and the peer is told', async () => {
    const { streams, said } = table(true, () => Promise.reject(new Error('no route')))
    const opening = streams.open('x', '')
    await expect(opening).rejects.toThrow('no route')
    expect(said.at(-1)).toEqual({ kind: 'reset', stream: 'e1', code: 'network.unreachable' })
  })

  it('takes fifteen seconds at most', async () => {
    const { streams, said, clock } = table(false)
    const opening = streams.open('x', '')
    clock.advance(15_000)
    await expect(opening).rejects.toMatchObject({ code: 'network.timeout' })
    expect(said.at(-1)).toMatchObject({ kind: 'reset', stream: 'o1' })
  })
})

describe('a stream that a peer offers', () => {
  it('may have its link before its word, and before it is accepted', async () => {
    const { streams, offers } = table(false)
    expect(streams.takeLink('e1', link(), undefined)).toBe(true)
    streams.take(open('e1'))
    expect(await offers[0]?.accept()).toMatchObject({ id: 's.e1', service: 'x' })
    streams.take(open('e2'))
    expect(streams.takeLink('e2', link(), undefined)).toBe(true)
    expect(await offers[1]?.accept()).toMatchObject({ id: 's.e2' })
    expect(streams.size).toBe(2)
  })

  it('keeps its link for as long as an app thinks about it, however many others wait', async () => {
    const { streams, offers, clock } = table(false)
    const links = Array.from({ length: 100 }, link)
    for (const [i, one] of links.entries()) {
      streams.take(open(`e${i}`))
      expect(streams.takeLink(`e${i}`, one, undefined)).toBe(true)
    }
    clock.advance(10_000)
    expect(links.some(({ socket }) => socket.destroyed)).toBe(false)
    offers[99]?.refuse('peer.busy')
    expect(links[99]?.socket.destroyed).toBe(true)
  })

  it('is off when its opener gives up', async () => {
    const { streams, offers, said } = table(false)
    const early = link()
    streams.take(open('e1'))
    streams.takeLink('e1', early, undefined)
    streams.take({ kind: 'reset', stream: 'e1', code: 'network.timeout' })
    expect(early.socket.destroyed).toBe(true)
    await expect(offers[0]?.accept()).rejects.toMatchObject({ code: 'network.lost' })
    offers[0]?.refuse('peer.busy')
    expect(said).toEqual([])
    expect(streams.size).toBe(0)
  })

  it('is refused when its id is not its own', () => {
    const { streams, said, offers } = table(false)
    streams.take(open('o1'))
    expect(said).toEqual([{ kind: 'refuse', stream: 'o1', code: 'peer.busy' }])
    expect(offers).toEqual([])
  })

  it('is left alone when it is offered a second time', async () => {
    const { streams, said, offers } = table(false)
    for (let i = 0; i < 2; i++) streams.take(open('e1'))
    const accepting = offers[0]?.accept()
    streams.take(open('e1'))
    streams.takeLink('e1', link(), undefined)
    expect(await accepting).toMatchObject({ id: 's.e1' })
    streams.take(open('e1'))
    expect(offers).toHaveLength(1)
    expect(said).toEqual([{ kind: 'accept', stream: 'e1' }])
  })

  it('is refused when there are 256', () => {
    const { streams, said, offers } = table(false)
    for (let i = 0; i < 300; i++) streams.take(open(`e${i}`))
    expect(offers).toHaveLength(256)
    expect(said).toHaveLength(44)
    streams.end('network.lost')
    expect(streams.size).toBe(0)
  })
})

describe('links of streams', () => {
  it('that nobody knows are few, and closed after a while', () => {
    const { streams, clock } = table(false)
    const links = Array.from({ length: 40 }, link)
    expect(links.filter((one, i) => streams.takeLink(`e${i}`, one, undefined))).toHaveLength(32)
    clock.advance(5000)
    expect(links.slice(0, 32).every(({ socket }) => socket.destroyed)).toBe(true)
  })

  it('are refused for a stream that has one, and where this host dials', () => {
    const { streams } = table(false)
    streams.open('x', '').catch(() => {})
    const first = link()
    expect(streams.takeLink('o1', first, undefined)).toBe(true)
    // Who dials twice has lost the first one.
    expect(streams.takeLink('o1', link(), undefined)).toBe(true)
    expect(first.socket.destroyed).toBe(true)
    streams.take({ kind: 'accept', stream: 'o1' })
    expect(streams.takeLink('o1', link(), undefined)).toBe(false)
    expect(table(true).streams.takeLink('o1', link(), undefined)).toBe(false)
    streams.end('network.lost')
  })

  it('that wait are closed when the session ends', () => {
    const { streams } = table(false)
    const [early, offered] = [link(), link()]
    streams.takeLink('e1', early, undefined)
    streams.take(open('e2'))
    streams.takeLink('e2', offered, undefined)
    streams.end('network.lost')
    expect(early.socket.destroyed && offered.socket.destroyed).toBe(true)
  })
})
