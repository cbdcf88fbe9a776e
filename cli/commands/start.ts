import type { Command } from '../command.ts'
import { ensureRoomyHeap } from '../roomy-heap.ts'

export const startCommand: Command = {
  name: 'start',
  arguments: '',
  about: 'Runs the daemon with a live view of who is here; attaches to a daemon that runs already.',
  options: [{ flags: '--demo', about: 'show on this machine alone, without a keyboard, that everything works' }],
  example: 'partyline start --demo',
  json: '',
  async run(context, given) {
    if (given.options.demo) {
      const { runDemo } = await import('../view/demo.ts')
      return runDemo(context)
    }
    ensureRoomyHeap(process)
    const { runView } = await import('../view/view.ts')
    return runView(context)
  },
}
