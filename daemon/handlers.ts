import type { Handlers, RawAnswer } from '../ipc/api.ts'
import type {
  PathView,
  PeerView,
  Result,
  SessionView,
  SettingView,
  StatisticsView,
  StatusView,
} from '../ipc/methods.ts'
import type { Accounts } from './accounts/accounts.ts'
import { accountHandlers } from './accounts/handlers.ts'
import { systemClock } from './clock.ts'
import { needsRestart, type SettingsStore } from './config/store.ts'
import type { Doctor } from './doctor/doctor.ts'
import { PartylineError } from './errors.ts'
import type { Friends } from './friends/friends.ts'
import type { HubService } from './hub/hub-service.ts'
import type { Identity } from './identity/key.ts'
import { fingerprintWords, verificationWords } from './identity/words.ts'
import { inviteHandlers } from './invites/handlers.ts'
import type { Invites } from './invites/invites.ts'
import { formatHostPort } from './network/network.ts'
import type { PeerBook } from './peers/peer-book.ts'
import type { People } from './peers/people.ts'
import type { Access } from './policy/access.ts'
import { policyHandlers } from './policy/handlers.ts'
import { relayHandlers } from './relay/handlers.ts'
import type { RelayService } from './relay/relay-service.ts'
import type { LogRing } from './report/log-ring.ts'
import { createReport } from './report/report.ts'
import type { ChatService } from './services/chat.ts'
import type { FileService } from './services/files.ts'
import { joinStream } from './services/join-stream.ts'
import { messageHandlers, refuseReserved } from './services/messages/handlers.ts'
import type { MessageService } from './services/messages.ts'
import type { PresenceService } from './services/presence.ts'
import type { SessionHolds } from './services/session-holds.ts'
import type { StreamService } from './services/streams.ts'
import { completeFake } from './session/fake-network.ts'
import type { Session, SessionFacts, SessionStream } from './session/session.ts'
import type { SessionManager } from './session/session-manager.ts'
import type { SessionStatistics } from './session/statistics.ts'
import type { ContactId, PeerId } from './types.ts'

/** The parts that answer the socket's methods. */
export interface HandlerParts {
  readonly identity: Identity
  readonly book: PeerBook
  readonly people: People
  readonly sessions: SessionManager
  readonly holds: SessionHolds
  readonly messages: MessageService
  readonly streams: StreamService
  readonly files: FileService
  readonly chat: ChatService
  readonly presence: PresenceService
  readonly hub: HubService
  readonly accounts: Accounts
  readonly friends: Friends
  readonly invites: Invites
  readonly access: Access
  readonly relay: RelayService
  readonly doctor: Doctor
  readonly log: LogRing
  readonly settings: SettingsStore
  readonly name: () => string
  readonly status: () => StatusView
  readonly paths: (peer: PeerId) => PathView[]
  readonly metrics: () => Promise<Result<'metrics.read'>>
  readonly stop: () => void
}

/** One handler a method of the table in `ipc/methods.ts`. */
export function createHandlers(parts: HandlerParts): Handlers {
  const handlers: Omit<Handlers, 'report.create'> = {
    'daemon.status': () => parts.status(),
    'daemon.stop': () => {
      parts.stop()
      return {}
    },
    'metrics.read': () => parts.metrics(),
    'identity.get': () => ({
      id: parts.identity.peer,
      name: parts.name(),
      words: fingerprintWords(parts.identity.peer),
    }),
    ...peerHandlers(parts),
    ...sessionHandlers(parts),
    ...messageHandlers(parts),
    ...streamHandlers(parts),
    ...fileHandlers(parts),
    ...chatHandlers(parts),
    ...presenceHandlers(parts),
    ...hubHandlers(parts),
    ...accountHandlers(parts.accounts),
    ...friendHandlers(parts),
    ...inviteHandlers(parts.invites),
    ...policyHandlers(parts),
    ...relayHandlers(parts.relay, parts.people),
    'trace.read': ({ peer }) => {
      const id = parts.people.host(peer)
      return { peer: id, name: parts.book.get(id).name, steps: [...parts.log.trace(id)] }
    },
    'doctor.run': async ({ peer }) => ({
      checks: await parts.doctor.run(peer === undefined ? undefined : parts.people.anyone(peer)),
    }),
    ...settingHandlers(parts),
  }
  return {
    ...handlers,
    'report.create': (_, caller) =>
      createReport({ ...parts, clock: systemClock }, async (method) => handlers[method]({}, caller)),
  }
}

