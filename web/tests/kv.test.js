import test from 'node:test'
import assert from 'node:assert/strict'
import { command, Splitter, exact, folderOf, lastOf, namesOf, unasked, urlOf } from '../assets/lib/kv.js'

test('keys have folders, and addresses that keep each sign', () => {
  assert.deepEqual(['a', 'a/', 'a/b', 'a/b/', 'a//b', '/'].map(folderOf), ['', '', 'a/', 'a/', 'a//', ''])
  assert.deepEqual(['a', 'a/', 'a/b/'].map(lastOf), ['a', 'a/', 'b/'])
  assert.equal(urlOf('a b/ü?#%//c'), 'kv/a%20b/%C3%BC%3F%23%25//c')
  assert.deepEqual(['a/../b', '.', 'a.b/c..', 'a'].map(k => unasked(k) !== ''), [true, true, false, false])
})

test('flags keep all their digits', () => {
  assert.equal(exact('[{"Flags":18446744073709551615}]')[0].Flags, '18446744073709551615')
  assert.equal(exact('[{"Flags":42}]')[0].Flags, 42)
  const tricky = [{ Key: 'x"Flags":12345678901234567890', Flags: 1 }]
  assert.deepEqual(exact(JSON.stringify(tricky)), tricky)
})

test('of a list that was cut the whole names are taken, wherever it was cut', () => {
  const names = ['a', 'b/c', ',', '","', '\\', 'x","y', 'end'], text = JSON.stringify(names)
  assert.deepEqual(namesOf(text, false), names)
  for (let cut = 1; cut < text.length; cut++) {
    const got = namesOf(text.slice(0, cut), true)
    assert.deepEqual(got, names.slice(0, got.length), text.slice(0, cut))
  }
  assert.ok(namesOf(text.slice(0, -1), true).length >= 4)
})

test('entries come one by one, however the text comes', () => {
  const entries = [{ Key: 'a', Value: 'eA==', Flags: 0 }, { Key: '}{"[],\\"', Value: null, Flags: 1 }, { Key: '\\', Session: 's', n: { m: 1 } }]
  const text = JSON.stringify(entries, null, 2)
  for (const step of [1, 2, 3, 7, 1000]) {
    const got = [], splitter = new Splitter(e => got.push(e))
    for (let i = 0; i < text.length; i += step) splitter.push(text.slice(i, i + step))
    assert.deepEqual(got, entries, `in steps of ${step}`)
    assert.ok(splitter.text.length < 3)
  }
})

test('a command names the datacenter, and a key is one word of it whatever its name', () => {
  assert.equal(command('delete -recurse', 'dc2', 'a/b'), 'legate kv delete -recurse -datacenter=dc2 a/b')
  assert.equal(command('export', 'dc2', "$(x)'; y/"), "legate kv export -datacenter=dc2 '$(x)'\\''; y/'")
  assert.equal(command('export', 'dc2', ''), "legate kv export -datacenter=dc2 ''")
})
