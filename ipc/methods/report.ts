import * as z from 'zod'
import { count, empty, ID, type MethodEntry, peerArg, peerErrors, peerId } from './shapes.ts'

const system = z.object({
  platform: z.string(),
  arch: z.string(),
  kernel: z.string(),
  distro: z.string().describe('Name and version of the system; empty where it is not known.'),
  node: z.string(),
  cpus: count,
  memory: z.number().describe('Of the machine, in bytes.'),
  uptime: z.number().describe('Of the daemon, in seconds.'),
})

/** What happened, for whoever looks for what is wrong: as it was for the owner, and masked for others. */
export const reportMethods = {
  'trace.read': {
    about: 'What happened on the way to a peer and with it, step by step, as far back as the daemon remembers.',
    who: 'owner',
    params: z.object({ peer: peerArg }),
    result: z.object({
      peer: peerId,
      name: z.string(),
      steps: z.array(
        z.object({
          at: z.number().describe('Unix milliseconds.'),
          part: z.string().describe('Who did it: `connect`, `traversal`, `session`.'),
          text: z.string(),
        }),
      ),
    }),
    errors: [...peerErrors, 'policy.owner-only'],
    example: {
      params: { peer: 'anna-laptop' },
      result: {
        peer: ID,
        name: 'anna-laptop',
        steps: [{ at: 1_800_000_000_000, part: 'connect', text: 'dialling to=192.168.50.2:47800' }],
      },
    },
  },
  'report.create': {
    about:
      'Everything that helps to find out what went wrong, without names, peer ids, addresses, accounts, hosts, tickets, passwords and messages: each is replaced by a word for what it was, the same one wherever it stood.',
    who: 'owner',
    params: empty,
    result: z.object({
      created: z.string().describe('Date and time (RFC 3339).'),
      version: z.string(),
      system,
      answers: z
        .record(z.string(), z.unknown())
        .describe(
          "What the daemon answers to methods of its own, masked, by their names; `error` in an answer's place.",
        ),
      log: z.array(z.string()).describe('The last lines of the log, also those of levels that are not shown, masked.'),
    }),
    errors: ['policy.owner-only'],
    example: {
      params: {},
      result: {
        created: '2026-11-23T18:00:00.000Z',
        version: '0.1.0',
        system: {
          platform: 'linux',
          arch: 'x64',
          kernel: '6.12.0',
          distro: 'Debian GNU/Linux 13',
          node: 'v24.0.0',
          cpus: 8,
          memory: 16_000_000_000,
          uptime: 3600,
        },
        answers: { 'peers.list': [{ id: '<peer-2>', name: '<name-3>' }] },
        log: ['2026-11-23T17:59:58.000Z info  traversal: a path was chosen peer=<peer-2> to=<global-1>:47800'],
      },
    },
  },
} as const satisfies Record<string, MethodEntry>
