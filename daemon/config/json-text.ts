/**
 * Parses JSON that a person may have edited: the `SyntaxError` says at which line and column the fault is, which the engine's
 * own message leaves out for some faults.
 */
export function parseJsonText(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    const message = (error as Error).message
    const before = text.slice(0, faultOffset(text, message)).split('\n')
    const what = message.replace(/( in JSON at position|, (\.\.\.)?").*$/s, '')
    throw new SyntaxError(`line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}: ${what}`, {
      cause: error,
    })
  }
}

function faultOffset(text: string, message: string): number {
  const told = /at position (\d+)/.exec(message)?.[1]
  if (told !== undefined) return Number(told)
  if (!message.startsWith('Unexpected token')) return text.length
  // The fault is the last character of the shortest beginning that has it: shorter ones only end too early.
  let [good, bad] = [0, text.length]
  while (bad - good > 1) {
    const middle = (good + bad) >> 1
    if (hasUnexpectedToken(text.slice(0, middle))) bad = middle
    else good = middle
  }
  return bad - 1
}

function hasUnexpectedToken(text: string): boolean {
  try {
    JSON.parse(text)
    return false
  } catch (error) {
    return (error as Error).message.startsWith('Unexpected token')
  }
}
