import { stripVTControlCharacters, styleText } from 'node:util'
import { describe, expect, test, vi } from 'vitest'
import { peersCommand } from '../../cli/commands/peers.ts'
import { fakeText } from '../../cli/commands/session-status.ts'
import { topCommand, topTable } from '../../cli/commands/top.ts'
import { PartylineError } from '../../daemon/errors.ts'
import { METHODS, type Params, type SessionView, type StatisticsView } from '../../ipc/methods.ts'
import { ANNA, contactView, FakeDaemon, peerView } from './fake-daemon.ts'
import { runCli, startCli } from './run-cli.ts'
import { startCommand } from './run-command.ts'

const SESSION: SessionView = {
  peer: ANNA,
  name: 'anna-laptop',
  route: 'lan',
  carrier: 'tcp',
  cipher: 'TLS_AES_128_GCM_SHA256',
  group: 'X25519MLKEM768',
  local: '192.168.50.1:40000',
  remote: '192.168.50.2:47800',
  dialled: true,
  rtt: 0.4,
  age: 61_000,
  streams: 1,
  state: 'open',
  datagrams: 'open',
  fake: false,
}

const way = { loss: 0, delay: 0, jitter: 0, reorder: 0, duplicate: 0, rate: 0 }

function statistics(change: Partial<StatisticsView> = {}): StatisticsView {
  const direction = { rate: 2_000_000, messages: 60, packets: 60, loss: 0.012, quality: 0.985 }
  return {
    rtt: { latest: 0.5, smoothed: 0.4, minimum: 0.2, jitter: 0.05 },
    out: direction,
    in: { ...direction, loss: null, quality: null },
    capacity: 90_000_000,
    queued: 2048,
    unacknowledged: 100,
    queueTime: 3,
    lanes: [
      {
        app: 7,
        lane: 1,
        priority: 2,
        weight: 3,
        queuedReliable: 2048,
        queuedUnreliable: 0,
        unacknowledged: 100,
        queueTime: 3,
        sent: 12,
      },
    ],
    totals: { messagesOut: 600, messagesIn: 500, bytesOut: 38_400, bytesIn: 32_000, dropped: 4, resumes: 1 },
    datagrams: { state: 'open', remote: '192.168.50.2:47800', mtu: 1472 },
    routes: [
      { at: 1_800_000_000_000, from: null, to: 'lan', reason: 'opened' },
      { at: 1_800_000_060_000, from: 'lan', to: null, reason: 'the link was lost' },
    ],
    ping: {
      buckets: [
        { upTo: 1, count: 90 },
        { upTo: 2, count: 10 },
        { upTo: null, count: 1 },
      ],
    },
    jitter: { buckets: [{ upTo: null, count: 3 }] },
    stall: null,
    fake: null,
    ...change,
  }
}

const answers = (change: Partial<StatisticsView> = {}) => ({
  'peers.get': () => peerView({ state: 'connected' }),
  'sessions.list': () => [{ ...SESSION, fake: change.fake !== undefined }],
  'sessions.statistics': () => statistics(change),
})

