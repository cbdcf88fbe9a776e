import { PartylineError } from '../daemon/errors.ts'

const ENTER = new Set(['\r', '\n'])
const ERASE = new Set(['\u007f', '\b'])
const CTRL_C = '\u0003'
const CTRL_D = '\u0004'
/** Longest secret that is taken, in characters. */
const MAX_SECRET = 1024

interface Terminal {
  readonly stdin: Pick<NodeJS.ReadStream, 'on' | 'off' | 'setRawMode' | 'resume' | 'pause' | 'setEncoding'>
  readonly stderr: { write(text: string): unknown }
  readonly signal: AbortSignal
}

/** Asks for something that the terminal does not show. Rejects with `usage.invalid-argument` where it is given up. */
export async function askSecretly(question: string, { stdin, stderr, signal }: Terminal): Promise<string> {
  stderr.write(question)
  stdin.setRawMode(true)
  stdin.setEncoding('utf8')
  stdin.resume()
  const { promise, resolve, reject } = Promise.withResolvers<string>()
  let secret: readonly string[] = []
  const giveUp = (): void => reject(new PartylineError('usage.invalid-argument', 'no password was given'))
  const take = (typed: string): void => {
    for (const key of typed) {
      if (ENTER.has(key)) return resolve(secret.join(''))
      if (key === CTRL_C || key === CTRL_D) return giveUp()
      if (ERASE.has(key)) secret = secret.slice(0, -1)
      else if (key >= ' ' && secret.length < MAX_SECRET) secret = [...secret, key]
    }
  }
  stdin.on('data', take)
  signal.addEventListener('abort', giveUp)
  try {
    return await promise
  } finally {
    stdin.off('data', take)
    signal.removeEventListener('abort', giveUp)
    stdin.setRawMode(false)
    stdin.pause()
    stderr.write('\n')
  }
}
