import { stat } from 'node:fs/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { render, useApp, useInput, useWindowSize } from 'ink'
import { createElement as h, type ReactElement, useEffect, useReducer, useRef, useState } from 'react'
import { EXIT, PartylineError, toPartylineError } from '../../daemon/errors.ts'
import type { RunningDaemon } from '../../daemon/main.ts'
import { receiveFiles } from '../../ipc/files/receiver.ts'
import { sendFiles } from '../../ipc/files/sender.ts'
import type { Client } from '../../ipc/index.ts'
import type { Context } from '../command.ts'
import { duration, printable } from '../format.ts'
import { PartyFollower } from './party-state.ts'
import { type Prompt, Screen } from './screen.ts'
import { TemporaryHost } from './temporary-host.ts'

/** How long nobody has to be there before a second host is offered. */
const LONELY_AFTER = 3000

/** The live view; without a terminal, a line for everything that happens. Runs a daemon unless one runs already. */
export async function runView(context: Context): Promise<number> {
  await using stack = new AsyncDisposableStack()
  const daemon = await daemonUnlessRunning(context)
  if (daemon) stack.defer(() => daemon.stop())
  const client = stack.use(await context.connect({ control: true, reconnect: true }))
  const follower = await PartyFollower.start(client)
  follower.tell(daemon ? 'this host is up' : 'attached to the daemon that runs already', 'good')
  if (context.stdout.isTTY && context.stdin.isTTY) await runScreen(context, new Party(client, follower, stack))
  else await printHappenings(context, follower)
  return EXIT.done
}

async function daemonUnlessRunning(context: Context): Promise<RunningDaemon | undefined> {
  try {
    const client = await context.connect()
    await client.close()
    return undefined
  } catch (error) {
    if (!(error instanceof PartylineError) || error.code !== 'local.no-daemon') throw error
  }
  const { startDaemon } = await import('../../daemon/main.ts')
  return startDaemon({ home: context.home, env: context.env, log: () => {} })
}

async function printHappenings({ stdout, signal }: Context, follower: PartyFollower): Promise<void> {
  const { status } = follower.state
  stdout.write(`${printable(status.name)} ${status.id} on port ${status.port}\n`)
  let printed = 0
  const print = (): void => {
    const { happenings } = follower.state
    for (const { at, text } of happenings.filter((happening) => happening.at > printed))
      stdout.write(`${new Date(at).toISOString()} ${text}\n`)
    printed = happenings.at(-1)?.at ?? printed
  }
  print()
  follower.onChange(print)
  const alive = setInterval(() => {}, 2 ** 30)
  await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
  clearInterval(alive)
}

/** What the keys do. */
class Party {
  readonly follower: PartyFollower
  readonly #client: Client
  readonly #stack: AsyncDisposableStack
  #guest: Promise<TemporaryHost> | undefined

  constructor(client: Client, follower: PartyFollower, stack: AsyncDisposableStack) {
    this.#client = client
    this.follower = follower
    this.#stack = stack
  }

  /** Runs a task, and tells what went wrong if it does. */
  attempt(task: () => Promise<void>): void {
    task().catch((error: unknown) => {
      const { message, hint } = toPartylineError(error)
      this.follower.tell(`${printable(message)}. ${hint}`, 'bad')
    })
  }

  async chat(peer: string, text: string): Promise<void> {
    await this.#client.call('chat.send', { peer, text })
  }

  async ping(peer: string): Promise<void> {
    const { rtt, route } = await this.#client.call('sessions.ping', { peer })
    this.follower.tell(`${this.follower.nameOf(peer)} answers in ${duration(rtt)} (${route})`)
  }

