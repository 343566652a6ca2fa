import test from 'node:test'
import assert from 'node:assert/strict'
import { point, quantile, range, read } from '../assets/lib/metrics.js'

const bucket = (route, le, n) => `legate_http_request_seconds_bucket{method="GET",route="${route}",le="${le}"} ${n}`
const text = n => ['# HELP legate_http_request_seconds_count 9', `legate_http_request_seconds_count{route="/a"} ${n}`, `legate_http_request_seconds_count{route="/b"} ${n}`,
  bucket('/a', '0.1', n), bucket('/a', '0.4', n), bucket('/a', '+Inf', n), bucket('/b', '0.1', 0), bucket('/b', '0.4', n), bucket('/b', '+Inf', n), 'go_goroutines 12', 'process_resident_memory_bytes 1e+06', 'process_start_time_seconds 5'].join('\n')

test('series are summed over their labels, and rates are of the time between', () => {
  const p = point(read(text(100), 0), read(text(150), 5000))
  assert.deepEqual([p.at, p.http, p.goroutines, p.memory, p.rpc], [5, 20, 12, 1, undefined])
  assert.ok(Math.abs(p.slow - 394) < 0.001, p.slow) // 98 of the 100 new ones are below 98 % of the way through the last bucket
})

test('what is not known is no number', () => {
  assert.ok(Number.isNaN(quantile(0.99, read(text(1)), read(text(1)))))
  const restarted = { ...read(text(10), 5000), started: 6 }
  assert.deepEqual([point(read(text(100), 0), restarted).http, point(read(text(100), 0), restarted).slow], [null, null])
  assert.deepEqual(range([null, 3, 1, null]), { last: 1, least: 1, most: 3 })
  assert.equal(range([null]), undefined)
})
