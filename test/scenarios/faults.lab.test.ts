import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createConnection, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { connect } from '../../ipc/index.ts'
import { Lab, type LabDaemon, labMissing, startDaemon } from '../lab/lab.ts'
import { eventually } from '../lab/patience.ts'
import { chat } from './online.ts'
import { Guest } from './party.ts'

const missing = labMissing()
const title = (name: string): string => `${name}${missing ? ` (skipped: ${missing})` : ''}`
/** A hundred, in four homes beside each other. */
const KILLS = 25
const someone = (n: number): string => `${'abcdefghijklmnopqrstuvwxyz234567'[n % 32]}`.repeat(51).concat('a')

/** What is on disk is whole, each file by itself. */
function expectWhole(home: string): void {
  for (const name of readdirSync(home).filter((one) => one.endsWith('.json')))
    expect(() => JSON.parse(readFileSync(join(home, name), 'utf8')), name).not.toThrow()
}

/** Changes trust and settings, one after the other, until the daemon is gone. True once trusting was confirmed. */
async function work(daemon: LabDaemon, round: number): Promise<boolean> {
  let isTrusted = false
  try {
    await using client = await connect({ home: daemon.home, app: 'load', control: true })
    await client.call('peers.trust', { peer: someone(round) })
    isTrusted = true
    for (let n = 0; ; n++) await client.call('settings.set', { key: 'chat.keep', value: 100 + (n % 900) })
  } catch {
    return isTrusted
  }
}

describe.skipIf(missing)(title('a daemon that is killed a hundred times'), () => {
  test.concurrent.each([1, 2, 3, 4])(
    'comes back each time by itself, with identity, trust and settings as they were confirmed (%i of 4)',
    async () => {
      await using lab = await Lab.up('lan', { n: 1 })
      const home = join(lab.folder, 'killed')
      let id = ''
      const trusted = new Set<string>()
      for (let round = 0; round < KILLS; round++) {
        const daemon = await startDaemon(lab, 'h1', { home })
        id ||= daemon.id
        expect(daemon.id).toBe(id)
        const working = work(daemon, round)
        await sleep(Math.random() * 150)
        await daemon.kill()
        if (await working) trusted.add(someone(round))
        expectWhole(home)
      }
      const daemon = await startDaemon(lab, 'h1', { home })
      const peers = JSON.parse((await daemon.cli(['peers', '--json'])).stdout) as { id: string; trust: string }[]
      const known = peers.filter((peer) => peer.trust === 'trusted').map((peer) => peer.id)
      expect(trusted.size).toBeGreaterThan(0)
      expect([...trusted].filter((peer) => !known.includes(peer))).toEqual([])
      await daemon.stop()
      // Nothing half-written is left, and no socket of the dead.
      expect(readdirSync(home).filter((name) => /\.\d+$|tmp-|\.sock$/.test(name))).toEqual([])
      expect(statSync(join(home, 'identity.key')).mode & 0o777).toBe(0o600)
    },
    120_000,
  )
})

