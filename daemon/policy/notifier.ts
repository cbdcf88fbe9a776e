import { execFile } from 'node:child_process'
import { cleanReason } from '../clean-text.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { TokenBucket } from '../token-bucket.ts'
import type { Milliseconds } from '../types.ts'

const PATIENCE: Milliseconds = 5000
/** Notifications: four at once, then one a quarter of a minute. */
const ALLOWANCE = { rate: 1 / 15, burst: 4 }
/** PowerShell: shows two variables of the environment, as text. */
const TOAST = [
  '[Windows.UI.Notifications.ToastNotificationManager, Windows.UI.Notifications, ContentType = WindowsRuntime] > $null',
  '$t = [Windows.UI.Notifications.ToastNotificationManager]::GetTemplateContent(1)',
  '$x = $t.GetElementsByTagName("text")',
  '$x.Item(0).AppendChild($t.CreateTextNode($env:PARTYLINE_TITLE)) > $null',
  '$x.Item(1).AppendChild($t.CreateTextNode($env:PARTYLINE_TEXT)) > $null',
  '[Windows.UI.Notifications.ToastNotificationManager]::CreateToastNotifier("Partyline").Show([Windows.UI.Notifications.ToastNotification]::new($t))',
].join('; ')
/** AppleScript: shows its two arguments. */
const SCRIPT = 'on run argv\ndisplay notification (item 2 of argv) with title (item 1 of argv)\nend run'

/** A program and what it is given. */
interface Call {
  readonly program: string
  readonly args: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

interface NotifierOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly platform: NodeJS.Platform
  readonly env: NodeJS.ProcessEnv
  readonly isWanted: () => boolean
  /** Runs a program; rejects where that fails. */
  readonly run?: (call: Call, env: NodeJS.ProcessEnv) => Promise<void>
}

/** Tells whoever sits before the screen. What it says is never code nor markup: it goes as an argument or a variable, cleaned. */
export class Notifier {
  readonly #options: NotifierOptions
  readonly #bucket: TokenBucket

  constructor(options: NotifierOptions) {
    this.#options = options
    this.#bucket = new TokenBucket(ALLOWANCE, options.clock.now())
  }

  show(title: string, text: string): void {
    const { clock, logger, platform, env, isWanted, run = runProgram } = this.#options
    const call = callOf(platform, env, cleanReason(title), cleanReason(text))
    if (!call || !isWanted() || !this.#bucket.take(clock.now())) return
    run(call, env).catch((error: Error) => logger.debug('no notification on the desktop', { error: error.message }))
  }
}

/** Undefined where there is no desktop. */
function callOf(platform: NodeJS.Platform, env: NodeJS.ProcessEnv, title: string, text: string): Call | undefined {
  if (platform === 'darwin') return { program: 'osascript', args: ['-e', SCRIPT, title, text] }
  if (platform === 'win32')
    return {
      program: 'powershell.exe',
      args: ['-NoProfile', '-NonInteractive', '-Command', TOAST],
      env: { PARTYLINE_TITLE: title, PARTYLINE_TEXT: text },
    }
  if (!env.DBUS_SESSION_BUS_ADDRESS) return undefined
  // Servers of notifications may read markup in the text (Desktop Notifications Specification, "Markup").
  const plain = text.replace(/[&<>]/g, (sign) => ({ '&': '&amp;', '<': '&lt;', '>': '&gt;' })[sign] ?? '')
  return { program: 'notify-send', args: ['--app-name=Partyline', '--', title, plain] }
}

function runProgram({ program, args, env }: Call, inherited: NodeJS.ProcessEnv): Promise<void> {
  const options = { timeout: PATIENCE, windowsHide: true, env: { ...inherited, ...env } }
  return new Promise((resolve, reject) => {
    execFile(program, [...args], options, (error) => (error ? reject(error) : resolve()))
  })
}
