import test from 'node:test'
import assert from 'node:assert/strict'
import { complete } from '../assets/lib/complete.js'

const selectors = [{ name: 'Name' }, { name: 'Nodes', kind: 'list' }, { name: 'InstanceCount', kind: 'number' }, { name: 'Meta', kind: 'map' }]
const at = text => {
  const cursor = text.includes('|') ? text.indexOf('|') : text.length
  const { from, options } = complete(text.replace('|', ''), cursor, selectors)
  return [from, options.map(o => o.text.trim())]
}

test('what can come next is offered', () => {
  for (const [text, from, want] of [
    ['', 0, ['Name', 'Nodes', 'InstanceCount', 'Meta', 'not']],
    ['N', 0, ['Name', 'Nodes', 'not']],
    ['na|== "web"', 0, ['Name']],
    ['not ', 4, ['Name', 'Nodes', 'InstanceCount', 'Meta']],
    ['(Ins', 1, ['InstanceCount']],
    ['Name ', 5, ['== "', '!= "', 'contains "', 'matches "', 'is empty', 'is not empty']],
    ['Nodes c', 6, ['contains "']],
    ['InstanceCount ', 14, ['==', '!=']],
    ['Meta.rack ', 10, ['== "', '!= "', 'contains "', 'matches "', 'is empty', 'is not empty']],
    ['Name == ', 8, []],
    ['Name == "we', 11, []],
    ['Name == "web" ', 14, ['and', 'or']],
    ['Nodes is empty o', 15, ['or']],
    ['Name == "a b" and N', 18, ['Name', 'Nodes', 'not']],
    ['"', 1, []],
    ['Nonsense ', 9, []],
  ]) assert.deepEqual(at(text), [from, want], JSON.stringify(text))
})