/** A folder on a disk of its own. */
class Disk implements Disposable {
  readonly home: string
  constructor(lab: Lab, size: string) {
    this.home = join(lab.folder, 'disk')
    mkdirSync(this.home)
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size},mode=700`, 'tmpfs', this.home])
  }

  remount(how: 'ro' | 'rw'): void {
    execFileSync('mount', ['-o', `remount,${how}`, this.home])
  }

  [Symbol.dispose](): void {
    execFileSync('umount', ['-l', this.home])
  }
}

describe.skipIf(missing)(title('a daemon whose disk'), () => {
  test('is full goes on, says so, loses nothing, and writes again when there is room', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    using disk = new Disk(lab, '2m')
    const [a, b] = await Promise.all([Guest.join(lab, 'h1', [], { home: disk.home }), Guest.join(lab, 'h2')])
    await Promise.all([a.untilSees(b.id), b.untilSees(a.id)])
    await a.json(['name', b.id, 'ben'])
    const filler = join(disk.home, 'filler')
    expect(() => writeFileSync(filler, Buffer.alloc(4 << 20))).toThrow('ENOSPC')
    for (const command of [
      ['trust', b.id],
      ['config', 'set', 'chat.keep', '77'],
    ]) {
      const { code, stdout } = await a.daemon.cli([...command, '--json'])
      expect([code, JSON.parse(stdout).error.code]).toEqual([1, expect.stringMatching(/^local\./)])
    }
    await chat(a, b)
    expectWhole(disk.home)
    rmSync(filler)
    await a.json(['trust', b.id])
    await a.json(['config', 'set', 'chat.keep', '77'])
    await a.restart()
    expect(await a.client.call('peers.get', { peer: b.id })).toMatchObject({ petname: 'ben', trust: 'trusted' })
    await a.leave()
  }, 60_000)

  test('can only be read goes on, and says so', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    using disk = new Disk(lab, '8m')
    const [a, b] = await Promise.all([Guest.join(lab, 'h1', [], { home: disk.home }), Guest.join(lab, 'h2')])
    await Promise.all([a.untilSees(b.id), b.untilSees(a.id)])
    disk.remount('ro')
    const { code, stdout } = await a.daemon.cli(['trust', b.id, '--json'])
    expect([code, JSON.parse(stdout).error.code]).toEqual([1, 'local.permission'])
    await chat(a, b)
    disk.remount('rw')
    await a.json(['trust', b.id])
    await a.leave()
  }, 60_000)
})

describe.skipIf(missing)(title('a daemon that has no more file descriptors'), () => {
  test('turns away what comes, keeps what it has, and takes others again when some are free', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const [a, b] = await Promise.all([Guest.join(lab, 'h1'), Guest.join(lab, 'h2')])
    await Promise.all([a.untilSees(b.id), b.untilSees(a.id)])
    await chat(a, b)
    const { pid } = await a.client.call('daemon.status', {})
    const open = readdirSync(`/proc/${pid}/fd`).length
    execFileSync('prlimit', ['--pid', String(pid), `--nofile=${open + 8}`])
    const apps: Socket[] = []
    for (let n = 0; n < 64; n++) apps.push(createConnection(a.daemon.socket).on('error', () => {}))
    await sleep(300)
    await chat(a, b, 'still here')
    for (const app of apps) app.destroy()
    await chat(b, a, 'and there')
    expect(await a.json(['whoami'])).toMatchObject({ id: a.id })
  }, 60_000)
})

const FAKETIME = '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1'
const noFaketime = missing ?? labMissing([FAKETIME])

describe.skipIf(noFaketime)(`a wall clock that jumps${noFaketime ? ` (skipped: ${noFaketime})` : ''}`, () => {
  test('takes no session and no message with it, back or forth', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const clock = join(lab.folder, 'clock')
    writeFileSync(clock, '+0')
    const faked = [
      'env',
      `LD_PRELOAD=${FAKETIME}`,
      `FAKETIME_TIMESTAMP_FILE=${clock}`,
      'FAKETIME_NO_CACHE=1',
      'FAKETIME_DONT_FAKE_MONOTONIC=1',
      process.execPath,
      'cli/main.ts',
    ]
    const one = await startDaemon(lab, 'h1', { program: faked })
    const other = await startDaemon(lab, 'h2')
    await using receiver = await connect({ home: one.home, app: 'clock' })
    await using sender = await connect({ home: other.home, app: 'clock' })
    await eventually('they see each other', async () => {
      const peers = await sender.call('peers.list', {})
      return peers.some(({ id }) => id === one.id)
    })
    const sessions = await receiver.events(['sessions'])
    const messages = await receiver.messages('numbers')
    const seen: number[] = []
    const DAY = 24 * 3600
    for (const shift of [0, -1, 400, -3000, 1]) {
      writeFileSync(clock, `${shift < 0 ? '' : '+'}${shift * DAY}`)
      const now = Date.now() / 1000
      for (let n = 0; n < 20; n++) {
        const sending = sender.send(one.id, 'numbers', String(seen.length))
        const { value } = await messages.next()
        await sending
        seen.push(Number(Buffer.from(value.data).toString()))
        if (n === 19) expect(Math.round((value.at / 1000 - now) / DAY)).toBe(shift)
      }
    }
    expect(seen).toEqual(Array.from({ length: 100 }, (_, index) => index))
    const peers = await sender.call('peers.list', {})
    expect(peers.find(({ id }) => id === one.id)?.state).toBe('connected')
    // One session was opened, and nothing else became of it.
    const { value: first } = await sessions.next()
    expect(first?.name).toBe('sessions.opened')
    await receiver.call('sessions.close', { peer: other.id })
    const { value: next } = await sessions.next()
    expect(next?.name).toBe('sessions.closed')
  })
})
