import { isIP } from 'node:net'
import * as z from 'zod'
import { isUserJid } from '../xmpp/user-jid.ts'

/** Most of each kind that are kept of one peer. */
export const MAX_ACCOUNTS = 4
export const MAX_HUBS = 4
export const MAX_ADDRESSES = 8

const hostPort = z.object({
  address: z
    .string()
    .max(64)
    .refine((text) => isIP(text) !== 0, 'no IP address'),
  port: z.number().int().min(1).max(65_535),
  /** A router forwards it. */
  mapped: z.literal(true).optional(),
})

/** How a host may be reached from anywhere, as it says itself: in a ticket, or in a session. */
export const ways = z.object({
  /** XMPP accounts that take signals for it: bare addresses (RFC 7622), lower case. */
  accounts: z.array(z.string().max(256).refine(isUserJid, 'no XMPP address')).max(MAX_ACCOUNTS),
  /** Tickets or addresses of the hubs it is at. */
  hubs: z.array(z.string().min(1).max(1024)).max(MAX_HUBS),
  /** Where its port is reached from outside. */
  addresses: z.array(hostPort).max(MAX_ADDRESSES),
})

export type Ways = z.output<typeof ways>

export const NO_WAYS: Ways = { accounts: [], hubs: [], addresses: [] }
