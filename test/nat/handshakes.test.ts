import { expect, test } from 'vitest'
import { Handshakes } from '../../daemon/nat/handshakes.ts'

const open = new AbortController().signal

test('as many as are allowed begin at once, the others in their order as those end', async () => {
  const handshakes = new Handshakes(2)
  const begun: number[] = []
  const enter = (number: number) =>
    handshakes.enter(open).then((leave) => {
      begun.push(number)
      return leave
    })
  const all = [1, 2, 3, 4].map(enter)
  const [first, second] = await Promise.all(all.slice(0, 2))
  expect(begun).toEqual([1, 2])
  second?.()
  const third = await all[2]
  expect(begun).toEqual([1, 2, 3])
  third?.()
  await all[3]
  expect(begun).toEqual([1, 2, 3, 4])
  first?.()
})

test('one that ends twice frees one place', async () => {
  const handshakes = new Handshakes(1)
  const leave = await handshakes.enter(open)
  leave()
  leave()
  await handshakes.enter(open)
  const third = handshakes.enter(open).then(() => 'begun')
  expect(await Promise.race([third, Promise.resolve('waits')])).toBe('waits')
})

test('one that is given up leaves its place in the line', async () => {
  const handshakes = new Handshakes(1)
  const leave = await handshakes.enter(open)
  const giving = new AbortController()
  const second = handshakes.enter(giving.signal)
  const third = handshakes.enter(open)
  giving.abort(new Error('given up'))
  await expect(second).rejects.toThrow('given up')
  leave()
  expect(await third).toBeTypeOf('function')
  await expect(handshakes.enter(giving.signal)).rejects.toThrow('given up')
})
