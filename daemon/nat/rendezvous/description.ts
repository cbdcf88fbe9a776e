import { isIP } from 'node:net'
import { decode, encode } from '@msgpack/msgpack'
import * as z from 'zod'
import { PartylineError } from '../../errors.ts'
import { MAX_REMOTE_CANDIDATES, type RemoteCandidate } from '../candidate.ts'

/** How a host's NAT assigns ports, as far as it knows: the same for all destinations, or one for each. */
type Mapping = 'none' | 'same' | 'each' | 'unknown'

/** What a host says of how to reach it, whole each time: nothing is to be put together from several. */
export interface Description {
  /** ICE credentials (RFC 8445 section 5.3). */
  readonly ufrag: string
  readonly pwd: string
  readonly candidates: readonly RemoteCandidate[]
  /** The UDX stream of the link that its sender dials; 0: it dials none, for now or ever. */
  readonly link: number
  /** How often its sender has wished for a link in this attempt: one more asks the dialler for another. */
  readonly calls: number
  /** What is known of its network, so that a failure can be explained. */
  readonly network: {
    /** UDP goes out of it and comes back; null: not known. */
    readonly udp: boolean | null
    readonly mapping: Mapping
    /** It has a relay. */
    readonly relay: boolean
  }
}

/** One description among those of its sender: later ones replace earlier ones. */
export interface Edition {
  /** Random at each start of the daemon: 16 hexadecimal digits. */
  readonly instance: string
  /** Counts the attempts with this peer since that start. */
  readonly attempt: number
  /** Counts the descriptions of an attempt, from 1. */
  readonly version: number
}

/** What two hosts tell each other before they have a link, over any signaller. */
export type RendezvousSignal =
  | ({ readonly kind: 'describe' } & Edition & Description & { readonly seen: Edition | null })
  | { readonly kind: 'seen'; readonly seen: Edition }
  /** Its sender looks for no way any more. */
  | ({ readonly kind: 'leave' } & Edition)

const KINDS = ['host', 'mapped', 'srflx', 'relay', 'friend-relay'] as const
const u32 = z.number().int().min(0).max(0xffff_ffff)
const counter = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
/** RFC 8839 section 5.4, "ice-char". */
const iceChars = (least: number, most: number) => z.string().regex(new RegExp(`^[A-Za-z0-9+/]{${least},${most}}$`))

const edition = { instance: z.string().regex(/^[0-9a-f]{16}$/), attempt: counter, version: counter }
const candidate = z
  .tuple([
    z.number().int().min(0).max(4),
    z.string().refine((text) => isIP(text) !== 0 && !text.includes('%')),
    z.number().int().min(1).max(65535),
    u32,
    iceChars(1, 32),
  ])
  .transform(
    ([kind, address, port, priority, foundation]): RemoteCandidate => ({
      kind: KINDS[kind] as RemoteCandidate['kind'],
      address,
      port,
      priority,
      foundation,
    }),
  )
const description = {
  ufrag: iceChars(4, 32),
  pwd: iceChars(22, 64),
  candidates: z.array(candidate).max(MAX_REMOTE_CANDIDATES),
  link: u32,
  calls: u32,
  network: z.object({
    udp: z.boolean().nullable(),
    mapping: z.enum(['none', 'same', 'each', 'unknown']),
    relay: z.boolean(),
  }),
}
const signal = z.discriminatedUnion('kind', [
  z.object({ kind: z.literal('describe'), ...edition, ...description, seen: z.object(edition).nullable() }),
  z.object({ kind: z.literal('seen'), seen: z.object(edition) }),
  z.object({ kind: z.literal('leave'), ...edition }),
])

/** A MessagePack map; candidates are arrays of kind, address, port, priority and foundation. */
export function encodeRendezvous(value: RendezvousSignal): Uint8Array {
  if (value.kind !== 'describe') return encode(value)
  const candidates = value.candidates
    .slice(0, MAX_REMOTE_CANDIDATES)
    .map(({ kind, address, port, priority, foundation }) => [KINDS.indexOf(kind), address, port, priority, foundation])
  return encode({ ...value, candidates })
}

/** Throws `peer.malformed`. */
export function decodeRendezvous(bytes: Uint8Array): RendezvousSignal {
  try {
    const limits = {
      maxStrLength: 64,
      maxArrayLength: MAX_REMOTE_CANDIDATES,
      maxMapLength: 12,
      maxBinLength: 0,
      maxExtLength: 0,
    }
    return signal.parse(decode(bytes, limits))
  } catch (error) {
    throw new PartylineError('peer.malformed', 'not a description', { cause: error })
  }
}