type Group<Prefix extends string> = Pick<Handlers, Extract<keyof Handlers, `${Prefix}.${string}`>>

function peerHandlers({ book, people, identity, sessions }: HandlerParts): Group<'peers'> {
  /** Round trips change all the time: the book learns them when somebody asks. */
  const measure = (): void => {
    for (const { facts } of sessions.list()) if (facts.rtt !== undefined) book.measured(facts.peer, facts.rtt)
  }
  const view = (id: PeerId | ContactId): PeerView => {
    measure()
    return people.view(id)
  }
  return {
    'peers.list': () => {
      measure()
      return people.list()
    },
    'peers.get': ({ peer }) => view(people.anyone(peer)),
    'peers.name': async ({ peer, petname }) => {
      const id = people.host(peer)
      await book.setPetname(id, petname)
      return view(id)
    },
    'peers.trust': async ({ peer }) => {
      const id = people.host(peer)
      await book.setTrust(id, 'trusted')
      return view(id)
    },
    'peers.block': async ({ peer }) => {
      const id = people.host(peer)
      await book.setTrust(id, 'blocked')
      await sessions.close(id, { code: 'policy.blocked', message: 'blocked by its user' })
      return view(id)
    },
    'peers.forget': async ({ peer }) => {
      const id = people.host(peer)
      await sessions.close(id)
      await book.forget(id)
      return {}
    },
    'peers.verify': ({ peer }) => {
      const id = people.host(peer)
      return { peer: id, words: verificationWords(identity.peer, id) }
    },
  }
}

function sessionHandlers({ book, people, sessions, holds, paths }: HandlerParts): Group<'sessions'> {
  return {
    'sessions.open': async ({ peer, timeout, hold }, caller) => {
      const started = performance.now()
      const id = people.host(peer)
      // Before it is open, so that it cannot close in between.
      const holding = hold === true && holds.hold(id, caller)
      const session = await sessions.open(id, timeout).catch((error: unknown) => {
        if (holding) holds.release(id, caller)
        throw error
      })
      return { ...sessionView(session.facts, book), elapsed: performance.now() - started }
    },
    'sessions.close': async ({ peer }) => ({ closed: await sessions.close(people.host(peer)) }),
    'sessions.list': () => sessions.list().map((session) => sessionView(session.facts, book)),
    'sessions.ping': async ({ peer }) => {
      const session = await sessions.open(people.host(peer))
      return { rtt: await session.ping(), route: session.facts.route }
    },
    'sessions.paths': ({ peer }) => paths(people.host(peer)),
    'sessions.statistics': ({ peer }) => statisticsView(sessionTo(sessions, people.host(peer)).statistics()),
    'sessions.fake': ({ peer, ...partial }) => {
      const session = sessionTo(sessions, people.host(peer))
      const fake = completeFake(partial)
      session.fake(fake)
      return { fake: fake ?? null }
    },
  }
}

/** The session there is. Throws `network.no-session`. */
function sessionTo(sessions: SessionManager, peer: PeerId): Session {
  const session = sessions.get(peer)
  if (!session) throw new PartylineError('network.no-session')
  return session
}

/** What the socket tells of a session. */
export function sessionView(facts: SessionFacts, book: PeerBook): SessionView {
  const { peer, route, carrier, cipher, group, dialled, age, streams, state, datagrams, fake } = facts
  return {
    peer,
    name: book.get(peer).name,
    route,
    carrier,
    cipher,
    group,
    local: formatHostPort(facts.local),
    remote: formatHostPort(facts.remote),
    dialled,
    rtt: facts.rtt ?? null,
    age,
    streams,
    state,
    datagrams,
    fake,
  }
}

/** What the socket tells of measurements. */
export function statisticsView(statistics: SessionStatistics): StatisticsView {
  const { lanes, routes, ping, jitter } = statistics
  const buckets = ({ buckets: all }: SessionStatistics['ping']) => ({ buckets: all.map((bucket) => ({ ...bucket })) })
  return { ...statistics, lanes: [...lanes], routes: [...routes], ping: buckets(ping), jitter: buckets(jitter) }
}

