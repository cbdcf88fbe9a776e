import { describe, expect, test } from 'vitest'
import { chart } from './chart.ts'
import { between } from './documents.ts'
import { readOptions } from './options.ts'
import { type Figure, Report } from './report.ts'
import { comparison, failures, others, verdicts } from './table.ts'
import { judge } from './targets.ts'

const PEERS = ['libp2p', '@number0/iroh']

function measured(): Report {
  const report = new Report()
  for (const value of [100, 300, 200]) report.add('bulk', 'daemon', 'partyline', 'Mbit/s', value)
  report.add('bulk', 'daemon', 'node-tls', 'Mbit/s', 210)
  report.add('bulk', 'daemon', 'node-tls roomy-heap', 'Mbit/s', 190)
  report.add('bulk', 'daemon', 'libp2p', 'Mbit/s', 100)
  report.add('bulk', 'daemon', '@number0/iroh', 'Mbit/s', 20)
  report.add('memory', 'daemon', 'partyline', 'bytes', 32 * 1024)
  report.add('connect warm', 'daemon', 'partyline', 'ms', 3)
  report.fail('bulk', 'daemon', 'node-datachannel', 'it hung')
  report.fail('bulk10', 'daemon', 'node-datachannel', 'it hung')
  return report
}

const parse = (lines: string): Figure[] =>
  lines
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))

describe('figures as JSON', () => {
  test('are an object a line: the median of the runs', () => {
    expect(parse(measured().json())[0]).toStrictEqual({
      metric: 'bulk',
      scope: 'daemon',
      subject: 'partyline',
      value: 200,
      unit: 'Mbit/s',
      runs: 3,
    })
  })

  test('tell what failed, with its reason', () => {
    const failed = parse(measured().json()).filter(({ value }) => value === null)
    expect(failed).toHaveLength(2)
    expect(failed[0]).toMatchObject({ subject: 'node-datachannel', metric: 'bulk', runs: 0, reason: 'it hung' })
  })

  test('a subject that failed in one run and not in another is measured', () => {
    const report = measured()
    report.add('bulk', 'daemon', 'node-datachannel', 'Mbit/s', 7)
    expect(report.failures().map(({ metric }) => metric)).toStrictEqual(['bulk10'])
  })

  test('are read again as they were written', () => {
    const lines = measured().json()
    expect(Report.parse(lines).json()).toBe(lines)
  })

  test('are refused where they are something else', () => {
    expect(() => Report.parse('{"metric":1}')).toThrow('not a figure')
  })
})

describe('targets', () => {
  const verdict = (about: RegExp) => judge(measured(), PEERS).find((one) => about.test(one.about))

  test('are ratios of medians, at least or at most', () => {
    expect(verdict(/bulk.*bare `node:tls`/)).toMatchObject({ measured: 200 / 210, reached: true })
    expect(verdict(/memory of a session/)).toMatchObject({ measured: 32, reached: true })
  })

  test('compare with the best of the other libraries', () => {
    expect(verdict(/best other/)).toMatchObject({ target: '≥ 5', measured: 2, reached: false })
  })

  test('say what was not measured', () => {
    expect(verdict(/datagrams/)).toMatchObject({ measured: undefined, reached: undefined })
    expect(verdicts(judge(measured(), PEERS))).toContain('not measured')
  })
})

describe('tables', () => {
  test('have a row a subject; what failed is said, what a subject lacks is a dash', () => {
    const lines = comparison(measured(), 'daemon').split('\n')
    const cells = (subject: string): string[] | undefined =>
      lines
        .find((line) => line.startsWith(`| ${subject} `))
        ?.split('|')
        .map((cell) => cell.trim())
    expect(lines[0]).toContain('one stream, Mbit/s')
    expect(cells('partyline')).toStrictEqual(['', 'partyline', '200', '32', ''])
    expect(cells('libp2p')).toStrictEqual(['', 'libp2p', '100', '–', ''])
    expect(cells('node-datachannel')).toStrictEqual(['', 'node-datachannel', 'failed', '–', ''])
  })

  test('leave what has no column to a table of its own', () => {
    expect(others(measured())).toMatch(/connect warm +\| daemon \| partyline \| 3 ms/)
    expect(comparison(measured(), 'app')).toBe('')
  })

  test('name a failure once for all metrics it took', () => {
    expect(failures(measured().failures())).toBe('- node-datachannel (daemon), bulk, bulk10: it hung\n')
  })
})

describe('documents', () => {
  test('the chart draws each subject, without ways of one, for light and dark pages', () => {
    const svg = chart(measured(), ['node-tls'])
    expect(svg).toContain('prefers-color-scheme: dark')
    expect(svg.match(/One stream, Mbit\/s/g)).toHaveLength(1)
    expect(svg).toContain('>@number0/iroh</text>')
    expect(svg).not.toContain('roomy-heap')
  })

  test('figures take the place between the markers, and no other', () => {
    const text = 'above\n<!-- npm run bench writes this -->\nold\n<!-- to here -->\nbelow'
    const written = between(text, 'new')
    expect(written).toBe('above\n<!-- npm run bench writes this -->\n\nnew\n\n<!-- to here -->\nbelow')
    expect(between(written, 'new')).toBe(written)
    expect(() => between('no markers', 'new')).toThrow('missing')
  })
})

describe('options', () => {
  test('choose metrics and subjects', () => {
    const options = readOptions(['--only', 'rtt64,hub', '--subjects', 'node-tls', '--runs', '2'])
    if (options === 'help') throw new Error('no help was asked for')
    expect(['rtt64', 'hub', 'bulk'].map(options.wanted)).toStrictEqual([true, true, false])
    expect(['node-tls', 'libp2p'].map(options.includes)).toStrictEqual([true, false])
    expect(options.runs).toBe(2)
  })

  test('without a choice everything is measured but what takes whole labs', () => {
    const options = readOptions([])
    if (options === 'help') throw new Error('no help was asked for')
    expect(['connect', 'calls', 'crowd', 'hub'].map(options.wanted)).toStrictEqual([true, true, false, false])
  })

  test.each([
    ['--only', 'speed'],
    ['--subjects', 'quic'],
    ['--runs', '0'],
  ])('%s %s is refused', (option, value) => {
    expect(() => readOptions([option, value])).toThrow(option)
  })
})
