'use strict'

/**
 * What node-xmpp-core calls of its fork of reconnect-core: `reconnect(create)(options)` gives `options.emitter` the methods `connect`,
 * `listen`, `end` and `disconnect`, and tells by `connect`, `connection` and `disconnect` of a socket and its end. The socket comes from
 * the caller, connected, and is never dialled again.
 */
module.exports = (create) => (options) => {
  const { emitter } = options
  let socket
  emitter.reconnect = false
  emitter.connect = emitter.listen = (given) => {
    socket = create(given)
    socket.once('close', () => emitter.emit('disconnect'))
    emitter.emit('connect', socket)
    emitter.emit('connection', socket)
    return emitter
  }
  emitter.end = emitter.disconnect = () => {
    socket?.end()
    return emitter
  }
  return emitter
}
