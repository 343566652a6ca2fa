// Answers that stay true: a feed asks again when something newer exists, for as long as
// somebody looks.
import { useState, useEffect, useMemo } from './dom.js'
import { ask, query, onToken } from './api.js'
import { settings } from './settings.js'

// How long a question waits for a change, in milliseconds. Of another datacenter what is kept is
// answered while the way there is cut, and how old it is only the next answer says.
const waitHere = 55_000, waitThere = 10_000
const leastPause = 250    // between its answers, so that a busy datacenter does not keep the page busy
const longestPause = 30_000
const freeLetters = 1 << 20, perLetter = 0.002 // milliseconds more for each letter beyond: what is long is asked for less often
const linger = 1_000      // a feed outlives its last reader so long: the next page may want it

// Browsers open six connections to one address over HTTP/1.1. Half of them may wait for
// changes; who finds none free asks from time to time instead.
const slots = { free: 3 }

const feeds = new Map()

const pause = (ms, signal) => new Promise(resolve => {
  const timer = setTimeout(resolve, ms)
  signal.addEventListener('abort', () => { clearTimeout(timer); resolve() }, { once: true })
})

class Feed {
  constructor(path, params, { every = 3000, blocks = true, missing = false, most = 0, parse } = {}) {
    this.wait = (params?.dc ?? settings.datacenter) === settings.datacenter ? waitHere : waitThere
    Object.assign(this, { path, params, every, blocks, missing, most, parse, readers: new Set() })
    this.state = { data: undefined, error: undefined, meta: undefined }
  }

  join(f) {
    this.readers.add(f)
    clearTimeout(this.leaving)
    if (!this.control && !asleep()) this.start()
    return () => {
      this.readers.delete(f)
      if (this.readers.size === 0) this.leaving = setTimeout(() => this.stop(), linger)
    }
  }

  start() {
    this.control = new AbortController()
    this.run(this.control.signal)
  }

  // stop forgets the feed: the next reader gets a new one.
  stop() {
    this.control?.abort()
    this.control = undefined
    if (feeds.get(this.key) === this) feeds.delete(this.key)
  }

  // rest stops asking, and keeps what is known.
  rest() {
    this.control?.abort()
    this.control = undefined
  }

  wake() {
    if (this.readers.size > 0 && !this.control) this.start()
  }

  restart() {
    this.control?.abort()
    this.publish({ data: undefined, error: undefined, meta: undefined })
    this.start()
  }

  publish(state) {
    this.state = state
    for (const f of [...this.readers]) f(state)
  }

  async run(signal) {
    let index = 0n, failed = 0, size = 0
    while (!signal.aborted) {
      const held = this.blocks && index > 0 && slots.free > 0
      if (held) slots.free--
      try {
        const { missing, most, parse } = this, params = held ? { ...this.params, index } : this.params
        const { data, meta } = await ask(this.path, { params, signal, missing, most, parse, wait: held ? this.wait : 0 })
        if (signal.aborted) return
        failed = 0
        size = meta.size
        index = meta.index < index ? 0n : meta.index // one that goes back is of a restored state, or of events: begin anew
        this.publish({ data, meta, error: undefined })
      } catch (error) {
        if (signal.aborted) return
        failed++
        index = 0n
        this.publish({ ...this.state, error })
      } finally {
        if (held) slots.free++
      }
      const backOff = Math.min(longestPause, 1000 * 2 ** (failed - 1)) * (0.75 + Math.random() / 2)
      const again = this.blocks && index > 0 && slots.free > 0 ? 0 : this.every
      await pause(failed ? backOff : held ? leastPause + Math.max(0, size - freeLetters) * perLetter : again, signal)
    }
  }
}

// A tab in the background asks nothing, and neither does a page that was left: browsers keep
// it for the way back, with its questions, and those would keep the next page waiting for a
// connection.
const asleep = () => document.visibilityState === 'hidden'
const sleep = () => { for (const f of feeds.values()) f.rest() }
const wake = () => { for (const f of feeds.values()) f.wake() }
addEventListener('pagehide', sleep)
addEventListener('pageshow', wake)
document.addEventListener('visibilitychange', () => asleep() ? sleep() : wake())

onToken(() => { for (const f of feeds.values()) f.restart() })

function feed(path, params, options) {
  const key = query(path, params)
  let f = feeds.get(key)
  if (!f) {
    f = new Feed(path, params, options)
    f.key = key
    feeds.set(key, f)
  }
  return f
}

// useFeeds follows several questions, each { path, params, every, blocks, missing, most, parse }, and returns the
// state of each: { data, error, meta }. data stays while there is an error.
export function useFeeds(questions) {
  const key = questions.map(q => query(q.path, q.params)).join('\n')
  const [, redraw] = useState(0)
  const list = useMemo(() => questions.map(q => feed(q.path, q.params, q)), [key])
  useEffect(() => {
    let due = false
    const later = () => { // answers that come together are drawn once
      if (!due) requestAnimationFrame(() => { due = false; redraw(n => n + 1) })
      due = true
    }
    const ends = list.map(f => f.join(later))
    later()
    return () => ends.forEach(end => end())
  }, [list])
  return list.map(f => f.state)
}

export const useFeed = (path, params, options) => useFeeds([{ path, params, ...options }])[0]
