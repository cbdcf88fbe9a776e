import { toPartylineError } from '../errors.ts'
import type { PeerBook } from '../peers/peer-book.ts'
import type { PeerId } from '../types.ts'

/**
 * Gives a peer that has no petname the first of these that nobody else goes by, whether as a petname or a name: what a peer proposes shall
 * not be taken for somebody else. Returns the petname that it has then; empty for none.
 */
export async function proposePetname(book: PeerBook, peer: PeerId, proposals: readonly string[]): Promise<string> {
  const { petname } = book.get(peer)
  if (petname !== '') return petname
  for (const proposal of proposals) {
    if (proposal === '' || isTaken(book, peer, proposal)) continue
    try {
      await book.setPetname(peer, proposal)
      return book.get(peer).petname
    } catch (error) {
      if (toPartylineError(error).code !== 'usage.invalid-argument') throw error
    }
  }
  return ''
}

function isTaken(book: PeerBook, peer: PeerId, name: string): boolean {
  try {
    return book.resolve(name) !== peer
  } catch (error) {
    return toPartylineError(error).code !== 'peer.not-found'
  }
}
