import test from 'node:test'
import assert from 'node:assert/strict'
import { standing } from '../assets/lib/standing.js'

test('the worst is said, of how many', () => {
  for (const [counts, state, text] of [
    [{ critical: 2 }, 'critical', 'Both instances in dc2 are critical'],
    [{ critical: 1 }, 'critical', 'The only instance in dc2 is critical'],
    [{ critical: 1, warning: 1, passing: 5 }, 'critical', '1 of 7 instances in dc2 is critical'],
    [{ warning: 1, passing: 1 }, 'warning', '1 of 2 instances in dc2 has a warning'],
    [{ warning: 3 }, 'warning', 'All 3 instances in dc2 have a warning'],
    [{ passing: 3 }, 'passing', 'All 3 instances in dc2 are passing'],
  ]) assert.deepEqual(standing(counts, 'dc2'), { state, text })
})