function streamHandlers({ people, streams }: HandlerParts): Group<'streams'> {
  return {
    'streams.open': async ({ peer, service, meta }, caller) => {
      refuseReserved(service)
      const stream = await streams.open(people.host(peer), service, caller.user, meta)
      return rawAnswer(stream, { stream: stream.id, peer: stream.peer })
    },
    'streams.accept': async ({ service }, caller) => {
      refuseReserved(service)
      const { stream, meta } = await streams.accept(service, caller.user, caller.signal)
      return rawAnswer(stream, { stream: stream.id, peer: stream.peer, meta })
    },
    'streams.outcome': async ({ stream, side }) => {
      const outcome = await streams.outcome(stream, side ?? 'both')
      return { ...outcome, error: outcome.error ?? null }
    },
  }
}

function fileHandlers({ people, files }: HandlerParts): Group<'files'> {
  return {
    'files.offer': ({ peer, ...offer }, caller) => files.offer(people.host(peer), offer, caller),
    'files.list': (_, caller) => files.list(caller),
    'files.accept': ({ offer }, caller) => files.accept(offer, caller),
    'files.refuse': async ({ offer }, caller) => {
      await files.refuse(offer, caller)
      return {}
    },
    'files.withdraw': async ({ offer }, caller) => {
      await files.withdraw(offer, caller)
      return {}
    },
    'files.fetch': async ({ offer, meta }, caller) => {
      const stream = await files.fetch(offer, meta, caller)
      return rawAnswer(stream, { stream: stream.id, peer: stream.peer })
    },
    'files.serve': async ({ offer }, caller) => {
      const { stream, meta } = await files.serve(offer, caller)
      return rawAnswer(stream, { stream: stream.id, peer: stream.peer, meta })
    },
    'files.finish': async ({ offer, ok }, caller) => {
      await files.finish(offer, ok, caller)
      return {}
    },
  }
}

function chatHandlers({ people, chat }: HandlerParts): Group<'chat'> {
  return {
    'chat.send': ({ peer, text }) => chat.send(people.anyone(peer), text),
    'chat.compose': ({ peer, composing }) => {
      chat.compose(people.anyone(peer), composing)
      return {}
    },
    'chat.history': ({ peer, limit }) => chat.lines(peer === undefined ? undefined : people.anyone(peer), limit),
  }
}

function presenceHandlers({ presence }: HandlerParts): Group<'presence'> {
  return {
    'presence.get': () => presence.get(),
    'presence.set': ({ show, text }) => presence.set(show, text ?? ''),
  }
}

function hubHandlers({ hub }: HandlerParts): Group<'hub'> {
  return {
    'hub.status': () => hub.status(),
    'hub.start': ({ name }) => hub.start(name),
    'hub.stop': async () => {
      await hub.stop()
      return {}
    },
    'hub.pin': ({ change, pin }) => hub.door(change || pin ? { pin } : undefined),
    'hub.join': ({ hub: address }) => hub.join(address),
    'hub.leave': ({ hub: address }) => hub.leave(address),
  }
}

function friendHandlers({ people, friends }: HandlerParts): Group<'friends'> {
  return {
    'friends.list': () => friends.list().map((friend) => ({ ...friend, reaches: [...friend.reaches] })),
    'friends.introduce': ({ peer, to }) => {
      friends.introduce(people.host(peer), people.host(to))
      return {}
    },
  }
}

function settingHandlers({ settings }: HandlerParts): Group<'settings'> {
  const row = (key: string): SettingView => {
    const found = settings.list().find((setting) => setting.key === key)
    if (!found) throw new PartylineError('usage.unknown-setting', `there is no setting ${key}`)
    return found
  }
  return {
    'settings.list': () => settings.list(),
    'settings.set': ({ key, value }) => {
      settings.set(key, value)
      return { setting: row(key), restart: needsRestart(key) }
    },
    'settings.reset': ({ key }) => {
      settings.reset(key)
      return { setting: row(key), restart: needsRestart(key) }
    },
  }
}

function rawAnswer<R>(stream: SessionStream, result: R): RawAnswer<R> {
  return {
    result,
    attach: (socket) => joinStream(socket, stream),
    abandon: () => stream.reset('peer.reset'),
  }
}
