import { Box, render, Text, useApp, useInput, useWindowSize } from 'ink'
import { createElement as h, type ReactElement, useEffect, useState } from 'react'
import type { Context } from '../command.ts'
import { type Measured, topTable } from '../commands/top.ts'

interface TopProps {
  readonly watch: (draw: (all: readonly Measured[]) => void) => Promise<void>
  readonly paint: Context['paint']
  readonly nobody: string
}

/** The table of sessions, drawn anew with each look; `q` ends it. */
function Top({ watch, paint, nobody }: TopProps): ReactElement {
  const [all, draw] = useState<readonly Measured[]>([])
  const { exit } = useApp()
  const { columns, rows } = useWindowSize()
  useEffect(() => {
    void watch(draw).then(() => exit(), exit)
  }, [watch, exit])
  useInput((input, key) => {
    if (input === 'q' || (key.ctrl && input === 'c')) exit()
  })
  const lines = all.length === 0 ? [nobody] : topTable(all, paint, columns).split('\n')
  const shown = lines.slice(0, Math.max(1, rows - 2))
  return h(
    Box,
    { flexDirection: 'column', width: columns },
    ...shown.map((line, i) => h(Text, { key: i, wrap: 'truncate' }, line)),
    h(
      Text,
      { dimColor: true, wrap: 'truncate' },
      `${all.length} ${all.length === 1 ? 'session' : 'sessions'}   q leaves`,
    ),
  )
}

/** Shows the table until somebody leaves it or `watch` ends. */
export async function showTop(context: Context, watch: TopProps['watch'], nobody: string): Promise<void> {
  const { stdin, stdout, stderr, paint, signal } = context
  const app = render(h(Top, { watch, paint, nobody }), {
    stdin,
    stdout,
    stderr,
    exitOnCtrlC: false,
    patchConsole: false,
    alternateScreen: true,
    interactive: true,
  })
  signal.addEventListener('abort', () => app.unmount())
  await app.waitUntilExit()
}
