/** `node test/bench/nat-crowd.ts [--json] [--peers 200]`: what a crowd of peers at one endpoint costs, beside a single one. */
import { parseArgs } from 'node:util'
import { labMissing } from '../lab/lab.ts'
import { type CrowdFigures, measureCrowd } from '../nat/crowd/crowd.ts'

const { values } = parseArgs({
  options: { json: { type: 'boolean', default: false }, peers: { type: 'string', default: '200' } },
})
const peers = Number(values.peers)
if (!Number.isInteger(peers) || peers < 1) throw new Error('--peers takes a number from 1')
const missing = labMissing(['turnserver', 'openssl', 'ss', 'conntrack'])
if (missing) throw new Error(missing)

const rows: readonly (readonly [string, (one: CrowdFigures) => string | number])[] = [
  ['connected', ({ connected }) => connected],
  ['half of them connected, ms', ({ half }) => half],
  ['all connected, ms', ({ all }) => all],
  ['UDP sockets', ({ sockets }) => sockets],
  ['TURN allocations', ({ counted }) => counted.allocations],
  ['allocate requests', ({ counted }) => counted['allocate requests']],
  ['binding requests to servers', ({ counted }) => counted['binding requests to servers']],
  ['permission requests', ({ counted }) => counted['permission requests']],
  ['channel bind requests', ({ counted }) => counted['channel bind requests']],
  ['checks, straight', ({ counted }) => counted['checks sent']],
  ['checks, by the relay', ({ counted }) => counted['checks relayed']],
  ['checks a second once connected', ({ upkeep }) => upkeep['checks sent'] + upkeep['checks relayed']],
  ['memory for each, KiB', ({ memory }) => memory],
  ['processor time for each, ms', ({ cpu }) => Math.round(cpu)],
  [
    'routes',
    ({ routes }) =>
      Object.entries(routes)
        .map(([name, count]) => `${count} ${name}`)
        .join(', '),
  ],
  ['failures', ({ reasons }) => reasons.join('; ')],
]

const figures = [await measureCrowd(1), await measureCrowd(peers)]
if (values.json) {
  for (const one of figures) console.log(JSON.stringify(one))
} else {
  console.log(`| through one endpoint | ${figures.map((one) => `${one.peers} peers`).join(' | ')} |`)
  console.log(`| --- |${figures.map(() => ' ---: |').join('')}`)
  for (const [name, value] of rows) console.log(`| ${name} | ${figures.map(value).join(' | ')} |`)
}
