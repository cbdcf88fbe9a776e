/** An SVG of bars, readable on light and on dark pages. */
import { formatNumber, type Report, type Scope } from './report.ts'

interface Panel {
  readonly title: string
  readonly metric: string
  readonly scope: Scope
  readonly better: 'more' | 'less'
  /** What a figure is divided by, to be read in the unit of the title. */
  readonly per?: number
}

const PANELS: readonly Panel[] = [
  { title: 'One stream, Mbit/s', metric: 'bulk', scope: 'daemon', better: 'more' },
  { title: 'Messages of 64 bytes a second', metric: 'messages64', scope: 'daemon', better: 'more' },
  { title: '64 bytes there and back, µs', metric: 'rtt64', scope: 'daemon', better: 'less' },
  { title: 'Unreliable packets a second', metric: 'datagrams', scope: 'daemon', better: 'more' },
  { title: 'Connect, ms', metric: 'connect', scope: 'daemon', better: 'less' },
  { title: 'Memory of a session, KiB', metric: 'memory', scope: 'daemon', better: 'less', per: 1024 },
  { title: 'App to app: one stream, Mbit/s', metric: 'bulk', scope: 'app', better: 'more' },
  { title: 'App to app: 64 bytes there and back, µs', metric: 'rtt64', scope: 'app', better: 'less' },
]

const COLUMNS = 2
const PANEL = 450
const LABEL = 194
const NUMBER = 62
const BAR = PANEL - LABEL - NUMBER - 12
const ROW = 20
const HEAD = 30
const GAP = 22

const STYLE = `
  text { font: 12px ui-sans-serif, system-ui, sans-serif; fill: #57606a }
  .title { font-weight: 600; fill: #24292f }
  .ours { font-weight: 600; fill: #0969da }
  rect { fill: #8c959f } rect.bare { fill: #afb8c1 } rect.ours { fill: #0969da }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1 } .title { fill: #e6edf3 } .ours { fill: #4493f8 }
    rect { fill: #656c76 } rect.bare { fill: #3d444d } rect.ours { fill: #4493f8 }
  }
`

/** Draws what was measured; `bare` are the subjects that are no library, drawn fainter. */
export function chart(report: Report, bare: readonly string[]): string {
  const panels = PANELS.map((panel) => ({ panel, bars: barsOf(report, panel) })).filter(({ bars }) => bars.length > 0)
  let y = 0
  let body = ''
  for (let i = 0; i < panels.length; i += COLUMNS) {
    const row = panels.slice(i, i + COLUMNS)
    body += row.map(({ panel, bars }, column) => draw(panel, bars, column * PANEL, y, bare)).join('')
    y += HEAD + Math.max(...row.map(({ bars }) => bars.length)) * ROW + GAP
  }
  const size = `width="${PANEL * COLUMNS}" height="${y}" viewBox="0 0 ${PANEL * COLUMNS} ${y}"`
  return `<svg xmlns="http://www.w3.org/2000/svg" ${size} role="img"><title>Partyline beside other ways to connect two programs</title><style>${STYLE}</style>${body}\n</svg>\n`
}

interface Bar {
  readonly subject: string
  readonly value: number
}

/** Best first; ways of one subject beside its usual one are left to the tables. */
function barsOf(report: Report, { metric, scope, better, per = 1 }: Panel): Bar[] {
  return report
    .figures()
    .filter((figure) => figure.metric === metric && figure.scope === scope && !figure.subject.includes(' '))
    .map(({ subject, value }) => ({ subject, value: (value ?? 0) / per }))
    .sort((a, b) => (better === 'more' ? b.value - a.value : a.value - b.value))
}

function draw({ title, better }: Panel, bars: readonly Bar[], x: number, y: number, bare: readonly string[]): string {
  const most = Math.max(...bars.map(({ value }) => value), 0)
  const lines = bars.map(({ subject, value }, i) => {
    const kind = subject === 'partyline' ? 'ours' : bare.includes(subject) ? 'bare' : ''
    const top = y + HEAD + i * ROW
    const width = most > 0 ? Math.max(1, (value / most) * BAR) : 1
    const at = x + LABEL
    return `
<text class="${kind}" x="${at - 6}" y="${top + 13}" text-anchor="end">${escapeXml(subject)}</text><rect class="${kind}" x="${at}" y="${top + 3}" width="${width.toFixed(1)}" height="13" rx="2"/><text class="${kind}" x="${(at + width + 5).toFixed(1)}" y="${top + 13}">${formatNumber(value)}</text>`
  })
  const hint = better === 'more' ? 'more is better' : 'less is better'
  return `
<text class="title" x="${x + 8}" y="${y + 18}">${escapeXml(title)}</text><text x="${x + PANEL - 8}" y="${y + 18}" text-anchor="end">${hint}</text>${lines.join('')}`
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
