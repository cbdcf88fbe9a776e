'use strict'
const { EventEmitter } = require('node:events')

/**
 * What node-xmpp-core calls of its fork of reconnect-core: `reconnect(create)(options)` gives an emitter that tells of a socket and
 * of its end. The socket comes from the caller, connected, and is never dialled again.
 */
module.exports = (create) => () => {
  const emitter = new EventEmitter()
  emitter.reconnect = false
  emitter.connect = emitter.listen = (socket) => {
    const connection = create(socket)
    connection.once('close', () => emitter.emit('disconnect'))
    emitter.emit('connect', connection)
    emitter.emit('connection', connection)
    return emitter
  }
  emitter.disconnect = () => emitter
  return emitter
}
