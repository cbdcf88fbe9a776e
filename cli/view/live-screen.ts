import { type Key, useApp, useInput, useWindowSize } from 'ink'
import { createElement as h, type ReactElement, useState, useSyncExternalStore } from 'react'
import { chatSecrecy } from '../format.ts'
import type { Party } from './party.ts'
import { nameOf } from './party-state.ts'
import { type Prompt, Screen } from './screen.ts'

interface ActivePrompt extends Prompt {
  readonly enter: (text: string) => void
}

/** The screen of a party, and what the keys do. */
export function LiveScreen({ party }: { party: Party }): ReactElement {
  const state = useSyncExternalStore(party.subscribe, party.state)
  const [chosen, choose] = useState<string | undefined>(undefined)
  const [prompt, setPrompt] = useState<ActivePrompt | undefined>(undefined)
  const { exit } = useApp()
  const { columns, rows } = useWindowSize()
  const { peers } = state
  const at = Math.max(
    0,
    peers.findIndex(({ id }) => id === chosen),
  )
  const peer = peers[at]
  const selected = peer?.id

  useInput((input, key) => {
    if (key.ctrl && input === 'c') return exit()
    if (prompt) return setPrompt(typed(prompt, input, key))
    if (key.upArrow) return choose(peers[Math.max(0, at - 1)]?.id)
    if (key.downArrow) return choose(peers[Math.min(peers.length - 1, at + 1)]?.id)
    if (input === 'q') return exit()
    if (input === 'n') return party.inviteGuest()
    if (input === 'a' || input === 'x') return party.answerOffer(input === 'a')
    if (!peer) return
    const { id, kind } = peer
    const name = nameOf(state, id)
    if (input === 'c') {
      const enter = (text: string): void => party.chat(id, text)
      if (kind === 'host') return setPrompt({ question: `to ${name}, encrypted:`, typed: '', enter })
      return setPrompt({ question: `to ${name}, NOT encrypted:`, warning: chatSecrecy(peer), typed: '', enter })
    }
    if (input !== 'p' && input !== 'f') return
    if (kind === 'chat') return party.tell('info', `${name} uses a plain XMPP client, which can chat and nothing else`)
    if (input === 'p') return party.ping(id)
    setPrompt({ question: `file or folder for ${name}:`, typed: '', enter: (path) => party.offer(id, path) })
  })
  return h(Screen, { state, selected, prompt, columns, rows })
}

/** The prompt after a key; undefined once it is answered or left. Pasted text may come in one piece, its line break included. */
function typed(prompt: ActivePrompt, input: string, key: Key): ActivePrompt | undefined {
  if (key.escape) return undefined
  const [line = ''] = input.split(/[\r\n]/)
  const ended = key.return || line.length < input.length
  if (key.backspace || key.delete) return { ...prompt, typed: [...prompt.typed].slice(0, -1).join('') }
  const text = key.ctrl || key.meta || key.return ? prompt.typed : prompt.typed + line.replace(/\p{Cc}/gu, '')
  if (!ended) return { ...prompt, typed: text }
  if (text.trim() !== '') prompt.enter(text.trim())
  return undefined
}
