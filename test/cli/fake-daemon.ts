import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemClock } from '../../daemon/clock.ts'
import { createLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { Handlers, Publish } from '../../ipc/api.ts'
import { METHODS, type MethodName, type PeerView, type StatusView } from '../../ipc/methods.ts'
import { IpcServer } from '../../ipc/server.ts'

export const SELF = 'a'.repeat(52)
export const ANNA = `anna${'b'.repeat(48)}`
export const ALICE = 'xmpp:alice@h1'

export function peerView(change: Partial<PeerView> = {}): PeerView {
  return {
    id: ANNA,
    kind: 'host',
    name: 'anna-laptop',
    petname: '',
    trust: 'unknown',
    state: 'seen',
    proven: true,
    presence: { show: 'available', text: '' },
    note: '',
    sightings: [{ method: 'beacon', interface: 'eth0', address: '192.168.50.2', port: 47800, age: 812 }],
    route: null,
    rtt: null,
    ...change,
  }
}

/** Somebody with a plain XMPP client on the LAN. */
export function contactView(change: Partial<PeerView> = {}): PeerView {
  return peerView({
    id: ALICE,
    kind: 'chat',
    name: 'Alice',
    proven: false,
    note: 'A plain XMPP client: chat only, and no key proves who it is.',
    sightings: [{ method: 'xmpp', interface: 'eth0', address: '192.168.50.7', port: 5298, age: 100 }],
    ...change,
  })
}

export const STATUS: StatusView = {
  version: '0.1.0',
  id: SELF,
  name: 'den-pc',
  port: 47800,
  uptime: 65_000,
  pid: 1,
  home: '/nowhere',
  inbox: '/nowhere/inbox',
  sockets: { app: '/nowhere/partyline.sock', control: '/nowhere/control.sock' },
  interfaces: [
    { name: 'eth0', kind: 'cable', participating: true, addresses: ['192.168.50.1'], multicast: true },
    { name: 'docker0', kind: 'container', participating: false, addresses: ['172.17.0.1'], multicast: true },
  ],
  discovery: [{ method: 'beacon', interface: 'eth0', state: 'active', detail: '' }],
  internet: { state: 'unused', detail: '', servers: [], mappings: [] },
  peers: { seen: 1, connected: 0, away: 0 },
  sessions: 0,
  links: { open: 0, halfOpen: 0 },
  apps: 1,
  refused: { 'peer.malformed': 3 },
  memory: 60_000_000,
}

type Answers = { readonly [M in MethodName]?: (params: never) => unknown }

/** Both sockets of a daemon, with answers of the test's choice; the examples of the method table otherwise. */
export class FakeDaemon implements AsyncDisposable {
  readonly home: string
  readonly calls: { readonly method: string; readonly params: unknown }[] = []
  readonly publish: Publish
  readonly #server: IpcServer

  private constructor(home: string, answers: Answers) {
    this.home = home
    const logger = createLogger('error', () => {})
    this.#server = new IpcServer({
      handlers: this.#handlers(answers),
      version: '0.1.0',
      id: SELF,
      features: [],
      clock: systemClock,
      logger,
      refusals: new Refusals(),
    })
    this.publish = this.#server.publish
  }

  static async start(answers: Answers = {}): Promise<FakeDaemon> {
    const home = await mkdtemp(join(tmpdir(), 'partyline-fake-'))
    const daemon = new FakeDaemon(home, {
      'daemon.status': () => STATUS,
      'identity.get': () => ({ id: SELF, name: 'den-pc', words: ['amber', 'canyon', 'lotus', 'piano'] }),
      'peers.list': () => [peerView()],
      'peers.get': () => peerView(),
      ...answers,
    })
    await daemon.#server.listen({
      app: join(home, 'partyline.sock'),
      control: join(home, 'control.sock'),
      appMode: 0o600,
    })
    return daemon
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#server.stop()
    await rm(this.home, { recursive: true, force: true })
  }

  #handlers(answers: Answers): Handlers {
    const handler = (method: MethodName) => (params: unknown) => {
      this.calls.push({ method, params })
      const answer = answers[method] as ((params: unknown) => unknown) | undefined
      return answer ? answer(params) : METHODS[method].example.result
    }
    return Object.fromEntries(
      (Object.keys(METHODS) as MethodName[]).map((method) => [method, handler(method)]),
    ) as unknown as Handlers
  }
}