describe('`status PEER`', () => {
  test('shows the session on one screen', async () => {
    await using daemon = await FakeDaemon.start(answers())
    const { code, stdout } = await runCli(['status', 'anna-laptop', '--home', daemon.home])
    expect(code).toBe(0)
    for (const text of [
      'open for 1 min 1 s, lan over tcp',
      '0.40 ms (least 0.20 ms)  █▂▂ ≤1 ≤2 more ms',
      '0.05 ms  █ more ms',
      'loss 1.2 %, quality 98.5 %; 600 messages',
      '2.0 KiB to send, for 3.0 ms; 100 B not acknowledged',
      'open, 192.168.50.2:47800, up to 1472 bytes',
      '90 Mbit/s',
      '4 messages dropped before they left; resumed on another link once',
      'lan → none',
    ])
      expect(stdout).toContain(text)
    expect(stdout.split('\n').length).toBeLessThan(40)
  })

  test('says so where a fake network is set, or a lag switch is suspected', async () => {
    const fake = { out: { ...way, loss: 0.05, delay: 80 }, in: way }
    const stall = { at: 1, silences: 6, medianSilence: 800, medianInterval: 3000, burst: 40 }
    await using daemon = await FakeDaemon.start(answers({ fake, stall }))
    const { stdout } = await runCli(['status', 'anna-laptop', '--home', daemon.home])
    expect(stdout).toContain('FAKE NETWORK out: loss 5 %, delay 80 ms; in: as it is')
    expect(stdout).toContain('6 silences of 800 ms every 3.0 s, 40 packets at once behind each')
    expect((await runCli(['status', '--home', daemon.home])).stdout).toContain('FAKE NETWORK to anna-laptop')
  })

  test('says how to open a session where there is none', async () => {
    await using daemon = await FakeDaemon.start({ 'sessions.list': () => [] })
    const [human, machine] = await Promise.all([
      runCli(['status', 'anna-laptop', '--home', daemon.home]),
      runCli(['status', 'anna-laptop', '--json', '--home', daemon.home]),
    ])
    expect(human).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('`partyline connect anna-laptop` opens one'),
    })
    expect(JSON.parse(machine.stdout)).toMatchObject({ peer: { id: ANNA }, session: null, statistics: null })
  })

  test('says what is known of somebody who has no sessions at all', async () => {
    await using daemon = await FakeDaemon.start({ 'peers.get': () => contactView(), 'sessions.list': () => [] })
    const { code, stdout } = await runCli(['status', 'Alice', '--home', daemon.home])
    expect(code).toBe(0)
    expect(stdout).toContain('A plain XMPP client: chat only')
    expect(stdout).not.toContain('partyline connect')
  })

  test('ends with 4 for somebody unknown, with 3 without a daemon', async () => {
    await using daemon = await FakeDaemon.start({
      'peers.get': () => {
        throw new PartylineError('peer.not-found', 'nobody is called "zoe"')
      },
    })
    const [unknown, machine, alone] = await Promise.all([
      runCli(['status', 'zoe', '--home', daemon.home]),
      runCli(['status', 'zoe', '--json', '--home', daemon.home]),
      runCli(['status', 'zoe', '--home', `${daemon.home}/nowhere`]),
    ])
    expect(unknown).toMatchObject({ code: 4, stdout: '', stderr: expect.stringContaining('nobody is called "zoe"') })
    expect(JSON.parse(machine.stdout)).toMatchObject({ error: { code: 'peer.not-found' } })
    expect(alone.code).toBe(3)
  })

  test('lets nothing that came from elsewhere draw on the terminal', async () => {
    const routes = [{ at: 0, from: null, to: 'lan', reason: 'opened\u001b[2J' }]
    await using daemon = await FakeDaemon.start({
      ...answers({ routes }),
      'sessions.list': () => [{ ...SESSION, group: 'X25519\u001b[31m' }],
    })
    const { stdout } = await runCli(['status', 'anna-laptop', '--home', daemon.home])
    expect(stdout).toBe(stripVTControlCharacters(stdout))
  })

  test('gives machines everything', async () => {
    await using daemon = await FakeDaemon.start(answers())
    const { stdout } = await runCli(['status', 'anna-laptop', '--json', '--home', daemon.home])
    expect(JSON.parse(stdout)).toEqual({
      peer: peerView({ state: 'connected' }),
      session: SESSION,
      statistics: statistics(),
      paths: METHODS['sessions.paths'].example.result,
    })
  })

  test('tells every path that was tried and why it is used or not, also without a session', async () => {
    const path = { via: '', local: 'srflx', remote: 'srflx', rtt: 31, loss: 0, mtu: 1452 } as const
    const paths = [
      { ...path, to: '198.51.100.7:47800', state: 'succeeded', used: true, reason: 'the best that works' },
      { ...path, to: '192.0.2.1:3', via: 'relay-1', state: 'failed', used: false, rtt: null, reason: 'no answer' },
    ]
    await using daemon = await FakeDaemon.start({
      ...answers(),
      'sessions.list': () => [],
      'sessions.paths': () => paths,
    })
    const { stdout } = await runCli(['status', 'anna-laptop', '--home', daemon.home])
    expect(stdout).toMatch(/→ +198\.51\.100\.7:47800 +srflx–srflx +succeeded +31 ms +the best that works/)
    expect(stdout).toMatch(/ 192\.0\.2\.1:3 via relay-1 +srflx–srflx +failed +– +no answer/)
  })
})