  async send(peer: string, path: string): Promise<void> {
    await stat(path)
    for await (const event of sendFiles(this.#client, { peer, paths: [path] })) {
      if (event.kind === 'offered')
        this.follower.tell(`offered ${printable(event.offer.name)} to ${this.follower.nameOf(peer)}`)
      if (event.kind === 'progress') this.follower.transferring({ title: 'sending', ...event })
      if (event.kind === 'done') this.follower.tell(`sent ${event.files} files in ${duration(event.elapsed)}`, 'good')
    }
    this.follower.transferring(undefined)
  }

  async accept(): Promise<void> {
    const { inbox } = await this.#client.call('daemon.status', {})
    const offers = await this.#client.call('files.list', {})
    if (!offers.some(({ direction, state }) => direction === 'in' && state === 'offered'))
      return this.follower.tell('nothing is offered')
    for await (const event of receiveFiles(this.#client, { dir: inbox, accept: 'all', once: true })) {
      if (event.kind === 'progress') this.follower.transferring({ title: 'receiving', ...event })
      if (event.kind === 'done') this.follower.tell(`received ${event.files} files into ${inbox}`, 'good')
    }
    this.follower.transferring(undefined)
  }

  /** A second host on this machine, which chats and sends a file, so that one person alone sees it all. */
  async startGuest(): Promise<void> {
    if (this.#guest) return this.follower.tell('the second host is there already')
    this.follower.tell('starting a second host on this machine')
    this.#guest = TemporaryHost.start('second-host')
    const guest = this.#stack.use(await this.#guest)
    const { connect } = await import('../../ipc/index.ts')
    const client = this.#stack.use(await connect({ home: guest.home, app: 'guest', reconnect: true }))
    const { id } = this.follower.state.status
    while (!(await client.call('peers.list', {})).some((peer) => peer.id === id)) await sleep(100)
    await client.call('chat.send', { peer: id, text: 'hello! press f to send me a file, or c to answer' })
    const events = await client.events(['chat'])
    void (async () => {
      for await (const event of events)
        if (event.name === 'chat.received' && event.params.line.direction === 'in')
          await client.call('chat.send', { peer: id, text: `you said: ${event.params.line.text}` })
    })().catch(() => {})
    for await (const event of receiveFiles(client, { dir: `${guest.home}/inbox`, accept: 'all' }))
      if (event.kind === 'done') await client.call('chat.send', { peer: id, text: 'got it, thank you' })
  }
}

async function runScreen(context: Context, party: Party): Promise<void> {
  const app = render(h(View, { party }), { exitOnCtrlC: false, alternateScreen: true })
  context.signal.addEventListener('abort', () => app.unmount())
  await app.waitUntilExit()
}

function View({ party }: { party: Party }): ReactElement {
  const { follower } = party
  const [, redraw] = useReducer((count: number) => count + 1, 0)
  const [cursor, setCursor] = useState(0)
  const [prompt, setPrompt] = useState<(Prompt & { readonly enter: (text: string) => void }) | undefined>(undefined)
  const [waited, setWaited] = useState(false)
  const { exit } = useApp()
  const { columns, rows } = useWindowSize()
  const { peers } = follower.state
  const selected = peers[Math.min(cursor, peers.length - 1)]?.id
  const latest = useRef(selected)
  latest.current = selected

  useEffect(() => follower.onChange(redraw), [follower])
  useEffect(() => {
    const timer = setTimeout(() => setWaited(true), LONELY_AFTER)
    return () => clearTimeout(timer)
  }, [])

  useInput((input, key) => {
    if (key.ctrl && input === 'c') return exit()
    if (prompt) return typing(prompt, input, key, setPrompt)
    const peer = latest.current
    if (key.upArrow) setCursor(Math.max(0, cursor - 1))
    else if (key.downArrow) setCursor(Math.min(Math.max(0, peers.length - 1), cursor + 1))
    else if (input === 'q') exit()
    else if (input === 'n') party.attempt(() => party.startGuest())
    else if (input === 'a') party.attempt(() => party.accept())
    else if (!peer) return
    else if (input === 'p') party.attempt(() => party.ping(peer))
    else if (input === 'c')
      setPrompt({
        question: `to ${follower.nameOf(peer)}:`,
        typed: '',
        enter: (text) => party.attempt(() => party.chat(peer, text)),
      })
    else if (input === 'f')
      setPrompt({
        question: `path for ${follower.nameOf(peer)}:`,
        typed: '',
        enter: (path) => party.attempt(() => party.send(peer, path)),
      })
  })
  return h(Screen, {
    state: follower.state,
    selected,
    prompt,
    lonely: waited && peers.length === 0,
    size: { columns, rows },
  })
}

type ActivePrompt = Prompt & { readonly enter: (text: string) => void }

/** A key pressed while something is being typed. */
function typing(
  prompt: ActivePrompt,
  input: string,
  key: { return: boolean; escape: boolean; backspace: boolean; delete: boolean; ctrl: boolean; meta: boolean },
  set: (prompt: ActivePrompt | undefined) => void,
): void {
  if (key.escape) return set(undefined)
  if (key.return) {
    set(undefined)
    if (prompt.typed !== '') prompt.enter(prompt.typed)
    return
  }
  if (key.backspace || key.delete) return set({ ...prompt, typed: [...prompt.typed].slice(0, -1).join('') })
  if (!key.ctrl && !key.meta && input !== '') set({ ...prompt, typed: prompt.typed + input })
}