describe('`top`', () => {
  test('prints a line for each session once', async () => {
    await using daemon = await FakeDaemon.start(answers({ fake: { out: { ...way, delay: 5 }, in: way } }))
    const [human, machine] = await Promise.all([
      runCli(['top', '--once', '--home', daemon.home]),
      runCli(['top', '--once', '--json', '--home', daemon.home]),
    ])
    expect(human.stdout.split('\n')[1]).toMatch(/^anna-laptop\s+lan FAKE\s+0\.40 ms\s+0\.05 ms\s+1\.2 %\s+98\.5 %/)
    expect(JSON.parse(machine.stdout)).toMatchObject({ peer: ANNA, name: 'anna-laptop', session: { route: 'lan' } })
  })

  test('says what to do where there is no session', async () => {
    await using daemon = await FakeDaemon.start({ 'sessions.list': () => [] })
    expect((await runCli(['top', '--once', '--home', daemon.home])).stdout).toContain('partyline connect PEER')
  })

  describe('at any width', () => {
    const all = [
      { name: 'anna', session: SESSION, statistics: statistics() },
      { name: 'x'.repeat(200), session: { ...SESSION, state: 'resuming' as const }, statistics: statistics() },
    ]
    test.each([120, 100, 80, 60, 50])('%d columns hold the table', (columns) => {
      const lines = stripVTControlCharacters(topTable(all, styleText, columns)).split('\n')
      expect(Math.max(...lines.map((line) => [...line].length))).toBeLessThanOrEqual(columns)
      expect(lines[0]).toMatch(/^PEER +STATE +PING/)
      expect(lines[2]).toMatch(/^x+… +resuming +0\.40 ms/)
    })

    test('what matters most stays longest', () => {
      expect(topTable(all, styleText)).toContain('STREAMS')
      const narrow = topTable(all, styleText, 60)
      expect(narrow).toContain('LOSS')
      expect(narrow).not.toContain('QUALITY')
    })
  })

  test('is drawn anew with what the daemon measures, until q leaves it', async () => {
    await using daemon = await FakeDaemon.start(answers())
    const top = startCommand(topCommand, {}, { home: daemon.home, columns: 60 })
    await vi.waitFor(() => expect(stripVTControlCharacters(top.printed())).toMatch(/anna-laptop +lan +0\.40 ms/), 5000)
    daemon.publish('sessions.measured', {
      peer: ANNA,
      statistics: statistics({
        rtt: { latest: 77, smoothed: 77, minimum: 1, jitter: 0 },
        fake: { out: { ...way, delay: 77 }, in: way },
      }),
    })
    await vi.waitFor(() => expect(stripVTControlCharacters(top.printed())).toMatch(/lan FAKE +77 ms/), 5000)
    expect(daemon.calls.filter(({ method }) => method === 'sessions.statistics')).toHaveLength(1)
    top.type('q')
    expect(await top.done).toBeUndefined()
  })

  test('ends with an error when the daemon stops', async () => {
    const daemon = await FakeDaemon.start(answers())
    const top = startCommand(topCommand, {}, { home: daemon.home })
    const ended = expect(top.done).rejects.toMatchObject({ code: 'local.closed' })
    await vi.waitFor(() => expect(top.printed()).toContain('anna-laptop'))
    await daemon[Symbol.asyncDispose]()
    await ended
  })

  test('ends with an error when the daemon stops, where there is no terminal', async () => {
    const daemon = await FakeDaemon.start(answers())
    const child = runCli(['top', '--home', daemon.home])
    const asked = () => daemon.calls.map(({ method }) => method)
    await vi.waitFor(() => expect(asked()).toContain('sessions.statistics'), 5000)
    await daemon[Symbol.asyncDispose]()
    expect(await child).toMatchObject({ code: 1, stderr: expect.stringContaining('(local.closed)') })
  })

  test('goes on each second for machines, until it is ended', async () => {
    await using daemon = await FakeDaemon.start(answers())
    const child = startCli(['top', '--json', '--home', daemon.home])
    let lines = 0
    for await (const chunk of child.stdout ?? []) {
      lines += String(chunk).split('\n').length - 1
      if (lines >= 2) break
    }
    expect(lines).toBeGreaterThanOrEqual(2)
    child.kill('SIGINT')
  })
})

describe('`fake`', () => {
  test.each([
    [['--loss', '5', '--delay', '80'], { out: { loss: 0.05, delay: 80 }, in: { loss: 0.05, delay: 80 } }],
    [['--rate', '2M', '--out'], { out: { rate: 2_000_000 } }],
    [
      ['--jitter', '20', '--reorder', '1', '--duplicate', '0.5', '--in'],
      { in: { jitter: 20, reorder: 0.01, duplicate: 0.005 } },
    ],
    [['--off'], {}],
  ])('%j is set on the session', async (args, change) => {
    await using daemon = await FakeDaemon.start({
      'sessions.fake': ({ peer: _, ...partial }: Params<'sessions.fake'>) => ({
        fake:
          Object.keys(partial).length === 0 ? null : { out: { ...way, ...partial.out }, in: { ...way, ...partial.in } },
      }),
    })
    const { code, stdout } = await runCli(['fake', 'anna-laptop', ...args, '--home', daemon.home])
    expect(code).toBe(0)
    expect(daemon.calls).toContainEqual({ method: 'sessions.fake', params: { peer: 'anna-laptop', ...change } })
    expect(stdout).toContain(args.includes('--off') ? 'the network as it is' : 'FAKE NETWORK')
  })

  test('shows what is set when nothing is asked for', async () => {
    await using daemon = await FakeDaemon.start(answers({ fake: { out: { ...way, loss: 0.5 }, in: way } }))
    const { stdout } = await runCli(['fake', 'anna-laptop', '--home', daemon.home])
    expect(stdout).toContain('FAKE NETWORK out: loss 50 %; in: as it is')
    expect(daemon.calls.map(({ method }) => method)).not.toContain('sessions.fake')
  })

  test('tells machines what is set', async () => {
    const fake = { out: { ...way, loss: 0.5 }, in: way }
    await using daemon = await FakeDaemon.start({ 'sessions.fake': () => ({ fake }) })
    const { stdout } = await runCli(['fake', 'anna-laptop', '--loss', '50', '--out', '--json', '--home', daemon.home])
    expect(JSON.parse(stdout)).toEqual({ fake })
  })

  test('is marked in the list of peers', async () => {
    await using daemon = await FakeDaemon.start({
      'peers.list': () => [peerView({ state: 'connected', route: 'lan', rtt: 80 }), contactView()],
      'sessions.list': () => [{ ...SESSION, fake: true }],
    })
    const { stdout } = await runCli(['peers', '--home', daemon.home])
    expect(stdout).toMatch(/^anna-laptop .* lan 80 ms FAKE /m)
    expect(stdout.match(/FAKE/g)).toHaveLength(1)
    const coloured = startCommand(peersCommand, {}, { home: daemon.home, colour: true })
    await coloured.done
    expect(coloured.printed()).toContain(styleText(['bold', 'red'], ' FAKE', { validateStream: false }))
  })

  test('needs a session', async () => {
    await using daemon = await FakeDaemon.start({
      'sessions.statistics': () => {
        throw new PartylineError('network.no-session')
      },
    })
    const { code, stderr } = await runCli(['fake', 'anna-laptop', '--home', daemon.home])
    expect(code).toBe(4)
    expect(stderr).toContain('(network.no-session)')
  })

  test.each([
    [['--loss', '101'], '--loss takes a number from 0 to 100'],
    [['--delay', 'soon'], '--delay takes a number from 0 to 10000'],
    [['--rate', 'fast'], '--rate takes bits per second'],
    [['--off', '--loss', '1'], '--off goes with no other option'],
  ])('%j is refused', async (args, why) => {
    await using daemon = await FakeDaemon.start()
    const { code, stderr } = await runCli(['fake', 'anna-laptop', ...args, '--home', daemon.home])
    expect(code).toBe(2)
    expect(stderr).toContain(why)
    expect(daemon.calls).toEqual([])
  })

  test('tells each way in words', () => {
    const all = { loss: 0.1, delay: 1, jitter: 2, reorder: 0.2, duplicate: 0.3, rate: 64_000 }
    expect(fakeText({ out: all, in: way })).toBe(
      'FAKE NETWORK out: loss 10 %, delay 1.0 ms, jitter 2.0 ms, reorder 20 %, duplicate 30 %, rate 64 kbit/s; in: as it is',
    )
  })
})

test('`metrics` prints them as they are', async () => {
  await using daemon = await FakeDaemon.start()
  const [human, machine] = await Promise.all(
    [[], ['--json']].map((options) => runCli(['metrics', ...options, '--home', daemon.home])),
  )
  const { result } = METHODS['metrics.read'].example
  expect(human?.stdout).toBe(result.text)
  expect(JSON.parse(machine?.stdout ?? '')).toEqual(result)
})
